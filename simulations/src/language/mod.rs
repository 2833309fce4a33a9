//! Language models on real text: bits per character of one model trained on everything in one place,
//! of the federation without differential privacy, and with a speaker's whole part in it hidden.
//!
//! Prepares tables from a public file, runs the jobs through the same coordinator and engines as
//! [`crate::federation`] always does, and writes `language.json`, `language.md` and a picture.
//! Finished cells are kept below `cells/`: a run that was stopped goes on where it was.

mod cells;
mod document;
mod shakespeare;

use std::path::PathBuf;

use tributary_job::JobSpec;
use tributary_job::spec::{OptimiserKind, PrivacyMode};

use crate::data::DataDir;
use crate::error::{SimulationError, make_folder, write_file};
use crate::trainers::TrainerKind;
use cells::Bench;
pub use document::{Cell, Document};

/// Name of the results for programs.
pub const JSON: &str = "language.json";
/// Name of the table for people.
pub const TABLE: &str = "language.md";
/// Name of the picture.
pub const PICTURE: &str = "language-shakespeare.svg";

/// The folder of the raw file.
const FOLDER: &str = "tinyshakespeare";

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder with `tinyshakespeare` in it, or that folder itself.
    pub data: PathBuf,
    /// Results folder.
    pub out: PathBuf,
    /// Runs of each kind, with different initial models, samples and noise.
    pub seeds: u32,
    /// A tiny model and two rounds: to see that it works.
    pub quick: bool,
    /// Who computes gradients.
    pub trainer: TrainerKind,
}

/// What a cell trains.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    /// Short name.
    pub(crate) name: &'static str,
    /// The job; without federation only its model and its training at an agency count.
    pub(crate) job: JobSpec,
    /// Whether all text is in one place.
    pub(crate) pooled: bool,
}

/// Does it. Returns what was written.
///
/// # Errors
/// A raw file that is missing or damaged, or a federation that stopped.
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Document, SimulationError> {
    if options.seeds == 0 {
        return Err(SimulationError::Settings("--seeds: at least one".into()));
    }
    let itself = options.data.file_name().is_some_and(|name| name == FOLDER);
    let raw = if itself { options.data.clone() } else { options.data.join(FOLDER) };
    if !raw.is_dir() {
        return Err(SimulationError::Data(format!(
            "{} is not there; deploy/docs/language.md says where the public file comes from",
            raw.display()
        )));
    }
    make_folder(&options.out)?;
    let settings = settings(options.quick)?;
    let agencies = settings.first().map(|s| s.job.agencies.clone()).unwrap_or_default();
    progress("preparing the tables");
    let data = DataDir::new(options.out.join("tables"));
    let data = shakespeare::prepare(&raw, &agencies, data)?;
    let bench = Bench::new(&data, options)?;
    let mut cells = Vec::new();
    for seed in 0..options.seeds {
        for setting in &settings {
            cells.push(bench.run(setting, seed, progress)?);
        }
    }
    let document = Document::of(cells);
    write_file(&options.out.join(JSON), document.json()?.as_bytes())?;
    write_file(&options.out.join(TABLE), document.markdown().as_bytes())?;
    write_file(&options.out.join(PICTURE), document.picture().as_bytes())?;
    Ok(document)
}

/// Pooled, federated, and with persons hidden. Each has the settings that suit it: one model of all
/// text takes larger steps less often than five that are averaged.
fn settings(quick: bool) -> Result<Vec<Setting>, SimulationError> {
    let mut job = JobSpec::from_toml(include_str!("shakespeare.toml"))
        .map_err(|e| SimulationError::Settings(e.to_string()))?;
    if quick {
        job.training.rounds = 2;
        if let tributary_job::spec::ModelSpec::Decoder { layers, width, hidden, .. } =
            &mut job.model
        {
            (*layers, *width, *hidden) = (1, 16, 32);
        }
    }
    let mut pooled = job.clone();
    if let Some(local) = &mut pooled.training.local {
        local.batch_size = 32;
        local.decay = 0.75;
    }
    pooled.training.rounds = if quick { 1 } else { 7 };
    let mut person = job.clone();
    person.privacy.mode = PrivacyMode::Person;
    person.privacy.epsilon = Some(8.0);
    person.privacy.clip_norm = 1.0;
    person.privacy.sampling_rate = 0.5;
    person.data.max_records_per_person = Some(16);
    person.training.local = None;
    person.training.optimiser = OptimiserKind::Adam;
    person.training.momentum = 0.9;
    person.training.learning_rate = 0.003;
    person.training.final_learning_rate = Some(0.001);
    person.training.rounds = if quick { 2 } else { 40 };
    let all = [("pooled", pooled, true), ("federated", job, false), ("person", person, false)];
    let setting = |(name, job, pooled): (&'static str, JobSpec, bool)| {
        job.validate().map_err(|e| SimulationError::Settings(e.to_string()))?;
        Ok(Setting { name, job, pooled })
    };
    all.into_iter().map(setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_jobs_are_valid_and_their_model_has_a_million_parameters() {
        for setting in settings(false).unwrap() {
            let (data, model) = (&setting.job.data, &setting.job.model);
            let parameters = model.parameters(data.input_width(), data.output_width());
            assert!((950_000..1_050_000).contains(&parameters.unwrap()), "{parameters:?}");
        }
        assert_eq!(settings(true).unwrap().len(), 3);
    }
}
