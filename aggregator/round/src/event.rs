//! What the outside tells the coordinator, and what it wants done.

use std::num::NonZeroUsize;

use bytes::Bytes;
use tributary_ledger::{Entry, Head};
use tributary_secagg::{DEFAULT_UPLOADS, NodeIndex};

use crate::progress::Progress;

/// Time as the driver sees it. Only differences of `millis` and the text of `unix` matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds.
    pub millis: u64,
    /// Unix seconds, for the record.
    pub unix: i64,
}

/// How long each wait may take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For all agencies of the roster to be there and accept.
    pub gather: u64,
    /// For one step of the protocol without training.
    pub step: u64,
    /// For training and upload.
    pub train: u64,
    /// For enough agencies to come back.
    pub rejoin: u64,
}

/// How much of the machine a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Threads that unmask and hash.
    pub threads: NonZeroUsize,
    /// Nodes that upload at a time: every unfinished upload is kept in memory. Where uploads stall,
    /// up to three times as many have a turn in the end.
    pub uploads: NonZeroUsize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { threads: NonZeroUsize::MIN, uploads: DEFAULT_UPLOADS }
    }
}

/// What a node says it still has of this job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resume {
    /// Secure rounds its state has applied; `None` if it does not know the job.
    pub completed: Option<u32>,
    /// The epoch whose keys it holds.
    pub epoch: Option<u32>,
    /// Context of an attempt whose masked vector it still has: the upload can go on where the
    /// session broke.
    pub upload: Option<[u8; 32]>,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An agency's session is there.
    Connected(NodeIndex, Resume),
    /// Its session is gone.
    Disconnected(NodeIndex),
    /// It takes part.
    Accepted(NodeIndex),
    /// It does not, for this reason.
    Refused(NodeIndex, String),
    /// A frame of the secure-aggregation protocol.
    Secagg(NodeIndex, Bytes),
    /// It gave up an attempt.
    Reported {
        /// The node.
        node: NodeIndex,
        /// Secure round.
        round: u32,
        /// Attempt.
        attempt: u16,
        /// The reason, from the fixed list.
        text: String,
    },
    /// The operator ends the job.
    Cancelled(String),
    /// Time passes.
    Tick,
}

/// What must be durable before the effects that follow.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// Entries of the round record.
    pub entries: Vec<Entry>,
    /// What to go on from after a restart.
    pub snapshot: Option<Vec<u8>>,
    /// A certified round: its number, the sum's packed lanes, the new state, the certificate.
    pub certified: Option<Certified>,
    /// For `status`.
    pub progress: Option<Progress>,
    /// The job is over: whether all rounds are certified, and why not.
    pub finished: Option<(bool, String)>,
    /// Head of the record after a step that nobody may take back: every agency is told it, signed, once
    /// the step is durable and not before.
    pub checkpoint: Option<Head>,
}

/// The lasting outcome of a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The round.
    pub round: u32,
    /// The published sum, packed lanes of the plan's width.
    pub sum: Vec<u8>,
    /// The state after it, canonical bytes.
    pub state: Vec<u8>,
    /// The result quorum's certificate.
    pub certificate: Vec<u8>,
}

/// Something to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Make durable, in one transaction. If that fails the driver stops.
    Persist(Box<Step>),
    /// Offer the job to a node.
    Offer(NodeIndex),
    /// Send a protocol frame to a node. The bytes are shared where several nodes get the same.
    Secagg(NodeIndex, Bytes),
    /// Send the newest certified state and its certificate to a node that missed rounds.
    State {
        /// To whom.
        node: NodeIndex,
        /// Rounds that the state has applied.
        completed: u32,
        /// Canonical bytes of the state, shared by all nodes that get it.
        state: Bytes,
        /// Certificate that carries the state's hash.
        certificate: Vec<u8>,
    },
    /// Tell a node why it sits out.
    Idle(NodeIndex, String),
    /// Close a node's session, with the reason.
    Disconnect(NodeIndex, String),
    /// Tell a node that the job is over.
    End {
        /// To whom.
        node: NodeIndex,
        /// Whether all rounds are certified.
        complete: bool,
        /// Why not.
        reason: String,
        /// Certificate of the newest certified state, if there is one.
        certificate: Option<Vec<u8>>,
    },
    /// The job is over for the driver too.
    Finished {
        /// Whether all rounds are certified.
        complete: bool,
        /// Why not.
        reason: String,
    },
    /// A line for the operator's log.
    Note(String),
}
