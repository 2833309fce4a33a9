//! The shares that open the sum. The two kinds are different types, so that one
//! cannot be put where the other belongs.

use std::fmt;

use super::Wire;
use super::statement::{Kind, signed_message};
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::digest::Digest;
use crate::identity::Signature;
use crate::ids::NodeIndex;

/// A share of a survivor's self seed, given out to open the sum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RevealedSelfShare(pub [u8; 32]);

/// A share of a dropped node's escrow key, given out to open the sum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RevealedEscrowShare(pub [u8; 32]);

impl fmt::Debug for RevealedSelfShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RevealedSelfShare(<redacted>)")
    }
}

impl fmt::Debug for RevealedEscrowShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RevealedEscrowShare(<redacted>)")
    }
}

/// A node's shares: of the self seed for every survivor, of the escrow key for
/// every node that was granted and did not finish. Never both for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmaskShares {
    /// The context.
    pub context: Digest,
    /// One share per node of U, ascending.
    pub self_shares: Vec<(NodeIndex, RevealedSelfShare)>,
    /// One share per node of P2 without U, ascending.
    pub escrow_shares: Vec<(NodeIndex, RevealedEscrowShare)>,
    /// Signature of the node.
    pub signature: Signature,
}

impl UnmaskShares {
    /// The share of a survivor's self seed, if the list is in order.
    pub(crate) fn self_share(&self, owner: NodeIndex) -> Option<&[u8; 32]> {
        let at = self.self_shares.binary_search_by_key(&owner, |(node, _)| *node).ok()?;
        self.self_shares.get(at).map(|(_, share)| &share.0)
    }

    /// The share of a dropped node's escrow key, if the list is in order.
    pub(crate) fn escrow_share(&self, owner: NodeIndex) -> Option<&[u8; 32]> {
        let at = self.escrow_shares.binary_search_by_key(&owner, |(node, _)| *node).ok()?;
        self.escrow_shares.get(at).map(|(_, share)| &share.0)
    }

    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.count(self.self_shares.len());
        for (node, share) in &self.self_shares {
            writer.u16(node.0);
            writer.raw(&share.0);
        }
        writer.count(self.escrow_shares.len());
        for (node, share) in &self.escrow_shares {
            writer.u16(node.0);
            writer.raw(&share.0);
        }
    }
}

signed_message!(UnmaskShares);

impl Wire for UnmaskShares {
    const KIND: Kind = Kind::UnmaskShares;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        const ENTRY: usize = 2 + 32;
        Ok(Self {
            context: reader.digest()?,
            self_shares: reader.list(limits.members, ENTRY, |reader| {
                Ok((reader.node(limits)?, RevealedSelfShare(reader.array()?)))
            })?,
            escrow_shares: reader.list(limits.members, ENTRY, |reader| {
                Ok((reader.node(limits)?, RevealedEscrowShare(reader.array()?)))
            })?,
            signature: reader.array()?,
        })
    }
}
