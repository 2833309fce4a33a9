//! An agency's table in memory: labels, scaled numerics with a missing bitmap, category indices.
//!
//! Knows how records become model inputs and how they enter the statistics round. It must not know
//! trainers, noise or peers; nothing in it may be sent anywhere.

use std::fmt;
use std::io::Read;
use std::path::Path;

use tributary_job::Normalisation;
use tributary_job::plan::MAX_RECORDS_PER_NODE;
use tributary_job::spec::{DataSpec, FeatureSpec};

use crate::batch::MICROBATCH;
pub use crate::table::DataError;
use crate::table::{self, Cells};
use crate::tolerant::{self, Skipped};

/// Standardised inputs are clamped to plus or minus this many standard deviations.
pub const STANDARDISED_LIMIT: f32 = 6.0;

/// Index that stands for "no listed value".
const UNLISTED: u32 = u32::MAX;

/// The records of one dataset, in file order.
pub struct Dataset {
    features: Vec<Feature>,
    input_width: usize,
    numeric_count: usize,
    category_count: usize,
    labels: Vec<bool>,
    /// `numeric_count` scaled cells per record, 0 where missing.
    numerics: Vec<f32>,
    /// One bit per scaled cell, set where missing.
    missing: Vec<u64>,
    /// `category_count` indices per record.
    categories: Vec<u32>,
}

/// What one column of the specification becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feature {
    /// The next numeric, one input.
    Numeric,
    /// The next category, this many inputs.
    Category(usize),
}

impl Dataset {
    /// Reads and checks a CSV file: one header line, comma separated, UTF-8 in the columns that the
    /// job uses. Numeric cells out of bounds are clamped, empty cells are missing, unlisted
    /// category values are all zeros.
    ///
    /// # Errors
    /// [`DataError`], for local eyes only.
    pub fn load_csv(path: &Path, spec: &DataSpec) -> Result<Self, DataError> {
        let mut dataset = Self::empty(spec);
        table::read_file(path, spec, |cells| dataset.push(cells))?;
        Ok(dataset)
    }

    /// As [`Dataset::load_csv`], from any source of bytes.
    ///
    /// # Errors
    /// [`DataError`], for local eyes only.
    pub fn read_csv(source: impl Read, spec: &DataSpec) -> Result<Self, DataError> {
        let mut dataset = Self::empty(spec);
        table::read(source, spec, |cells| dataset.push(cells))?;
        Ok(dataset)
    }

    /// Reads a CSV file as a node must that answers to somebody else: no cell can make it fail.
    ///
    /// Only the header, the specification and the file itself can be refused. What a cell does is
    /// as [`Skipped`] says; a table without a usable row is an empty dataset.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::Empty`] (no header), [`DataError::MissingColumn`],
    /// [`DataError::AmbiguousColumn`] or [`DataError::Bounds`].
    pub fn load_tolerant(path: &Path, spec: &DataSpec) -> Result<(Self, Skipped), DataError> {
        let file = table::open(path)?;
        Self::read_tolerant(file, spec).map_err(|error| error.of_file(path))
    }

