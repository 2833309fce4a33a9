//! Who has agreed to what: data stewards and their approvals, decisions about jobs, pinned keys of
//! other agencies.
//!
//! [`judge`](judge::judge) holds a job against all of it and the policy, at the offer, before every
//! round and before every charge. Knows no database and no clock: what was decided and what time it is
//! are given. Approvals are believed because their signature is the registered steward's, not because
//! they are stored.

pub mod brief;
pub mod judge;
pub mod key_file;
pub mod pins;
pub mod statement;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_secagg::VerifyingKey;

pub use judge::{Case, Grounds, Verdict, judge};
pub use key_file::StewardKey;
pub use statement::{Approval, SignedApproval};

/// Most requests that may wait at a node: an aggregator cannot fill the disk with offers.
pub const MAX_WAITING: usize = 100;

/// Longest name of a steward.
const MAX_NAME: usize = 64;

/// What this agency's people have decided so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Consent {
    /// Registered data stewards and their keys.
    pub stewards: BTreeMap<String, VerifyingKey>,
    /// The newest decision about each job, by its hash in hex.
    pub decisions: BTreeMap<String, Decision>,
    /// Fingerprints of other agencies' signing keys, by agency.
    pub peers: BTreeMap<String, String>,
}

/// A decision about one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Decision {
    /// A steward has signed.
    Approved {
        /// What, by whom, until when.
        approval: SignedApproval,
    },
    /// Somebody said no.
    Denied {
        /// Who.
        by: String,
        /// When, RFC 3339.
        at: String,
        /// Why.
        reason: String,
    },
    /// Somebody took an approval back.
    Revoked {
        /// Who.
        by: String,
        /// When, RFC 3339.
        at: String,
        /// Why.
        reason: String,
    },
}

/// A registered steward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StewardRow {
    /// Their name.
    pub name: String,
    /// Their key.
    pub key: VerifyingKey,
    /// When they were registered, RFC 3339.
    pub added: String,
}

/// A job that was offered and waited for somebody's word, or still does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// The job's hash, hex.
    pub job: String,
    /// Canonical manifest.
    pub manifest: String,
    /// When it was first offered, RFC 3339.
    pub first_seen: String,
    /// How it ended; `None` while it waits or runs.
    pub outcome: Option<String>,
}

/// A pinned key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRow {
    /// The agency.
    pub agency: String,
    /// Fingerprint of its signing key.
    pub fingerprint: String,
    /// How it came here: `operator`, or `first use in job HASH`.
    pub how: String,
    /// When, RFC 3339.
    pub added: String,
}

/// Whether a text can be a steward's name: it stands in logs, statements and commands.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        return Err(format!(
            "{name:?} is no steward's name: 1 to {MAX_NAME} letters, digits and . _ @ -"
        ));
    }
    Ok(())
}
