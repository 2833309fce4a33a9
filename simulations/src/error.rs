//! What can go wrong, in words for the person who started it.
//!
//! Every message names the file or the party, what is wrong, and where possible what to do.

use std::path::{Path, PathBuf};

/// Why a simulation, an evaluation or a check did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The scenario file is not usable.
    #[error("scenario {path}: {problem}")]
    Scenario {
        /// The file.
        path: PathBuf,
        /// The field and what it must be.
        problem: String,
    },
    /// The job file is not usable, or no plan follows from it.
    #[error("job {path}: {problem}")]
    Job {
        /// The file.
        path: PathBuf,
        /// The field and what it must be.
        problem: String,
    },
    /// A table is missing or does not fit the job.
    #[error("data: {0}")]
    Data(String),
    /// The simulated federation stopped before the last round.
    #[error("the federation stopped: {0}")]
    Federation(String),
    /// Evidence does not hold: changed, incomplete or of another job.
    #[error("NOT VERIFIED: {what}: {problem}")]
    Evidence {
        /// Which piece of evidence.
        what: String,
        /// What does not hold.
        problem: String,
    },
    /// Numbers that do not protect the agencies, or cannot be met.
    #[error("{0}")]
    Settings(String),
    /// A trainer is missing or failed.
    #[error("{0}")]
    Trainer(String),
    /// A results file is not what this software writes.
    #[error("{path}: {problem}")]
    Results {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl SimulationError {
    /// A failure of the file system at `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Evidence that does not hold.
    pub(crate) fn evidence(what: impl Into<String>, problem: impl ToString) -> Self {
        Self::Evidence { what: what.into(), problem: problem.to_string() }
    }

    /// Whether this says that evidence was refused, as against a mistake in using the program.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Evidence { .. })
    }
}

/// Reads a text file.
pub(crate) fn read_text(path: &Path) -> Result<String, SimulationError> {
    std::fs::read_to_string(path).map_err(SimulationError::io(path))
}

/// Writes a file whole.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), SimulationError> {
    std::fs::write(path, bytes).map_err(SimulationError::io(path))
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), SimulationError> {
    std::fs::create_dir_all(path).map_err(SimulationError::io(path))
}
