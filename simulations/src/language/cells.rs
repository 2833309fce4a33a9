//! Runs one cell: a training with one seed and its measurements on the held-out speeches.
//!
//! A cell's result is kept with a hash of all that it depends on (job, tables, seed, trainer), so that
//! it is found again and a change of any of them computes it anew.

use std::path::PathBuf;
use std::time::Instant;

use tributary_job::{JobSpec, Normalisation, ParameterLayout};
use tributary_training::local::{LocalTraining, Optimiser, Source, train};
use tributary_training::{Dataset, Evaluation, Trainer, evaluate};

use super::document::Cell;
use super::{Options, Setting};
use crate::data::{DataDir, all_rows};
use crate::error::{SimulationError, make_folder, write_file};
use crate::federation::{self, Setup};
use crate::replay::replay;

/// Points of a learning curve, about.
const POINTS: u32 = 10;

/// Runs cells.
pub struct Bench<'a> {
    data: &'a DataDir,
    options: &'a Options,
    kept: PathBuf,
}

impl<'a> Bench<'a> {
    /// Keeps cells below the results folder.
    pub fn new(data: &'a DataDir, options: &'a Options) -> Result<Self, SimulationError> {
        let kept = options.out.join("cells");
        make_folder(&kept)?;
        Ok(Self { data, options, kept })
    }

