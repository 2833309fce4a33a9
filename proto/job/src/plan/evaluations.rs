//! What a plan makes of its evaluations: whether the job goes on, which parameters are the best, what a sum
//! says.
//!
//! Follows from the plan and a state alone. Knows no rounds of the protocol and no records.

use serde::{Deserialize, Serialize};
use tributary_dp::Unit;

use super::{Operation, OperationPlan, Plan};
use crate::evaluation::{Keep, Measured, Metric, Quality, Rules, Source, deviations};
use crate::history::Best;
use crate::manifest::Manifest;
use crate::spec::JobSpec;
use crate::state::{ModelState, StateError};

/// One evaluation round as it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationPoint {
    /// The secure round, from 0.
    pub round: u32,
    /// Training rounds before it.
    pub trained: u32,
    /// What its sum says, with 95 % intervals of each figure alone; absent if it drowned in noise.
    pub measured: Option<Measured>,
    /// The same with intervals that hold for all planned evaluations at once.
    pub among_all: Option<Measured>,
}

/// Which parameters are released, and how they were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Training rounds that the released parameters have seen.
    pub trained: u32,
    /// The evaluation (counted from 0) that measured them; `None` if none did.
    pub evaluation: Option<u32>,
    /// Evaluations that the job plans: as many readings may have had a say.
    pub readings: u32,
    /// Whether the evaluations ended the job before its last round.
    pub stopped: bool,
}

impl Plan {
    /// Which parameters a release of this state holds.
    #[must_use]
    pub fn choice(&self, state: &ModelState) -> Choice {
        let (done, readings) =
            (self.schedule.evaluations_in(state.completed), self.schedule.evaluations);
        let trained = self.schedule.trained_in(state.completed);
        let best = state.evaluations.as_ref().and_then(|e| e.best.as_ref());
        let last = done.checked_sub(1).filter(|e| self.schedule.trained_before(*e) == trained);
        let evaluation = best.map(|best| best.evaluation).or(last);
        let trained = evaluation.map_or(trained, |e| self.schedule.trained_before(e));
        Choice { trained, evaluation, readings, stopped: self.stops(state) }
    }

    /// The evaluation rounds among these published sums (round and packed lanes), in order.
    #[must_use]
    pub fn evaluation_points<'a>(
        &self,
        manifest: &Manifest,
        sums: impl IntoIterator<Item = (u32, &'a [u8])>,
    ) -> Vec<EvaluationPoint> {
        let Some((operation, source)) =
            self.evaluation.as_ref().zip(self.evaluation_source(manifest))
        else {
            return Vec::new();
        };
        let wide = deviations(self.schedule.evaluations);
        let point = |(round, lanes): (u32, &[u8])| {
            let values = operation.unpack(lanes).map(|lanes| operation.from_lanes(&lanes));
            let values: Vec<f64> =
                values.unwrap_or_default().iter().map(|v| *v as f64 / operation.scale).collect();
            EvaluationPoint {
                round,
                trained: self.schedule.trained_in(round),
                measured: Measured::of(&values, &source, deviations(1)),
                among_all: Measured::of(&values, &source, wide),
            }
        };
        let evaluates = |round| self.schedule.operation(round) == Some(Operation::Evaluation);
        sums.into_iter().filter(|(round, _)| evaluates(*round)).map(point).collect()
    }

    /// Whether the evaluations so far end the job before its last round.
    #[must_use]
    pub fn stops(&self, state: &ModelState) -> bool {
        let history = self.rules.as_ref().zip(state.evaluations.as_ref());
        state.completed < self.rounds
            && history.is_some_and(|(rules, e)| rules.judge(&e.sums).stops)
    }

