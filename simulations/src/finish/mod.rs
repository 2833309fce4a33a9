//! From evidence to results: verify, measure, compare, state, and write it all down.
//!
//! Works the same on what real processes left and on what a simulation left.

mod summarise;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tributary_job::{JobSpec, ModelState, Operation, Plan};
use tributary_training::export::write_model;
use tributary_training::hugging_face::write_config;
use tributary_training::{Evaluation, ModelDescription, Trainer, evaluate};

use crate::baselines;
use crate::card;
use crate::data::{DataDir, Tables, all_rows};
use crate::error::{SimulationError, make_folder, write_file};
use crate::evidence::{RECORD, RunDir, is_simulated};
use crate::replay::{Replay, replay};
use crate::summary::{CurvePoint, Summary};
use crate::trainers::TrainerKind;
use crate::{report, statement, summary};
use summarise::summarise;

/// Name of the released model in a results folder.
pub const MODEL: &str = "model.safetensors";

/// Points of the learning curve, about.
const CURVE_POINTS: u32 = 25;
/// Training rounds that are measured besides: most is learned early.
const EARLY: [u32; 5] = [1, 2, 3, 5, 8];

/// What to finish.
#[derive(Debug)]
pub struct Finish<'a> {
    /// The evidence.
    pub run: &'a RunDir,
    /// The job that the evidence must be of.
    pub job: &'a JobSpec,
    /// Where the job was read from, for messages.
    pub job_path: &'a Path,
    /// The tables.
    pub data: &'a DataDir,
    /// Results folder.
    pub out: &'a Path,
    /// Who predicts and trains the baselines.
    pub trainer: TrainerKind,
    /// Seconds by phase of what came before.
    pub timings: BTreeMap<String, f64>,
    /// Wall-clock milliseconds of the rounds of a simulation, whose record has virtual ones; absent
    /// for a run of real processes.
    pub round_millis: Option<Vec<f64>>,
}

/// Reads `{"phase": seconds}`; a `total` in it is left out, it is computed anew.
///
/// # Errors
/// If the file is missing or of another shape.
pub fn read_timings(path: &Path) -> Result<BTreeMap<String, f64>, SimulationError> {
    let text = crate::error::read_text(path)?;
    let refuse = |problem: String| SimulationError::Results { path: path.to_owned(), problem };
    let mut timings: BTreeMap<String, f64> = serde_json::from_str(&text)
        .map_err(|e| refuse(format!("not a map of seconds by phase: {e}")))?;
    if timings.values().any(|s| !s.is_finite() || *s < 0.0) {
        return Err(refuse("seconds must be finite and not negative".into()));
    }
    timings.remove("total");
    Ok(timings)
}

/// Verifies, measures and writes every result file. Returns the summary.
///
/// # Errors
/// [`SimulationError::Evidence`] if the evidence does not hold; else what is missing or failed.
pub fn finish(
    task: &Finish<'_>,
    progress: &mut dyn FnMut(&str),
) -> Result<Summary, SimulationError> {
    let started = Instant::now();
    make_folder(task.out)?;
    progress("loading the tables");
    let tables = task.data.load(&task.job.agencies, &task.job.data)?;
    progress("verifying the record and replaying every round");
    let mut meter = Meter::new(task, &tables)?;
    let replayed = replay(task.run, |plan, state| meter.visit(plan, state))?;
    if replayed.manifest.spec != *task.job {
        return Err(SimulationError::Job {
            path: task.job_path.to_owned(),
            problem: format!("the run in {} is of another job", task.run.root().display()),
        });
    }
    let last = meter.measure(&replayed.released())?;
    progress("training the comparisons without privacy");
    let baselines = baselines::run(task.job, &tables, task.trainer)?;
    progress("writing the results");
    let mut summary = summarise(task, &replayed, &meter.curve, &last, &baselines)?;
    write_released_model(&task.out.join(MODEL), &replayed)?;
    let card = card::build(&replayed)?;
    card.write(&task.out.join(MODEL)).map_err(|e| SimulationError::Results {
        path: task.out.to_owned(),
        problem: e.to_string(),
    })?;
    write_statement(task.out, &replayed)?;
    copy_record(&task.run.record(), &task.out.join(RECORD))?;
    summary.seconds.insert("finish".into(), started.elapsed().as_secs_f64());
    let total = summary.seconds.values().sum();
    summary.seconds.insert("total".into(), total);
    summary.write(&task.out.join(summary::FILE))?;
    report::write(task.out)?;
    Ok(summary)
}

/// Measures states on the test table as they come by.
struct Meter<'a> {
    trainer: Box<dyn Trainer>,
    tables: &'a Tables,
    curve: Vec<CurvePoint>,
}

