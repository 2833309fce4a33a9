//! What a table says to a job, counted: for the owner of the records, before a job runs.
//!
//! Reads every row, whatever is wrong with it, and keeps counts: how many cells each column has, how
//! many are missing, no number, out of the job's bounds or in no list. Everything in it depends on
//! records and stays at the agency. Unlisted codes are kept apart, to be shown on request alone.

mod show;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use tributary_job::plan::MAX_RECORDS_PER_NODE;
use tributary_job::spec::{DataSpec, FeatureSpec, LabelValues};

use crate::columns::{Columns, RowKind};
use crate::persons::Grouping;
use crate::source::{Cell, Defect, Number, Row, Table, Unmapped};
use crate::table::{Cells, DataError};

/// Distinct unlisted codes that are kept per column.
const KEPT_CODES: usize = 200;

/// Counts of one reading.
#[derive(Debug, Default)]
pub struct Report {
    /// Rows of the table that a filter of the mapping let through.
    pub rows: u64,
    /// Rows that it did not.
    pub filtered: u64,
    /// Rows of another length than the header.
    pub ragged: u64,
    /// Rows that are not what the format says.
    pub malformed: u64,
    /// Rows with a cell that is not UTF-8.
    pub not_utf8: u64,
    /// Rows whose label is none of the job's values, missing ones included.
    pub unknown_labels: u64,
    /// Rows that do not say whose they are.
    pub nobodys: u64,
    /// Rows that do not say how long they were followed.
    pub no_durations: u64,
    /// Rows beyond what the job uses of one person.
    pub beyond_person: u64,
    /// Rows that a job would train on.
    pub used: u64,
    /// Usable rows beyond the most that one node may hold.
    pub beyond_cap: u64,
    /// Persons, if the job knows any.
    pub persons: Option<u64>,
    /// Rows of each label value.
    pub labels: Vec<(String, u64)>,
    /// Labels that are none of the values.
    pub label_codes: Codes,
    /// One entry per feature.
    pub columns: Vec<ColumnReport>,
    /// Codes that the mapping's tables do not list.
    pub unmapped: Vec<Unmapped>,
    /// The first thing that the strict reader would refuse.
    pub first_problem: Option<DataError>,
}

/// Cells of one feature.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnReport {
    /// The column, or the first and last of a block.
    pub column: String,
    /// Whether it is a category.
    pub is_category: bool,
    /// Cells that were read.
    pub cells: u64,
    /// Of these, missing.
    pub missing: u64,
    /// No finite number.
    pub bad: u64,
    /// Below the job's lower bound; they are clamped.
    pub below: u64,
    /// Above the job's upper bound; they are clamped.
    pub above: u64,
    /// In none of the job's values; such a cell is all zeros.
    pub unlisted: u64,
    /// What they are.
    pub codes: Codes,
}

/// Distinct texts with how often they occur; the first two hundred.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codes(BTreeMap<String, u64>);

impl Codes {
    fn add(&mut self, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else { return };
        if let Some(count) = self.0.get_mut(text) {
            *count += 1;
        } else if self.0.len() < KEPT_CODES {
            self.0.insert(text.to_owned(), 1);
        }
    }

