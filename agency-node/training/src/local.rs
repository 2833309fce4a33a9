//! Training without privacy on records at hand: the baselines "pooled" and "one silo alone".
//!
//! Nothing here clips or adds noise, so its result must not leave an agency. Deterministic for a
//! seed and a trainer.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use tributary_job::Normalisation;

use crate::batch::{Batch, MICROBATCH, Rows};
use crate::dataset::Dataset;
use crate::trainer::{Trainer, TrainerError};

/// Rows whose features are in memory at a time.
const GROUP: usize = MICROBATCH;

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalTraining {
    /// Passes over the records.
    pub epochs: u32,
    /// Records per step; at least 1. Multiples of [`crate::MICROBATCH`] waste no padding.
    pub batch_size: usize,
    /// Update rule on the mean gradient.
    pub optimiser: Optimiser,
    /// Seed of the shuffles.
    pub seed: u64,
    /// Mu of FedProx's term `mu / 2 |w - initial|^2`; 0 without.
    pub proximal: f32,
}

/// An update rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimiser {
    /// Heavy-ball SGD: `m = momentum m + g`, `p -= learning_rate m`.
    Sgd {
        /// Learning rate.
        learning_rate: f32,
        /// Momentum in `[0, 1)`.
        momentum: f32,
    },
    /// Adam (Kingma and Ba 2015, Algorithm 1) with betas 0.9 and 0.999, epsilon 1e-8.
    Adam {
        /// Learning rate.
        learning_rate: f32,
    },
}

/// Some records of one dataset.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The dataset.
    pub dataset: &'a Dataset,
    /// Which of its records.
    pub rows: &'a [u32],
}

/// What SCAFFOLD changes in local training (Karimireddy et al. 2020, "SCAFFOLD", Algorithm 1, line 10).
#[derive(Debug, Clone, Copy)]
pub struct Correction<'a> {
    /// Added to the mean gradient of every step: `c - c_i`, of length d.
    pub shift: &'a [f64],
    /// Steps to take, in as many passes over the records as that needs: in place of the epochs.
    pub steps: u32,
}

