//! R2 and R3 at a node: commit to the vector, check the grant (check 5), put the
//! masks on, and give the masked vector out once the charge is durable.

use std::collections::BTreeMap;
use std::mem;

use zeroize::Zeroizing;

use super::acknowledge::Uploaded;
use super::{Attempt, NodeOutput, State, Step};
use crate::CHUNK_LANES;
use crate::context::granted_hash;
use crate::dealing::SharePair;
use crate::digest::{Digest, Hasher};
use crate::fault::Fault;
use crate::ids::{NodeIndex, NodeSet};
use crate::mask::{self, Sign};
use crate::messages::{
    MaskedChunk, MaskedDone, Ready as ReadyMessage, SignedMessage as _, UploadGrant,
};
use crate::secret::{AckKey, EdgeKey, SelfSeed};
use crate::vector::{VectorKind, vector_root};

/// A node that holds everybody's shares and waits for its own vector.
pub(super) struct AwaitingVector {
    pub(super) committed: NodeSet,
    pub(super) self_seed: SelfSeed,
    pub(super) edges: BTreeMap<NodeIndex, EdgeKey>,
    pub(super) held: BTreeMap<NodeIndex, SharePair>,
    pub(super) ack_keys: BTreeMap<NodeIndex, AckKey>,
}

impl AwaitingVector {
    pub(super) fn provide(
        self,
        attempt: &Attempt,
        x: Zeroizing<Vec<u32>>,
        opening: &[u8; 32],
    ) -> Step {
        if x.len() != attempt.vector_len {
            return Err(Fault::misuse(format!(
                "the vector has {} lanes, the round needs {}",
                x.len(),
                attempt.vector_len
            )));
        }
        let mut commitment = Hasher::new("x");
        commitment.part(&attempt.ctx.0);
        commitment.part(opening);
        commitment.lanes(&x);
        let ready = ReadyMessage {
            context: attempt.ctx,
            vector_commitment: commitment.finish(),
            signature: [0; 64],
        }
        .signed_by(&attempt.identity);
        Ok((State::Ready(Ready { before: self, x }), vec![Attempt::send(ready)]))
    }
}

/// A node that has said it is ready.
pub(super) struct Ready {
    before: AwaitingVector,
    x: Zeroizing<Vec<u32>>,
}

impl Ready {
    /// `y = x + PRG(self) + sum over v in P2 of +-PRG(mask_uv)  mod 2^32`, with
    /// plus towards higher indices. Edges and self seed are wiped here.
    pub(super) fn on_grant(self, attempt: &Attempt, grant: &UploadGrant) -> Step {
        attempt.check_signature(grant)?;
        attempt.check_set("granted nodes", &grant.granted, &self.before.committed)?;
        let Self { before, mut x } = self;
        let AwaitingVector { self_seed, edges, mut held, mut ack_keys, .. } = before;
        mask::apply(&self_seed.mask_key(&attempt.ctx)?, Sign::Plus, &mut x);
        for peer in grant.granted.iter().filter(|peer| *peer != attempt.me) {
            let edge = edges.get(&peer).ok_or_else(|| {
                Fault::misuse(format!("there is no edge key towards node {peer}"))
            })?;
            mask::apply(&edge.mask_key()?, sign_towards(attempt.me, peer), &mut x);
        }
        held.retain(|peer, _| grant.granted.contains(*peer));
        ack_keys.retain(|peer, _| grant.granted.contains(*peer));
        let masked = mem::take(&mut *x);
        let root = vector_root(VectorKind::Masked, &attempt.ctx, &masked);
        let granted = grant.granted.clone();
        let next = AwaitingCharge { granted, masked, root, held, ack_keys };
        let outputs = vec![NodeOutput::ChargeNeeded { payload_hash: root }];
        Ok((State::AwaitingCharge(next), outputs))
    }
}

/// A node whose masked vector is made and not yet paid for.
pub(super) struct AwaitingCharge {
    granted: NodeSet,
    masked: Vec<u32>,
    root: Digest,
    held: BTreeMap<NodeIndex, SharePair>,
    ack_keys: BTreeMap<NodeIndex, AckKey>,
}

impl AwaitingCharge {
    pub(super) fn release(self, attempt: &Attempt) -> Step {
        let Self { granted, masked, root, held, ack_keys } = self;
        let mut outputs = Vec::with_capacity(masked.len().div_ceil(CHUNK_LANES) + 1);
        for (index, lanes) in (0u32..).zip(masked.chunks(CHUNK_LANES)) {
            let chunk = MaskedChunk { context: attempt.ctx, index, lanes: lanes.to_vec() };
            outputs.push(Attempt::send(chunk));
        }
        let granted_hash = granted_hash(&attempt.ctx, &granted);
        let done = MaskedDone { context: attempt.ctx, granted_hash, root, signature: [0; 64] }
            .signed_by(&attempt.identity);
        outputs.push(Attempt::send(done));
        Ok((State::Uploaded(Uploaded { granted, granted_hash, root, held, ack_keys }), outputs))
    }
}

/// Which way the mask of an edge goes at `node`: the lower index adds, the
/// higher subtracts, so that it cancels in the sum.
pub(crate) fn sign_towards(node: NodeIndex, peer: NodeIndex) -> Sign {
    if node < peer { Sign::Plus } else { Sign::Minus }
}
