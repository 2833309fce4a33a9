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
    /// The party that is blamed, if one is.
    #[must_use]
    pub fn blamed(&self) -> Option<Party> {
        match self {
            Self::PeerMisbehaved { who, .. } | Self::Incompatible { who, .. } => Some(*who),
            Self::Stale { .. } | Self::Misuse { .. } | Self::Crypto { .. } => None,
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
