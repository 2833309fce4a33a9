//! Comma-separated values: a header line, then a row per line (or more, within quotes).

use std::collections::HashMap;
use std::io::Read;

use csv::{ByteRecord, Position, Reader, ReaderBuilder, Trim};

use super::Table;
use super::row::{Defect, Row};
use crate::nearest::nearest;
use crate::table::{DataError, csv_error, header};

/// A CSV table.
pub struct CsvTable<R> {
    reader: Reader<R>,
    header: ByteRecord,
    places: Vec<usize>,
    record: ByteRecord,
}

impl<R: Read> CsvTable<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`DataError::Empty`] without one, or from the source.
    pub fn new(source: R, delimiter: u8) -> Result<Self, DataError> {
        let mut builder = ReaderBuilder::new();
        builder.trim(Trim::Headers).flexible(true).delimiter(delimiter);
        let mut reader = builder.from_reader(source);
        let header = header(&mut reader)?;
        Ok(Self { reader, header, places: Vec::new(), record: ByteRecord::new() })
    }
}

impl<R: Read> Table for CsvTable<R> {
    fn select(&mut self, columns: &[String]) -> Result<(), DataError> {
        let places = Places::of(&self.header);
        let found: Result<Vec<usize>, _> = columns.iter().map(|c| places.find(c)).collect();
        self.places = found?;
        Ok(())
    }

    fn next(&mut self, row: &mut Row) -> Result<bool, DataError> {
        if !self.reader.read_byte_record(&mut self.record).map_err(csv_error)? {
            return Ok(false);
        }
        row.start(self.record.position().map_or(0, Position::line), self.places.len());
        if self.record.len() != self.header.len() {
            let (expected, found) = (self.header.len() as u64, self.record.len() as u64);
            row.set_defect(Defect::Ragged { expected, found });
            return Ok(true);
        }
        for (i, at) in self.places.iter().enumerate() {
            row.set_text(i, self.record.get(*at).unwrap_or_default());
        }
        Ok(true)
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(self.header.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect())
    }
}

/// Where each name stands in a header.
pub(crate) struct Places<'a> {
    header: &'a ByteRecord,
    /// `None` for a name that stands there twice.
    of: HashMap<&'a [u8], Option<usize>>,
}

impl<'a> Places<'a> {
    pub(crate) fn of(header: &'a ByteRecord) -> Self {
        let mut of = HashMap::new();
        for (at, name) in header.iter().enumerate() {
            of.entry(name).and_modify(|place| *place = None).or_insert(Some(at));
        }
        Self { header, of }
    }

    pub(crate) fn find(&self, column: &str) -> Result<usize, DataError> {
        let wanted = column.trim();
        match self.of.get(wanted.as_bytes()) {
            Some(Some(at)) => Ok(*at),
            Some(None) => Err(DataError::AmbiguousColumn { column: column.to_owned() }),
            None => {
                let names = self.header.iter().filter_map(|name| std::str::from_utf8(name).ok());
                let nearest = nearest(wanted, names).map(str::to_owned);
                Err(DataError::MissingColumn { column: column.to_owned(), nearest })
            }
        }
    }
}
