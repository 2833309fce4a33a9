//! Text as numbers: tokens of bytes or listed characters, and windows of them.
//!
//! Everything follows from the specification and the text at hand. Knows no file, person or model.

use std::collections::HashMap;

use tributary_job::spec::{TextSpec, TokenizerSpec};

use crate::assets::Assets;
use crate::table::DataError;

/// Stands in a window where its text has ended.
pub const PADDING: f32 = -1.0;

/// Turns text into tokens.
#[derive(Debug)]
pub(crate) enum Tokenizer {
    /// Bytes of UTF-8.
    Bytes,
    /// Number of each listed character.
    Characters(HashMap<char, u32>),
    /// A file's, which cuts at the context.
    File(Box<tokenizers::Tokenizer>),
}

impl Tokenizer {
    /// As the specification says.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if a file is missing, is no tokenizer, or does not fit.
    pub(crate) fn new(text: &TextSpec, assets: &Assets) -> Result<Self, DataError> {
        Ok(match &text.tokenizer {
            TokenizerSpec::Bytes => Self::Bytes,
            TokenizerSpec::Characters { characters } => {
                Self::Characters(characters.chars().zip(0..).collect())
            }
            TokenizerSpec::File { sha256, vocabulary } => {
                let refuse = |problem: String| DataError::Tokenizer { problem };
                let path = assets.find("tokenizer", sha256).map_err(|e| refuse(e.to_string()))?;
                let wrong = |e: tokenizers::Error| refuse(format!("{}: {e}", path.display()));
                let mut file = tokenizers::Tokenizer::from_file(&path).map_err(wrong)?;
                let found = file.get_vocab_size(true);
                if found != *vocabulary as usize {
                    let name = path.display();
                    let text = format!("{name} has {found} tokens, the job says {vocabulary}");
                    return Err(refuse(text));
                }
                file.with_padding(None);
                let cut = tokenizers::TruncationParams {
                    max_length: text.context as usize,
                    ..tokenizers::TruncationParams::default()
                };
                file.with_truncation(Some(cut)).map_err(wrong)?;
                Self::File(Box::new(file))
            }
        })
    }

    /// The token before the first text, between two and after the last: a line feed.
    pub(crate) fn separator(&self) -> u32 {
        match self {
            Self::Characters(numbers) => {
                numbers.get(&'\n').copied().unwrap_or(numbers.len() as u32)
            }
            Self::Bytes | Self::File(_) => u32::from(b'\n'),
        }
    }

    /// Appends the tokens of a text; false if it cannot be read.
    pub(crate) fn encode(&self, text: &str, out: &mut Vec<u32>) -> bool {
        match self {
            Self::Bytes => out.extend(text.bytes().map(u32::from)),
            Self::Characters(numbers) => {
                let other = numbers.len() as u32;
                out.extend(text.chars().map(|c| numbers.get(&c).copied().unwrap_or(other)));
            }
            Self::File(file) => match file.encode(text, true) {
                Ok(encoding) => out.extend_from_slice(encoding.get_ids()),
                Err(_) => return false,
            },
        }
        true
    }
}

/// Cuts tokens into windows of `context + 1`: each token but the first is the label of exactly one
/// position, and two neighbouring windows share one token. The last is padded with [`PADDING`].
pub(crate) fn windows(tokens: &[u32], context: usize, mut window: impl FnMut(&[f32])) {
    let mut row = Vec::with_capacity(context + 1);
    let mut start = 0;
    while start + 1 < tokens.len() {
        let end = tokens.len().min(start + context + 1);
        row.clear();
        row.extend(tokens[start..end].iter().map(|token| *token as f32));
        row.resize(context + 1, PADDING);
        window(&row);
        start += context;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_take_any_text_and_characters_have_one_token_for_the_rest() {
        let encode = |spec: &TokenizerSpec, text: &str| {
            let text_spec = TextSpec { column: "t".into(), context: 4, tokenizer: spec.clone() };
            let tokenizer = Tokenizer::new(&text_spec, &Assets::none()).unwrap();
            let mut out = Vec::new();
            assert!(tokenizer.encode(text, &mut out));
            (out, tokenizer.separator())
        };
        assert_eq!(encode(&TokenizerSpec::Bytes, "aé"), (vec![97, 0xc3, 0xa9], 10));
        let listed = TokenizerSpec::Characters { characters: "ab\n".into() };
        assert_eq!(encode(&listed, "abéb"), (vec![0, 1, 3, 1], 2));
        assert_eq!(listed.vocabulary(), 4);
    }

    proptest! {
        #[test]
        fn every_token_but_the_first_is_a_label_once(count in 0u32..60, context in 2usize..9) {
            let tokens: Vec<u32> = (0..count).collect();
            let mut labels = Vec::new();
            windows(&tokens, context, |row| {
                assert_eq!(row.len(), context + 1);
                for pair in row.windows(2).filter(|pair| pair[1] != PADDING) {
                    assert_eq!(pair[1], pair[0] + 1.0);
                    labels.push(pair[1] as u32);
                }
            });
            let expected: Vec<u32> = (1..count.max(1)).collect();
            prop_assert_eq!(labels, expected);
        }
    }
}
