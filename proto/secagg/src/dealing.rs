//! Dealing one node's two seeds to the cohort: Shamir shares of both kinds, their
//! hashes, and the sealed parcel for each holder. It knows the key schedule and
//! the secret sharing, not the phases.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rand_core::RngCore;
use zeroize::{Zeroize as _, Zeroizing};

use crate::digest::{Digest, hash};
use crate::fault::Fault;
use crate::graph::Graph;
use crate::ids::{NodeIndex, NodeSet};
use crate::messages::SEALED_SHARES;
use crate::secret::{EscrowSeed, EscrowShare, SelfSeed, SelfShare, ShareKey};
use crate::shamir;

/// Bytes of the nonce in front of a sealed pair.
const NONCE: usize = 12;

/// The two shares one holder has of one dealer.
pub(crate) struct SharePair {
    pub(crate) of_self: SelfShare,
    pub(crate) of_escrow: EscrowShare,
}

impl SharePair {
    /// Hash of the share of the self seed, as its dealer publishes it.
    pub(crate) fn self_hash(&self, ctx: &Digest, from: NodeIndex, to: NodeIndex) -> Digest {
        self_share_hash(ctx, from, to, self.of_self.expose())
    }

    /// Hash of the share of the escrow key, as its dealer publishes it.
    pub(crate) fn escrow_hash(&self, ctx: &Digest, from: NodeIndex, to: NodeIndex) -> Digest {
        escrow_share_hash(ctx, from, to, self.of_escrow.expose())
    }

    /// Seals the pair for its holder: AES-256-GCM with context, dealer and holder
    /// as associated data.
    ///
    /// The key is meant for one message. A node whose disk was set back would use
    /// it again for other shares, so the nonce is random all the same: two sealed
    /// parcels then say nothing about each other.
    pub(crate) fn seal(
        &self,
        key: &ShareKey,
        ctx: &Digest,
        from: NodeIndex,
        to: NodeIndex,
        rng: &mut dyn RngCore,
    ) -> Result<[u8; SEALED_SHARES], Fault> {
        let mut out = [0u8; SEALED_SHARES];
        let (nonce, sealed) = out.split_at_mut(NONCE);
        rng.fill_bytes(nonce);
        let nonce = read_nonce(nonce)?;
        let (body, tag) = sealed.split_at_mut(64);
        let (first, second) = body.split_at_mut(32);
        first.copy_from_slice(self.of_self.expose());
        second.copy_from_slice(self.of_escrow.expose());
        let aad = Aad::from(associated(ctx, from, to));
        let sealed = aead(key).and_then(|key| {
            key.seal_in_place_separate_tag(nonce, aad, body)
                .map_err(|_| Fault::Crypto { what: "sealing shares" })
        });
        match sealed {
            Ok(found) => tag.copy_from_slice(found.as_ref()),
            Err(fault) => {
                out.zeroize();
                return Err(fault);
            }
        }
        Ok(out)
    }

    /// Opens what [`Self::seal`] sealed; `None` if it was not sealed under this
    /// key for this context, dealer and holder.
    pub(crate) fn open(
        key: &ShareKey,
        ctx: &Digest,
        from: NodeIndex,
        to: NodeIndex,
        sealed: &[u8; SEALED_SHARES],
    ) -> Result<Option<Self>, Fault> {
        let mut buffer = Zeroizing::new(*sealed);
        let aad = Aad::from(associated(ctx, from, to));
        let (nonce, sealed) = buffer.split_at_mut(NONCE);
        let Ok(plain) = aead(key)?.open_in_place(read_nonce(nonce)?, aad, sealed) else {
            return Ok(None);
        };
        let Some((first, rest)) = plain.split_first_chunk::<32>() else { return Ok(None) };
        let Some((second, [])) = rest.split_first_chunk::<32>() else { return Ok(None) };
        let (of_self, of_escrow) = (SelfShare::copied(first), EscrowShare::copied(second));
        Ok(Some(Self { of_self, of_escrow }))
    }
}

/// Deals both seeds to the holders, each in its slot. In the complete graph the
/// dealer is one of them.
pub(crate) fn deal(
    self_seed: &SelfSeed,
    escrow_seed: &EscrowSeed,
    threshold: u16,
    holders: &[(NodeIndex, u8)],
    rng: &mut dyn RngCore,
) -> Result<Vec<(NodeIndex, SharePair)>, Fault> {
    let slots: Vec<u8> = holders.iter().map(|(_, slot)| *slot).collect();
    let refused = |error: shamir::ShamirError| Fault::misuse(error.to_string());
    let threshold = usize::from(threshold);
    let of_self = shamir::deal(self_seed.expose(), threshold, &slots, rng).map_err(refused)?;
    let of_escrow = shamir::deal(escrow_seed.expose(), threshold, &slots, rng).map_err(refused)?;
    let pairs = of_self.iter().zip(&of_escrow).map(|(of_self, of_escrow)| SharePair {
        of_self: SelfShare::copied(of_self),
        of_escrow: EscrowShare::copied(of_escrow),
    });
    Ok(holders.iter().map(|(holder, _)| *holder).zip(pairs).collect())
}

