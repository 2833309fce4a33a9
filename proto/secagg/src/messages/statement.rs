//! What exactly a signature is over, and counting signatures to a quorum.

use std::fmt;

use crate::PROTOCOL_VERSION;
use crate::digest::{Digest, hash};
use crate::identity::{Identity, Signature, VerifyingKey};
use crate::ids::{NodeIndex, NodeSet};
use crate::roster::Roster;

/// Type number of a message or of a signed statement inside one. It stands in
/// the frame and under the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Node: epoch keys.
    EpochHello = 0x01,
    /// Node: encapsulations.
    EpochKem = 0x02,
    /// Node: commitments and shares.
    RoundCommit = 0x03,
    /// Node: vector ready.
    Ready = 0x04,
    /// Node: piece of the masked vector.
    MaskedChunk = 0x05,
    /// Node: masked vector complete.
    MaskedDone = 0x06,
    /// Node: signature on the manifest.
    SurvivorAck = 0x07,
    /// Node: shares.
    UnmaskShares = 0x08,
    /// Node: state reached.
    ResultAck = 0x09,
    /// Node: its coin for the graph.
    EpochReveal = 0x0a,
    /// Node: keys agreed, and with whom not.
    EpochDone = 0x0b,
    /// Node: shares of some dealers refused.
    Complaint = 0x0c,
    /// Aggregator: an epoch begins.
    EpochStart = 0x40,
    /// Aggregator: all hellos.
    EpochHellos = 0x41,
    /// Aggregator: encapsulations for one node.
    EpochKems = 0x42,
    /// Aggregator: start of an attempt.
    RoundStart = 0x43,
    /// Aggregator: shares for one node.
    ShareRelay = 0x44,
    /// Aggregator: set of nodes to mask against.
    UploadGrant = 0x45,
    /// Aggregator: survivors.
    SurvivorManifest = 0x46,
    /// Aggregator: quorum on the survivors.
    SurvivorQc = 0x47,
    /// Aggregator: piece of the sum.
    SumChunk = 0x48,
    /// Aggregator: sum complete.
    RoundResult = 0x49,
    /// Aggregator: quorum on the state.
    ResultQc = 0x4a,
    /// Aggregator: end without a result.
    Abort = 0x4b,
    /// Aggregator: the coins, and the keys of a node's peers.
    EpochPeers = 0x4c,
    /// Aggregator: a node's turn to upload.
    UploadTurn = 0x4d,
    /// Statement inside `EpochKem`: one encapsulation.
    KemParcel = 0x81,
    /// Statement inside `RoundCommit`: "I am in this context" (QC1).
    ContextQuorum = 0x83,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A message that its sender signs.
pub trait SignedMessage: Sized {
    /// Type number under the signature.
    const SIGNED_KIND: Kind;

    /// The context under the signature.
    fn signed_context(&self) -> Digest;

    /// The exact bytes of the body under the signature.
    fn body(&self) -> Vec<u8>;

    /// The signature as it stands, valid or not.
    fn signature(&self) -> &Signature;

    /// Puts a signature in.
    fn set_signature(&mut self, signature: Signature);

    /// `H("signature", version, type, ctx, H(body))`: the bytes that are signed.
    fn statement(&self) -> Digest {
        statement(Self::SIGNED_KIND, &self.signed_context(), &self.body())
    }

    /// The message with `identity`'s signature.
    #[must_use]
    fn signed_by(mut self, identity: &Identity) -> Self {
        self.set_signature(identity.sign(&self.statement().0));
        self
    }

    /// Whether the signature is that of `key`.
    #[must_use]
    fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        key.verify(&self.statement().0, self.signature()).is_ok()
    }
}

pub(super) fn statement(kind: Kind, ctx: &Digest, body: &[u8]) -> Digest {
    let body = hash("body", &[body]);
    let version = PROTOCOL_VERSION.to_le_bytes();
    hash("signature", &[&version, &[kind as u8], &ctx.0, &body.0])
}

/// What a node signs to say "I am in this context" (QC1): it keeps the
/// aggregator from running two contexts of one round against each other.
#[must_use]
pub fn quorum_statement(ctx: &Digest) -> Digest {
    statement(Kind::ContextQuorum, ctx, &[])
}

/// Counts a quorum certificate: signers in ascending order and so distinct, all
/// of them in `eligible`, exactly tau of them, every signature valid.
///
/// # Errors
/// What is wrong, to be said of whoever presented the certificate.
pub(crate) fn check_quorum(
    roster: &Roster,
    eligible: &NodeSet,
    statement: &Digest,
    signatures: &[(NodeIndex, Signature)],
) -> Result<NodeSet, String> {
    let quorum = usize::from(roster.thresholds.quorum);
    if signatures.len() > quorum {
        return Err(format!("{} signatures where {quorum} make a quorum", signatures.len()));
    }
    let signers = named_signers(roster, eligible, signatures)?;
    verify_quorum(roster, &NodeSet::new(roster.size()), statement, signatures)?;
    Ok(signers)
}

/// Who is said to have signed: in ascending order and so distinct, all in `eligible`.
pub(crate) fn named_signers(
    roster: &Roster,
    eligible: &NodeSet,
    signatures: &[(NodeIndex, Signature)],
) -> Result<NodeSet, String> {
    let mut signers = NodeSet::new(roster.size());
    let mut last = None;
    for (signer, _) in signatures {
        if last.is_some_and(|last| last >= *signer) {
            return Err(format!("signer {signer} is counted twice or out of order"));
        }
        last = Some(*signer);
        if !eligible.contains(*signer) {
            return Err(format!("signer {signer} has no vote"));
        }
        signers.insert(*signer);
    }
    Ok(signers)
}

/// Verifies the first tau signatures of signers that are not in `without`.
pub(crate) fn verify_quorum(
    roster: &Roster,
    without: &NodeSet,
    statement: &Digest,
    signatures: &[(NodeIndex, Signature)],
) -> Result<(), String> {
    let quorum = usize::from(roster.thresholds.quorum);
    let counted = signatures.iter().filter(|(signer, _)| !without.contains(*signer));
    let mut valid = 0;
    for (signer, signature) in counted.take(quorum) {
        let key = roster.member(*signer);
        if key.is_none_or(|key| key.verify(&statement.0, signature).is_err()) {
            return Err(format!("the signature of node {signer} is forged"));
        }
        valid += 1;
    }
    if valid < quorum {
        return Err(format!("{valid} signatures are no quorum of {quorum}"));
    }
    Ok(())
}

/// Implements [`SignedMessage`] for a struct with `context` and `signature`
/// fields and an inherent `fn write_body(&self, &mut Writer)`.
macro_rules! signed_message {
    ($name:ident) => {
        impl crate::messages::SignedPart for $name {
            fn signed_part(&self) -> Option<(crate::digest::Digest, crate::identity::Signature)> {
                use crate::messages::statement::SignedMessage as _;
                Some((self.statement(), self.signature))
            }
        }

        impl crate::messages::statement::SignedMessage for $name {
            const SIGNED_KIND: crate::messages::statement::Kind =
                crate::messages::statement::Kind::$name;

            fn signed_context(&self) -> crate::digest::Digest {
                self.context
            }

            fn body(&self) -> Vec<u8> {
                let mut writer = crate::codec::Writer::new();
                self.write_body(&mut writer);
                writer.finish()
            }

            fn signature(&self) -> &crate::identity::Signature {
                &self.signature
            }

            fn set_signature(&mut self, signature: crate::identity::Signature) {
                self.signature = signature;
            }
        }
    };
}
pub(super) use signed_message;
