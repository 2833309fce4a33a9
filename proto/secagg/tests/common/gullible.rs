//! A node without checks, for tests that show what a check is for. It is written from the
//! documentation and not from the crate: it reads its own stored chains, opens the shares
//! dealt to it, and gives out whatever it is asked for. Beside it stands what an
//! aggregator does with too many answers.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use tributary_secagg::mask::{self, MaskKey, Sign};
use tributary_secagg::messages::{RoundCommit, ShareRelay};
use tributary_secagg::shamir::Interpolation;
use tributary_secagg::{Digest, NodeEpoch, NodeIndex, NodeSet};

use super::MAX_ATTEMPTS;

/// A node that answers every request for a share.
pub struct Gullible {
    me: NodeIndex,
    /// Both shares of every other node.
    held: Vec<(NodeIndex, [u8; 32], [u8; 32])>,
}

impl Gullible {
    /// From the epoch as the node had stored it *before* the attempt, and the relay that
    /// the aggregator sent to it.
    pub fn new(
        me: NodeIndex,
        stored: &NodeEpoch,
        (round, attempt): (u32, u16),
        relay: &ShareRelay,
    ) -> Self {
        assert_eq!(stored.last_spent(), None, "chains at step zero");
        // What is stored ends with the chains, 32 bytes each, in the order of the peers.
        let bytes = stored.to_secret_bytes();
        let peers: Vec<NodeIndex> = stored.reached().iter().collect();
        let chains = bytes[bytes.len() - 32 * peers.len()..].as_chunks::<32>().0;
        let steps = round * u32::from(MAX_ATTEMPTS) + u32::from(attempt);
        let mut held = Vec::new();
        for (peer, chain) in peers.iter().zip(chains) {
            let chain = (0..steps).fold(*chain, |chain, _| expand(&chain, "ratchet", &[]));
            let Some(parcel) = relay.parcels.iter().find(|parcel| parcel.from == *peer) else {
                continue;
            };
            let (from, to) = (peer.0.to_le_bytes(), me.0.to_le_bytes());
            let key = expand(&chain, "share", &[&relay.context.0, &from, &to]);
            let aad = [&relay.context.0[..], &from, &to].concat();
            let (nonce, sealed) = parcel.sealed_shares.split_at(12);
            let mut sealed = sealed.to_vec();
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
            let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
            let plain = key.open_in_place(nonce, Aad::from(aad), &mut sealed).unwrap();
            let (first, second) = plain.split_at(32);
            held.push((*peer, first.try_into().unwrap(), second.try_into().unwrap()));
        }
        Self { me, held }
    }

    /// A share of `owner`'s self seed, whoever `owner` is.
    pub fn self_share(&self, owner: NodeIndex) -> (NodeIndex, [u8; 32]) {
        (self.me, self.pair(owner).1)
    }

    /// A share of `owner`'s escrow key, whoever `owner` is and whatever was asked before.
    pub fn escrow_share(&self, owner: NodeIndex) -> (NodeIndex, [u8; 32]) {
        (self.me, self.pair(owner).2)
    }

    fn pair(&self, owner: NodeIndex) -> &(NodeIndex, [u8; 32], [u8; 32]) {
        self.held.iter().find(|(node, ..)| *node == owner).unwrap()
    }
}

/// What the aggregator takes a node's vector out of its masked one with: enough shares of
/// both its seeds, and what the node committed to.
pub fn open_one(
    ctx: &Digest,
    victim: NodeIndex,
    commit: &RoundCommit,
    granted: &NodeSet,
    of_self: &[(NodeIndex, [u8; 32])],
    of_escrow: &[(NodeIndex, [u8; 32])],
    masked: &[u32],
) -> Vec<u32> {
    let mut x = masked.to_vec();
    let b = opened(of_self);
    take_off(&expand(&b, "self mask", &[&ctx.0]), Sign::Minus, &mut x);
    let z = opened(of_escrow);
    for entry in commit.entries.iter().filter(|entry| granted.contains(entry.parcel.to)) {
        let peer = entry.parcel.to;
        let pad = expand(&z, "seal", &[&ctx.0, &peer.0.to_le_bytes()]);
        let mut edge = entry.sealed_edge;
        edge.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
        // The lower index had added the mask.
        let sign = if victim < peer { Sign::Minus } else { Sign::Plus };
        take_off(&expand(&edge, "mask", &[]), sign, &mut x);
    }
    x
}

fn take_off(key: &[u8; 32], sign: Sign, lanes: &mut [u32]) {
    mask::apply(&MaskKey::copied(key), sign, lanes);
}

/// The seed behind shares; in the complete graph a holder's slot is its index plus one.
fn opened(shares: &[(NodeIndex, [u8; 32])]) -> [u8; 32] {
    let slots: Vec<u8> = shares.iter().map(|(node, _)| node.0 as u8 + 1).collect();
    let shares: Vec<&[u8; 32]> = shares.iter().map(|(_, share)| share).collect();
    *Interpolation::at_zero(&slots).unwrap().secret(&shares).unwrap()
}

/// HKDF-Expand under a length-prefixed label.
fn expand(key: &[u8; 32], label: &str, parts: &[&[u8]]) -> [u8; 32] {
    struct ThirtyTwo;
    impl KeyType for ThirtyTwo {
        fn len(&self) -> usize {
            32
        }
    }
    let mut info = Vec::new();
    for part in [label.as_bytes()].iter().chain(parts) {
        info.extend_from_slice(&(part.len() as u64).to_le_bytes());
        info.extend_from_slice(part);
    }
    let mut out = [0; 32];
    let prk = Prk::new_less_safe(HKDF_SHA256, key);
    prk.expand(&[&info], ThirtyTwo).unwrap().fill(&mut out).unwrap();
    out
}