/// The holders of `dealer`'s shares within `cohort`, ascending, with their slots:
/// both follow from the graph and are never sent.
pub(crate) fn holders(graph: &Graph, dealer: NodeIndex, cohort: &NodeSet) -> Vec<(NodeIndex, u8)> {
    let holders = graph.holders(dealer).intersection(cohort);
    holders.iter().filter_map(|holder| Some((holder, graph.slot(dealer, holder)?))).collect()
}

/// Hash by which a share of a self seed is recognised when it is revealed.
pub(crate) fn self_share_hash(
    ctx: &Digest,
    from: NodeIndex,
    to: NodeIndex,
    share: &[u8; 32],
) -> Digest {
    hash("self share", &[&ctx.0, &from.to_bytes(), &to.to_bytes(), share])
}

/// Hash by which a share of an escrow key is recognised when it is revealed.
pub(crate) fn escrow_share_hash(
    ctx: &Digest,
    from: NodeIndex,
    to: NodeIndex,
    share: &[u8; 32],
) -> Digest {
    hash("escrow share", &[&ctx.0, &from.to_bytes(), &to.to_bytes(), share])
}

fn aead(key: &ShareKey) -> Result<LessSafeKey, Fault> {
    UnboundKey::new(&AES_256_GCM, key.expose())
        .map(LessSafeKey::new)
        .map_err(|_| Fault::Crypto { what: "AES-256-GCM key" })
}

fn read_nonce(bytes: &[u8]) -> Result<Nonce, Fault> {
    Nonce::try_assume_unique_for_key(bytes).map_err(|_| Fault::Crypto { what: "AES-256-GCM nonce" })
}

fn associated(ctx: &Digest, from: NodeIndex, to: NodeIndex) -> [u8; 36] {
    let mut out = [0u8; 36];
    let bytes = ctx.0.into_iter().chain(from.to_bytes()).chain(to.to_bytes());
    for (slot, byte) in out.iter_mut().zip(bytes) {
        *slot = byte;
    }
    out
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn sealed_pairs_open_only_for_their_holder_dealer_and_context() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let (b, z) = (SelfSeed::random(&mut rng), EscrowSeed::random(&mut rng));
        let holders = [0, 1, 2, 3].map(|node| (NodeIndex(node), node as u8 + 1));
        let dealt = deal(&b, &z, 3, &holders, &mut rng).unwrap();
        assert_eq!(dealt.len(), 4);
        let (ctx, other) = (hash("c", &[]), hash("d", &[]));
        let key = ShareKey::copied(&[8; 32]);
        let (from, to) = (NodeIndex(0), NodeIndex(2));
        let sealed = dealt[2].1.seal(&key, &ctx, from, to, &mut rng).unwrap();
        let open = |key: &ShareKey, ctx, from, to, sealed: &[u8; SEALED_SHARES]| {
            SharePair::open(key, ctx, from, to, sealed).unwrap()
        };
        let opened = open(&key, &ctx, from, to, &sealed).unwrap();
        assert_eq!(opened.of_self.expose(), dealt[2].1.of_self.expose());
        assert_eq!(opened.of_escrow.expose(), dealt[2].1.of_escrow.expose());
        assert!(open(&key, &other, from, to, &sealed).is_none());
        assert!(open(&key, &ctx, to, from, &sealed).is_none());
        assert!(open(&ShareKey::copied(&[9; 32]), &ctx, from, to, &sealed).is_none());
        for at in [0, 40, 91] {
            let mut altered = sealed;
            altered[at] ^= 1;
            assert!(open(&key, &ctx, from, to, &altered).is_none());
        }
        // A disk that was set back seals other shares under the same key: the two
        // ciphertexts must not cancel to the difference of the shares.
        let again = dealt[1].1.seal(&key, &ctx, from, to, &mut rng).unwrap();
        let (first, second) = (dealt[2].1.of_self.expose(), dealt[1].1.of_self.expose());
        let leaked = (0..32).all(|i| sealed[NONCE + i] ^ again[NONCE + i] == first[i] ^ second[i]);
        assert!(!leaked);
        let mut altered = sealed;
        altered[40] ^= 1;
        assert!(open(&key, &ctx, from, to, &altered).is_none());
    }

    #[test]
    fn hashes_tell_kind_dealer_and_holder_apart() {
        let (ctx, share) = (Digest::ZERO, [1u8; 32]);
        let (a, b) = (NodeIndex(1), NodeIndex(2));
        let found = self_share_hash(&ctx, a, b, &share);
        assert_ne!(found, self_share_hash(&ctx, b, a, &share));
        assert_ne!(found, escrow_share_hash(&ctx, a, b, &share));
    }
}
