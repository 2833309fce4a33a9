//! [`Trainer`] for times to an event: proportional hazards in the piecewise-exponential form, in plain
//! Rust.
//!
//! Cox's partial likelihood compares each event with everybody still at risk, so one record is part of
//! the terms of all others: no record has a gradient of its own to clip, and agencies' sums do not add
//! up. The full likelihood with a baseline hazard that is constant within each of the job's intervals
//! has neither trouble. It is that of independent Poisson counts (Holford 1980, "The analysis of rates
//! and of survivorship using log-linear models", section 2; Friedman 1982, "Piecewise exponential models
//! for survival data with covariates", section 2), so each record's loss depends on that record alone.
//!
//! With x the features, beta the coefficients, alpha_j the log of the baseline's cumulative hazard over
//! interval j, e_j the share of interval j for which the record was followed, and d_j 1 if its event
//! fell into j: `loss = sum_j e_j exp(alpha_j + beta x) - d_j (alpha_j + beta x)`.
//! Everything is f64; a unit's gradient is made as a whole, clipped, and added. It must not know where
//! records came from, noise or peers.

use tributary_job::spec::ModelSpec;

use crate::batch::{Batch, MICROBATCH, Rows};
use crate::clipping::{ClipNorm, Weighting};
use crate::trainer::{ClippedSum, EventLosses, Trainer, TrainerError, check_call};

const NAME: &str = "cox";

/// The trainer of family `cox`; the same with and without libtorch.
#[derive(Debug, Clone)]
pub struct CoxTrainer {
    ends: Vec<f64>,
    inputs: usize,
}

/// How a record was followed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Followed {
    /// Intervals that it was followed through to their end.
    whole: usize,
    /// Share of the next interval, in `[0, 1]`.
    part: f64,
    /// The interval of its event.
    event: Option<usize>,
    /// Whether its state at the last end is known: it had the event by then, or was followed so far.
    known: bool,
}

impl CoxTrainer {
    /// A trainer for a model of `inputs` features.
    ///
    /// # Errors
    /// [`TrainerError::Unsupported`] for another family, or intervals that no job may have.
    pub fn new(model: &ModelSpec, inputs: usize) -> Result<Self, TrainerError> {
        let unsupported =
            TrainerError::Unsupported { trainer: NAME, what: "learn times to an event" };
        let ModelSpec::Cox { intervals } = model else { return Err(unsupported) };
        // Durations are f32: one that ends with an interval must belong to it.
        let ends: Vec<f64> = intervals.iter().map(|end| f64::from(*end as f32)).collect();
        let rising = ends.windows(2).all(|pair| pair[0] < pair[1]);
        match rising && ends.first().is_some_and(|end| *end > 0.0) {
            true => Ok(Self { ends, inputs }),
            false => Err(unsupported),
        }
    }

    /// Reads a label: the time of the event, or minus the time up to which it had not come. `None` for
    /// what is no number.
    fn followed(&self, label: f32) -> Option<Followed> {
        if !label.is_finite() {
            return None;
        }
        let (duration, event) = (f64::from(label.abs()), label.is_sign_positive());
        let whole = self.ends.partition_point(|end| *end < duration);
        let Some(end) = self.ends.get(whole) else {
            return Some(Followed { whole, part: 0.0, event: None, known: true });
        };
        let start = whole.checked_sub(1).and_then(|j| self.ends.get(j)).copied().unwrap_or(0.0);
        let part = ((duration - start) / (end - start)).clamp(0.0, 1.0);
        let last = whole + 1 == self.ends.len() && part == 1.0;
        Some(Followed { whole, part, event: event.then_some(whole), known: event || last })
    }

    /// Expected events in every interval of the time it was followed.
    fn expected(&self, score: f64, baseline: &[f32], followed: Followed) -> Vec<f64> {
        let shares = std::iter::repeat_n(1.0, followed.whole).chain([followed.part]);
        let hazards = baseline.iter().map(|alpha| (f64::from(*alpha) + score).exp());
        shares.zip(hazards).map(|(share, hazard)| share * hazard).collect()
    }

    /// Adds one record's gradient; NaN where its label is no number.
    fn add_gradient(&self, parameters: &[f32], row: &[f32], label: f32, out: &mut [f64]) {
        let (coefficients, baseline) = parameters.split_at(self.inputs);
        let Some(followed) = self.followed(label) else {
            out.fill(f64::NAN);
            return;
        };
        let expected = self.expected(score(coefficients, row), baseline, followed);
        let events = if followed.event.is_some() { 1.0 } else { 0.0 };
        let residual = expected.iter().sum::<f64>() - events;
        let (by_coefficient, by_interval) = out.split_at_mut(self.inputs);
        by_coefficient.iter_mut().zip(row).for_each(|(g, x)| *g += residual * f64::from(*x));
        by_interval.iter_mut().zip(&expected).for_each(|(g, m)| *g += m);
        if let Some(g) = followed.event.and_then(|j| by_interval.get_mut(j)) {
            *g -= 1.0;
        }
    }

