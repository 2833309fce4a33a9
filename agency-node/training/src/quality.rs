//! What an agency adds to an evaluation round: counts by bin of predicted probability, and the loss.
//!
//! Knows predictions and labels; neither noise nor rounds. The result is data: it leaves an agency only
//! inside a release.

use tributary_job::Normalisation;
use tributary_job::evaluation::{LOSS_CAP, RECORD_NORM};

use crate::batch::Rows;
use crate::clipping::ClipNorm;
use crate::dataset::Dataset;
use crate::softmax;
use crate::trainer::{Trainer, TrainerError};

/// Units that are predicted at a time.
const GROUP: usize = 4096;

/// The sum over units of their records' contributions, each unit's clipped to [`RECORD_NORM`] in L2 as
/// one vector; length `2 bins + 1`. `units` lists the records of each.
///
/// A record whose prediction is not finite, or whose label is no class, adds zeros.
///
/// # Errors
/// As [`Trainer::predict`].
pub fn contribution(
    trainer: &mut dyn Trainer,
    parameters: &[f32],
    dataset: &Dataset,
    units: &[&[u32]],
    norm: &Normalisation,
    bins: usize,
) -> Result<Vec<f64>, TrainerError> {
    let clip = ClipNorm::new(RECORD_NORM)?;
    let mut total = vec![0.0; bins * 2 + 1];
    let mut inputs = Vec::new();
    let classes = trainer.outputs();
    let mut own = total.clone();
    for group in units.chunks(GROUP) {
        let rows = group.concat();
        dataset.features(&rows, norm, &mut inputs);
        let view = Rows::new(&inputs, dataset.input_width())?;
        let probabilities = trainer.predict(parameters, view)?;
        let labels = dataset.labels(&rows);
        let mut records = probabilities.chunks(classes).zip(labels);
        for unit in group {
            own.fill(0.0);
            for (row, label) in records.by_ref().take(unit.len()) {
                add(row, label, bins, &mut own);
            }
            let squared = own.iter().map(|v| v * v).sum();
            let factor = clip.factor(squared).unwrap_or(0.0);
            total.iter_mut().zip(&own).for_each(|(t, v)| *t += factor * v);
        }
    }
    Ok(total)
}

/// Adds one record.
fn add(row: &[f32], label: f32, bins: usize, out: &mut [f64]) {
    let (probability, high, truth) = match row {
        [p] => (*p, label > 0.5, if label > 0.5 { *p } else { 1.0 - *p }),
        _ => {
            let best = row.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1));
            let Some((best, confidence)) = best else { return };
            let Some(class) = softmax::class(label, row.len()) else { return };
            let Some(truth) = row.get(class) else { return };
            (*confidence, best == class, *truth)
        }
    };
    if row.iter().any(|p| !p.is_finite()) || !(0.0..=1.0).contains(&probability) {
        return;
    }
    let bin = ((f64::from(probability) * bins as f64) as usize).min(bins - 1);
    let loss = (-f64::from(truth).max(1e-7).ln()).clamp(0.0, LOSS_CAP) / LOSS_CAP;
    if let Some(count) = out.get_mut(bin + if high { bins } else { 0 }) {
        *count += 1.0;
    }
    if let Some(sum) = out.last_mut() {
        *sum += loss;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::evaluate;
    use crate::reference::ReferenceTrainer;
    use tributary_job::ParameterLayout;
    use tributary_job::evaluation::Quality;
    use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec, ModelSpec, Transform};

    fn table(persons: bool) -> Dataset {
        let feature = FeatureSpec::numeric("a", -1.0, 1.0, Transform::Identity);
        let mut spec = DataSpec::new(LabelSpec::binary("y", "1", "0"), vec![feature]);
        if persons {
            spec.person_column = Some("who".into());
            spec.max_records_per_person = Some(50);
        }
        let mut text = String::from("a,who,y\n");
        for i in 0..300_i32 {
            let a = f64::from((i * 37) % 200 - 100) / 100.0;
            let label = i32::from(a + f64::from(i % 7 - 3) / 10.0 > 0.0);
            text += &format!("{a},{},{label}\n", i / 10);
        }
        Dataset::read_csv(text.as_bytes(), &spec).unwrap()
    }

    fn model() -> (ReferenceTrainer, Vec<f32>) {
        let model = ModelSpec::Mlp { hidden: vec![] };
        let mut parameters = ParameterLayout::of(&model, 1, 1).initial_parameters(1);
        parameters[0] = 3.0;
        (ReferenceTrainer::new(&model, 1, 1), parameters)
    }

    /// Without noise the sum says what a measurement on the pooled records says.
    #[test]
    fn the_sum_says_what_a_direct_measurement_says() {
        let (data, (mut trainer, parameters)) = (table(false), model());
        let norm = Normalisation::identity(1);
        let rows: Vec<u32> = (0..300).collect();
        let units: Vec<&[u32]> = rows.chunks(1).collect();
        let sum = contribution(&mut trainer, &parameters, &data, &units, &norm, 100).unwrap();
        let found = Quality::of(&sum, true, 0.0).unwrap();
        let direct = evaluate(&mut trainer, &parameters, &data, &rows, &norm).unwrap();
        assert!((found.records - 300.0).abs() < 1e-6);
        assert!((found.accuracy - direct.accuracy.unwrap()).abs() < 1e-6);
        assert!((found.log_loss - direct.log_loss.unwrap()).abs() < 1e-6);
        assert!((found.auc.unwrap() - direct.auc.unwrap()).abs() < 0.01);
    }

    #[test]
    fn no_unit_adds_more_than_its_norm() {
        let (data, (mut trainer, parameters)) = (table(true), model());
        let norm = Normalisation::identity(1);
        let persons = data.persons().unwrap();
        for person in 0..persons.len() as u32 {
            let unit = [persons.rows_of(person)];
            let sum = contribution(&mut trainer, &parameters, &data, &unit, &norm, 20).unwrap();
            let length = sum.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!(length <= RECORD_NORM && length > 0.99 * RECORD_NORM, "{length}");
        }
        let broken = vec![f32::NAN; parameters.len()];
        let units: [&[u32]; 2] = [&[1], &[2]];
        let sum = contribution(&mut trainer, &broken, &data, &units, &norm, 20).unwrap();
        assert!(sum.iter().all(|v| *v == 0.0));
    }
}