impl<'a> Meter<'a> {
    fn new(task: &Finish<'_>, tables: &'a Tables) -> Result<Self, SimulationError> {
        let data = &task.job.data;
        let trainer = task
            .trainer
            .make_with(&task.job.model, data.input_width(), data.output_width(), &tables.assets)
            .map_err(SimulationError::Trainer)?;
        Ok(Self { trainer, tables, curve: Vec::new() })
    }

    fn visit(&mut self, plan: &Plan, state: &ModelState) -> Result<(), SimulationError> {
        let Some(before) = state.completed.checked_sub(1) else {
            return self.visit_first(plan, state);
        };
        if plan.schedule.operation(before) == Some(Operation::Evaluation) {
            return Ok(());
        }
        self.visit_trained(plan, state)
    }

    /// Without a round of statistics the first state can be measured.
    fn visit_first(&mut self, plan: &Plan, state: &ModelState) -> Result<(), SimulationError> {
        if plan.statistics.is_some() { Ok(()) } else { self.visit_trained(plan, state) }
    }

    fn visit_trained(&mut self, plan: &Plan, state: &ModelState) -> Result<(), SimulationError> {
        let (trained, training) =
            (plan.schedule.trained_in(state.completed), plan.schedule.training);
        let every = training.div_ceil(CURVE_POINTS).max(1);
        if trained.is_multiple_of(every) || EARLY.contains(&trained) || trained == training {
            let measured = self.measure(state)?;
            self.curve.push(CurvePoint {
                round: state.completed,
                test_auc: auc(self.trainer.outputs(), &measured)?,
                test_accuracy: defined("accuracy", measured.accuracy)?,
                test_log_loss: defined("log-loss", measured.log_loss)?,
            });
        }
        Ok(())
    }

    fn measure(&mut self, state: &ModelState) -> Result<Evaluation, SimulationError> {
        let (test, rows) = (&self.tables.test, all_rows(&self.tables.test));
        let trainer = self.trainer.as_mut();
        evaluate(trainer, &state.parameters, test, &rows, &state.normalisation)
            .map_err(|e| SimulationError::Trainer(e.to_string()))
    }
}

/// The AUC that a binary model must have; other models have none.
fn auc(outputs: usize, measured: &Evaluation) -> Result<Option<f64>, SimulationError> {
    if outputs == 1 { defined("AUC", measured.auc).map(Some) } else { Ok(None) }
}

fn defined(what: &str, value: Option<f64>) -> Result<f64, SimulationError> {
    value.filter(|v| v.is_finite()).ok_or_else(|| {
        SimulationError::Data(format!(
            "the {what} on test.csv is not defined: the table needs records (of both classes), \
             and the model finite parameters"
        ))
    })
}

fn write_released_model(path: &Path, replayed: &Replay) -> Result<(), SimulationError> {
    let refuse = |e: &dyn std::fmt::Display| SimulationError::Results {
        path: path.to_owned(),
        problem: e.to_string(),
    };
    let spec = &replayed.manifest.spec;
    let description = ModelDescription {
        job: Some(replayed.plan.job.to_string()),
        data: spec.data.clone(),
        model: spec.model.clone(),
        normalisation: replayed.state.normalisation.clone(),
    };
    let metadata = description.to_metadata().map_err(|e| refuse(&e))?;
    write_model(path, &replayed.plan.layout, replayed.state.released(), &metadata)
        .map_err(|e| refuse(&e))?;
    write_config(path, &description.model, &description.data).map_err(|e| refuse(&e))?;
    Ok(())
}

fn write_statement(out: &Path, replayed: &Replay) -> Result<(), SimulationError> {
    let path: PathBuf = out.join(statement::FILE);
    let statement =
        statement::build(&replayed.plan, &replayed.record, is_simulated(&replayed.manifest))?
            .with_estimates()
            .map_err(|e| SimulationError::evidence("privacy statement", e))?;
    let problem = |e: serde_json::Error| SimulationError::Results {
        path: path.clone(),
        problem: e.to_string(),
    };
    let mut text = serde_json::to_string_pretty(&statement).map_err(problem)?;
    text.push('\n');
    write_file(&path, text.as_bytes())
}

fn copy_record(from: &Path, to: &Path) -> Result<(), SimulationError> {
    let same = from.canonicalize().ok().zip(to.canonicalize().ok()).is_some_and(|(a, b)| a == b);
    if same {
        return Ok(());
    }
    std::fs::copy(from, to).map(drop).map_err(SimulationError::io(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_are_read_without_their_total() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("timings.json");
        std::fs::write(&path, r#"{"setup": 1.5, "train": 2, "total": 99}"#).unwrap();
        let timings = read_timings(&path).unwrap();
        assert_eq!(timings, BTreeMap::from([("setup".into(), 1.5), ("train".into(), 2.0)]));
        for bad in [r#"{"train": -1}"#, r#"{"train": "x"}"#, "[]"] {
            std::fs::write(&path, bad).unwrap();
            assert!(read_timings(&path).unwrap_err().to_string().contains("timings.json"));
        }
    }
}
