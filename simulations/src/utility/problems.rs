//! The problems: their data, their job, and the modes and settings that are compared.
//!
//! Every setting is written here and chosen on [`super::Split::Validation`], never on the held-out
//! records.

use std::path::Path;

use tributary_job::JobSpec;
use tributary_job::spec::{FeatureSpec, PrivacyMode};

use super::algorithms::Algorithm;
use super::{Choice, Options, digits, heart, income};
use crate::data::DataDir;
use crate::error::{SimulationError, write_file};

/// A prepared problem.
#[derive(Debug)]
pub struct Problem {
    /// Short name.
    pub name: &'static str,
    /// The job without privacy; the others differ from it in their [`Settings`].
    pub job: JobSpec,
    /// The tables.
    pub data: DataDir,
    /// Whether each agency has held-out records of its own.
    pub sites: bool,
    /// The federated cells.
    pub settings: Vec<Settings>,
}

/// Mode, epsilon and what was chosen for them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The mode.
    pub mode: PrivacyMode,
    /// How to train.
    pub algorithm: Algorithm,
    /// Epsilon of the whole job; absent in mode `none`.
    pub epsilon: Option<f64>,
    /// Training rounds.
    pub rounds: u32,
    /// Poisson sampling rate.
    pub sampling_rate: f64,
    /// L2 bound of a unit.
    pub clip_norm: f64,
    /// Learning rate, first and last.
    pub learning_rate: (f32, f32),
    /// Heavy-ball momentum.
    pub momentum: f32,
}

const HEART: &str = include_str!("heart.toml");
const DIGITS: &str = include_str!("digits.toml");
const INCOME: &str = include_str!("income.toml");
const FLIGHTS: &str = include_str!("../../../deploy/demo/flights.toml");

/// In `--quick`, rounds are divided by this.
const QUICK: u32 = 10;

impl Problem {
    /// Reads the raw files in `dir` and writes the tables into the results folder.
    pub fn prepare(choice: Choice, dir: &Path, options: &Options) -> Result<Self, SimulationError> {
        let root = options.out.join("data");
        let write = |name: &str, tables: super::tables::Tables| tables.write(&root.join(name));
        let mut problem = match choice {
            Choice::Heart => Self {
                name: "heart",
                job: parse(HEART)?,
                data: write("heart", heart::read(dir, options.split)?)?,
                sites: true,
                settings: heart_settings(),
            },
            Choice::Digits => Self {
                name: "digits",
                job: parse(DIGITS)?,
                data: write("digits", digits::read(dir, options.split)?)?,
                sites: false,
                settings: digits_settings(),
            },
            Choice::Income => Self {
                name: "income",
                job: parse(INCOME)?,
                data: write("income", income::read(dir, options.split)?)?,
                sites: true,
                settings: income_settings(),
            },
            Choice::Flights | Choice::All => Self {
                name: "flights",
                job: without_privacy(parse(FLIGHTS)?),
                data: DataDir::new(dir),
                sites: false,
                settings: flights_settings(),
            },
        };
        if problem.name == "digits" {
            let (count, max) = (digits::INPUTS as u32, digits::MAX_INPUT as f64);
            let prefix = "p".to_owned();
            problem.job.data.features = vec![FeatureSpec::Block { prefix, count, min: 0.0, max }];
        }
        if options.quick {
            problem.settings.retain(|s| s.epsilon.is_none_or(|e| e == 1.0));
            for settings in &mut problem.settings {
                settings.rounds = (settings.rounds / QUICK).max(2);
            }
        }
        // Flights are read where they are, so nothing has made the folder yet.
        std::fs::create_dir_all(&root).map_err(SimulationError::io(&root))?;
        for settings in &problem.settings {
            let job = problem.job(settings);
            job.validate().map_err(|e| SimulationError::Settings(e.to_string()))?;
            let text =
                toml::to_string(&job).map_err(|e| SimulationError::Settings(e.to_string()))?;
            write_file(
                &root.join(format!("{}-{}.toml", problem.name, settings.name())),
                text.as_bytes(),
            )?;
        }
        Ok(problem)
    }

    /// The job of a cell.
    pub fn job(&self, settings: &Settings) -> JobSpec {
        let mut job = self.job.clone();
        job.training.rounds = settings.rounds;
        job.training.learning_rate = settings.learning_rate.0;
        job.training.final_learning_rate = Some(settings.learning_rate.1);
        job.training.momentum = settings.momentum;
        job.privacy.mode = settings.mode;
        job.privacy.epsilon = settings.epsilon;
        job.privacy.sampling_rate = settings.sampling_rate;
        job.privacy.clip_norm = settings.clip_norm;
        settings.algorithm.apply(&mut job.training);
        if settings.mode == PrivacyMode::Person {
            job.data.person_column = Some(digits::WRITER.to_owned());
            job.data.max_records_per_person = Some(128);
        }
        job
    }
}

