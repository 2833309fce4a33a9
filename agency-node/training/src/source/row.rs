//! One row of a table: cells of the chosen columns, whatever format they come from.
//!
//! The same value reads the same from every format: a number can be asked for as text, which is how
//! categories, labels and persons compare it, and a text as a number.

use std::io::Write;

/// The value of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// There is none: null, or an empty text.
    Missing,
    /// Text without white space around it, never empty. UTF-8 unless the file is not.
    Text(&'a [u8]),
    /// A whole number.
    Integer(i64),
    /// Any other number, possibly not finite.
    Real(f64),
}

/// A cell read as a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// There is none.
    Missing,
    /// There is something, and it is no finite number.
    Bad,
    /// A finite number.
    Finite(f64),
}

/// Why a row as a whole cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Another number of cells than the header.
    Ragged {
        /// Cells of the header.
        expected: u64,
        /// Cells of this row.
        found: u64,
    },
    /// It cannot be read; what it should have been.
    Malformed(&'static str),
}

/// A row. The buffer is used again for the next one.
#[derive(Debug, Clone, Default)]
pub struct Row {
    line: u64,
    defect: Option<Defect>,
    cells: Vec<Stored>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Stored {
    Missing,
    /// Where it begins and ends in `bytes`, and where without white space.
    Text {
        whole: (usize, usize),
        trimmed: (usize, usize),
    },
    Integer(i64),
    Real(f64),
}

impl Row {
    /// Empties the row, for `width` cells that stand at `line` (1-based; of formats without lines
    /// the number of the row).
    pub fn start(&mut self, line: u64, width: usize) {
        self.line = line;
        self.defect = None;
        self.bytes.clear();
        self.cells.clear();
        self.cells.resize(width, Stored::Missing);
    }

    /// Sets a text; white space around it does not count, and one of nothing else is missing.
    pub fn set_text(&mut self, at: usize, text: &[u8]) {
        let (start, trimmed) = (self.bytes.len(), text.trim_ascii());
        if trimmed.is_empty() {
            return self.set(at, Stored::Missing);
        }
        self.bytes.extend_from_slice(text);
        let first = start + (text.len() - text.trim_ascii_start().len());
        let (whole, trimmed) = ((start, start + text.len()), (first, first + trimmed.len()));
        self.set(at, Stored::Text { whole, trimmed });
    }

    /// Sets a cell to one of another row, white space included.
    pub fn copy(&mut self, at: usize, from: &Self, place: usize) {
        match from.cell(place) {
            Cell::Text(_) => self.set_text(at, from.whole_text(place)),
            cell => self.set_cell(at, cell),
        }
    }

    /// A text with the white space around it; empty if the cell is none.
    pub fn whole_text(&self, at: usize) -> &[u8] {
        match self.cells.get(at) {
            Some(Stored::Text { whole: (start, end), .. }) => {
                self.bytes.get(*start..*end).unwrap_or_default()
            }
            _ => b"",
        }
    }

    /// Sets a whole number.
    pub fn set_integer(&mut self, at: usize, value: i64) {
        self.set(at, Stored::Integer(value));
    }

    /// Sets any number.
    pub fn set_real(&mut self, at: usize, value: f64) {
        self.set(at, Stored::Real(value));
    }

    /// Sets a cell as another row has it.
    pub fn set_cell(&mut self, at: usize, cell: Cell<'_>) {
        match cell {
            Cell::Missing => self.set(at, Stored::Missing),
            Cell::Text(text) => self.set_text(at, text),
            Cell::Integer(value) => self.set_integer(at, value),
            Cell::Real(value) => self.set_real(at, value),
        }
    }

    fn set(&mut self, at: usize, stored: Stored) {
        if let Some(cell) = self.cells.get_mut(at) {
            *cell = stored;
        }
    }

    /// Says that the row as a whole cannot be used.
    pub fn set_defect(&mut self, defect: Defect) {
        self.defect = Some(defect);
    }

    /// Why it cannot be used, if so.
    pub fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// Where it stands: line of the file, or number of the row, 1-based.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// A cell; missing if there is none.
    pub fn cell(&self, at: usize) -> Cell<'_> {
        match self.cells.get(at) {
            None | Some(Stored::Missing) => Cell::Missing,
            Some(Stored::Text { trimmed: (start, end), .. }) => {
                Cell::Text(self.bytes.get(*start..*end).unwrap_or_default())
            }
            Some(Stored::Integer(value)) => Cell::Integer(*value),
            Some(Stored::Real(value)) => Cell::Real(*value),
        }
    }

    /// Whether every text is UTF-8.
    pub fn is_text(&self) -> bool {
        let texts = || {
            self.cells.iter().filter_map(|cell| match cell {
                Stored::Text { whole: (start, end), .. } => self.bytes.get(*start..*end),
                _ => None,
            })
        };
        self.bytes.is_ascii() || texts().all(|text| std::str::from_utf8(text).is_ok())
    }
}

impl<'a> Cell<'a> {
    /// The cell as text, empty if missing. A number is written in its shortest form, a whole one
    /// without a point; `scratch` holds it.
    pub fn text<'b>(self, scratch: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        scratch.clear();
        // Writing into a vector does not fail.
        match self {
            Self::Missing => return b"",
            Self::Text(text) => return text,
            Self::Integer(value) => _ = write!(scratch, "{value}"),
            Self::Real(value) => _ = write!(scratch, "{value}"),
        }
        scratch
    }

    /// The cell as a number.
    pub fn number(self) -> Number {
        match self {
            Self::Missing => Number::Missing,
            Self::Text(text) => parse(text).map_or(Number::Bad, Number::Finite),
            Self::Integer(value) => Number::Finite(value as f64),
            Self::Real(value) if value.is_finite() => Number::Finite(value),
            Self::Real(_) => Number::Bad,
        }
    }

    /// Whether the cell can tell somebody apart from everybody else: a number that floating point
    /// may have rounded, or that is none, cannot.
    pub fn identifies(self) -> bool {
        /// Up to here floating point holds every whole number.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Self::Missing => false,
            Self::Text(_) | Self::Integer(_) => true,
            Self::Real(value) => value.abs() < EXACT,
        }
    }
}

/// A finite number.
fn parse(text: &[u8]) -> Option<f64> {
    // Pixels and counts: most cells of wide tables, read without the general parser.
    if matches!(text.len(), 1..=6) && text.iter().all(u8::is_ascii_digit) {
        let value = text.iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
        return Some(f64::from(value));
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}
