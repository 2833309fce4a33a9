//! Agreeing on an epoch's keys with every other agency.

use tributary_secagg::{Fault, NodeEpoch, NodeEpochHello, NodeEpochKem, ServerMessage};
use tributary_wire::session::{FromNode, ReportCode, Secagg};

use super::job::ActiveJob;
use super::{Output, Record, Secret, Setup};

/// How far the key agreement is.
pub(super) enum Keys {
    /// No epoch yet.
    None,
    /// Own keys are sent.
    Hello(Box<NodeEpochHello>),
    /// Ciphertexts are sent.
    Kem(Box<NodeEpochKem>),
    /// Keys with every peer, confirmed.
    Ready(Box<NodeEpoch>),
}

impl ActiveJob {
    pub(super) fn epoch_message(
        &mut self,
        setup: &Setup,
        message: ServerMessage,
        out: &mut Vec<Output>,
    ) {
        if let Err(fault) = self.epoch_step(setup, message, out) {
            self.keys = Keys::None;
            self.report(ReportCode::ProtocolFault, &fault.to_string(), out);
        }
    }

    fn epoch_step(
        &mut self,
        setup: &Setup,
        message: ServerMessage,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        match (message, std::mem::replace(&mut self.keys, Keys::None)) {
            (ServerMessage::EpochStart(start), before) => {
                start.verify(&self.plan().roster)?;
                // Epochs only go up: an old one would bring old keys back.
                if let Keys::Ready(keys) = &before
                    && keys.epoch() >= start.epoch
                {
                    self.keys = before;
                    out.push(Output::Note("an epoch that is not newer; ignored".into()));
                    return Ok(());
                }
                let (hello, message) = NodeEpochHello::open(
                    self.roster(),
                    self.me(),
                    setup.identity.clone(),
                    start.epoch,
                )?;
                self.keys = Keys::Hello(Box::new(hello));
                self.send(&message, out);
            }
            (ServerMessage::EpochHellos(hellos), Keys::Hello(hello)) => {
                let (kem, message) = hello.on_hellos(hellos)?;
                self.keys = Keys::Kem(Box::new(kem));
                self.send(&message, out);
            }
            (ServerMessage::EpochKems(kems), Keys::Kem(kem)) => {
                let keys = kem.on_kems(kems)?;
                let secret = Secret(keys.to_secret_bytes());
                out.push(Output::Persist(Record::Epoch { job: self.hex(), secret }));
                out.push(Output::Note(format!("keys of epoch {} are agreed", keys.epoch())));
                self.keys = Keys::Ready(Box::new(keys));
            }
            (_, before) => {
                self.keys = before;
                out.push(Output::Note("a key-agreement message out of turn; ignored".into()));
            }
        }
        Ok(())
    }

    pub(super) fn send(
        &self,
        message: &tributary_secagg::NodeMessage,
        out: &mut Vec<Output>,
    ) {
        let frame = Secagg { job: self.hash(), frame: message.encode() };
        out.push(Output::Send(FromNode::Secagg(frame)));
    }
}
