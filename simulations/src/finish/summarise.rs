//! The summary of a run from its replay and its measurements.
//!
//! Arithmetic on what is already verified and measured; reads and writes nothing.

use tributary_job::Operation;
use tributary_training::Evaluation;

use super::{Finish, auc, defined};
use tributary_job::evaluation::{Keep, Quality};

use crate::baselines::Baselines;
use crate::charges::{Charges, epsilon_by_round};
use crate::error::SimulationError;
use crate::evidence::is_simulated;
use crate::replay::Replay;
use crate::statement;
use crate::summary::{
    AgainstAdversary, BitsPerToken, CurvePoint, RecordHead, Released, RoundMillis, Summary,
};

/// The summary of a verified run; `finish` and `total` are still missing from its seconds.
pub(super) fn summarise(
    task: &Finish<'_>,
    replayed: &Replay,
    curve: &[CurvePoint],
    last: &Evaluation,
    baselines: &Baselines,
) -> Result<Summary, SimulationError> {
    let Replay { manifest, plan, record, .. } = replayed;
    let spec = &manifest.spec;
    let refuse = |e: tributary_dp::DpError| SimulationError::evidence("privacy", e);
    let statement = statement::build(plan, record, is_simulated(manifest))?;
    let charges = Charges::of(record, plan);
    let claims = statement.claims.as_ref();
    let against = claims.map(|c| &c.adversaries[..]).unwrap_or_default();
    let entries = || record.rounds.iter().map(|r| &r.entry);
    let dropped = entries().filter(|r| !r.dropped.is_empty());
    let outputs = spec.data.output_width();
    let aucs = baselines.silos.iter().map(|(name, e)| Ok((name.clone(), auc(outputs, e)?)));
    let aucs = aucs.collect::<Result<Vec<_>, SimulationError>>()?;
    let accuracy =
        |(name, e): &(String, Evaluation)| Ok((name.clone(), defined("accuracy", e.accuracy)?));
    let millis = entries().map(|r| r.millis as f64).collect();
    Ok(Summary {
        job: spec.name.clone(),
        description: spec.description.clone(),
        job_hash: plan.job.to_string(),
        agencies: spec.agencies.clone(),
        declared_records: manifest
            .roster
            .iter()
            .map(|r| (r.agency.clone(), r.declared_records))
            .collect(),
        rounds: record.rounds.len() as u32,
        training_rounds: training_rounds(replayed).count() as u32,
        attempts: charges.all(),
        survivors: entries().map(|r| r.survivors.clone()).collect(),
        dropped: dropped.map(|r| (r.round, r.dropped.clone())).collect(),
        min_survivors: plan.roster.thresholds.u_min,
        colluders: plan.roster.thresholds.corrupt,
        times_to_event: spec.data.label.duration.is_some(),
        test_auc: auc(outputs, last)?,
        test_accuracy: defined("accuracy", last.accuracy)?,
        test_log_loss: defined("log-loss", last.log_loss)?,
        test_records: last.records as u64,
        learning_curve: curve.to_vec(),
        held_out: quality(replayed),
        evaluations: replayed.points(),
        released: released(replayed),
        pooled_test_auc: auc(outputs, &baselines.pooled)?,
        silo_test_auc: aucs.into_iter().filter_map(|(name, v)| Some((name, v?))).collect(),
        pooled_test_accuracy: defined("accuracy", baselines.pooled.accuracy)?,
        silo_test_accuracy: baselines.silos.iter().map(accuracy).collect::<Result<_, _>>()?,
        bits_per_token: spec.data.is_language_model().then(|| bits(last, baselines)).transpose()?,
        mode: spec.privacy.mode.name().into(),
        epsilon: claims.map(|c| c.epsilon),
        delta: spec.privacy.delta,
        planned_epsilon: plan
            .epsilon()
            .map_err(|e| SimulationError::evidence("plan", e))?
            .map(|e| e.epsilon),
        epsilon_against: against
            .iter()
            .map(|a| AgainstAdversary {
                adversary: a.adversary,
                honest_shares: a.honest_shares,
                epsilon: a.guarantee.as_ref().map(|g| g.epsilon.epsilon),
            })
            .collect(),
        epsilon_by_round: epsilon_by_round(record, plan).map_err(refuse)?,
        noise_multiplier: plan
            .training
            .release
            .as_ref()
            .map(|release| release.parameters.noise_multiplier),
        sampling_rate: spec.privacy.sampling_rate,
        clip_norm: spec.privacy.clip_norm,
        parameters: plan.layout.total() as u64,
        bytes_up_per_parameter: bytes_up_per_parameter(replayed),
        round_millis: RoundMillis::of(task.round_millis.clone().unwrap_or(millis)),
        trainer: task.trainer.name().into(),
        seconds: task.timings.clone(),
        record_head: RecordHead { length: record.head.length, hash: record.head.hash.clone() },
        simulated: is_simulated(manifest),
        software_version: env!("CARGO_PKG_VERSION").into(),
    })
}

/// What the evaluation of the released parameters says about the agencies' held-out records.
fn quality(replayed: &Replay) -> Option<Quality> {
    let chosen = replayed.plan.choice(&replayed.state).evaluation?;
    let (round, sum) = replayed.sums().nth(chosen as usize)?;
    let entries = replayed.record.rounds.iter().map(|r| &r.entry);
    let survivors =
        entries.filter(|entry| entry.round == round).map(|e| e.survivors.len()).next()?;
    replayed.plan.quality(&replayed.manifest, sum, survivors)
}

/// How the released parameters were chosen; absent unless the job evaluates on the way.
fn released(replayed: &Replay) -> Option<Released> {
    let rules = replayed.plan.rules?;
    let choice = replayed.plan.choice(&replayed.state);
    Some(Released {
        trained: choice.trained,
        evaluation: choice.evaluation,
        metric: rules.metric.name().into(),
        best: rules.keep == Keep::Best,
        stopped_early: choice.stopped,
    })
}

/// Nats are bits over ln 2.
fn bits(last: &Evaluation, baselines: &Baselines) -> Result<BitsPerToken, SimulationError> {
    let of = |e: &Evaluation| Ok(defined("log-loss", e.log_loss)? / std::f64::consts::LN_2);
    let silos = baselines.silos.iter().map(|(name, e)| Ok((name.clone(), of(e)?)));
    Ok(BitsPerToken {
        federated: of(last)?,
        pooled: of(&baselines.pooled)?,
        silos: silos.collect::<Result<_, SimulationError>>()?,
    })
}

/// Training rounds of the record: number of survivors and bytes up.
fn training_rounds(replayed: &Replay) -> impl Iterator<Item = (usize, u64)> {
    let plan = &replayed.plan;
    let rounds = replayed.record.rounds.iter().map(|r| &r.entry);
    let trains = |round| plan.operation(round).is_some_and(|o| o.operation == Operation::Training);
    rounds.filter(move |r| trains(r.round)).map(|r| (r.survivors.len(), r.bytes_up))
}

fn bytes_up_per_parameter(replayed: &Replay) -> f64 {
    let d = replayed.plan.layout.total() as f64;
    let each = training_rounds(replayed).map(|(n, bytes)| bytes as f64 / (n as f64 * d));
    let values: Vec<f64> = each.collect();
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}
