//! What the same network learns without privacy: from all records pooled, at each agency alone, and
//! handed from agency to agency.
//!
//! The comparison is meant to be a fair one for the baselines: their means and variances are exact,
//! and how long to train is chosen on a tenth of their own training records that are set aside, so
//! that a small agency neither stops early nor overfits. The test table takes no part in any choice.

use std::sync::{Mutex, PoisonError};

use tributary_job::spec::{LocalSpec, ModelSpec, OptimiserKind};
use tributary_job::{JobSpec, Normalisation, ParameterLayout};
use tributary_training::local::{LocalTraining, Optimiser, Source, train};
use tributary_training::{Assets, Dataset, Evaluation, Trainer, evaluate};

use crate::data::{Tables, all_rows};
use crate::error::SimulationError;
use crate::trainers::TrainerKind;

/// Records per step.
const BATCH: usize = 256;
/// Most passes over the records.
const MAX_PASSES: u32 = 12;
/// Passes without a better validation loss before training stops.
const PATIENCE: u32 = 2;
/// Fewest steps of a pass: small tables are gone through several times.
const MIN_STEPS: usize = 100;
/// Learning rate of the first pass; the p-th has this over `1 + p / 2`.
const LEARNING_RATE: f32 = 0.05;
/// Heavy-ball momentum.
const MOMENTUM: f32 = 0.9;
/// How a language model trains where the job says nothing about training at the agency.
const LANGUAGE: LocalSpec = LocalSpec {
    epochs: 1,
    batch_size: 32,
    learning_rate: 2e-3,
    momentum: 0.0,
    optimiser: OptimiserKind::Adam,
    decay: 0.9,
    proximal: 0.0,
    scaffold: false,
};
/// One record in so many is set aside to choose when to stop.
const VALIDATION: usize = 10;

/// Baselines, measured on the test table.
#[derive(Debug, Clone, PartialEq)]
pub struct Baselines {
    /// All records in one place.
    pub pooled: Evaluation,
    /// Each agency alone, in the order of the roster.
    pub silos: Vec<(String, Evaluation)>,
}

/// Trains and measures all baselines, on as many threads as there are cores. Deterministic.
///
/// # Errors
/// If a trainer fails.
pub fn run(
    job: &JobSpec,
    tables: &Tables,
    kind: TrainerKind,
) -> Result<Baselines, SimulationError> {
    let measured = run_on(job, tables, &[&tables.test], kind)?;
    measured.into_iter().next().ok_or_else(missing)
}

/// As [`run`], each baseline trained once and measured on each of these tables, in their order.
///
/// # Errors
/// If a trainer fails.
pub fn run_on(
    job: &JobSpec,
    tables: &Tables,
    tests: &[&Dataset],
    kind: TrainerKind,
) -> Result<Vec<Baselines>, SimulationError> {
    let pooled: Vec<&Dataset> = tables.silos.iter().map(|(_, data)| data).collect();
    // The largest first, so that no thread is left with it at the end.
    let mut tasks = vec![(0, pooled)];
    tasks.extend(tables.silos.iter().enumerate().map(|(i, (_, data))| (i + 1, vec![data])));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(tasks.len());
    let (queue, done) = (Mutex::new(tasks.into_iter()), Mutex::new(Vec::new()));
    let assets = &tables.assets;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((at, data)) = next else { return };
                    let result = Baseline { job, kind, assets }.measure(&data, tests);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    let trained = done.into_iter().map(|(_, result)| result);
    let trained = trained.collect::<Result<Vec<_>, SimulationError>>()?;
    let on = |at: usize| {
        let mut measured = trained.iter().filter_map(|one| one.get(at).cloned());
        let pooled = measured.next()?;
        let names = tables.silos.iter().map(|(name, _)| name.clone());
        Some(Baselines { pooled, silos: names.zip(measured).collect() })
    };
    (0..tests.len()).map(|at| on(at).ok_or_else(missing)).collect()
}

/// Cyclic weight transfer (Chang et al. 2018, "Distributed deep learning networks among institutions for
/// medical imaging"): one model goes from agency to agency, a pass at each, in cycles; the best by the
/// records set aside. Everybody sees everybody's model. Measured on each of these tables. Deterministic.
///
/// # Errors
/// If a trainer fails.
pub fn cyclic(
    job: &JobSpec,
    tables: &Tables,
    tests: &[&Dataset],
    kind: TrainerKind,
) -> Result<Vec<Evaluation>, SimulationError> {
    let data: Vec<&Dataset> = tables.silos.iter().map(|(_, data)| data).collect();
    let baseline = Baseline { job, kind, assets: &tables.assets };
    baseline.trained(&data, tests, |trainer, norm, initial, recipe| {
        fit(trainer, &data, norm, initial, recipe, true)
    })
}

