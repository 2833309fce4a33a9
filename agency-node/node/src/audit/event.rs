//! What an entry of the audit record says. Records live for years: a kind that was ever written is read
//! for good, and fields are only added.

use serde::{Deserialize, Serialize};
use tributary_ledger::Head;

/// Kind of the entry that says that entries were lost.
pub const GAP: &str = "record-gap";

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// The agency enrolled: keys were made here.
    Enrolled {
        /// The agency.
        agency: String,
        /// Where the aggregator is.
        aggregator: String,
        /// Fingerprint of the aggregator's signing key.
        aggregator_key: String,
        /// Fingerprint of this node's signing key.
        signing_key: String,
        /// Who did it.
        by: String,
    },
    /// The daemon has started and read its policy.
    PolicyLoaded {
        /// Version of the software.
        version: String,
        /// SHA-256 of the policy file, hex.
        policy: String,
    },
    /// A job was offered for the first time since the daemon started.
    OfferSeen {
        /// The job.
        job: Job,
        /// Fingerprint of the key that signed the offer.
        aggregator_key: String,
    },
    /// The offer waits for somebody's word.
    RequestOpened {
        /// The job's hash, hex.
        job: String,
        /// For whose, in words.
        why: String,
    },
    /// A job was refused, or an agency's own list said no.
    JobRefused {
        /// The job's hash, hex.
        job: String,
        /// The code that was sent.
        code: String,
        /// In words for the operator.
        why: String,
    },
    /// A job was taken up.
    JobAccepted {
        /// The job.
        job: Job,
        /// On whose word.
        grounds: String,
        /// Version of the dataset, as this node names it.
        dataset_version: String,
    },
    /// A job in progress waits: no round runs until it goes on.
    JobPaused {
        /// The job's hash, hex.
        job: String,
        /// The code that was sent.
        code: String,
        /// In words for the operator.
        why: String,
    },
    /// A job that waited goes on.
    JobResumed {
        /// The job's hash, hex.
        job: String,
        /// On whose word.
        grounds: String,
    },
    /// An attempt is paid for and may leave.
    Release {
        /// The job's hash, hex.
        job: String,
        /// Secure round.
        round: u32,
        /// Attempt.
        attempt: u16,
        /// What is released.
        operation: String,
        /// The dataset.
        dataset: String,
        /// Renyi divergence that the attempt costs, at the account's order; 0 in mode `none`.
        rdp: f64,
        /// Epsilon that the account has spent with it; absent where no number bounds it.
        epsilon_spent: Option<f64>,
    },
    /// A round is certified.
    RoundCertified {
        /// The job's hash, hex.
        job: String,
        /// Secure round.
        round: u32,
        /// Attempt.
        attempt: u16,
        /// Agencies whose vectors are in the sum.
        survivors: Vec<String>,
    },
    /// A job is over here.
    JobEnded {
        /// The job's hash, hex.
        job: String,
        /// How.
        outcome: String,
    },
    /// A data steward approved a job.
    Approved {
        /// The job's hash, hex.
        job: String,
        /// The dataset.
        dataset: String,
        /// Its version, as this node names it.
        dataset_version: String,
        /// The steward.
        steward: String,
        /// Fingerprint of their key.
        steward_key: String,
        /// Until when, RFC 3339.
        expires: String,
        /// Who ran the command.
        by: String,
    },
    /// Somebody denied a job.
    Denied {
        /// The job's hash, hex.
        job: String,
        /// Who, and who ran the command.
        by: String,
        /// Why.
        reason: String,
    },
    /// Somebody took an approval back.
    Revoked {
        /// The job's hash, hex.
        job: String,
        /// Who, and who ran the command.
        by: String,
        /// Why.
        reason: String,
    },
    /// A dataset was registered.
    DatasetAdded {
        /// Its name.
        dataset: String,
        /// The count that others are told.
        declared_records: u64,
        /// Version of its file, as this node names it.
        dataset_version: String,
        /// Who did it.
        by: String,
    },
    /// A dataset's file is another one than when it was last looked at.
    DatasetChanged {
        /// Its name.
        dataset: String,
        /// Version before.
        was: String,
        /// Version now.
        is: String,
    },
    /// A steward was registered or removed.
    Steward {
        /// `added` or `removed`.
        what: String,
        /// Their name.
        steward: String,
        /// Fingerprint of their key.
        steward_key: String,
        /// Who did it.
        by: String,
    },
    /// A peer's key was pinned or unpinned.
    Peer {
        /// `pinned` or `removed`.
        what: String,
        /// The agency.
        agency: String,
        /// Fingerprint of its signing key.
        fingerprint: String,
        /// Who did it.
        by: String,
    },
    /// Another command that changed something.
    Operator {
        /// The command.
        command: String,
        /// What came of it.
        outcome: String,
        /// Who ran it.
        by: String,
    },
    /// Entries of this record were lost; what follows goes on without them.
    RecordGap {
        /// The newest head that is known of them.
        lost: Head,
        /// Why, as the operator says it.
        reason: String,
        /// Who said so.
        by: String,
    },
}

/// A job, as far as people ask about it afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its hash, hex.
    pub hash: String,
    /// Its name.
    pub name: String,
    /// The dataset.
    pub dataset: String,
    /// Privacy mode.
    pub mode: String,
    /// Epsilon that it plans for; absent in mode `none`.
    pub epsilon: Option<f64>,
    /// Its delta.
    pub delta: f64,
    /// Secure rounds.
    pub rounds: u32,
    /// The other members of its roster and this agency.
    pub agencies: Vec<String>,
}

impl Event {
    /// Kind in the record.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Enrolled { .. } => "enrolled",
            Self::PolicyLoaded { .. } => "policy-loaded",
            Self::OfferSeen { .. } => "offer-seen",
            Self::RequestOpened { .. } => "request-opened",
            Self::JobRefused { .. } => "job-refused",
            Self::JobAccepted { .. } => "job-accepted",
            Self::JobPaused { .. } => "job-paused",
            Self::JobResumed { .. } => "job-resumed",
            Self::Release { .. } => "release",
            Self::RoundCertified { .. } => "round-certified",
            Self::JobEnded { .. } => "job-ended",
            Self::Approved { .. } => "approved",
            Self::Denied { .. } => "denied",
            Self::Revoked { .. } => "revoked",
            Self::DatasetAdded { .. } => "dataset-added",
            Self::DatasetChanged { .. } => "dataset-changed",
            Self::Steward { .. } => "steward",
            Self::Peer { .. } => "peer",
            Self::Operator { .. } => "operator",
            Self::RecordGap { .. } => GAP,
        }
    }

    /// As the body of an entry.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn to_body(&self) -> Result<serde_json::Value, String> {
        serde_json::to_value(self).map_err(|e| e.to_string())
    }

    /// From the body of an entry.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn from_body(body: &serde_json::Value) -> Result<Self, String> {
        serde_json::from_value(body.clone()).map_err(|e| e.to_string())
    }
}