    /// As [`Dataset::load_tolerant`], from any source of bytes.
    ///
    /// # Errors
    /// As [`Dataset::load_tolerant`].
    pub fn read_tolerant(source: impl Read, spec: &DataSpec) -> Result<(Self, Skipped), DataError> {
        let mut dataset = Self::empty(spec);
        let limit = MAX_RECORDS_PER_NODE as usize;
        let skipped = tolerant::read(source, spec, limit, |cells| dataset.push(cells))?;
        Ok((dataset, skipped))
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of model inputs.
    pub fn input_width(&self) -> usize {
        self.input_width
    }

    /// Number F of numeric features.
    pub fn numeric_count(&self) -> usize {
        self.numeric_count
    }

    /// Replaces `out` with the input rows of the given records, row major: standardised numerics
    /// `(u - mean) * inverse_sd` clamped to ±[`STANDARDISED_LIMIT`], 0 where missing, and one 0/1
    /// input per listed category value.
    ///
    /// # Panics
    /// If a row number is beyond the table (they come from this process's own sampler, never from
    /// outside) or the normalisation has fewer features than the specification.
    pub fn features(&self, rows: &[u32], norm: &Normalisation, out: &mut Vec<f32>) {
        out.clear();
        out.reserve(rows.len() * self.input_width);
        for row in rows {
            let row = *row as usize;
            let (mut numeric, mut category) = (0, row * self.category_count);
            for feature in &self.features {
                match feature {
                    Feature::Numeric => {
                        out.push(self.standardised(row, numeric, norm));
                        numeric += 1;
                    }
                    Feature::Category(width) => {
                        let start = out.len();
                        out.resize(start + width, 0.0);
                        let index = self.categories[category] as usize;
                        if let Some(input) = out[start..].get_mut(index) {
                            *input = 1.0;
                        }
                        category += 1;
                    }
                }
            }
        }
    }

    /// Labels of the given records: 1.0 positive, 0.0 negative.
    pub fn labels(&self, rows: &[u32]) -> Vec<f32> {
        rows.iter().map(|r| if self.labels[*r as usize] { 1.0 } else { 0.0 }).collect()
    }

    /// Contribution to the statistics round: per numeric feature `(present, u, u^2)` summed over
    /// the given records, length 3F.
    ///
    /// One record adds `(1, u, u^2)` with `|u| <= 1`, or zeros where missing, so its vector has an
    /// L2 norm of at most `sqrt(3 F)` by construction: the release clips at `sqrt(3 F)` and needs
    /// no scaling. Summed in f64 per microbatch as [`float_error`](crate::float_error()) assumes.
    pub fn statistics_contribution(&self, rows: &[u32]) -> Vec<f64> {
        let mut total = vec![0.0; 3 * self.numeric_count];
        for block in rows.chunks(MICROBATCH) {
            let mut sum = vec![0.0; total.len()];
            for row in block {
                for (numeric, moments) in sum.chunks_exact_mut(3).enumerate() {
                    if let Some(u) = self.scaled(*row as usize, numeric) {
                        let u = f64::from(u);
                        moments[0] += 1.0;
                        moments[1] += u;
                        moments[2] += u * u;
                    }
                }
            }
            total.iter_mut().zip(&sum).for_each(|(t, s)| *t += s);
        }
        total
    }

    fn empty(spec: &DataSpec) -> Self {
        let feature = |f: &FeatureSpec| match f {
            FeatureSpec::Numeric { .. } => Feature::Numeric,
            FeatureSpec::Category { values, .. } => Feature::Category(values.len()),
        };
        Self {
            features: spec.features.iter().map(feature).collect(),
            input_width: spec.input_width(),
            numeric_count: spec.numeric_count(),
            category_count: spec.features.len() - spec.numeric_count(),
            labels: Vec::new(),
            numerics: Vec::new(),
            missing: Vec::new(),
            categories: Vec::new(),
        }
    }

    fn push(&mut self, cells: &Cells) {
        self.labels.push(cells.positive);
        for cell in &cells.numerics {
            let at = self.numerics.len();
            if at.is_multiple_of(64) {
                self.missing.push(0);
            }
            if cell.is_none() {
                self.missing[at / 64] |= 1 << (at % 64);
            }
            self.numerics.push(cell.unwrap_or(0.0));
        }
        self.categories.extend(cells.categories.iter().map(|c| c.unwrap_or(UNLISTED)));
    }

    fn scaled(&self, row: usize, numeric: usize) -> Option<f32> {
        let at = row * self.numeric_count + numeric;
        (self.missing[at / 64] >> (at % 64) & 1 == 0).then(|| self.numerics[at])
    }

    fn standardised(&self, row: usize, numeric: usize, norm: &Normalisation) -> f32 {
        let Some(u) = self.scaled(row, numeric) else { return 0.0 };
        let value = (u - norm.mean[numeric]) * norm.inverse_sd[numeric];
        value.clamp(-STANDARDISED_LIMIT, STANDARDISED_LIMIT)
    }
}

impl fmt::Debug for Dataset {
    /// Shape only: records have no business in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("features", &self.features.len())
            .field("input_width", &self.input_width)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tributary_job::spec::{LabelSpec, Transform};

