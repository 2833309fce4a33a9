//! The key schedule: HKDF-SHA-256 (RFC 5869) with one label per key, and the
//! hashes that commit to keys. Info strings and hash inputs are length-prefixed,
//! so no two derivations can meet. It knows no message and no phase.
//!
//! ```text
//! chain[s+1] = Expand(chain[s], "ratchet")
//! edge_uv    = Expand(chain[s], "edge", ctx)
//! share_uv   = Expand(chain[s], "share", ctx, from, to)
//! ack_uv     = Expand(chain[s], "acknowledgement", ctx)
//! mask_uv    = Expand(edge_uv, "mask")
//! self_u     = Expand(b_u, "self mask", ctx)
//! pad_uv     = Expand(z_u, "seal", ctx, to)
//! ```

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

use crate::digest::{Digest, hash};
use crate::fault::Fault;
use crate::ids::NodeIndex;
use crate::secret::{AckKey, ChainKey, EdgeKey, EscrowSeed, MaskKey, SelfSeed, ShareKey};

/// HKDF-Expand to 32 bytes under a labelled, length-prefixed info string.
pub(crate) fn expand(
    key: &[u8; 32],
    label: &str,
    parts: &[&[u8]],
    out: &mut [u8; 32],
) -> Result<(), Fault> {
    fill(&Prk::new_less_safe(HKDF_SHA256, key), &info(label, parts), out)
}

/// HKDF-Extract with `salt` over `secret`, then [`expand`].
pub(crate) fn extract_and_expand(
    salt: &Digest,
    secret: &[u8],
    label: &str,
    parts: &[&[u8]],
    out: &mut [u8; 32],
) -> Result<(), Fault> {
    fill(&Salt::new(HKDF_SHA256, &salt.0).extract(secret), &info(label, parts), out)
}

impl ChainKey {
    /// The next link; the caller drops (and so wipes) this one.
    pub(crate) fn ratchet(&self) -> Result<Self, Fault> {
        Self::filled(|out| expand(self.expose(), "ratchet", &[], out))
    }

    /// The pair's mask edge under `ctx`.
    pub(crate) fn edge(&self, ctx: &Digest) -> Result<EdgeKey, Fault> {
        EdgeKey::filled(|out| expand(self.expose(), "edge", &[&ctx.0], out))
    }

    /// The key for the shares that `from` deals to `to` under `ctx`.
    pub(crate) fn share_key(
        &self,
        ctx: &Digest,
        from: NodeIndex,
        to: NodeIndex,
    ) -> Result<ShareKey, Fault> {
        let parts: [&[u8]; 3] = [&ctx.0, &from.to_bytes(), &to.to_bytes()];
        ShareKey::filled(|out| expand(self.expose(), "share", &parts, out))
    }

    /// The key of the pair's acknowledgement tags under `ctx`. It does not hang
    /// on the edge, because edges of dropped nodes are opened by the aggregator.
    pub(crate) fn ack_key(&self, ctx: &Digest) -> Result<AckKey, Fault> {
        AckKey::filled(|out| expand(self.expose(), "acknowledgement", &[&ctx.0], out))
    }
}

impl EdgeKey {
    /// Key of the pair's mask stream.
    pub(crate) fn mask_key(&self) -> Result<MaskKey, Fault> {
        MaskKey::filled(|out| expand(self.expose(), "mask", &[], out))
    }

    /// 16 bytes that commit to the edge; both ends publish the same.
    pub(crate) fn tag(&self, ctx: &Digest) -> [u8; 16] {
        truncate(hash("edge tag", &[&ctx.0, self.expose()]).0)
    }
}

impl SelfSeed {
    /// Key of the node's self mask stream.
    pub(crate) fn mask_key(&self, ctx: &Digest) -> Result<MaskKey, Fault> {
        MaskKey::filled(|out| expand(self.expose(), "self mask", &[&ctx.0], out))
    }

    /// `com_b`: commitment of `owner` to the seed.
    pub(crate) fn commitment(&self, ctx: &Digest, owner: NodeIndex) -> Digest {
        hash("self seed", &[&ctx.0, &owner.to_bytes(), self.expose()])
    }
}

impl EscrowSeed {
    /// `com_z`: commitment of `owner` to the escrow key.
    pub(crate) fn commitment(&self, ctx: &Digest, owner: NodeIndex) -> Digest {
        hash("escrow seed", &[&ctx.0, &owner.to_bytes(), self.expose()])
    }

    /// Seals the edge towards `peer`. The pad is used once: `ctx` never repeats.
    pub(crate) fn seal(
        &self,
        ctx: &Digest,
        peer: NodeIndex,
        edge: &EdgeKey,
    ) -> Result<[u8; 32], Fault> {
        let mut sealed = self.pad(ctx, peer)?;
        for (byte, key) in sealed.iter_mut().zip(edge.expose()) {
            *byte ^= key;
        }
        Ok(sealed)
    }

