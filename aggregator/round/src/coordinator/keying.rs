//! The epoch: every member of the roster agrees on a key with every other.

use tributary_secagg::{EpochStart, Limits, NodeIndex, NodeMessage, ServerEpoch, ServerMessage, ServerOutput};

use super::{Coordinator, Stage};
use crate::event::{Effect, Now, Step};
use crate::record::KIND_EPOCH;

impl Coordinator {
    /// Opens the next epoch. Its number is durable before anybody hears of it.
    pub(super) fn start_epoch(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.epoch += 1;
        let epoch = ServerEpoch::open(self.plan.roster.clone(), self.identity.clone(), self.epoch);
        let deadline = now.millis + self.timeouts.step;
        self.stage = Stage::Keying { epoch: Box::new(epoch), deadline };
        effects.push(self.persist(Step::default()));
        let start = ServerMessage::EpochStart(EpochStart { epoch: self.epoch }).encode();
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
        let limits = Limits::for_roster(&self.plan.roster);
        let outputs = match NodeMessage::decode(frame, &limits) {
            Ok(message) => epoch.handle(node, message),
            Err(error) => Err(error.by_node(node)),
        };
        match outputs {
            Ok(outputs) => {
                *deadline = now.millis + self.timeouts.step;
                for output in outputs {
                    if let ServerOutput::Send(to, message) = output {
                        effects.push(Effect::Secagg(to, message.encode()));
                    }
                }
            }
            Err(fault) => return self.fault(now, node, &fault, effects),
        }
        let Stage::Keying { epoch, .. } = &self.stage else { return };
        if epoch.is_complete() {
            self.transcript = epoch.transcript();
            self.keys_agreed(now, effects);
        }
    }

    fn keys_agreed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for member in &mut self.members {
            member.resume.epoch = Some(self.epoch);
        }
        let mut step = Step::default();
        let transcript = self.transcript.map(|t| t.to_string());
        let body = serde_json::json!({"epoch": self.epoch, "transcript": transcript});
        self.record(&mut step, now, KIND_EPOCH, body);
        effects.push(self.persist(step));
        self.begin_attempt(now, effects);
    }
}