impl Settings {
    /// Short name: label and epsilon.
    pub fn name(&self) -> String {
        match self.epsilon {
            Some(epsilon) => format!("{}-{epsilon}", self.label()),
            None => self.label().to_owned(),
        }
    }

    /// The mode, or the algorithm where agencies train between rounds.
    pub fn label(&self) -> &'static str {
        match self.algorithm {
            Algorithm::FedSgd => self.mode.name(),
            other => other.name(),
        }
    }

    fn none(rounds: u32, sampling_rate: f64, clip_norm: f64, rate: f32) -> Self {
        Self {
            mode: PrivacyMode::None,
            algorithm: Algorithm::FedSgd,
            epsilon: None,
            rounds,
            sampling_rate,
            clip_norm,
            learning_rate: (rate, rate),
            momentum: 0.9,
        }
    }
}

fn heart_settings() -> Vec<Settings> {
    let mut out = vec![Settings::none(60, 1.0, 10.0, 1.0)];
    for algorithm in Algorithm::LOCAL {
        out.push(Settings { algorithm, ..Settings::none(30, 1.0, 10.0, 1.0) });
    }
    for mode in [PrivacyMode::Central, PrivacyMode::Record, PrivacyMode::RecordLocal] {
        for epsilon in [0.5, 1.0, 3.0, 8.0] {
            out.push(Settings {
                mode,
                algorithm: Algorithm::FedSgd,
                epsilon: Some(epsilon),
                rounds: 20,
                sampling_rate: 1.0,
                clip_norm: 1.0,
                learning_rate: (2.0, 2.0),
                momentum: 0.5,
            });
        }
    }
    out
}

fn digits_settings() -> Vec<Settings> {
    let mut out = vec![Settings::none(200, 0.25, 20.0, 0.3)];
    for mode in
        [PrivacyMode::Central, PrivacyMode::Record, PrivacyMode::RecordLocal, PrivacyMode::Person]
    {
        for epsilon in [1.0, 3.0, 8.0] {
            let person = mode == PrivacyMode::Person;
            out.push(Settings {
                mode,
                algorithm: Algorithm::FedSgd,
                epsilon: Some(epsilon),
                rounds: match (person, epsilon == 8.0) {
                    (true, _) => 40,
                    (false, false) => 120,
                    (false, true) => 300,
                },
                sampling_rate: if person { 0.5 } else { 0.25 },
                clip_norm: if person { 8.0 } else { 1.0 },
                learning_rate: if person { (1.0, 0.5) } else { (8.0, 2.0) },
                momentum: 0.5,
            });
        }
    }
    out
}

fn income_settings() -> Vec<Settings> {
    let mut out = vec![Settings::none(200, 0.05, 10.0, 0.5)];
    let local = Settings::none(20, 1.0, 10.0, 1.0);
    out.push(Settings { algorithm: Algorithm::FedAvg, ..local });
    for mode in [PrivacyMode::Record, PrivacyMode::RecordLocal] {
        for epsilon in [0.5, 1.0, 3.0] {
            out.push(Settings {
                mode,
                algorithm: Algorithm::FedSgd,
                epsilon: Some(epsilon),
                rounds: 150,
                sampling_rate: 0.05,
                clip_norm: 1.0,
                learning_rate: (2.0, 0.5),
                momentum: 0.9,
            });
        }
    }
    out
}

fn flights_settings() -> Vec<Settings> {
    let mut out = vec![Settings::none(100, 0.03, 10.0, 0.3)];
    for mode in [PrivacyMode::Central, PrivacyMode::Record, PrivacyMode::RecordLocal] {
        for epsilon in [0.5, 1.0, 2.0] {
            out.push(Settings {
                mode,
                algorithm: Algorithm::FedSgd,
                epsilon: Some(epsilon),
                rounds: 100,
                sampling_rate: 0.03,
                clip_norm: 1.0,
                learning_rate: (1.0, 0.25),
                momentum: 0.9,
            });
        }
    }
    out
}

fn without_privacy(mut job: JobSpec) -> JobSpec {
    job.privacy.mode = PrivacyMode::None;
    (job.privacy.epsilon, job.privacy.noise_multiplier) = (None, None);
    job
}

fn parse(text: &str) -> Result<JobSpec, SimulationError> {
    JobSpec::from_toml(text).map_err(|e| SimulationError::Settings(e.to_string()))
}
