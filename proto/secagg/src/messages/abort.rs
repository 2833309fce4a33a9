//! The end of an attempt without a result, with a reason from a fixed list.

use std::fmt;

use super::Wire;
use super::statement::{Kind, signed_message};
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::digest::Digest;
use crate::identity::Signature;
use crate::ids::NodeSet;

/// Why an attempt ended. A fixed list with public numbers: nothing that depends
/// on anybody's data can be said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AbortReason {
    /// Too few nodes are in the epoch.
    TooFewInEpoch = 1,
    /// Too few nodes committed to the attempt.
    TooFewCommits = 2,
    /// Too few nodes were ready to upload.
    TooFewReady = 3,
    /// Too few complete uploads arrived.
    TooFewUploads = 4,
    /// Too few survivors acknowledged the manifest.
    TooFewAcks = 5,
    /// Too few survivors sent their shares.
    TooFewShares = 6,
    /// A seed opened to something else than its owner committed to.
    BadSharing = 7,
    /// Too few survivors arrived at the same state.
    TooFewAttestations = 8,
    /// The aggregator did not arrive at a state in time.
    NoState = 9,
    /// The receiving node was too late for the phase; the round goes on without it.
    NotIncluded = 10,
    /// The receiving node broke the protocol.
    Evicted = 11,
    /// The operator of the aggregator ended the attempt.
    Cancelled = 12,
    /// The aggregator's own machine failed.
    Internal = 13,
    /// Too often somebody did not open its coin for the graph.
    CoinNotOpened = 14,
}

impl AbortReason {
    const ALL: [Self; 14] = [
        Self::TooFewInEpoch,
        Self::TooFewCommits,
        Self::TooFewReady,
        Self::TooFewUploads,
        Self::TooFewAcks,
        Self::TooFewShares,
        Self::BadSharing,
        Self::TooFewAttestations,
        Self::NoState,
        Self::NotIncluded,
        Self::Evicted,
        Self::Cancelled,
        Self::Internal,
        Self::CoinNotOpened,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::TooFewInEpoch => "too few nodes are in the epoch",
            Self::TooFewCommits => "too few nodes committed",
            Self::TooFewReady => "too few nodes were ready to upload",
            Self::TooFewUploads => "too few complete uploads arrived",
            Self::TooFewAcks => "too few survivors acknowledged the manifest",
            Self::TooFewShares => "too few survivors sent their shares",
            Self::BadSharing => "a seed did not open to what its owner committed to",
            Self::TooFewAttestations => "too few survivors arrived at the same state",
            Self::NoState => "the aggregator did not arrive at a state in time",
            Self::NotIncluded => "this node was too late and the round goes on without it",
            Self::Evicted => "this node broke the protocol",
            Self::Cancelled => "the operator of the aggregator ended the attempt",
            Self::Internal => "the aggregator's own machine failed",
            Self::CoinNotOpened => "too often a node did not open its coin for the graph",
        }
    }
}

/// The attempt is over for the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abort {
    /// The context.
    pub context: Digest,
    /// Why.
    pub reason: AbortReason,
    /// How many there were, where the reason is about too few; else 0.
    pub have: u16,
    /// How many are needed, where the reason is about too few; else 0.
    pub need: u16,
    /// The nodes that are to blame, if any are.
    pub blamed: NodeSet,
    /// Signature of the aggregator.
    pub signature: Signature,
}

impl Abort {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.u8(self.reason as u8);
        writer.u16(self.have);
        writer.u16(self.need);
        self.blamed.write(writer);
    }
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.text())?;
        if self.need > 0 {
            write!(f, " ({} of at least {})", self.have, self.need)?;
        }
        if !self.blamed.is_empty() {
            write!(f, "; to blame: node {}", self.blamed)?;
        }
        Ok(())
    }
}

signed_message!(Abort);

impl Wire for Abort {
    const KIND: Kind = Kind::Abort;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        let context = reader.digest()?;
        let number = reader.u8()?;
        let reason = AbortReason::ALL
            .into_iter()
            .find(|reason| *reason as u8 == number)
            .ok_or(DecodeError::Malformed("unknown abort reason"))?;
        Ok(Self {
            context,
            reason,
            have: reader.u16()?,
            need: reader.u16()?,
            blamed: NodeSet::read(reader, limits.members)?,
            signature: reader.array()?,
        })
    }
}
