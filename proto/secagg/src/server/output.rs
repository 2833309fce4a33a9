//! What the aggregator's machine asks of its caller, and the names of its phases.

use std::fmt;

use crate::digest::Digest;
use crate::evidence::Evidence;
use crate::ids::{NodeIndex, NodeSet};
use crate::lanes::Lanes;
use crate::messages::{Abort, ResultQc, ServerMessage};
#[cfg(doc)]
use crate::server::ServerRound;

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerOutput {
    /// Store this, then send it to the node.
    Send(NodeIndex, ServerMessage),
    /// The same to several nodes: its bytes need be made once only.
    SendAll(NodeSet, ServerMessage),
    /// The sum over the survivors. Compute the state that follows from it and
    /// call [`ServerRound::provide_state`].
    Opened {
        /// Sum of the survivors' vectors, modulo 2 to the lane width.
        sum: Lanes,
        /// U, the nodes in the sum.
        survivors: NodeSet,
        /// Root of the sum.
        sum_root: Digest,
    },
    /// A quorum arrived at the aggregator's state. The round is over.
    Certified(ResultQc),
    /// The attempt ended without a result.
    Aborted(Abort),
    /// A node broke the protocol and is out of this attempt; the next attempt
    /// should do without it.
    Evicted {
        /// The node.
        node: NodeIndex,
        /// What it did.
        why: String,
        /// Proof of it for others, where there can be any.
        evidence: Option<Evidence>,
    },
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerPhase {
    /// Waiting for the nodes' commitments.
    Committing,
    /// Waiting for the nodes' vectors to be ready.
    Training,
    /// Receiving masked vectors.
    Uploading,
    /// Waiting for signatures on the survivor manifest.
    Acknowledging,
    /// Waiting for shares.
    Unmasking,
    /// The sum is out; waiting for the states that follow from it.
    Certifying,
    /// The result is certified.
    Certified,
    /// The attempt ended without a result.
    Aborted,
}

impl fmt::Display for ServerPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Committing => "waiting for commitments",
            Self::Training => "waiting for vectors to be ready",
            Self::Uploading => "receiving masked vectors",
            Self::Acknowledging => "waiting for signatures on the survivors",
            Self::Unmasking => "waiting for shares",
            Self::Certifying => "waiting for a quorum on the new state",
            Self::Certified => "certified",
            Self::Aborted => "aborted",
        })
    }
}
