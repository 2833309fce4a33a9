//! R6 at the aggregator: collect the states the survivors arrived at, and certify
//! the one that a quorum shares with the aggregator.

use std::collections::BTreeMap;

use super::shared::{Core, Next, Phase, Refusal, Shortfall};
use super::{ServerOutput, ServerPhase};
use crate::digest::Digest;
use crate::ids::{NodeIndex, NodeSet};
use crate::messages::{AbortReason, NodeMessage, ResultAck, ResultQc};

/// Waits for the states of the survivors and of the aggregator itself.
pub(super) struct Certifying {
    survivors: NodeSet,
    manifest: Digest,
    sum_root: Digest,
    acks: BTreeMap<NodeIndex, ResultAck>,
}

impl Certifying {
    pub(super) fn new(survivors: NodeSet, manifest: Digest, sum_root: Digest) -> Self {
        Self { survivors, manifest, sum_root, acks: BTreeMap::new() }
    }
}

impl Phase for Certifying {
    fn phase(&self) -> ServerPhase {
        ServerPhase::Certifying
    }

    fn awaited(&self, core: &Core) -> NodeSet {
        let acked = NodeSet::of(core.seat.roster.size(), self.acks.keys().copied());
        self.survivors.intersection(&core.present).difference(&acked)
    }

    fn hopeless(&self, core: &Core) -> Option<Shortfall> {
        let have = self.acks.len() + self.awaited(core).len();
        Shortfall::check(AbortReason::TooFewAttestations, have, core.seat.roster.thresholds.quorum)
    }

    /// The aggregator's own state must be there to compare with.
    fn may_close(&self, core: &Core) -> bool {
        core.state_hash.is_some()
    }

    fn accept(
        &mut self,
        core: &Core,
        from: NodeIndex,
        message: NodeMessage,
    ) -> Result<(), Refusal> {
        let NodeMessage::ResultAck(ack) = message else {
            return Err("sent something else than its result".into());
        };
        core.signed(from, &ack)?;
        if ack.manifest != self.manifest
            || ack.survivors != self.survivors
            || ack.sum_root != self.sum_root
        {
            return Err("signed another sum or other survivors than those of the round".into());
        }
        self.acks.insert(from, ack);
        Ok(())
    }

    fn close(mut self: Box<Self>, core: &mut Core, out: &mut Vec<ServerOutput>) -> Next {
        let Some(state_hash) = core.state_hash else {
            return Next::Abort(Shortfall::of(AbortReason::NoState));
        };
        let differing: Vec<_> = self
            .acks
            .iter()
            .filter(|(_, ack)| ack.state_hash != state_hash)
            .map(|(node, ack)| (*node, ack.state_hash))
            .collect();
        for (node, other) in differing {
            self.acks.remove(&node);
            core.evict(
                node,
                format!("arrived at state {other}, the aggregator at {state_hash}, from one sum"),
                out,
            );
        }
        let need = core.seat.roster.thresholds.quorum;
        if let Some(short) =
            Shortfall::check(AbortReason::TooFewAttestations, self.acks.len(), need)
        {
            return Next::Abort(short);
        }
        let quorum = ResultQc {
            context: core.ctx,
            manifest_hash: self.manifest,
            sum_root: self.sum_root,
            state_hash,
            survivors: self.survivors.clone(),
            signatures: self
                .acks
                .iter()
                .map(|(node, ack)| (*node, ack.signature))
                .take(usize::from(need))
                .collect(),
        };
        core.send_all(&self.survivors, &quorum.clone().into(), out);
        out.push(ServerOutput::Certified(quorum));
        Next::Certified
    }
}
