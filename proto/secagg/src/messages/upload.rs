//! Permission to upload, and the upload.

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

/// A piece of the masked vector. It carries no signature of its own: the root in
/// [`MaskedDone`] covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedChunk {
    /// The context.
    pub context: Digest,
    /// Number of the chunk, counted from zero.
    pub index: u32,
    /// [`crate::CHUNK_LANES`] lanes, fewer only in the last chunk.
    pub lanes: Vec<u32>,
}

impl Wire for MaskedChunk {
    const KIND: Kind = Kind::MaskedChunk;

    fn write(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.u32(self.index);
        writer.lanes(&self.lanes);
    }

    fn read(reader: &mut Reader<'_>, _: &Limits) -> Result<Self, DecodeError> {
        Ok(Self { context: reader.digest()?, index: reader.u32()?, lanes: reader.lanes()? })
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
