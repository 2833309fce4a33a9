//! Tables as they come: CSV, JSON lines, Parquet, folders of texts or pictures, or whatever else
//! implements [`Table`].
//!
//! A table gives out rows of cells, one after the other, of the columns that were asked for; nothing
//! but the row in hand and what the format needs to find it is in memory. Knows formats and nothing
//! of specifications, mappings or models. Whether a table can be opened may depend on its header or
//! schema, never on a cell: a row that cannot be read is given out with its [`Defect`].

pub mod calendar;
mod csv;
mod folder;
mod json;
mod parquet;
mod row;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;

pub use self::csv::CsvTable;
pub use self::folder::{Content, Folder, Shape};
pub use self::json::JsonLines;
pub use self::parquet::ParquetTable;
pub use self::row::{Cell, Defect, Number, Row};
use crate::mapping::MappingError;
use crate::table::DataError;

/// A table that is read once, from the first row to the last.
pub trait Table {
    /// Chooses columns: cell i of every row is that of `columns[i]`. Called once, before
    /// [`Table::next`]; the same column may be asked for twice, and none is possible, to count rows.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`], [`DataError::AmbiguousColumn`] or
    /// [`DataError::ColumnType`]: of the header or schema alone.
    fn select(&mut self, columns: &[String]) -> Result<(), DataError>;

    /// Reads the next row; `false` after the last one.
    ///
    /// # Errors
    /// [`DataError`] if the file itself cannot be read on. A bad row is no error: see
    /// [`Row::defect`].
    fn next(&mut self, row: &mut Row) -> Result<bool, DataError>;

    /// Every column's name, in order; `None` where rows may have any (JSON lines).
    fn names(&self) -> Option<Vec<String>>;

    /// What was met on the way, for the owner's report.
    fn notes(&self) -> Notes {
        Notes::default()
    }
}

/// What a table met while it was read; for the owner of the records alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Rows that a filter of the mapping did not let through.
    pub filtered: u64,
    /// Cells whose code stands in no code table, per mapped column.
    pub unmapped: Vec<Unmapped>,
}

/// Codes of one column that its code table does not list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmapped {
    /// The column, as the job calls it.
    pub column: String,
    /// Cells.
    pub cells: u64,
    /// The codes themselves with how often they occur, as far as they were kept.
    pub codes: Vec<(String, u64)>,
}

/// How a table is written down.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object per line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// A folder of text files, one per record.
    Texts,
    /// A folder of pictures, one per record.
    Pictures,
}

impl Format {
    /// What the name of a file says: `.parquet` and `.pq`, `.jsonl` and `.ndjson`, otherwise CSV.
    pub fn of(path: &Path) -> Self {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Self::Parquet,
            "jsonl" | "ndjson" => Self::Jsonl,
            _ => Self::Csv,
        }
    }

    /// How it is called in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Texts => "texts",
            Self::Pictures => "pictures",
        }
    }
}

/// How a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Its format.
    pub format: Format,
    /// What separates the cells of a CSV file.
    pub delimiter: u8,
    /// What the pictures of a folder become.
    pub shape: Option<Shape>,
}

impl Reading {
    /// What the name of the file says; a comma between cells.
    pub fn of(path: &Path) -> Self {
        Self { format: Format::of(path), delimiter: b',', shape: None }
    }
}

/// Opens a file or folder.
///
/// # Errors
/// [`DataError::Io`], [`DataError::Empty`] (no header), [`DataError::Malformed`] (no Parquet file) or
/// [`DataError::Mapping`] (nobody says how large pictures are to be). None of them depends on a cell.
pub fn open(path: &Path, reading: Reading) -> Result<Box<dyn Table>, DataError> {
    let file = || File::open(path).map_err(|e| DataError::Io { path: path.to_owned(), source: e });
    let table: Result<Box<dyn Table>, DataError> = match (reading.format, reading.shape) {
        (Format::Csv, _) => CsvTable::new(file()?, reading.delimiter).map(|t| Box::new(t) as _),
        (Format::Jsonl, _) => Ok(Box::new(JsonLines::new(file()?))),
        (Format::Parquet, _) => ParquetTable::new(file()?).map(|t| Box::new(t) as _),
        (Format::Texts, _) => Folder::new(path, Content::Texts).map(|t| Box::new(t) as _),
        (Format::Pictures, Some(shape)) => {
            Folder::new(path, Content::Pictures(shape)).map(|t| Box::new(t) as _)
        }
        (Format::Pictures, None) => {
            let problem = "pictures need one: { width = 28, height = 28, channels = 1 }";
            Err(MappingError::new("file.picture", problem).into())
        }
    };
    table.map_err(|error| error.of_file(path))
}
