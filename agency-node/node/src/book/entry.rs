//! What the book's entries say. Public parameters only: a withdrawal leaks nothing.

use serde::{Deserialize, Serialize};

use tributary_job::Operation;

use super::limits::BudgetLimit;

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case", deny_unknown_fields)]
pub enum BookEntry {
    /// A dataset gets its account.
    Registered {
        /// The dataset.
        dataset: String,
        /// Its terms.
        limit: BudgetLimit,
    },
    /// A job may spend this much.
    Reserved {
        /// The dataset.
        dataset: String,
        /// The job's hash, hex.
        job: String,
        /// Renyi divergence at the dataset's order.
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
    /// An attempt is paid for.
    Charged {
        /// The dataset.
        dataset: String,
        /// Renyi divergence at the dataset's order; 0 in mode `none`.
        rdp: f64,
        /// Which attempt.
        charge: ChargeEntry,
    },
    /// A job is over, for good; what it did not use is free again.
    Closed {
        /// The dataset.
        dataset: String,
        /// The job's hash, hex.
        job: String,
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
    /// What was computed.
    pub operation: Operation,
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
            Self::Reserved { .. } => "budget-reserved",
            Self::Unprotected { .. } => "budget-unprotected",
            Self::Charged { .. } => "budget-charged",
            Self::Closed { .. } => "budget-closed",
        }
    }

    /// As the body of a record entry.
    pub(super) fn to_body(&self) -> Result<serde_json::Value, String> {
        serde_json::to_value(self).map_err(|e| e.to_string())
    }

    /// From the body of a record entry.
    pub(super) fn from_body(body: &serde_json::Value) -> Result<Self, String> {
        serde_json::from_value(body.clone()).map_err(|e| e.to_string())
    }
}
