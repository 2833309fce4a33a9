//! The sum, the state that follows from it, and the quorum on that state.

use std::sync::Arc;

use super::Wire;
use super::commit::{read_signatures, write_signatures};
use super::statement::{Kind, SignedMessage, check_quorum, signed_message};
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::digest::{Digest, hash};
use crate::fault::Fault;
use crate::identity::Signature;
use crate::ids::{NodeIndex, NodeSet};
use crate::roster::Roster;

/// A piece of the sum. The bytes are shared, so that sending one sum to many
/// nodes does not copy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SumChunk {
    /// The context.
    pub context: Digest,
    /// Number of the chunk, counted from zero.
    pub index: u32,
    /// [`crate::CHUNK_LANES`] packed lanes, fewer only in the last chunk.
    pub data: Arc<[u8]>,
}

impl Wire for SumChunk {
    const KIND: Kind = Kind::SumChunk;

    fn write(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.u32(self.index);
        writer.chunk(&self.data);
    }

    fn read(reader: &mut Reader<'_>, _: &Limits) -> Result<Self, DecodeError> {
        let (context, index) = (reader.digest()?, reader.u32()?);
        Ok(Self { context, index, data: reader.chunk()?.into() })
    }
}

/// The sum is complete. It stays provisional until a [`ResultQc`] names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundResult {
    /// The context.
    pub context: Digest,
    /// Digest of the survivor manifest.
    pub manifest: Digest,
    /// Root of the sum.
    pub sum_root: Digest,
    /// Signature of the aggregator.
    pub signature: Signature,
}

impl RoundResult {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.digest(&self.manifest);
        writer.digest(&self.sum_root);
    }
}

signed_message!(RoundResult);

impl Wire for RoundResult {
    const KIND: Kind = Kind::RoundResult;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, _: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            manifest: reader.digest()?,
            sum_root: reader.digest()?,
            signature: reader.array()?,
        })
    }
}

/// A node says which state it computed from the sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultAck {
    /// The context.
    pub context: Digest,
    /// Digest of the survivor manifest.
    pub manifest: Digest,
    /// Root of the sum.
    pub sum_root: Digest,
    /// Hash of the state after the round.
    pub state_hash: Digest,
    /// U.
    pub survivors: NodeSet,
    /// Signature of the node.
    pub signature: Signature,
}

impl ResultAck {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.digest(&self.manifest);
        writer.digest(&self.sum_root);
        writer.digest(&self.state_hash);
        self.survivors.write(writer);
    }
}

signed_message!(ResultAck);

impl Wire for ResultAck {
    const KIND: Kind = Kind::ResultAck;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            manifest: reader.digest()?,
            sum_root: reader.digest()?,
            state_hash: reader.digest()?,
            survivors: NodeSet::read(reader, limits.members)?,
            signature: reader.array()?,
        })
    }
}

/// At least tau survivors arrived at the same state: what a released model and
/// the next round rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultQc {
    /// The context.
    pub context: Digest,
    /// Digest of the survivor manifest.
    pub manifest_hash: Digest,
    /// Root of the sum.
    pub sum_root: Digest,
    /// Hash of the state after the round.
    pub state_hash: Digest,
    /// U, the nodes whose vectors are in the sum.
    pub survivors: NodeSet,
    /// Signatures of the [`ResultAck`]s, ascending.
    pub signatures: Vec<(NodeIndex, Signature)>,
}

impl ResultQc {
    /// Checks the certificate against a roster: a quorum of distinct survivors
    /// signed exactly this statement.
    ///
    /// # Errors
    /// [`Fault::PeerMisbehaved`] (the aggregator presents certificates) saying
    /// what is wrong with it.
    pub fn verify(&self, roster: &Roster) -> Result<(), Fault> {
        let blame =
            |what: String| Fault::aggregator(format!("presented a bad result certificate: {what}"));
        if self.survivors.roster_size() != roster.size() {
            return Err(blame("its survivors are of another roster".to_owned()));
        }
        if self.survivors.len() < usize::from(roster.thresholds.u_min) {
            return Err(blame(format!(
                "it names {} survivors, fewer than u_min = {}",
                self.survivors.len(),
                roster.thresholds.u_min
            )));
        }
        check_quorum(roster, &self.survivors, &self.statement(), &self.signatures)
            .map(drop)
            .map_err(blame)
    }

    /// Digest of the signed statement. It leaves the signatures out, so holders
    /// of different quorums for one statement compute the same digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        hash("result certificate", &[&self.statement().0])
    }

    /// The canonical bytes, without a frame, for a log or a file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.finish()
    }

    /// Reads what [`Self::encode`] writes.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are anything else.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let certificate = Self::read(&mut reader, limits)?;
        reader.finish()?;
        Ok(certificate)
    }

    fn statement(&self) -> Digest {
        ResultAck {
            context: self.context,
            manifest: self.manifest_hash,
            sum_root: self.sum_root,
            state_hash: self.state_hash,
            survivors: self.survivors.clone(),
            signature: [0; 64],
        }
        .statement()
    }
}

impl Wire for ResultQc {
    const KIND: Kind = Kind::ResultQc;

    fn write(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.digest(&self.manifest_hash);
        writer.digest(&self.sum_root);
        writer.digest(&self.state_hash);
        self.survivors.write(writer);
        write_signatures(writer, &self.signatures);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            manifest_hash: reader.digest()?,
            sum_root: reader.digest()?,
            state_hash: reader.digest()?,
            survivors: NodeSet::read(reader, limits.members)?,
            signatures: read_signatures(reader, limits)?,
        })
    }
}
