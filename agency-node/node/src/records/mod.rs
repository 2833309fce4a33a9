//! How a registered dataset's records are read: which kind of source, seen through which mapping.
//!
//! Opens tables and knows nothing of jobs, budgets or peers. Whether a table can be opened must not
//! depend on a cell: see `tributary_training::source`.

mod kind;
pub mod postgres;

use std::path::{Path, PathBuf};

use tributary_job::spec::DataSpec;
use tributary_training::mapping::{Mapped, Mapping};
use tributary_training::report::Report;
use tributary_training::source::{self, Table};
use tributary_training::{Assets, DataError, Dataset, Skipped, check_table};

pub use self::kind::Kind;
use crate::storage::DatasetRow;

/// A dataset's records.
#[derive(Debug, Clone)]
pub struct Records {
    path: PathBuf,
    kind: Kind,
    mapping: Mapping,
}

impl Records {
    /// As registered.
    ///
    /// # Errors
    /// If the stored kind or mapping is not one of this version.
    pub fn of(row: &DatasetRow) -> Result<Self, String> {
        let kind = Kind::parse(&row.source.kind)?;
        Self::new(PathBuf::from(&row.path), kind, row.source.mapping.as_deref())
    }

    /// From a path, a kind and the text of a mapping.
    ///
    /// # Errors
    /// Which rule of the mapping is wrong.
    pub fn new(path: PathBuf, kind: Kind, mapping: Option<&str>) -> Result<Self, String> {
        let mapping = mapping.map(Mapping::parse).transpose().map_err(|e| e.to_string())?;
        Ok(Self { path, kind, mapping: mapping.unwrap_or_default() })
    }

    /// The records as a job describes them, whatever their cells hold.
    ///
    /// # Errors
    /// [`DataError`], for local eyes only; none depends on a cell.
    pub fn load(&self, spec: &DataSpec, assets: &Assets) -> Result<(Dataset, Skipped), DataError> {
        self.mapping.check(spec)?;
        let mut table = Mapped::new(self.open()?, &self.mapping);
        Dataset::read_table_tolerant_with(&mut table, spec, assets)
            .map_err(|e| e.of_file(&self.path))
    }

    /// The records as a job describes them, if nothing is wrong with any.
    ///
    /// # Errors
    /// [`DataError`] with the line of the first thing that is.
    pub fn load_strict(&self, spec: &DataSpec, assets: &Assets) -> Result<Dataset, DataError> {
        self.mapping.check(spec)?;
        let mut table = Mapped::new(self.open()?, &self.mapping);
        Dataset::read_table_with(&mut table, spec, assets).map_err(|e| e.of_file(&self.path))
    }

    /// Counts what the table says to a job whose rows are columns and not text.
    ///
    /// # Errors
    /// If it cannot be read, lacks a column, or the mapping cannot serve the job.
    pub fn report(&self, spec: &DataSpec) -> Result<Report, DataError> {
        self.mapping.check(spec)?;
        let mut table = Mapped::new(self.open()?, &self.mapping).observed();
        Report::of(&mut table, spec).map_err(|e| e.of_file(&self.path))
    }

    /// Whether it is a table at all and has what the mapping reads; the number of its rows.
    ///
    /// # Errors
    /// [`DataError`] with the line of what is wrong.
    pub fn check(&self) -> Result<u64, DataError> {
        let of_file = |e: DataError| e.of_file(&self.path);
        let columns: Vec<String> = self.mapping.columns().map(str::to_owned).collect();
        Mapped::new(self.open()?, &self.mapping).select(&columns).map_err(of_file)?;
        check_table(&mut Mapped::new(self.open()?, &self.mapping)).map_err(of_file)
    }

    /// How the records are read, for people.
    pub fn description(&self) -> String {
        let mapped = match self.mapping.columns().count() {
            0 => String::new(),
            1 => ", 1 mapped column".to_owned(),
            n => format!(", {n} mapped columns"),
        };
        let format = match self.kind {
            Kind::File => self.mapping.reading(&self.path).format.name(),
            Kind::Format(format) => format.name(),
            Kind::Postgres => "postgres",
        };
        format!("{format}{mapped}")
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The table as it is, before the mapping.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Table>, DataError> {
        let mut reading = self.mapping.reading(&self.path);
        match self.kind {
            Kind::File => {}
            Kind::Format(format) => reading.format = format,
            Kind::Postgres => return Ok(Box::new(postgres::Query::open(&self.path)?)),
        }
        source::open(&self.path, reading)
    }
}

#[cfg(test)]
mod tests;
