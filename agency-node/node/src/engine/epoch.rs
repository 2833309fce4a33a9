//! Agreeing on an epoch's keys with every other agency.
//!
//! The keys of the newest complete epoch stay in use until a newer agreement is complete: no
//! message, forged or late or broken, takes them away.

use tributary_secagg::{
    Digest, EpochStart, Fault, NodeEpoch, NodeEpochHello, NodeEpochKem, NodeEpochPeers,
    ServerMessage,
};
use tributary_wire::session::{FromNode, ReportCode, Secagg};

use super::job::ActiveJob;
use super::{Output, Record, Secret, Setup};

/// The keys of a job.
#[derive(Default)]
pub(super) struct Keys {
    /// Keys with every peer of the newest complete epoch, confirmed.
    pub(super) ready: Option<Box<NodeEpoch>>,
    pending: Option<Pending>,
    /// The newest epoch and restart that this node has answered, whatever became of it: one number
    /// never gets two coins. Durable before the answer is sent.
    pub(super) answered: Option<(u32, u8)>,
}

impl ActiveJob {
    /// Whether keys are there and nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        let keys = self.keys.ready.is_some() && self.keys.pending.is_none();
        keys && self.running.is_none() && self.transfer.is_none()
    }
}

/// A newer epoch on its way.
struct Pending {
    /// Context of its messages.
    context: Digest,
    stage: Stage,
}

/// How far the agreement is.
enum Stage {
    /// Own keys are sent.
    Hello(Box<NodeEpochHello>),
    /// It is known who is in the epoch.
    Peers(Box<NodeEpochPeers>),
    /// Ciphertexts are sent.
    Kem(Box<NodeEpochKem>),
}

impl Keys {
    /// What was agreed on and answered before a restart.
    pub(super) fn restored(keys: Option<NodeEpoch>, answered: Option<(u32, u8)>) -> Self {
        Self { ready: keys.map(Box::new), pending: None, answered }
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
        // Before anything changes: a forged start must not even end a pending agreement. It also
        // bounds epochs and restarts: without an end this node would make keys for ever, and
        // whoever opens its coin last could throw it as often as it likes.
        start.verify(&self.plan().roster)?;
        // Epochs and their restarts only go up: an old one would bring old keys back.
        let number = (start.epoch, start.restart);
        let held = self.epoch_number().is_some_and(|held| held >= start.epoch);
        if held || self.keys.answered.is_some_and(|newest| newest >= number) {
            out.push(Output::Note("an epoch that is not newer; ignored".into()));
            return Ok(());
        }
        let mut rng = (setup.randomness)().map_err(|_| Fault::Crypto { what: "randomness" })?;
        let (hello, message) = NodeEpochHello::open(&self.seat(setup)?, start, &mut rng)?;
        let stage = Stage::Hello(Box::new(hello));
        self.keys.pending = Some(Pending { context: start.context, stage });
        self.keys.answered = Some(number);
        out.push(Output::Persist(Record::Answered { job: self.hex(), number }));
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
        let stage = match (message, pending.stage) {
            (ServerMessage::EpochHellos(hellos), Stage::Hello(hello)) => {
                let (peers, reveal) = hello.on_hellos(&hellos)?;
                if let Some(reveal) = reveal {
                    self.send(&reveal, out);
                }
                Stage::Peers(Box::new(peers))
            }
            (ServerMessage::EpochPeers(message), Stage::Peers(peers)) => {
                let (kem, message) = peers.on_peers(message)?;
                self.send(&message, out);
                Stage::Kem(Box::new(kem))
            }
            (ServerMessage::EpochKems(kems), Stage::Kem(kem)) => {
                let (keys, done) = kem.on_kems(&kems)?;
                let secret = Secret(keys.to_secret_bytes());
                out.push(Output::Persist(Record::Epoch { job: self.hex(), secret }));
                out.push(Output::Note(format!("keys of epoch {} are agreed", keys.epoch())));
                self.keys.ready = Some(Box::new(keys));
                self.send(&done, out);
                return Ok(());
            }
            (_, stage) => {
                out.push(late());
                stage
            }
        };
        self.keys.pending = Some(Pending { context, stage });
        Ok(())
    }

    pub(super) fn send(&self, message: &tributary_secagg::NodeMessage, out: &mut Vec<Output>) {
        let frame = Secagg { job: self.hash(), frame: message.encode().into() };
        out.push(Output::Send(FromNode::Secagg(frame)));
    }
}