    /// Opens what [`Self::seal`] sealed; whether it is the right edge only its
    /// tag can tell.
    pub(crate) fn open(
        &self,
        ctx: &Digest,
        peer: NodeIndex,
        sealed: &[u8; 32],
    ) -> Result<EdgeKey, Fault> {
        EdgeKey::filled(|out| {
            expand(self.expose(), "seal", &[&ctx.0, &peer.to_bytes()], out)?;
            for (byte, cipher) in out.iter_mut().zip(sealed) {
                *byte ^= cipher;
            }
            Ok(())
        })
    }

    fn pad(&self, ctx: &Digest, peer: NodeIndex) -> Result<[u8; 32], Fault> {
        let mut pad = [0u8; 32];
        expand(self.expose(), "seal", &[&ctx.0, &peer.to_bytes()], &mut pad)?;
        Ok(pad)
    }
}

impl AckKey {
    /// Tag by which `from` assures `to` that it acknowledged `manifest`. The
    /// direction is part of the label, so a tag cannot be sent back.
    pub(crate) fn tag(
        &self,
        from: NodeIndex,
        to: NodeIndex,
        manifest: &Digest,
    ) -> Result<[u8; 16], Fault> {
        let mut out = [0u8; 32];
        let parts: [&[u8]; 3] = [&from.to_bytes(), &to.to_bytes(), &manifest.0];
        expand(self.expose(), "acknowledgement tag", &parts, &mut out)?;
        Ok(truncate(out))
    }
}

/// Comparison whose time does not depend on where two tags differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

struct ThirtyTwo;

impl KeyType for ThirtyTwo {
    fn len(&self) -> usize {
        32
    }
}

fn fill(prk: &Prk, info: &[u8], out: &mut [u8; 32]) -> Result<(), Fault> {
    prk.expand(&[info], ThirtyTwo)
        .and_then(|okm| okm.fill(out))
        .map_err(|_| Fault::Crypto { what: "HKDF-Expand" })
}

fn info(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut info = Vec::with_capacity(128);
    for part in [label.as_bytes()].iter().chain(parts) {
        info.extend_from_slice(&(part.len() as u64).to_le_bytes());
        info.extend_from_slice(part);
    }
    info
}

fn truncate(bytes: [u8; 32]) -> [u8; 16] {
    let mut out = [0u8; 16];
    for (slot, byte) in out.iter_mut().zip(bytes) {
        *slot = byte;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        let mut out = [0u8; N];
        hex::decode_to_slice(text, &mut out).unwrap();
        out
    }

    /// RFC 5869, appendix A.1, truncated to the 32 bytes we always take; checks
    /// that extract and expand are put together in the right order.
    #[test]
    fn rfc5869_case_1() {
        let salt: [u8; 13] = unhex("000102030405060708090a0b0c");
        let info: [u8; 10] = unhex("f0f1f2f3f4f5f6f7f8f9");
        let okm: [u8; 32] =
            unhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
        let mut out = [0u8; 32];
        fill(&Salt::new(HKDF_SHA256, &salt).extract(&[0x0b; 22]), &info, &mut out).unwrap();
        assert_eq!(out, okm);
        let prk: [u8; 32] =
            unhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
        fill(&Prk::new_less_safe(HKDF_SHA256, &prk), &info, &mut out).unwrap();
        assert_eq!(out, okm);
    }

    #[test]
    fn info_is_length_prefixed() {
        let key = [1u8; 32];
        let derive = |label: &str, parts: &[&[u8]]| {
            let mut out = [0u8; 32];
            expand(&key, label, parts, &mut out).unwrap();
            out
        };
        assert_ne!(derive("a", &[b"bc"]), derive("ab", &[b"c"]));
        assert_ne!(derive("a", &[b"b", b"c"]), derive("a", &[b"bc"]));
    }

    #[test]
    fn escrow_opens_to_the_same_edge_and_only_for_its_peer() {
        let (z, edge) = (EscrowSeed::copied(&[3; 32]), EdgeKey::copied(&[9; 32]));
        let ctx = hash("ctx", &[]);
        let sealed = z.seal(&ctx, NodeIndex(4), &edge).unwrap();
        let tag = edge.tag(&ctx);
        assert_eq!(z.open(&ctx, NodeIndex(4), &sealed).unwrap().tag(&ctx), tag);
        assert_ne!(z.open(&ctx, NodeIndex(5), &sealed).unwrap().tag(&ctx), tag);
        let other = EscrowSeed::copied(&[4; 32]);
        assert_ne!(other.open(&ctx, NodeIndex(4), &sealed).unwrap().tag(&ctx), tag);
    }

    #[test]
    fn acknowledgement_tags_have_a_direction() {
        let key = AckKey::copied(&[5; 32]);
        let manifest = hash("m", &[]);
        let tag = |a, b| key.tag(NodeIndex(a), NodeIndex(b), &manifest).unwrap();
        assert_ne!(tag(1, 2), tag(2, 1));
        assert_ne!(tag(1, 2), key.tag(NodeIndex(1), NodeIndex(2), &hash("n", &[])).unwrap());
    }
}
