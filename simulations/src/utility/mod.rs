//! Utility on real data: accuracy against epsilon in every mode, as a command that anyone repeats.
//!
//! Prepares tables from public files, runs each job through the same coordinator and engines as
//! [`crate::federation`] always does, and writes `utility.json`, `utility.md` and a picture of each
//! problem. Finished cells are kept below `cells/`: a run that was stopped goes on where it was.

mod algorithms;
mod cells;
mod digits;
mod document;
mod heart;
mod income;
mod picture;
mod problems;
mod tables;
mod targets;

use std::path::{Path, PathBuf};

use crate::error::{SimulationError, make_folder, write_file};
use crate::trainers::TrainerKind;
use cells::Bench;
pub use document::{Document, Row, Run, What};
use problems::Problem;
use tables::Place;
pub use targets::Target;

/// Name of the results for programs.
pub const JSON: &str = "utility.json";
/// Name of the table for people.
pub const TABLE: &str = "utility.md";

/// A problem, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// Heart disease at four hospitals, the split of FLamby.
    Heart,
    /// Handwritten digits, ten agencies with their own writers.
    Digits,
    /// The demo's flights of ten carriers.
    Flights,
    /// Income above 50,000 dollars in eight states.
    Income,
    /// Those of which the files are there.
    All,
}

/// Which records measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The fixed held-out records.
    Test,
    /// Every fifth training record; the fixed held-out ones are left out. To choose settings by.
    Validation,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The problems.
    pub choice: Choice,
    /// Folder with `heart_disease`, `mnist_by_writer`, `flights-v1` and `acs_income_states`; or one of those
    /// itself.
    pub data: PathBuf,
    /// Results folder.
    pub out: PathBuf,
    /// Runs of each cell.
    pub seeds: u32,
    /// One seed, one epsilon, a tenth of the rounds: to see that it works.
    pub quick: bool,
    /// Which records measure.
    pub split: Split,
    /// Who computes gradients.
    pub trainer: TrainerKind,
}

/// Does it. Returns what was written.
///
/// # Errors
/// Raw files that are missing or damaged, or a federation that stopped.
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Document, SimulationError> {
    if options.seeds == 0 {
        return Err(SimulationError::Settings("--seeds: at least one".into()));
    }
    make_folder(&options.out)?;
    let mut problems = Vec::new();
    for (choice, folder) in FOLDERS {
        if options.choice != choice && options.choice != Choice::All {
            continue;
        }
        match (find(&options.data, folder), options.choice) {
            (Some(dir), _) => {
                progress(&format!("preparing {folder}"));
                problems.push(Problem::prepare(choice, &dir, options)?);
            }
            (None, Choice::All) => progress(&format!("{folder} is not there: left out")),
            (None, _) => return Err(missing(&options.data, folder)),
        }
    }
    if problems.is_empty() {
        return Err(missing(
            &options.data,
            "heart_disease, mnist_by_writer, flights-v1 or acs_income_states",
        ));
    }
    let mut runs = Vec::new();
    for problem in &problems {
        let mut bench = Bench::new(problem, options)?;
        runs.extend(bench.run(progress)?);
    }
    let document = Document::of(runs, options);
    write_file(&options.out.join(JSON), document.json()?.as_bytes())?;
    write_file(&options.out.join(TABLE), document.markdown().as_bytes())?;
    for (name, svg) in picture::all(&document) {
        write_file(&options.out.join(format!("utility-{name}.svg")), svg.as_bytes())?;
    }
    Ok(document)
}

const FOLDERS: [(Choice, &str); 4] = [
    (Choice::Heart, "heart_disease"),
    (Choice::Digits, "mnist_by_writer"),
    (Choice::Flights, "flights-v1"),
    (Choice::Income, "acs_income_states"),
];

fn find(data: &Path, folder: &str) -> Option<PathBuf> {
    let below = data.join(folder);
    let itself = data.file_name().is_some_and(|name| name == folder);
    if below.is_dir() { Some(below) } else { itself.then(|| data.to_owned()) }
}

fn missing(data: &Path, folder: &str) -> SimulationError {
    SimulationError::Data(format!(
        "{} holds no {folder}; deploy/docs/utility.md says where the public files come from",
        data.display()
    ))
}

impl Split {
    /// Where a record goes that is held out, or is an agency's (or writer's) n-th that is not.
    fn place(self, held_out: bool, n: usize) -> Place {
        match (self, held_out) {
            (Self::Test, true) => Place::Test,
            (Self::Validation, true) => Place::Unused,
            (Self::Validation, false) if n % 5 == 4 => Place::Test,
            (_, false) => Place::Train,
        }
    }
}

#[cfg(test)]
mod tests;