    /// The texts, most frequent first.
    pub fn most_frequent(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.0.iter().map(|(t, n)| (t.as_str(), *n)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all
    }
}

impl Report {
    /// Reads a table as a job describes it.
    ///
    /// # Errors
    /// [`DataError`] if the file cannot be read or lacks a column; never for a cell.
    pub fn of(table: &mut dyn Table, spec: &DataSpec) -> Result<Self, DataError> {
        let columns = Columns::resolve(table, spec)?;
        let mut report = Self { labels: label_values(spec), ..Self::default() };
        let mut features = features(spec);
        let mut grouping =
            spec.person_column.as_ref().map(|_| Grouping::new(spec.records_per_person()));
        let (mut row, mut cells, mut scratch) = (Row::default(), Cells::default(), Vec::new());
        while table.next(&mut row)? {
            report.rows += 1;
            if report.first_problem.is_none() {
                report.first_problem = columns.parse(&row, &mut cells).err();
            }
            match row.defect() {
                Some(Defect::Ragged { .. }) => {
                    report.ragged += 1;
                    continue;
                }
                Some(Defect::Malformed(_)) => {
                    report.malformed += 1;
                    continue;
                }
                None if !row.is_text() => {
                    report.not_utf8 += 1;
                    continue;
                }
                None => {}
            }
            for feature in &mut features {
                feature.add(&row, &mut scratch);
            }
            let Ok(kind) = columns.fill::<std::convert::Infallible>(&row, &mut cells, |_| Ok(()));
            match kind {
                RowKind::UnknownLabel => {
                    report.unknown_labels += 1;
                    report.label_codes.add(row.cell(0).text(&mut scratch));
                }
                RowKind::Nobody => report.nobodys += 1,
                RowKind::NoDuration => report.no_durations += 1,
                RowKind::Usable => {
                    if grouping.as_mut().is_some_and(|persons| !persons.admit(&cells.person)) {
                        report.beyond_person += 1;
                    } else if report.used >= MAX_RECORDS_PER_NODE {
                        report.beyond_cap += 1;
                    } else {
                        report.used += 1;
                    }
                    if let Some((_, count)) = report.labels.get_mut(cells.label as usize) {
                        *count += 1;
                    }
                }
            }
        }
        let notes = table.notes();
        (report.filtered, report.unmapped) = (notes.filtered, notes.unmapped);
        report.persons = grouping.map(|persons| persons.finish().len() as u64);
        report.columns = features.into_iter().map(|feature| feature.report).collect();
        Ok(report)
    }

    /// Whether the strict reader would take the table.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line; or that there is nothing to train on.
    pub fn verdict(self) -> Result<(), DataError> {
        match self.first_problem {
            Some(problem) => Err(problem),
            None if self.rows == 0 => Err(DataError::Empty),
            None if self.beyond_cap > 0 => {
                let limit = usize::try_from(MAX_RECORDS_PER_NODE).unwrap_or(usize::MAX);
                Err(DataError::TooManyRows { limit })
            }
            None => Ok(()),
        }
    }
}

/// A feature while its cells are counted.
struct Feature<'a> {
    spec: &'a FeatureSpec,
    /// Where its cells stand.
    places: std::ops::Range<usize>,
    values: Vec<&'a str>,
    report: ColumnReport,
}

fn features<'a>(spec: &'a DataSpec) -> Vec<Feature<'a>> {
    let mut next = 1 + usize::from(spec.person_column.is_some());
    let feature = |spec: &'a FeatureSpec| {
        let (name, values, count) = match spec {
            FeatureSpec::Numeric { column, .. } => (column.clone(), Vec::new(), 1),
            FeatureSpec::Block { prefix, count, .. } => {
                let last = count.saturating_sub(1);
                (format!("{prefix}0..{prefix}{last}"), Vec::new(), *count as usize)
            }
            FeatureSpec::Category { column, values } => {
                (column.clone(), values.iter().map(|value| value.trim()).collect(), 1)
            }
        };
        let places = next..next + count;
        next += count;
        let is_category = matches!(spec, FeatureSpec::Category { .. });
        let report = ColumnReport { column: name, is_category, ..ColumnReport::default() };
        Feature { spec, places, values, report }
    };
    spec.features.iter().map(feature).collect()
}

fn label_values(spec: &DataSpec) -> Vec<(String, u64)> {
    match &spec.label.values {
        LabelValues::Binary { positive, negative } => {
            vec![(negative.clone(), 0), (positive.clone(), 0)]
        }
        LabelValues::Classes(classes) => classes.iter().map(|class| (class.clone(), 0)).collect(),
        LabelValues::NextToken => Vec::new(),
    }
}

impl Feature<'_> {
    fn add(&mut self, row: &Row, scratch: &mut Vec<u8>) {
        let report = &mut self.report;
        for at in self.places.clone() {
            let cell = row.cell(at);
            report.cells += 1;
            match self.spec {
                _ if cell == Cell::Missing => report.missing += 1,
                FeatureSpec::Category { .. } => {
                    let text = cell.text(scratch);
                    if !self.values.iter().any(|value| value.as_bytes() == text) {
                        report.unlisted += 1;
                        report.codes.add(text);
                    }
                }
                FeatureSpec::Numeric { min, max, .. } | FeatureSpec::Block { min, max, .. } => {
                    match cell.number() {
                        Number::Missing => report.missing += 1,
                        Number::Bad => report.bad += 1,
                        Number::Finite(value) if value < *min => report.below += 1,
                        Number::Finite(value) if value > *max => report.above += 1,
                        Number::Finite(_) => {}
                    }
                }
            }
        }
    }
}
