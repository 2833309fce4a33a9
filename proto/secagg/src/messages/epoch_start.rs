//! The aggregator opens an epoch: its number, signed, so that nodes know which keys to make.

use super::Wire;
use super::statement::{Kind, SignedMessage, signed_message};
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::context::epoch_context;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::identity::{Identity, Signature};
use crate::roster::Roster;

/// An epoch begins; every node of the roster answers with its hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochStart {
    /// Context of the epoch's set-up: roster and epoch number.
    pub context: Digest,
    /// Number of the epoch; numbers of a job increase.
    pub epoch: u32,
    /// Signature of the aggregator.
    pub signature: Signature,
}

impl EpochStart {
    /// The aggregator's signed start of an epoch.
    #[must_use]
    pub fn new(roster: &Roster, identity: &Identity, epoch: u32) -> Self {
        let context = epoch_context(roster, epoch);
        Self { context, epoch, signature: [0; 64] }.signed_by(identity)
    }

    /// Whether it is the aggregator's and of this roster.
    ///
    /// # Errors
    /// [`Fault::PeerMisbehaved`] naming the aggregator.
    pub fn verify(&self, roster: &Roster) -> Result<(), Fault> {
        if self.context != epoch_context(roster, self.epoch) {
            return Err(Fault::aggregator("started an epoch of another job or roster"));
        }
        if !self.is_signed_by(&roster.aggregator) {
            return Err(Fault::aggregator("did not sign the start of the epoch"));
        }
        Ok(())
    }

    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.u32(self.epoch);
    }
}

signed_message!(EpochStart);

impl Wire for EpochStart {
    const KIND: Kind = Kind::EpochStart;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, _: &Limits) -> Result<Self, DecodeError> {
        Ok(Self { context: reader.digest()?, epoch: reader.u32()?, signature: reader.array()? })
    }
}
