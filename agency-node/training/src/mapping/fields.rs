//! A mapping as it is written. Unknown fields are refused.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::source::{Format, Shape};

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    /// How the file is written.
    #[serde(default)]
    pub file: File,
    /// Texts that mean that a cell is missing, in every column.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Which rows count.
    pub rows: Option<String>,
    /// Whether columns without a rule can be asked for; `keep` if left out.
    #[serde(default)]
    pub unmapped: Unmapped,
    /// One rule per column of the job.
    #[serde(default)]
    pub columns: BTreeMap<String, Column>,
}

/// How the file is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Its format, if its name does not say.
    pub format: Option<Format>,
    /// What separates the cells of a CSV file.
    pub delimiter: Option<char>,
    /// What the pictures of a folder become.
    pub picture: Option<Shape>,
}

/// What happens to columns of the file that no rule makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unmapped {
    /// A job may use them under their own names.
    #[default]
    Keep,
    /// They are out of reach.
    Hide,
}

/// One rule.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    /// The column of the file.
    pub from: Option<String>,
    /// Or what is computed from columns of the file.
    pub expr: Option<String>,
    /// More texts that mean missing.
    #[serde(default)]
    pub missing: Vec<String>,
    /// How the file writes dates.
    pub date: Option<String>,
    /// What the file writes before the decimals.
    pub decimal: Option<char>,
    /// A code table.
    pub values: Option<BTreeMap<String, String>>,
    /// What a code that is not in the table becomes; missing without either.
    pub default: Option<String>,
    /// Whether a code that is not in the table stays as it is.
    #[serde(default)]
    pub keep_others: bool,
    /// A conversion by name: `"F -> C"`.
    pub unit: Option<String>,
    /// A factor.
    pub scale: Option<f64>,
    /// What is added after the factor.
    pub offset: Option<f64>,
}
