//! Apache Parquet: a row group at a time, a few thousand rows of the chosen columns in memory.
//!
//! Only flat columns are cells (a member of a group is `group.member`). Columns that nobody asked for
//! are not read from the disk.

mod values;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::parquet::column::reader::ColumnReader;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};

use self::values::{Kind, Values};
use super::Table;
use super::row::Row;
use crate::nearest::nearest;
use crate::table::DataError;

/// Rows that are decoded at a time.
const BATCH: usize = 4096;

/// A Parquet file.
pub struct ParquetTable {
    reader: SerializedFileReader<File>,
    columns: Vec<Column>,
    chunks: Vec<ColumnReader>,
    /// The next row group, and rows of the open one that are not decoded yet.
    group: usize,
    left: usize,
    /// Rows of the decoded batch, and the next of them.
    batch: usize,
    at: usize,
    row: u64,
}

/// A chosen column.
struct Column {
    leaf: usize,
    max_level: i16,
    kind: Kind,
    levels: Vec<i16>,
    values: Values,
    next_value: usize,
}

impl ParquetTable {
    /// Reads the schema.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if it is no Parquet file.
    pub fn new(file: File) -> Result<Self, DataError> {
        let reader = guarded(|| SerializedFileReader::new(file))?;
        let (columns, chunks) = (Vec::new(), Vec::new());
        Ok(Self { reader, columns, chunks, group: 0, left: 0, batch: 0, at: 0, row: 0 })
    }

    fn leaves(&self) -> Vec<String> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        schema.columns().iter().map(|column| column.path().string()).collect()
    }

    fn column(&self, name: &str, leaves: &[String]) -> Result<Column, DataError> {
        let column = || name.to_owned();
        let mut found = (0..).zip(leaves).filter(|(_, leaf)| leaf.trim() == name.trim());
        let Some((leaf, _)) = found.next() else {
            let nearest = nearest(name.trim(), leaves.iter().map(String::as_str));
            return Err(DataError::MissingColumn {
                column: column(),
                nearest: nearest.map(str::to_owned),
            });
        };
        if found.next().is_some() {
            return Err(DataError::AmbiguousColumn { column: column() });
        }
        let descriptor = self.reader.metadata().file_metadata().schema_descr().column(leaf);
        let kind = Kind::of(&descriptor)
            .map_err(|found| DataError::ColumnType { column: column(), found })?;
        let values = Values::of(descriptor.physical_type());
        let max_level = descriptor.max_def_level();
        Ok(Column { leaf, max_level, kind, levels: Vec::new(), values, next_value: 0 })
    }

    /// Decodes the next rows; `false` if there are none.
    fn decode(&mut self) -> Result<bool, DataError> {
        while self.left == 0 {
            if self.group >= self.reader.num_row_groups() {
                return Ok(false);
            }
            (self.left, self.chunks) = guarded(|| {
                let group = self.reader.get_row_group(self.group)?;
                let open = |column: &Column| group.get_column_reader(column.leaf);
                let chunks = self.columns.iter().map(open).collect::<Result<_, _>>()?;
                Ok((usize::try_from(group.metadata().num_rows()).unwrap_or(0), chunks))
            })?;
            self.group += 1;
        }
        let wanted = self.left.min(BATCH);
        for (column, chunk) in self.columns.iter_mut().zip(&mut self.chunks) {
            column.levels.clear();
            column.next_value = 0;
            let Column { values, levels, .. } = column;
            let read = guarded(|| values.read(chunk, wanted, levels))?;
            if read != wanted {
                let problem = "columns of different lengths; was it written completely?";
                return Err(DataError::Malformed(format!(
                    "not a readable Parquet file: {problem}"
                )));
            }
        }
        (self.batch, self.at) = (wanted, 0);
        self.left -= wanted;
        Ok(true)
    }
}

impl Table for ParquetTable {
    fn select(&mut self, columns: &[String]) -> Result<(), DataError> {
        let leaves = self.leaves();
        let found: Result<Vec<_>, _> = columns.iter().map(|c| self.column(c, &leaves)).collect();
        self.columns = found?;
        Ok(())
    }

    fn next(&mut self, row: &mut Row) -> Result<bool, DataError> {
        if self.at == self.batch && !self.decode()? {
            return Ok(false);
        }
        self.row += 1;
        row.start(self.row, self.columns.len());
        for (i, column) in self.columns.iter_mut().enumerate() {
            let level = column.levels.get(self.at).copied();
            if column.max_level > 0 && level != Some(column.max_level) {
                continue;
            }
            column.values.put(column.next_value, column.kind, i, row);
            column.next_value += 1;
        }
        self.at += 1;
        Ok(true)
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(self.leaves())
    }
}

/// Runs a step of the decoder. The library returns errors for most damage and panics over some
/// (negative offsets in the metadata); neither may stop a node.
fn guarded<T>(step: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, DataError> {
    let text = match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "its metadata contradicts itself".to_owned(),
    };
    Err(DataError::Malformed(format!("not a readable Parquet file: {text}")))
}
