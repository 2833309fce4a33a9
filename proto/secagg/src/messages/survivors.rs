//! The survivor manifest, the signatures on it, and the quorum of them.

use super::Wire;
use super::commit::{read_signatures, write_signatures};
use super::statement::{Kind, SignedMessage, signed_message};
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::digest::Digest;
use crate::identity::Signature;
use crate::ids::{NodeIndex, NodeSet};

/// A pairwise tag, from or to the named node.
pub type AckTag = (NodeIndex, [u8; 16]);

/// The aggregator fixes whose vectors are in the sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurvivorManifest {
    /// The context.
    pub context: Digest,
    /// Hash of the set P2.
    pub granted_hash: Digest,
    /// U, the nodes whose complete vectors arrived.
    pub survivors: NodeSet,
    /// Roots of their masked vectors, in ascending order of the node.
    pub roots: Vec<Digest>,
    /// Signature of the aggregator.
    pub signature: Signature,
}

impl SurvivorManifest {
    /// What acknowledgements and everything later refer to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.statement()
    }

    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.digest(&self.granted_hash);
        self.survivors.write(writer);
        writer.count(self.roots.len());
        for root in &self.roots {
            writer.digest(root);
        }
    }
}

signed_message!(SurvivorManifest);

impl Wire for SurvivorManifest {
    const KIND: Kind = Kind::SurvivorManifest;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            granted_hash: reader.digest()?,
            survivors: NodeSet::read(reader, limits.members)?,
            roots: reader.list(limits.members, 32, Reader::digest)?,
            signature: reader.array()?,
        })
    }
}

/// A node's signature on one manifest, and its tags for the other survivors.
///
/// The tags stand outside the signature, so that the signature alone can be
/// shown to everybody; each tag authenticates itself to its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurvivorAck {
    /// The context.
    pub context: Digest,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Signature of the node over context and manifest.
    pub signature: Signature,
    /// One tag per other survivor, ascending.
    pub tags: Vec<AckTag>,
}

impl SurvivorAck {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.digest(&self.manifest);
    }
}

signed_message!(SurvivorAck);

impl Wire for SurvivorAck {
    const KIND: Kind = Kind::SurvivorAck;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
        write_tags(writer, &self.tags);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            manifest: reader.digest()?,
            signature: reader.array()?,
            tags: read_tags(reader, limits)?,
        })
    }
}

/// At least tau signatures on one manifest, with the signers' tags for the node
/// it is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurvivorQc {
    /// The context.
    pub context: Digest,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Signatures of the acknowledgements, ascending.
    pub signatures: Vec<(NodeIndex, Signature)>,
    /// The tags of the signers for the receiver, ascending, its own left out.
    pub tags: Vec<AckTag>,
}

impl SurvivorQc {
    /// What the signatures are over.
    #[must_use]
    pub fn statement(&self) -> Digest {
        let (context, manifest) = (self.context, self.manifest);
        SurvivorAck { context, manifest, signature: [0; 64], tags: Vec::new() }.statement()
    }
}

impl Wire for SurvivorQc {
    const KIND: Kind = Kind::SurvivorQc;

    fn write(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.digest(&self.manifest);
        write_signatures(writer, &self.signatures);
        write_tags(writer, &self.tags);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            manifest: reader.digest()?,
            signatures: read_signatures(reader, limits)?,
            tags: read_tags(reader, limits)?,
        })
    }
}

fn write_tags(writer: &mut Writer, tags: &[AckTag]) {
    writer.count(tags.len());
    for (node, tag) in tags {
        writer.u16(node.0);
        writer.raw(tag);
    }
}

fn read_tags(reader: &mut Reader<'_>, limits: &Limits) -> Result<Vec<AckTag>, DecodeError> {
    reader.list(limits.members, 2 + 16, |reader| Ok((reader.node(limits)?, reader.array()?)))
}
