//! Permission to upload, the turn to do so, and the upload.

use super::Wire;
use super::statement::{Kind, signed_message};
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::digest::Digest;
use crate::identity::Signature;
use crate::ids::NodeSet;

/// The aggregator names the nodes to mask against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadGrant {
    /// The context.
    pub context: Digest,
    /// P2, the nodes that are ready.
    pub granted: NodeSet,
    /// Signature of the aggregator.
    pub signature: Signature,
}

impl UploadGrant {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        self.granted.write(writer);
    }
}

signed_message!(UploadGrant);

impl Wire for UploadGrant {
    const KIND: Kind = Kind::UploadGrant;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            granted: NodeSet::read(reader, limits.members)?,
            signature: reader.array()?,
        })
    }
}

/// It is the node's turn to upload. The aggregator lets a few nodes upload at a
/// time, so that what it holds of unfinished vectors does not grow with the cohort;
/// after a broken connection the turn says where to go on. It steers the flow only
/// and is not signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadTurn {
    /// The context.
    pub context: Digest,
    /// Number of the first chunk that is missing.
    pub first_chunk: u32,
}

impl Wire for UploadTurn {
    const KIND: Kind = Kind::UploadTurn;

    fn write(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.u32(self.first_chunk);
    }

    fn read(reader: &mut Reader<'_>, _: &Limits) -> Result<Self, DecodeError> {
        Ok(Self { context: reader.digest()?, first_chunk: reader.u32()? })
    }
}

/// A piece of the masked vector. It carries no signature of its own: the root in
/// [`MaskedDone`] covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedChunk {
    /// The context.
    pub context: Digest,
    /// Number of the chunk, counted from zero.
    pub index: u32,
    /// [`crate::CHUNK_LANES`] packed lanes, fewer only in the last chunk.
    pub data: Vec<u8>,
}

impl Wire for MaskedChunk {
    const KIND: Kind = Kind::MaskedChunk;

    fn write(&self, writer: &mut Writer) {
        Self::write_head(writer, &self.context, self.index, self.data.len());
        writer.raw(&self.data);
    }

    fn read(reader: &mut Reader<'_>, _: &Limits) -> Result<Self, DecodeError> {
        Ok(Self { context: reader.digest()?, index: reader.u32()?, data: reader.chunk()?.to_vec() })
    }
}

impl MaskedChunk {
    /// Bytes of a frame before its packed lanes: version, type, context, number, length.
    pub(crate) const HEAD: usize = 2 + 1 + 32 + 4 + 4;

    /// The frame up to its packed lanes, of which there are `bytes` bytes.
    pub(crate) fn head(context: &Digest, index: u32, bytes: usize) -> Vec<u8> {
        let mut writer = super::begin(Self::KIND);
        Self::write_head(&mut writer, context, index, bytes);
        writer.finish()
    }

    fn write_head(writer: &mut Writer, context: &Digest, index: u32, bytes: usize) {
        writer.digest(context);
        writer.u32(index);
        writer.length(bytes);
    }
}

/// The masked vector is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedDone {
    /// The context.
    pub context: Digest,
    /// Hash of the set P2 whose masks were put on.
    pub granted_hash: Digest,
    /// Root of the masked vector.
    pub root: Digest,
    /// Signature of the node.
    pub signature: Signature,
}

impl MaskedDone {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.digest(&self.granted_hash);
        writer.digest(&self.root);
    }
}

signed_message!(MaskedDone);

impl Wire for MaskedDone {
    const KIND: Kind = Kind::MaskedDone;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, _: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            granted_hash: reader.digest()?,
            root: reader.digest()?,
            signature: reader.array()?,
        })
    }
}
