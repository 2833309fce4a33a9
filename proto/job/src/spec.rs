//! The job specification: what a researcher writes in TOML and what agencies approve.
//!
//! Every field is typed and bounded; unknown fields are refused. A job can only select model
//! families and operations that are compiled in: there is no code in a job.

mod cnn;
mod cox;
mod data;
#[cfg(test)]
mod family_tests;
mod model;
mod text;
mod training;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tributary_dp::{Compact, NoiseScope, Unit};
use tributary_secagg::MAX_ROSTER;

use crate::card::CardSpec;
use crate::evaluation::EvaluationSpec;

pub use cnn::{CnnBlock, CnnShape, ImageShape};
pub use cox::MAX_INTERVALS;
pub use data::{
    DEFAULT_RECORDS_PER_PERSON, DataSpec, FeatureSpec, LabelSpec, LabelValues, MAX_CLASSES,
    MAX_INPUTS, MAX_RECORDS_PER_PERSON, Scaling, Transform,
};
pub use model::{LoraSpec, LoraTarget, ModelSpec, NormKind};
pub use text::{MAX_CONTEXT, MAX_VOCABULARY, TextSpec, TokenizerSpec};
pub use training::{LocalSpec, OptimiserKind, TrainingSpec};

/// Longest description, characters.
pub const MAX_DESCRIPTION_CHARS: usize = 256;

/// A training job, before the roster is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// Short name, `[a-z0-9-]`, shown everywhere.
    pub name: String,
    /// What the model is for, in a sentence that a data steward can read: at most
    /// [`MAX_DESCRIPTION_CHARS`] printable characters, since nodes show it and log it.
    pub description: String,
    /// Agencies that form the roster, in roster order. Distinct, at least three.
    pub agencies: Vec<String>,
    /// Name under which every agency has registered its dataset.
    pub dataset: String,
    /// How rows become features and a label.
    pub data: DataSpec,
    /// Model family and size.
    pub model: ModelSpec,
    /// Rounds and the server's optimiser.
    pub training: TrainingSpec,
    /// Privacy mode and its parameters.
    pub privacy: PrivacySpec,
    /// Rounds that measure the model on held-out records: a last one, or several on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationSpec>,
    /// What the released model's card says besides what can be computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardSpec>,
    /// Thresholds of secure aggregation.
    pub secure_aggregation: SecureAggregationSpec,
}

/// Who is protected against whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PrivacyMode {
    /// One record, add/remove; the sum carries central-level noise made of the nodes' shares.
    Record,
    /// All records of one person in an agency, add/remove; distributed noise.
    Person,
    /// One record (or person), add/remove; every node adds the whole noise and trusts nobody.
    RecordLocal,
    /// A whole agency's change of the model; distributed noise. For hundreds of agencies.
    Silo,
    /// As if a trusted aggregator added the noise: the yardstick of simulations, offered to nobody.
    Central,
    /// Secure aggregation only. Runs only where a node's policy allows it in words.
    None,
}

impl PrivacyMode {
    /// Every mode, the default first.
    pub const ALL: [Self; 6] =
        [Self::Record, Self::Person, Self::RecordLocal, Self::Silo, Self::Central, Self::None];

    /// As it stands in a job file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Person => "person",
            Self::RecordLocal => "record-local",
            Self::Silo => "silo",
            Self::Central => "central",
            Self::None => "none",
        }
    }

    /// Whether there is a guarantee at all.
    pub fn is_private(self) -> bool {
        self != Self::None
    }

    /// Whose noise the guarantee counts on.
    pub fn noise(self) -> NoiseScope {
        match self {
            Self::RecordLocal => NoiseScope::Local,
            Self::Central => NoiseScope::Central,
            Self::Record | Self::Person | Self::Silo | Self::None => NoiseScope::Distributed,
        }
    }

    /// Who is protected against whom, in a sentence for whoever has to approve it.
    pub fn promise(self) -> &'static str {
        match self {
            Self::Record => {
                "hides whether one record took part from the aggregator with the tolerated colluders, \
                 from every agency and from the public; the agencies' noise adds up"
            }
            Self::Person => {
                "hides whether one person took part (all of their records at an agency) from the \
                 aggregator with the tolerated colluders, from every agency and from the public"
            }
            Self::RecordLocal => {
                "hides whether one record (or person) took part from everybody, even if all other \
                 agencies and the aggregator work together; costs the square root of the number of \
                 agencies in noise"
            }
            Self::Silo => {
                "hides what a whole agency contributed from the aggregator with the tolerated \
                 colluders, from every other agency and from the public"
            }
            Self::Central => "trusts the aggregator with everything: a yardstick of simulations",
            Self::None => "hides an agency's vector within one sum; no differential privacy",
        }
    }
}

