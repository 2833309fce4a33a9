//! The aggregator opens an epoch: its number, signed, so that nodes know which keys to make.

use super::Wire;
use super::statement::{Kind, SignedMessage, signed_message};
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::context::epoch_context;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::identity::{Identity, Signature};
use crate::ids::NodeSet;
use crate::roster::Roster;

/// Epochs of a job, counted from 1; a node takes part in no more. With the restarts it bounds how
/// often somebody can throw the coin of the graph again.
pub const MAX_EPOCHS: u32 = 16;

/// Times an epoch may begin anew because somebody did not open its coin.
pub const MAX_RESTARTS: u8 = 3;

/// An epoch begins; every node of the roster answers with its hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochStart {
    /// Context of the epoch's set-up: roster, epoch number, restart, who is left out.
    pub context: Digest,
    /// Number of the epoch; numbers of a job increase.
    pub epoch: u32,
    /// How often this epoch began anew before.
    pub restart: u8,
    /// Nodes left out because they did not open their coin.
    pub excluded: NodeSet,
    /// Signature of the aggregator.
    pub signature: Signature,
}

impl EpochStart {
    /// The aggregator's signed start of an epoch.
    #[must_use]
    pub fn new(
        roster: &Roster,
        identity: &Identity,
        epoch: u32,
        restart: u8,
        excluded: NodeSet,
    ) -> Self {
        let context = epoch_context(roster, epoch, restart, &excluded);
        Self { context, epoch, restart, excluded, signature: [0; 64] }.signed_by(identity)
    }

    /// Whether it is the aggregator's, of this roster and within the bounds of a job.
    ///
    /// # Errors
    /// [`Fault::PeerMisbehaved`] naming the aggregator.
    pub fn verify(&self, roster: &Roster) -> Result<(), Fault> {
        if self.context != epoch_context(roster, self.epoch, self.restart, &self.excluded) {
            return Err(Fault::aggregator("started an epoch of another job or roster"));
        }
        if self.epoch == 0 || self.epoch > MAX_EPOCHS || self.restart > MAX_RESTARTS {
            return Err(Fault::aggregator(format!(
                "started epoch {} for the {}. time; a job has epochs 1 to {MAX_EPOCHS}, each with \
                 at most {MAX_RESTARTS} restarts",
                self.epoch,
                u16::from(self.restart) + 1
            )));
        }
        if (self.restart == 0) != self.excluded.is_empty() {
            return Err(Fault::aggregator(
                "left nodes out of an epoch that did not begin anew, or began it anew for nobody",
            ));
        }
        if !self.is_signed_by(&roster.aggregator) {
            return Err(Fault::aggregator("did not sign the start of the epoch"));
        }
        Ok(())
    }

    fn write_body(&self, writer: &mut Writer) {
        writer.digest(&self.context);
        writer.u32(self.epoch);
        writer.u8(self.restart);
        self.excluded.write(writer);
    }
}

signed_message!(EpochStart);

impl Wire for EpochStart {
    const KIND: Kind = Kind::EpochStart;

    fn write(&self, writer: &mut Writer) {
        self.write_body(writer);
        writer.raw(&self.signature);
    }

    fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self {
            context: reader.digest()?,
            epoch: reader.u32()?,
            restart: reader.u8()?,
            excluded: NodeSet::read(reader, limits.members)?,
            signature: reader.array()?,
        })
    }
}
