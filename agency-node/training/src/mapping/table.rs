//! A table seen through a mapping.

use std::collections::{BTreeMap, HashMap};

use super::fields::Unmapped as Others;
use super::rule::Rule;
use super::{Mapping, MappingError};
use crate::nearest::nearest;
use crate::source::{Notes, Row, Table, Unmapped};
use crate::table::DataError;

/// Distinct unlisted codes that are kept per column.
const KEPT_CODES: usize = 200;

/// A mapped table.
pub struct Mapped<'a> {
    inner: Box<dyn Table + 'a>,
    mapping: &'a Mapping,
    steps: Vec<Step<'a>>,
    /// Where the inputs of the row filter stand.
    filter: Vec<usize>,
    input: Row,
    filtered: u64,
    observed: bool,
}

/// How one of the chosen columns comes about.
struct Step<'a> {
    /// `None` if a column of the file is taken as it is.
    rule: Option<(&'a str, &'a Rule)>,
    places: Vec<usize>,
    unlisted: u64,
    codes: BTreeMap<String, u64>,
}

impl<'a> Mapped<'a> {
    /// Looks at a table through a mapping.
    pub fn new(inner: Box<dyn Table + 'a>, mapping: &'a Mapping) -> Self {
        let (steps, filter) = (Vec::new(), Vec::new());
        Self { inner, mapping, steps, filter, input: Row::default(), filtered: 0, observed: false }
    }

    /// Also keeps codes that no code table lists, for a report to the owner.
    pub fn observed(self) -> Self {
        Self { observed: true, ..self }
    }

    fn step(&self, column: &str, wanted: &mut Wanted) -> Result<Step<'a>, DataError> {
        let mapping = self.mapping;
        let step = |rule, places| Step { rule, places, unlisted: 0, codes: BTreeMap::new() };
        if let Some((name, rule)) = mapping.columns.get_key_value(column.trim()) {
            let places = rule.inputs().iter().map(|input| wanted.place(input)).collect();
            return Ok(step(Some((name.as_str(), rule)), places));
        }
        match mapping.others {
            Others::Keep => Ok(step(None, vec![wanted.place(column.trim())])),
            Others::Hide => {
                let near = nearest(column.trim(), mapping.columns()).map(str::to_owned);
                Err(DataError::MissingColumn { column: column.to_owned(), nearest: near })
            }
        }
    }

    /// Which rule asked for a column that the file does not have.
    fn blame(&self, error: DataError) -> DataError {
        let column = match &error {
            DataError::MissingColumn { column, .. }
            | DataError::AmbiguousColumn { column }
            | DataError::ColumnType { column, .. } => column,
            _ => return error,
        };
        let reads = |inputs: &[String]| inputs.iter().any(|input| input == column);
        let of_steps = self.steps.iter().filter_map(|step| step.rule);
        let mut of_steps = of_steps.filter(|(_, rule)| reads(rule.inputs()));
        let rule = match of_steps.next() {
            Some((name, _)) => format!("columns.{name}"),
            None if self.mapping.rows.as_ref().is_some_and(|rows| reads(rows.columns())) => {
                "rows".to_owned()
            }
            None => return error,
        };
        MappingError::new(rule, error.to_string()).into()
    }
}

impl Table for Mapped<'_> {
    fn select(&mut self, columns: &[String]) -> Result<(), DataError> {
        let mut wanted = Wanted::default();
        for column in columns {
            let step = self.step(column, &mut wanted)?;
            self.steps.push(step);
        }
        let filter = self.mapping.rows.iter().flat_map(|rows| rows.columns());
        self.filter = filter.map(|column| wanted.place(column)).collect();
        self.inner.select(&wanted.names).map_err(|error| self.blame(error))
    }

    fn next(&mut self, row: &mut Row) -> Result<bool, DataError> {
        while self.inner.next(&mut self.input)? {
            let input = &mut self.input;
            if let Some(defect) = input.defect() {
                row.start(input.line(), self.steps.len());
                row.set_defect(defect);
                return Ok(true);
            }
            blank(input, &self.mapping.missing);
            if let Some(rows) = &self.mapping.rows
                && !rows.holds(input, &self.filter)
            {
                self.filtered += 1;
                continue;
            }
            row.start(input.line(), self.steps.len());
            for (i, step) in self.steps.iter_mut().enumerate() {
                let Some((_, rule)) = step.rule else {
                    step.places.iter().for_each(|place| row.copy(i, input, *place));
                    continue;
                };
                let (codes, unlisted) = (&mut step.codes, &mut step.unlisted);
                let observed = self.observed;
                rule.apply(input, &step.places, (&mut *row, i), |code| {
                    *unlisted += 1;
                    if observed && (codes.len() < KEPT_CODES || codes.contains_key(code)) {
                        *codes.entry(code.to_owned()).or_default() += 1;
                    }
                });
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn names(&self) -> Option<Vec<String>> {
        let mut names: Vec<String> = self.mapping.columns().map(str::to_owned).collect();
        if self.mapping.others == Others::Keep {
            let inner = self.inner.names()?;
            names.extend(inner.into_iter().filter(|n| !self.mapping.columns.contains_key(n)));
        }
        Some(names)
    }

    fn notes(&self) -> Notes {
        let of = |step: &Step<'_>| {
            let (name, rule) = step.rule?;
            rule.has_codes().then(|| Unmapped {
                column: name.to_owned(),
                cells: step.unlisted,
                codes: step.codes.iter().map(|(code, count)| (code.clone(), *count)).collect(),
            })
        };
        Notes { filtered: self.filtered, unmapped: self.steps.iter().filter_map(of).collect() }
    }
}

/// Takes cells away whose text means that they are missing.
fn blank(row: &mut Row, tokens: &[String]) {
    if tokens.is_empty() {
        return;
    }
    let mut scratch = Vec::new();
    for at in 0..row.len() {
        let text = row.cell(at).text(&mut scratch);
        if tokens.iter().any(|token| token.trim().as_bytes() == text) {
            row.set_text(at, b"");
        }
    }
}

/// Columns of the file that are needed, each once.
#[derive(Default)]
struct Wanted {
    names: Vec<String>,
    places: HashMap<String, usize>,
}

impl Wanted {
    fn place(&mut self, column: &str) -> usize {
        let next = self.names.len();
        let place = *self.places.entry(column.to_owned()).or_insert(next);
        if place == next {
            self.names.push(column.to_owned());
        }
        place
    }
}