    fn sum(
        &self,
        parameters: &[f32],
        batch: &Batch<'_>,
        weighting: Weighting,
    ) -> Result<ClippedSum, TrainerError> {
        let dimension = self.dimension();
        check_call(dimension, self.inputs, parameters, batch.rows())?;
        // What summing so many squares in f64 may lose.
        let rounding = 1.0 + (dimension + 64) as f64 * f64::EPSILON;
        let mut total = ClippedSum::zeros(dimension);
        let (mut own, mut block) = (vec![0.0; dimension], vec![0.0; dimension]);
        let rows: Vec<&[f32]> = batch.rows().values().chunks_exact(self.inputs).collect();
        let units: Vec<_> = batch.unit_ranges().collect();
        for group in units.chunks(MICROBATCH) {
            block.fill(0.0);
            for unit in group {
                own.fill(0.0);
                for (row, label) in rows[unit.clone()].iter().zip(&batch.labels()[unit.clone()]) {
                    self.add_gradient(parameters, row, *label, &mut own);
                }
                let squared: f64 = own.iter().map(|v| v * v).sum();
                let Some(factor) = weighting.factor(squared * rounding) else {
                    total.non_finite += 1;
                    continue;
                };
                total.within += usize::from(factor == 1.0);
                block.iter_mut().zip(&own).for_each(|(sum, v)| *sum += factor * v);
            }
            total.sum.iter_mut().zip(&block).for_each(|(sum, v)| *sum += v);
        }
        Ok(total)
    }

    /// Everything that is expected of a record followed to the last end.
    fn to_the_end(&self, parameters: &[f32], row: &[f32]) -> f64 {
        let (coefficients, baseline) = parameters.split_at(self.inputs);
        let whole = Followed { whole: self.ends.len(), part: 0.0, event: None, known: true };
        self.expected(score(coefficients, row), baseline, whole).iter().sum()
    }
}

/// `beta x` in f64, in the order of the features.
fn score(coefficients: &[f32], row: &[f32]) -> f64 {
    coefficients.iter().zip(row).map(|(b, x)| f64::from(*b) * f64::from(*x)).sum()
}

impl Trainer for CoxTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn dimension(&self) -> usize {
        self.inputs + self.ends.len()
    }

    fn outputs(&self) -> usize {
        1
    }

    fn clipped_gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
        clip_norm: f64,
    ) -> Result<ClippedSum, TrainerError> {
        self.sum(parameters, batch, Weighting::Clip(ClipNorm::new(clip_norm)?))
    }

    fn gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
    ) -> Result<Vec<f64>, TrainerError> {
        let total = self.sum(parameters, batch, Weighting::Plain)?;
        match total.non_finite {
            0 => Ok(total.sum),
            _ => Err(TrainerError::NonFinite),
        }
    }

    /// The probability of the event by the last end, `1 - exp(-sum_j exp(alpha_j + beta x))`.
    fn predict(
        &mut self,
        parameters: &[f32],
        features: Rows<'_>,
    ) -> Result<Vec<f32>, TrainerError> {
        check_call(self.dimension(), self.inputs, parameters, features)?;
        let rows = features.values().chunks_exact(self.inputs);
        Ok(rows.map(|row| -(-self.to_the_end(parameters, row)).exp_m1() as f32).collect())
    }

    fn event_losses(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
    ) -> Result<EventLosses, TrainerError> {
        check_call(self.dimension(), self.inputs, parameters, batch.rows())?;
        let (coefficients, baseline) = parameters.split_at(self.inputs);
        let mut total = EventLosses::default();
        let rows = batch.rows().values().chunks_exact(self.inputs);
        for (row, label) in rows.zip(batch.labels()) {
            let Some(followed) = self.followed(*label) else {
                total.nats = f64::NAN;
                continue;
            };
            let score = score(coefficients, row);
            total.nats += self.expected(score, baseline, followed).iter().sum::<f64>();
            if let Some(alpha) = followed.event.and_then(|j| baseline.get(j)) {
                total.nats -= f64::from(*alpha) + score;
            }
            if followed.known {
                // One half lies where ln 2 events are expected.
                let likely = self.to_the_end(parameters, row) >= std::f64::consts::LN_2;
                total.known += 1;
                total.right += u64::from(likely == followed.event.is_some());
            }
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests;
