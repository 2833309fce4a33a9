//! The first half of an epoch's set-up: every node's keys and its hidden coin, the
//! coins once everybody has seen everybody's, and the keys of a node's peers.
//!
//! The signature of a hello covers a hash of the keys and not the keys, so that a
//! node can check who is in the epoch without receiving everybody's keys: those of
//! its peers come later, when the coin has said who they are.

use super::Wire;
use super::statement::{Kind, statement};
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::digest::{Digest, hash};
use crate::identity::{Identity, Signature, VerifyingKey};
use crate::ids::NodeIndex;
use crate::roster::Roster;

/// Bytes of an ML-KEM-768 encapsulation key (FIPS 203).
pub const KEM_KEY: usize = 1184;

/// A node's fresh key-agreement keys for one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys {
    /// X25519 public key (RFC 7748).
    pub x25519: [u8; 32],
    /// ML-KEM-768 encapsulation key.
    pub kem_key: Box<[u8; KEM_KEY]>,
}

impl PublicKeys {
    /// What the signature of a hello covers of the keys.
    #[must_use]
    pub fn digest(&self) -> Digest {
        hash("epoch keys", &[&self.x25519, self.kem_key.as_ref()])
    }

    fn write(&self, writer: &mut Writer) {
        writer.raw(&self.x25519);
        writer.raw(self.kem_key.as_ref());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { x25519: reader.array()?, kem_key: Box::new(reader.array()?) })
    }
}

/// The part of a hello that everybody sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloEntry {
    /// The node.
    pub from: NodeIndex,
    /// [`PublicKeys::digest`] of its keys.
    pub keys: Digest,
    /// [`coin_commitment`] of its coin.
    pub coin: Digest,
    /// Signature of `from` under the epoch's context.
    pub signature: Signature,
}

impl HelloEntry {
    const BYTES: usize = 2 + 32 + 32 + 64;

    /// The bytes that are signed, under the context of the epoch's set-up.
    #[must_use]
    pub fn statement(&self, context: &Digest) -> Digest {
        let mut writer = Writer::new();
        self.write_body(&mut writer);
        statement(Kind::EpochHello, context, &writer.finish())
    }

    pub(crate) fn signed_by(mut self, identity: &Identity, context: &Digest) -> Self {
        self.signature = identity.sign(&self.statement(context).0);
        self
    }

    pub(crate) fn is_signed_by(&self, key: &VerifyingKey, context: &Digest) -> bool {
        key.verify(&self.statement(context).0, &self.signature).is_ok()
    }

    fn write_body(&self, writer: &mut Writer) {
        writer.u16(self.from.0);
        writer.digest(&self.keys);
        writer.digest(&self.coin);
    }

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            from: reader.node(limits)?,
            keys: reader.digest()?,
            coin: reader.digest()?,
            signature: reader.array()?,
        })
    }
}

/// What a node commits to before anybody's coin is known.
#[must_use]
pub fn coin_commitment(context: &Digest, from: NodeIndex, coin: &[u8; 32]) -> Digest {
    hash("coin", &[&context.0, &from.to_bytes(), coin])
}

/// A node's keys and its hidden coin for one epoch, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochHello {
    /// Context of the epoch's set-up.
    pub context: Digest,
    /// What everybody sees.
    pub entry: HelloEntry,
    /// The keys; the signature covers their digest.
    pub keys: PublicKeys,
}

impl Wire for EpochHello {
    const KIND: Kind = Kind::EpochHello;

    fn write(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        self.entry.write(writer);
        self.keys.write(writer);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            entry: HelloEntry::read(reader, limits)?,
            keys: PublicKeys::read(reader)?,
        })
    }
}

/// The hellos of the nodes that are in the epoch, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochHellos {
    /// Context of the epoch's set-up.
    pub context: Digest,
    /// One entry per node.
    pub hellos: Vec<HelloEntry>,
}

impl EpochHellos {
    /// Hash over the roster and every hello with its signature: who is in the epoch.
    #[must_use]
    pub fn roll(&self, roster: &Roster) -> Digest {
        let mut writer = Writer::new();
        for hello in &self.hellos {
            hello.write(&mut writer);
        }
        hash("epoch roll", &[&self.context.0, &roster.digest().0, &writer.finish()])
    }
}

impl Wire for EpochHellos {
    const KIND: Kind = Kind::EpochHellos;

    fn write(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.count(self.hellos.len());
        for hello in &self.hellos {
            hello.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        let context = reader.digest()?;
        let hellos = reader
            .list(limits.members, HelloEntry::BYTES, |reader| HelloEntry::read(reader, limits))?;
        Ok(Self { context, hellos })
    }
}

/// A node opens its coin, having seen who is in the epoch. In the sparse graph
/// only. It needs no signature: nobody else can open the commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochReveal {
    /// Context of the epoch's set-up.
    pub context: Digest,
    /// [`EpochHellos::roll`] of the hellos this node was shown.
    pub roll: Digest,
    /// The coin.
    pub coin: [u8; 32],
}

impl Wire for EpochReveal {
    const KIND: Kind = Kind::EpochReveal;

    fn write(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.digest(&self.roll);
        writer.raw(&self.coin);
    }

    fn read(reader: &mut Reader<'_>, _: &Limits) -> Result<Self, DecodeError> {
        Ok(Self { context: reader.digest()?, roll: reader.digest()?, coin: reader.array()? })
    }
}

/// Everybody's coins, and the keys of the receiver's peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochPeers {
    /// Context of the epoch's set-up.
    pub context: Digest,
    /// The coin of every node of the roll, ascending; empty in the complete graph.
    pub coins: Vec<(NodeIndex, [u8; 32])>,
    /// The keys of the receiver's peers in the roll, ascending.
    pub keys: Vec<(NodeIndex, PublicKeys)>,
}

/// The coin of the graph: hash over the roll and everybody's coin.
#[must_use]
pub fn joint_coin(roll: &Digest, coins: &[(NodeIndex, [u8; 32])]) -> Digest {
    let mut writer = Writer::new();
    for (node, coin) in coins {
        writer.u16(node.0);
        writer.raw(coin);
    }
    hash("joint coin", &[&roll.0, &writer.finish()])
}

/// The epoch transcript: who is in the epoch, with which keys, on which graph. It
/// enters every key and every context of the epoch.
#[must_use]
pub fn transcript(roll: &Digest, joint_coin: &Digest) -> Digest {
    hash("epoch transcript", &[&roll.0, &joint_coin.0])
}

impl Wire for EpochPeers {
    const KIND: Kind = Kind::EpochPeers;

    fn write(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.count(self.coins.len());
        for (node, coin) in &self.coins {
            writer.u16(node.0);
            writer.raw(coin);
        }
        writer.count(self.keys.len());
        for (node, keys) in &self.keys {
            writer.u16(node.0);
            keys.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            coins: reader.list(limits.members, 2 + 32, |reader| {
                Ok((reader.node(limits)?, reader.array()?))
            })?,
            keys: reader.list(limits.members, 2 + 32 + KEM_KEY, |reader| {
                Ok((reader.node(limits)?, PublicKeys::read(reader)?))
            })?,
        })
    }
}
