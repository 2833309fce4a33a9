//! R2 and R3 at a node: take the vector, check the grant (check 5), put the
//! masks on, wait for the turn, and give the masked vector out once the charge is
//! durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::acknowledge::Uploaded;
use super::{Attempt, NodeOutput, State, Step, Upload};
use crate::CHUNK_LANES;
use crate::context::granted_hash;
use crate::dealing::SharePair;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::ids::{NodeIndex, NodeSet};
use crate::lanes::{LaneBits, Lanes};
use crate::mask::{self, Lane, MaskKey, Sign};
use crate::messages::{
    MaskedChunk, MaskedDone, Ready as ReadyMessage, SignedMessage as _, UploadGrant, UploadTurn,
};
use crate::packing::{self, Word};
use crate::secret::{AckKey, EdgeKey, SelfSeed};
use crate::vector::{VectorKind, chunk_hash, root_of};

/// A node that holds its peers' shares and waits for its own vector.
pub(super) struct AwaitingVector {
    /// Committed nodes without those whose shares this node refused.
    pub(super) accepted: NodeSet,
    /// Statement of the relay.
    pub(super) relay: Digest,
    pub(super) self_seed: SelfSeed,
    pub(super) edges: BTreeMap<NodeIndex, EdgeKey>,
    pub(super) held: BTreeMap<NodeIndex, SharePair>,
    pub(super) ack_keys: BTreeMap<NodeIndex, AckKey>,
}

impl AwaitingVector {
    pub(super) fn provide(self, attempt: &Attempt, x: Zeroizing<Lanes>) -> Step {
        let shape = attempt.shape;
        if x.len() != shape.length || !x.fits(shape.bits) {
            return Err(Fault::misuse(format!(
                "the vector is {:?}, the round needs {} lanes of {} bits",
                *x,
                shape.length,
                shape.bits.bits()
            )));
        }
        let ready = ReadyMessage { context: attempt.ctx, relay: self.relay, signature: [0; 64] }
            .signed_by(&attempt.seat.identity);
        Ok((State::Ready(Ready { before: self, x }), vec![Attempt::send(ready)]))
    }
}

/// A node that has said it is ready.
pub(super) struct Ready {
    before: AwaitingVector,
    x: Zeroizing<Lanes>,
}

impl Ready {
    /// `y = x + PRG(self) + sum over peers v in P2 of +-PRG(mask_uv)  mod 2^b`, with
    /// plus towards higher indices. Edges and self seed are wiped here.
    pub(super) fn on_grant(self, attempt: &Attempt, grant: &UploadGrant) -> Step {
        attempt.check_signature(grant)?;
        attempt.check_set("granted nodes", &grant.granted, &self.before.accepted)?;
        let Self { before, mut x } = self;
        let AwaitingVector { self_seed, edges, mut held, mut ack_keys, .. } = before;
        let granted = grant.granted.clone();
        let me = attempt.seat.me;
        let mut masks = vec![(self_seed.mask_key(&attempt.ctx)?, Sign::Plus)];
        drop(self_seed);
        for (peer, edge) in edges {
            if granted.contains(peer) {
                masks.push((edge.mask_key()?, sign_towards(me, peer)));
            }
        }
        held.retain(|node, _| granted.contains(*node));
        ack_keys.retain(|node, _| granted.contains(*node));
        let packed = match &mut *x {
            Lanes::Narrow(words) => mask_and_pack(attempt, &masks, words),
            Lanes::Wide(words) => mask_and_pack(attempt, &masks, words),
        };
        drop(masks);
        let (frames, hashes): (Vec<Bytes>, Vec<Digest>) = packed.into_iter().unzip();
        let root = root_of(VectorKind::Masked, &attempt.ctx, attempt.shape, &hashes);
        let frames = Arc::new(frames);
        Ok((State::Masked(Masked { granted, frames, root, held, ack_keys }), Vec::new()))
    }
}

/// Puts the masks on, and packs every chunk into its frame and hashes it while it is in the cache.
fn mask_and_pack<W: Lane + Word>(
    attempt: &Attempt,
    masks: &[(MaskKey, Sign)],
    words: &mut [W],
) -> Vec<(Bytes, Digest)> {
    let (bits, ctx): (LaneBits, &Digest) = (attempt.shape.bits, &attempt.ctx);
    mask::apply_all_then(masks, words, CHUNK_LANES, attempt.seat.threads, |index, chunk| {
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let head = MaskedChunk::head(ctx, number, bits.packed_bytes(chunk.len()));
        let frame = packing::pack_behind(&head, bits, chunk);
        let packed = frame.get(MaskedChunk::HEAD..).unwrap_or_default();
        let hash = chunk_hash(VectorKind::Masked, ctx, index, packed);
        (frame.into(), hash)
    })
}

/// A node whose masked vector is made; it waits for its turn to upload.
pub(super) struct Masked {
    granted: NodeSet,
    frames: Arc<Vec<Bytes>>,
    root: Digest,
    held: BTreeMap<NodeIndex, SharePair>,
    ack_keys: BTreeMap<NodeIndex, AckKey>,
}

impl Masked {
    pub(super) fn on_turn(self, turn: &UploadTurn) -> Step {
        if turn.first_chunk != 0 {
            return Err(Fault::aggregator(format!(
                "asked for chunk {} of a vector of which it has nothing",
                turn.first_chunk
            )));
        }
        let payload_hash = self.root;
        Ok((State::AwaitingCharge(self), vec![NodeOutput::ChargeNeeded { payload_hash }]))
    }

    /// The charge is durable: the vector may leave.
    pub(super) fn release(self, attempt: &Attempt) -> Step {
        let Self { granted, frames, root, held, ack_keys } = self;
        let granted_hash = granted_hash(&attempt.ctx, &granted);
        let done = MaskedDone { context: attempt.ctx, granted_hash, root, signature: [0; 64] }
            .signed_by(&attempt.seat.identity);
        let upload = Upload::new(attempt.ctx, frames, done);
        let outputs = vec![NodeOutput::Upload(upload.clone())];
        let next = Uploaded { granted, granted_hash, root, upload, turns: 1, held, ack_keys };
        Ok((State::Uploaded(next), outputs))
    }
}

/// Which way the mask of an edge goes at `node`: the lower index adds, the
/// higher subtracts, so that it cancels in the sum.
pub(crate) fn sign_towards(node: NodeIndex, peer: NodeIndex) -> Sign {
    if node < peer { Sign::Plus } else { Sign::Minus }
}