    /// The cell, from what was kept where it still holds.
    pub fn run(
        &self,
        setting: &Setting,
        seed: u32,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Cell, SimulationError> {
        let name = format!("{}-{seed}", setting.name);
        let mut job = setting.job.clone();
        job.training.seed = u64::from(seed);
        let key = self.key(&job, &name)?;
        let path = self.kept.join(format!("{name}.json"));
        let kept = std::fs::read_to_string(&path).ok();
        let kept = kept.and_then(|text| serde_json::from_str(&text).ok());
        if let Some(cell) = kept.filter(|cell: &Cell| cell.key == key) {
            return Ok(cell);
        }
        progress(&name);
        let started = Instant::now();
        let mut cell = match setting.pooled {
            true => self.pooled(&job, progress)?,
            false => self.federated(&job, u64::from(seed), &name, progress)?,
        };
        cell.seconds = started.elapsed().as_secs_f64();
        (cell.name, cell.seed, cell.key) = (setting.name.to_owned(), seed, key);
        let text = serde_json::to_string_pretty(&cell)
            .map_err(|e| SimulationError::Results { path: path.clone(), problem: e.to_string() })?;
        write_file(&path, text.as_bytes())?;
        Ok(cell)
    }

    /// All text in one place, for as many passes as the job has rounds.
    fn pooled(
        &self,
        job: &JobSpec,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Cell, SimulationError> {
        let tables = self.data.load(&job.agencies, &job.data)?;
        let failed = |e: tributary_training::TrainerError| SimulationError::Trainer(e.to_string());
        let local = job.training.local.ok_or_else(|| {
            SimulationError::Settings("training.local: says how the pooled model trains".into())
        })?;
        let mut meter = Meter::new(job, &tables.test, self.options)?;
        let layout = meter.layout.clone();
        let mut parameters = layout.initial_parameters(job.training.seed);
        let rows: Vec<Vec<u32>> = tables.silos.iter().map(|(_, data)| all_rows(data)).collect();
        let sources: Vec<_> = tables
            .silos
            .iter()
            .zip(&rows)
            .map(|((_, dataset), rows)| Source { dataset, rows })
            .collect();
        let norm = Normalisation::identity(0);
        for pass in 0..job.training.rounds {
            let settings = LocalTraining {
                epochs: local.epochs,
                batch_size: local.batch_size as usize,
                optimiser: Optimiser::Adam { learning_rate: local.learning_rate_at(pass) },
                seed: job.training.seed << 32 | u64::from(pass),
                proximal: 0.0,
            };
            let trainer = meter.trainer.as_mut();
            parameters = train(trainer, &sources, &norm, parameters, &settings).map_err(failed)?;
            meter.visit(pass + 1, &parameters)?;
            progress(&format!("pooled: pass {}, {:.3} bits", pass + 1, meter.last()));
        }
        meter.cell(job, None)
    }

    fn federated(
        &self,
        job: &JobSpec,
        seed: u64,
        name: &str,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Cell, SimulationError> {
        let tables = self.data.load(&job.agencies, &job.data)?;
        let declared = tables.sizes();
        let setup = Setup {
            job,
            data: self.data,
            declared: &declared,
            trainer: self.options.trainer,
            seed,
            faults: &[],
        };
        let outcome = federation::run(&setup, &mut |round| {
            progress(&format!("{name}: round {} of {}", round.round + 1, job.training.rounds));
        })?;
        let folder = self.kept.join(format!("{name}.run"));
        let mut meter = Meter::new(job, &tables.test, self.options)?;
        let every = job.training.rounds.div_ceil(POINTS).max(1);
        // The model is what the evidence says, every certificate checked.
        let replayed = replay(&outcome.evidence.write(&folder)?, |plan, state| {
            let round = state.completed;
            if round > 0 && (round.is_multiple_of(every) || round == plan.rounds) {
                meter.visit(round, &state.parameters)?;
            }
            Ok(())
        })?;
        std::fs::remove_dir_all(&folder).map_err(SimulationError::io(&folder))?;
        let epsilon = replayed.plan.epsilon();
        let epsilon = epsilon.map_err(|e| SimulationError::Federation(e.to_string()))?;
        meter.cell(job, epsilon.map(|e| e.epsilon))
    }

    fn key(&self, job: &JobSpec, name: &str) -> Result<String, SimulationError> {
        let job =
            serde_json::to_string(job).map_err(|e| SimulationError::Settings(e.to_string()))?;
        let trainer = self.options.trainer.name();
        let mut parts = vec![job.into_bytes(), name.into(), trainer.into()];
        parts.push(env!("CARGO_PKG_VERSION").into());
        parts.push(std::fs::read(self.data.test()).map_err(SimulationError::io(self.data.root()))?);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Ok(hex::encode(tributary_secagg::hash("tributary/language/v1", &parts).0))
    }
}

/// Measures parameters on the held-out text.
struct Meter<'a> {
    trainer: Box<dyn Trainer>,
    layout: ParameterLayout,
    test: &'a Dataset,
    curve: Vec<(u32, f64)>,
    newest: Option<Evaluation>,
}

impl<'a> Meter<'a> {
    fn new(job: &JobSpec, test: &'a Dataset, options: &Options) -> Result<Self, SimulationError> {
        let (inputs, outputs) = (job.data.input_width(), job.data.output_width());
        let trainer = options.trainer.make(&job.model, inputs, outputs);
        Ok(Self {
            trainer: trainer.map_err(SimulationError::Trainer)?,
            layout: ParameterLayout::of(&job.model, inputs, outputs),
            test,
            curve: Vec::new(),
            newest: None,
        })
    }

    fn visit(&mut self, round: u32, parameters: &[f32]) -> Result<(), SimulationError> {
        let (rows, norm) = (all_rows(self.test), Normalisation::identity(0));
        let measured = evaluate(self.trainer.as_mut(), parameters, self.test, &rows, &norm)
            .map_err(|e| SimulationError::Trainer(e.to_string()))?;
        let nats = measured.log_loss.filter(|nats| nats.is_finite()).ok_or_else(|| {
            SimulationError::Trainer("the model has diverged: lower the learning rate".into())
        })?;
        self.curve.push((round, nats / std::f64::consts::LN_2));
        self.newest = Some(measured);
        Ok(())
    }

    fn last(&self) -> f64 {
        self.curve.last().map_or(f64::NAN, |(_, bits)| *bits)
    }

    fn cell(self, job: &JobSpec, epsilon: Option<f64>) -> Result<Cell, SimulationError> {
        let missing = || SimulationError::Trainer("nothing was measured".into());
        let accuracy = self.newest.and_then(|e| e.accuracy).ok_or_else(missing)?;
        Ok(Cell {
            name: String::new(),
            seed: 0,
            mode: job.privacy.mode.name().to_owned(),
            epsilon,
            delta: job.privacy.delta,
            bits: self.last(),
            accuracy,
            rounds: job.training.rounds,
            parameters: self.layout.total() as u64,
            curve: self.curve,
            seconds: 0.0,
            key: String::new(),
        })
    }
}
