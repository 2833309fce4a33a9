//! An agency's table in memory: labels, scaled numerics with a missing bitmap, category indices,
//! inputs that are ready as they are, and which records belong to one person.
//!
//! Knows how records become model inputs and how they enter the statistics round. It must not know
//! trainers, noise or peers; nothing in it may be sent anywhere.

use std::fmt;
use std::io::Read;
use std::path::Path;

use tributary_job::Normalisation;
use tributary_job::plan::{MAX_RECORDS_PER_NODE, MAX_WINDOWS_PER_NODE};
use tributary_job::spec::{DataSpec, FeatureSpec, Scaling};

use crate::assets::Assets;
use crate::batch::MICROBATCH;
use crate::clipping::ClipNorm;
use crate::codes::Codes;
use crate::holdout::{Place, is_held_out};
use crate::persons::{Grouping, Persons};
use crate::source::{self, Reading, Table};
pub use crate::table::DataError;
use crate::table::{self, Cells};
use crate::text;
use crate::tolerant::{self, Skipped};
use crate::trainer::TrainerError;

/// Standardised inputs are clamped to plus or minus this many standard deviations.
pub const STANDARDISED_LIMIT: f32 = 6.0;

/// The records of one dataset, in file order.
pub struct Dataset {
    features: Vec<Feature>,
    input_width: usize,
    numeric_count: usize,
    category_count: usize,
    plain_count: usize,
    /// Class per record.
    labels: Codes,
    /// How long each record was followed; empty where the job asks for no times to an event.
    durations: Vec<f32>,
    /// `numeric_count` scaled cells per record, 0 where missing.
    numerics: Vec<f32>,
    /// One bit per scaled cell, set where missing.
    missing: Vec<u64>,
    /// `category_count` indices per record.
    categories: Codes,
    /// `plain_count` inputs per record.
    plain: Vec<f32>,
    persons: Option<Persons>,
    /// Where each record stands between trained on and held out.
    places: Vec<u32>,
    language_model: bool,
    times_to_event: bool,
}

/// A dataset whose rows are still being read.
struct Builder {
    dataset: Dataset,
    grouping: Option<Grouping>,
}

/// What one column of the specification becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feature {
    /// The next standardised numeric, one input.
    Numeric,
    /// The next inputs as they are, this many.
    Plain(usize),
    /// The next category, this many inputs.
    Category(usize),
}

impl Dataset {
    /// Reads and checks a CSV file: one header line, comma separated, UTF-8 in the columns that the
    /// job uses. Numeric cells out of bounds are clamped, empty cells are missing, unlisted
    /// category values are all zeros. Rows of a person beyond the specification's maximum are left
    /// out, the first in file order are kept.
    ///
    /// # Errors
    /// [`DataError`], for local eyes only.
    pub fn load_csv(path: &Path, spec: &DataSpec) -> Result<Self, DataError> {
        Self::load_csv_with(path, spec, &Assets::none())
    }

    /// As [`Dataset::load_csv`], with the public files that the specification may name.
    ///
    /// # Errors
    /// [`DataError`], for local eyes only.
    pub fn load_csv_with(path: &Path, spec: &DataSpec, assets: &Assets) -> Result<Self, DataError> {
        let file = table::open(path)?;
        Self::read_csv_with(file, spec, assets).map_err(|error| error.of_file(path))
    }

    /// As [`Dataset::load_csv`], from any source of bytes.
    ///
    /// # Errors
    /// [`DataError`], for local eyes only.
    pub fn read_csv(source: impl Read, spec: &DataSpec) -> Result<Self, DataError> {
        Self::read_csv_with(source, spec, &Assets::none())
    }

    fn read_csv_with(
        source: impl Read,
        spec: &DataSpec,
        assets: &Assets,
    ) -> Result<Self, DataError> {
        let mut builder = Builder::new(spec);
        if let Some(column) = &spec.text {
            let (limit, reading) = (MAX_WINDOWS_PER_NODE as usize, text::Reading::Strict);
            let push = |cells: &Cells| builder.push(cells);
            text::read(source, spec, column, limit, reading, assets, push)?;
            return Ok(builder.finish());
        }
        table::read(source, spec, |cells| {
            builder.push(cells);
        })?;
        Ok(builder.finish())
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
        Self::load_tolerant_with(path, spec, &Assets::none())
    }

