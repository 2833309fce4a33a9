//! The messages of the protocol and their frames.
//!
//! A frame is `version (16 bits) || type (8 bits) || body`; for a signed message
//! the signature follows the body, and what the signature does not cover (tags
//! that authenticate themselves) follows the signature. A signature is over
//! `H("signature", version, type, ctx, H(body))`. Fields are public: these are
//! sentences parties say, and a machine believes none of them before it has
//! checked it. This module knows no phase and no secret.

mod abort;
mod commit;
mod epoch;
mod epoch_start;
mod kem;
mod result;
mod statement;
mod survivors;
mod unmask;
mod upload;

pub use abort::{Abort, AbortReason};
pub(crate) use commit::SEALED_SHARES;
pub use commit::{CommitEntry, Complaint, Ready, RoundCommit, RoundStart, ShareParcel, ShareRelay};
pub use epoch::{
    EpochHello, EpochHellos, EpochPeers, EpochReveal, HelloEntry, KEM_KEY, PublicKeys,
    coin_commitment, joint_coin, transcript,
};
pub use epoch_start::{EpochStart, MAX_EPOCHS, MAX_RESTARTS};
pub use kem::{EpochDone, EpochKem, EpochKems, KEM_CIPHERTEXT, KemParcel};
pub use result::{ResultAck, ResultQc, RoundResult, SumChunk};
pub use statement::{Kind, SignedMessage, quorum_statement};
pub(crate) use statement::{check_quorum, named_signers, verify_quorum};
pub use survivors::{AckTag, SurvivorAck, SurvivorManifest, SurvivorQc};
pub use unmask::{RevealedEscrowShare, RevealedSelfShare, UnmaskShares};
pub use upload::{MaskedChunk, MaskedDone, UploadGrant, UploadTurn};

use crate::PROTOCOL_VERSION;
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::digest::Digest;

/// What of a message its sender signs; nothing unless the message says otherwise.
pub(crate) trait SignedPart {
    fn signed_part(&self) -> Option<(Digest, crate::Signature)> {
        None
    }
}

impl SignedPart for EpochHello {}
impl SignedPart for EpochReveal {}
impl SignedPart for EpochKem {}
impl SignedPart for MaskedChunk {}
impl SignedPart for EpochHellos {}
impl SignedPart for EpochPeers {}
impl SignedPart for EpochKems {}
impl SignedPart for SurvivorQc {}
impl SignedPart for SumChunk {}
impl SignedPart for ResultQc {}
impl SignedPart for UploadTurn {}

/// A message type's place in the byte format.
pub(crate) trait Wire: Sized {
    /// The type number in the frame.
    const KIND: Kind;
    /// Writes everything behind the type number.
    fn write(&self, writer: &mut Writer);
    /// Reads what [`Self::write`] writes.
    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError>;
}

/// Declares the message enum of one direction with its framing.
macro_rules! direction {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant($variant),)*
        }

        impl $name {
            /// The canonical frame.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$variant(message) => frame(message),)*
                }
            }

            /// Reads one frame, which must be canonical and complete.
            ///
            /// # Errors
            /// [`DecodeError`] if the bytes are anything else than exactly one
            /// message of this direction within `limits`.
            pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
                let mut reader = Reader::new(bytes);
                let kind = open_frame(&mut reader, bytes.len(), limits)?;
                let message = match kind {
                    $(kind if kind == <$variant as Wire>::KIND as u8 => {
                        Self::$variant(<$variant as Wire>::read(&mut reader, limits)?)
                    })*
                    other => return Err(DecodeError::UnknownKind(other)),
                };
                reader.finish()?;
                Ok(message)
            }

            /// The type of the message.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$variant(_) => <$variant as Wire>::KIND,)*
                }
            }

            /// The context the message speaks about.
            #[must_use]
            pub fn context(&self) -> Digest {
                match self {
                    $(Self::$variant(message) => message.context,)*
                }
            }

            /// What its sender signed and the signature, if messages of this kind are
            /// signed as a whole.
            #[must_use]
            pub fn signed_statement(&self) -> Option<(Digest, crate::Signature)> {
                match self {
                    $(Self::$variant(message) => message.signed_part(),)*
                }
            }
        }

        $(impl From<$variant> for $name {
            fn from(message: $variant) -> Self {
                Self::$variant(message)
            }
        })*
    };
}

direction! {
    /// What a node says.
    NodeMessage {
        /// The node's key-agreement keys for an epoch.
        EpochHello,
        /// The node's coin for the graph of the epoch.
        EpochReveal,
        /// Encapsulations and key confirmations for every peer.
        EpochKem,
        /// Keys are agreed, and with whom not.
        EpochDone,
        /// Commitments and sealed shares under one context.
        RoundCommit,
        /// The shares of some dealers are refused.
        Complaint,
        /// The vector is there.
        Ready,
        /// A piece of the masked vector.
        MaskedChunk,
        /// The masked vector is complete.
        MaskedDone,
        /// The node's signature on the survivor manifest.
        SurvivorAck,
        /// Shares that open the sum over the survivors.
        UnmaskShares,
        /// The state the node computed from the sum.
        ResultAck,
    }
}

direction! {
    /// What the aggregator says.
    ServerMessage {
        /// An epoch begins.
        EpochStart,
        /// The hellos of all nodes.
        EpochHellos,
        /// The coins of all nodes and the keys of the peers.
        EpochPeers,
        /// The encapsulations for one node.
        EpochKems,
        /// An attempt of a round begins.
        RoundStart,
        /// The shares for one node, and proof that a quorum is in this context.
        ShareRelay,
        /// The nodes whose masks are to be put on.
        UploadGrant,
        /// It is the node's turn to upload.
        UploadTurn,
        /// The nodes whose vectors are in the sum.
        SurvivorManifest,
        /// A quorum signed the manifest.
        SurvivorQc,
        /// A piece of the sum.
        SumChunk,
        /// The sum is complete.
        RoundResult,
        /// A quorum arrived at the same state.
        ResultQc,
        /// The attempt is over for this node, and why.
        Abort,
    }
}

fn frame<M: Wire>(message: &M) -> Vec<u8> {
    let mut writer = begin(M::KIND);
    message.write(&mut writer);
    writer.finish()
}

/// A frame that has its version and type.
fn begin(kind: Kind) -> Writer {
    let mut writer = Writer::new();
    writer.u16(PROTOCOL_VERSION);
    writer.u8(kind as u8);
    writer
}

fn open_frame(reader: &mut Reader<'_>, length: usize, limits: &Limits) -> Result<u8, DecodeError> {
    if length > limits.max_frame {
        return Err(DecodeError::TooLarge { length, limit: limits.max_frame });
    }
    let found = reader.u16()?;
    if found != PROTOCOL_VERSION {
        return Err(DecodeError::Version { found, expected: PROTOCOL_VERSION });
    }
    reader.u8()
}

impl Writer {
    pub(crate) fn digest(&mut self, digest: &Digest) {
        self.raw(&digest.0);
    }
}

impl Reader<'_> {
    pub(crate) fn digest(&mut self) -> Result<Digest, DecodeError> {
        self.array().map(Digest)
    }

    /// The index of a member of the roster.
    pub(crate) fn node(&mut self, limits: &Limits) -> Result<crate::NodeIndex, DecodeError> {
        let index = self.u16()?;
        if index >= limits.members {
            return Err(DecodeError::Malformed("a node index lies outside the roster"));
        }
        Ok(crate::NodeIndex(index))
    }
}
