//! Fine-tuning across agencies: which uses of AI affect rights or safety, told from their descriptions.
//!
//! Prepares tables from the public inventory, trains adapters on a sentence encoder through the same
//! coordinator and engines as [`crate::federation`] always does, and writes `inventory.json` and
//! `inventory.md`. The encoder and its tokenizer are files that the user brings.

mod tables;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tributary_job::spec::{ModelSpec, PrivacyMode, TokenizerSpec};
use tributary_job::{JobSpec, Normalisation, ParameterLayout};
use tributary_training::assets::file_sha256;
use tributary_training::local::{LocalTraining, Optimiser, Source, train};
use tributary_training::{Evaluation, evaluate};

use crate::data::{DataDir, Tables, all_rows};
use crate::error::{SimulationError, make_folder, write_file};
use crate::federation::{self, Setup};
use crate::replay::replay;
use crate::trainers::TrainerKind;

/// Name of the results for programs.
pub const JSON: &str = "inventory.json";
/// Name of the table for people.
pub const TABLE: &str = "inventory.md";

/// The folder of the raw file.
const FOLDER: &str = "federal_ai_inventory";
/// Files of the encoder.
const FILES: [&str; 2] = ["model.safetensors", "tokenizer.json"];
/// Passes of the pooled model.
const PASSES: u32 = 4;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder with `federal_ai_inventory` in it, or that folder itself.
    pub data: PathBuf,
    /// Folder with the encoder's `model.safetensors` and `tokenizer.json`.
    pub encoder: PathBuf,
    /// Results folder.
    pub out: PathBuf,
    /// Two rounds: to see that it works.
    pub quick: bool,
    /// Who computes gradients.
    pub trainer: TrainerKind,
}

/// One training and its measurements on the held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was trained, in words.
    pub what: String,
    /// Epsilon of the plan; absent without privacy.
    pub epsilon: Option<f64>,
    /// Rounds; passes of the pooled model.
    pub rounds: u32,
    /// Parameters that travel.
    pub parameters: u64,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Share of the rows that are right at one half.
    pub accuracy: f64,
}

/// All rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// Agencies that took part.
    pub agencies: usize,
    /// Rows to train on and rows that measure.
    pub rows: (usize, usize),
    /// Of them, those that affect rights or safety.
    pub positive: (usize, usize),
    /// What was trained.
    pub results: Vec<Row>,
}

/// Does it. Returns what was written.
///
/// # Errors
/// Files that are missing or do not fit, or a federation that stopped.
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Document, SimulationError> {
    let itself = options.data.file_name().is_some_and(|name| name == FOLDER);
    let raw = if itself { options.data.clone() } else { options.data.join(FOLDER) };
    make_folder(&options.out)?;
    let data = DataDir::new(options.out.join("tables"));
    progress("preparing the tables");
    let prepared = tables::prepare(&raw, &data)?;
    let [base, tokenizer] = bring(&options.encoder, &data)?;
    let mut job = JobSpec::from_toml(include_str!("inventory.toml"))
        .map_err(|e| SimulationError::Settings(e.to_string()))?;
    job.agencies = prepared.agencies.clone();
    if let ModelSpec::Encoder { base: named, .. } = &mut job.model {
        *named = base;
    }
    if let Some(TokenizerSpec::File { sha256, .. }) =
        job.data.text.as_mut().map(|text| &mut text.tokenizer)
    {
        *sha256 = tokenizer;
    }
    if options.quick {
        job.training.rounds = 2;
    }
    let tables = data.load(&job.agencies, &job.data)?;
    let mut results = vec![pooled(&job, &tables, options, progress)?];
    for (words, mode, epsilon) in [
        ("federated, no differential privacy", PrivacyMode::None, None),
        ("federated, every description hidden", PrivacyMode::Record, Some(8.0)),
    ] {
        let mut job = job.clone();
        (job.privacy.mode, job.privacy.epsilon) = (mode, epsilon);
        results.push(federated(words, &job, &data, &tables, options, progress)?);
    }
    let (agencies, rows, positive) = (prepared.agencies.len(), prepared.rows, prepared.positive);
    let document = Document { agencies, rows, positive, results };
    let text = serde_json::to_string_pretty(&document)
        .map_err(|e| SimulationError::Settings(e.to_string()))?;
    write_file(&options.out.join(JSON), text.as_bytes())?;
    write_file(&options.out.join(TABLE), document.markdown().as_bytes())?;
    Ok(document)
}

/// Copies the encoder's files to where nodes look for them; returns their hashes.
fn bring(encoder: &Path, data: &DataDir) -> Result<[String; 2], SimulationError> {
    let folder = data.root().join("assets");
    make_folder(&folder)?;
    let mut hashes = [String::new(), String::new()];
    for (hash, name) in hashes.iter_mut().zip(FILES) {
        let (from, to) = (encoder.join(name), folder.join(name));
        std::fs::copy(&from, &to).map_err(SimulationError::io(&from))?;
        *hash = file_sha256(&to).map_err(|e| SimulationError::Data(e.to_string()))?;
    }
    Ok(hashes)
}

