//! Figures of an evaluation with intervals: from the number of records and from the noise.
//!
//! The records of the sum count as a sample of those that the model will see. Only what is reported is
//! computed here, nothing that a round hangs on.

use serde::{Deserialize, Serialize};

use super::LOSS_CAP;
use super::counts::Counts;

/// Deviations of a 95 % interval of one figure.
const ONE: f64 = 1.96;

/// A figure and where the true one lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// As read off the sum.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a sum is a sum of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Source {
    /// Whether the model has one logit.
    pub binary: bool,
    /// Standard deviation of the noise in each value, in records.
    pub sigma: f64,
    /// Most that one unit counts, in records: 1 unless persons have several. A unit's records are not
    /// independent; all sampling variances are multiplied by it, which is their worst case (the design
    /// effect of Kish 1965, section 5.4, with full correlation within units).
    pub weight: f64,
}

/// The figures of one evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Held-out records in the sum, about: noise moves it.
    pub records: f64,
    /// Share that is right. Sampling variance `p (1 - p) / n` with p drawn towards one half by two
    /// records each way (Agresti and Coull 1998).
    pub accuracy: Interval,
    /// Mean cross-entropy in nats, a record's up to [`LOSS_CAP`]. Of a mean L in `[0, cap]` no more is known
    /// than that the variance is at most `L (cap - L)` (Bhatia and Davis 2000); so this one is wide.
    pub log_loss: Interval,
    /// Area under the ROC curve; of a binary model. Sampling variance of Hanley and McNeil 1982.
    pub auc: Option<Interval>,
    /// Expected calibration error (Naeini et al. 2015). Noise alone makes it larger than it is.
    pub calibration_error: Interval,
}

impl Interval {
    fn around(value: f64, within: f64, most: f64) -> Self {
        let end = |v: f64| v.clamp(0.0, most);
        Self { value, low: end(value - within), high: end(value + within) }
    }
}

impl Measured {
    /// Reads a sum as [`super::Quality::of`] does; `deviations` is half the width of an interval over the
    /// figure's standard deviation, from [`deviations`].
    #[must_use]
    pub fn of(sum: &[f64], source: &Source, deviations: f64) -> Option<Self> {
        let counts = Counts::of(sum, source.binary)?;
        let Source { sigma, weight, .. } = *source;
        let n = counts.records;
        let within =
            |sampling: f64, noise: f64| deviations * (weight * sampling / n + noise * noise).sqrt();
        let accuracy = counts.accuracy();
        let p = (accuracy * n + 2.0) / (n + 4.0);
        let loss = counts.log_loss();
        let auc = counts.auc().zip(counts.auc_noise(sigma)).map(|(auc, noise)| {
            Interval::around(auc, within(n * auc_variance(&counts, auc), noise), 1.0)
        });
        let calibration = counts.calibration_within(sigma, weight, deviations);
        Some(Self {
            records: n,
            accuracy: Interval::around(
                accuracy,
                within(p * (1.0 - p), counts.accuracy_noise(sigma)),
                1.0,
            ),
            log_loss: Interval::around(
                loss,
                within(loss * (LOSS_CAP - loss), counts.log_loss_noise(sigma)),
                LOSS_CAP,
            ),
            auc,
            calibration_error: Interval::around(counts.calibration_error(), calibration, 1.0),
        })
    }
}

/// Sampling variance of an AUC (Hanley and McNeil 1982, "The meaning and use of the area under a receiver
/// operating characteristic (ROC) curve", equation 1). An AUC of 0 or 1 is drawn in by half a pair, since
/// there the formula says that nothing can vary.
fn auc_variance(counts: &Counts<'_>, auc: f64) -> f64 {
    let Some((negatives, positives)) = counts.classes() else { return 0.0 };
    let edge = 0.5 / negatives.min(positives).max(1.0);
    let a = auc.clamp(edge, 1.0 - edge);
    let (q1, q2) = (a / (2.0 - a), 2.0 * a * a / (1.0 + a));
    let sum = a * (1.0 - a) + (positives - 1.0) * (q1 - a * a) + (negatives - 1.0) * (q2 - a * a);
    sum / (negatives * positives)
}

/// Deviations of intervals that hold for all of `readings` figures at once in 95 of 100 cases, and so also
/// for the one that was chosen because it looked best: each is computed at 1 - 0.05 / readings (Bonferroni;
/// Dunn 1961, "Multiple comparisons among means"). Above one reading the quantile is bounded from above by
/// the solution z of `phi(z) / z = 0.025 / readings` (Mills' ratio, Gordon 1941).
#[must_use]
pub fn deviations(readings: u32) -> f64 {
    if readings <= 1 {
        return ONE;
    }
    let tail = 0.025 / f64::from(readings);
    let (mut low, mut high) = (ONE, 40.0);
    for _ in 0..80 {
        let z = f64::midpoint(low, high);
        let mills = (-z * z / 2.0).exp() / (z * std::f64::consts::TAU.sqrt());
        if mills > tail { low = z } else { high = z }
    }
    high
}

