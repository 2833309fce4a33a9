//! Why a state machine refused to go on, and whose doing it was. It knows the
//! parties and nothing of the protocol's phases.

use crate::identity::IdentityError;
use crate::ids::{NodeIndex, Party};

/// A refusal, with typed blame. Texts carry indices and public numbers only,
/// never anything derived from a vector or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A party broke the protocol.
    #[error("{who} broke the protocol: {what}")]
    PeerMisbehaved {
        /// The party that is blamed.
        who: Party,
        /// What it did.
        what: String,
    },
    /// A message is bad and either the node it is said to be from or the aggregator
    /// that passed it on is to blame; from here nobody can tell which. Their signed
    /// messages can (see [`crate::Evidence`]).
    #[error("node {node} or the aggregator broke the protocol: {what}")]
    Disputed {
        /// The node.
        node: NodeIndex,
        /// What was bad.
        what: String,
    },
    /// A party works from other facts than this one (model, parameters, version).
    #[error("{who} disagrees with this party: {what}")]
    Incompatible {
        /// The party that disagrees.
        who: Party,
        /// About what.
        what: String,
    },
    /// A message of another attempt, epoch or of a party that is out.
    #[error("{who} sent something that is out of date: {what}")]
    Stale {
        /// The sender.
        who: Party,
        /// What it was.
        what: String,
    },
    /// The calling program used the machine against its rules.
    #[error("the calling program misused the protocol: {what}")]
    Misuse {
        /// What it did.
        what: String,
    },
    /// The cryptographic library failed where it cannot fail in good order.
    #[error("the cryptographic library failed: {what}")]
    Crypto {
        /// During what.
        what: &'static str,
    },
}

impl Fault {
    /// The one party that is blamed, if it is one.
    #[must_use]
    pub fn blamed(&self) -> Option<Party> {
        match self {
            Self::PeerMisbehaved { who, .. } | Self::Incompatible { who, .. } => Some(*who),
            Self::Disputed { .. }
            | Self::Stale { .. }
            | Self::Misuse { .. }
            | Self::Crypto { .. } => None,
        }
    }

    /// Everybody who may be to blame.
    #[must_use]
    pub fn suspects(&self) -> Vec<Party> {
        match self {
            Self::Disputed { node, .. } => vec![Party::Node(*node), Party::Aggregator],
            other => other.blamed().into_iter().collect(),
        }
    }

    pub(crate) fn disputed(node: Option<NodeIndex>, what: String) -> Self {
        match node {
            Some(node) => Self::Disputed { node, what },
            None => Self::aggregator(what),
        }
    }

    pub(crate) fn aggregator(what: impl Into<String>) -> Self {
        Self::PeerMisbehaved { who: Party::Aggregator, what: what.into() }
    }

    pub(crate) fn node(node: NodeIndex, what: impl Into<String>) -> Self {
        Self::PeerMisbehaved { who: Party::Node(node), what: what.into() }
    }

    pub(crate) fn differs(what: impl Into<String>) -> Self {
        Self::Incompatible { who: Party::Aggregator, what: what.into() }
    }

    pub(crate) fn misuse(what: impl Into<String>) -> Self {
        Self::Misuse { what: what.into() }
    }
}

impl From<IdentityError> for Fault {
    fn from(_: IdentityError) -> Self {
        Self::Crypto { what: "identity key" }
    }
}
