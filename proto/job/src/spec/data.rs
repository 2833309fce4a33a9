//! The data part of a specification: how rows become a label, features and persons.
//!
//! Everything that shapes an input is public and written here: bounds, categories and classes are
//! never derived from records, because a list computed from records would itself be a release. Knows
//! no file and no cell.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SpecError;
use super::text::TextSpec;

/// Most classes of a label.
pub const MAX_CLASSES: usize = 1000;

/// Longest name of a column and longest text of a cell that a job may list, bytes.
pub const MAX_TEXT: usize = 256;

/// Most model inputs.
pub const MAX_INPUTS: usize = 100_000;

/// Records of one person that are used, if the specification does not say.
pub const DEFAULT_RECORDS_PER_PERSON: u32 = 16;

/// Most records of one person that may be used: a person must fit into one microbatch.
pub const MAX_RECORDS_PER_PERSON: u32 = 256;

/// How rows of an agency's table become a label and a feature vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// The label; left out for a language model, whose label is the next token.
    #[serde(default = "LabelSpec::next_token", skip_serializing_if = "LabelSpec::is_next_token")]
    pub label: LabelSpec,
    /// Features in order; none where rows are text.
    #[serde(default)]
    pub features: Vec<FeatureSpec>,
    /// Where rows are text: the column and what its tokens are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextSpec>,
    /// Column whose cell says which person a row belongs to. Rows with the same text belong to one
    /// person; a row with an empty cell is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person_column: Option<String>,
    /// Rows of one person that are used, the first in file order; see
    /// [`DataSpec::records_per_person`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_records_per_person: Option<u32>,
}

/// The label: its column and what its cells may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "LabelFields", into = "LabelFields")]
pub struct LabelSpec {
    /// Column of the label. A row whose cell is none of the values is refused.
    pub column: String,
    /// The values.
    pub values: LabelValues,
    /// Column that says how long a record was followed: a number from 0. The label then says whether
    /// the event came at that time (positive) or had not come by then (negative). A row without it is
    /// refused.
    pub duration: Option<String>,
}

/// What a label's cells may be.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelValues {
    /// Two values; the model has one logit, trained with binary cross-entropy.
    Binary {
        /// Cell text of a positive example.
        positive: String,
        /// Cell text of a negative example.
        negative: String,
    },
    /// One value per class, in the order of the logits, trained with softmax cross-entropy.
    Classes(Vec<String>),
    /// No column: every token's label is the one that follows it.
    NextToken,
}

/// A label as it is written: `positive` and `negative`, or `classes`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LabelFields {
    /// Column of the label. A row whose cell is none of the values is refused.
    column: String,
    /// Cell text of a positive example, with `negative`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    positive: Option<String>,
    /// Cell text of a negative example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    negative: Option<String>,
    /// Or one value per class, in the order of the logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<String>>,
    /// Of a time to an event, with `positive` and `negative`: the column that says how long a record
    /// was followed, a number from 0. The label then says whether the event came at that time or had
    /// not come by then. Needed by the model family `cox`, refused by others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration: Option<String>,
}

/// One source column, or a block of them, and what it becomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FeatureSpec {
    /// One input. Values are clamped to `[min, max]`, transformed and scaled.
    Numeric {
        /// Source column.
        column: String,
        /// Public lower bound, before the transform.
        min: f64,
        /// Public upper bound, before the transform.
        max: f64,
        /// Applied after clamping.
        #[serde(default)]
        transform: Transform,
        /// What the input is scaled to.
        #[serde(default, skip_serializing_if = "Scaling::is_standard")]
        scaling: Scaling,
    },
    /// One 0/1 input per listed value; an unlisted or empty cell is all zeros.
    Category {
        /// Source column.
        column: String,
        /// The values, fixed by the job.
        values: Vec<String>,
    },
    /// Many columns of one kind, such as the pixels of a picture: `prefix0` to `prefix{count-1}`,
    /// one input each, clamped to `[min, max]` and scaled to `[0, 1]`; an empty cell is 0. Takes no
    /// part in the statistics round.
    Block {
        /// What the columns' names begin with.
        prefix: String,
        /// Number of columns.
        count: u32,
        /// Public lower bound, becomes 0.
        min: f64,
        /// Public upper bound, becomes 1.
        max: f64,
    },
}

