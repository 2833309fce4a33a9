//! What the aggregator's driver does with what its machines give out: store, send,
//! compute the state, go on. It knows no node.

use tributary_secagg::messages::Kind;
use tributary_secagg::{NodeIndex, NodeSet, ResultQc, ServerMessage, ServerOutput, ServerPhase};

use super::aggregator::{Activity, Disk};
use super::node::Results;
use super::plan::{Step, When, Who, pick};
use super::world::{Event, Frame, Payload, World};

impl World {
    pub fn take_outputs(&mut self, outputs: Vec<ServerOutput>) {
        let (n, life) = (self.plan.thresholds.n, self.aggregator.life);
        let (mut stepped, mut sent) = (None, false);
        for output in outputs {
            match output {
                ServerOutput::Send(node, message) => {
                    sent |= message.kind() != Kind::UploadTurn;
                    self.store_and_send_all(&NodeSet::of(n, [node]), &message, &mut stepped);
                }
                ServerOutput::SendAll(nodes, message) => {
                    sent = true;
                    self.store_and_send_all(&nodes, &message, &mut stepped);
                }
                ServerOutput::Opened { sum, survivors, .. } => {
                    let Activity::Attempt(machine, _) = &self.aggregator.activity else { return };
                    let (ctx, bits) = (machine.ctx(), self.plan.bits);
                    self.checks.opened(None, ctx, bits, &sum, &survivors);
                    self.aggregator.pending = Some(self.aggregator.disk.results.next_state(&sum));
                    let wait = pick(&mut self.rng, 1, self.plan.faults.work);
                    self.later(wait, Event::State { life });
                }
                ServerOutput::Certified(certificate) => self.certify(&certificate),
                ServerOutput::Aborted(abort) => {
                    self.note(format_args!("aggregator aborts: {abort}"));
                    let at = match self.aggregator.activity {
                        Activity::Attempt(_, at) => at,
                        _ => (self.aggregator.disk.results.round, self.plan.max_attempts),
                    };
                    self.aggregator.aborts.insert(at, abort.to_string());
                }
                ServerOutput::Evicted { node, why, .. } => self.checks.evicted(node, &why),
            }
            if self.aggregator.life != life {
                return;
            }
        }
        self.settle(sent);
    }

    /// What follows from where the machine stands now.
    fn settle(&mut self, sent: bool) {
        let life = self.aggregator.life;
        match &self.aggregator.activity {
            Activity::Idle => {}
            Activity::Epoch(machine) => {
                if let Some(facts) = machine.facts().cloned() {
                    self.aggregator.activity = Activity::Idle;
                    self.note(format_args!("aggregator: epoch of {}", facts.members));
                    let round = self.aggregator.disk.results.round;
                    if self.store_at_aggregator(Step::Facts, |disk| {
                        (disk.facts, disk.epoch_round) = (Some(facts), round);
                    }) {
                        self.later(5, Event::Next { life });
                    }
                } else if machine.waiting_for().is_empty() {
                    // Aborted: neither complete nor waiting for anybody.
                    self.aggregator.activity = Activity::Idle;
                    self.later(60, Event::Next { life });
                } else if sent {
                    self.arm();
                }
            }
            Activity::Attempt(machine, _) => {
                let phase = machine.phase();
                if self.aggregator.phase == Some(phase) {
                    return;
                }
                self.aggregator.phase = Some(phase);
                self.note(format_args!("aggregator is {phase}"));
                if matches!(phase, ServerPhase::Certified | ServerPhase::Aborted) {
                    let wait = pick(&mut self.rng, 1, 40);
                    self.later(wait, Event::Next { life });
                } else {
                    self.arm();
                }
            }
        }
    }

    fn certify(&mut self, certificate: &ResultQc) {
        let Activity::Attempt(_, at) = &self.aggregator.activity else { return };
        let round = at.0;
        self.checks.certified(round, certificate);
        let disk = &mut self.aggregator.disk;
        disk.results = Results::after(round, certificate);
        disk.certificate = Some(certificate.encode());
        disk.attempt = 0;
    }

    /// Stores; false if the aggregator crashed before or after.
    fn store_at_aggregator(&mut self, step: Step, what: impl FnOnce(&mut Disk)) -> bool {
        if self.crashes_here(Who::Aggregator, step, When::Before) {
            self.crash_aggregator();
            return false;
        }
        what(&mut self.aggregator.disk);
        if self.crashes_here(Who::Aggregator, step, When::After) {
            self.crash_aggregator();
            return false;
        }
        true
    }

    /// A message to some nodes; what must be durable first is stored once per kind.
    fn store_and_send_all(
        &mut self,
        nodes: &NodeSet,
        message: &ServerMessage,
        stepped: &mut Option<Kind>,
    ) {
        let kind = message.kind();
        for node in nodes.iter() {
            if *stepped == Some(kind) {
                if self.crashes_here(Who::Aggregator, Step::Message(kind), When::Midway) {
                    return self.crash_aggregator();
                }
            } else {
                *stepped = Some(kind);
                if !self.store_before(message) {
                    return;
                }
            }
            self.note(format_args!("aggregator -> {kind} to {node}"));
            self.send_stored(node, Payload::Bytes(message.encode()));
        }
    }

    fn store_before(&mut self, message: &ServerMessage) -> bool {
        let step = Step::Message(message.kind());
        match message {
            ServerMessage::EpochStart(start) => {
                self.store_at_aggregator(step, |disk| disk.epoch = start.epoch)
            }
            ServerMessage::RoundStart(start) => {
                let next = start.view.attempt + 1;
                let stored = self.store_at_aggregator(step, |disk| disk.attempt = next);
                if stored {
                    self.checks.attempt(start);
                }
                stored
            }
            ServerMessage::ResultQc(certificate) => {
                if self.crashes_here(Who::Aggregator, step, When::Before) {
                    self.crash_aggregator();
                    return false;
                }
                self.certify(certificate);
                if self.crashes_here(Who::Aggregator, step, When::After) {
                    self.crash_aggregator();
                    return false;
                }
                true
            }
            _ => self.store_at_aggregator(step, |_| ()),
        }
    }

    /// Sends, and keeps a copy for a resend.
    pub fn send_stored(&mut self, node: NodeIndex, payload: Payload) {
        let Some(session) = self.aggregator.session else { return };
        let outbox = &mut self.aggregator.outbox[usize::from(node.0)];
        let place = outbox.len() as u32;
        let frame = Frame { session, place, payload };
        outbox.push(frame.clone());
        self.carry_to_node(node, frame);
    }
}
