//! JSON lines: one object per line, its keys the columns.
//!
//! A key that an object lacks is a missing cell, in whatever row: which keys there are depends on
//! records, so whether a column exists must never decide anything. Keys inside of objects are
//! reached with a point (`visit.date`); arrays are no cells.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Table;
use super::row::{Defect, Row};
use crate::table::DataError;

/// Longest line that is read, bytes.
const MAX_LINE: u64 = 64 << 20;

/// Deepest nesting of objects.
const MAX_DEPTH: usize = 16;

/// A table of JSON lines.
pub struct JsonLines<R> {
    source: BufReader<R>,
    columns: Columns,
    text: Vec<u8>,
    line: u64,
}

/// Where the value of a key goes.
#[derive(Default)]
struct Columns {
    width: usize,
    of: HashMap<String, Vec<usize>>,
    /// Whether any column lies inside of an object.
    nested: bool,
}

impl<R: Read> JsonLines<R> {
    /// A table of any source.
    pub fn new(source: R) -> Self {
        let source = BufReader::with_capacity(1 << 18, source);
        Self { source, columns: Columns::default(), text: Vec::new(), line: 0 }
    }

    /// The next line without its end; `None` after the last. `Some(false)` if it is too long, which
    /// is skipped without being kept.
    fn read_line(&mut self) -> std::io::Result<Option<bool>> {
        self.text.clear();
        let read = (&mut self.source).take(MAX_LINE).read_until(b'\n', &mut self.text)?;
        if read as u64 == MAX_LINE && self.text.last() != Some(&b'\n') {
            while self.text.last() != Some(&b'\n') && !self.text.is_empty() {
                self.text.clear();
                (&mut self.source).take(MAX_LINE).read_until(b'\n', &mut self.text)?;
            }
            return Ok(Some(false));
        }
        Ok((read > 0).then_some(true))
    }
}

impl<R: Read> Table for JsonLines<R> {
    fn select(&mut self, columns: &[String]) -> Result<(), DataError> {
        let mut of: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, column) in columns.iter().enumerate() {
            of.entry(column.trim().to_owned()).or_default().push(at);
        }
        let nested = columns.iter().any(|column| column.contains('.'));
        self.columns = Columns { width: columns.len(), of, nested };
        Ok(())
    }

    fn next(&mut self, row: &mut Row) -> Result<bool, DataError> {
        loop {
            let io = |source| DataError::Io { path: Default::default(), source };
            let Some(fits) = self.read_line().map_err(io)? else { return Ok(false) };
            self.line += 1;
            let mut text = self.text.as_slice();
            if self.line == 1 {
                text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
            }
            let text = text.trim_ascii();
            if fits && text.is_empty() {
                continue;
            }
            row.start(self.line, self.columns.width);
            let mut reader = serde_json::Deserializer::from_slice(text);
            let object = Object { columns: &self.columns, row: &mut *row, prefix: "", depth: 0 };
            let read = object.deserialize(&mut reader).and_then(|()| reader.end());
            if !fits || read.is_err() {
                row.start(self.line, self.columns.width);
                row.set_defect(Defect::Malformed("no JSON object with each key once"));
            }
            return Ok(true);
        }
    }

    fn names(&self) -> Option<Vec<String>> {
        None
    }
}

/// An object whose keys are columns.
struct Object<'a> {
    columns: &'a Columns,
    row: &'a mut Row,
    prefix: &'a str,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen: Vec<&Vec<usize>> = Vec::new();
        let mut path = String::new();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let name = match self.prefix {
                "" => key.trim(),
                prefix => {
                    path.clear();
                    path.extend([prefix, ".", key.trim()]);
                    &path
                }
            };
            let places = self.columns.of.get(name);
            if places.is_none() && !self.columns.nested {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            // Two cells for one column: which one counts is not ours to choose.
            if let Some(places) = places {
                if seen.iter().any(|other| std::ptr::eq(*other, places)) {
                    return Err(de::Error::custom("a key stands twice"));
                }
                seen.push(places);
            }
            map.next_value_seed(Value {
                columns: self.columns,
                row: &mut *self.row,
                places: places.map_or(&[], Vec::as_slice),
                name,
                depth: self.depth,
            })?;
        }
        Ok(())
    }
}

/// A value: a cell, or an object that has some.
struct Value<'a> {
    columns: &'a Columns,
    row: &'a mut Row,
    places: &'a [usize],
    name: &'a str,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        let text: &[u8] = if value { b"true" } else { b"false" };
        self.places.iter().for_each(|at| self.row.set_text(*at, text));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.places.iter().for_each(|at| self.row.set_integer(*at, value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.places.iter().for_each(|at| self.row.set_integer(*at, value)),
            Err(_) => {
                let text = value.to_string();
                self.places.iter().for_each(|at| self.row.set_text(*at, text.as_bytes()));
            }
        }
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.places.iter().for_each(|at| self.row.set_real(*at, value));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.places.iter().for_each(|at| self.row.set_text(*at, text.as_bytes()));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(de::Error::custom("nested too deeply"));
        }
        let Self { columns, row, name, depth, .. } = self;
        Object { columns, row, prefix: name, depth: depth + 1 }.visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
