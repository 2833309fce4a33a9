//! What a coordinator needs, beside manifest and state, to go on after a restart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_ledger::Head;

/// Durable part of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Newest epoch number used.
    pub epoch: u32,
    /// Its transcript, hex, once its keys are agreed.
    pub transcript: Option<String>,
    /// Its joint coin, hex, once its keys are agreed.
    pub coin: Option<String>,
    /// Who holds its keys, by index in the roster.
    pub epoch_members: Vec<u16>,
    /// Certified rounds.
    pub completed: u32,
    /// Next unused attempt number of the running round.
    pub next_attempt: u16,
    /// Attempts of all rounds so far.
    pub spent: u32,
    /// Head of the record.
    pub head: Head,
    /// Head of the record after the newest step that nobody may take back: what agencies have been
    /// told, signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Head>,
    /// Who is out of the job and why, by index in the roster.
    #[serde(default)]
    pub excluded: BTreeMap<u16, String>,
    /// How often who broke the protocol, by index in the roster.
    #[serde(default)]
    pub evictions: BTreeMap<u16, u8>,
}