fn missing() -> SimulationError {
    SimulationError::Trainer("a baseline was not computed".into())
}

struct Baseline<'a> {
    job: &'a JobSpec,
    kind: TrainerKind,
    assets: &'a Assets,
}

impl Baseline<'_> {
    fn measure(
        &self,
        data: &[&Dataset],
        tests: &[&Dataset],
    ) -> Result<Vec<Evaluation>, SimulationError> {
        self.trained(data, tests, |trainer, norm, initial, recipe| {
            fit(trainer, data, norm, initial, recipe, false)
        })
    }

    /// Measures what `fit` makes of the initial parameters.
    fn trained(
        &self,
        data: &[&Dataset],
        tests: &[&Dataset],
        fit: impl FnOnce(
            &mut dyn Trainer,
            &Normalisation,
            Vec<f32>,
            Recipe,
        ) -> Result<Vec<f32>, tributary_training::TrainerError>,
    ) -> Result<Vec<Evaluation>, SimulationError> {
        let failed = |e: &dyn std::fmt::Display| SimulationError::Trainer(e.to_string());
        let (model, data_spec): (&ModelSpec, _) = (&self.job.model, &self.job.data);
        let (inputs, outputs) = (data_spec.input_width(), data_spec.output_width());
        let mut trainer =
            self.kind.make_with(model, inputs, outputs, self.assets).map_err(|e| failed(&e))?;
        let norm = exact_normalisation(data);
        let layout = ParameterLayout::of(model, inputs, outputs);
        let initial = layout.initial_parameters(self.job.training.seed);
        let recipe = Recipe::of(self.job);
        let best = fit(trainer.as_mut(), &norm, initial, recipe).map_err(|e| failed(&e))?;
        let measured = tests.iter().map(|test| {
            evaluate(trainer.as_mut(), &best, test, &all_rows(test), &norm).map_err(|e| failed(&e))
        });
        measured.collect()
    }
}

/// How a baseline trains.
#[derive(Debug, Clone, Copy)]
enum Recipe {
    /// Rows of a table: the constants above.
    Table,
    /// Text: as an agency would between two rounds, for so many rounds.
    Language(LocalSpec, u32),
}

impl Recipe {
    fn of(job: &JobSpec) -> Self {
        match (job.data.text.is_some(), job.training.local) {
            (false, _) => Self::Table,
            (true, Some(local)) => Self::Language(local, job.training.rounds),
            (true, None) => Self::Language(LANGUAGE, MAX_PASSES),
        }
    }

    fn passes(self) -> u32 {
        match self {
            Self::Table => MAX_PASSES,
            Self::Language(_, rounds) => rounds,
        }
    }

    /// The settings of a pass over so many records.
    fn settings(self, pass: u32, records: usize) -> LocalTraining {
        let seed = u64::from(pass);
        match self {
            Self::Table => {
                let epochs = (MIN_STEPS * BATCH).div_ceil(records.max(1)).clamp(1, MIN_STEPS);
                let learning_rate = LEARNING_RATE / (1.0 + pass as f32 / 2.0);
                let optimiser = Optimiser::Sgd { learning_rate, momentum: MOMENTUM };
                LocalTraining {
                    epochs: epochs as u32,
                    batch_size: BATCH,
                    optimiser,
                    seed,
                    proximal: 0.0,
                }
            }
            Self::Language(local, _) => {
                let learning_rate = local.learning_rate_at(pass);
                let optimiser = match local.optimiser {
                    OptimiserKind::Sgd => {
                        Optimiser::Sgd { learning_rate, momentum: local.momentum }
                    }
                    OptimiserKind::Adam => Optimiser::Adam { learning_rate },
                };
                let batch_size = local.batch_size as usize;
                LocalTraining { epochs: local.epochs, batch_size, optimiser, seed, proximal: 0.0 }
            }
        }
    }
}

