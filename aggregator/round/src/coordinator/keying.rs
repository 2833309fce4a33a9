//! The epoch: every member of the roster agrees on a key with every other.

use tributary_secagg::{
    EpochStart, Fault, Limits, NodeIndex, NodeMessage, Party, ServerEpoch, ServerMessage,
    ServerOutput,
};

use super::{Coordinator, Stage};
use crate::event::{Effect, Now, Step};
use crate::record::KIND_EPOCH;

/// Epochs of one job: nodes refuse more.
const MAX_EPOCHS: u32 = 16;

impl Coordinator {
    /// Opens the next epoch. Its number is durable before anybody hears of it.
    pub(super) fn start_epoch(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.epoch >= MAX_EPOCHS {
            let text = format!("no agreement on keys in {MAX_EPOCHS} epochs");
            return self.end(now, false, text, effects);
        }
        self.epoch += 1;
        let roster = self.plan.roster.clone();
        let epoch = match ServerEpoch::open(roster, self.identity.clone(), self.epoch) {
            Ok(epoch) => epoch,
            Err(fault) => return self.end(now, false, fault.to_string(), effects),
        };
        let deadline = now.millis + self.timeouts.step;
        self.stage = Stage::Keying { epoch: Box::new(epoch), deadline };
        effects.push(self.persist(Step::default()));
        let start = EpochStart::new(&self.plan.roster, &self.identity, self.epoch);
        let start = ServerMessage::EpochStart(start).encode();
        for i in 0..self.members.len() {
            effects.push(Effect::Secagg(NodeIndex(i as u16), start.clone()));
        }
    }

    pub(super) fn keying_frame(
        &mut self,
        now: Now,
        node: NodeIndex,
        frame: &[u8],
        effects: &mut Vec<Effect>,
    ) {
        let Stage::Keying { epoch, deadline } = &mut self.stage else { return };
        let limits = Limits::for_members(self.plan.roster.thresholds.n);
        let waiting = epoch.waiting_for();
        let outputs = match NodeMessage::decode(frame, &limits) {
            Ok(message) => epoch.handle(node, message),
            Err(error) => Err(Fault::PeerMisbehaved {
                who: Party::Node(node),
                what: format!("sent a frame that cannot be read: {error}"),
            }),
        };
        match outputs {
            Ok(outputs) => {
                // Repeating oneself does not buy time.
                if epoch.waiting_for() != waiting {
                    *deadline = now.millis + self.timeouts.step;
                }
                self.keying_outputs(now, outputs, effects);
            }
            // Left over from an epoch that was given up.
            Err(Fault::Stale { .. }) => {}
            Err(fault) => self.fault(now, node, &fault, effects),
        }
    }

    /// Goes on without the agencies that did not answer; they sit out until the next epoch.
    pub(super) fn keying_deadline(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Stage::Keying { epoch, .. } = &mut self.stage else { return };
        let waiting = epoch.waiting_for();
        let outputs = epoch.deadline();
        let missing = self.names(&waiting).join(", ");
        effects.push(Effect::Note(format!("no answer in the key agreement from {missing}")));
        self.keying_outputs(now, outputs, effects);
    }

    fn keying_outputs(&mut self, now: Now, outputs: Vec<ServerOutput>, effects: &mut Vec<Effect>) {
        for output in outputs {
            match output {
                ServerOutput::Send(to, message) => {
                    effects.push(Effect::Secagg(to, message.encode()));
                }
                ServerOutput::Aborted(abort) => {
                    let text = format!("no agreement on keys: {abort}");
                    return self.end(now, false, text, effects);
                }
                _ => {}
            }
        }
        let Stage::Keying { epoch, .. } = &self.stage else { return };
        if epoch.is_complete() {
            self.transcript = epoch.transcript();
            if let Some(members) = epoch.members().cloned() {
                self.epoch_members = members;
            }
            for (i, member) in self.members.iter_mut().enumerate() {
                let inside = self.epoch_members.contains(NodeIndex(i as u16));
                member.resume.epoch = inside.then_some(self.epoch);
            }
            self.keys_agreed(now, effects);
        }
    }

    fn keys_agreed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut step = Step::default();
        let transcript = self.transcript.map(|t| t.to_string());
        let body = serde_json::json!({"epoch": self.epoch, "transcript": transcript});
        self.record(&mut step, now, KIND_EPOCH, body);
        effects.push(self.persist(step));
        self.begin_attempt(now, effects);
    }
}
