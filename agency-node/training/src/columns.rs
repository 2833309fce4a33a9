//! Where a specification's columns stand in a row and how its cells are read.
//!
//! Knows cells and the specification, no format; what a bad row means is the caller's business.

use std::collections::HashMap;

use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec, LabelValues, Scaling, Transform};

use crate::source::{Number, Row, Table};
use crate::table::{Cells, DataError};

/// A specification's columns in one table.
pub(crate) struct Columns<'a> {
    spec: &'a DataSpec,
    label: usize,
    classes: HashMap<&'a [u8], u32>,
    person: Option<usize>,
    duration: Option<usize>,
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
    /// It does not say how long it was followed.
    NoDuration,
}

/// Longest duration that is one, as long as an interval may end.
const LONGEST: f64 = 1e30;

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
    /// Chooses every column of the specification from a table.
    ///
    /// # Errors
    /// [`DataError::Bounds`], or as [`Table::select`].
    pub(crate) fn resolve(table: &mut dyn Table, spec: &'a DataSpec) -> Result<Self, DataError> {
        let mut wanted = vec![spec.label.column.clone()];
        wanted.extend(spec.person_column.clone());
        let mut columns = Self {
            spec,
            label: 0,
            classes: classes(&spec.label),
            person: spec.person_column.as_ref().map(|_| 1),
            duration: None,
            numerics: Vec::new(),
            plain: Vec::new(),
            categories: Vec::new(),
            names: (Vec::new(), Vec::new()),
        };
        for feature in &spec.features {
            columns.add(feature, &mut wanted)?;
        }
        columns.duration = spec.label.duration.as_ref().map(|column| {
            wanted.push(column.clone());
            wanted.len() - 1
        });
        table.select(&wanted)?;
        Ok(columns)
    }

    fn add(&mut self, feature: &'a FeatureSpec, wanted: &mut Vec<String>) -> Result<(), DataError> {
        for column in feature.columns() {
            let at = wanted.len();
            wanted.push(column.clone().into_owned());
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
    /// [`DataError::Ragged`], [`DataError::Malformed`], [`DataError::Number`], [`DataError::Label`],
    /// [`DataError::Duration`] or [`DataError::Person`].
    pub(crate) fn parse(&self, row: &Row, out: &mut Cells) -> Result<(), DataError> {
        let line = row.line();
        if let Some(defect) = row.defect() {
            return Err(DataError::of_defect(defect, line));
        }
        if !row.is_text() {
            return Err(DataError::Malformed(format!("line {line}: not UTF-8")));
        }
        let kind = self
            .fill(row, out, |column| Err(DataError::Number { line, column: column.to_owned() }))?;
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
            RowKind::NoDuration => {
                let column = self.spec.label.duration.clone().unwrap_or_default();
                Err(DataError::Duration { line, column })
            }
        }
    }

    /// Reads a row. A numeric cell that is no finite number is missing if `bad_number` (given the
    /// column) lets it pass.
    pub(crate) fn fill<E>(
        &self,
        row: &Row,
        out: &mut Cells,
        mut bad_number: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<RowKind, E> {
        let mut scratch = Vec::new();
        match self.classes.get(row.cell(self.label).text(&mut scratch)) {
            Some(class) => out.label = *class,
            None => return Ok(RowKind::UnknownLabel),
        }
        out.duration = 0.0;
        if let Some(at) = self.duration {
            match row.cell(at).number() {
                Number::Finite(value) if (0.0..=LONGEST).contains(&value) => {
                    out.duration = value as f32;
                }
                _ => return Ok(RowKind::NoDuration),
            }
        }
        out.person.clear();
        if let Some(at) = self.person {
            // Two people with one name would be one unit that is bounded as one.
            if !row.cell(at).identifies() {
                return Ok(RowKind::Nobody);
            }
            out.person.extend_from_slice(row.cell(at).text(&mut scratch));
        }
        let mut number = |at: usize, scale: &Scale, column: &str| match row.cell(at).number() {
            Number::Missing => Ok(None),
            Number::Finite(value) => Ok(Some(scale.apply(value))),
            Number::Bad => bad_number(column).map(|()| None),
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
        for (at, indices) in &self.categories {
            // An empty cell is missing even where a specification lists the empty value.
            let text = row.cell(*at).text(&mut scratch);
            let index = if text.is_empty() { None } else { indices.get(text).copied() };
            out.categories.push(index);
        }
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
