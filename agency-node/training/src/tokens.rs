//! Text as numbers: tokens of bytes or listed characters, and windows of them.
//!
//! Everything follows from the specification and the text at hand. Knows no file, person or model.

use std::collections::HashMap;

use tributary_job::spec::TokenizerSpec;

/// Stands in a window where its text has ended.
pub const PADDING: f32 = -1.0;

/// Turns text into tokens.
#[derive(Debug)]
pub(crate) struct Tokenizer {
    /// Number of each listed character; `None` where tokens are bytes.
    characters: Option<HashMap<char, u32>>,
}

impl Tokenizer {
    /// As the specification says.
    pub(crate) fn new(spec: &TokenizerSpec) -> Self {
        let characters = match spec {
            TokenizerSpec::Bytes => None,
            TokenizerSpec::Characters { characters } => Some(characters.chars().zip(0..).collect()),
        };
        Self { characters }
    }

    /// The token before the first text, between two and after the last: a line feed.
    pub(crate) fn separator(&self) -> u32 {
        match &self.characters {
            None => u32::from(b'\n'),
            Some(numbers) => numbers.get(&'\n').copied().unwrap_or(numbers.len() as u32),
        }
    }

    /// Appends the tokens of a text.
    pub(crate) fn encode(&self, text: &str, out: &mut Vec<u32>) {
        match &self.characters {
            None => out.extend(text.bytes().map(u32::from)),
            Some(numbers) => {
                let other = numbers.len() as u32;
                out.extend(text.chars().map(|c| numbers.get(&c).copied().unwrap_or(other)));
            }
        }
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
            let (tokenizer, mut out) = (Tokenizer::new(spec), Vec::new());
            tokenizer.encode(text, &mut out);
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
