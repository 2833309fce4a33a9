//! The agencies' tables and the common test table on disk.
//!
//! One folder: `<agency>/train.csv` for each agency and `test.csv`. Knows paths and loading; not
//! where the tables come from.

use std::path::{Path, PathBuf};

use tributary_job::spec::DataSpec;
use tributary_training::{Assets, Dataset};

use crate::error::SimulationError;

/// A folder of tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir(PathBuf);

/// The tables in memory.
#[derive(Debug)]
pub struct Tables {
    /// Each agency's records, in the order of the roster.
    pub silos: Vec<(String, Dataset)>,
    /// Held-out records that nobody trains on.
    pub test: Dataset,
    /// Public files that the job may name.
    pub assets: Assets,
}

impl DataDir {
    /// A folder; nothing is looked at yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// An agency's table.
    pub fn train(&self, agency: &str) -> PathBuf {
        self.0.join(agency).join("train.csv")
    }

    /// The held-out table.
    pub fn test(&self) -> PathBuf {
        self.0.join("test.csv")
    }

    /// Public files that jobs name by their hash, in the folder `assets`.
    pub fn assets(&self) -> Assets {
        Assets::new(self.0.join("assets"))
    }

    /// Checks that every table is there, without reading any.
    ///
    /// # Errors
    /// Names the first that is missing and how the folder must look.
    pub fn check(&self, agencies: &[String]) -> Result<(), SimulationError> {
        let tables = agencies.iter().map(|a| self.train(a)).chain([self.test()]);
        for path in tables {
            if !path.is_file() {
                return Err(SimulationError::Data(format!(
                    "{} is missing; the folder needs <agency>/train.csv for each agency and \
                     test.csv (for the flights: `cargo xtask setup --data-only`)",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    /// Reads every table as the job wants it.
    ///
    /// # Errors
    /// If a table is missing or does not fit; the message may quote a cell.
    pub fn load(&self, agencies: &[String], spec: &DataSpec) -> Result<Tables, SimulationError> {
        self.check(agencies)?;
        let assets = self.assets();
        let silo = |name: &String| Ok((name.clone(), load(&self.train(name), spec, &assets)?));
        Ok(Tables {
            silos: agencies.iter().map(silo).collect::<Result<_, _>>()?,
            test: load(&self.test(), spec, &assets)?,
            assets,
        })
    }
}

impl Tables {
    /// Records of each agency, in the order of the roster.
    pub fn sizes(&self) -> Vec<u64> {
        self.silos.iter().map(|(_, data)| data.len() as u64).collect()
    }
}

/// Every row number of a table.
pub fn all_rows(data: &Dataset) -> Vec<u32> {
    (0..data.len() as u32).collect()
}

fn load(path: &Path, spec: &DataSpec, assets: &Assets) -> Result<Dataset, SimulationError> {
    Dataset::load_csv_with(path, spec, assets).map_err(|e| {
        let (text, name) = (e.to_string(), path.display().to_string());
        SimulationError::Data(if text.contains(&name) { text } else { format!("{name}: {text}") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_table_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = DataDir::new(dir.path()).check(&["ua".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("ua/train.csv") && error.contains("setup --data-only"), "{error}");
    }
}
