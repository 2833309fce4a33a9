//! R4 at the aggregator: fix the survivors in a signed manifest and collect a
//! quorum of signatures on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::commit::Relays;
use super::shared::{Core, Next, Phase, Refusal, Shortfall};
use super::unmask::Unmasking;
use super::{ServerOutput, ServerPhase};
use crate::digest::Digest;
use crate::ids::{NodeIndex, NodeSet};
use crate::lanes::Lanes;
use crate::messages::{
    AbortReason, NodeMessage, SignedMessage as _, SurvivorAck, SurvivorManifest, SurvivorQc,
};

/// The sum of the survivors' masked vectors and what is needed to open it.
pub(super) struct MaskedSum {
    pub(super) relays: Arc<Relays>,
    pub(super) granted: NodeSet,
    pub(super) survivors: NodeSet,
    pub(super) sum: Lanes,
}

/// Waits for the signatures on the manifest.
pub(super) struct Acknowledging {
    masked: MaskedSum,
    manifest: Digest,
    acks: BTreeMap<NodeIndex, SurvivorAck>,
}

impl Acknowledging {
    pub(super) fn new(
        core: &Core,
        masked: MaskedSum,
        granted_hash: Digest,
        roots: Vec<Digest>,
        out: &mut Vec<ServerOutput>,
    ) -> Self {
        let manifest = SurvivorManifest {
            context: core.ctx,
            granted_hash,
            survivors: masked.survivors.clone(),
            roots,
            signature: [0; 64],
        }
        .signed_by(&core.seat.identity);
        let digest = manifest.digest();
        core.send_all(&masked.survivors, &manifest.into(), out);
        Self { masked, manifest: digest, acks: BTreeMap::new() }
    }
}

impl Phase for Acknowledging {
    fn phase(&self) -> ServerPhase {
        ServerPhase::Acknowledging
    }

    fn awaited(&self, core: &Core) -> NodeSet {
        let acked = NodeSet::of(core.seat.roster.size(), self.acks.keys().copied());
        self.masked.survivors.intersection(&core.present).difference(&acked)
    }

    fn hopeless(&self, core: &Core) -> Option<Shortfall> {
        let have = self.acks.len() + self.awaited(core).len();
        Shortfall::check(AbortReason::TooFewAcks, have, core.seat.roster.thresholds.quorum)
    }

    fn accept(
        &mut self,
        core: &Core,
        from: NodeIndex,
        message: NodeMessage,
    ) -> Result<(), Refusal> {
        let NodeMessage::SurvivorAck(ack) = message else {
            return Err("sent something else than an acknowledgement".into());
        };
        if ack.manifest != self.manifest {
            return Err("acknowledged another manifest".into());
        }
        core.signed(from, &ack)?;
        let peers = core.graph.peers(from).intersection(&self.masked.survivors);
        if !ack.tags.iter().map(|(node, _)| *node).eq(peers.iter()) {
            return Err("tagged its acknowledgement for other nodes than the survivors".into());
        }
        self.acks.insert(from, ack);
        Ok(())
    }

    fn close(self: Box<Self>, core: &mut Core, out: &mut Vec<ServerOutput>) -> Next {
        let need = core.seat.roster.thresholds.quorum;
        if let Some(short) = Shortfall::check(AbortReason::TooFewAcks, self.acks.len(), need) {
            return Next::Abort(short);
        }
        let signatures: Vec<_> =
            self.acks.iter().map(|(node, ack)| (*node, ack.signature)).collect();
        for node in self.masked.survivors.intersection(&core.present).iter() {
            let tag_for_node = |(signer, ack): (&NodeIndex, &SurvivorAck)| {
                let position = ack.tags.binary_search_by_key(&node, |(to, _)| *to).ok()?;
                ack.tags.get(position).map(|(_, tag)| (*signer, *tag))
            };
            let quorum = SurvivorQc {
                context: core.ctx,
                manifest: self.manifest,
                signatures: signatures.clone(),
                tags: self.acks.iter().filter_map(tag_for_node).collect(),
            };
            out.push(ServerOutput::Send(node, quorum.into()));
        }
        Next::Go(Box::new(Unmasking::new(self.masked, self.manifest)))
    }
}
