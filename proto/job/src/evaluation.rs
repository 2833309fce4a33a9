//! The evaluation round: what agencies count on held-out records, and what can be read off the sum.
//!
//! A record adds one to a bin of predicted probability and its loss to the last coordinate; only the
//! sum over agencies is seen, with the noise of its own release. Which records are held out is a matter of
//! the record alone, so that they are never trained on, and the same in every job. Knows neither records
//! nor trainers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most nats that a record's loss counts for.
pub const LOSS_CAP: f64 = 8.0;

/// L2 norm of what a record adds: one in a bin, at most one (its loss over [`LOSS_CAP`]) beside it.
pub const RECORD_NORM: f64 = std::f64::consts::SQRT_2;

/// `[evaluation]`: a last round that measures the model on records that no round trains on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSpec {
    /// Share of the units that is held out, in (0, 0.5].
    #[serde(default = "default_holdout")]
    pub holdout: f64,
    /// Bins of the predicted probability, even, 2 to 200.
    #[serde(default = "default_bins")]
    pub bins: u32,
    /// Noise multiplier of the release. Each attempt the round may take is charged in advance.
    #[serde(default = "default_noise")]
    pub noise_multiplier: f64,
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

    /// The field that is out of bounds and what it must be.
    pub(crate) fn problem(&self) -> Option<(&'static str, &'static str)> {
        if !(self.holdout > 0.0 && self.holdout <= 0.5) {
            return Some(("holdout", "must be above 0 and at most 0.5"));
        }
        if !(2..=200).contains(&self.bins) || self.bins % 2 == 1 {
            return Some(("bins", "must be even, 2 to 200"));
        }
        if !(self.noise_multiplier.is_finite() && self.noise_multiplier > 0.0) {
            return Some(("noise_multiplier", "must be finite and positive"));
        }
        None
    }
}

/// Quality of a model on the agencies' held-out records, from a noisy sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Held-out records in the sum, about: noise moves it.
    pub records: f64,
    /// Share that is right: at probability one half, or of the most probable class.
    pub accuracy: f64,
    /// Half the width of an interval that holds the accuracy in 95 of 100 cases: from the number of
    /// records and the noise.
    pub accuracy_within: f64,
    /// Mean cross-entropy in nats, a record's counted up to [`LOSS_CAP`].
    pub log_loss: f64,
    /// Area under the ROC curve from the bins; of a binary model only.
    pub auc: Option<f64>,
    /// Mean distance between predicted probability and share that is right (positive, of a binary
    /// model), over bins weighed by their records (Naeini et al. 2015, expected calibration error).
    pub calibration_error: f64,
}

impl Quality {
    /// Reads a sum of `2 bins + 1` values in units of records: by bin negatives then positives (of more
    /// classes: wrong, then right), and the loss. `sigma` is the noise's standard deviation in each value.
    /// `None` if the sum has another shape or no record is left under the noise.
    pub fn of(sum: &[f64], binary: bool, sigma: f64) -> Option<Self> {
        let bins = sum.len().checked_sub(1).filter(|n| *n > 0 && n % 4 == 0)? / 2;
        let (low, high) = (sum.get(..bins)?, sum.get(bins..bins * 2)?);
        let records: f64 = low.iter().chain(high).sum();
        if !(records.is_finite() && records >= 1.0) {
            return None;
        }
        let half = bins / 2;
        let right: f64 = match binary {
            true => low.iter().take(half).chain(high.iter().skip(half)).sum(),
            false => high.iter().sum(),
        };
        let accuracy = (right / records).clamp(0.0, 1.0);
        // The right half of the counts and all of them: noise of `bins` and of `2 bins` values.
        let noise =
            bins as f64 * sigma * sigma * (1.0 - 2.0 * accuracy + 2.0 * accuracy * accuracy);
        let variance = accuracy * (1.0 - accuracy) / records + noise / (records * records);
        let loss = *sum.last()? / records * LOSS_CAP;
        let counts = || low.iter().zip(high).map(|(l, h)| (l.max(0.0), h.max(0.0)));
        Some(Self {
            records,
            accuracy,
            accuracy_within: 1.96 * variance.sqrt(),
            log_loss: loss.clamp(0.0, LOSS_CAP),
            auc: if binary { auc(counts()) } else { None },
            calibration_error: calibration_error(counts(), bins),
        })
    }
}

/// Probability that a positive's bin is above a negative's, one half in the same.
fn auc(counts: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (mut above, mut negatives, mut positives) = (0.0, 0.0, 0.0);
    for (negative, positive) in counts {
        above += positive * (negatives + negative / 2.0);
        negatives += negative;
        positives += positive;
    }
    (negatives > 0.0 && positives > 0.0).then(|| above / (negatives * positives))
}

fn calibration_error(counts: impl Iterator<Item = (f64, f64)>, bins: usize) -> f64 {
    let (mut total, mut error) = (0.0, 0.0);
    for (i, (low, high)) in counts.enumerate() {
        let (middle, here) = ((i as f64 + 0.5) / bins as f64, low + high);
        total += here;
        if here > 0.0 {
            error += here * (high / here - middle).abs();
        }
    }
    if total > 0.0 { error / total } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_by_hand() {
        // Four bins; 10 negatives at the bottom, 5 in the third; 1 positive in the first, 9 in the last.
        let sum = [10.0, 0.0, 5.0, 0.0, 1.0, 0.0, 0.0, 9.0, 2.5];
        let q = Quality::of(&sum, true, 0.0).unwrap();
        assert_eq!((q.records, q.accuracy, q.log_loss), (25.0, 19.0 / 25.0, 0.8));
        assert_eq!(q.auc, Some((1.0 * 5.0 + 9.0 * 15.0) / 150.0));
        let expected = (11.0 * (1.0 / 11.0 - 0.125_f64).abs() + 5.0 * 0.625 + 9.0 * 0.125) / 25.0;
        assert!((q.calibration_error - expected).abs() < 1e-12);
        let binomial = 1.96 * (0.76 * 0.24 / 25.0_f64).sqrt();
        assert!((q.accuracy_within - binomial).abs() < 1e-12);
        assert!(Quality::of(&sum, true, 1.0).unwrap().accuracy_within > binomial);
        let classes = Quality::of(&sum, false, 0.0).unwrap();
        assert_eq!((classes.accuracy, classes.auc), (10.0 / 25.0, None));
    }

    #[test]
    fn nothing_is_read_off_noise_alone() {
        assert_eq!(Quality::of(&[], true, 1.0), None);
        assert_eq!(Quality::of(&[1.0; 8], true, 1.0), None);
        assert_eq!(Quality::of(&[-1.0; 9], true, 1.0), None);
        assert_eq!(Quality::of(&[f64::NAN; 9], true, 1.0), None);
    }
}
