//! R3 at the aggregator: take masked vectors chunk by chunk, a few nodes at a time.
//! A node that drops out must not leave half a vector in the sum, so every unfinished
//! upload is kept apart; a finished one is added into the one accumulator and freed,
//! and the next node gets its turn. So memory grows with the vector and the number of
//! turns, and not with the cohort.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::commit::Relays;
use super::shared::{Core, Next, Phase, Refusal, Shortfall};
use super::survivors::Acknowledging;
use super::{ServerOutput, ServerPhase};
use crate::context::granted_hash;
use crate::digest::Digest;
use crate::ids::{NodeIndex, NodeSet};
use crate::lanes::Lanes;
use crate::messages::{AbortReason, MaskedChunk, MaskedDone, NodeMessage, UploadTurn};
use crate::vector::{Assembler, VectorKind};

/// Receives the masked vectors of the granted nodes.
pub(super) struct Uploading {
    relays: Arc<Relays>,
    granted: NodeSet,
    granted_hash: Digest,
    /// Who has not had a turn yet.
    waiting: VecDeque<NodeIndex>,
    /// Whose turn it is, and what has arrived.
    partial: BTreeMap<NodeIndex, Assembler<Vec<Vec<u8>>>>,
    /// Turns beside those of the seat, for uploads that hold up the rest.
    extra_turns: usize,
    roots: BTreeMap<NodeIndex, Digest>,
    sum: Lanes,
}

impl Uploading {
    pub(super) fn new(core: &Core, relays: Arc<Relays>, granted: NodeSet) -> Self {
        Self {
            relays,
            granted_hash: granted_hash(&core.ctx, &granted),
            waiting: granted.iter().collect(),
            granted,
            partial: BTreeMap::new(),
            extra_turns: 0,
            roots: BTreeMap::new(),
            sum: Lanes::zeros(core.shape.bits, 0),
        }
    }

    fn on_chunk(&mut self, from: NodeIndex, chunk: MaskedChunk) -> Result<(), Refusal> {
        // Its vector is in the sum; a repetition adds nothing.
        if self.roots.contains_key(&from) {
            return Ok(());
        }
        let Some(assembler) = self.partial.get_mut(&from) else {
            return Err("sent a chunk before it was its turn".into());
        };
        Ok(assembler.accept(chunk.index, chunk.data)?)
    }

    fn on_done(&mut self, core: &Core, from: NodeIndex, done: &MaskedDone) -> Result<(), Refusal> {
        core.signed(from, done)?;
        if done.granted_hash != self.granted_hash {
            return Err("masked against another set than the granted one".into());
        }
        let Some(assembler) = self.partial.remove(&from) else {
            return Err("ended a vector before it was its turn".into());
        };
        let (vector, root) = assembler.finish()?;
        if root != done.root {
            return Err("signed another root than that of the vector it sent".into());
        }
        if self.sum.is_empty() {
            self.sum = Lanes::zeros(core.shape.bits, core.shape.length);
        }
        vector.add_to(&mut self.sum, core.seat.threads);
        self.roots.insert(from, root);
        Ok(())
    }
}

impl Phase for Uploading {
    fn phase(&self) -> ServerPhase {
        ServerPhase::Uploading
    }

    fn awaited(&self, core: &Core) -> NodeSet {
        let finished = NodeSet::of(core.seat.roster.size(), self.roots.keys().copied());
        self.granted.intersection(&core.present).difference(&finished)
    }

    fn hopeless(&self, core: &Core) -> Option<Shortfall> {
        let have = self.roots.len() + self.awaited(core).len();
        Shortfall::check(AbortReason::TooFewUploads, have, core.seat.roster.thresholds.u_min)
    }

    fn accept(
        &mut self,
        core: &Core,
        from: NodeIndex,
        message: NodeMessage,
    ) -> Result<(), Refusal> {
        match message {
            NodeMessage::MaskedChunk(chunk) => self.on_chunk(from, chunk),
            NodeMessage::MaskedDone(done) => self.on_done(core, from, &done),
            _ => Err("sent something else than its masked vector".into()),
        }
    }

    fn forget(&mut self, node: NodeIndex) {
        self.partial.remove(&node);
        self.waiting.retain(|waiting| *waiting != node);
    }

    fn pump(&mut self, core: &Core, out: &mut Vec<ServerOutput>) {
        while self.partial.len() < core.seat.uploads.get() + self.extra_turns {
            let Some(node) = self.waiting.pop_front() else { return };
            let assembler = Assembler::keeping(VectorKind::Masked, core.ctx, core.shape);
            self.partial.insert(node, assembler);
            let turn = UploadTurn { context: core.ctx, first_chunk: 0 };
            out.push(ServerOutput::Send(node, turn.into()));
        }
    }

    fn holding_up(&self, core: &Core) -> NodeSet {
        let turns = NodeSet::of(core.seat.roster.size(), self.partial.keys().copied());
        turns.intersection(&core.present)
    }

    fn widen(&mut self) {
        self.extra_turns += 1;
    }

    fn next_chunk(&self, node: NodeIndex) -> Option<u32> {
        self.partial.get(&node).map(Assembler::next_chunk)
    }

    /// A vector that arrived whole stays in the sum even if its owner is gone by
    /// now: the others can open its self mask.
    fn close(self: Box<Self>, core: &mut Core, out: &mut Vec<ServerOutput>) -> Next {
        let need = core.seat.roster.thresholds.u_min;
        if let Some(short) = Shortfall::check(AbortReason::TooFewUploads, self.roots.len(), need) {
            return Next::Abort(short);
        }
        let Self { relays, granted, granted_hash, roots, sum, .. } = *self;
        let survivors = NodeSet::of(core.seat.roster.size(), roots.keys().copied());
        // Their vectors are in the sum: a survivor whose seed too few hold cannot be left out.
        let need = core.seat.roster.thresholds.shamir_t;
        let worst = core.graph.fewest_holders(&survivors);
        if let Some(short) = Shortfall::check(AbortReason::TooFewShares, worst, need) {
            return Next::Abort(short);
        }
        core.leave_out(&core.cohort.difference(&survivors), out);
        core.survivors = Some(survivors.clone());
        let masked = super::survivors::MaskedSum { relays, granted, survivors, sum };
        let roots = roots.into_values().collect();
        Next::Go(Box::new(Acknowledging::new(core, masked, granted_hash, roots, out)))
    }
}
