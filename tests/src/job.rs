//! The job that the tests run: a tiny network over the columns of [`crate::table`].

/// A job file to be.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// The roster.
    pub agencies: Vec<String>,
    /// The dataset's name at every agency.
    pub dataset: String,
    /// Training rounds; the statistics round comes on top.
    pub rounds: u32,
    /// Epsilon of the whole job, as it stands in the file.
    pub epsilon: String,
    /// Name of the first numeric column.
    pub column: String,
    /// Smallest survivor set.
    pub min_survivors: usize,
    /// Widths of the hidden layers, as they stand in the file.
    pub hidden: String,
}

impl Job {
    /// A job of all these agencies over the dataset `toy`. The smallest survivor set is the least
    /// that the protocol allows: 3 of 3, 4 of 5.
    pub fn new<'a>(agencies: impl IntoIterator<Item = &'a str>, rounds: u32) -> Self {
        let agencies: Vec<String> = agencies.into_iter().map(str::to_owned).collect();
        Self {
            name: "toy".into(),
            min_survivors: least_survivors(agencies.len()),
            agencies,
            dataset: "toy".into(),
            rounds,
            epsilon: "1.0".into(),
            column: "x1".into(),
            hidden: "[4]".into(),
        }
    }

    /// The job file.
    pub fn to_toml(&self) -> String {
        let Self { name, agencies, dataset, rounds, epsilon, column, .. } = self;
        let Self { min_survivors, hidden, .. } = self;
        format!(
            r#"name = "{name}"
description = "Learn a made-up rule, for a test."
agencies = {agencies:?}
dataset = "{dataset}"

[data.label]
column = "y"
positive = "1"
negative = "0"

[[data.features]]
kind = "numeric"
column = "{column}"
min = -2.0
max = 2.0

[[data.features]]
kind = "numeric"
column = "x2"
min = -2.0
max = 2.0

[[data.features]]
kind = "category"
column = "kind"
values = ["red", "green", "blue"]

[model]
family = "mlp"
hidden = {hidden}

[training]
rounds = {rounds}
learning_rate = 0.5
momentum = 0.5
seed = 7

[privacy]
mode = "record"
epsilon = {epsilon}
delta = 1e-6
clip_norm = 1.0
sampling_rate = 0.1

[secure_aggregation]
corrupt_fraction = 0.2
dropout_fraction = 0.2
min_survivors = {min_survivors}
max_attempts = 4
spare_attempts = 10
"#
        )
    }
}

/// The least survivors that the protocol allows at fractions of 0.2: a quorum of which any two
/// share an honest agency, and four fifths.
pub fn least_survivors(agencies: usize) -> usize {
    let corrupt = agencies.div_ceil(5);
    let quorum = (agencies + corrupt) / 2 + 1;
    quorum.max((agencies * 4).div_ceil(5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_job::JobSpec;

    #[test]
    fn the_job_file_is_valid() {
        let spec = JobSpec::from_toml(&Job::new(["a", "b", "c"], 3).to_toml()).unwrap();
        assert_eq!((spec.training.rounds, spec.agencies.len()), (3, 3));
        assert_eq!([3, 4, 5].map(least_survivors), [3, 4, 4]);
    }
}