    fn spec() -> DataSpec {
        let numeric = |column: &str| FeatureSpec::Numeric {
            column: column.into(),
            min: -10.0,
            max: 10.0,
            transform: Transform::Identity,
        };
        DataSpec {
            label: LabelSpec { column: "y".into(), positive: "1".into(), negative: "0".into() },
            features: vec![
                numeric("a"),
                FeatureSpec::Category {
                    column: "c".into(),
                    values: vec!["r".into(), "g".into(), "b".into()],
                },
                numeric("b"),
            ],
        }
    }

    fn dataset(text: &str) -> Dataset {
        Dataset::read_csv(text.as_bytes(), &spec()).unwrap()
    }

    #[test]
    fn inputs_follow_the_specification_in_order() {
        let data = dataset("a,b,c,y\n10,,g,1\n-10,5,violet,0\n0,0,,1\n");
        let norm = Normalisation { mean: vec![0.5, 0.25], inverse_sd: vec![2.0, 100.0] };
        let mut out = vec![9.0; 3];
        data.features(&[0, 1, 2], &norm, &mut out);
        assert_eq!(out[..5], [1.0, 0.0, 1.0, 0.0, 0.0], "missing is the mean");
        assert_eq!(out[5..10], [-3.0, 0.0, 0.0, 0.0, 6.0], "clamped, unlisted is zeros");
        assert_eq!(out[10..], [-1.0, 0.0, 0.0, 0.0, -6.0]);
        assert_eq!(data.labels(&[0, 1, 2, 0]), [1.0, 0.0, 1.0, 1.0]);
        assert_eq!((data.len(), data.input_width(), data.numeric_count()), (3, 5, 2));
    }

    #[test]
    fn statistics_count_only_present_cells() {
        let data = dataset("a,b,c,y\n10,,g,1\n-5,5,b,0\n");
        assert_eq!(data.statistics_contribution(&[0, 1]), [2.0, 0.5, 1.25, 1.0, 0.5, 0.25]);
        assert_eq!(data.statistics_contribution(&[0]), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(data.statistics_contribution(&[]), [0.0; 6]);
    }

    #[test]
    fn missing_cells_are_told_apart_over_many_records() {
        let mut text = String::from("a,b,c,y\n");
        let is_missing = |row: u32, column: u32| (row * 7 + column * 3) % 5 < 2;
        for row in 0..200 {
            let cell = |column| if is_missing(row, column) { "" } else { "4" };
            text += &format!("{},{},r,1\n", cell(0), cell(1));
        }
        let data = dataset(&text);
        let norm = Normalisation { mean: vec![0.0; 2], inverse_sd: vec![1.0; 2] };
        let mut out = Vec::new();
        for row in 0..200 {
            data.features(&[row], &norm, &mut out);
            for (column, input) in [(0, 0), (1, 4)] {
                let expected = if is_missing(row, column) { 0.0 } else { 0.4 };
                assert_eq!(out[input], expected, "record {row}, column {column}");
            }
        }
    }

    #[test]
    fn a_file_is_read_like_any_source_and_debug_shows_no_record() {
        let text = "a,b,c,y\n1,2,r,1\n";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.csv");
        std::fs::write(&path, text).unwrap();
        let (from_file, direct) = (Dataset::load_csv(&path, &spec()).unwrap(), dataset(text));
        assert_eq!(from_file.numerics, direct.numerics);
        assert_eq!(format!("{direct:?}"), "Dataset { features: 3, input_width: 5, .. }");
    }

    proptest! {
        #[test]
        fn one_record_stays_within_the_statistics_clip(cells in
            proptest::collection::vec((any::<Option<f64>>(), any::<Option<f64>>()), 1..20)) {
            let show = |c: &Option<f64>| match c {
                Some(v) if v.is_finite() => v.to_string(),
                _ => String::new(),
            };
            let mut text = String::from("a,b,c,y\n");
            for (a, b) in &cells {
                text += &format!("{},{},r,0\n", show(a), show(b));
            }
            let data = dataset(&text);
            let identity = Normalisation::identity(2);
            let mut inputs = Vec::new();
            for row in 0..data.len() as u32 {
                let squared: f64 =
                    data.statistics_contribution(&[row]).iter().map(|v| v * v).sum();
                prop_assert!(squared.sqrt() <= 6f64.sqrt());
                data.features(&[row], &identity, &mut inputs);
                prop_assert!(inputs.iter().all(|v| v.is_finite() && v.abs() <= 1.0));
            }
        }
    }
}
