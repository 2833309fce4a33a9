//! One column of the job: where its cells come from and what is done to them, in this order: missing
//! texts, date, code table, decimal comma, unit.

use std::collections::BTreeMap;

use super::expression::{Expression, Value};
use super::fields::Column;
use super::units;
use crate::source::calendar::{Moment, is_pattern};
use crate::source::{Cell, Row};

/// A checked rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    origin: Origin,
    missing: Vec<String>,
    date: Option<String>,
    codes: Option<CodeTable>,
    decimal_comma: bool,
    /// Factor and what is added afterwards.
    linear: Option<(f64, f64)>,
}

#[derive(Debug, Clone)]
enum Origin {
    Column(String),
    Expression(Expression),
}

#[derive(Debug, Clone)]
struct CodeTable {
    values: BTreeMap<String, String>,
    others: Unlisted,
}

/// What a code that is not listed becomes.
#[derive(Debug, Clone)]
enum Unlisted {
    Missing,
    Kept,
    Value(String),
}

impl Rule {
    /// Checks what is written.
    pub(super) fn check(name: &str, fields: Column) -> Result<Self, String> {
        let origin = match (fields.from, fields.expr) {
            (Some(_), Some(_)) => return Err("either from or expr, not both".into()),
            (Some(from), None) if from.trim().is_empty() => return Err("from is empty".into()),
            (Some(from), None) => Origin::Column(from.trim().to_owned()),
            (None, Some(text)) => Origin::Expression(Expression::parse(&text)?),
            (None, None) => Origin::Column(name.to_owned()),
        };
        let linear = match (fields.unit, fields.scale, fields.offset) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                return Err("either unit, or scale and offset".into());
            }
            (Some(unit), ..) => Some(units::conversion(&unit)?),
            (None, None, None) => None,
            (None, scale, offset) => Some((scale.unwrap_or(1.0), offset.unwrap_or(0.0))),
        };
        if linear.is_some_and(|(a, b)| !a.is_finite() || !b.is_finite() || a == 0.0) {
            return Err("scale must be finite and not 0, offset finite".into());
        }
        if let Some(pattern) = fields.date.as_deref().filter(|pattern| !is_pattern(pattern)) {
            return Err(format!("date = {pattern:?}: a pattern like \"DD.MM.YYYY\" is meant"));
        }
        if fields.date.is_some() && (linear.is_some() || fields.decimal.is_some()) {
            return Err("a date has no unit and no decimals".into());
        }
        let decimal_comma = match fields.decimal {
            None | Some('.') => false,
            Some(',') => true,
            Some(_) => return Err("decimal is \".\" or \",\"".into()),
        };
        let codes = match (fields.values, fields.default, fields.keep_others) {
            (None, None, false) => None,
            (None, ..) => {
                return Err("default and keep_others have no meaning without values".into());
            }
            (Some(_), Some(_), true) => return Err("either default or keep_others".into()),
            (Some(values), _, _) if values.is_empty() => return Err("values is empty".into()),
            (Some(values), default, keep) => {
                let others = match default {
                    Some(value) => Unlisted::Value(value),
                    None if keep => Unlisted::Kept,
                    None => Unlisted::Missing,
                };
                // Cells are compared without the white space around them.
                let trimmed =
                    values.into_iter().map(|(code, value)| (code.trim().to_owned(), value));
                Some(CodeTable { values: trimmed.collect(), others })
            }
        };
        let missing = fields.missing;
        Ok(Self { origin, missing, date: fields.date, codes, decimal_comma, linear })
    }

    /// Columns of the file that the rule reads.
    pub(super) fn inputs(&self) -> &[String] {
        match &self.origin {
            Origin::Column(name) => std::slice::from_ref(name),
            Origin::Expression(expression) => expression.columns(),
        }
    }

    /// Whether two different cells may become the same.
    pub(super) fn merges(&self) -> bool {
        let renamed = match &self.origin {
            Origin::Column(_) => true,
            Origin::Expression(expression) => expression.is_column(),
        };
        !renamed || self.codes.is_some() || self.linear.is_some() || self.date.is_some()
    }

    /// Whether it has a code table.
    pub(super) fn has_codes(&self) -> bool {
        self.codes.is_some()
    }

    /// Writes the cell that the rule makes of a row whose cells `places` are its inputs; calls
    /// `unlisted` with a code that the table does not have.
    pub(super) fn apply(
        &self,
        row: &Row,
        places: &[usize],
        out: (&mut Row, usize),
        unlisted: impl FnOnce(&str),
    ) {
        let (out, at) = out;
        match &self.origin {
            Origin::Column(_) => {
                let cell = places.first().map_or(Cell::Missing, |place| row.cell(*place));
                self.finish(cell, out, at, unlisted);
            }
            Origin::Expression(expression) => match expression.value(row, places) {
                Value::Missing => {}
                Value::Bad => out.set_real(at, f64::NAN),
                // The sum takes the sign off a zero.
                Value::Number(value) => self.finish(Cell::Real(value + 0.0), out, at, unlisted),
                Value::Truth(truth) => {
                    self.finish(Cell::Integer(i64::from(truth)), out, at, unlisted);
                }
                Value::Text(text) => match text.trim() {
                    "" => {}
                    text => self.finish(Cell::Text(text.as_bytes()), out, at, unlisted),
                },
            },
        }
    }

    fn finish(&self, cell: Cell<'_>, out: &mut Row, at: usize, unlisted: impl FnOnce(&str)) {
        let is_plain = self.missing.is_empty() && self.codes.is_none() && self.date.is_none();
        if is_plain && self.linear.is_none() && !self.decimal_comma {
            return out.set_cell(at, cell);
        }
        let mut scratch = Vec::new();
        if !is_plain {
            let Ok(text) = std::str::from_utf8(cell.text(&mut scratch)) else {
                return out.set_cell(at, cell);
            };
            if text.is_empty() || self.missing.iter().any(|token| token.trim() == text) {
                return;
            }
            if let Some(pattern) = &self.date {
                let moment = Moment::parse_by(pattern, text).map(|m| m.to_string());
                return match (&moment, &self.codes) {
                    (None, _) => out.set_real(at, f64::NAN),
                    (Some(date), None) => out.set_text(at, date.as_bytes()),
                    (Some(date), Some(codes)) => {
                        out.set_text(at, codes.of(date, unlisted).unwrap_or_default().as_bytes());
                    }
                };
            }
            if let Some(codes) = &self.codes {
                return match codes.of(text, unlisted) {
                    None => {}
                    Some(value) => self.convert(Cell::Text(value.as_bytes()), out, at),
                };
            }
        }
        self.convert(cell, out, at);
    }

    fn convert(&self, cell: Cell<'_>, out: &mut Row, at: usize) {
        use crate::source::Number;
        let number = match cell {
            Cell::Text(text) if self.decimal_comma => with_point(text),
            cell => cell.number(),
        };
        match (number, self.linear) {
            (Number::Missing, _) => {}
            // Text stays what it is where no number is asked for, and is bad where one is.
            (Number::Bad, Some(_)) => out.set_real(at, f64::NAN),
            (Number::Finite(value), Some((scale, offset))) => {
                out.set_real(at, value * scale + offset);
            }
            (Number::Finite(value), None) if self.decimal_comma => out.set_real(at, value),
            (_, None) => out.set_cell(at, cell),
        }
    }
}

impl CodeTable {
    fn of<'a>(&'a self, code: &'a str, unlisted: impl FnOnce(&str)) -> Option<&'a str> {
        if let Some(value) = self.values.get(code) {
            return Some(value);
        }
        unlisted(code);
        match &self.others {
            Unlisted::Missing => None,
            Unlisted::Kept => Some(code),
            Unlisted::Value(value) => Some(value),
        }
    }
}

/// A number with a decimal comma and possibly points between the thousands.
fn with_point(text: &[u8]) -> crate::source::Number {
    let text: Vec<u8> = text
        .iter()
        .filter(|byte| **byte != b'.')
        .map(|byte| if *byte == b',' { b'.' } else { *byte })
        .collect();
    Cell::Text(&text).number()
}
