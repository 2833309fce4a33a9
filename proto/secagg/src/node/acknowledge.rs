//! R4 at a node (check 7): accept one survivor manifest, sign it, and tag it for
//! every other survivor. At most one manifest is ever signed per context, since
//! the machine leaves this phase with the signature.

use std::collections::BTreeMap;

use super::reveal::Acknowledged;
use super::{Attempt, NodeOutput, State, Step, Upload};
use crate::dealing::SharePair;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::ids::{NodeIndex, NodeSet};
use crate::messages::{SignedMessage as _, SurvivorAck, SurvivorManifest, UploadTurn};
use crate::secret::AckKey;

/// Times an upload may be asked for: a few broken connections, not a leak of bandwidth.
const MAX_TURNS: u8 = 16;

/// A node whose masked vector has left.
pub(super) struct Uploaded {
    pub(super) granted: NodeSet,
    pub(super) granted_hash: Digest,
    pub(super) root: Digest,
    pub(super) upload: Upload,
    /// Times the upload was asked for.
    pub(super) turns: u8,
    pub(super) held: BTreeMap<NodeIndex, SharePair>,
    pub(super) ack_keys: BTreeMap<NodeIndex, AckKey>,
}

impl Uploaded {
    /// The same bytes again, from where the aggregator's copy ends.
    pub(super) fn on_turn(self, turn: &UploadTurn) -> Step {
        if turn.first_chunk > self.upload.chunks() {
            return Err(Fault::aggregator(format!(
                "asked for chunk {} of {}",
                turn.first_chunk,
                self.upload.chunks()
            )));
        }
        let again = self.upload.again_at(turn.first_chunk);
        let turns = self.turns + 1;
        if turns > MAX_TURNS {
            return Err(Fault::aggregator(format!("asked for the upload {turns} times")));
        }
        Ok((State::Uploaded(Self { turns, ..self }), vec![NodeOutput::Upload(again)]))
    }

    pub(super) fn on_manifest(self, attempt: &Attempt, manifest: SurvivorManifest) -> Step {
        attempt.check_signature(&manifest)?;
        if manifest.granted_hash != self.granted_hash {
            return Err(Fault::aggregator(
                "granted other nodes another set than this node: the manifest rests on a different P2",
            ));
        }
        attempt.check_set("survivors", &manifest.survivors, &self.granted)?;
        if manifest.roots.len() != manifest.survivors.len() {
            return Err(Fault::aggregator("listed other roots than those of the survivors"));
        }
        let own = manifest.survivors.iter().position(|node| node == attempt.seat.me);
        if own.and_then(|own| manifest.roots.get(own)) != Some(&self.root) {
            return Err(Fault::aggregator("listed another root for this node's own vector"));
        }
        let digest = manifest.digest();
        let mut tags = Vec::with_capacity(manifest.survivors.len());
        for peer in attempt.peers_in(&manifest.survivors).iter() {
            let key = self
                .ack_keys
                .get(&peer)
                .ok_or_else(|| Fault::misuse(format!("there is no tag key towards node {peer}")))?;
            tags.push((peer, key.tag(attempt.seat.me, peer, &digest)?));
        }
        let ack = SurvivorAck { context: attempt.ctx, manifest: digest, signature: [0; 64], tags }
            .signed_by(&attempt.seat.identity);
        let Self { granted, held, ack_keys, .. } = self;
        let survivors = manifest.survivors;
        let next = Acknowledged { granted, survivors, manifest: digest, held, ack_keys };
        Ok((State::Acknowledged(next), vec![Attempt::send(ack)]))
    }
}
