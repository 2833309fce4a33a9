//! What the book's entries say. Public parameters only: a withdrawal leaks nothing.

use serde::{Deserialize, Serialize};
use tributary_ledger::Head;

use super::grant::{Grant, ReleaseKind};
use super::limits::BudgetLimit;

/// One entry. Books live for years: a kind of entry that was ever written is read for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case", deny_unknown_fields)]
pub enum BookEntry {
    /// A dataset gets an account of its own.
    Registered {
        /// The dataset.
        dataset: String,
        /// Its terms.
        limit: BudgetLimit,
    },
    /// A dataset pays from the account of another: the same people may be in both.
    Shared {
        /// The dataset.
        dataset: String,
        /// The dataset whose account it is.
        with: String,
    },
    /// A job may spend this much.
    Granted {
        /// The dataset.
        dataset: String,
        /// The job's hash, hex.
        job: String,
        /// On which terms.
        grant: Grant,
    },
    /// A job may spend this much. Version 0.1 wrote these; now there are grants.
    Reserved {
        /// The dataset.
        dataset: String,
        /// The job's hash, hex.
        job: String,
        /// Renyi divergence at the account's order.
        rdp: f64,
        /// Statistics attempts that this pays for.
        statistics: u32,
        /// Training attempts that this pays for.
        training: u32,
    },
    /// A job without differential privacy (mode `none`) was accepted: exact sums may leave, and no
    /// epsilon bounds what the dataset has given away from here on.
    Unprotected {
        /// The dataset.
        dataset: String,
        /// The job's hash, hex.
        job: String,
    },
    /// An attempt is paid for. Durable before its first byte leaves.
    Charged {
        /// The dataset.
        dataset: String,
        /// Renyi divergence at the account's order; 0 in mode `none`.
        rdp: f64,
        /// Which attempt.
        charge: ChargeEntry,
    },
    /// A paid attempt has left in full. Where this is missing (a crash, a cut) the attempt is paid
    /// for all the same.
    Sent {
        /// The dataset.
        dataset: String,
        /// The job's hash, hex.
        job: String,
        /// Secure round.
        round: u32,
        /// Attempt.
        attempt: u16,
        /// Hash of the masked vector, hex, as it was charged.
        payload: String,
    },
    /// A job is over, for good; what it did not use is free again.
    Closed {
        /// The dataset.
        dataset: String,
        /// The job's hash, hex.
        job: String,
    },
    /// Newer entries of this book are lost for good: every account counts as spent in full, for
    /// nobody knows what the lost entries charged.
    WrittenOff {
        /// The newest head that is known of the lost entries.
        lost: Head,
    },
}

/// The attempt that is paid for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChargeEntry {
    /// The job's hash, hex.
    pub job: String,
    /// Secure round.
    pub round: u32,
    /// Attempt.
    pub attempt: u16,
    /// What is released. (Named `operation` in books of version 0.1.)
    #[serde(alias = "operation")]
    pub kind: ReleaseKind,
    /// Hash of the round's parameters (mechanism, noise, thresholds), hex. Empty in books of
    /// version 0.1, whose context covers it.
    #[serde(default)]
    pub params: String,
    /// Context of the attempt, hex.
    pub ctx: String,
    /// Hash of the masked vector, hex. Never of the vector itself.
    pub payload: String,
}

impl BookEntry {
    /// Kind in the record.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "budget-registered",
            Self::Shared { .. } => "budget-shared",
            Self::Granted { .. } => "budget-granted",
            Self::Reserved { .. } => "budget-reserved",
            Self::Unprotected { .. } => "budget-unprotected",
            Self::Charged { .. } => CHARGED,
            Self::Sent { .. } => "budget-sent",
            Self::Closed { .. } => "budget-closed",
            Self::WrittenOff { .. } => "budget-written-off",
        }
    }

    /// As the body of a record entry.
    pub(super) fn to_body(&self) -> Result<serde_json::Value, String> {
        serde_json::to_value(self).map_err(|e| e.to_string())
    }

    /// From the body of a record entry.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn from_body(body: &serde_json::Value) -> Result<Self, String> {
        serde_json::from_value(body.clone()).map_err(|e| e.to_string())
    }
}

/// Kind of a charge in the record.
pub const CHARGED: &str = "budget-charged";
