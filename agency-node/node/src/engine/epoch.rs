//! Agreeing on an epoch's keys with every other agency.
//!
//! The keys of the newest complete epoch stay in use until a newer agreement is complete: no
//! message, forged or late or broken, takes them away.

use tributary_secagg::{
    Digest, EpochStart, Fault, NodeEpoch, NodeEpochHello, NodeEpochKem, ServerMessage,
};
use tributary_wire::session::{FromNode, ReportCode, Secagg};

use super::job::ActiveJob;
use super::{Output, Record, Secret, Setup};

/// Highest epoch number of a job. An honest aggregator starts few; without an end it could have
/// this node make keys for ever.
pub const MAX_EPOCHS: u32 = 16;

/// The keys of a job.
#[derive(Default)]
pub(super) struct Keys {
    /// Keys with every peer of the newest complete epoch, confirmed.
    pub(super) ready: Option<Box<NodeEpoch>>,
    pending: Option<Pending>,
}

/// A newer epoch on its way.
struct Pending {
    epoch: u32,
    /// Context of its messages.
    context: Digest,
    stage: Stage,
}

/// How far the agreement is.
enum Stage {
    /// Own keys are sent.
    Hello(Box<NodeEpochHello>),
    /// Ciphertexts are sent.
    Kem(Box<NodeEpochKem>),
}

impl Keys {
    /// Keys that were agreed on before a restart.
    pub(super) fn restored(keys: NodeEpoch) -> Self {
        Self { ready: Some(Box::new(keys)), pending: None }
    }
}

impl ActiveJob {
    pub(super) fn epoch_message(
        &mut self,
        setup: &Setup,
        message: ServerMessage,
        out: &mut Vec<Output>,
    ) {
        let done = match message {
            ServerMessage::EpochStart(start) => self.epoch_start(setup, &start, out),
            message => self.epoch_step(message, out),
        };
        if let Err(fault) = done {
            self.report(ReportCode::ProtocolFault, &fault.to_string(), out);
        }
    }

    fn epoch_start(
        &mut self,
        setup: &Setup,
        start: &EpochStart,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        // Before anything changes: a forged start must not even end a pending agreement.
        start.verify(&self.plan().roster)?;
        // Epochs only go up: an old one would bring old keys back.
        let held = self.epoch_number().is_some_and(|held| held >= start.epoch);
        if held || self.keys.pending.as_ref().is_some_and(|p| p.epoch > start.epoch) {
            out.push(Output::Note("an epoch that is not newer; ignored".into()));
            return Ok(());
        }
        if start.epoch > MAX_EPOCHS {
            let text = format!("epoch {} of a job, at most {MAX_EPOCHS}; refused", start.epoch);
            out.push(Output::Note(text));
            return Ok(());
        }
        let (hello, message) =
            NodeEpochHello::open(self.roster(), self.me(), setup.identity.clone(), start.epoch)?;
        let stage = Stage::Hello(Box::new(hello));
        let (epoch, context) = (start.epoch, start.context);
        self.keys.pending = Some(Pending { epoch, context, stage });
        self.send(&message, out);
        Ok(())
    }

    fn epoch_step(&mut self, message: ServerMessage, out: &mut Vec<Output>) -> Result<(), Fault> {
        let late = || Output::Note("a key-agreement message out of turn; ignored".into());
        let context = message.context();
        let Some(pending) = self.keys.pending.take_if(|p| p.context == context) else {
            out.push(late());
            return Ok(());
        };
        // From here a fault ends this agreement; the next epoch's start begins another.
        let epoch = pending.epoch;
        let stage = match (message, pending.stage) {
            (ServerMessage::EpochHellos(hellos), Stage::Hello(hello)) => {
                let (kem, message) = hello.on_hellos(hellos)?;
                self.send(&message, out);
                Stage::Kem(Box::new(kem))
            }
            (ServerMessage::EpochKems(kems), Stage::Kem(kem)) => {
                let keys = kem.on_kems(kems)?;
                let secret = Secret(keys.to_secret_bytes());
                out.push(Output::Persist(Record::Epoch { job: self.hex(), secret }));
                out.push(Output::Note(format!("keys of epoch {} are agreed", keys.epoch())));
                self.keys.ready = Some(Box::new(keys));
                return Ok(());
            }
            (_, stage) => {
                out.push(late());
                stage
            }
        };
        self.keys.pending = Some(Pending { epoch, context, stage });
        Ok(())
    }

    pub(super) fn send(&self, message: &tributary_secagg::NodeMessage, out: &mut Vec<Output>) {
        let frame = Secagg { job: self.hash(), frame: message.encode() };
        out.push(Output::Send(FromNode::Secagg(frame)));
    }
}
