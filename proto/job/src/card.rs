//! `[card]` of a job: what the card of the released model says in its author's words.
//!
//! Part of the job, so that agencies approve the words with it. Everything else on the card is computed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{SpecError, check_line};

/// Longest text, characters.
pub const MAX_CARD_CHARS: usize = 2000;

/// `[card]`: the author's part of the model card.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardSpec {
    /// What the model is meant for and by whom it should be used, one line of at most 2000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended_use: Option<String>,
    /// What it must not be used for, and what is known to be wrong with it; as long at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<String>,
    /// Whether the card names the agencies and their declared records. Otherwise it says how many agencies
    /// there are and what they have declared together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub name_agencies: bool,
}

impl CardSpec {
    pub(crate) fn validate(&self) -> Result<(), SpecError> {
        for (field, text) in
            [("card.intended_use", &self.intended_use), ("card.limits", &self.limits)]
        {
            if let Some(text) = text {
                check_line(field, text, MAX_CARD_CHARS)?;
            }
        }
        Ok(())
    }
}