/// Trains on the union of the sources from `initial` and returns the parameters. With no records
/// or no epochs these are the initial ones.
///
/// # Errors
/// As [`Trainer::gradient_sum`]; [`TrainerError::NonFinite`] means that the model diverged.
pub fn train(
    trainer: &mut dyn Trainer,
    sources: &[Source<'_>],
    norm: &Normalisation,
    initial: Vec<f32>,
    settings: &LocalTraining,
) -> Result<Vec<f32>, TrainerError> {
    train_corrected(trainer, sources, norm, initial, settings, None)
}

/// As [`train`], with corrected steps, where a correction is given.
///
/// # Errors
/// As [`train`].
pub fn train_corrected(
    trainer: &mut dyn Trainer,
    sources: &[Source<'_>],
    norm: &Normalisation,
    initial: Vec<f32>,
    settings: &LocalTraining,
    correction: Option<Correction<'_>>,
) -> Result<Vec<f32>, TrainerError> {
    let mut order: Vec<(usize, u32)> = sources
        .iter()
        .enumerate()
        .flat_map(|(i, source)| source.rows.iter().map(move |row| (i, *row)))
        .collect();
    let mut rng = ChaCha20Rng::seed_from_u64(settings.seed);
    let mut parameters = initial.clone();
    let tied = settings.proximal > 0.0;
    let batch = settings.batch_size.max(1);
    let shift = correction.map_or(&[][..], |correction| correction.shift);
    let mut left = correction.map(|correction| correction.steps as usize);
    let epochs = correction.map_or(settings.epochs, |correction| {
        correction.steps.div_ceil(u32::try_from(order.len().div_ceil(batch)).unwrap_or(1).max(1))
    });
    let mut state = State::new(settings.optimiser, parameters.len());
    let (mut inputs, mut row, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..epochs {
        shuffle(&mut order, &mut rng);
        for step in order.chunks(batch).take(left.unwrap_or(usize::MAX)) {
            let mut total = vec![0.0; parameters.len()];
            // A large batch is never in memory as a whole.
            for group in step.chunks(GROUP) {
                inputs.clear();
                labels.clear();
                for (source, record) in group {
                    let dataset = sources[*source].dataset;
                    dataset.features(&[*record], norm, &mut row);
                    inputs.extend_from_slice(&row);
                    labels.extend(dataset.labels(&[*record]));
                }
                let batch = Batch::new(Rows::new(&inputs, row.len())?, &labels)?;
                let sum = trainer.gradient_sum(&parameters, &batch)?;
                total.iter_mut().zip(&sum).for_each(|(t, s)| *t += s);
            }
            if tied {
                let mu = f64::from(settings.proximal) * step.len() as f64;
                for ((t, p), start) in total.iter_mut().zip(&parameters).zip(&initial) {
                    *t += mu * (f64::from(*p) - f64::from(*start));
                }
            }
            let records = step.len() as f64;
            for (t, shift) in total.iter_mut().zip(shift) {
                *t += records * shift;
            }
            state.apply(&mut parameters, &total, records);
        }
        left = left.map(|left| left.saturating_sub(order.len().div_ceil(batch)));
    }
    Ok(parameters)
}

/// An optimiser's memory.
struct State {
    rule: Optimiser,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

impl State {
    fn new(rule: Optimiser, dimension: usize) -> Self {
        let second = match rule {
            Optimiser::Sgd { .. } => 0,
            Optimiser::Adam { .. } => dimension,
        };
        Self { rule, first: vec![0.0; dimension], second: vec![0.0; second], steps: 0 }
    }

    fn apply(&mut self, parameters: &mut [f32], sum: &[f64], records: f64) {
        const BETA: (f32, f32) = (0.9, 0.999);
        self.steps = self.steps.saturating_add(1);
        let gradients = sum.iter().map(|s| (s / records) as f32);
        match self.rule {
            Optimiser::Sgd { learning_rate, momentum } => {
                for ((p, m), g) in parameters.iter_mut().zip(&mut self.first).zip(gradients) {
                    *m = momentum * *m + g;
                    *p -= learning_rate * *m;
                }
            }
            Optimiser::Adam { learning_rate } => {
                let corrections = (1.0 - BETA.0.powi(self.steps), 1.0 - BETA.1.powi(self.steps));
                let moments = self.first.iter_mut().zip(&mut self.second);
                for ((p, (m, v)), g) in parameters.iter_mut().zip(moments).zip(gradients) {
                    *m = BETA.0 * *m + (1.0 - BETA.0) * g;
                    *v = BETA.1 * *v + (1.0 - BETA.1) * g * g;
                    let (m_hat, v_hat) = (*m / corrections.0, *v / corrections.1);
                    *p -= learning_rate * m_hat / (v_hat.sqrt() + 1e-8);
                }
            }
        }
    }
}

/// Fisher-Yates. The product of a 64-bit word and the range picks an index with a bias below
/// `n / 2^64`: fine for a baseline, not for privacy.
fn shuffle<T>(items: &mut [T], rng: &mut ChaCha20Rng) {
    for i in (1..items.len()).rev() {
        let wide = u128::from(rng.next_u64()) * (i as u128 + 1);
        items.swap(i, (wide >> 64) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::evaluate;
    use crate::reference::ReferenceTrainer;
    use tributary_job::ParameterLayout;
    use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec, ModelSpec, Transform};

    /// A ring: positive inside a circle, which no linear model separates.
    fn ring(count: u32) -> Dataset {
        let numeric = |column| FeatureSpec::numeric(column, -1.0, 1.0, Transform::Identity);
        let spec =
            DataSpec::new(LabelSpec::binary("y", "in", "out"), vec![numeric("a"), numeric("b")]);
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let mut unit = || f64::from(rng.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0;
        let mut text = String::from("a,b,y\n");
        for _ in 0..count {
            let (a, b) = (unit(), unit());
            let label = if a * a + b * b < 0.6 { "in" } else { "out" };
            text += &format!("{a},{b},{label}\n");
        }
        Dataset::read_csv(text.as_bytes(), &spec).unwrap()
    }

    #[test]
    fn both_optimisers_learn_a_ring_deterministically_and_beat_the_start() {
        let data = ring(2000);
        let rows: Vec<u32> = (0..2000).collect();
        let model = ModelSpec::Mlp { hidden: vec![16] };
        let norm = Normalisation::from_sums(&data.statistics_contribution(&rows));
        let initial = ParameterLayout::of(&model, 2, 1).initial_parameters(3);
        let mut trainer = ReferenceTrainer::new(&model, 2, 1);
        for optimiser in [
            Optimiser::Sgd { learning_rate: 0.3, momentum: 0.9 },
            Optimiser::Adam { learning_rate: 0.02 },
        ] {
            let settings =
                LocalTraining { epochs: 15, batch_size: 128, optimiser, seed: 1, proximal: 0.0 };
            let (fit, held_out) = rows.split_at(1500);
            let halves = fit.split_at(700);
            let sources = [
                Source { dataset: &data, rows: halves.0 },
                Source { dataset: &data, rows: halves.1 },
            ];
            let mut run = |seed| {
                let settings = LocalTraining { seed, ..settings };
                train(&mut trainer, &sources, &norm, initial.clone(), &settings).unwrap()
            };
            let trained = run(1);
            assert_eq!(trained, run(1));
            assert_ne!(trained, run(2));
            let mut auc =
                |p: &[f32]| evaluate(&mut trainer, p, &data, held_out, &norm).unwrap().auc.unwrap();
            let (before, after) = (auc(&initial), auc(&trained));
            assert!(after > 0.97 && after > before + 0.1, "{optimiser:?}: {before} {after}");
        }
    }

    /// The stronger the tie, the nearer to the start; at the fixed point of a strong one the pull
    /// balances the gradient.
    #[test]
    fn a_proximal_term_keeps_the_model_near_the_shared_one() {
        let data = ring(512);
        let rows: Vec<u32> = (0..512).collect();
        let model = ModelSpec::Mlp { hidden: vec![8] };
        let norm = Normalisation::identity(2);
        let initial = ParameterLayout::of(&model, 2, 1).initial_parameters(3);
        let mut trainer = ReferenceTrainer::new(&model, 2, 1);
        let mut distance = |proximal| {
            let optimiser = Optimiser::Sgd { learning_rate: 0.1, momentum: 0.0 };
            let settings =
                LocalTraining { epochs: 20, batch_size: 64, optimiser, seed: 1, proximal };
            let source = Source { dataset: &data, rows: &rows };
            let trained =
                train(&mut trainer, &[source], &norm, initial.clone(), &settings).unwrap();
            let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
            trained.iter().zip(&initial).map(square).sum::<f64>().sqrt()
        };
        let (free, weak, strong) = (distance(0.0), distance(0.1), distance(5.0));
        assert!(strong < 0.2 * free && weak < free, "{free} {weak} {strong}");
    }

    /// On top of the mean gradient, in exactly so many steps: where the plain ones end is known, and
    /// the shift moves each of them by the learning rate.
    #[test]
    fn a_correction_shifts_every_step_and_fixes_their_number() {
        let data = ring(100);
        let rows: Vec<u32> = (0..100).collect();
        let model = ModelSpec::Mlp { hidden: vec![] };
        let norm = Normalisation::identity(2);
        let initial = ParameterLayout::of(&model, 2, 1).initial_parameters(3);
        let mut trainer = ReferenceTrainer::new(&model, 2, 1);
        let optimiser = Optimiser::Sgd { learning_rate: 0.5, momentum: 0.0 };
        let mut run = |epochs, batch_size, rows: &[u32], correction| {
            let settings = LocalTraining { epochs, batch_size, optimiser, seed: 1, proximal: 0.0 };
            let source = [Source { dataset: &data, rows }];
            train_corrected(&mut trainer, &source, &norm, initial.clone(), &settings, correction)
                .unwrap()
        };
        let plain = run(1, 100, &rows, None);
        let shift = [2.0, -1.0, 0.0];
        let shifted = run(9, 100, &rows, Some(Correction { shift: &shift, steps: 1 }));
        for ((a, b), expected) in plain.iter().zip(&shifted).zip([1.0, -0.5, 0.0]) {
            assert!((a - b - expected).abs() < 1e-6, "{a} {b} {expected}");
        }
        // Four batches a pass, the last one short: two passes are eight steps, and seven are one less.
        let none = [0.0; 3];
        let steps = |steps| Some(Correction { shift: &none, steps });
        let two = run(2, 32, &rows, None);
        assert_eq!(run(1, 32, &rows, steps(8)), two);
        let seven = run(1, 32, &rows, steps(7));
        assert!(seven != two && seven != run(1, 32, &rows, steps(6)));
        // A single record is passed over as often as it takes; none moves nothing.
        assert_eq!(run(1, 32, &rows[..1], steps(5)), run(5, 32, &rows[..1], None));
        assert_eq!(run(1, 32, &[], steps(5)), initial);
    }

    #[test]
    fn no_records_change_nothing_and_divergence_is_an_error() {
        let data = ring(64);
        let rows: Vec<u32> = (0..64).collect();
        let model = ModelSpec::Mlp { hidden: vec![4] };
        let norm = Normalisation::identity(2);
        let initial = ParameterLayout::of(&model, 2, 1).initial_parameters(3);
        let mut trainer = ReferenceTrainer::new(&model, 2, 1);
        let optimiser = Optimiser::Sgd { learning_rate: f32::MAX, momentum: 0.9 };
        let settings =
            LocalTraining { epochs: 9, batch_size: 8, optimiser, seed: 1, proximal: 0.0 };
        let mut run = |rows| {
            let source = Source { dataset: &data, rows };
            train(&mut trainer, &[source], &norm, initial.clone(), &settings)
        };
        assert_eq!(run(&[]).unwrap(), initial);
        assert_eq!(run(&rows).unwrap_err(), TrainerError::NonFinite);
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..1000).collect();
        shuffle(&mut items, &mut ChaCha20Rng::seed_from_u64(1));
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
