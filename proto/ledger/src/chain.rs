//! Entries and how the next one is made.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::canonical_json;

/// One line of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Position, from 0.
    pub sequence: u64,
    /// When, RFC 3339 in UTC, by the writer's clock.
    pub at: String,
    /// What kind of event, from the writer's fixed list.
    pub kind: String,
    /// Typed content. Public values only.
    pub body: Value,
    /// Hash of the entry before, hex; 64 zeros for the first.
    pub previous: String,
    /// SHA-256 over the canonical JSON of the five fields above, hex.
    pub hash: String,
    /// Ed25519 signature of the hash by the writer, hex.
    pub signature: String,
}

/// Where a record ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of entries.
    pub length: u64,
    /// Hash of the last entry, hex; 64 zeros if there is none.
    pub hash: String,
}

/// The writing side: knows only the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    head: Head,
}

impl Default for Head {
    fn default() -> Self {
        Self { length: 0, hash: "0".repeat(64) }
    }
}

impl Head {
    /// A head as people note it, `LENGTH:HASH`; nothing if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (length, hash) = text.split_once(':')?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let valid = hash.len() == 64 && hash.bytes().all(hex);
        let length = length.parse().ok()?;
        valid.then(|| Self { length, hash: hash.to_owned() })
    }
}

impl Entry {
    /// What the hash of this entry must be.
    ///
    /// # Errors
    /// If the body cannot be written as JSON.
    pub fn expected_hash(&self) -> Result<String, serde_json::Error> {
        entry_hash(self.sequence, &self.at, &self.kind, &self.body, &self.previous)
    }

    /// The bytes that are signed.
    pub fn signed_bytes(hash: &str) -> Vec<u8> {
        [b"tributary/ledger/v1:", hash.as_bytes()].concat()
    }

    /// The entry as one line of JSON, without the line feed.
    ///
    /// # Errors
    /// If the body cannot be written as JSON.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        canonical_json(self)
    }
}

impl Chain {
    /// Goes on after `head`.
    pub fn resume(head: Head) -> Self {
        Self { head }
    }

    /// An empty record.
    pub fn new() -> Self {
        Self::resume(Head::default())
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Makes the next entry and moves the head. The caller stores the entry durably before
    /// anything that depends on it.
    ///
    /// # Errors
    /// If the body cannot be written as JSON; the head then stays.
    pub fn append(
        &mut self,
        at: &str,
        kind: &str,
        body: Value,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<Entry, serde_json::Error> {
        let hash = entry_hash(self.head.length, at, kind, &body, &self.head.hash)?;
        let entry = Entry {
            sequence: self.head.length,
            at: at.to_owned(),
            kind: kind.to_owned(),
            body,
            previous: std::mem::replace(&mut self.head.hash, hash.clone()),
            signature: hex::encode(sign(&Entry::signed_bytes(&hash))),
            hash,
        };
        self.head.length += 1;
        Ok(entry)
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

fn entry_hash(
    sequence: u64,
    at: &str,
    kind: &str,
    body: &Value,
    previous: &str,
) -> Result<String, serde_json::Error> {
    let text = canonical_json(&serde_json::json!({
        "sequence": sequence, "at": at, "kind": kind, "body": body, "previous": previous,
    }))?;
    Ok(hex::encode(digest::digest(&digest::SHA256, text.as_bytes())))
}
