//! A node's vector for one round: sample, clip, sum, quantise, add the noise share.
//!
//! The order of the privacy argument (see `dp/`): what leaves this function is the only thing
//! derived from records that is ever sent, and only masked.

mod scaffold;

use rand_core::RngCore as _;
use tributary_dp::{PreparedNoise, SecretRng, Unit};
use tributary_job::plan::MAX_RECORDS_PER_NODE;
use tributary_job::spec::{LocalSpec, OptimiserKind};
use tributary_job::{ModelState, Operation, OperationPlan};
use tributary_secagg::Lanes;
use tributary_training::local::{Correction, LocalTraining, Optimiser, Source, train_corrected};
use tributary_training::quality;
use tributary_training::{Batch, Dataset, MICROBATCH, Persons, Rows, Trainer, TrainerError};

/// Rows whose features are in memory at a time: a whole number of microbatches.
const GROUP: usize = 16 * MICROBATCH;

/// A vector ready to be masked.
pub(super) struct Made {
    /// Two's complement lanes of the plan's width.
    pub(super) lanes: Lanes,
    /// Records (or persons) without a finite gradient. Stays at the agency.
    pub(super) non_finite: usize,
    /// With SCAFFOLD, the agency's control variate if this vector is in a certified sum. Stays there.
    pub(super) control: Option<Vec<f32>>,
}

/// Makes the vector and uses the noise up. The plan's unit is what is sampled and clipped; persons need
/// a table that says whose each record is. An empty sample still gives zeros plus noise: whether
/// anything was drawn must not show. `control` is the agency's control variate, which SCAFFOLD needs.
pub(super) fn make(
    operation: &OperationPlan,
    data: &Dataset,
    trainer: &mut dyn Trainer,
    state: &ModelState,
    control: Option<&[f32]>,
    noise: Option<PreparedNoise>,
    rng: &mut SecretRng,
) -> Result<Made, String> {
    if operation.release.is_some() && noise.is_none() {
        return Err("a private release without its noise".into());
    }
    if operation.release.is_some() && operation.local_steps.is_some() {
        return Err(
            "a private release with control variates, in which its noise would add up".into()
        );
    }
    // Rounds of training: without one of statistics before them, and evaluations among them.
    let statistics = u32::from(!state.normalisation.mean.is_empty());
    let evaluations = state.evaluations.as_ref().map_or(0, |e| e.sums.len() as u32);
    let round = state.completed.saturating_sub(statistics + evaluations);
    let variates = scaffold::Variates::of(operation, round, state, control)?;
    let unit = operation.unit;
    // A table with persons leaves out what is beyond a person's maximum; one record more could push
    // another one out, which a release that protects single records does not cover.
    if operation.release.is_some() && unit == Unit::Record && data.persons().is_some() {
        return Err("the job names persons, but its release protects single records".into());
    }
    let persons = persons_of(unit, data)?;
    // Leaving out what is above a declared count would let one unit more push another out, and that
    // is twice what the noise covers. So a private sum has all units that a node may hold, which the
    // rounding bound covers; beyond the declared count the clamp or the lanes may bite, which costs
    // truth and not privacy. Without noise the lanes alone decide.
    let most = match operation.release {
        Some(_) => MAX_RECORDS_PER_NODE,
        None => operation.max_records.min(MAX_RECORDS_PER_NODE),
    };
    let most = usize::try_from(most);
    let most = most.unwrap_or(usize::MAX);
    let units = persons.map_or(data.len(), covered).min(most);
    let Sum { mut values, count, non_finite } = match operation.operation {
        Operation::Statistics => {
            let all: Vec<u32> = (0..units as u32).collect();
            let sum = match persons {
                None if unit == Unit::Silo => mean(data.statistics_contribution(&all), units),
                None => data.statistics_contribution(&all),
                Some(_) => data
                    .statistics_contribution_of_persons(&all, operation.clip_norm)
                    .map_err(|e| e.to_string())?,
            };
            Sum { values: sum, count: 0.0, non_finite: 0 }
        }
        Operation::Evaluation => {
            let held = held_out(operation, persons, data, units);
            let sum = quality_of(operation, persons, data, trainer, state, &held)?;
            Sum { values: sum, count: 0.0, non_finite: 0 }
        }
        Operation::Training => match &operation.local {
            Some(local) => {
                let mut rows = match operation.release {
                    // Without noise a round may train on a part of the records.
                    None => tributary_dp::poisson_sample(units, operation.sampling_rate, rng)
                        .map_err(|e| e.to_string())?,
                    Some(_) => (0..units as u32).collect(),
                };
                rows.retain(|unit| !is_held_out(operation, persons, data, *unit));
                local_change(
                    operation,
                    (local, round),
                    data,
                    &rows,
                    trainer,
                    (state, variates.as_ref()),
                    rng,
                )?
            }
            None => {
                let mut sample = tributary_dp::poisson_sample(units, operation.sampling_rate, rng)
                    .map_err(|e| e.to_string())?;
                sample.retain(|unit| !is_held_out(operation, persons, data, *unit));
                clipped_gradients(operation, persons, data, trainer, state, &sample)?
            }
        },
    };
    if let Some(rotation) = operation.rotation(state.completed) {
        rotation.forward(&mut values);
    }
    let scale = operation.scale_at(state);
    let mut integers = tributary_dp::quantise(&values, scale, operation.clamp, rng);
    if let Some(unit) = operation.count_scale {
        integers.extend(tributary_dp::quantise(&[count], unit, operation.clamp, rng));
    }
    if integers.len() != operation.vector_len as usize {
        let (found, planned) = (integers.len(), operation.vector_len);
        return Err(format!("a vector of {found} coordinates, the plan says {planned}"));
    }
    let control = variates.map(|variates| variates.moved(&integers, scale));
    if let Some(noise) = noise {
        noise.add_to(&mut integers).map_err(|e| e.to_string())?;
    }
    Ok(Made { lanes: operation.to_lanes(&integers), non_finite, control })
}

