//! The aggregator's side: one machine per attempt of a round, one file per phase.
//!
//! The machine goes on as soon as every node that is still present has answered,
//! or when its caller says that time is up. A node that breaks the protocol is
//! named and left out; it never stops the others. The aggregator holds masked
//! vectors and the unmasked sum, never a node's unmasked vector, and no seed is
//! ever printed.

mod commit;
mod epoch;
mod result;
mod survivors;
mod unmask;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use epoch::ServerEpoch;

use crate::context::{RoundView, context};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::ids::{NodeIndex, NodeSet, Party};
use crate::messages::{
    Abort, AbortReason, Kind, NodeMessage, ResultQc, RoundStart, ServerMessage, SignedMessage,
};
use crate::roster::Roster;

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerOutput {
    /// Store this, then send it to the node.
    Send(NodeIndex, ServerMessage),
    /// The sum over the survivors. Compute the state that follows from it and
    /// call [`ServerRound::provide_state`].
    Opened {
        /// Sum of the survivors' vectors, modulo 2^32 per lane.
        sum: Vec<u32>,
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

/// The aggregator's machine for one attempt of one round.
pub struct ServerRound {
    core: Core,
    stage: Stage,
}

impl ServerRound {
    /// Opens an attempt: invites the cohort.
    ///
    /// `transcript` is that of the epoch ([`ServerEpoch::transcript`]); the cohort
    /// must lie within the epoch's members.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if the identity is not the aggregator's, the cohort is
    /// smaller than `u_min` or of another roster, or the vector has no lanes.
    pub fn open(
        roster: Arc<Roster>,
        identity: Arc<Identity>,
        epoch: u32,
        transcript: Digest,
        view: RoundView,
        cohort: NodeSet,
    ) -> Result<(Self, Vec<ServerOutput>), Fault> {
        check_identity(&roster, &identity)?;
        let least = usize::from(roster.thresholds.u_min);
        if cohort.roster_size() != roster.size() || cohort.len() < least {
            return Err(Fault::misuse(format!(
                "a cohort of {} nodes; at least u_min = {least} of the roster are needed",
                cohort.len()
            )));
        }
        if view.vector_len == 0 {
            return Err(Fault::misuse("a vector of no lanes"));
        }
        let ctx = context(&roster, &transcript, &view, &cohort);
        let vector_len = view.vector_len as usize;
        let start =
            RoundStart { context: ctx, epoch, view, cohort: cohort.clone(), signature: [0; 64] }
                .signed_by(&identity);
        let core = Core {
            evicted: NodeSet::new(roster.size()),
            present: cohort.clone(),
            seen: BTreeMap::new(),
            survivors: None,
            state_hash: None,
            cohort,
            roster,
            identity,
            ctx,
            vector_len,
        };
        let mut out = Vec::new();
        for node in core.cohort.iter() {
            out.push(ServerOutput::Send(node, start.clone().into()));
        }
        let stage = Stage::Running(Box::new(commit::Committing::default()));
        Ok((Self { core, stage }, out))
    }

    /// Takes a message of a node.
    ///
    /// A node that breaks the protocol is evicted ([`ServerOutput::Evicted`]) and
    /// the round goes on. A repetition of a message and a message of a phase that
    /// is over are ignored.
    ///
    /// # Errors
    /// [`Fault::Stale`] for a message of another context or of a node that is not
    /// in this attempt any more, [`Fault::Misuse`] if the sender is nobody. The
    /// machine is unchanged and goes on.
    pub fn handle(
        &mut self,
        from: NodeIndex,
        message: NodeMessage,
    ) -> Result<Vec<ServerOutput>, Fault> {
        self.core.admit(from, &message)?;
        let mut out = Vec::new();
        let Stage::Running(stage) = &mut self.stage else { return Ok(out) };
        let Some(due) = phase_of(message.kind()) else {
            self.evict(from, format!("sent a {} within a round", message.kind()), &mut out);
            return Ok(out);
        };
        if message.kind() != Kind::MaskedChunk {
            let found = message.fingerprint();
            match self.core.seen.insert((from, message.kind()), found) {
                Some(known) if known == found => return Ok(out),
                Some(_) => {
                    let why = format!("sent two different {} messages", message.kind());
                    self.evict(from, why, &mut out);
                    return Ok(out);
                }
                None => {}
            }
        }
        if due < stage.phase() {
            return Ok(out);
        }
        if due > stage.phase() {
            let why = format!("sent a {} while the round was {}", message.kind(), stage.phase());
            self.evict(from, why, &mut out);
            return Ok(out);
        }
        match stage.accept(&self.core, from, message) {
            Ok(()) => self.settle(&mut out),
            Err(why) => self.evict(from, why, &mut out),
        }
        Ok(out)
    }

    /// A node is given up: its connection is lost for good or it reported that it
    /// will not go on. Call it when reconnecting is no longer expected, not at the
    /// first blip. The phase may go on, or the attempt end, because of it.
    pub fn drop_node(&mut self, node: NodeIndex) -> Vec<ServerOutput> {
        let mut out = Vec::new();
        if self.core.present.remove(node) {
            if let Stage::Running(stage) = &mut self.stage {
                stage.forget(node);
            }
            self.settle(&mut out);
        }
        out
    }

    /// The running phase is out of time: go on with who answered, or abort.
    pub fn deadline(&mut self) -> Vec<ServerOutput> {
        let mut out = Vec::new();
        self.close(&mut out);
        self.settle(&mut out);
        out
    }

    /// The state that follows from the sum, as the aggregator computes it. It has
    /// an effect once, after [`ServerOutput::Opened`].
    pub fn provide_state(&mut self, state_hash: Digest) -> Vec<ServerOutput> {
        let mut out = Vec::new();
        if self.phase() == ServerPhase::Certifying && self.core.state_hash.is_none() {
            self.core.state_hash = Some(state_hash);
            self.settle(&mut out);
        }
        out
    }

    /// The operator ends the attempt.
    pub fn cancel(&mut self) -> Vec<ServerOutput> {
        let mut out = Vec::new();
        self.abort(Shortfall::of(AbortReason::Cancelled), &mut out);
        out
    }

    /// Where the attempt stands.
    #[must_use]
    pub fn phase(&self) -> ServerPhase {
        match &self.stage {
            Stage::Running(stage) => stage.phase(),
            Stage::Certified => ServerPhase::Certified,
            Stage::Aborted => ServerPhase::Aborted,
        }
    }

    /// The nodes whose answer the running phase still waits for.
    #[must_use]
    pub fn waiting_for(&self) -> NodeSet {
        match &self.stage {
            Stage::Running(stage) => stage.awaited(&self.core),
            _ => NodeSet::new(self.core.roster.size()),
        }
    }

    /// The context of the attempt.
    #[must_use]
    pub fn ctx(&self) -> Digest {
        self.core.ctx
    }

    /// U, once it is fixed.
    #[must_use]
    pub fn survivors(&self) -> Option<&NodeSet> {
        self.core.survivors.as_ref()
    }

    fn evict(&mut self, node: NodeIndex, why: String, out: &mut Vec<ServerOutput>) {
        self.core.evict(node, why, out);
        if let Stage::Running(stage) = &mut self.stage {
            stage.forget(node);
        }
        self.settle(out);
    }

    /// Goes on as far as the answers allow.
    fn settle(&mut self, out: &mut Vec<ServerOutput>) {
        loop {
            let Stage::Running(stage) = &self.stage else { return };
            if let Some(shortfall) = stage.hopeless(&self.core) {
                return self.abort(shortfall, out);
            }
            if !stage.awaited(&self.core).is_empty() || !stage.may_close(&self.core) {
                return;
            }
            self.close(out);
        }
    }

    fn close(&mut self, out: &mut Vec<ServerOutput>) {
        let stage = match std::mem::replace(&mut self.stage, Stage::Aborted) {
            Stage::Running(stage) => stage,
            over => {
                self.stage = over;
                return;
            }
        };
        match stage.close(&mut self.core, out) {
            Next::Go(next) => self.stage = Stage::Running(next),
            Next::Certified => self.stage = Stage::Certified,
            Next::Abort(shortfall) => self.core.abort(&shortfall, out),
        }
    }

    fn abort(&mut self, shortfall: Shortfall, out: &mut Vec<ServerOutput>) {
        if matches!(self.stage, Stage::Running(_)) {
            self.stage = Stage::Aborted;
            self.core.abort(&shortfall, out);
        }
    }
}

impl fmt::Debug for ServerRound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerRound {{ ctx {:?}, {} }}", self.core.ctx, self.phase())
    }
}

