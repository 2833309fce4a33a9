//! One CSV table checked strictly against the job's data specification, row by row.
//!
//! Turns text into typed cells and knows nothing of models, statistics or storage. Its errors name
//! lines and columns but never repeat a cell: they are for the agency's own operator, and even
//! there a log is no place for a record. A node that answers a job offer must not read like this,
//! because its answer would then depend on cells: see [`crate::tolerant`].

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder, Trim};
use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec, Transform};

use crate::nearest::nearest;
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
    /// The CSV itself is broken.
    #[error("malformed CSV: {0}")]
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
    /// A label cell is neither of the two values.
    #[error("line {line}: column {column:?} is neither {positive:?} nor {negative:?}")]
    Label {
        /// Line in the file, 1-based.
        line: u64,
        /// The label's column.
        column: String,
        /// Text of a positive label.
        positive: String,
        /// Text of a negative label.
        negative: String,
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
    /// Whether the label is the positive one.
    pub positive: bool,
    /// Scaled numeric cells u in `[-1, 1]`; `None` is missing.
    pub numerics: Vec<Option<f32>>,
    /// Index of the listed value per category feature; `None` is unlisted or missing.
    pub categories: Vec<Option<u32>>,
}

/// Reads a table from a file and calls `row` for each row.
pub(crate) fn read_file(
    path: &Path,
    spec: &DataSpec,
    row: impl FnMut(&Cells),
) -> Result<(), DataError> {
    read(open(path)?, spec, row).map_err(|error| error.of_file(path))
}

/// Opens a table's file.
pub(crate) fn open(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })
}

/// Reads a table and calls `row` for each row. White space around cells is ignored, also around
/// the values of the specification.
pub(crate) fn read(
    source: impl Read,
    spec: &DataSpec,
    mut row: impl FnMut(&Cells),
) -> Result<(), DataError> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(source);
    let header = header(&mut reader)?;
    let columns = Columns::resolve(&header, spec)?;
    let mut cells = Cells::default();
    let mut record = ByteRecord::new();
    let mut rows = 0usize;
    while reader.read_byte_record(&mut record).map_err(csv_error)? {
        rows += 1;
        if rows > MAX_RECORDS {
            return Err(DataError::TooManyRows { limit: MAX_RECORDS });
        }
        let line = record.position().map_or(0, csv::Position::line);
        columns.parse(&record, line, &mut cells)?;
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
    /// The same error, naming the file it is about.
    pub(crate) fn of_file(self, path: &Path) -> Self {
        match self {
            Self::Io { source, .. } => Self::Io { path: path.to_owned(), source },
            other => other,
        }
    }
}