/// What a node's units sum up to, before anything is rounded.
struct Sum {
    /// Clipped contributions.
    values: Vec<f64>,
    /// Half a unit for each within the clip norm, minus half for each other one.
    count: f64,
    /// Units that count as zero because they are not finite.
    non_finite: usize,
}

/// Half of `within` minus half of the rest: exact.
fn balance(within: usize, units: usize) -> f64 {
    within as f64 - units as f64 / 2.0
}

/// The persons of a table if they are the unit.
fn persons_of(unit: Unit, data: &Dataset) -> Result<Option<&Persons>, String> {
    match (unit, data.persons()) {
        (Unit::Record | Unit::Silo, _) => Ok(None),
        (Unit::Person, Some(persons)) => Ok(Some(persons)),
        (Unit::Person, None) => {
            Err("the unit is a person, but the job names no person_column".into())
        }
    }
}

/// Whether a unit is left out of training. It depends on the unit alone, so a sample without those that
/// are is a Poisson sample of the others.
fn is_held_out(
    operation: &OperationPlan,
    persons: Option<&Persons>,
    data: &Dataset,
    unit: u32,
) -> bool {
    let row = match persons {
        None => Some(unit),
        Some(persons) => persons.rows_of(unit).first().copied(),
    };
    operation.holdout > 0.0 && row.is_some_and(|row| data.is_held_out(row, operation.holdout))
}

/// The units that are held out, of the first `units`.
fn held_out(
    operation: &OperationPlan,
    persons: Option<&Persons>,
    data: &Dataset,
    units: usize,
) -> Vec<u32> {
    let is = |unit: &u32| is_held_out(operation, persons, data, *unit);
    (0..units as u32).filter(is).collect()
}

/// Counts and losses of the held-out units; an agency as one unit is the mean of its records.
fn quality_of(
    operation: &OperationPlan,
    persons: Option<&Persons>,
    data: &Dataset,
    trainer: &mut dyn Trainer,
    state: &ModelState,
    held: &[u32],
) -> Result<Vec<f64>, String> {
    let units: Vec<&[u32]> = match persons {
        None => held.chunks(1).collect(),
        Some(persons) => held.iter().map(|person| persons.rows_of(*person)).collect(),
    };
    let bins = (operation.vector_len as usize).saturating_sub(1) / 2;
    let norm = &state.normalisation;
    let sum = quality::contribution(trainer, &state.parameters, data, &units, norm, bins)
        .map_err(|e| e.to_string())?;
    Ok(if operation.unit == Unit::Silo { mean(sum, held.len()) } else { sum })
}

/// An agency's moments as one unit: the mean over its records, whose norm is no larger than a record's.
fn mean(mut sum: Vec<f64>, records: usize) -> Vec<f64> {
    let divisor = records.max(1) as f64;
    sum.iter_mut().for_each(|v| *v /= divisor);
    sum
}

