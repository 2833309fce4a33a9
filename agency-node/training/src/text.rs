//! Reading a column of text as windows of tokens.
//!
//! Strictly for the operator, who wants to know what is wrong, and tolerantly for a node that
//! answers to somebody else: there a bad row costs itself alone. Which windows a row or a person
//! becomes depends on that row or person alone, so that a unit more or less changes nothing else.
//! Knows no model.

use std::collections::HashMap;
use std::io::Read;

use tributary_job::spec::{DataSpec, TextSpec};

use crate::assets::Assets;
use crate::columns::{classes, expected_label};
use crate::source::{Cell, CsvTable, Defect, Row, Table};
use crate::table::{Cells, DataError};
use crate::tokens::{PADDING, Tokenizer, windows};
use crate::tolerant::Skipped;

/// How a bad row is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is an error.
    Strict,
    /// It is left out.
    Tolerant,
}

/// Reads a CSV table and calls `window` for each window (as [`Cells::plain`], with its person), until
/// it has said `limit` times that it keeps one. Windows of a person follow each other, persons come in
/// the order of their first row. A text with a label is one window, in file order.
pub(crate) fn read(
    source: impl Read,
    spec: &DataSpec,
    text: &TextSpec,
    limit: usize,
    reading: Reading,
    assets: &Assets,
    window: impl FnMut(&Cells) -> bool,
) -> Result<Skipped, DataError> {
    read_table(&mut CsvTable::new(source, b',')?, spec, text, limit, reading, assets, window)
}

/// As [`read`], of any format.
pub(crate) fn read_table(
    table: &mut dyn Table,
    spec: &DataSpec,
    text: &TextSpec,
    limit: usize,
    reading: Reading,
    assets: &Assets,
    mut window: impl FnMut(&Cells) -> bool,
) -> Result<Skipped, DataError> {
    // The text, then whose it is, then its label.
    let mut columns = vec![text.column.clone()];
    columns.extend(spec.person_column.clone());
    let label = match spec.is_language_model() {
        true => None,
        false => Some((columns.len(), classes(&spec.label))),
    };
    columns.extend(label.as_ref().map(|_| spec.label.column.clone()));
    table.select(&columns)?;
    let mut skipped = Skipped::default();
    let mut out =
        Windows { context: text.context as usize, limit, kept: 0, cells: Cells::default() };
    let tokenizer = Tokenizer::new(text, assets)?;
    let mut persons = Joined::default();
    let (mut row, mut tokens) = (Row::default(), Vec::new());
    let (mut of_text, mut of_person, mut of_label) = (Vec::new(), Vec::new(), Vec::new());
    while table.next(&mut row)? {
        let line = row.line();
        let strict = |error: DataError| match reading {
            Reading::Strict => Err(error),
            Reading::Tolerant => Ok(()),
        };
        if let Some(defect) = row.defect() {
            strict(DataError::of_defect(defect, line))?;
            match defect {
                Defect::Ragged { .. } => skipped.ragged += 1,
                Defect::Malformed(_) => skipped.malformed += 1,
            }
            continue;
        }
        let cell = match row.cell(0) {
            Cell::Text(_) => row.whole_text(0),
            cell => cell.text(&mut of_text),
        };
        let Ok(cell) = std::str::from_utf8(cell) else {
            strict(DataError::Malformed(format!("line {line}: not UTF-8")))?;
            skipped.not_utf8 += 1;
            continue;
        };
        if let Some(name) = &spec.person_column
            && !row.cell(1).identifies()
        {
            strict(DataError::Person { line, column: name.clone() })?;
            skipped.nobodys += 1;
            continue;
        }
        let own = spec.person_column.as_ref().map(|_| row.cell(1).text(&mut of_person));
        if cell.trim().is_empty() {
            skipped.empty_texts += 1;
            continue;
        }
        if let Some((at, classes)) = &label {
            let Some(class) = classes.get(row.cell(*at).text(&mut of_label)) else {
                let column = spec.label.column.clone();
                let problem = expected_label(&spec.label);
                strict(DataError::Label { line, column, problem })?;
                skipped.unknown_labels += 1;
                continue;
            };
            tokens.clear();
            if !tokenizer.encode(cell, &mut tokens) || tokens.is_empty() {
                skipped.empty_texts += 1;
                continue;
            }
            out.cells.label = *class;
            let own = own.unwrap_or_default();
            skipped.beyond_cap |= !out.whole(&tokens, own, &mut skipped, &mut window);
            continue;
        }
        match own {
            Some(own) => persons.push(own, cell, &tokenizer),
            None => {
                tokens.clear();
                tokens.push(tokenizer.separator());
                tokenizer.encode(cell, &mut tokens);
                tokens.push(tokenizer.separator());
                skipped.beyond_cap |= !out.cut(&tokens, &[], &mut skipped, &mut window);
            }
        }
    }
    for (name, mut tokens) in persons.into_parts() {
        tokens.push(tokenizer.separator());
        skipped.beyond_cap |= !out.cut(&tokens, &name, &mut skipped, &mut window);
    }
    match (reading, out.kept, skipped.beyond_cap) {
        (Reading::Strict, 0, _) => Err(DataError::Empty),
        (Reading::Strict, _, true) => Err(DataError::TooManyRows { limit }),
        _ => Ok(skipped),
    }
}

