//! What a node's machine asks of its caller, and the names of its phases. It knows
//! no secret.

use std::fmt;

use crate::digest::Digest;
use crate::fault::Fault;
use crate::ids::{NodeIndex, NodeSet};
use crate::lanes::Lanes;
use crate::messages::{Abort, NodeMessage, ResultQc};
#[cfg(doc)]
use crate::node::NodeRound;
use crate::node::Upload;

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeOutput {
    /// Store this, then send it to the aggregator.
    Send(NodeMessage),
    /// Send these one by one. They need no storing.
    Upload(Upload),
    /// For the log: why this node refuses a dealer's shares. The complaint itself is
    /// a message to send.
    Complained {
        /// The dealer.
        against: NodeIndex,
        /// What is wrong with the shares that arrived in its name.
        why: String,
    },
    /// This node stops here, after what stands before it in the list was sent.
    Stopped(Fault),
    /// The shares are in place: hand in the vector with
    /// [`NodeRound::provide_vector`] when it is there.
    VectorNeeded,
    /// It is this node's turn to upload. Charge the budget and mark the attempt spent,
    /// durably, then call [`NodeRound::release_upload`].
    ChargeNeeded {
        /// Root of the masked vector that will leave.
        payload_hash: Digest,
    },
    /// The sum over the survivors. Compute the state that follows from it and
    /// call [`NodeRound::acknowledge_result`].
    Opened {
        /// Sum of the survivors' vectors, modulo 2 to the lane width.
        sum: Lanes,
        /// U, the nodes in the sum.
        survivors: NodeSet,
        /// Root of the sum.
        sum_root: Digest,
    },
    /// The aggregator ended the attempt.
    Aborted(Abort),
    /// A quorum arrived at the state this node computed.
    Certified(ResultQc),
}

/// Where a node's attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodePhase {
    /// Committed; waiting for the shares of the others.
    Committed,
    /// Waiting for its own program's vector.
    AwaitingVector,
    /// Ready; waiting for the grant.
    Ready,
    /// Masked; waiting for its turn to upload.
    Masked,
    /// Its turn; waiting until the charge is durable.
    AwaitingCharge,
    /// Uploaded; waiting for the survivor manifest.
    Uploaded,
    /// Signed the manifest; waiting for the quorum.
    Acknowledged,
    /// Gave out its shares; waiting for the sum.
    Revealed,
    /// Has the sum; waiting for its own program's state.
    Opened,
    /// Signed the state; waiting for the quorum.
    Attested,
    /// The result is certified.
    Certified,
    /// The aggregator ended the attempt.
    Aborted,
    /// This node refused to go on.
    Faulted,
}

impl fmt::Display for NodePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Committed => "waiting for the shares of the other nodes",
            Self::AwaitingVector => "waiting for this node's own vector",
            Self::Ready => "waiting for permission to upload",
            Self::Masked => "waiting for its turn to upload",
            Self::AwaitingCharge => "waiting for the budget charge to be stored",
            Self::Uploaded => "waiting for the list of survivors",
            Self::Acknowledged => "waiting for a quorum on the survivors",
            Self::Revealed => "waiting for the sum",
            Self::Opened => "waiting for this node's own new state",
            Self::Attested => "waiting for a quorum on the new state",
            Self::Certified => "certified",
            Self::Aborted => "ended by the aggregator",
            Self::Faulted => "refused by this node",
        })
    }
}
