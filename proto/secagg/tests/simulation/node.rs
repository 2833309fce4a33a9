//! A node's driver and its disk: what it stores before what leaves, and what it
//! still has after a crash. It trusts its disk and nobody else.

use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use tributary_secagg::{
    Digest, Fault, Identity, Lanes, NodeEpoch, NodeIndex, NodeMessage, NodeOutput, NodePhase,
    NodeRound, NodeSeat, ResultQc, Roster, RoundStart, RoundView, ServerMessage, hash,
};

use super::checks::At;
use super::plan::{Driver, Plan, Step, When, Who, pick};
use super::world::{Event, Frame, Payload, Session, Work, World, decode_server};
use crate::common::{Keying, lanes, words};

/// What survives a crash.
#[derive(Default)]
pub struct Disk {
    pub epoch: Option<Vec<u8>>,
    /// The first epoch bytes ever stored; only a broken driver reads them.
    pub old_backup: Option<Vec<u8>>,
    /// The last start of an epoch that was answered.
    pub answered: Option<(u32, u8)>,
    pub charges: Vec<At>,
    pub results: Results,
}

/// Where the job stands, as certified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Results {
    /// The round that comes next.
    pub round: u32,
    pub state: Digest,
    pub previous: Digest,
}

impl Default for Results {
    fn default() -> Self {
        Self { round: 0, state: Digest::ZERO, previous: Digest::ZERO }
    }
}

impl Results {
    pub fn after(round: u32, certificate: &ResultQc) -> Self {
        Self { round: round + 1, state: certificate.state_hash, previous: certificate.digest() }
    }

    /// What the party believes about an attempt of the next round.
    pub fn view(&self, plan: &Plan, attempt: u16) -> RoundView {
        RoundView {
            round: self.round,
            attempt,
            operation: 1,
            vector_len: plan.length as u32,
            lane_bits: plan.bits,
            state_hash: self.state,
            params_hash: hash("simulated parameters", &[]),
            previous: self.previous,
        }
    }

    /// The state that follows from a sum.
    pub fn next_state(&self, sum: &Lanes) -> Digest {
        let bytes: Vec<u8> = words(sum).iter().flat_map(|lane| lane.to_le_bytes()).collect();
        hash("simulated state", &[&self.state.0, &bytes])
    }
}

/// An attempt that is open, with the sum once it is there.
pub struct Open {
    pub machine: NodeRound,
    pub at: At,
    pub sum: Option<Lanes>,
}

/// A node's process, its disk beside it.
pub struct NodeHost {
    pub seat: NodeSeat,
    pub up: bool,
    pub life: u32,
    pub disk: Disk,
    pub session: Option<Session>,
    /// Stored frames of the session that arrived.
    pub received: u32,
    pub outbox: Vec<Vec<u8>>,
    pub rng: ChaCha20Rng,
    pub keying: Option<Keying>,
    /// The set-up that `keying` belongs to.
    pub keying_context: Digest,
    pub epoch: Option<NodeEpoch>,
    pub open: Option<Open>,
}

impl NodeHost {
    pub fn new(roster: &Arc<Roster>, me: NodeIndex, identity: Arc<Identity>, plan: &Plan) -> Self {
        Self {
            seat: NodeSeat::new(roster.clone(), me, identity).unwrap(),
            up: true,
            life: 0,
            disk: Disk::default(),
            session: None,
            received: 0,
            outbox: Vec::new(),
            rng: ChaCha20Rng::seed_from_u64(plan.seed.wrapping_mul(1009) + u64::from(me.0)),
            keying: None,
            keying_context: Digest::ZERO,
            epoch: None,
            open: None,
        }
    }

    /// Whether the node will not go on in this session: the attempt is spent and no
    /// machine for it is there.
    pub fn is_past(&self, session: Session) -> bool {
        let Session::Attempt(at) = session else { return false };
        let open = self.open.as_ref().is_some_and(|open| open.at == at);
        let spent = self.epoch.as_ref().and_then(NodeEpoch::last_spent);
        !open && spent.is_some_and(|last| last >= at)
    }
}

impl World {
    pub fn host(&mut self, node: NodeIndex) -> &mut NodeHost {
        &mut self.nodes[usize::from(node.0)]
    }

