//! What the round record says: one body per kind of entry. Public values only.

use serde::{Deserialize, Serialize};

/// Kind of the first entry: the manifest in full.
pub const KIND_MANIFEST: &str = "manifest";
/// Kind of an epoch's entry.
pub const KIND_EPOCH: &str = "epoch";
/// Kind of a certified round.
pub const KIND_ROUND: &str = "round";
/// Kind of an attempt that opened nothing lasting.
pub const KIND_ABORT: &str = "attempt-aborted";
/// Kind of an agency's own report or of a fault it is blamed for.
pub const KIND_AGENCY: &str = "agency";
/// Kind of the last entry.
pub const KIND_END: &str = "end";

/// A certified round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundEntry {
    /// Secure round, from 0.
    pub round: u32,
    /// Attempt that succeeded, from 0.
    pub attempt: u16,
    /// `statistics` or `training`.
    pub operation: String,
    /// Agencies that were asked.
    pub cohort: Vec<String>,
    /// Agencies whose vectors are in the sum.
    pub survivors: Vec<String>,
    /// Agencies asked that are not.
    pub dropped: Vec<String>,
    /// Context, hex.
    pub ctx: String,
    /// Root over the published sum, hex.
    pub sum_root: String,
    /// Hash of the state after the round, hex.
    pub state_hash: String,
    /// The result quorum's certificate, hex.
    pub certificate: String,
    /// Bytes that all nodes sent in this round, protocol frames only.
    pub bytes_up: u64,
    /// Milliseconds from start to certificate.
    pub millis: u64,
    /// Agencies that let a deadline pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<String>,
    /// Agencies that left or gave up after others may have charged for the attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
}

/// An attempt without a lasting result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbortEntry {
    /// Secure round.
    pub round: u32,
    /// Attempt.
    pub attempt: u16,
    /// Agencies that were asked.
    pub cohort: Vec<String>,
    /// Agencies that let a deadline pass.
    pub late: Vec<String>,
    /// Agencies that left or gave up after others may have charged for the attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
    /// Why.
    pub reason: String,
}

/// Something about one agency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgencyEntry {
    /// Secure round.
    pub round: u32,
    /// The agency.
    pub agency: String,
    /// `report` (its own words from the fixed list), `fault`, `evicted`, `refused`, or `left` (its
    /// session ended while keys were agreed on).
    pub what: String,
    /// Details.
    pub text: String,
    /// Signed messages, hex, that prove it to anybody who has the roster; where there can be any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}
