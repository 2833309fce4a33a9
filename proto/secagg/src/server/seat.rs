//! What the aggregator brings to every attempt: its key, its roster, and how much
//! memory and how many threads it may use. It knows no epoch and no round.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::digest::Digest;
use crate::fault::Fault;
use crate::graph::Graph;
use crate::identity::Identity;
use crate::ids::NodeSet;
use crate::roster::Roster;

/// Uploads at a time unless the caller says otherwise.
pub const DEFAULT_UPLOADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// The aggregator of a roster with its signing key.
#[derive(Debug, Clone)]
pub struct ServerSeat {
    pub(crate) roster: Arc<Roster>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) threads: NonZeroUsize,
    pub(crate) uploads: NonZeroUsize,
}

impl ServerSeat {
    /// The aggregator's seat: one thread, [`DEFAULT_UPLOADS`] uploads at a time.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if the identity is not the roster's aggregator.
    pub fn new(roster: Arc<Roster>, identity: Arc<Identity>) -> Result<Self, Fault> {
        if roster.aggregator != identity.verifying_key() {
            return Err(Fault::misuse("the identity in use is not the roster's aggregator"));
        }
        Ok(Self { roster, identity, threads: NonZeroUsize::MIN, uploads: DEFAULT_UPLOADS })
    }

    /// The same seat, working on `threads` threads.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// The same seat, with `uploads` nodes uploading at a time. Every unfinished
    /// upload is kept until it is whole, because a node that drops out must not leave
    /// half a vector in the sum: so this bounds the memory of a round, whatever the
    /// size of the cohort.
    #[must_use]
    pub fn with_uploads(self, uploads: NonZeroUsize) -> Self {
        Self { uploads, ..self }
    }
}

/// What came out of an epoch's set-up, to be stored by the aggregator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochFacts {
    /// Number of the epoch.
    pub epoch: u32,
    /// Transcript; it enters every context.
    pub transcript: Digest,
    /// Joint coin of the graph; zero in the complete graph.
    pub coin: Digest,
    /// The nodes that may be invited.
    pub members: NodeSet,
}

impl EpochFacts {
    /// The part of a cohort that can be invited: members of the epoch, each with enough
    /// holders of its shares among the others.
    #[must_use]
    pub fn openable(&self, roster: &Roster, cohort: &NodeSet) -> NodeSet {
        let graph = Graph::of(&roster.thresholds, &self.coin);
        graph.openable(cohort.intersection(&self.members), roster.thresholds.shamir_t)
    }
}