/// A fixed transform of a clamped numeric cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// The value as it is.
    #[default]
    Identity,
    /// `ln(1 + x)`; needs `min >= 0`.
    Log1p,
}

/// What a numeric feature is scaled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Mean 0 and standard deviation 1, both from the federated statistics round; an empty cell is
    /// the mean.
    #[default]
    Standard,
    /// `[-1, 1]` by the public bounds alone, without a part in the statistics round; an empty cell
    /// is 0, the middle of the (transformed) bounds.
    Unit,
}

impl DataSpec {
    /// A table without persons.
    pub fn new(label: LabelSpec, features: Vec<FeatureSpec>) -> Self {
        let (text, person_column, max_records_per_person) = (None, None, None);
        Self { label, features, text, person_column, max_records_per_person }
    }

    /// Number of model inputs: the tokens of a window and the one that follows, where rows are text.
    pub fn input_width(&self) -> usize {
        if let Some(text) = &self.text {
            // A classifier says nothing about the token that follows.
            return text.context as usize + usize::from(self.is_language_model());
        }
        self.features.iter().map(FeatureSpec::width).fold(0, usize::saturating_add)
    }

    /// Number of logits: 1 for a binary label, otherwise the number of classes or of tokens.
    pub fn output_width(&self) -> usize {
        match &self.label.values {
            LabelValues::Binary { .. } => 1,
            LabelValues::Classes(classes) => classes.len(),
            LabelValues::NextToken => {
                self.text.as_ref().map_or(0, |text| text.tokenizer.vocabulary() as usize)
            }
        }
    }

    /// Whether rows are text whose next token is what is learned.
    pub fn is_language_model(&self) -> bool {
        self.text.is_some() && self.label.values == LabelValues::NextToken
    }

    /// Number of standardised features, each of which takes three coordinates of the statistics
    /// round. Zero means that there is no statistics round.
    pub fn numeric_count(&self) -> usize {
        self.features.iter().filter(|f| f.is_standardised()).count()
    }

    /// Most rows of one person that are used; what is above is left out.
    pub fn records_per_person(&self) -> u32 {
        self.max_records_per_person.unwrap_or(DEFAULT_RECORDS_PER_PERSON)
    }

    /// Before any name is multiplied by a count: a column's name and a cell's text are short, and names
    /// have no blanks around them, which reading a header takes off.
    fn check_texts(&self) -> Result<(), SpecError> {
        let short = |field: &str, text: &str| match text.len() {
            0..=MAX_TEXT => Ok(()),
            n => Err(SpecError::new(field, format!("a text of {n} bytes, at most {MAX_TEXT}"))),
        };
        let name = |field: &str, text: &str| {
            short(field, text)?;
            match text.trim() == text {
                true => Ok(()),
                false => Err(SpecError::new(field, format!("{text:?} has blanks around it"))),
            }
        };
        name("data.label.column", &self.label.column)?;
        self.label.duration.iter().try_for_each(|time| name("data.label.duration", time))?;
        self.person_column.iter().try_for_each(|who| name("data.person_column", who))?;
        match &self.label.values {
            LabelValues::Binary { positive, negative } => {
                short("data.label", positive)?;
                short("data.label", negative)?;
            }
            LabelValues::Classes(classes) => {
                classes.iter().try_for_each(|class| short("data.label.classes", class))?;
            }
            LabelValues::NextToken => {}
        }
        self.text.iter().try_for_each(|text| name("data.text.column", &text.column))?;
        self.features.iter().try_for_each(|feature| match feature {
            FeatureSpec::Numeric { column, .. } => name("data.features", column),
            FeatureSpec::Block { prefix, .. } => name("data.features", prefix),
            FeatureSpec::Category { column, values } => {
                name("data.features", column)?;
                values.iter().try_for_each(|value| short("data.features", value))
            }
        })
    }