    /// As [`Dataset::load_tolerant`], with the public files that the specification may name.
    ///
    /// # Errors
    /// As [`Dataset::load_tolerant`], and [`DataError::Tokenizer`].
    pub fn load_tolerant_with(
        path: &Path,
        spec: &DataSpec,
        assets: &Assets,
    ) -> Result<(Self, Skipped), DataError> {
        let file = table::open(path)?;
        Self::read_tolerant_with(file, spec, assets).map_err(|error| error.of_file(path))
    }

    /// As [`Dataset::load_tolerant`], from any source of bytes.
    ///
    /// # Errors
    /// As [`Dataset::load_tolerant`].
    pub fn read_tolerant(source: impl Read, spec: &DataSpec) -> Result<(Self, Skipped), DataError> {
        Self::read_tolerant_with(source, spec, &Assets::none())
    }

    /// As [`Dataset::load_tolerant_with`], from any source of bytes.
    ///
    /// # Errors
    /// As [`Dataset::load_tolerant_with`].
    pub fn read_tolerant_with(
        source: impl Read,
        spec: &DataSpec,
        assets: &Assets,
    ) -> Result<(Self, Skipped), DataError> {
        let mut builder = Builder::new(spec);
        if let Some(column) = &spec.text {
            let (limit, reading) = (MAX_WINDOWS_PER_NODE as usize, text::Reading::Tolerant);
            let push = |cells: &Cells| builder.push(cells);
            let skipped = text::read(source, spec, column, limit, reading, assets, push)?;
            return Ok((builder.finish(), skipped));
        }
        let limit = MAX_RECORDS_PER_NODE as usize;
        let skipped = tolerant::read(source, spec, limit, |cells| builder.push(cells))?;
        Ok((builder.finish(), skipped))
    }

    /// Reads and checks a file in the format that its name says, as [`Dataset::load_csv`] does.
    ///
    /// # Errors
    /// [`DataError`], for local eyes only.
    pub fn load(path: &Path, spec: &DataSpec) -> Result<Self, DataError> {
        let mut table = source::open(path, Reading::of(path))?;
        Self::read_table(table.as_mut(), spec).map_err(|error| error.of_file(path))
    }

    /// Reads and checks a table of any format. What a cell means does not depend on the format.
    ///
    /// # Errors
    /// [`DataError`], for local eyes only.
    pub fn read_table(table: &mut dyn Table, spec: &DataSpec) -> Result<Self, DataError> {
        Self::read_table_with(table, spec, &Assets::none())
    }

    /// As [`Dataset::read_table`], with the public files that the specification may name.
    ///
    /// # Errors
    /// [`DataError`], for local eyes only.
    pub fn read_table_with(
        table: &mut dyn Table,
        spec: &DataSpec,
        assets: &Assets,
    ) -> Result<Self, DataError> {
        let mut builder = Builder::new(spec);
        if let Some(column) = &spec.text {
            let (limit, reading) = (MAX_WINDOWS_PER_NODE as usize, text::Reading::Strict);
            let push = |cells: &Cells| builder.push(cells);
            text::read_table(table, spec, column, limit, reading, assets, push)?;
            return Ok(builder.finish());
        }
        table::read_table(table, spec, |cells| {
            builder.push(cells);
        })?;
        Ok(builder.finish())
    }

    /// Reads a table of any format as [`Dataset::load_tolerant`] does: no cell can make it fail.
    ///
    /// # Errors
    /// As [`Dataset::load_tolerant`], and [`DataError::ColumnType`] or [`DataError::Mapping`].
    pub fn read_table_tolerant(
        table: &mut dyn Table,
        spec: &DataSpec,
    ) -> Result<(Self, Skipped), DataError> {
        Self::read_table_tolerant_with(table, spec, &Assets::none())
    }