/// All descriptions in one place.
fn pooled(
    job: &JobSpec,
    tables: &Tables,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Row, SimulationError> {
    let failed = |e: tributary_training::TrainerError| SimulationError::Trainer(e.to_string());
    let (inputs, outputs) = (job.data.input_width(), job.data.output_width());
    let trainer = options.trainer.make_with(&job.model, inputs, outputs, &tables.assets);
    let mut trainer = trainer.map_err(SimulationError::Trainer)?;
    let layout = ParameterLayout::of(&job.model, inputs, outputs);
    let mut parameters = layout.initial_parameters(job.training.seed);
    let rows: Vec<Vec<u32>> = tables.silos.iter().map(|(_, data)| all_rows(data)).collect();
    let silos = tables.silos.iter().zip(&rows);
    let sources: Vec<_> = silos.map(|((_, dataset), rows)| Source { dataset, rows }).collect();
    let norm = Normalisation::identity(0);
    let passes = if options.quick { 1 } else { PASSES };
    for pass in 0..passes {
        progress(&format!("pooled: pass {} of {passes}", pass + 1));
        let learning_rate = 0.002 / (1.0 + pass as f32);
        let optimiser = Optimiser::Adam { learning_rate };
        let settings = LocalTraining {
            epochs: 1,
            batch_size: 32,
            optimiser,
            seed: pass.into(),
            proximal: 0.0,
        };
        parameters =
            train(trainer.as_mut(), &sources, &norm, parameters, &settings).map_err(failed)?;
    }
    let test = all_rows(&tables.test);
    let measured = evaluate(trainer.as_mut(), &parameters, &tables.test, &test, &norm);
    let what = "all descriptions in one place";
    row(what, None, passes, layout.total(), &measured.map_err(failed)?)
}

fn federated(
    what: &str,
    job: &JobSpec,
    data: &DataDir,
    tables: &Tables,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Row, SimulationError> {
    let declared: Vec<u64> = tables.sizes().iter().map(|n| (*n).max(1)).collect();
    let setup =
        Setup { job, data, declared: &declared, trainer: options.trainer, seed: 1, faults: &[] };
    let outcome = federation::run(&setup, &mut |round| {
        progress(&format!("{what}: round {} of {}", round.round + 1, job.training.rounds));
    })?;
    // The model is what the evidence says, every certificate checked.
    let folder = options.out.join("run");
    let replayed = replay(&outcome.evidence.write(&folder)?, |_, _| Ok(()))?;
    std::fs::remove_dir_all(&folder).map_err(SimulationError::io(&folder))?;
    let (inputs, outputs) = (job.data.input_width(), job.data.output_width());
    let trainer = options.trainer.make_with(&job.model, inputs, outputs, &tables.assets);
    let mut trainer = trainer.map_err(SimulationError::Trainer)?;
    let (rows, norm) = (all_rows(&tables.test), Normalisation::identity(0));
    let parameters = &replayed.state.parameters;
    let measured = evaluate(trainer.as_mut(), parameters, &tables.test, &rows, &norm)
        .map_err(|e| SimulationError::Trainer(e.to_string()))?;
    let epsilon = replayed.plan.epsilon();
    let epsilon = epsilon.map_err(|e| SimulationError::Federation(e.to_string()))?;
    let epsilon = epsilon.map(|e| e.epsilon);
    row(what, epsilon, job.training.rounds, parameters.len(), &measured)
}

fn row(
    what: &str,
    epsilon: Option<f64>,
    rounds: u32,
    parameters: usize,
    measured: &Evaluation,
) -> Result<Row, SimulationError> {
    let (Some(auc), Some(accuracy)) = (measured.auc, measured.accuracy) else {
        let text = "the model is not finite, or the held-out rows are of one kind".into();
        return Err(SimulationError::Trainer(text));
    };
    let parameters = parameters as u64;
    Ok(Row { what: what.to_owned(), epsilon, rounds, parameters, auc, accuracy })
}

impl Document {
    /// As a table.
    pub fn markdown(&self) -> String {
        let mut out = format!(
            "{} agencies, {} descriptions to train on ({} affect rights or safety), {} held out ({}).\n\n\
             | trained on | epsilon | rounds | AUC | accuracy |\n|---|---|---|---|---|\n",
            self.agencies, self.rows.0, self.positive.0, self.rows.1, self.positive.1
        );
        let none = 1.0 - self.positive.1 as f64 / self.rows.1.max(1) as f64;
        let _ = writeln!(out, "| nothing: always \"no\" | - | - | 0.500 | {:.1} % |", none * 100.0);
        for row in &self.results {
            let epsilon = row.epsilon.map_or("-".to_owned(), |e| format!("{e:.2}"));
            let (auc, accuracy) = (row.auc, row.accuracy * 100.0);
            let _ = writeln!(
                out,
                "| {} | {epsilon} | {} | {auc:.3} | {accuracy:.1} % |",
                row.what, row.rounds
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_job_is_valid_and_sends_adapters_alone() {
        let job = JobSpec::from_toml(include_str!("inventory.toml")).unwrap();
        let parameters = job.model.parameters(job.data.input_width(), job.data.output_width());
        assert_eq!(parameters, Some(6 * 2 * 4 * (384 + 384) + 384 + 1));
        let result = Row {
            what: "x".into(),
            epsilon: Some(8.0),
            rounds: 3,
            parameters: 9,
            auc: 0.75,
            accuracy: 0.875,
        };
        let document =
            Document { agencies: 3, rows: (80, 20), positive: (8, 4), results: vec![result] };
        let table = document.markdown();
        assert!(
            table.contains("| 0.500 | 80.0 % |")
                && table.contains("| x | 8.00 | 3 | 0.750 | 87.5 % |")
        );
    }
}
