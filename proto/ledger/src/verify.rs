//! The reading side: does this record hang together, and who signed it?

use std::io::BufRead;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use crate::chain::{Entry, Head};

/// Why a record is not believed. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The record could not be read.
    #[error("record: {0}")]
    Io(#[from] std::io::Error),
    /// A line is not an entry.
    #[error("record, line {line}: not an entry: {problem}")]
    Malformed {
        /// The line.
        line: u64,
        /// What the parser says.
        problem: String,
    },
    /// An entry is missing, repeated or out of order.
    #[error("record, line {line}: does not follow the line before it")]
    Broken {
        /// The line.
        line: u64,
    },
    /// An entry was changed after it was written.
    #[error("record, line {line}: content does not match its hash")]
    Changed {
        /// The line.
        line: u64,
    },
    /// The signature is not the writer's.
    #[error("record, line {line}: signature is not by the expected key")]
    Signature {
        /// The line.
        line: u64,
    },
}

/// Checks every line against the one before and against the writer's Ed25519 key. Hands each entry
/// to `visit` after it has been checked; returns the head, to be compared with one kept elsewhere
/// (a record cut off at its end is whole in itself).
///
/// # Errors
/// At the first line that does not hold.
pub fn verify_lines(
    lines: impl BufRead,
    key: &[u8; 32],
    mut visit: impl FnMut(&Entry),
) -> Result<Head, LedgerError> {
    let key = UnparsedPublicKey::new(&ED25519, key);
    let mut head = Head::default();
    for (index, text) in lines.lines().enumerate() {
        let (text, line) = (text?, index as u64 + 1);
        let malformed =
            |e: &dyn std::fmt::Display| LedgerError::Malformed { line, problem: e.to_string() };
        let entry: Entry = serde_json::from_str(&text).map_err(|e| malformed(&e))?;
        if entry.to_line().map_err(|e| malformed(&e))? != text {
            return Err(malformed(&"not in canonical form"));
        }
        if entry.sequence != head.length || entry.previous != head.hash {
            return Err(LedgerError::Broken { line });
        }
        if entry.expected_hash().map_err(|e| malformed(&e))? != entry.hash {
            return Err(LedgerError::Changed { line });
        }
        let signature = hex::decode(&entry.signature).map_err(|e| malformed(&e))?;
        if hex::encode(&signature) != entry.signature {
            return Err(malformed(&"signature is not lower-case hex"));
        }
        key.verify(&Entry::signed_bytes(&entry.hash), &signature)
            .map_err(|_| LedgerError::Signature { line })?;
        visit(&entry);
        head = Head { length: head.length + 1, hash: entry.hash };
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proptest::prelude::*;

    fn record(n: usize) -> (Ed25519KeyPair, [u8; 32], Vec<String>, Head) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
        let mut chain = Chain::new();
        let lines = (0..n)
            .map(|i| {
                let body = serde_json::json!({"round": i, "x": 0.1});
                let sign = |m: &[u8]| pair.sign(m).as_ref().try_into().unwrap();
                chain.append("2026-01-01T00:00:00Z", "round", body, sign).unwrap().to_line()
            })
            .collect::<Result<_, _>>()
            .unwrap();
        let head = chain.head().clone();
        (pair, key, lines, head)
    }

    fn check(lines: &[String], key: &[u8; 32]) -> Result<Head, LedgerError> {
        verify_lines(lines.join("\n").as_bytes(), key, |_| {})
    }

    #[test]
    fn a_written_record_verifies_up_to_its_head() {
        let (_, key, lines, head) = record(5);
        assert_eq!(check(&lines, &key).unwrap(), head);
        assert_eq!(check(&[], &key).unwrap(), Head::default());
    }

    #[test]
    fn missing_reordered_changed_and_forged_lines_are_found() {
        let (_, key, lines, head) = record(5);
        let mut missing = lines.clone();
        missing.remove(2);
        assert!(matches!(check(&missing, &key), Err(LedgerError::Broken { line: 3 })));
        let mut swapped = lines.clone();
        swapped.swap(1, 2);
        assert!(matches!(check(&swapped, &key), Err(LedgerError::Broken { line: 2 })));
        let mut changed = lines.clone();
        changed[3] = changed[3].replace("\"round\":3", "\"round\":7");
        assert!(matches!(check(&changed, &key), Err(LedgerError::Changed { line: 4 })));
        assert!(matches!(check(&lines, &[9; 32]), Err(LedgerError::Signature { line: 1 })));
        // A cut at the end is only visible against a head kept elsewhere.
        assert_ne!(check(&lines[..4], &key).unwrap(), head);
    }

    proptest! {
        #[test]
        fn any_flipped_byte_is_found(at in 0usize..400, bit in 0u8..7) {
            let (_, key, mut lines, head) = record(2);
            let mut bytes = lines[0].clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                lines[0] = text;
                prop_assert!(check(&lines, &key).ok() != Some(head));
            }
        }
    }
}