    /// Checks every bound and that the parts go together.
    ///
    /// # Errors
    /// The field and what it must be.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.check_texts()?;
        self.label.validate()?;
        if let Some(text) = &self.text {
            text.validate(self)?;
        } else if self.label.values == LabelValues::NextToken {
            return Err(SpecError::new("data.label", "is missing: say what is to be learned"));
        }
        if self.text.is_some() {
            if self.label.duration.is_some() {
                let problem = "has no meaning with text: times to an event need columns";
                return Err(SpecError::new("data.label.duration", problem));
            }
            return self.validate_persons(&BTreeSet::new());
        }
        if self.features.is_empty() || self.input_width() > MAX_INPUTS {
            return Err(SpecError::new("data.features", "between 1 and 100,000 inputs"));
        }
        let mut columns = BTreeSet::new();
        for feature in &self.features {
            feature.validate()?;
            for column in feature.columns() {
                if column == self.label.column {
                    return Err(SpecError::new("data.features", format!("{column} is the label")));
                }
                if self.label.duration.as_deref() == Some(&*column) {
                    let problem = format!("{column} is the duration, a part of the label");
                    return Err(SpecError::new("data.features", problem));
                }
                if columns.contains(&column) {
                    return Err(SpecError::new(
                        "data.features",
                        format!("{column} is listed twice"),
                    ));
                }
                columns.insert(column);
            }
        }
        self.validate_persons(&columns)
    }

    fn validate_persons(&self, columns: &BTreeSet<Cow<'_, str>>) -> Result<(), SpecError> {
        match (&self.person_column, self.max_records_per_person) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(SpecError::new(
                "data.max_records_per_person",
                "has no meaning without person_column",
            )),
            (Some(column), _)
                if *column == self.label.column
                    || self.label.duration.as_ref() == Some(column)
                    || columns.contains(column.as_str())
                    || self.text.as_ref().is_some_and(|text| text.column == *column) =>
            {
                let problem = format!("{column} names persons and can be no label or feature");
                Err(SpecError::new("data.person_column", problem))
            }
            (Some(_), Some(most)) if !(1..=MAX_RECORDS_PER_PERSON).contains(&most) => {
                let problem = format!("between 1 and {MAX_RECORDS_PER_PERSON}");
                Err(SpecError::new("data.max_records_per_person", problem))
            }
            (Some(_), _) => Ok(()),
        }
    }
}

impl LabelSpec {
    /// No label of its own: every token's is the next.
    pub fn next_token() -> Self {
        Self { column: String::new(), values: LabelValues::NextToken, duration: None }
    }

    fn is_next_token(&self) -> bool {
        self.values == LabelValues::NextToken
    }

    /// A label of two values.
    pub fn binary(
        column: impl Into<String>,
        positive: impl Into<String>,
        negative: impl Into<String>,
    ) -> Self {
        let values = LabelValues::Binary { positive: positive.into(), negative: negative.into() };
        Self { column: column.into(), values, duration: None }
    }

    /// A time to an event: whether it came stands in `column`, after how long in `duration`.
    pub fn time_to_event(
        column: impl Into<String>,
        positive: impl Into<String>,
        negative: impl Into<String>,
        duration: impl Into<String>,
    ) -> Self {
        Self { duration: Some(duration.into()), ..Self::binary(column, positive, negative) }
    }

    /// A label of several classes, in the order of the logits.
    pub fn classes<S: Into<String>>(
        column: impl Into<String>,
        classes: impl IntoIterator<Item = S>,
    ) -> Self {
        let classes = classes.into_iter().map(Into::into).collect();
        Self { column: column.into(), values: LabelValues::Classes(classes), duration: None }
    }

