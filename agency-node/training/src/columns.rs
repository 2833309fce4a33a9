//! Where a specification's columns stand in a table and how a row's cells are read.
//!
//! Knows cells and the specification; what a bad row means is the caller's business.

use std::collections::HashMap;

use csv::ByteRecord;
use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec, LabelValues, Scaling, Transform};

use crate::nearest::nearest;
use crate::table::{Cells, DataError};

/// A specification's columns in one table.
pub(crate) struct Columns<'a> {
    spec: &'a DataSpec,
    label: usize,
    classes: HashMap<&'a [u8], u32>,
    person: Option<usize>,
    numerics: Vec<(usize, Scale)>,
    plain: Vec<(usize, Scale)>,
    categories: Vec<(usize, HashMap<&'a [u8], u32>)>,
    /// Names of `numerics` and `plain`, for errors.
    names: (Vec<String>, Vec<String>),
}

/// Whether a row can be used, as far as label and person go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    /// It can.
    Usable,
    /// The label is none of the values.
    UnknownLabel,
    /// It does not say whose it is.
    Nobody,
}

/// From a numeric cell to a number within a fixed range.
struct Scale {
    min: f64,
    max: f64,
    transform: Transform,
    /// Whether the range is `[-1, 1]`; otherwise `[0, 1]`.
    centred: bool,
    /// The transformed lower bound and the width of the transformed bounds.
    low: f64,
    width: f64,
}

impl<'a> Columns<'a> {
    /// Finds every column in the header.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`], [`DataError::AmbiguousColumn`] or [`DataError::Bounds`].
    pub(crate) fn resolve(header: &ByteRecord, spec: &'a DataSpec) -> Result<Self, DataError> {
        let places = Places::of(header);
        let mut columns = Self {
            spec,
            label: places.find(&spec.label.column)?,
            classes: classes(&spec.label),
            person: spec.person_column.as_ref().map(|c| places.find(c)).transpose()?,
            numerics: Vec::new(),
            plain: Vec::new(),
            categories: Vec::new(),
            names: (Vec::new(), Vec::new()),
        };
        for feature in &spec.features {
            columns.add(feature, &places)?;
        }
        Ok(columns)
    }

    fn add(&mut self, feature: &'a FeatureSpec, places: &Places<'_>) -> Result<(), DataError> {
        for column in feature.columns() {
            let at = places.find(&column)?;
            match feature {
                FeatureSpec::Numeric { min, max, transform, scaling, .. } => {
                    let scale = Scale::new(&column, (*min, *max), *transform, true)?;
                    let (cells, names) = match scaling {
                        Scaling::Standard => (&mut self.numerics, &mut self.names.0),
                        Scaling::Unit => (&mut self.plain, &mut self.names.1),
                    };
                    cells.push((at, scale));
                    names.push(column.into_owned());
                }
                FeatureSpec::Block { min, max, .. } => {
                    let scale = Scale::new(&column, (*min, *max), Transform::Identity, false)?;
                    self.plain.push((at, scale));
                    self.names.1.push(column.into_owned());
                }
                FeatureSpec::Category { values, .. } => {
                    let mut indices = HashMap::new();
                    for (i, value) in (0..).zip(values) {
                        indices.entry(value.trim().as_bytes()).or_insert(i);
                    }
                    self.categories.push((at, indices));
                }
            }
        }
        Ok(())
    }

    /// Reads a row strictly.
    ///
    /// # Errors
    /// [`DataError::Malformed`], [`DataError::Number`], [`DataError::Label`] or
    /// [`DataError::Person`].
    pub(crate) fn parse(
        &self,
        record: &ByteRecord,
        line: u64,
        out: &mut Cells,
    ) -> Result<(), DataError> {
        if !self.is_text(record) {
            return Err(DataError::Malformed(format!("line {line}: not UTF-8")));
        }
        let kind = self.fill(record, out, |column| {
            Err(DataError::Number { line, column: column.to_owned() })
        })?;
        match kind {
            RowKind::Usable => Ok(()),
            RowKind::UnknownLabel => {
                let column = self.spec.label.column.clone();
                Err(DataError::Label { line, column, problem: expected_label(&self.spec.label) })
            }
            RowKind::Nobody => {
                let column = self.spec.person_column.clone().unwrap_or_default();
                Err(DataError::Person { line, column })
            }
        }
    }

