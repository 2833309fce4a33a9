//! When a job ends early and which state it releases: a pure function of the evaluations' sums.
//!
//! Every party recomputes it from the certified sums that its own state carries, so nobody is told that a
//! job is over or which model is best. `+ - * / sqrt` only. Knows no rounds and no models.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LOSS_CAP;
use super::counts::Counts;

/// What evaluations are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean cross-entropy in nats; lower is better.
    LogLoss,
    /// Share of records that is right; higher is better.
    Accuracy,
    /// Area under the ROC curve, of a binary model; higher is better.
    Auc,
}

/// Which state is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The one after the last training round.
    #[default]
    Last,
    /// The one whose evaluation was best; of equal ones the first.
    Best,
}

/// `[evaluation.stopping]`: ends the job once the metric stops improving.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoppingSpec {
    /// What evaluations are compared by.
    pub metric: Metric,
    /// Evaluations in a row without progress after which the job ends, 1 to 1000.
    pub patience: u32,
    /// What a reading must gain over the last one that was progress, in the metric's unit, 0 to 8. Left
    /// out, it follows from the noise: 1.96 standard deviations of the difference of the two readings, so
    /// that noise alone looks like progress about once in forty comparisons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_improvement: Option<f64>,
}

/// One evaluation by the metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// In the metric's unit.
    pub value: f64,
    /// Standard deviation of its noise, in the same unit; without that of the records.
    pub noise: f64,
}

/// What follows from the readings of a job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rules {
    /// What evaluations are compared by.
    pub metric: Metric,
    /// Evaluations without progress after which the job ends; `None`: it goes on to its last round.
    pub patience: Option<u32>,
    /// What a reading must gain; `None`: from the noise.
    pub min_improvement: Option<f64>,
    /// Which state is released.
    pub keep: Keep,
    /// Whether the model has one logit.
    pub binary: bool,
    /// Integer units of the sums per record.
    pub scale: f64,
    /// Standard deviation of the noise in each value of a sum, in records, if every agency's vector is in
    /// it. Fewer agencies make less noise: the threshold is then rather too high.
    pub sigma: f64,
}

/// Where a job stands after its evaluations so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// The best evaluation, counted from 0; `None` if none could be read.
    pub best: Option<usize>,
    /// Evaluations since the last progress.
    pub stale: u32,
    /// Whether no further round may run.
    pub stops: bool,
}

impl Metric {
    /// As it stands in a job file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LogLoss => "log_loss",
            Self::Accuracy => "accuracy",
            Self::Auc => "auc",
        }
    }

    /// How much better `new` is than `old`; negative if it is worse.
    fn gain(self, new: f64, old: f64) -> f64 {
        match self {
            Self::LogLoss => old - new,
            Self::Accuracy | Self::Auc => new - old,
        }
    }
}

impl StoppingSpec {
    pub(super) fn problem(&self, binary: bool) -> Option<(&'static str, &'static str)> {
        if self.metric == Metric::Auc && !binary {
            return Some(("stopping.metric", "\"auc\" needs a binary label; use log_loss"));
        }
        if !(1..=1000).contains(&self.patience) {
            return Some(("stopping.patience", "must be between 1 and 1000"));
        }
        if self.min_improvement.is_some_and(|m| !(0.0..=LOSS_CAP).contains(&m)) {
            return Some(("stopping.min_improvement", "must be between 0 and 8"));
        }
        None
    }
}

impl Rules {
    /// The sum's values in records.
    #[must_use]
    pub fn in_records(&self, sum: &[i64]) -> Vec<f64> {
        sum.iter().map(|v| *v as f64 / self.scale).collect()
    }

    /// One sum by the metric; `None` if it drowned in noise, cannot come from records, or has another
    /// shape.
    #[must_use]
    pub fn reading(&self, sum: &[i64]) -> Option<Reading> {
        let values = self.in_records(sum);
        let counts = Counts::of(&values, self.binary).filter(|c| c.stands_out(self.sigma))?;
        Some(match self.metric {
            Metric::LogLoss => {
                Reading { value: counts.log_loss(), noise: counts.log_loss_noise(self.sigma) }
            }
            Metric::Accuracy => {
                Reading { value: counts.accuracy(), noise: counts.accuracy_noise(self.sigma) }
            }
            Metric::Auc => Reading { value: counts.auc()?, noise: counts.auc_noise(self.sigma)? },
        })
    }

    /// What `new` must gain over `old` to be progress.
    #[must_use]
    pub fn threshold(&self, new: &Reading, old: &Reading) -> f64 {
        let noise = || 1.96 * (new.noise * new.noise + old.noise * old.noise).sqrt();
        self.min_improvement.unwrap_or_else(noise)
    }

