//! Small made-up tables: the same at every run, different for every agency.

use std::fmt::Write;

/// The columns; `x1` and `x2` are numbers in [-1, 1], `kind` is a category, `y` is the label.
pub const HEADER: &str = "x1,x2,kind,y";

/// A table with a header line. The label follows a rule over all columns, with some noise; each
/// agency (`seed`) sees a shifted part of it.
pub fn table(seed: u64, records: usize) -> String {
    let mut random = Lcg(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let shift = (seed % 7) as f64 / 14.0 - 0.2;
    let mut out = format!("{HEADER}\n");
    for _ in 0..records {
        let (x1, x2) = (random.unit() + shift, random.unit());
        let kind = ["red", "green", "blue"][(random.next() % 3) as usize];
        let push = if kind == "red" { 0.5 } else { -0.2 };
        let y = x1 - 0.5 * x2 + push + 0.4 * random.unit() > 0.0;
        writeln!(out, "{x1:.4},{x2:.4},{kind},{}", u8::from(y)).expect("writing to a string");
    }
    out
}

/// A linear congruential generator (Knuth's MMIX constants): enough for test data.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 33
    }

    /// Uniform in [-1, 1).
    fn unit(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 30) as f64 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_deterministic_distinct_and_have_both_labels() {
        assert_eq!(table(1, 50), table(1, 50));
        assert_ne!(table(1, 50), table(2, 50));
        for seed in 0..8 {
            let text = table(seed, 200);
            let positive = text.lines().filter(|l| l.ends_with(",1")).count();
            assert!((20..180).contains(&positive), "{seed}: {positive}");
            assert!(text.lines().skip(1).all(|l| l.split(',').count() == 4));
        }
    }
}
