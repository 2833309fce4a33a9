//! The job of the chaos runs, and made-up tables for it. Little budget, so that many
//! jobs fit one limit; a sum that a wrong mask has gone into is thousands away all the same.

use std::fmt::Write;

use super::draw::Draw;

/// The agencies.
pub const AGENCIES: [&str; 5] = ["north", "east", "south", "west", "isle"];
/// The dataset's name at each of them.
pub const DATASET: &str = "chaos";
/// Smallest survivor set: one of five may be away.
pub const MIN_SURVIVORS: i64 = 4;
/// Records of each agency.
const RECORDS: usize = 300;

/// The job file. Sixteen attempts a round and plenty of spare ones: processes die all the time.
pub fn text(number: u32, rounds: u32) -> String {
    format!(
        r#"name = "chaos-{number}"
description = "Learn a made-up rule while processes die."
agencies = {AGENCIES:?}
dataset = "{DATASET}"

[data.label]
column = "y"
positive = "1"
negative = "0"

[[data.features]]
kind = "numeric"
column = "x1"
min = -2.0
max = 2.0
scaling = "unit"

[[data.features]]
kind = "numeric"
column = "x2"
min = -2.0
max = 2.0
scaling = "unit"

[model]
family = "mlp"
hidden = [4]

[training]
rounds = {rounds}
learning_rate = 0.5
momentum = 0.5
seed = 7

[privacy]
mode = "record"
epsilon = 0.5
delta = 1e-6
clip_norm = 1.0
sampling_rate = 0.5

[secure_aggregation]
corrupt_fraction = 0.2
dropout_fraction = 0.2
min_survivors = {MIN_SURVIVORS}
max_attempts = 16
spare_attempts = 400
"#
    )
}

/// An agency's table.
pub fn table(agency: u64) -> String {
    let mut draw = Draw::new(agency.wrapping_mul(977) + 5);
    let mut unit = || draw.below(20_001) as f64 / 10_000.0 - 1.0;
    let mut out = String::from("x1,x2,y\n");
    for _ in 0..RECORDS {
        let (x1, x2) = (unit(), unit());
        let y = u8::from(x1 - 0.5 * x2 + 0.4 * unit() > 0.0);
        // Writing to a string does not fail.
        let _ = writeln!(out, "{x1:.4},{x2:.4},{y}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_job::JobSpec;

    #[test]
    fn the_job_is_valid_and_fits_the_tables() {
        let spec = JobSpec::from_toml(&text(3, 30)).unwrap();
        assert_eq!((spec.training.rounds, spec.agencies.len()), (30, 5));
        let table = table(2);
        assert_eq!(table.lines().count(), RECORDS + 1);
        let positive = table.lines().filter(|line| line.ends_with(",1")).count();
        assert!((60..240).contains(&positive), "{positive}");
    }
}