/// Where the specification's columns are and how their cells are read.
pub(crate) struct Columns<'a> {
    label: (usize, &'a LabelSpec),
    numerics: Vec<(usize, &'a str, Scale)>,
    categories: Vec<(usize, HashMap<&'a [u8], u32>)>,
}

/// From a numeric cell to u in `[-1, 1]`.
struct Scale {
    min: f64,
    max: f64,
    transform: Transform,
}

impl<'a> Columns<'a> {
    pub(crate) fn resolve(header: &ByteRecord, spec: &'a DataSpec) -> Result<Self, DataError> {
        let index = |column: &str| column_index(header, column);
        let label = (index(&spec.label.column)?, &spec.label);
        let (mut numerics, mut categories) = (Vec::new(), Vec::new());
        for feature in &spec.features {
            let at = index(feature.column())?;
            match feature {
                FeatureSpec::Numeric { column, min, max, transform } => {
                    let scale = Scale { min: *min, max: *max, transform: *transform };
                    if !(scale.width().is_finite() && scale.width() > 0.0) {
                        return Err(DataError::Bounds { column: column.clone() });
                    }
                    numerics.push((at, column.as_str(), scale));
                }
                FeatureSpec::Category { values, .. } => {
                    let mut indices = HashMap::new();
                    for (i, value) in (0..).zip(values) {
                        indices.entry(value.trim().as_bytes()).or_insert(i);
                    }
                    categories.push((at, indices));
                }
            }
        }
        Ok(Self { label, numerics, categories })
    }

    fn parse(&self, record: &ByteRecord, line: u64, out: &mut Cells) -> Result<(), DataError> {
        if !self.is_text(record) {
            return Err(DataError::Malformed(format!("line {line}: not UTF-8")));
        }
        if !self.fill(record, out, |column| {
            Err(DataError::Number { line, column: column.to_owned() })
        })? {
            let (_, label) = self.label;
            return Err(DataError::Label {
                line,
                column: label.column.clone(),
                positive: label.positive.clone(),
                negative: label.negative.clone(),
            });
        }
        Ok(())
    }

    /// Whether every cell that the job uses is UTF-8.
    pub(crate) fn is_text(&self, record: &ByteRecord) -> bool {
        let numerics = self.numerics.iter().map(|(at, ..)| *at);
        let categories = self.categories.iter().map(|(at, _)| *at);
        let mut used = numerics.chain(categories).chain([self.label.0]);
        used.all(|at| std::str::from_utf8(record.get(at).unwrap_or_default()).is_ok())
    }

    /// Reads a row; false if its label is neither of the two values. A numeric cell that is no
    /// finite number is missing if `bad_number` (given the column) lets it pass.
    pub(crate) fn fill<E>(
        &self,
        record: &ByteRecord,
        out: &mut Cells,
        mut bad_number: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<bool, E> {
        let cell = |at: usize| record.get(at).unwrap_or_default();
        let (at, label) = self.label;
        out.positive = match cell(at) {
            text if text == label.positive.trim().as_bytes() => true,
            text if text == label.negative.trim().as_bytes() => false,
            _ => return Ok(false),
        };
        out.numerics.clear();
        for (at, column, scale) in &self.numerics {
            let text = cell(*at);
            let value = parse_finite(text).map(|v| scale.apply(v));
            if value.is_none() && !text.is_empty() {
                bad_number(column)?;
            }
            out.numerics.push(value);
        }
        out.categories.clear();
        out.categories.extend(self.categories.iter().map(|(at, indices)| {
            // An empty cell is missing even where a specification lists the empty value.
            Some(cell(*at)).filter(|c| !c.is_empty()).and_then(|c| indices.get(c)).copied()
        }));
        Ok(true)
    }
}

impl Scale {
    fn transformed(&self, value: f64) -> f64 {
        match self.transform {
            Transform::Identity => value,
            Transform::Log1p => value.ln_1p(),
        }
    }

    fn width(&self) -> f64 {
        self.transformed(self.max) - self.transformed(self.min)
    }

    /// `2 (t(x) - t(min)) / (t(max) - t(min)) - 1` of the clamped value, itself clamped because
    /// the quotient may round past the end.
    fn apply(&self, value: f64) -> f32 {
        let t = self.transformed(value.clamp(self.min, self.max));
        let u = 2.0 * ((t - self.transformed(self.min)) / self.width()) - 1.0;
        u.clamp(-1.0, 1.0) as f32
    }
}

fn column_index(header: &ByteRecord, column: &str) -> Result<usize, DataError> {
    let wanted = column.trim();
    let mut found = header.iter().enumerate().filter(|(_, name)| *name == wanted.as_bytes());
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (Some(_), Some(_)) => Err(DataError::AmbiguousColumn { column: column.to_owned() }),
        (None, _) => {
            let names = header.iter().filter_map(|name| std::str::from_utf8(name).ok());
            let nearest = nearest(wanted, names).map(str::to_owned);
            Err(DataError::MissingColumn { column: column.to_owned(), nearest })
        }
    }
}

fn parse_finite(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
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
mod tests {
    use super::*;

    fn spec() -> DataSpec {
        let numeric = |column: &str, min, max, transform| FeatureSpec::Numeric {
            column: column.into(),
            min,
            max,
            transform,
        };
        DataSpec {
            label: LabelSpec {
                column: "income".into(),
                positive: ">50K".into(),
                negative: "<=50K".into(),
            },
            features: vec![
                numeric("age", 0.0, 100.0, Transform::Identity),
                FeatureSpec::Category {
                    column: "work".into(),
                    values: vec!["Private".into(), " State".into()],
                },
                numeric("gain", 0.0, (3.0f64).exp_m1(), Transform::Log1p),
            ],
        }
    }

    fn rows(text: &str) -> Result<Vec<Cells>, DataError> {
        let mut out = Vec::new();
        read(text.as_bytes(), &spec(), |cells| out.push(cells.clone()))?;
        Ok(out)
    }

    #[test]
    fn cells_are_trimmed_scaled_and_indexed_in_any_column_order() {
        let text = "\u{feff}work, gain,income ,age,unused\nPrivate,0, >50K, 50,\u{e9}\n\
                    State,6.38905609893065,<=50K,120,\n?,,<=50K,,x\n";
        let rows = rows(text).unwrap();
        assert_eq!(rows[0].numerics, [Some(0.0), Some(-1.0)]);
        assert_eq!((rows[0].positive, &rows[0].categories[..]), (true, &[Some(0)][..]));
        assert_eq!(rows[1].numerics[0], Some(1.0), "clamped");
        assert!((rows[1].numerics[1].unwrap() - (2.0 * 2.0 / 3.0 - 1.0)).abs() < 1e-6);
        assert_eq!(rows[1].categories, [Some(1)]);
        assert_eq!(rows[2].numerics, [None, None]);
        assert_eq!((rows[2].positive, &rows[2].categories[..]), (false, &[None][..]));
    }

    #[test]
    fn every_bad_table_has_its_own_error() {
        let head = "age,work,gain,income\n";
        let error = |text: &str| rows(text).unwrap_err();
        assert!(matches!(error(""), DataError::Empty));
        assert!(matches!(error("\n\n"), DataError::Empty));
        assert!(matches!(error(head), DataError::Empty));
        let missing = error("Age,work,gain,income\n1,Private,0,>50K\n");
        assert!(missing.to_string().ends_with("no column \"age\"; is \"Age\" meant?"), "{missing}");
        let twice = error("age,age,work,gain,income\n1,1,Private,0,>50K\n");
        assert!(matches!(twice, DataError::AmbiguousColumn { .. }));
        let ragged = error(&format!("{head}1,Private,0,>50K\n1,Private,0\n"));
        assert!(matches!(ragged, DataError::Ragged { line: 3, expected: 4, found: 3 }), "{ragged}");
        let label = error(&format!("{head}1,Private,0,50K\n"));
        assert!(matches!(label, DataError::Label { line: 2, .. }));
        let empty_label = error(&format!("{head}1,Private,0,\n"));
        assert!(matches!(empty_label, DataError::Label { line: 2, .. }));
        for cell in ["NaN", "inf", "-inf", "1e999", "12 years", "?"] {
            let bad = error(&format!("{head}\n1,Private,0,>50K\n{cell},Private,0,>50K\n"));
            assert!(matches!(bad, DataError::Number { line: 4, .. }), "{bad}");
            assert!(!bad.to_string().contains(cell), "errors never repeat a cell");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_where_they_are_read_and_ignored_elsewhere() {
        let mut seen = 0;
        let text = b"age,work,gain,income,note\n1,Private,0,>50K,\xff\n";
        read(&text[..], &spec(), |_| seen += 1).unwrap();
        assert_eq!(seen, 1);
        let text = b"age,work,gain,income\n\xff,Private,0,>50K\n";
        let error = read(&text[..], &spec(), |_| ()).unwrap_err();
        assert!(matches!(error, DataError::Malformed(_)) && error.to_string().contains("line 2"));
    }

    #[test]
    fn bounds_without_room_are_refused() {
        let mut spec = spec();
        for (min, max) in [(1e16, 1e16 + 2.0), (-f64::MAX, f64::MAX)] {
            let transform = if min > 0.0 { Transform::Log1p } else { Transform::Identity };
            spec.features[0] = FeatureSpec::Numeric { column: "age".into(), min, max, transform };
            let text = "age,work,gain,income\n1,Private,0,>50K\n";
            let error = read(text.as_bytes(), &spec, |_| ()).unwrap_err();
            assert!(matches!(error, DataError::Bounds { .. }));
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let path = Path::new("no-such-table.csv");
        let error = read_file(path, &spec(), |_| ()).unwrap_err();
        assert!(error.to_string().starts_with("no-such-table.csv: "));
    }
}