    /// Whether every cell that the job uses is UTF-8.
    pub(crate) fn is_text(&self, record: &ByteRecord) -> bool {
        if record.as_slice().is_ascii() {
            return true;
        }
        let numbers = self.numerics.iter().chain(&self.plain).map(|(at, _)| *at);
        let categories = self.categories.iter().map(|(at, _)| *at);
        let mut used = numbers.chain(categories).chain([self.label]).chain(self.person);
        used.all(|at| std::str::from_utf8(cell(record, at)).is_ok())
    }

    /// Reads a row. A numeric cell that is no finite number is missing if `bad_number` (given the
    /// column) lets it pass.
    pub(crate) fn fill<E>(
        &self,
        record: &ByteRecord,
        out: &mut Cells,
        mut bad_number: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<RowKind, E> {
        match self.classes.get(cell(record, self.label)) {
            Some(class) => out.label = *class,
            None => return Ok(RowKind::UnknownLabel),
        }
        out.person.clear();
        if let Some(at) = self.person {
            out.person.extend_from_slice(cell(record, at));
            if out.person.is_empty() {
                return Ok(RowKind::Nobody);
            }
        }
        let mut number = |at: usize, scale: &Scale, column: &str| {
            let text = cell(record, at);
            let value = parse_finite(text).map(|v| scale.apply(v));
            if value.is_none() && !text.is_empty() {
                bad_number(column)?;
            }
            Ok(value)
        };
        out.numerics.clear();
        for ((at, scale), name) in self.numerics.iter().zip(&self.names.0) {
            out.numerics.push(number(*at, scale, name)?);
        }
        out.plain.clear();
        for ((at, scale), name) in self.plain.iter().zip(&self.names.1) {
            out.plain.push(number(*at, scale, name)?.unwrap_or(0.0));
        }
        out.categories.clear();
        out.categories.extend(self.categories.iter().map(|(at, indices)| {
            // An empty cell is missing even where a specification lists the empty value.
            Some(cell(record, *at)).filter(|c| !c.is_empty()).and_then(|c| indices.get(c)).copied()
        }));
        Ok(RowKind::Usable)
    }
}

/// The class of every cell that a label may have.
pub(crate) fn classes(label: &LabelSpec) -> HashMap<&[u8], u32> {
    let mut classes = HashMap::new();
    let values: Vec<&str> = match &label.values {
        LabelValues::Binary { positive, negative } => vec![negative, positive],
        LabelValues::Classes(values) => values.iter().map(String::as_str).collect(),
        LabelValues::NextToken => Vec::new(),
    };
    // Backwards, so that the positive value wins if only white space tells the two apart.
    for (i, value) in (0..).zip(&values).collect::<Vec<_>>().into_iter().rev() {
        classes.entry(value.trim().as_bytes()).or_insert(i);
    }
    classes
}

/// What a label's cell should have been.
pub(crate) fn expected_label(label: &LabelSpec) -> String {
    match &label.values {
        LabelValues::Binary { positive, negative } => {
            format!("neither {positive:?} nor {negative:?}")
        }
        LabelValues::Classes(classes) => format!("none of the {} classes", classes.len()),
        LabelValues::NextToken => "no label".into(),
    }
}

impl Scale {
    fn new(
        column: &str,
        (min, max): (f64, f64),
        transform: Transform,
        centred: bool,
    ) -> Result<Self, DataError> {
        let low = transformed(transform, min);
        let width = transformed(transform, max) - low;
        if !(width.is_finite() && width > 0.0) {
            return Err(DataError::Bounds { column: column.to_owned() });
        }
        Ok(Self { min, max, transform, centred, low, width })
    }

    /// `v = (t(x) - t(min)) / (t(max) - t(min))` of the clamped value, or `2 v - 1`, itself clamped
    /// because the quotient may round past the end.
    fn apply(&self, value: f64) -> f32 {
        let t = transformed(self.transform, value.clamp(self.min, self.max));
        let v = (t - self.low) / self.width;
        if self.centred {
            (2.0 * v - 1.0).clamp(-1.0, 1.0) as f32
        } else {
            v.clamp(0.0, 1.0) as f32
        }
    }
}

fn transformed(transform: Transform, value: f64) -> f64 {
    match transform {
        Transform::Identity => value,
        Transform::Log1p => value.ln_1p(),
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

fn cell(record: &ByteRecord, at: usize) -> &[u8] {
    record.get(at).unwrap_or_default()
}

fn parse_finite(text: &[u8]) -> Option<f64> {
    // Pixels and counts: most cells of wide tables, read without the general parser.
    if matches!(text.len(), 1..=6) && text.iter().all(u8::is_ascii_digit) {
        let value = text.iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
        return Some(f64::from(value));
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}
