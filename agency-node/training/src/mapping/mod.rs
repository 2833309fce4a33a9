//! How one agency's table becomes the table that a job describes: names, units, codes, dates,
//! missing values, derived columns and which rows count.
//!
//! Every agency names things its own way, and a job is one text for all of them; a mapping is the
//! agency's side, written by the owner and never sent. It works on one row at a time and on nothing
//! else, so that a record more or less changes nothing about the others: what bounds a record's
//! influence holds after a mapping as before. Knows no job but its columns' names, no model and no
//! file.

mod expression;
mod fields;
mod rule;
mod table;
mod units;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use tributary_job::spec::DataSpec;

use self::expression::Expression;
use self::fields::Fields;
pub use self::fields::Unmapped as Others;
use self::rule::Rule;
pub use self::table::Mapped;
use crate::source::{Format, Reading, Shape};

/// Largest text of a mapping, bytes.
const MAX_LENGTH: usize = 4 << 20;

/// A checked mapping.
#[derive(Debug, Clone)]
pub struct Mapping {
    format: Option<Format>,
    delimiter: Option<u8>,
    picture: Option<Shape>,
    others: Others,
    missing: Vec<String>,
    rows: Option<Expression>,
    columns: BTreeMap<String, Rule>,
}

/// Why a mapping, or one of its rules, cannot be used. Names the rule and no cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mapping: {rule}: {problem}")]
pub struct MappingError {
    /// The rule, as it is written: `columns.age`.
    pub rule: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl MappingError {
    pub(crate) fn new(rule: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { rule: rule.into(), problem: problem.into() }
    }
}

impl Default for Mapping {
    /// Every column as it is.
    fn default() -> Self {
        Self {
            format: None,
            delimiter: None,
            picture: None,
            others: Others::Keep,
            missing: Vec::new(),
            rows: None,
            columns: BTreeMap::new(),
        }
    }
}

impl Mapping {
    /// What the file may hold, as a schema.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Fields)
    }

    /// Reads and checks the text of a mapping.
    ///
    /// # Errors
    /// Which rule is wrong, and how.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        if text.len() > MAX_LENGTH {
            return Err(MappingError::new("the file", format!("more than {MAX_LENGTH} bytes")));
        }
        let fields: Fields = toml::from_str(text)
            .map_err(|e| MappingError::new("the file", e.to_string().trim().to_owned()))?;
        let delimiter = fields.file.delimiter.map(single_byte).transpose()?;
        if delimiter.is_some() && fields.file.format.is_some_and(|f| f != Format::Csv) {
            let problem = "a delimiter has no meaning without format = \"csv\"";
            return Err(MappingError::new("file.delimiter", problem));
        }
        if let Some(shape) = fields.file.picture {
            shape.check().map_err(|problem| MappingError::new("file.picture", problem))?;
        }
        let rows = fields.rows.as_deref().map(Expression::parse).transpose();
        let mut columns = BTreeMap::new();
        for (name, rule) in fields.columns {
            let of = |problem| MappingError::new(format!("columns.{name}"), problem);
            if name.trim() != name || name.is_empty() {
                return Err(of("a column's name has no blanks around it".into()));
            }
            columns.insert(name.clone(), Rule::check(&name, rule).map_err(of)?);
        }
        Ok(Self {
            format: fields.file.format,
            delimiter,
            picture: fields.file.picture,
            others: fields.unmapped,
            missing: fields.missing,
            rows: rows.map_err(|problem| MappingError::new("rows", problem))?,
            columns,
        })
    }

    /// How a file is to be read: as the mapping says, otherwise as its name does.
    pub fn reading(&self, path: &Path) -> Reading {
        let of_name = Reading::of(path);
        Reading {
            format: self.format.unwrap_or(of_name.format),
            delimiter: self.delimiter.unwrap_or(of_name.delimiter),
            shape: self.picture,
        }
    }

    /// Whether the mapping can serve a job: what tells persons apart must keep doing so.
    ///
    /// # Errors
    /// If the rule of the job's person column may give two people one name. They would then be
    /// bounded as one, and each of them could change a sum by twice what the noise covers.
    pub fn check(&self, spec: &DataSpec) -> Result<(), MappingError> {
        let Some(person) = &spec.person_column else { return Ok(()) };
        match self.columns.get(person.trim()) {
            Some(rule) if rule.merges() => Err(MappingError::new(
                format!("columns.{person}"),
                "the job counts persons by this column, and values, a unit, a date or an expression \
                 other than a column's name could give two people one name: use from alone",
            )),
            _ => Ok(()),
        }
    }

    /// Names of the columns that rules make.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }
}

fn single_byte(delimiter: char) -> Result<u8, MappingError> {
    match u8::try_from(delimiter) {
        Ok(byte) if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(byte),
        _ => Err(MappingError::new("file.delimiter", "one ASCII character, and no quote")),
    }
}