    pub fn node_takes(&mut self, node: NodeIndex, frame: Frame) {
        let limits = self.limits;
        let host = self.host(node);
        if host.session != Some(frame.session) {
            host.session = Some(frame.session);
            host.received = 0;
            host.outbox.clear();
        }
        host.received = host.received.max(frame.place + 1);
        let message = match frame.payload {
            Payload::CatchUp { round, certificate } => {
                return self.catch_up(
                    node,
                    round,
                    &ResultQc::decode(&certificate, &limits).unwrap(),
                );
            }
            Payload::Bytes(bytes) => decode_server(&bytes, &limits),
        };
        self.note(format_args!("node {node} <- {}", message.kind()));
        match message {
            ServerMessage::EpochStart(start) => self.epoch_starts(node, &start),
            message @ (ServerMessage::EpochHellos(_)
            | ServerMessage::EpochPeers(_)
            | ServerMessage::EpochKems(_)) => self.epoch_goes_on(node, message),
            ServerMessage::RoundStart(start) => self.round_starts(node, start),
            message => {
                let Some(open) = &mut self.host(node).open else { return };
                let phase = open.machine.phase();
                let over = matches!(phase, NodePhase::Certified | NodePhase::Aborted);
                let foreign = message.context() != open.machine.ctx();
                if over || foreign {
                    return;
                }
                let done = open.machine.handle(message);
                self.take_node(node, done);
            }
        }
    }

    fn catch_up(&mut self, node: NodeIndex, round: u32, certificate: &ResultQc) {
        let host = self.host(node);
        if host.disk.results.round > round {
            return;
        }
        if let Err(fault) = certificate.verify(&host.seat.roster().clone()) {
            return self.checks.fault(&format!("node {node}"), &fault);
        }
        host.disk.results = Results::after(round, certificate);
        self.checks.certified(round, certificate);
        self.note(format_args!("node {node} catches up with round {round}"));
    }

    fn round_starts(&mut self, node: NodeIndex, start: RoundStart) {
        let (plan, at) = (self.plan.clone(), (start.view.round, start.view.attempt));
        let host = self.host(node);
        let same = host.open.as_ref().is_some_and(|open| open.at == at);
        let Some(epoch) = &mut host.epoch else { return };
        // A repetition, or of an attempt that is spent.
        if same || epoch.last_spent().is_some_and(|last| last >= at) {
            return;
        }
        let view = host.disk.results.view(&plan, start.view.attempt);
        let (seat, rng) = (&host.seat, &mut host.rng);
        match NodeRound::open(seat, epoch, plan.max_attempts, start, &view, rng) {
            Err(fault) => self.checks.fault(&format!("node {node}"), &fault),
            Ok((machine, commit)) => {
                let bytes = epoch.to_secret_bytes().to_vec();
                host.open = Some(Open { machine, at, sum: None });
                self.store_and_send(node, commit, |disk| disk.epoch = Some(bytes));
            }
        }
    }

    fn take_node(&mut self, node: NodeIndex, done: Result<Vec<NodeOutput>, Fault>) {
        let outputs = match done {
            Ok(outputs) => outputs,
            Err(fault) => {
                self.note(format_args!("node {node} faults: {fault}"));
                return self.checks.fault(&format!("node {node}"), &fault);
            }
        };
        let life = self.host(node).life;
        for output in outputs {
            if self.host(node).life != life {
                return;
            }
            match output {
                NodeOutput::Send(message) => self.store_and_send(node, message, |_| ()),
                NodeOutput::Upload(upload) => self.upload(node, upload),
                NodeOutput::Complained { against, why } => {
                    self.checks.never(format!("node {node} complains about {against}: {why}"));
                }
                NodeOutput::Stopped(fault) => {
                    self.checks.fault(&format!("node {node}"), &fault);
                }
                NodeOutput::VectorNeeded => self.works_later(node, Work::Vector),
                NodeOutput::ChargeNeeded { .. } => self.works_later(node, Work::Charge),
                NodeOutput::Opened { sum, survivors, .. } => {
                    let bits = self.plan.bits;
                    let Some(open) = &mut self.host(node).open else { continue };
                    open.sum = Some(sum.clone());
                    let ctx = open.machine.ctx();
                    self.checks.opened(Some(node), ctx, bits, &sum, &survivors);
                    self.works_later(node, Work::State);
                }
                NodeOutput::Aborted(abort) => {
                    self.note(format_args!("node {node}: {abort}"));
                    self.host(node).open = None;
                }
                NodeOutput::Certified(certificate) => self.node_certified(node, &certificate),
            }
        }
    }

