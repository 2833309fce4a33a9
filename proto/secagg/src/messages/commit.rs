//! Start of an attempt, the commitments to it, and the relay of the shares.

use super::Wire;
use super::statement::{Kind, signed_message};
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::context::RoundView;
use crate::digest::Digest;
use crate::identity::Signature;
use crate::ids::{NodeIndex, NodeSet};
use crate::lanes::LaneBits;

/// Bytes of the sealed pair of shares: two shares and an AES-256-GCM tag.
pub(crate) const SEALED_SHARES: usize = 12 + 32 + 32 + 16;

/// The aggregator opens an attempt of a round and says what it believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundStart {
    /// The context as the aggregator computes it.
    pub context: Digest,
    /// Number of the epoch whose keys are used.
    pub epoch: u32,
    /// What the aggregator believes about the attempt.
    pub view: RoundView,
    /// P, the nodes invited.
    pub cohort: NodeSet,
    /// Signature of the aggregator.
    pub signature: Signature,
}

impl RoundStart {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.u32(self.epoch);
        writer.u32(self.view.round);
        writer.u16(self.view.attempt);
        writer.u8(self.view.operation);
        writer.u32(self.view.vector_len);
        writer.u8(self.view.lane_bits.bits());
        writer.digest(&self.view.state_hash);
        writer.digest(&self.view.params_hash);
        writer.digest(&self.view.previous);
        self.cohort.write(writer);
    }
}

signed_message!(RoundStart);

impl Wire for RoundStart {
    const KIND: Kind = Kind::RoundStart;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            epoch: reader.u32()?,
            view: RoundView {
                round: reader.u32()?,
                attempt: reader.u16()?,
                operation: reader.u8()?,
                vector_len: reader.u32()?,
                lane_bits: LaneBits::new(reader.u8()?)
                    .ok_or(DecodeError::Malformed("a lane width is not 1 to 32 bits"))?,
                state_hash: reader.digest()?,
                params_hash: reader.digest()?,
                previous: reader.digest()?,
            },
            cohort: NodeSet::read(reader, limits.members)?,
            signature: reader.array()?,
        })
    }
}

/// What one node deals to one peer. The dealer's signature over its whole commit
/// covers it, the aggregator's over the relay covers what was passed on, and the
/// seal authenticates it to the holder: where a parcel is bad, the two signed
/// messages show whether it was altered on the way (see [`crate::Evidence`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareParcel {
    /// The dealer u.
    pub from: NodeIndex,
    /// The holder v.
    pub to: NodeIndex,
    /// The holder's slot in the sharing. It follows from the graph; it stands here so
    /// that shares can be judged by who does not know the graph.
    pub slot: u8,
    /// `H("edge tag", edge_uv)`, shortened; both ends publish the same.
    pub edge_tag: [u8; 16],
    /// Both shares, sealed for the holder: nonce, ciphertext, tag.
    pub sealed_shares: [u8; SEALED_SHARES],
    /// Hash of the holder's share of the dealer's self seed.
    pub self_share_hash: Digest,
    /// Hash of the holder's share of the dealer's escrow key.
    pub escrow_share_hash: Digest,
}

impl ShareParcel {
    const LEAST: usize = 2 + 2 + 1 + 16 + SEALED_SHARES + 32 + 32;

    fn write(&self, writer: &mut Writer) {
        writer.u16(self.from.0);
        writer.u16(self.to.0);
        writer.u8(self.slot);
        writer.raw(&self.edge_tag);
        writer.raw(&self.sealed_shares);
        writer.digest(&self.self_share_hash);
        writer.digest(&self.escrow_share_hash);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            from: reader.node(limits)?,
            to: reader.node(limits)?,
            slot: reader.u8()?,
            edge_tag: reader.array()?,
            sealed_shares: reader.array()?,
            self_share_hash: reader.digest()?,
            escrow_share_hash: reader.digest()?,
        })
    }
}

/// One peer's part of a [`RoundCommit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitEntry {
    /// The edge to the peer, sealed under the escrow key; stays at the aggregator.
    pub sealed_edge: [u8; 32],
    /// What is passed on to the peer.
    pub parcel: ShareParcel,
}

/// A node's commitments under one context and the shares it deals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundCommit {
    /// The context.
    pub context: Digest,
    /// `com_b`, commitment to the self seed.
    pub self_commitment: Digest,
    /// `com_z`, commitment to the escrow key.
    pub escrow_commitment: Digest,
    /// Hashes of the shares that the node keeps for itself: of the self seed, then
    /// of the escrow key. In the complete graph only.
    pub own_share_hashes: Option<[Digest; 2]>,
    /// One entry per peer in the cohort, in ascending order.
    pub entries: Vec<CommitEntry>,
    /// Signature over [`super::quorum_statement`] of the context.
    pub quorum_signature: Signature,
    /// Signature of the node over all of it.
    pub signature: Signature,
}