/// How much better than the truth the best of so many readings looks on average, at most: the largest of n
/// normal errors of one deviation lies at `sqrt(2 ln n)` or below, however they hang together (Boucheron,
/// Lugosi and Massart 2013, theorem 2.5). In the unit of `deviation`.
#[must_use]
pub fn optimism(deviation: f64, readings: u32) -> f64 {
    deviation * (2.0 * f64::from(readings.max(1)).ln()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_by_hand() {
        // 100 negatives and 50 positives, AUC 0.8, as in the paper's formula.
        let mut sum = [60.0, 20.0, 12.0, 8.0, 5.0, 10.0, 10.0, 25.0, 9.0];
        let source = Source { binary: true, sigma: 0.0, weight: 1.0 };
        let found = Measured::of(&sum, &source, 1.96).unwrap();
        let a: f64 = found.auc.unwrap().value;
        let (q1, q2) = (a / (2.0 - a), 2.0 * a * a / (1.0 + a));
        let variance = (a * (1.0 - a) + 49.0 * (q1 - a * a) + 99.0 * (q2 - a * a)) / 5000.0;
        assert!((found.auc.unwrap().high - a - 1.96 * variance.sqrt()).abs() < 1e-12);
        let loss = 9.0 / 150.0 * 8.0;
        let half = 1.96 * (loss * (8.0 - loss) / 150.0_f64).sqrt();
        assert!((found.log_loss.high - loss - half).abs() < 1e-12);
        // Noise, several records of a person and choosing among ten each widen every interval.
        let width = |m: &Measured| {
            let intervals = [m.accuracy, m.log_loss, m.auc.unwrap(), m.calibration_error];
            intervals.map(|i| i.high - i.low)
        };
        for wider in [
            Measured::of(&sum, &Source { sigma: 2.0, ..source }, 1.96),
            Measured::of(&sum, &Source { weight: 4.0, ..source }, 1.96),
            Measured::of(&sum, &source, deviations(10)),
        ] {
            let (narrow, wide) = (width(&found), width(&wider.unwrap()));
            assert!(narrow.iter().zip(wide).all(|(a, b)| b > *a), "{narrow:?} {wide:?}");
        }
        // A perfect model is not known to be perfect.
        sum = [100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 50.0, 0.0];
        let perfect = Measured::of(&sum, &source, 1.96).unwrap();
        assert!(perfect.accuracy.low < 1.0 && perfect.auc.unwrap().low < 1.0);
    }

    #[test]
    fn choosing_among_more_widens_and_never_narrows() {
        // True quantiles of the normal at 1 - 0.025 / n.
        for (n, quantile) in [(1, 1.959_964), (2, 2.241_403), (10, 2.807_034), (100, 3.480_756)] {
            let found = deviations(n);
            assert!(found >= quantile && found < quantile * 1.03, "{n}: {found} {quantile}");
        }
        assert!((1..200).all(|n| deviations(n) <= deviations(n + 1)));
        assert_eq!(optimism(2.0, 1), 0.0);
        // The largest of ten independent normals lies at 1.539 on average.
        assert!(optimism(1.0, 10) > 1.539 && optimism(1.0, 10) < 2.2);
    }

    /// Draws models' records and noise over and over: the intervals hold at least as often as they say.
    #[test]
    fn intervals_hold_as_often_as_they_say() {
        let mut state = 7_u64;
        let mut uniform = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
        };
        let source = Source { binary: true, sigma: 6.0, weight: 1.0 };
        // Positives lie in the upper of four bins with 0.7, negatives in the lower ones.
        let shares = [0.4, 0.3, 0.2, 0.1];
        let truth = (0.5 * 0.7 + 0.5 * 0.7, {
            let mut auc = 0.0;
            for (i, p) in shares.iter().rev().enumerate() {
                for (j, n) in shares.iter().enumerate() {
                    auc += p
                        * n
                        * if i > j {
                            1.0
                        } else if i == j {
                            0.5
                        } else {
                            0.0
                        };
                }
            }
            auc
        });
        let (trials, mut missed) = (1000, [0; 2]);
        for _ in 0..trials {
            let mut sum = [0.0; 9];
            for record in 0..600 {
                let (u, mut bin, mut left) = (uniform(), 0, 0.0);
                while bin < 3 && u > left + shares[bin] {
                    left += shares[bin];
                    bin += 1;
                }
                let positive = record % 2 == 0;
                sum[if positive { 4 + 3 - bin } else { bin }] += 1.0;
            }
            for value in &mut sum {
                let radius = (-2.0 * uniform().ln()).sqrt();
                *value += 6.0 * radius * (std::f64::consts::TAU * uniform()).cos();
            }
            let found = Measured::of(&sum, &source, 1.96).unwrap();
            let auc = found.auc.unwrap();
            missed[0] += i32::from(found.accuracy.low > truth.0 || found.accuracy.high < truth.0);
            missed[1] += i32::from(auc.low > truth.1 || auc.high < truth.1);
        }
        // 5 % and three deviations of a binomial.
        assert!(missed.iter().all(|m| *m <= 71), "{missed:?} of {trials}");
        assert!(missed.iter().all(|m| *m >= 5), "far too wide: {missed:?}");
    }
}
