//! SHA-256 digests and the one way this crate hashes: over a length-prefixed
//! label and length-prefixed parts. It knows nothing of what is hashed.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

/// A SHA-256 digest. `Display` prints all 64 hex digits, `Debug` the first eight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The all-zero value, used where there is nothing to point to yet (for
    /// example the result before the first round).
    pub const ZERO: Self = Self([0; 32]);

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`HexError`] if the text is not exactly 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, HexError> {
        parse_hex32(text).map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Digest({}..)", hex::encode([a, b, c, d]))
    }
}

/// A text that should have been 64 hexadecimal digits and was not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits, found a text of {length} characters that is not that")]
pub struct HexError {
    /// Length of the refused text in bytes.
    pub length: usize,
}

pub(crate) fn parse_hex32(text: &str) -> Result<[u8; 32], HexError> {
    let mut out = [0u8; 32];
    hex::decode_to_slice(text, &mut out).map_err(|_| HexError { length: text.len() })?;
    Ok(out)
}

/// `SHA-256(len(label) || label || len(part) || part || ...)`, every length an
/// 8-byte little-endian number.
///
/// The encoding is injective, so two different lists of parts can never be
/// hashed to one input, and every use has its own label.
#[must_use]
pub fn hash(label: &str, parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new(label);
    for part in parts {
        hasher.part(part);
    }
    hasher.finish()
}

/// [`hash`] for inputs that are too large to stand in memory a second time.
pub(crate) struct Hasher(Context);

impl Hasher {
    pub(crate) fn new(label: &str) -> Self {
        let mut hasher = Self(Context::new(&SHA256));
        hasher.part(label.as_bytes());
        hasher
    }

    pub(crate) fn part(&mut self, part: &[u8]) {
        self.length(part.len());
        self.0.update(part);
    }

    pub(crate) fn finish(self) -> Digest {
        let mut out = [0u8; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        Digest(out)
    }

    fn length(&mut self, length: usize) {
        self.0.update(&(length as u64).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_separated() {
        assert_ne!(hash("a", &[b"bc"]), hash("a", &[b"b", b"c"]));
        assert_ne!(hash("ab", &[b"c"]), hash("a", &[b"bc"]));
        assert_ne!(hash("a", &[]), hash("a", &[b""]));
    }

    #[test]
    fn layout_is_the_documented_one() {
        let mut flat = Vec::new();
        for part in [b"label".as_slice(), b"x", b"yz"] {
            flat.extend_from_slice(&(part.len() as u64).to_le_bytes());
            flat.extend_from_slice(part);
        }
        let whole = aws_lc_rs::digest::digest(&SHA256, &flat);
        assert_eq!(hash("label", &[b"x", b"yz"]).0.as_slice(), whole.as_ref());
    }

    #[test]
    fn hex_round_trips_and_refuses() {
        let digest = hash("x", &[]);
        assert_eq!(Digest::from_hex(&digest.to_string()), Ok(digest));
        assert!(Digest::from_hex("00").is_err());
        assert!(Digest::from_hex(&"g".repeat(64)).is_err());
    }
}