/// Privacy parameters. Exactly one of `epsilon` and `noise_multiplier` is given in a private mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrivacySpec {
    /// The mode.
    pub mode: PrivacyMode,
    /// Target epsilon for the whole job, statistics included; the noise multiplier follows.
    #[serde(default)]
    pub epsilon: Option<f64>,
    /// Noise multiplier of a training round (standard deviation of the honest noise over the
    /// sensitivity); epsilon follows.
    #[serde(default)]
    pub noise_multiplier: Option<f64>,
    /// Delta for the whole job.
    pub delta: f64,
    /// L2 bound of one record's gradient.
    pub clip_norm: f64,
    /// Poisson sampling rate of records per training round.
    pub sampling_rate: f64,
    /// Noise multiplier of the one statistics round (means and variances). Each attempt the round
    /// may take (`max_attempts`) is charged in advance.
    #[serde(default = "default_statistics_noise")]
    pub statistics_noise_multiplier: f64,
    /// Adaptive clipping: `clip_norm` is that of the first round and then follows a quantile of the
    /// units' norms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive_clip: Option<AdaptiveClip>,
    /// Compact encoding (`compact = { resolution = 4 }`): fewer bits a parameter, at a little more noise.
    /// Without it the encoding is wide. `simulate privacy --nodes N --dim D` shows both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact: Option<Compact>,
}

/// Adaptive clipping (Andrew et al. 2021, "Differentially private learning with adaptive clipping"):
/// each training round also releases how many units were within the clip norm, and everybody computes
/// the next clip norm from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveClip {
    /// Share of units that should be within the clip norm, in (0, 1).
    #[serde(default = "default_quantile")]
    pub quantile: f64,
    /// How far one round moves the clip norm: by a factor of `1 - learning_rate (b - quantile)`, b the
    /// noisy share within.
    #[serde(default = "default_clip_rate")]
    pub learning_rate: f64,
    /// Standard deviation of the count's noise, in units, counting the honest shares; a twentieth of
    /// the planned batch by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_noise: Option<f64>,
}

/// Thresholds of secure aggregation (see `proto/secagg`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecureAggregationSpec {
    /// Fraction gamma of the roster that may collude with the aggregator.
    #[serde(default = "default_corrupt")]
    pub corrupt_fraction: f64,
    /// Fraction delta of the roster that may drop out of a round.
    #[serde(default = "default_dropout")]
    pub dropout_fraction: f64,
    /// Smallest survivor set whose sum may be opened, if larger than what follows from the rest.
    #[serde(default = "default_floor")]
    pub min_survivors: u16,
    /// Attempts per round before the job stops.
    #[serde(default = "default_attempts")]
    pub max_attempts: u16,
    /// Attempts beyond one per training round that the whole job may spend; charged in advance.
    #[serde(default = "default_spare")]
    pub spare_attempts: u32,
}

fn default_statistics_noise() -> f64 {
    20.0
}
fn default_quantile() -> f64 {
    0.5
}
fn default_clip_rate() -> f64 {
    0.2
}
fn default_corrupt() -> f64 {
    0.2
}
fn default_dropout() -> f64 {
    0.2
}
fn default_floor() -> u16 {
    5
}
fn default_attempts() -> u16 {
    3
}
fn default_spare() -> u32 {
    10
}

