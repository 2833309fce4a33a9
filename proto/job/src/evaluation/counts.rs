//! An evaluation's sum read as counts, and what its noise does to each figure.
//!
//! Everything here is `+ - * / sqrt` in a fixed order: whether a job goes on hangs on it, and every party
//! must come to the same bits. Noise goes into a figure by its first order (the delta method), which is
//! exact in the limit of many records.

use super::LOSS_CAP;

/// A sum of `2 bins + 1` values in units of records.
pub(super) struct Counts<'a> {
    /// By bin: negatives, or wrong ones of more classes.
    low: &'a [f64],
    /// By bin: positives, or right ones.
    high: &'a [f64],
    loss: f64,
    binary: bool,
    /// All of them.
    pub(super) records: f64,
}

impl<'a> Counts<'a> {
    /// `None` if the sum has another shape or no record is left under the noise.
    pub(super) fn of(sum: &'a [f64], binary: bool) -> Option<Self> {
        let bins = sum.len().checked_sub(1).filter(|n| *n > 0 && n % 4 == 0)? / 2;
        let (low, high) = (sum.get(..bins)?, sum.get(bins..bins * 2)?);
        let records: f64 = low.iter().chain(high).sum();
        let loss = *sum.last()?;
        if !(records.is_finite() && records >= 1.0 && loss.is_finite()) {
            return None;
        }
        Some(Self { low, high, loss, binary, records })
    }

    /// Whether the sum stands out of noise of this standard deviation in each value, and its loss is one
    /// that so many records can have. What is not is no reading: clamped, it would look like the best.
    pub(super) fn stands_out(&self, sigma: f64) -> bool {
        let noise = sigma * (2.0 * self.bins() as f64).sqrt();
        let most = self.records + 4.0 * (sigma + noise);
        self.records >= 3.0 * noise && self.loss >= -4.0 * sigma && self.loss <= most
    }

    pub(super) fn bins(&self) -> usize {
        self.low.len()
    }

    /// Share that is right.
    pub(super) fn accuracy(&self) -> f64 {
        let half = self.bins() / 2;
        let right: f64 = match self.binary {
            true => self.low.iter().take(half).chain(self.high.iter().skip(half)).sum(),
            false => self.high.iter().sum(),
        };
        (right / self.records).clamp(0.0, 1.0)
    }

    /// Mean cross-entropy in nats, a record's up to [`LOSS_CAP`].
    pub(super) fn log_loss(&self) -> f64 {
        (self.loss / self.records * LOSS_CAP).clamp(0.0, LOSS_CAP)
    }

    /// Probability that a positive's bin is above a negative's, one half in the same; of a binary model.
    /// Counts are taken as they are, also where noise made them negative: so the figure is not drawn
    /// towards one half.
    pub(super) fn auc(&self) -> Option<f64> {
        let (negatives, positives) = self.classes()?;
        let (mut above, mut below) = (0.0, 0.0);
        for (negative, positive) in self.low.iter().zip(self.high) {
            above += positive * (below + negative / 2.0);
            below += negative;
        }
        Some((above / (negatives * positives)).clamp(0.0, 1.0))
    }

    /// Negatives and positives of a binary model, if there is at least one of each.
    pub(super) fn classes(&self) -> Option<(f64, f64)> {
        let (negatives, positives) = (self.low.iter().sum(), self.high.iter().sum());
        (self.binary && negatives >= 1.0 && positives >= 1.0).then_some((negatives, positives))
    }

    /// Mean distance between a bin's middle and its share that is right, weighed by records.
    pub(super) fn calibration_error(&self) -> f64 {
        let (mut total, mut error) = (0.0, 0.0);
        for (i, (low, high)) in self.low.iter().zip(self.high).enumerate() {
            let (low, high) = (low.max(0.0), high.max(0.0));
            let here = low + high;
            total += here;
            if here > 0.0 {
                error += here * (high / here - self.middle(i)).abs();
            }
        }
        if total > 0.0 { error / total } else { 0.0 }
    }

    /// Standard deviation of the accuracy's noise: the right half of the counts carries that of `bins`
    /// values, all of them that of `2 bins`.
    pub(super) fn accuracy_noise(&self, sigma: f64) -> f64 {
        let a = self.accuracy();
        let variance = self.bins() as f64 * sigma * sigma * (1.0 - 2.0 * a + 2.0 * a * a);
        variance.sqrt() / self.records
    }