    /// Where a job with these sums stands. What comes after the evaluation that stopped it is not looked
    /// at: there can be none. The first reading is progress; one that drowned in noise is not.
    #[must_use]
    pub fn judge<S: AsRef<[i64]>>(&self, sums: &[S]) -> Standing {
        let mut standing = Standing::default();
        let (mut reference, mut best): (Option<Reading>, Option<Reading>) = (None, None);
        for (i, sum) in sums.iter().enumerate() {
            let new = self.reading(sum.as_ref());
            let gain = |new: &Reading, old: &Reading| self.metric.gain(new.value, old.value);
            let progress = new.filter(|new| {
                reference.is_none_or(|old| gain(new, &old) > self.threshold(new, &old))
            });
            if let Some(new) = new
                && best.is_none_or(|best| gain(&new, &best) > 0.0)
            {
                (best, standing.best) = (Some(new), Some(i));
            }
            match progress {
                Some(new) => (reference, standing.stale) = (Some(new), 0),
                None => standing.stale += 1,
            }
            if self.patience.is_some_and(|patience| standing.stale >= patience) {
                standing.stops = true;
                break;
            }
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(patience: Option<u32>, min_improvement: Option<f64>, sigma: f64) -> Rules {
        let metric = Metric::Accuracy;
        let keep = Keep::Best;
        Rules { metric, patience, min_improvement, keep, binary: true, scale: 10.0, sigma }
    }

    /// Two bins, 1000 records, so many in a thousand right.
    fn sum(right: i64) -> Vec<i64> {
        vec![right * 5, (1000 - right) * 5, (1000 - right) * 5, right * 5, 500]
    }

    /// A sum that drowned, or that a hostile agency moved out of what records can give, is not the best.
    #[test]
    fn what_cannot_be_read_is_not_the_best() {
        let metric = Metric::LogLoss;
        let rules = Rules { metric, ..rules(None, None, 20.0) };
        let good = sum(700);
        let drowned = vec![200, 0, 0, 200, -100];
        let mut poisoned = sum(700);
        poisoned[4] = -1_000_000;
        assert_eq!(rules.judge(&[good, drowned, poisoned]).best, Some(0));
    }

    #[test]
    fn slow_progress_counts_and_standing_still_ends_the_job() {
        let rules = rules(Some(2), Some(0.01), 0.0);
        let of = |rights: &[i64]| rules.judge(&rights.iter().map(|r| sum(*r)).collect::<Vec<_>>());
        // Half a point each: every second one is progress over the last that was.
        let slow = of(&[700, 706, 712, 718, 724, 730]);
        assert_eq!(slow, Standing { best: Some(5), stale: 1, stops: false });
        let flat = of(&[700, 705, 703]);
        assert_eq!(flat, Standing { best: Some(1), stale: 2, stops: true });
        // One reading is progress, none is nothing.
        assert_eq!(of(&[500]), Standing { best: Some(0), stale: 0, stops: false });
        assert_eq!(of(&[]), Standing::default());
        // Of equal ones the first is best.
        assert_eq!(of(&[700, 700]).best, Some(0));
    }

    #[test]
    fn what_drowned_in_noise_is_no_progress_and_never_best() {
        let rules = rules(Some(2), None, 1.0);
        let drowned = vec![-900, 100, 100, -900, 0];
        assert_eq!(rules.judge(&[drowned.clone(), sum(700)]).best, Some(1));
        assert!(rules.judge(&[drowned.clone(), drowned.clone()]).stops);
        assert_eq!(rules.judge(&[drowned]).best, None);
    }

    #[test]
    fn a_lower_loss_is_better() {
        let rules = Rules { metric: Metric::LogLoss, ..rules(Some(1), Some(0.01), 0.0) };
        let with = |loss: i64| vec![4000, 1000, 1000, 4000, loss];
        assert!(!rules.judge(&[with(900), with(800)]).stops);
        assert_eq!(
            rules.judge(&[with(800), with(900)]),
            Standing { best: Some(0), stale: 1, stops: true }
        );
    }

    /// The default threshold: noise of the size that the plan says, on a model that does not change, looks
    /// like progress about once in forty comparisons.
    #[test]
    fn noise_alone_is_rarely_progress() {
        let mut state = 3_u64;
        let mut uniform = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
        };
        let sigma = 20.0;
        let mut noisy = || -> Vec<i64> {
            let noise = |v: i64, u: f64, w: f64| {
                let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * w).cos();
                v + (10.0 * sigma * normal) as i64
            };
            sum(700).into_iter().map(|v| noise(v, uniform(), uniform())).collect()
        };
        for metric in [Metric::Accuracy, Metric::LogLoss, Metric::Auc] {
            let rules = Rules { metric, ..rules(Some(1), None, sigma) };
            let trials = 4000;
            let progress = (0..trials).filter(|_| !rules.judge(&[noisy(), noisy()]).stops).count();
            // 2.5 % and four deviations of a binomial.
            assert!(progress <= 140 && progress > 30, "{metric:?}: {progress} of {trials}");
        }
    }

    proptest! {
        /// The decision is a function of the sums alone, says the same of every prefix, and does not take
        /// itself back: what follows a stop changes nothing.
        #[test]
        fn the_decision_is_a_pure_function_of_the_history(
            sums in proptest::collection::vec(
                proptest::collection::vec(-2000_i64..20_000, 5), 0..12,
            ),
            patience in proptest::option::of(1u32..4),
            min_improvement in proptest::option::of(0.0..0.2f64),
            sigma in 0.0..30.0f64,
            metric in prop_oneof![
                Just(Metric::LogLoss), Just(Metric::Accuracy), Just(Metric::Auc),
            ],
        ) {
            let rules = Rules { metric, ..rules(patience, min_improvement, sigma) };
            let whole = rules.judge(&sums);
            prop_assert_eq!(whole, rules.judge(&sums.clone()));
            let mut stopped: Option<Standing> = None;
            for n in 0..=sums.len() {
                let now = rules.judge(&sums[..n]);
                prop_assert!(now.best.is_none_or(|best| best < n));
                if let Some(before) = stopped {
                    prop_assert_eq!(now, before);
                }
                prop_assert_eq!(now.stops, patience.is_some_and(|p| now.stale >= p));
                stopped = stopped.or(now.stops.then_some(now));
                // No reading so far is better than the best.
                if let Some(best) = now.best.filter(|_| !now.stops) {
                    let of = |i: usize| rules.reading(&sums[i]).map(|r| r.value);
                    for i in 0..n {
                        let gain = of(i).map(|v| metric.gain(v, of(best).unwrap_or(v)));
                        prop_assert!(gain.is_none_or(|gain| gain <= 0.0));
                    }
                }
            }
            prop_assert_eq!(stopped.unwrap_or(whole), whole);
        }
    }
}