    fn validate(&self) -> Result<(), SpecError> {
        if let Some(duration) = &self.duration {
            if *duration == self.column {
                let problem = format!("{duration} is the label's own column");
                return Err(SpecError::new("data.label.duration", problem));
            }
            if !matches!(self.values, LabelValues::Binary { .. }) {
                let problem = "a time to an event needs positive and negative";
                return Err(SpecError::new("data.label", problem));
            }
        }
        match &self.values {
            LabelValues::Binary { positive, negative } if positive == negative => {
                Err(SpecError::new("data.label", "positive and negative must differ"))
            }
            LabelValues::Binary { .. } | LabelValues::NextToken => Ok(()),
            LabelValues::Classes(classes) => {
                // Cells are compared without the white space around them.
                let distinct: BTreeSet<_> = classes.iter().map(|c| c.trim()).collect();
                if !(2..=MAX_CLASSES).contains(&classes.len()) || distinct.len() != classes.len() {
                    let problem = format!("between 2 and {MAX_CLASSES} distinct values");
                    return Err(SpecError::new("data.label.classes", problem));
                }
                Ok(())
            }
        }
    }
}

impl TryFrom<LabelFields> for LabelSpec {
    type Error = &'static str;

    fn try_from(fields: LabelFields) -> Result<Self, Self::Error> {
        let values = match (fields.positive, fields.negative, fields.classes) {
            (Some(positive), Some(negative), None) => LabelValues::Binary { positive, negative },
            (None, None, Some(classes)) => LabelValues::Classes(classes),
            _ => return Err("a label needs either positive and negative, or classes"),
        };
        Ok(Self { column: fields.column, values, duration: fields.duration })
    }
}

impl From<LabelSpec> for LabelFields {
    fn from(label: LabelSpec) -> Self {
        let (positive, negative, classes) = match label.values {
            LabelValues::Binary { positive, negative } => (Some(positive), Some(negative), None),
            LabelValues::Classes(classes) => (None, None, Some(classes)),
            LabelValues::NextToken => (None, None, None),
        };
        Self { column: label.column, positive, negative, classes, duration: label.duration }
    }
}

impl FeatureSpec {
    /// A standardised numeric feature.
    pub fn numeric(column: impl Into<String>, min: f64, max: f64, transform: Transform) -> Self {
        Self::Numeric { column: column.into(), min, max, transform, scaling: Scaling::Standard }
    }

    /// The source columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let (name, count) = match self {
            Self::Numeric { column, .. } | Self::Category { column, .. } => (column, None),
            Self::Block { prefix, count, .. } => (prefix, Some(*count)),
        };
        (0..count.unwrap_or(1)).map(move |i| match count {
            None => Cow::Borrowed(name.as_str()),
            Some(_) => Cow::Owned(format!("{name}{i}")),
        })
    }

    /// Number of model inputs.
    pub fn width(&self) -> usize {
        match self {
            Self::Numeric { .. } => 1,
            Self::Category { values, .. } => values.len(),
            Self::Block { count, .. } => *count as usize,
        }
    }

    /// Whether the feature takes part in the statistics round.
    pub fn is_standardised(&self) -> bool {
        matches!(self, Self::Numeric { scaling: Scaling::Standard, .. })
    }

    /// How errors call it.
    fn name(&self) -> &str {
        match self {
            Self::Numeric { column, .. } | Self::Category { column, .. } => column,
            Self::Block { prefix, .. } => prefix,
        }
    }

    fn validate(&self) -> Result<(), SpecError> {
        let bounds = |min: &f64, max: &f64| {
            if min.is_finite() && max.is_finite() && min < max {
                return Ok(());
            }
            Err(SpecError::new(self.name(), "needs finite bounds with min < max"))
        };
        match self {
            Self::Numeric { min, max, transform, .. } => {
                bounds(min, max)?;
                if *transform == Transform::Log1p && *min < 0.0 {
                    return Err(SpecError::new(self.name(), "log1p needs min >= 0"));
                }
            }
            Self::Category { values, .. } => {
                let distinct: BTreeSet<_> = values.iter().collect();
                if values.is_empty() || distinct.len() != values.len() {
                    return Err(SpecError::new(self.name(), "needs distinct values, at least one"));
                }
            }
            Self::Block { count, min, max, .. } => {
                bounds(min, max)?;
                if *count == 0 {
                    return Err(SpecError::new(self.name(), "needs a count of at least one"));
                }
            }
        }
        Ok(())
    }
}

impl Scaling {
    fn is_standard(&self) -> bool {
        *self == Self::Standard
    }
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
