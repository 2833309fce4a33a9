//! A node's place in a job: which member of which roster it is, with which key, and
//! how many threads it may use. It knows no epoch and no round.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::fault::Fault;
use crate::identity::Identity;
use crate::ids::NodeIndex;
use crate::roster::Roster;

/// A member of a roster with its signing key.
#[derive(Debug, Clone)]
pub struct NodeSeat {
    pub(crate) roster: Arc<Roster>,
    pub(crate) me: NodeIndex,
    pub(crate) identity: Arc<Identity>,
    pub(crate) threads: NonZeroUsize,
}

impl NodeSeat {
    /// The seat of member `me`; it works on one thread.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if `me` and `identity` are not that member of the roster.
    pub fn new(roster: Arc<Roster>, me: NodeIndex, identity: Arc<Identity>) -> Result<Self, Fault> {
        if roster.member(me) != Some(&identity.verifying_key()) {
            return Err(Fault::misuse(format!(
                "the identity in use is not node {me} of the roster"
            )));
        }
        Ok(Self { roster, me, identity, threads: NonZeroUsize::MIN })
    }

    /// The same seat, masking and hashing on `threads` threads.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// The roster.
    #[must_use]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Which member it is.
    #[must_use]
    pub fn me(&self) -> NodeIndex {
        self.me
    }
}
