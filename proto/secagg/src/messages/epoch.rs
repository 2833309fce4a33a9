//! Epoch set-up: every node's X25519 and ML-KEM-768 keys, then one encapsulation
//! and one key confirmation for every ordered pair of nodes.

use super::statement::{Kind, signed_message};
use super::{SignedMessage, Wire};
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::digest::{Digest, hash};
use crate::identity::Signature;
use crate::ids::NodeIndex;
use crate::roster::Roster;

/// Bytes of an ML-KEM-768 encapsulation key (FIPS 203).
pub const KEM_KEY: usize = 1184;
/// Bytes of an ML-KEM-768 ciphertext (FIPS 203).
pub const KEM_CIPHERTEXT: usize = 1088;

/// A node's fresh key-agreement keys for one epoch, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochHello {
    /// Context of the epoch's set-up: roster and epoch number.
    pub context: Digest,
    /// Number of the epoch.
    pub epoch: u32,
    /// The node.
    pub from: NodeIndex,
    /// X25519 public key (RFC 7748).
    pub x25519: [u8; 32],
    /// ML-KEM-768 encapsulation key.
    pub kem_key: Box<[u8; KEM_KEY]>,
    /// Signature of `from`.
    pub signature: Signature,
}

impl EpochHello {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.u32(self.epoch);
        writer.u16(self.from.0);
        writer.raw(&self.x25519);
        writer.raw(self.kem_key.as_ref());
    }
}

signed_message!(EpochHello);

impl Wire for EpochHello {
    const KIND: Kind = Kind::EpochHello;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            epoch: reader.u32()?,
            from: reader.node(limits)?,
            x25519: reader.array()?,
            kem_key: Box::new(reader.array()?),
            signature: reader.array()?,
        })
    }
}

/// The hellos of the nodes that are in the epoch, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochHellos {
    /// Context of the epoch's set-up.
    pub context: Digest,
    /// One hello per node.
    pub hellos: Vec<EpochHello>,
}

impl EpochHellos {
    /// The epoch transcript: hash over the roster and every hello with its
    /// signature. It enters every key and every context of the epoch.
    #[must_use]
    pub fn transcript(&self, roster: &Roster) -> Digest {
        let roster = roster.digest();
        let hellos: Vec<(Vec<u8>, Signature)> =
            self.hellos.iter().map(|hello| (hello.body(), hello.signature)).collect();
        let mut parts: Vec<&[u8]> = vec![&self.context.0, &roster.0];
        for (body, signature) in &hellos {
            parts.push(body);
            parts.push(signature);
        }
        hash("epoch transcript", &parts)
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
        let hellos =
            reader.list(limits.members, KEM_KEY, |reader| EpochHello::read(reader, limits))?;
        Ok(Self { context, hellos })
    }
}

/// One encapsulation of `from` to the key of `to`, with `from`'s confirmation
/// that it holds the shared secrets of this direction. The signature makes the
/// ciphertext as authentic as the hellos, so that a broken X25519 alone lets
/// nobody step in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KemParcel {
    /// The node that encapsulated.
    pub from: NodeIndex,
    /// The node it is for.
    pub to: NodeIndex,
    /// ML-KEM-768 ciphertext.
    pub ciphertext: Box<[u8; KEM_CIPHERTEXT]>,
    /// Key confirmation under both shared secrets.
    pub confirmation: [u8; 32],
    /// Signature of `from` under the epoch transcript.
    pub signature: Signature,
}

impl KemParcel {
    /// The bytes that are signed, under an epoch transcript.
    #[must_use]
    pub fn statement(&self, transcript: &Digest) -> Digest {
        let mut writer = Writer::new();
        self.write_body(&mut writer);
        super::statement::statement(Kind::KemParcel, transcript, &writer.finish())
    }

    fn write_body(&self, writer: &mut Writer) {
        writer.u16(self.from.0);
        writer.u16(self.to.0);
        writer.raw(self.ciphertext.as_ref());
        writer.raw(&self.confirmation);
    }

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            from: reader.node(limits)?,
            to: reader.node(limits)?,
            ciphertext: Box::new(reader.array()?),
            confirmation: reader.array()?,
            signature: reader.array()?,
        })
    }
}

/// Declares a list of parcels, one type per direction.
macro_rules! parcels {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            /// Context of the epoch's set-up.
            pub context: Digest,
            /// Transcript of the hellos the sender has seen.
            pub transcript: Digest,
            /// One parcel per peer, in ascending order of the peer.
            pub parcels: Vec<KemParcel>,
        }

        impl Wire for $name {
            const KIND: Kind = Kind::$name;

            fn write(&self, writer: &mut Writer) {
                writer.digest(&self.context);
                writer.digest(&self.transcript);
                writer.count(self.parcels.len());
                for parcel in &self.parcels {
                    parcel.write(writer);
                }
            }

            fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
                Ok(Self {
                    context: reader.digest()?,
                    transcript: reader.digest()?,
                    parcels: reader.list(limits.members, KEM_CIPHERTEXT, |reader| {
                        KemParcel::read(reader, limits)
                    })?,
                })
            }
        }
    };
}

parcels! {
    /// A node's parcels for all its peers; every parcel is signed.
    EpochKem
}
parcels! {
    /// The parcels of all peers for one node.
    EpochKems
}