    /// Whether a state that a peer sent, or that was stored, can be one of this job: as many evaluations
    /// as its rounds have had, and the best one where it says.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check_evaluations(&self, state: &ModelState) -> Result<(), StateError> {
        let refuse = |text: &str| Err(StateError(text.to_owned()));
        let (rules, evaluations) = match (&self.rules, &state.evaluations) {
            (None, None) => return Ok(()),
            (Some(rules), Some(evaluations)) => (rules, evaluations),
            (None, Some(_)) => return refuse("evaluations, in a job without any on the way"),
            (Some(_), None) => return refuse("no evaluations, in a job that has them on the way"),
        };
        let length = self.evaluation.as_ref().map_or(0, |e| e.vector_len as usize);
        let due = self.schedule.evaluations_in(state.completed) as usize;
        if evaluations.sums.len() != due || evaluations.sums.iter().any(|s| s.len() != length) {
            return refuse("another number of evaluations than its rounds have had");
        }
        let standing = rules.judge(&evaluations.sums);
        let before = evaluations.sums.split_last().map_or(&[][..], |(_, before)| before);
        let last = state.completed.checked_sub(1).and_then(|r| self.schedule.operation(r));
        if rules.judge(before).stops || (standing.stops && last != Some(Operation::Evaluation)) {
            return refuse("rounds after its evaluations had ended the job");
        }
        let best = standing.best.filter(|_| rules.keep == Keep::Best);
        if evaluations.best.as_ref().map(|b| b.evaluation as usize) != best {
            return refuse("another best evaluation than its sums give");
        }
        Ok(())
    }

    /// Keeps an evaluation's sum, and the parameters that it measured if they are the best ones so far.
    pub(super) fn note_evaluation(&self, next: &mut ModelState, sum: &[i64]) {
        let Some((rules, evaluations)) = self.rules.as_ref().zip(next.evaluations.as_mut()) else {
            return;
        };
        let evaluation = evaluations.sums.len();
        evaluations.sums.push(sum.to_vec());
        let best = rules.judge(&evaluations.sums).best;
        if rules.keep == Keep::Best && best == Some(evaluation) {
            let (evaluation, parameters) = (evaluation as u32, next.parameters.clone());
            evaluations.best = Some(Best { evaluation, parameters });
        }
    }

    /// What an evaluation round's published sum (packed lanes) over so many survivors says; `None`
    /// without such a round, or if the sum is of another shape or drowned in noise.
    #[must_use]
    pub fn quality(&self, manifest: &Manifest, sum: &[u8], survivors: usize) -> Option<Quality> {
        let operation = self.evaluation.as_ref()?;
        let scale = operation.scale;
        let values = operation.from_lanes(&operation.unpack(sum)?);
        let values: Vec<f64> = values.iter().map(|v| *v as f64 / scale).collect();
        let sigma = noise_in_records(operation, survivors);
        Quality::of(&values, manifest.spec.data.output_width() == 1, sigma)
    }

    /// What the sums of evaluation rounds over at most the whole roster are sums of; `None` without such
    /// rounds.
    #[must_use]
    pub fn evaluation_source(&self, manifest: &Manifest) -> Option<Source> {
        let operation = self.evaluation.as_ref()?;
        let data = &manifest.spec.data;
        let weight = match operation.unit {
            // A unit's clipped counts are at most the root of their number times its L2 norm in all.
            Unit::Person => {
                let most = (2.0 * f64::from(operation.vector_len)).sqrt();
                f64::from(data.records_per_person()).min(most)
            }
            Unit::Record | Unit::Silo => 1.0,
        };
        let sigma = noise_in_records(operation, usize::from(self.roster.thresholds.n));
        Some(Source { binary: data.output_width() == 1, sigma, weight })
    }
}

/// What follows from the evaluations of a job that has them on the way.
pub(super) fn rules(spec: &JobSpec, operation: &OperationPlan, n: u16) -> Option<Rules> {
    let evaluation = spec.evaluation.filter(|e| e.every.is_some())?;
    let stopping = evaluation.stopping;
    Some(Rules {
        metric: stopping.map_or(Metric::LogLoss, |s| s.metric),
        patience: stopping.map(|s| s.patience),
        min_improvement: stopping.and_then(|s| s.min_improvement),
        keep: evaluation.keep.unwrap_or_default(),
        binary: spec.data.output_width() == 1,
        scale: operation.scale,
        sigma: noise_in_records(operation, usize::from(n)),
    })
}

/// Standard deviation of the noise of so many agencies in each value of a sum, in records.
fn noise_in_records(operation: &OperationPlan, survivors: usize) -> f64 {
    let noise = operation.release.as_ref().map_or(0.0, |r| r.sigma_local);
    noise * (survivors as f64).sqrt() / operation.scale
}

#[cfg(test)]
mod tests;