/// Trains pass by pass, on all records mixed or on one dataset after the other, and keeps the parameters
/// with the least loss on the records set aside.
fn fit(
    trainer: &mut dyn Trainer,
    data: &[&Dataset],
    norm: &Normalisation,
    initial: Vec<f32>,
    recipe: Recipe,
    in_turns: bool,
) -> Result<Vec<f32>, tributary_training::TrainerError> {
    let rows: Vec<_> = data.iter().map(|data| split(data.len())).collect();
    let sources: Vec<_> = data
        .iter()
        .zip(&rows)
        .map(|(dataset, (fitted, _))| Source { dataset, rows: fitted })
        .collect();
    let records: usize = rows.iter().map(|(fitted, _)| fitted.len()).sum();
    let (mut best, mut best_loss) = (initial.clone(), f64::INFINITY);
    let (mut parameters, mut since) = (initial, 0);
    for pass in 0..recipe.passes() {
        let turns = if in_turns { sources.chunks(1) } else { sources.chunks(sources.len().max(1)) };
        for turn in turns {
            let own = turn.iter().map(|source| source.rows.len()).sum();
            let settings = recipe.settings(pass, if in_turns { own } else { records });
            parameters = train(trainer, turn, norm, parameters, &settings)?;
        }
        let loss = validation_loss(trainer, &parameters, data, &rows, norm)?;
        if loss < best_loss {
            (best, best_loss, since) = (parameters.clone(), loss, 0);
        } else {
            since += 1;
            if since >= PATIENCE {
                break;
            }
        }
    }
    Ok(best)
}

fn validation_loss(
    trainer: &mut dyn Trainer,
    parameters: &[f32],
    data: &[&Dataset],
    rows: &[(Vec<u32>, Vec<u32>)],
    norm: &Normalisation,
) -> Result<f64, tributary_training::TrainerError> {
    let (mut total, mut records) = (0.0, 0.0);
    for (dataset, (_, aside)) in data.iter().zip(rows) {
        let measured = evaluate(trainer, parameters, dataset, aside, norm)?;
        if let Some(loss) = measured.log_loss {
            total += loss * aside.len() as f64;
            records += aside.len() as f64;
        }
    }
    Ok(if records > 0.0 { total / records } else { f64::INFINITY })
}

/// Rows to train on and rows set aside: every tenth.
fn split(records: usize) -> (Vec<u32>, Vec<u32>) {
    let (mut fitted, mut aside) = (Vec::with_capacity(records), Vec::new());
    for row in 0..records {
        let to = if row % VALIDATION == VALIDATION - 1 { &mut aside } else { &mut fitted };
        to.push(row as u32);
    }
    (fitted, aside)
}

fn exact_normalisation(data: &[&Dataset]) -> Normalisation {
    let mut sums: Vec<f64> = Vec::new();
    for dataset in data {
        let part = dataset.statistics_contribution(&all_rows(dataset));
        sums.resize(part.len(), 0.0);
        sums.iter_mut().zip(part).for_each(|(sum, v)| *sum += v);
    }
    Normalisation::from_sums(&sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataDir;
    use crate::synthetic::Synthetic;

    #[test]
    fn pooled_beats_every_silo_on_a_rule_that_no_silo_sees_whole() {
        let job = JobSpec::from_toml(include_str!("../scenarios/toy-job.toml")).unwrap();
        let synthetic = Synthetic {
            agencies: 5,
            records: vec![1500, 1000, 800, 400, 300],
            features: 4,
            test_records: 1000,
            spread: 1.0,
            seed: 7,
        };
        let dir = tempfile::tempdir().unwrap();
        let data = synthetic.write(&job.agencies, DataDir::new(dir.path())).unwrap();
        let tables = data.load(&job.agencies, &job.data).unwrap();
        let baselines = run(&job, &tables, TrainerKind::Reference).unwrap();
        let again = run_on(&job, &tables, &[&tables.test, &tables.test], TrainerKind::Reference);
        assert_eq!(again.unwrap(), [baselines.clone(), baselines.clone()]);
        let pooled = baselines.pooled.auc.unwrap();
        assert!(pooled > 0.8, "{pooled}");
        let names: Vec<_> = baselines.silos.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["north", "east", "south", "west", "isle"]);
        for (name, silo) in &baselines.silos {
            let auc = silo.auc.unwrap();
            assert!(auc > 0.5 && auc < pooled, "{name}: {auc} against {pooled}");
        }
        let turns = cyclic(&job, &tables, &[&tables.test], TrainerKind::Reference).unwrap();
        let turns = turns[0].auc.unwrap();
        let mean = baselines.silos.iter().map(|(_, e)| e.auc.unwrap()).sum::<f64>() / 5.0;
        assert!(turns > mean && turns < pooled + 0.02, "{turns} against {pooled} and {mean}");
    }

    #[test]
    fn one_record_in_ten_is_set_aside_and_none_is_lost() {
        let (fitted, aside) = split(25);
        assert_eq!(aside, [9, 19]);
        assert_eq!(fitted.len() + aside.len(), 25);
        assert!(split(3).1.is_empty());
    }
}
