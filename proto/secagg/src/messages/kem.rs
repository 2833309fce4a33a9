//! The second half of an epoch's set-up: one encapsulation and one key confirmation
//! for every ordered pair of peers, and each node's word that it holds its keys.

use super::Wire;
use super::statement::{Kind, signed_message};
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::digest::Digest;
use crate::identity::Signature;
use crate::ids::{NodeIndex, NodeSet};

/// Bytes of an ML-KEM-768 ciphertext (FIPS 203).
pub const KEM_CIPHERTEXT: usize = 1088;

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
    /// A node's parcels for all its peers in the epoch; every parcel is signed.
    EpochKem
}
parcels! {
    /// The parcels of all peers for one node.
    EpochKems
}

/// A node holds its keys, and says which peers' confirmations did not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochDone {
    /// Context of the epoch's set-up.
    pub context: Digest,
    /// Transcript of the epoch.
    pub transcript: Digest,
    /// Peers whose encapsulation arrived and did not confirm.
    pub without: NodeSet,
    /// Signature of the node.
    pub signature: Signature,
}

impl EpochDone {
    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.digest(&self.transcript);
        self.without.write(writer);
    }
}

signed_message!(EpochDone);

impl Wire for EpochDone {
    const KIND: Kind = Kind::EpochDone;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            transcript: reader.digest()?,
            without: NodeSet::read(reader, limits.members)?,
            signature: reader.array()?,
        })
    }
}
