//! Progress of a job, as `status` shows it: what runs, what is waited for, who is missing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Coarse phase of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobPhase {
    /// Agencies look at the offer.
    Offering,
    /// Agencies agree on the epoch's keys.
    Keying,
    /// A secure round runs.
    Round,
    /// Too few agencies are there.
    Waiting,
    /// Over.
    Ended,
}

/// A snapshot of progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Where the job stands.
    pub phase: JobPhase,
    /// The running step of the round's protocol, in words.
    pub step: String,
    /// Certified rounds.
    pub round: u32,
    /// Rounds in all.
    pub rounds: u32,
    /// Attempt of the running round, from 0.
    pub attempt: u16,
    /// Agencies that somebody waits for.
    pub waiting_for: Vec<String>,
    /// Agencies without a session.
    pub missing: Vec<String>,
    /// Agencies that are connected and take no part at the moment, each with the reason.
    #[serde(default)]
    pub sits_out: BTreeMap<String, String>,
    /// Survivors of the last certified round.
    pub survivors_last: Vec<String>,
}
