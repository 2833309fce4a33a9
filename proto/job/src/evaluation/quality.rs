//! A model's quality as one evaluation's sum has it, in plain figures.
//!
//! Knows the sum and its noise; neither rounds nor what the figures are used for.

use serde::{Deserialize, Serialize};

use super::counts::Counts;

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
    /// Mean cross-entropy in nats, a record's counted up to [`super::LOSS_CAP`].
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
        let counts = Counts::of(sum, binary)?;
        let accuracy = counts.accuracy();
        let noise = counts.accuracy_noise(sigma);
        let variance = accuracy * (1.0 - accuracy) / counts.records + noise * noise;
        Some(Self {
            records: counts.records,
            accuracy,
            accuracy_within: 1.96 * variance.sqrt(),
            log_loss: counts.log_loss(),
            auc: counts.auc(),
            calibration_error: counts.calibration_error(),
        })
    }
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
