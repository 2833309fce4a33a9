//! The text part of a specification: which column, how much of it at a time, and what a token is.
//!
//! Everything here is public and never derived from records. Knows no file and no cell.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SpecError;
use super::data::DataSpec;

/// Most tokens of a vocabulary: their numbers are exact in f32.
pub const MAX_VOCABULARY: u32 = 1 << 20;

/// Most tokens that a model sees at a time.
pub const MAX_CONTEXT: u32 = 8192;

/// A column of text, and how it becomes windows of tokens.
///
/// For a language model a text is cut into windows of `context` tokens and the one that follows; a
/// window is a record. Without a person column every cell is cut by itself. With one, the cells of a
/// person are joined in file order, each after a separator (a line feed), and cut together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextSpec {
    /// Source column, UTF-8.
    pub column: String,
    /// Tokens that the model sees at a time.
    pub context: u32,
    /// What a token is.
    pub tokenizer: TokenizerSpec,
}

/// What a token is. Everything here is public and never derived from records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerSpec {
    /// A byte of UTF-8: 256 tokens, any text.
    Bytes,
    /// One of these characters, in this order, and one token more for every other character.
    Characters {
        /// The characters, each once; a line feed among them.
        characters: String,
    },
    /// As a `tokenizer.json` of Hugging Face's tokenizers says, with its special tokens; a text that is
    /// longer than the context is cut. Every node must have the file.
    File {
        /// SHA-256 of the file, hex.
        sha256: String,
        /// Number of tokens, added ones included.
        vocabulary: u32,
    },
}

/// 64 hex digits in lower case.
pub(super) fn check_sha256(field: &str, text: &str) -> Result<(), SpecError> {
    let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if text.len() == 64 && text.bytes().all(digit) {
        return Ok(());
    }
    Err(SpecError::new(field, "a SHA-256 is 64 hex digits in lower case"))
}

impl TextSpec {
    pub(super) fn validate(&self, data: &DataSpec) -> Result<(), SpecError> {
        if !data.features.is_empty() {
            let problem = "text and columns do not go together in one job: leave features out";
            return Err(SpecError::new("data.features", problem));
        }
        if self.column == data.label.column {
            return Err(SpecError::new("data.text.column", "is the label"));
        }
        if !(2..=MAX_CONTEXT).contains(&self.context) {
            let problem = format!("{}: between 2 and {MAX_CONTEXT} tokens", self.context);
            return Err(SpecError::new("data.text.context", problem));
        }
        self.tokenizer.validate()
    }
}

impl TokenizerSpec {
    /// Number of tokens.
    pub fn vocabulary(&self) -> u32 {
        match self {
            Self::Bytes => 256,
            Self::File { vocabulary, .. } => *vocabulary,
            Self::Characters { characters } => {
                u32::try_from(characters.chars().count()).unwrap_or(u32::MAX).saturating_add(1)
            }
        }
    }

    fn validate(&self) -> Result<(), SpecError> {
        let characters = match self {
            Self::Bytes => return Ok(()),
            Self::File { sha256, vocabulary } => {
                check_sha256("data.text.tokenizer.sha256", sha256)?;
                if (2..=MAX_VOCABULARY).contains(vocabulary) {
                    return Ok(());
                }
                let problem = format!("between 2 and {MAX_VOCABULARY}");
                return Err(SpecError::new("data.text.tokenizer.vocabulary", problem));
            }
            Self::Characters { characters } => characters,
        };
        let field = "data.text.tokenizer.characters";
        let distinct: BTreeSet<char> = characters.chars().collect();
        if distinct.len() != characters.chars().count() || distinct.len() >= MAX_VOCABULARY as usize
        {
            return Err(SpecError::new(field, "each character once, and fewer than a million"));
        }
        match distinct.contains(&'\n') {
            true => Ok(()),
            false => Err(SpecError::new(field, "a line feed must be among them: it ends a text")),
        }
    }
}