    /// As [`Dataset::read_table_tolerant`], with the public files that the specification may name.
    ///
    /// # Errors
    /// As [`Dataset::read_table_tolerant`], and [`DataError::Tokenizer`].
    pub fn read_table_tolerant_with(
        table: &mut dyn Table,
        spec: &DataSpec,
        assets: &Assets,
    ) -> Result<(Self, Skipped), DataError> {
        let mut builder = Builder::new(spec);
        if let Some(column) = &spec.text {
            let (limit, reading) = (MAX_WINDOWS_PER_NODE as usize, text::Reading::Tolerant);
            let push = |cells: &Cells| builder.push(cells);
            let skipped = text::read_table(table, spec, column, limit, reading, assets, push)?;
            return Ok((builder.finish(), skipped));
        }
        let limit = MAX_RECORDS_PER_NODE as usize;
        let skipped = tolerant::read_table(table, spec, limit, |cells| builder.push(cells))?;
        Ok((builder.finish(), skipped))
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

    /// Number F of standardised features.
    pub fn numeric_count(&self) -> usize {
        self.numeric_count
    }

    /// Whether a record is a window of text whose next tokens are what is learned.
    pub fn is_language_model(&self) -> bool {
        self.language_model
    }

    /// Whether a record's label is a time to an event.
    pub fn has_durations(&self) -> bool {
        self.times_to_event
    }

    /// Which records belong to one person; `None` if the specification names no person column.
    pub fn persons(&self) -> Option<&Persons> {
        self.persons.as_ref()
    }

    /// Whether a record is held out for evaluation where `share` of all are. It depends on the record's
    /// own content, or on whose it is where the specification names a person column.
    ///
    /// # Panics
    /// If there is no such record.
    pub fn is_held_out(&self, row: u32, share: f64) -> bool {
        is_held_out(self.places[row as usize], share)
    }

    /// Replaces `out` with the input rows of the given records, row major: standardised numerics
    /// `(u - mean) * inverse_sd` clamped to ±[`STANDARDISED_LIMIT`], 0 where missing; inputs that
    /// public bounds alone scale, `[-1, 1]` or (blocks) `[0, 1]`, 0 where missing; and one 0/1 input
    /// per listed category value. Of text the numbers of a window's tokens, exact, then
    /// [`PADDING`](crate::PADDING).
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
            let mut plain = row * self.plain_count;
            for feature in &self.features {
                match feature {
                    Feature::Numeric => {
                        out.push(self.standardised(row, numeric, norm));
                        numeric += 1;
                    }
                    Feature::Plain(width) => {
                        out.extend_from_slice(&self.plain[plain..plain + width]);
                        plain += width;
                    }
                    Feature::Category(width) => {
                        let start = out.len();
                        out.resize(start + width, 0.0);
                        let index = self.categories.get(category);
                        if let Some(input) = index.and_then(|i| out[start..].get_mut(i as usize)) {
                            *input = 1.0;
                        }
                        category += 1;
                    }
                }
            }
        }
    }

    /// Labels of the given records: 1.0 positive, 0.0 negative, or the index of the class. Of a time
    /// to an event the time where the event came, and minus the time (also minus zero) up to which it
    /// had not come.
    pub fn labels(&self, rows: &[u32]) -> Vec<f32> {
        if self.times_to_event {
            return rows.iter().map(|row| self.signed_duration(*row as usize)).collect();
        }
        let label = |row: &u32| self.labels.get(*row as usize).unwrap_or_default() as f32;
        rows.iter().map(label).collect()
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
            self.add_moments(block, &mut sum);
            total.iter_mut().zip(&sum).for_each(|(t, s)| *t += s);
        }
        total
    }

    /// As [`Dataset::statistics_contribution`], with persons as units: each person's rows are
    /// summed, the sum is clipped to `clip_norm` in L2 as one vector, and the clipped vectors are
    /// summed. All zeros if the specification names no person column.
    ///
    /// The plan clips at `sqrt(3 F)`, so a person of r like records weighs like one record.
    ///
    /// # Errors
    /// [`TrainerError::ClipNorm`].
    ///
    /// # Panics
    /// If there is no such person (numbers come from this process's own sampler).
    pub fn statistics_contribution_of_persons(
        &self,
        persons: &[u32],
        clip_norm: f64,
    ) -> Result<Vec<f64>, TrainerError> {
        let clip = ClipNorm::new(clip_norm)?;
        let mut total = vec![0.0; 3 * self.numeric_count];
        let Some(grouped) = &self.persons else { return Ok(total) };
        let mut own = total.clone();
        for block in persons.chunks(MICROBATCH) {
            let mut sum = vec![0.0; total.len()];
            for person in block {
                own.fill(0.0);
                self.add_moments(grouped.rows_of(*person), &mut own);
                let squared = own.iter().map(|v| v * v).sum();
                let factor = clip.factor(squared).unwrap_or(0.0);
                sum.iter_mut().zip(&own).for_each(|(s, v)| *s += factor * v);
            }
            total.iter_mut().zip(&sum).for_each(|(t, s)| *t += s);
        }
        Ok(total)
    }

    /// Adds `(present, u, u^2)` of every given record.
    fn add_moments(&self, rows: &[u32], sum: &mut [f64]) {
        for row in rows {
            for (numeric, moments) in sum.chunks_exact_mut(3).enumerate() {
                if let Some(u) = self.scaled(*row as usize, numeric) {
                    let u = f64::from(u);
                    moments[0] += 1.0;
                    moments[1] += u;
                    moments[2] += u * u;
                }
            }
        }
    }

    fn signed_duration(&self, row: usize) -> f32 {
        let duration = self.durations.get(row).copied().unwrap_or_default();
        if self.labels.get(row) == Some(1) { duration } else { -duration }
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

impl Builder {
    fn new(spec: &DataSpec) -> Self {
        let feature = |f: &FeatureSpec| match f {
            FeatureSpec::Numeric { scaling: Scaling::Standard, .. } => Feature::Numeric,
            FeatureSpec::Numeric { scaling: Scaling::Unit, .. } => Feature::Plain(1),
            FeatureSpec::Block { count, .. } => Feature::Plain(*count as usize),
            FeatureSpec::Category { values, .. } => Feature::Category(values.len()),
        };
        let mut features: Vec<Feature> = spec.features.iter().map(feature).collect();
        if spec.text.is_some() {
            features.push(Feature::Plain(spec.input_width()));
        }
        let count = |of: fn(&Feature) -> usize| features.iter().map(of).sum();
        let widest = |of: fn(&Feature) -> usize| features.iter().map(of).max().unwrap_or(0);
        let codes = widest(|f| if let Feature::Category(width) = f { *width } else { 0 });
        let dataset = Dataset {
            input_width: spec.input_width(),
            numeric_count: spec.numeric_count(),
            category_count: count(|f| usize::from(matches!(f, Feature::Category(_)))),
            plain_count: count(|f| if let Feature::Plain(width) = f { *width } else { 0 }),
            features,
            labels: Codes::new(spec.output_width().max(2)),
            durations: Vec::new(),
            numerics: Vec::new(),
            missing: Vec::new(),
            categories: Codes::new(codes),
            plain: Vec::new(),
            persons: None,
            places: Vec::new(),
            language_model: spec.is_language_model(),
            times_to_event: spec.label.duration.is_some(),
        };
        let grouping =
            spec.person_column.as_ref().map(|_| Grouping::new(spec.records_per_person()));
        Self { dataset, grouping }
    }

    /// Adds a row, unless its person has enough; says whether.
    fn push(&mut self, cells: &Cells) -> bool {
        if self.grouping.as_mut().is_some_and(|grouping| !grouping.admit(&cells.person)) {
            return false;
        }
        let data = &mut self.dataset;
        data.places.push(place(cells, data.times_to_event));
        data.labels.push(Some(cells.label));
        if data.times_to_event {
            data.durations.push(cells.duration);
        }
        for cell in &cells.numerics {
            let at = data.numerics.len();
            if at.is_multiple_of(64) {
                data.missing.push(0);
            }
            if cell.is_none() {
                data.missing[at / 64] |= 1 << (at % 64);
            }
            data.numerics.push(cell.unwrap_or(0.0));
        }
        cells.categories.iter().for_each(|code| data.categories.push(*code));
        data.plain.extend_from_slice(&cells.plain);
        true
    }

    fn finish(self) -> Dataset {
        let mut dataset = self.dataset;
        dataset.labels.shrink();
        dataset.durations.shrink_to_fit();
        dataset.categories.shrink();
        dataset.numerics.shrink_to_fit();
        dataset.missing.shrink_to_fit();
        dataset.plain.shrink_to_fit();
        Dataset { persons: self.grouping.map(Grouping::finish), ..dataset }
    }
}

/// The place of a row, by its person if there is one.
fn place(cells: &Cells, durations: bool) -> u32 {
    let mut place = Place::new();
    if !cells.person.is_empty() {
        place.add(&cells.person);
        return place.finish();
    }
    place.add(&cells.label.to_le_bytes());
    if durations {
        place.add(&cells.duration.to_bits().to_le_bytes());
    }
    for cell in &cells.numerics {
        place.add(&cell.map_or(u32::MAX, f32::to_bits).to_le_bytes());
    }
    for cell in &cells.plain {
        place.add(&cell.to_bits().to_le_bytes());
    }
    for cell in &cells.categories {
        place.add(&cell.unwrap_or(u32::MAX).to_le_bytes());
    }
    place.finish()
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
mod tests;
