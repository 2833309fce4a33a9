//! The epoch: every member of the roster agrees on a key with every other.

use tributary_secagg::{
    Abort, Fault, Limits, MAX_EPOCHS, NodeIndex, NodeMessage, NodeSet, Party, ServerEpoch,
    ServerOutput,
};

use super::{Coordinator, Stage};
use crate::event::{Effect, Now, Step};
use crate::record::KIND_EPOCH;

/// Epochs of a job that are thrown away when somebody leaves while keys are agreed on. A cut line is
/// worth another try, since whoever has no keys is out for the whole job; an agency that leaves
/// again and again must not keep the others from beginning.
const NEW_EPOCHS: u32 = 3;

impl Coordinator {
    /// Opens the next epoch. Its number is durable before anybody hears of it.
    pub(super) fn start_epoch(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.epoch >= MAX_EPOCHS {
            let text = format!("no agreement on keys in {MAX_EPOCHS} epochs");
            return self.end(now, false, text, effects);
        }
        self.epoch += 1;
        let (epoch, outputs) = ServerEpoch::open(&self.seat, self.epoch, self.excluded());
        let deadline = now.millis + self.timeouts.step;
        let left = NodeSet::new(self.plan.roster.size());
        self.stage = Stage::Keying { epoch: Box::new(epoch), deadline, left };
        effects.push(self.persist(Step::default()));
        self.keying_outputs(now, outputs, effects);
    }

    pub(super) fn keying_frame(
        &mut self,
        now: Now,
        node: NodeIndex,
        frame: &[u8],
        effects: &mut Vec<Effect>,
    ) {
        let out = self.member(node).is_none_or(|m| m.excluded.is_some());
        let Stage::Keying { epoch, deadline, left } = &mut self.stage else { return };
        if out || left.contains(node) {
            return;
        }
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

    /// Somebody left: the first epochs are thrown away and begin anew when it is back, later ones
    /// go on without it. Whoever is out of the job stops nothing.
    pub(super) fn left_keying(&mut self, now: Now, node: NodeIndex, effects: &mut Vec<Effect>) {
        let out = self.member(node).is_none_or(|m| m.excluded.is_some());
        let Stage::Keying { left, .. } = &mut self.stage else { return };
        if out || !left.insert(node) {
            return;
        }
        if self.epoch <= NEW_EPOCHS {
            self.stage = Stage::Offering { deadline: now.millis + self.timeouts.gather };
        }
        self.blame(now, node, "left", ("left while keys were agreed on", None), effects);
    }

    fn keying_outputs(&mut self, now: Now, outputs: Vec<ServerOutput>, effects: &mut Vec<Effect>) {
        let mut aborted = None;
        for output in outputs {
            match output {
                ServerOutput::Send(..) | ServerOutput::SendAll(..) => self.send(output, effects),
                ServerOutput::Evicted { node, why, evidence } => {
                    self.strike(node, &why, true);
                    self.blame(now, node, "evicted", (&why, evidence.as_ref()), effects);
                }
                ServerOutput::Aborted(abort) => aborted = Some(abort),
                ServerOutput::Opened { .. } | ServerOutput::Certified(_) => {}
            }
        }
        if let Some(abort) = aborted {
            return self.keying_aborted(now, &abort, effects);
        }
        let Stage::Keying { epoch, .. } = &self.stage else { return };
        if let Some(facts) = epoch.facts() {
            for (i, member) in self.members.iter_mut().enumerate() {
                let inside = facts.members.contains(NodeIndex(i as u16));
                member.resume.epoch = inside.then_some(self.epoch);
            }
            self.facts = Some(facts.clone());
            self.keys_agreed(now, effects);
        }
    }

    /// The next epoch tries again, without those that are out of the job by now, as soon as all the
    /// others are there.
    fn keying_aborted(&mut self, now: Now, abort: &Abort, effects: &mut Vec<Effect>) {
        let left = self.members.len() - self.excluded().len();
        if self.epoch >= MAX_EPOCHS || left < usize::from(self.plan.roster.thresholds.u_min) {
            let text = format!("no agreement on keys: {abort}");
            return self.end(now, false, text, effects);
        }
        effects.push(Effect::Note(format!("epoch {}: no agreement on keys: {abort}", self.epoch)));
        self.stage = Stage::Offering { deadline: now.millis + self.timeouts.gather };
        if self.everybody_accepted() {
            self.start_epoch(now, effects);
        } else {
            effects.push(self.persist(Step::default()));
        }
    }

    fn keys_agreed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut step = Step::default();
        let transcript = self.facts.as_ref().map(|facts| facts.transcript.to_string());
        let coin = self.facts.as_ref().map(|facts| facts.coin.to_string());
        let body = serde_json::json!({"epoch": self.epoch, "transcript": transcript, "coin": coin});
        self.record(&mut step, now, KIND_EPOCH, body);
        effects.push(self.persist(step));
        self.begin_attempt(now, effects);
    }
}