/// Cuts texts and hands the windows on.
struct Windows {
    context: usize,
    limit: usize,
    kept: usize,
    cells: Cells,
}

impl Windows {
    /// A text that is one window; whether it fitted under the limit.
    fn whole(
        &mut self,
        tokens: &[u32],
        person: &[u8],
        skipped: &mut Skipped,
        window: &mut impl FnMut(&Cells) -> bool,
    ) -> bool {
        if self.kept >= self.limit {
            return false;
        }
        let Self { context, kept, cells, .. } = self;
        cells.person.clear();
        cells.person.extend_from_slice(person);
        cells.plain.clear();
        cells.plain.extend(tokens.iter().take(*context).map(|token| *token as f32));
        cells.plain.resize(*context, PADDING);
        match window(cells) {
            true => *kept += 1,
            false => skipped.beyond_person += 1,
        }
        true
    }

    /// Whether all windows fitted under the limit.
    fn cut(
        &mut self,
        tokens: &[u32],
        person: &[u8],
        skipped: &mut Skipped,
        window: &mut impl FnMut(&Cells) -> bool,
    ) -> bool {
        let Self { context, limit, kept, cells } = self;
        cells.person.clear();
        cells.person.extend_from_slice(person);
        let mut all = true;
        windows(tokens, *context, |row| {
            if *kept >= *limit {
                all = false;
                return;
            }
            cells.plain.clear();
            cells.plain.extend_from_slice(row);
            match window(cells) {
                true => *kept += 1,
                false => skipped.beyond_person += 1,
            }
        });
        all
    }
}

/// The texts of each person, joined in file order with a separator before each.
#[derive(Default)]
struct Joined {
    numbers: HashMap<Box<[u8]>, usize>,
    parts: Vec<(Box<[u8]>, Vec<u32>)>,
}

impl Joined {
    fn push(&mut self, person: &[u8], text: &str, tokenizer: &Tokenizer) {
        let at = match self.numbers.get(person) {
            Some(at) => *at,
            None => {
                let at = self.parts.len();
                self.numbers.insert(person.into(), at);
                self.parts.push((person.into(), Vec::new()));
                at
            }
        };
        if let Some((_, tokens)) = self.parts.get_mut(at) {
            tokens.push(tokenizer.separator());
            tokenizer.encode(text, tokens);
        }
    }

    fn into_parts(self) -> Vec<(Box<[u8]>, Vec<u32>)> {
        self.parts
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