    /// Standard deviation of the log loss's noise, nats.
    pub(super) fn log_loss_noise(&self, sigma: f64) -> f64 {
        let (loss, values) = (self.log_loss(), 2.0 * self.bins() as f64);
        let variance = sigma * sigma * (LOSS_CAP * LOSS_CAP + loss * loss * values);
        variance.sqrt() / self.records
    }

    /// Standard deviation of the AUC's noise: the sum over counts of its derivative, squared.
    pub(super) fn auc_noise(&self, sigma: f64) -> Option<f64> {
        let (negatives, positives) = self.classes()?;
        let auc = self.auc()?;
        let (mut below, mut above, mut squares) = (0.0, positives, 0.0);
        for (negative, positive) in self.low.iter().zip(self.high) {
            above -= positive;
            let of_negative = (above + positive / 2.0 - auc * positives) / (negatives * positives);
            let of_positive = (below + negative / 2.0 - auc * negatives) / (negatives * positives);
            squares += of_negative * of_negative + of_positive * of_positive;
            below += negative;
        }
        Some(sigma * f64::sqrt(squares))
    }

    /// What noise and the choice of records add to the calibration error, at most: the mean of their
    /// absolute values, which does not vanish however good the model is, and so many deviations of it.
    /// `weight` is most of a unit's records. Uses that clamping counts moves them no further from true
    /// ones, and the triangle inequality.
    pub(super) fn calibration_within(&self, sigma: f64, weight: f64, deviations: f64) -> f64 {
        // Mean and variance of |x| for a standard normal x.
        let (mean, variance) = (0.797_885, 0.363_381);
        let (mut sum, mut squares) = (0.0, 0.0);
        for (i, (low, high)) in self.low.iter().zip(self.high).enumerate() {
            let (middle, here) = (self.middle(i), (low + high).max(0.0));
            let chosen = weight * here * middle * (1.0 - middle);
            sum += mean * (sigma + chosen.sqrt());
            squares += variance * (sigma * sigma + chosen);
        }
        let values = 2.0 * self.bins() as f64;
        let counted = deviations * sigma * values.sqrt() + 0.4 * sigma * values;
        (sum + deviations * squares.sqrt() + self.calibration_error() * counted) / self.records
    }

    fn middle(&self, bin: usize) -> f64 {
        (bin as f64 + 0.5) / self.bins() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: [f64; 9] = [310.0, 40.0, 205.0, 30.0, 21.0, 40.0, 70.0, 190.0, 40.0];

    /// A derivative by small steps in every value says what the formula says.
    #[test]
    fn noise_goes_through_each_figure_by_its_derivative() {
        let counts = Counts::of(&SUM, true).unwrap();
        let by_steps = |figure: &dyn Fn(&Counts<'_>) -> f64| {
            let base = figure(&counts);
            let squares: f64 = (0..SUM.len())
                .map(|i| {
                    let mut moved = SUM;
                    moved[i] += 1e-4;
                    let change = figure(&Counts::of(&moved, true).unwrap()) - base;
                    (change / 1e-4) * (change / 1e-4)
                })
                .sum();
            3.0 * squares.sqrt()
        };
        for (found, figure) in [
            (counts.accuracy_noise(3.0), by_steps(&|c| c.accuracy())),
            (counts.log_loss_noise(3.0), by_steps(&|c| c.log_loss())),
            (counts.auc_noise(3.0).unwrap(), by_steps(&|c| c.auc().unwrap())),
        ] {
            assert!((found / figure - 1.0).abs() < 1e-3, "{found} {figure}");
        }
        assert_eq!(counts.auc_noise(0.0), Some(0.0));
        assert!(
            counts.calibration_within(3.0, 1.0, 1.96) > counts.calibration_within(0.0, 1.0, 1.96)
        );
    }

    #[test]
    fn noise_below_zero_is_kept_in_the_auc() {
        let mut sum = SUM;
        let plain = Counts::of(&sum, true).unwrap().auc().unwrap();
        // What cancels over two bins of one class next to each other barely moves the figure.
        sum[0] += 50.0;
        sum[1] -= 50.0;
        let moved = Counts::of(&sum, true).unwrap().auc().unwrap();
        assert!((moved - plain).abs() < 0.02, "{plain} {moved}");
        assert!(Counts::of(&SUM, false).unwrap().auc().is_none());
    }
}
