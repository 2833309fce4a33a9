//! What the phases of the aggregator's machine have in common: the trait they
//! implement and the facts they share. It knows no particular phase.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::seat::ServerSeat;
use super::{ServerOutput, ServerPhase};
use crate::digest::Digest;
use crate::evidence::Evidence;
use crate::fault::Fault;
use crate::graph::Graph;
use crate::ids::{NodeIndex, NodeSet, Party};
use crate::messages::{Abort, AbortReason, Kind, NodeMessage, ServerMessage, SignedMessage};
use crate::vector::Shape;

/// What a phase does with answers, and what it makes of them when it closes.
pub(super) trait Phase {
    fn phase(&self) -> ServerPhase;

    /// Present nodes whose answer is still missing.
    fn awaited(&self, core: &Core) -> NodeSet;

    /// Whether too few answers can still come.
    fn hopeless(&self, core: &Core) -> Option<Shortfall>;

    /// Whether the phase may close once nobody is awaited.
    fn may_close(&self, _: &Core) -> bool {
        true
    }

    /// Takes an answer of a present node, already known to be of this phase.
    fn accept(&mut self, core: &Core, from: NodeIndex, message: NodeMessage)
    -> Result<(), Refusal>;

    /// Frees what is kept only for a node that is gone.
    fn forget(&mut self, _: NodeIndex) {}

    /// Says what is due without waiting for the end of the phase.
    fn pump(&mut self, _: &Core, _: &mut Vec<ServerOutput>) {}

    /// Lets one more node upload than before, because one that does holds up the rest.
    fn widen(&mut self) {}

    /// Where a node's upload is to go on, if it is uploading.
    fn next_chunk(&self, _: NodeIndex) -> Option<u32> {
        None
    }

    /// Whom the answers so far show to be wrong, or to be one of two who contradict each
    /// other. Asked when the attempt ends in this phase.
    fn verdicts(&self, _: &Core) -> Vec<(NodeIndex, String)> {
        Vec::new()
    }

    /// Whom the phase really waits for: while uploading, those who have a turn.
    fn holding_up(&self, core: &Core) -> NodeSet {
        self.awaited(core)
    }

    /// Makes the next phase of the answers there are.
    fn close(self: Box<Self>, core: &mut Core, out: &mut Vec<ServerOutput>) -> Next;
}

/// What follows a phase.
pub(super) enum Next {
    Go(Box<dyn Phase + Send + Sync>),
    Certified,
    Abort(Shortfall),
}

/// What is wrong with an answer, to be said of its sender, and proof of it if there
/// is any.
pub(super) struct Refusal {
    pub(super) why: String,
    pub(super) evidence: Option<Evidence>,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, evidence: None }
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

/// Why an attempt cannot go on.
pub(super) struct Shortfall {
    pub(super) reason: AbortReason,
    pub(super) have: usize,
    pub(super) need: u16,
    pub(super) blamed: Vec<NodeIndex>,
}

impl Shortfall {
    pub(super) fn of(reason: AbortReason) -> Self {
        Self { reason, have: 0, need: 0, blamed: Vec::new() }
    }

    /// `Some` if `have` is less than `need`.
    pub(super) fn check(reason: AbortReason, have: usize, need: u16) -> Option<Self> {
        (have < usize::from(need)).then_some(Self { reason, have, need, blamed: Vec::new() })
    }
}

/// What all phases share.
pub(super) struct Core {
    pub(super) seat: ServerSeat,
    pub(super) graph: Arc<Graph>,
    pub(super) ctx: Digest,
    pub(super) cohort: NodeSet,
    pub(super) shape: Shape,
    pub(super) present: NodeSet,
    pub(super) evicted: NodeSet,
    /// What was taken, in its bytes: two different messages are evidence.
    pub(super) seen: BTreeMap<(NodeIndex, Kind), Vec<u8>>,
    pub(super) survivors: Option<NodeSet>,
    pub(super) state_hash: Option<Digest>,
}

impl Core {
    /// Refuses strangers, absentees and messages of other contexts.
    pub(super) fn admit(&self, from: NodeIndex, message: &NodeMessage) -> Result<(), Fault> {
        let stale = |what: String| Err(Fault::Stale { who: Party::Node(from), what });
        if self.seat.roster.member(from).is_none() {
            return Err(Fault::misuse(format!("node {from} is not on the roster")));
        }
        if !self.cohort.contains(from) {
            return stale("it was not invited to this attempt".to_owned());
        }
        if self.evicted.contains(from) {
            return stale("it was evicted from this attempt".to_owned());
        }
        if !self.present.contains(from) {
            return stale("it was given up in this attempt".to_owned());
        }
        if message.context() != self.ctx {
            return stale(format!("a {} of another context", message.kind()));
        }
        Ok(())
    }

    /// Whether a node signed a message.
    pub(super) fn signed<M: SignedMessage>(
        &self,
        from: NodeIndex,
        message: &M,
    ) -> Result<(), Refusal> {
        match self.seat.roster.member(from) {
            Some(key) if message.is_signed_by(key) => Ok(()),
            _ => Err(format!("sent a {} with a bad signature", M::SIGNED_KIND).into()),
        }
    }

    pub(super) fn send_all(
        &self,
        nodes: &NodeSet,
        message: &ServerMessage,
        out: &mut Vec<ServerOutput>,
    ) {
        let nodes = nodes.intersection(&self.present);
        if !nodes.is_empty() {
            out.push(ServerOutput::SendAll(nodes, message.clone()));
        }
    }

    /// Tells nodes that were too late that the round goes on without them.
    pub(super) fn leave_out(&mut self, late: &NodeSet, out: &mut Vec<ServerOutput>) {
        let late = late.intersection(&self.present);
        if late.is_empty() {
            return;
        }
        let abort = self.signed_abort(&Shortfall::of(AbortReason::NotIncluded));
        self.send_all(&late, &abort.into(), out);
        self.present = self.present.difference(&late);
    }

    /// The largest part of a set in which everybody has enough holders of its shares.
    pub(super) fn openable(&self, set: NodeSet) -> NodeSet {
        self.graph.openable(set, self.seat.roster.thresholds.shamir_t)
    }

    pub(super) fn evict(
        &mut self,
        node: NodeIndex,
        refusal: impl Into<Refusal>,
        out: &mut Vec<ServerOutput>,
    ) {
        let Refusal { why, evidence } = refusal.into();
        // What does not convince a third party is no evidence.
        let evidence = evidence.filter(|found| found.verify(&self.seat.roster).is_ok());
        let mut shortfall = Shortfall::of(AbortReason::Evicted);
        shortfall.blamed.push(node);
        let abort = self.signed_abort(&shortfall);
        if self.present.remove(node) {
            out.push(ServerOutput::Send(node, abort.into()));
        }
        if self.evicted.insert(node) {
            out.push(ServerOutput::Evicted { node, why, evidence });
        }
    }

    pub(super) fn abort(&self, shortfall: &Shortfall, out: &mut Vec<ServerOutput>) {
        let abort = self.signed_abort(shortfall);
        self.send_all(&self.cohort, &abort.clone().into(), out);
        out.push(ServerOutput::Aborted(abort));
    }

    pub(super) fn signed_abort(&self, shortfall: &Shortfall) -> Abort {
        Abort {
            context: self.ctx,
            reason: shortfall.reason,
            have: u16::try_from(shortfall.have).unwrap_or(u16::MAX),
            need: shortfall.need,
            blamed: NodeSet::of(self.seat.roster.size(), shortfall.blamed.iter().copied()),
            signature: [0; 64],
        }
        .signed_by(&self.seat.identity)
    }
}