enum Stage {
    Running(Box<dyn Phase + Send + Sync>),
    Certified,
    Aborted,
}

/// What a phase does with answers, and what it makes of them when it closes.
trait Phase {
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

    /// Makes the next phase of the answers there are.
    fn close(self: Box<Self>, core: &mut Core, out: &mut Vec<ServerOutput>) -> Next;
}

/// What follows a phase.
enum Next {
    Go(Box<dyn Phase + Send + Sync>),
    Certified,
    Abort(Shortfall),
}

/// What is wrong with an answer, to be said of its sender.
type Refusal = String;

/// Why an attempt cannot go on.
struct Shortfall {
    reason: AbortReason,
    have: usize,
    need: u16,
    blamed: Vec<NodeIndex>,
}

impl Shortfall {
    fn of(reason: AbortReason) -> Self {
        Self { reason, have: 0, need: 0, blamed: Vec::new() }
    }

    /// `Some` if `have` is less than `need`.
    fn check(reason: AbortReason, have: usize, need: u16) -> Option<Self> {
        (have < usize::from(need)).then_some(Self { reason, have, need, blamed: Vec::new() })
    }
}

/// What all phases share.
struct Core {
    roster: Arc<Roster>,
    identity: Arc<Identity>,
    ctx: Digest,
    cohort: NodeSet,
    vector_len: usize,
    present: NodeSet,
    evicted: NodeSet,
    seen: BTreeMap<(NodeIndex, Kind), Digest>,
    survivors: Option<NodeSet>,
    state_hash: Option<Digest>,
}

