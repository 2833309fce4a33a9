//! R3 at the aggregator: take masked vectors chunk by chunk. Every unfinished
//! upload is kept apart; a finished one is added into the one accumulator and
//! freed, so memory grows with uploads in flight and not with the cohort.

use std::collections::BTreeMap;

use super::commit::Commits;
use super::shared::{Core, Next, Phase, Refusal, Shortfall};
use super::survivors::Acknowledging;
use super::{ServerOutput, ServerPhase};
use crate::context::granted_hash;
use crate::digest::Digest;
use crate::ids::{NodeIndex, NodeSet};
use crate::messages::{AbortReason, MaskedChunk, MaskedDone, NodeMessage};
use crate::vector::{Assembler, VectorKind};

/// Receives the masked vectors of the granted nodes.
pub(super) struct Uploading {
    commits: Commits,
    granted: NodeSet,
    granted_hash: Digest,
    partial: BTreeMap<NodeIndex, Assembler>,
    roots: BTreeMap<NodeIndex, Digest>,
    sum: Vec<u32>,
}

impl Uploading {
    pub(super) fn new(core: &Core, mut commits: Commits, granted: NodeSet) -> Self {
        commits.retain(|node, _| granted.contains(*node));
        Self {
            commits,
            granted_hash: granted_hash(&core.ctx, &granted),
            granted,
            partial: BTreeMap::new(),
            roots: BTreeMap::new(),
            sum: Vec::new(),
        }
    }

    fn on_chunk(
        &mut self,
        core: &Core,
        from: NodeIndex,
        chunk: &MaskedChunk,
    ) -> Result<(), Refusal> {
        if self.roots.contains_key(&from) {
            return Err("sent a chunk after it had ended its vector".into());
        }
        let new = || Assembler::new(VectorKind::Masked, core.ctx, core.vector_len);
        let assembler = self.partial.entry(from).or_insert_with(new);
        assembler.accept(chunk.index, &chunk.lanes)
    }

    fn on_done(&mut self, core: &Core, from: NodeIndex, done: &MaskedDone) -> Result<(), Refusal> {
        core.signed(from, done)?;
        if done.granted_hash != self.granted_hash {
            return Err("masked against another set than the granted one".into());
        }
        let Some(assembler) = self.partial.remove(&from) else {
            return Err("ended a vector it had not begun".into());
        };
        let (lanes, root) = assembler.finish()?;
        if root != done.root {
            return Err("signed another root than that of the vector it sent".into());
        }
        if self.sum.is_empty() {
            self.sum = lanes;
        } else {
            for (sum, lane) in self.sum.iter_mut().zip(lanes) {
                *sum = sum.wrapping_add(lane);
            }
        }
        self.roots.insert(from, root);
        Ok(())
    }
}

impl Phase for Uploading {
    fn phase(&self) -> ServerPhase {
        ServerPhase::Uploading
    }

    fn awaited(&self, core: &Core) -> NodeSet {
        let finished = NodeSet::of(core.roster.size(), self.roots.keys().copied());
        self.granted.intersection(&core.present).difference(&finished)
    }

    fn hopeless(&self, core: &Core) -> Option<Shortfall> {
        let have = self.roots.len() + self.awaited(core).len();
        Shortfall::check(AbortReason::TooFewUploads, have, core.roster.thresholds.u_min)
    }

    fn accept(
        &mut self,
        core: &Core,
        from: NodeIndex,
        message: NodeMessage,
    ) -> Result<(), Refusal> {
        match message {
            NodeMessage::MaskedChunk(chunk) => self.on_chunk(core, from, &chunk),
            NodeMessage::MaskedDone(done) => self.on_done(core, from, &done),
            _ => Err("sent something else than its masked vector".into()),
        }
    }

    fn forget(&mut self, node: NodeIndex) {
        self.partial.remove(&node);
    }

    /// A vector that arrived whole stays in the sum even if its owner is gone by
    /// now: the others can open its self mask.
    fn close(self: Box<Self>, core: &mut Core, out: &mut Vec<ServerOutput>) -> Next {
        let need = core.roster.thresholds.u_min;
        if let Some(short) = Shortfall::check(AbortReason::TooFewUploads, self.roots.len(), need) {
            return Next::Abort(short);
        }
        let Self { commits, granted, granted_hash, roots, sum, .. } = *self;
        let survivors = NodeSet::of(core.roster.size(), roots.keys().copied());
        core.leave_out(&core.cohort.difference(&survivors), out);
        core.survivors = Some(survivors.clone());
        let masked = super::survivors::MaskedSum { commits, granted, survivors, sum };
        let roots = roots.into_values().collect();
        Next::Go(Box::new(Acknowledging::new(core, masked, granted_hash, roots, out)))
    }
}
