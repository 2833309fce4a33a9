//! The aggregator's side: one machine per attempt of a round, one file per phase.
//!
//! The machine goes on as soon as every node that is still present has answered,
//! or when its caller says that time is up. A node that breaks the protocol is
//! named and left out; it never stops the others. The aggregator holds masked
//! vectors and the unmasked sum, never a node's unmasked vector, and no seed is
//! ever printed.

mod commit;
mod epoch;
mod output;
mod result;
mod seat;
mod separate;
mod shared;
mod survivors;
mod unmask;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use epoch::ServerEpoch;
pub use output::{ServerOutput, ServerPhase};
pub use seat::{DEFAULT_UPLOADS, EpochFacts, ServerSeat};

use crate::context::{RoundView, context};
use crate::digest::Digest;
use crate::evidence::Evidence;
use crate::fault::Fault;
use crate::graph::Graph;
use crate::ids::{NodeIndex, NodeSet};
use crate::messages::{AbortReason, Kind, NodeMessage, RoundStart, SignedMessage, UploadTurn};
use shared::{Core, Next, Phase, Refusal, Shortfall};

/// The aggregator's machine for one attempt of one round.
pub struct ServerRound {
    core: Core,
    stage: Stage,
}

impl ServerRound {
    /// Opens an attempt: invites the cohort, which must lie within the epoch's members.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if the cohort is smaller than `u_min` or of another roster,
    /// or the vector has no lanes.
    pub fn open(
        seat: &ServerSeat,
        epoch: &EpochFacts,
        view: RoundView,
        cohort: NodeSet,
    ) -> Result<(Self, Vec<ServerOutput>), Fault> {
        let roster = &seat.roster;
        let least = usize::from(roster.thresholds.u_min);
        if !cohort.is_subset(&epoch.members) || cohort.len() < least {
            return Err(Fault::misuse(format!(
                "a cohort of {} nodes; at least u_min = {least} members of the epoch are needed",
                cohort.len()
            )));
        }
        let graph = Arc::new(Graph::of(&roster.thresholds, &epoch.coin));
        if graph.openable(cohort.clone(), roster.thresholds.shamir_t) != cohort {
            return Err(Fault::misuse(
                "a cohort in which a node has too few holders of its shares; see EpochFacts::openable",
            ));
        }
        if view.vector_len == 0 {
            return Err(Fault::misuse("a vector of no lanes"));
        }
        let ctx = context(roster, &epoch.transcript, &view, &cohort);
        let shape = view.shape();
        let start = RoundStart {
            context: ctx,
            epoch: epoch.epoch,
            view,
            cohort: cohort.clone(),
            signature: [0; 64],
        }
        .signed_by(&seat.identity);
        let core = Core {
            evicted: NodeSet::new(roster.size()),
            present: cohort.clone(),
            seen: BTreeMap::new(),
            survivors: None,
            state_hash: None,
            graph,
            cohort: cohort.clone(),
            seat: seat.clone(),
            ctx,
            shape,
        };
        let out = vec![ServerOutput::SendAll(cohort, start.into())];
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
            let found = message.encode();
            match self.core.seen.get(&(from, message.kind())) {
                Some(known) if *known == found => return Ok(out),
                Some(known) => {
                    let evidence = Evidence::Equivocation { first: known.clone(), second: found };
                    let why = format!("sent two different {} messages", message.kind());
                    let evidence = message.signed_statement().map(|_| evidence);
                    self.evict(from, Refusal { why, evidence }, &mut out);
                    return Ok(out);
                }
                None => {
                    self.core.seen.insert((from, message.kind()), found);
                }
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

    /// An upload holds up the rest: one more node may upload beside it. What has
    /// arrived is kept, so that a slow link costs memory and never the work.
    pub fn widen_uploads(&mut self) -> Vec<ServerOutput> {
        let mut out = Vec::new();
        if let Stage::Running(stage) = &mut self.stage {
            stage.widen();
        }
        self.settle(&mut out);
        out
    }

    /// A node is there again in the middle of its upload: tells it where to go on.
    pub fn resume_upload(&mut self, node: NodeIndex) -> Vec<ServerOutput> {
        let Stage::Running(stage) = &self.stage else { return Vec::new() };
        let next = stage.next_chunk(node).filter(|_| self.core.present.contains(node));
        let turn = |first_chunk| UploadTurn { context: self.core.ctx, first_chunk };
        next.map(|next| ServerOutput::Send(node, turn(next).into())).into_iter().collect()
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
            _ => NodeSet::new(self.core.seat.roster.size()),
        }
    }

    /// Whom the running phase really waits for: while uploading only the nodes whose turn
    /// it is, for the others wait themselves.
    #[must_use]
    pub fn holding_up(&self) -> NodeSet {
        match &self.stage {
            Stage::Running(stage) => stage.holding_up(&self.core),
            _ => NodeSet::new(self.core.seat.roster.size()),
        }
    }

    /// Number of the chunk that is due next from a node whose turn it is to upload.
    #[must_use]
    pub fn upload_progress(&self, node: NodeIndex) -> Option<u32> {
        match &self.stage {
            Stage::Running(stage) => stage.next_chunk(node),
            _ => None,
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

    fn evict(&mut self, node: NodeIndex, refusal: impl Into<Refusal>, out: &mut Vec<ServerOutput>) {
        self.core.evict(node, refusal, out);
        if let Stage::Running(stage) = &mut self.stage {
            stage.forget(node);
        }
        self.settle(out);
    }

    /// Goes on as far as the answers allow.
    fn settle(&mut self, out: &mut Vec<ServerOutput>) {
        loop {
            let Stage::Running(stage) = &mut self.stage else { return };
            if let Some(shortfall) = stage.hopeless(&self.core) {
                for (node, why) in stage.verdicts(&self.core) {
                    self.core.evict(node, why, out);
                }
                return self.abort(shortfall, out);
            }
            stage.pump(&self.core, out);
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

/// The phase in which a message is due; `None` for those of the epoch set-up.
fn phase_of(kind: Kind) -> Option<ServerPhase> {
    match kind {
        Kind::RoundCommit => Some(ServerPhase::Committing),
        Kind::Complaint | Kind::Ready => Some(ServerPhase::Training),
        Kind::MaskedChunk | Kind::MaskedDone => Some(ServerPhase::Uploading),
        Kind::SurvivorAck => Some(ServerPhase::Acknowledging),
        Kind::UnmaskShares => Some(ServerPhase::Unmasking),
        Kind::ResultAck => Some(ServerPhase::Certifying),
        _ => None,
    }
}
