//! Evaluation rounds: what agencies count on held-out records, when, and what follows from it.
//!
//! A record adds one to a bin of predicted probability and its loss to the last coordinate; only the
//! sum over agencies is seen, with the noise of its own release. Which records are held out is a matter of
//! the record alone, so that they are never trained on, and the same in every job. Knows neither records
//! nor trainers.

mod counts;
mod interval;
mod quality;
mod stopping;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use interval::{Interval, Measured, Source, deviations, optimism};
pub use quality::Quality;
pub use stopping::{Keep, Metric, Reading, Rules, Standing, StoppingSpec};

/// Most nats that a record's loss counts for.
pub const LOSS_CAP: f64 = 8.0;

/// L2 norm of what a record adds: one in a bin, at most one (its loss over [`LOSS_CAP`]) beside it.
pub const RECORD_NORM: f64 = std::f64::consts::SQRT_2;

/// `[evaluation]`: rounds that measure the model on records that no round trains on; one at the end, or
/// several on the way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSpec {
    /// Share of the units that is held out, in (0, 0.5].
    #[serde(default = "default_holdout")]
    pub holdout: f64,
    /// Bins of the predicted probability, even, 2 to 200.
    #[serde(default = "default_bins")]
    pub bins: u32,
    /// Noise multiplier of each release. Every attempt that the rounds may take is charged in advance.
    #[serde(default = "default_noise")]
    pub noise_multiplier: f64,
    /// Training rounds between two evaluations, 1 to 100,000; the last evaluation follows the last
    /// training round. Left out, there is one evaluation, at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u32>,
    /// Which state is released: the last one if left out. `best` needs `every`, and goes by
    /// `stopping.metric`, or by the log loss without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Ends the job once the metric stops improving; needs `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<StoppingSpec>,
}

fn default_holdout() -> f64 {
    0.2
}
fn default_bins() -> u32 {
    20
}
fn default_noise() -> f64 {
    10.0
}

impl EvaluationSpec {
    /// Coordinates of the vector: two counts a bin, and the loss.
    pub fn vector_len(&self) -> usize {
        self.bins as usize * 2 + 1
    }

    /// The field that is out of bounds and what it must be. `binary`: whether the model has one logit.
    pub(crate) fn problem(&self, binary: bool) -> Option<(&'static str, &'static str)> {
        if !(self.holdout > 0.0 && self.holdout <= 0.5) {
            return Some(("holdout", "must be above 0 and at most 0.5"));
        }
        if !(2..=200).contains(&self.bins) || self.bins % 2 == 1 {
            return Some(("bins", "must be even, 2 to 200"));
        }
        if !(self.noise_multiplier.is_finite() && self.noise_multiplier > 0.0) {
            return Some(("noise_multiplier", "must be finite and positive"));
        }
        match self.every {
            Some(every) if !(1..=100_000).contains(&every) => Some((
                "every",
                "must be between 1 and 100,000; leave it out to evaluate at the end",
            )),
            None if self.stopping.is_some() => {
                Some(("stopping", "needs evaluation.every: say how often the model is measured"))
            }
            None if self.keep == Some(Keep::Best) => Some((
                "keep",
                "\"best\" needs evaluation.every: one evaluation has nothing to choose",
            )),
            _ => self.stopping.as_ref().and_then(|stopping| stopping.problem(binary)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_together_is_named() {
        let base: EvaluationSpec = toml::from_str("").unwrap();
        assert_eq!(base.problem(true), None);
        let of = |text: &str| toml::from_str::<EvaluationSpec>(text).unwrap().problem(false);
        for (text, field) in [
            ("every = 0", "every"),
            ("[stopping]\nmetric = \"log_loss\"\npatience = 2", "stopping"),
            ("keep = \"best\"", "keep"),
            ("every = 2\n[stopping]\nmetric = \"accuracy\"\npatience = 0", "stopping.patience"),
            ("every = 2\n[stopping]\nmetric = \"auc\"\npatience = 1", "stopping.metric"),
            (
                "every = 2\n[stopping]\nmetric = \"accuracy\"\npatience = 1\nmin_improvement = -0.1",
                "stopping.min_improvement",
            ),
        ] {
            assert_eq!(of(text).map(|p| p.0), Some(field), "{text}");
        }
        assert_eq!(of("every = 2\nkeep = \"best\""), None);
        assert_eq!(of("keep = \"last\""), None);
        assert!(toml::from_str::<EvaluationSpec>("evry = 2").is_err());
        // A job without the new fields is written as it always was.
        assert_eq!(serde_json::to_value(base).unwrap().as_object().unwrap().len(), 3);
    }
}