impl Core {
    /// Refuses strangers, absentees and messages of other contexts.
    fn admit(&self, from: NodeIndex, message: &NodeMessage) -> Result<(), Fault> {
        let stale = |what: String| Err(Fault::Stale { who: Party::Node(from), what });
        if self.roster.member(from).is_none() {
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
    fn signed<M: SignedMessage>(&self, from: NodeIndex, message: &M) -> Result<(), Refusal> {
        match self.roster.member(from) {
            Some(key) if message.is_signed_by(key) => Ok(()),
            _ => Err(format!("sent a {} with a bad signature", M::SIGNED_KIND)),
        }
    }

    fn send_all(&self, nodes: &NodeSet, message: &ServerMessage, out: &mut Vec<ServerOutput>) {
        for node in nodes.intersection(&self.present).iter() {
            out.push(ServerOutput::Send(node, message.clone()));
        }
    }

    /// Tells nodes that were too late that the round goes on without them.
    fn leave_out(&mut self, late: &NodeSet, out: &mut Vec<ServerOutput>) {
        let late = late.intersection(&self.present);
        if late.is_empty() {
            return;
        }
        let abort = self.signed_abort(&Shortfall::of(AbortReason::NotIncluded));
        self.send_all(&late, &abort.into(), out);
        self.present = self.present.difference(&late);
    }

    fn evict(&mut self, node: NodeIndex, why: String, out: &mut Vec<ServerOutput>) {
        let mut shortfall = Shortfall::of(AbortReason::Evicted);
        shortfall.blamed.push(node);
        let abort = self.signed_abort(&shortfall);
        if self.present.remove(node) {
            out.push(ServerOutput::Send(node, abort.into()));
        }
        if self.evicted.insert(node) {
            out.push(ServerOutput::Evicted { node, why });
        }
    }

    fn abort(&self, shortfall: &Shortfall, out: &mut Vec<ServerOutput>) {
        let abort = self.signed_abort(shortfall);
        self.send_all(&self.cohort, &abort.clone().into(), out);
        out.push(ServerOutput::Aborted(abort));
    }

    fn signed_abort(&self, shortfall: &Shortfall) -> Abort {
        Abort {
            context: self.ctx,
            reason: shortfall.reason,
            have: u16::try_from(shortfall.have).unwrap_or(u16::MAX),
            need: shortfall.need,
            blamed: NodeSet::of(self.roster.size(), shortfall.blamed.iter().copied()),
            signature: [0; 64],
        }
        .signed_by(&self.identity)
    }
}

fn check_identity(roster: &Roster, identity: &Identity) -> Result<(), Fault> {
    if roster.aggregator == identity.verifying_key() {
        return Ok(());
    }
    Err(Fault::misuse("the identity in use is not the roster's aggregator"))
}

/// The phase in which a message is due; `None` for those of the epoch set-up.
fn phase_of(kind: Kind) -> Option<ServerPhase> {
    match kind {
        Kind::RoundCommit => Some(ServerPhase::Committing),
        Kind::Ready => Some(ServerPhase::Training),
        Kind::MaskedChunk | Kind::MaskedDone => Some(ServerPhase::Uploading),
        Kind::SurvivorAck => Some(ServerPhase::Acknowledging),
        Kind::UnmaskShares => Some(ServerPhase::Unmasking),
        Kind::ResultAck => Some(ServerPhase::Certifying),
        _ => None,
    }
}