/// Why a specification is refused: the field and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job specification: {field}: {problem}")]
pub struct SpecError {
    /// Dotted path of the field.
    pub field: String,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl SpecError {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl JobSpec {
    /// Parses TOML and validates.
    pub fn from_toml(text: &str) -> Result<Self, SpecError> {
        let spec: Self = toml::from_str(text)
            .map_err(|e| SpecError::new("(file)", e.to_string().trim().to_owned()))?;
        spec.validate()?;
        Ok(spec)
    }

    /// Whose presence is hidden.
    pub fn unit(&self) -> Unit {
        let persons = self.data.person_column.is_some();
        match self.privacy.mode {
            PrivacyMode::Silo => Unit::Silo,
            PrivacyMode::Person => Unit::Person,
            PrivacyMode::RecordLocal | PrivacyMode::Central if persons => Unit::Person,
            _ => Unit::Record,
        }
    }

    fn validate_persons(&self) -> Result<(), SpecError> {
        let refuse = |problem| Err(SpecError::new("data.person_column", problem));
        match (self.privacy.mode, &self.data.person_column) {
            (PrivacyMode::Person, None) => {
                refuse("mode \"person\" needs the column that says whose a record is")
            }
            // Leaving out a person's later rows makes one record decide about another: with records
            // as units, adding one would change two.
            (PrivacyMode::Record, Some(_)) => refuse(
                "mode \"record\" protects single records and needs none: persons are the unit of \
                 mode \"person\"",
            ),
            _ => Ok(()),
        }
    }

    fn validate_local(&self) -> Result<(), SpecError> {
        if let Some((field, problem)) = crate::scaffold::problem(&self.training, self.privacy.mode)
        {
            return Err(SpecError::new(field, problem));
        }
        match (self.privacy.mode, &self.training.local) {
            (PrivacyMode::Silo, None) => Err(SpecError::new(
                "training.local",
                "mode \"silo\" protects a whole change of the model: say how agencies train",
            )),
            (PrivacyMode::Silo, _) if self.privacy.sampling_rate < 1.0 => Err(SpecError::new(
                "privacy.sampling_rate",
                "must be 1 in mode \"silo\": every agency takes part",
            )),
            (PrivacyMode::Silo | PrivacyMode::None, _) | (_, None) => Ok(()),
            (mode, Some(_)) => Err(SpecError::new(
                "training.local",
                format!("mode {:?} takes one step a round; leave it out", mode.name()),
            )),
        }
    }

    /// Checks every bound that does not depend on the roster.
    pub fn validate(&self) -> Result<(), SpecError> {
        check_name("name", &self.name)?;
        check_name("dataset", &self.dataset)?;
        check_description(&self.description)?;
        if self.agencies.len() < 3 || self.agencies.len() > usize::from(MAX_ROSTER) {
            let text = format!("between 3 and {MAX_ROSTER} agencies are supported");
            return Err(SpecError::new("agencies", &text));
        }
        let mut seen = std::collections::BTreeSet::new();
        for agency in &self.agencies {
            check_name("agencies", agency)?;
            if !seen.insert(agency) {
                return Err(SpecError::new("agencies", format!("{agency} is listed twice")));
            }
        }
        self.data.validate()?;
        self.model.validate()?;
        self.model.validate_for(&self.data)?;
        self.training.validate()?;
        self.privacy.validate()?;
        self.validate_local()?;
        self.validate_persons()?;
        if self.evaluation.is_some() && self.data.label.duration.is_some() {
            let problem = "counts right and wrong answers, which a record that was not followed to the \
                           end has none of: leave it out";
            return Err(SpecError::new("evaluation", problem));
        }
        let binary = self.data.output_width() == 1;
        if let Some((field, problem)) = self.evaluation.as_ref().and_then(|e| e.problem(binary)) {
            return Err(SpecError::new(format!("evaluation.{field}"), problem));
        }
        if let Some(card) = &self.card {
            card.validate()?;
        }
        self.secure_aggregation.validate()
    }
}

impl PrivacySpec {
    fn validate(&self) -> Result<(), SpecError> {
        let positive = |v: f64| v.is_finite() && v > 0.0;
        if !(1e-20..=1e20).contains(&self.clip_norm) {
            return Err(SpecError::new("privacy.clip_norm", "must be between 1e-20 and 1e20"));
        }
        if !(positive(self.sampling_rate) && self.sampling_rate <= 1.0) {
            return Err(SpecError::new("privacy.sampling_rate", "must be in (0, 1]"));
        }
        if !(self.delta > 0.0 && self.delta < 0.01) {
            return Err(SpecError::new("privacy.delta", "must be in (0, 0.01)"));
        }
        self.adaptive_clip.as_ref().map_or(Ok(()), |clip| clip.validate(self.mode))?;
        if let Some(compact) = self.compact {
            if !self.mode.is_private() {
                let text = "trades noise for bytes, and mode \"none\" has no noise: remove it";
                return Err(SpecError::new("privacy.compact", text));
            }
            if !(0.25..=100.0).contains(&compact.resolution) {
                let text = "must be between 0.25 and 100";
                return Err(SpecError::new("privacy.compact.resolution", text));
            }
        }
        match (self.mode, self.epsilon, self.noise_multiplier) {
            (PrivacyMode::None, None, None) => Ok(()),
            (PrivacyMode::None, ..) => Err(SpecError::new(
                "privacy.mode",
                "mode \"none\" has no noise: remove epsilon and noise_multiplier",
            )),
            (_, Some(e), None) if positive(e) => self.validate_statistics(),
            (_, None, Some(z)) if positive(z) => self.validate_statistics(),
            _ => Err(SpecError::new(
                "privacy",
                "give exactly one of epsilon and noise_multiplier, positive",
            )),
        }
    }

    fn validate_statistics(&self) -> Result<(), SpecError> {
        if self.statistics_noise_multiplier.is_finite() && self.statistics_noise_multiplier > 0.0 {
            return Ok(());
        }
        Err(SpecError::new("privacy.statistics_noise_multiplier", "must be finite and positive"))
    }
}

impl AdaptiveClip {
    fn validate(&self, mode: PrivacyMode) -> Result<(), SpecError> {
        let field = |name: &str| format!("privacy.adaptive_clip.{name}");
        if !mode.is_private() {
            let text = "mode \"none\" has no clip norm to adapt: remove it";
            return Err(SpecError::new("privacy.adaptive_clip", text));
        }
        if !(self.quantile > 0.0 && self.quantile < 1.0) {
            return Err(SpecError::new(field("quantile"), "must be in (0, 1)"));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return Err(SpecError::new(field("learning_rate"), "must be in (0, 1]"));
        }
        if self.count_noise.is_some_and(|v| !(1e-3..=1e9).contains(&v)) {
            return Err(SpecError::new(field("count_noise"), "must be between 0.001 and 1e9"));
        }
        Ok(())
    }
}

impl SecureAggregationSpec {
    fn validate(&self) -> Result<(), SpecError> {
        if !(0.0..0.5).contains(&self.corrupt_fraction) {
            return Err(SpecError::new("secure_aggregation.corrupt_fraction", "in [0, 0.5)"));
        }
        if !(0.0..1.0).contains(&self.dropout_fraction) {
            return Err(SpecError::new("secure_aggregation.dropout_fraction", "in [0, 1)"));
        }
        if self.max_attempts == 0 || self.max_attempts > 16 {
            return Err(SpecError::new("secure_aggregation.max_attempts", "between 1 and 16"));
        }
        if self.spare_attempts > 100_000 {
            return Err(SpecError::new("secure_aggregation.spare_attempts", "at most 100,000"));
        }
        Ok(())
    }
}

fn check_description(text: &str) -> Result<(), SpecError> {
    check_line("description", text, MAX_DESCRIPTION_CHARS)
}

/// One printable line of at most so many characters.
pub(crate) fn check_line(field: &str, text: &str, most: usize) -> Result<(), SpecError> {
    // Marks that reorder or hide text would let a log line say something else than it shows.
    let hidden = |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if text.chars().count() > most || text.chars().any(|c| c.is_control() || hidden(c)) {
        let problem = format!("at most {most} printable characters on one line");
        return Err(SpecError::new(field, problem));
    }
    Ok(())
}

fn check_name(field: &str, name: &str) -> Result<(), SpecError> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(ok) {
        let problem = format!("{name:?} must be 1 to 63 characters of a-z, 0-9 and -");
        return Err(SpecError::new(field, problem));
    }
    Ok(())
}
