//! What the aggregator says.

use std::fmt;

use super::codes::{JobOutcome, SessionRefusalCode};
use super::{Secagg, short_hash};
use crate::text::Text;

/// A frame of the aggregator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToNode {
    /// Always the first frame of a session that goes on.
    Welcome(Welcome),
    /// The session is over.
    Refused(Refused),
    /// A job for the node to check and answer.
    JobOffer(JobOffer),
    /// A frame for a job's state machines.
    Secagg(Secagg),
    /// A piece of a certified state.
    StateChunk(StateChunk),
    /// The node sits out.
    Idle {
        /// Why.
        text: Text,
    },
    /// A job is over.
    JobEnd(JobEnd),
    /// Where the record of a job ends.
    Checkpoint(Checkpoint),
}

/// Who the aggregator is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The protocol version it speaks.
    pub protocol_version: u32,
    /// Its software version, for people.
    pub software_version: Text,
    /// Its clock, seconds since 1970, so that the node can name a skew.
    pub unix_seconds: u64,
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub code: SessionRefusalCode,
    /// What to do about it.
    pub text: Text,
}

/// A job for the node to check and answer.
#[derive(Clone, PartialEq, Eq)]
pub struct JobOffer {
    /// Canonical JSON of the manifest, at most [`crate::limits::MAX_MANIFEST_BYTES`].
    pub manifest: Vec<u8>,
    /// Ed25519 signature over the manifest.
    pub signature: [u8; 64],
}

/// A piece of a certified state.
#[derive(Clone, PartialEq, Eq)]
pub struct StateChunk {
    /// The job.
    pub job: [u8; 32],
    /// Round whose result the state is.
    pub round: u32,
    /// Position of this piece, less than `count`.
    pub index: u32,
    /// Number of pieces, 1 to [`crate::limits::MAX_STATE_CHUNKS`].
    pub count: u32,
    /// The bytes, at most [`crate::limits::MAX_STATE_CHUNK_BYTES`], never empty. They are shared by
    /// the frames of all nodes that get the same state.
    pub data: bytes::Bytes,
    /// The certificate of the state's hash: present in piece 0 and only there, so that a node knows
    /// what it is loading before it stores a byte.
    pub certificate: Option<Vec<u8>>,
}

/// A job is over.
#[derive(Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// The job.
    pub job: [u8; 32],
    /// How it ended.
    pub outcome: JobOutcome,
    /// The reason in words.
    pub text: Text,
    /// The certificate of the last result; always present when the job is completed.
    pub certificate: Option<Vec<u8>>,
}

/// Where the record of a job ends, signed by the aggregator.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The job.
    pub job: [u8; 32],
    /// Entries of the record, at least 1.
    pub length: u64,
    /// Hash of the last one.
    pub head: [u8; 32],
    /// Ed25519 signature over the three.
    pub signature: [u8; 64],
}

impl fmt::Debug for JobOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobOffer({} bytes)", self.manifest.len())
    }
}

impl fmt::Debug for StateChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, round, index, count, data, .. } = self;
        let (job, len) = (short_hash(job), data.len());
        write!(
            f,
            "StateChunk({job}, round {round}, {} of {count}, {len} bytes)",
            index.saturating_add(1)
        )
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (job, head) = (short_hash(&self.job), short_hash(&self.head));
        write!(f, "Checkpoint({job}, {} entries, {head})", self.length)
    }
}

impl fmt::Debug for JobEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobEnd({}, {}, {:?})", short_hash(&self.job), self.outcome, self.text)
    }
}
