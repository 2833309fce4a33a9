//! One table checked strictly against the job's data specification, row by row.
//!
//! Turns cells into typed ones and knows nothing of formats, models, statistics or storage. Its errors name
//! lines and columns but never repeat a cell: they are for the agency's own operator, and even
//! there a log is no place for a record. A node that answers a job offer must not read like this,
//! because its answer would then depend on cells: see [`crate::tolerant`].

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ErrorKind, Reader};
use tributary_job::spec::DataSpec;

use crate::columns::Columns;
use crate::source::{CsvTable, Defect, Row, Table};
use crate::trainer::MAX_RECORDS;

/// Why a table is refused. For local eyes: line numbers depend on the data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file cannot be opened or read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No header, or no row below it.
    #[error("the table is empty: it needs a header line and at least one row")]
    Empty,
    /// The file is not what its format says.
    #[error("malformed table: {0}")]
    Malformed(String),
    /// A row has another number of cells than the header.
    #[error("line {line}: {found} cells, the header has {expected}")]
    Ragged {
        /// Line in the file, 1-based.
        line: u64,
        /// Cells of the header.
        expected: u64,
        /// Cells of this row.
        found: u64,
    },
    /// A column of the specification is not in the header.
    #[error("the header has no column {column:?}{}", suggestion(.nearest))]
    MissingColumn {
        /// The column of the specification.
        column: String,
        /// The closest column of the header, if any is close.
        nearest: Option<String>,
    },
    /// A column of the specification stands twice in the header.
    #[error("the header has two columns {column:?}: rename one")]
    AmbiguousColumn {
        /// The column.
        column: String,
    },
    /// A column is of a type that is no cell.
    #[error("column {column:?} is {found}")]
    ColumnType {
        /// The column.
        column: String,
        /// What it is instead.
        found: String,
    },
    /// A rule of the mapping does not fit the table or the job.
    #[error(transparent)]
    Mapping(#[from] crate::mapping::MappingError),
    /// A label cell is none of the values.
    #[error("line {line}: column {column:?} is {problem}")]
    Label {
        /// Line in the file, 1-based.
        line: u64,
        /// The label's column.
        column: String,
        /// What it should have been, from the specification.
        problem: String,
    },
    /// A duration cell is not a number from 0.
    #[error("line {line}: column {column:?} is no duration: a number from 0 is needed")]
    Duration {
        /// Line in the file, 1-based.
        line: u64,
        /// The durations' column.
        column: String,
    },
    /// A row does not say whose it is.
    #[error("line {line}: column {column:?} is empty, so the row belongs to nobody")]
    Person {
        /// Line in the file, 1-based.
        line: u64,
        /// The persons' column.
        column: String,
    },
    /// A numeric cell is not a finite number.
    #[error("line {line}: column {column:?} is not a finite number (leave it empty if missing)")]
    Number {
        /// Line in the file, 1-based.
        line: u64,
        /// The column.
        column: String,
    },
    /// The bounds of a feature leave no room in floating point.
    #[error("column {column:?}: the bounds are too close or too far apart for this transform")]
    Bounds {
        /// The column.
        column: String,
    },
    /// The job's tokenizer is not there or does not fit.
    #[error("tokenizer: {problem}")]
    Tokenizer {
        /// What is wrong and what to do.
        problem: String,
    },
    /// More rows than the rounding-error bound covers.
    #[error("the table has more than {limit} rows; split it into several datasets")]
    TooManyRows {
        /// Most rows that are covered.
        limit: usize,
    },
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; is {name:?} meant?")).unwrap_or_default()
}

/// A checked row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cells {
    /// The class; of a binary label 1 is positive and 0 negative.
    pub label: u32,
    /// How long the record was followed; 0 where the job asks for no durations.
    pub duration: f32,
    /// Whose row it is, never empty; empty where the job knows no persons.
    pub person: Vec<u8>,
    /// Cells u in `[-1, 1]` that are still to be standardised; `None` is missing.
    pub numerics: Vec<Option<f32>>,
    /// Inputs that are scaled by public bounds alone, 0 where missing.
    pub plain: Vec<f32>,
    /// Index of the listed value per category feature; `None` is unlisted or missing.
    pub categories: Vec<Option<u32>>,
}

/// Opens a table's file.
pub(crate) fn open(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })
}

/// Reads a CSV table and calls `row` for each row. White space around cells is ignored, also around
/// the values of the specification.
pub(crate) fn read(
    source: impl Read,
    spec: &DataSpec,
    row: impl FnMut(&Cells),
) -> Result<(), DataError> {
    read_table(&mut CsvTable::new(source, b',')?, spec, row)
}

/// As [`read`], of any format.
pub(crate) fn read_table(
    table: &mut dyn Table,
    spec: &DataSpec,
    mut row: impl FnMut(&Cells),
) -> Result<(), DataError> {
    let columns = Columns::resolve(table, spec)?;
    let (mut cells, mut found) = (Cells::default(), Row::default());
    let mut rows = 0usize;
    while table.next(&mut found)? {
        rows += 1;
        if rows > MAX_RECORDS {
            return Err(DataError::TooManyRows { limit: MAX_RECORDS });
        }
        columns.parse(&found, &mut cells)?;
        row(&cells);
    }
    if rows == 0 { Err(DataError::Empty) } else { Ok(()) }
}

/// The header line; refused if there is none.
pub(crate) fn header(reader: &mut Reader<impl Read>) -> Result<ByteRecord, DataError> {
    let header = reader.byte_headers().map_err(csv_error)?.clone();
    if header.iter().all(<[u8]>::is_empty) { Err(DataError::Empty) } else { Ok(header) }
}

impl DataError {
    /// What is wrong with a row as a whole.
    pub(crate) fn of_defect(defect: Defect, line: u64) -> Self {
        match defect {
            Defect::Ragged { expected, found } => Self::Ragged { line, expected, found },
            Defect::Malformed(expected) => Self::Malformed(format!("line {line}: {expected}")),
        }
    }

    /// The same error, naming the file it is about.
    pub fn of_file(self, path: &Path) -> Self {
        match self {
            Self::Io { source, .. } => Self::Io { path: path.to_owned(), source },
            other => other,
        }
    }
}

pub(crate) fn csv_error(error: csv::Error) -> DataError {
    let line = error.position().map_or(0, csv::Position::line);
    match error.into_kind() {
        ErrorKind::Io(source) => DataError::Io { path: PathBuf::new(), source },
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            DataError::Ragged { line, expected: expected_len, found: len }
        }
        ErrorKind::Utf8 { .. } => DataError::Malformed(format!("line {line}: not UTF-8")),
        _ => DataError::Malformed(format!("line {line}: cannot be read as CSV")),
    }
}

#[cfg(test)]
mod tests;
