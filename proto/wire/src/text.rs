//! Bounded text for people: reasons, versions.

use std::fmt;

use crate::error::WireError;
use crate::limits::MAX_TEXT_CHARS;

/// At most [`MAX_TEXT_CHARS`] characters, none of them a control character: what a peer says can
/// neither fill a disk nor forge a second log line.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Text(String);

impl Text {
    /// Shortens (marked by `...`) and replaces control characters by spaces: for our own words,
    /// where a cut message is better than none.
    pub fn clipped(text: impl fmt::Display) -> Self {
        let text = text.to_string();
        let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        if text.chars().count() <= MAX_TEXT_CHARS {
            return Self(clean.collect());
        }
        let mut cut: String = clean.take(MAX_TEXT_CHARS - 3).collect();
        cut.push_str("...");
        Self(cut)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as an owned string.
    pub fn into_string(self) -> String {
        self.0
    }

    /// Accepts a peer's text for `field`.
    ///
    /// # Errors
    /// [`WireError::Length`] or [`WireError::Invalid`].
    pub(crate) fn parse(field: &'static str, text: String) -> Result<Self, WireError> {
        let found = text.chars().count();
        if found > MAX_TEXT_CHARS {
            return Err(WireError::Length { field, found, min: 0, max: MAX_TEXT_CHARS });
        }
        if text.chars().any(char::is_control) {
            return Err(WireError::Invalid { field, problem: "has control characters" });
        }
        Ok(Self(text))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn clipped_text_always_parses(text in "\\PC{0,300}|[\\s\\S]{0,300}") {
            let clipped = Text::clipped(&text);
            prop_assert_eq!(Text::parse("t", clipped.as_str().to_owned()), Ok(clipped));
        }
    }

    #[test]
    fn limits_are_exact() {
        let longest = "é".repeat(MAX_TEXT_CHARS);
        assert_eq!(Text::clipped(&longest).as_str(), longest);
        assert_eq!(Text::parse("t", longest.clone()).unwrap().as_str(), longest);
        let found = MAX_TEXT_CHARS + 1;
        let too_long = Text::parse("t", longest + "é");
        assert_eq!(
            too_long,
            Err(WireError::Length { field: "t", found, min: 0, max: MAX_TEXT_CHARS })
        );
        let forged = Text::parse("t", "ok\n2031-01-01 root logged in".into());
        assert_eq!(
            forged,
            Err(WireError::Invalid { field: "t", problem: "has control characters" })
        );
    }
}