/// What training at the agency took off the model's parameters, clipped as one vector. A model that
/// diverges here contributes exact zeros.
fn local_change(
    operation: &OperationPlan,
    (local, round): (&LocalSpec, u32),
    data: &Dataset,
    rows: &[u32],
    trainer: &mut dyn Trainer,
    (state, variates): (&ModelState, Option<&scaffold::Variates<'_>>),
    rng: &mut SecretRng,
) -> Result<Sum, String> {
    let learning_rate = local.learning_rate_at(round);
    let optimiser = match local.optimiser {
        OptimiserKind::Sgd => Optimiser::Sgd { learning_rate, momentum: local.momentum },
        OptimiserKind::Adam => Optimiser::Adam { learning_rate },
    };
    let settings = LocalTraining {
        epochs: local.epochs,
        batch_size: local.batch_size as usize,
        optimiser,
        seed: rng.next_u64(),
        proximal: local.proximal,
    };
    let sources = [Source { dataset: data, rows }];
    let before = state.parameters.clone();
    let mut values = vec![0.0; before.len()];
    let shift = variates.map(scaffold::Variates::shift);
    let correction = variates.zip(shift.as_deref());
    let correction = correction.map(|(v, shift)| Correction { shift, steps: v.steps });
    let norm = &state.normalisation;
    let after = match train_corrected(trainer, &sources, norm, before, &settings, correction) {
        Ok(after) => after,
        Err(TrainerError::NonFinite) => {
            return Ok(Sum { values, count: balance(0, 1), non_finite: 1 });
        }
        Err(other) => return Err(other.to_string()),
    };
    let change = |(a, b): (&f32, &f32)| f64::from(*a) - f64::from(*b);
    let change: Vec<f64> = match variates {
        Some(variates) if rows.is_empty() => variates.without_records(),
        _ => state.parameters.iter().zip(&after).map(change).collect(),
    };
    let finite = change.iter().all(|v| v.is_finite());
    let clip = operation.clip_norm_at(state);
    let within = usize::from(tributary_dp::norm_upper(&change) <= clip);
    tributary_dp::add_clipped(&change, clip, &mut values).map_err(|e| e.to_string())?;
    Ok(Sum { values, count: balance(within, 1), non_finite: usize::from(!finite) })
}

/// How many persons the rounding bound covers: as many as have no more records than a node may hold.
/// A node's table has no more anyway.
fn covered(persons: &Persons) -> usize {
    let mut records = 0;
    let within = |person: &u32| {
        records += persons.rows_of(*person).len() as u64;
        records <= MAX_RECORDS_PER_NODE
    };
    (0..persons.len() as u32).take_while(within).count()
}

/// The sum over groups of units, so that a large batch is never in memory as a whole.
///
/// The tree of additions is one level deeper than the trainer's: within a microbatch, over the
/// microbatches of a group, over groups. The longest chain does not grow by it (see the tests), and
/// the bounds of `float_error` and `unit_float_error` hold for any order of additions along chains of
/// that length.
fn clipped_gradients(
    operation: &OperationPlan,
    persons: Option<&Persons>,
    data: &Dataset,
    trainer: &mut dyn Trainer,
    state: &ModelState,
    sample: &[u32],
) -> Result<Sum, String> {
    let mut values = vec![0.0; trainer.dimension()];
    let (mut non_finite, mut within, mut features) = (0, 0, Vec::new());
    let clip = operation.clip_norm_at(state);
    for group in groups(persons, sample) {
        data.features(&group.rows, &state.normalisation, &mut features);
        let labels = data.labels(&group.rows);
        let rows = Rows::new(&features, data.input_width()).map_err(|e| e.to_string())?;
        let batch = match &group.lengths {
            None => Batch::new(rows, &labels),
            Some(lengths) => Batch::with_units(rows, &labels, lengths),
        };
        let clipped = trainer
            .clipped_gradient_sum(&state.parameters, &batch.map_err(|e| e.to_string())?, clip)
            .map_err(|e| e.to_string())?;
        if clipped.sum.len() != values.len() {
            return Err("the trainer's sums differ in length".into());
        }
        values.iter_mut().zip(&clipped.sum).for_each(|(t, s)| *t += s);
        non_finite += clipped.non_finite;
        within += clipped.within;
    }
    Ok(Sum { values, count: balance(within, sample.len()), non_finite })
}

/// Whole units that are in memory together.
struct Group {
    rows: Vec<u32>,
    /// Rows of each unit; absent if each row is one.
    lengths: Option<Vec<u32>>,
}

/// The sampled units in groups of at most [`GROUP`] rows, as many as fit.
fn groups(persons: Option<&Persons>, sample: &[u32]) -> Vec<Group> {
    let Some(persons) = persons else {
        let group = |rows: &[u32]| Group { rows: rows.to_vec(), lengths: None };
        return sample.chunks(GROUP).map(group).collect();
    };
    let mut out: Vec<(Vec<u32>, Vec<u32>)> = Vec::new();
    for person in sample {
        let own = persons.rows_of(*person);
        match out.last_mut() {
            Some((rows, lengths)) if rows.len() + own.len() <= GROUP => {
                rows.extend_from_slice(own);
                lengths.push(own.len() as u32);
            }
            _ => out.push((own.to_vec(), vec![own.len() as u32])),
        }
    }
    let group = |(rows, lengths)| Group { rows, lengths: Some(lengths) };
    out.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests;