    fn node_certified(&mut self, node: NodeIndex, certificate: &ResultQc) {
        let Some(open) = self.host(node).open.take() else { return };
        self.checks.certified(open.at.0, certificate);
        let results = Results::after(open.at.0, certificate);
        self.store(node, Step::Certificate, |disk| disk.results = results);
    }

    fn works_later(&mut self, node: NodeIndex, work: Work) {
        let mut wait = pick(&mut self.rng, 1, self.plan.faults.work);
        if self.plan.faults.slow == Some(node) {
            wait *= 10;
        }
        let life = self.host(node).life;
        self.later(wait, Event::Work { node, life, work });
    }

    pub fn node_works(&mut self, node: NodeIndex, work: Work) {
        let (bits, length, driver) = (self.plan.bits, self.plan.length, self.plan.driver);
        let host = self.host(node);
        let Some(open) = &mut host.open else { return };
        let done = match (work, open.machine.phase()) {
            (Work::Vector, NodePhase::AwaitingVector) => {
                let x: Vec<u32> = (0..length).map(|_| host.rng.next_u32()).collect();
                let done = open.machine.provide_vector(lanes(bits, &x));
                let ctx = open.machine.ctx();
                self.checks.vector(node, ctx, x);
                done
            }
            (Work::Charge, NodePhase::AwaitingCharge) => {
                let at = open.at;
                let stored = self.store(node, Step::Charge, |disk| {
                    if driver != Driver::ForgetsCharge {
                        disk.charges.push(at);
                    }
                });
                if !stored {
                    return;
                }
                let Some(open) = &mut self.host(node).open else { return };
                open.machine.release_upload()
            }
            (Work::State, NodePhase::Opened) => {
                let Some(sum) = &open.sum else { return };
                let state = host.disk.results.next_state(sum);
                open.machine.acknowledge_result(state)
            }
            _ => return,
        };
        self.take_node(node, done);
    }

    /// Stores what a step needs; false if the node crashed before or after.
    fn store(&mut self, node: NodeIndex, step: Step, what: impl FnOnce(&mut Disk)) -> bool {
        if self.crashes_here(Who::Node(node), step, When::Before) {
            self.crash_node(node);
            return false;
        }
        what(&mut self.host(node).disk);
        if self.crashes_here(Who::Node(node), step, When::After) {
            self.crash_node(node);
            return false;
        }
        true
    }

    pub fn store_and_send(
        &mut self,
        node: NodeIndex,
        message: NodeMessage,
        what: impl FnOnce(&mut Disk),
    ) {
        if self.store(node, Step::Message(message.kind()), what) {
            self.emit(node, &message);
        }
    }

    /// The upload goes out as long as the connection it began on stands.
    fn upload(&mut self, node: NodeIndex, upload: impl Iterator<Item = NodeMessage>) {
        for message in upload {
            if !self.links[usize::from(node.0)].connected {
                return;
            }
            let step = Step::Message(message.kind());
            if self.crashes_here(Who::Node(node), step, When::Before) {
                return self.crash_node(node);
            }
            self.emit(node, &message);
        }
    }

    fn emit(&mut self, node: NodeIndex, message: &NodeMessage) {
        self.note(format_args!("node {node} -> {}", message.kind()));
        let charges = self.host(node).disk.charges.clone();
        self.checks.leaves(node, message, &charges);
        let host = self.host(node);
        let Some(session) = host.session else { return };
        let bytes = message.encode();
        let place = host.outbox.len() as u32;
        host.outbox.push(bytes.clone());
        self.carry_to_aggregator(node, Frame { session, place, payload: Payload::Bytes(bytes) });
    }

    fn crash_node(&mut self, node: NodeIndex) {
        let host = self.host(node);
        host.up = false;
        host.life += 1;
        (host.keying, host.epoch, host.open, host.session) = (None, None, None, None);
        host.received = 0;
        host.outbox.clear();
        self.disconnect(node);
        self.comes_back(Who::Node(node));
    }

    pub fn restart_node(&mut self, node: NodeIndex) {
        let old = self.plan.driver == Driver::RestoresOldBackup;
        let host = self.host(node);
        host.up = true;
        let bytes = if old { &host.disk.old_backup } else { &host.disk.epoch };
        let restored =
            bytes.as_ref().map(|bytes| NodeEpoch::from_secret_bytes(host.seat.roster(), bytes));
        match restored.transpose() {
            Ok(epoch) => host.epoch = epoch,
            Err(fault) => self.checks.fault(&format!("node {node}"), &fault),
        }
        self.note(format_args!("node {node} restarts"));
        self.join(node);
    }
}
