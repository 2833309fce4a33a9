//! What people ask of the aggregator, and what it answers. No prost type appears here.

use std::fmt;

use zeroize::Zeroizing;

use crate::members::Member;
use crate::names::AgencyName;
use crate::text::Text;

/// A job file to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitJob {
    /// The file's text, TOML.
    pub job_toml: String,
}

/// A job is queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its identifier.
    pub job: JobName,
    /// What the submitter should know.
    pub notes: Vec<Text>,
}

/// A job's identifier: 1 to 160 printable ASCII characters without white space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobName(pub(crate) String);

/// One agency as the aggregator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgencyReport {
    /// Its name.
    pub agency: AgencyName,
    /// Whether it is refused.
    pub revoked: bool,
    /// Ed25519 key of its protocol messages.
    pub signing_key: [u8; 32],
    /// Serial number of its newest certificate (hexadecimal) and the Unix second at which it ends.
    pub certificate: Option<(Serial, u64)>,
}

/// Serial number of a certificate: 1 to 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(pub(crate) String);

/// A one-time token is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueToken {
    /// For whom.
    pub member: Member,
    /// How long it may be used.
    pub valid_hours: u32,
}

/// A one-time token: a secret.
pub struct IssuedToken {
    /// The token.
    pub token: Zeroizing<String>,
}

/// Who or what is refused from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoke {
    /// A member, with every certificate.
    Member(Member),
    /// One certificate, with those that were renewed from it.
    Certificate(Serial),
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChunk {
    /// Relative path, `/` between its parts, each of 1 to 64 of `a-z`, `0-9`, `.`, `-`, `_` and not
    /// beginning with a dot. A new path begins a new file.
    pub path: String,
    /// The bytes that follow.
    pub data: Vec<u8>,
}

impl JobName {
    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serial {
    /// Checks alphabet and length; colons and capitals, as other tools print them, are accepted.
    pub fn new(text: &str) -> Option<Self> {
        let text: String = text.trim().chars().filter(|c| *c != ':').collect();
        let text = text.to_ascii_lowercase();
        let valid = (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        valid.then_some(Self(text))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IssuedToken(<redacted>)")
    }
}

impl fmt::Debug for crate::v1::IssueTokenReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IssueTokenReply(<redacted>)")
    }
}