impl RoundCommit {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.digest(&self.self_commitment);
        writer.digest(&self.escrow_commitment);
        writer.u8(u8::from(self.own_share_hashes.is_some()));
        for hash in self.own_share_hashes.iter().flatten() {
            writer.digest(hash);
        }
        writer.count(self.entries.len());
        for entry in &self.entries {
            writer.raw(&entry.sealed_edge);
            entry.parcel.write(writer);
        }
        writer.raw(&self.quorum_signature);
    }

    /// The hashes that the dealer published of a holder's two shares.
    pub(crate) fn published(&self, dealer: NodeIndex, holder: NodeIndex) -> Option<[Digest; 2]> {
        if dealer == holder {
            return self.own_share_hashes;
        }
        let parcel = &self.entry(holder)?.parcel;
        Some([parcel.self_share_hash, parcel.escrow_share_hash])
    }

    /// The slot that the dealer gave a holder; its own is its index plus one.
    pub(crate) fn slot(&self, dealer: NodeIndex, holder: NodeIndex) -> Option<u8> {
        if dealer == holder {
            return self.own_share_hashes.and(u8::try_from(dealer.0 + 1).ok());
        }
        self.entry(holder).map(|entry| entry.parcel.slot)
    }

    /// The entry for a peer, if the entries are in order.
    pub(crate) fn entry(&self, peer: NodeIndex) -> Option<&CommitEntry> {
        let position = self.entries.binary_search_by_key(&peer, |entry| entry.parcel.to).ok()?;
        self.entries.get(position)
    }
}

signed_message!(RoundCommit);

impl Wire for RoundCommit {
    const KIND: Kind = Kind::RoundCommit;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            self_commitment: reader.digest()?,
            escrow_commitment: reader.digest()?,
            own_share_hashes: match reader.u8()? {
                0 => None,
                1 => Some([reader.digest()?, reader.digest()?]),
                _ => return Err(DecodeError::Malformed("a flag is neither 0 nor 1")),
            },
            entries: reader.list(limits.members, 32 + ShareParcel::LEAST, |reader| {
                Ok(CommitEntry {
                    sealed_edge: reader.array()?,
                    parcel: ShareParcel::read(reader, limits)?,
                })
            })?,
            quorum_signature: reader.array()?,
            signature: reader.array()?,
        })
    }
}

/// The shares for one node, and QC1: a quorum signed that it is in this context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRelay {
    /// The context.
    pub context: Digest,
    /// P1, the nodes that committed.
    pub committed: NodeSet,
    /// The parcels of the receiver's peers in P1 for it, ascending.
    pub parcels: Vec<ShareParcel>,
    /// QC1: signatures over [`super::quorum_statement`], ascending.
    pub quorum: Vec<(NodeIndex, Signature)>,
    /// Signature of the aggregator.
    pub signature: Signature,
}

impl ShareRelay {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        self.committed.write(writer);
        writer.count(self.parcels.len());
        for parcel in &self.parcels {
            parcel.write(writer);
        }
        write_signatures(writer, &self.quorum);
    }
}

signed_message!(ShareRelay);

impl Wire for ShareRelay {
    const KIND: Kind = Kind::ShareRelay;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            committed: NodeSet::read(reader, limits.members)?,
            parcels: reader.list(limits.members, ShareParcel::LEAST, |reader| {
                ShareParcel::read(reader, limits)
            })?,
            quorum: read_signatures(reader, limits)?,
            signature: reader.array()?,
        })
    }
}

/// A node refuses the shares of some dealers: they did not open, or were not what
/// the dealer had published. It goes on without them, and no grant may name them.
///
/// A complaint is one word against another, for the key of a sealed share is
/// symmetric: the aggregator separates the pair and names both as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The context.
    pub context: Digest,
    /// The dealers.
    pub against: NodeSet,
    /// Signature of the node that complains.
    pub signature: Signature,
}

impl Complaint {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        self.against.write(writer);
    }
}

signed_message!(Complaint);

impl Wire for Complaint {
    const KIND: Kind = Kind::Complaint;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            against: NodeSet::read(reader, limits.members)?,
            signature: reader.array()?,
        })
    }
}

/// The node's vector is there. Nothing that depends on the vector leaves: the signed
/// root of its masked form fixes it later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The context.
    pub context: Digest,
    /// Statement of the `ShareRelay` this node works with: which shares it accepted.
    pub relay: Digest,
    /// Signature of the node.
    pub signature: Signature,
}

impl Ready {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.digest(&self.relay);
    }
}

signed_message!(Ready);

impl Wire for Ready {
    const KIND: Kind = Kind::Ready;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, _: &Limits) -> Result<Self, DecodeError> {
        Ok(Self { context: reader.digest()?, relay: reader.digest()?, signature: reader.array()? })
    }
}

pub(super) fn write_signatures(writer: &mut Writer, signatures: &[(NodeIndex, Signature)]) {
    writer.count(signatures.len());
    for (signer, signature) in signatures {
        writer.u16(signer.0);
        writer.raw(signature);
    }
}

pub(super) fn read_signatures(
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Vec<(NodeIndex, Signature)>, DecodeError> {
    reader.list(limits.members, 2 + 64, |reader| Ok((reader.node(limits)?, reader.array()?)))
}
