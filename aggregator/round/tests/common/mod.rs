//! A federation of bare protocol nodes around a coordinator: no training, vectors of zeros, time by
//! hand. Everything a coordinator wants done is done at once and in order.

#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use tributary_job::manifest::{MANIFEST_VERSION, RosterEntry};
use tributary_job::{JobSpec, Manifest, ModelState, Plan};
use tributary_round::{
    Capacity, Coordinator, Effect, Event, Now, Resume, Snapshot, Step, Timeouts,
};
use tributary_secagg::{
    Digest, Identity, Limits, NodeEpoch, NodeEpochHello, NodeEpochKem, NodeEpochPeers, NodeIndex,
    NodeMessage, NodeOutput, NodeRound, NodeSeat, ResultQc, RoundView, ServerMessage,
};

pub const TIMEOUTS: Timeouts = Timeouts { gather: 1000, step: 100, train: 500, rejoin: 5000 };

const JOB: &str = r#"
name = "toy"
description = "A small job for tests."
agencies = ["a", "b", "c", "d", "e"]
dataset = "d"

[data]
label = { column = "y", positive = "1", negative = "0" }
features = [{ kind = "numeric", column = "x", min = 0.0, max = 10.0 }]

[model]
family = "mlp"
hidden = []

[training]
rounds = 3
learning_rate = 0.5

[privacy]
mode = "none"
delta = 1e-6
clip_norm = 1.0
sampling_rate = 0.1

[secure_aggregation]
min_survivors = 4
spare_attempts = 3
"#;

enum Keys {
    None,
    Hello(Box<NodeEpochHello>),
    Peers(Box<NodeEpochPeers>),
    Kem(Box<NodeEpochKem>),
    Ready(Box<NodeEpoch>),
}

/// A node without data.
pub struct Node {
    identity: Arc<Identity>,
    me: NodeIndex,
    keys: Keys,
    round: Option<NodeRound>,
    state: ModelState,
    next: Option<ModelState>,
    certificate: Option<ResultQc>,
    pub online: bool,
    pub refuses: bool,
    /// Takes frames and never answers.
    pub mute: bool,
    /// Which of its messages wait in `held` for the test to send them.
    pub hold: Option<fn(&NodeMessage) -> bool>,
    pub held: VecDeque<NodeMessage>,
}

pub struct Federation {
    pub coordinator: Coordinator,
    pub identity: Arc<Identity>,
    pub manifest: Manifest,
    pub plan: Plan,
    pub nodes: Vec<Node>,
    pub steps: Vec<Step>,
    pub finished: Option<(bool, String)>,
    /// States that were sent to nodes that missed rounds.
    pub states: Vec<(NodeIndex, Bytes)>,
    pub now: Now,
    queue: VecDeque<Event>,
    rng: ChaCha20Rng,
}

impl Federation {
    pub fn new() -> Self {
        Self::with_hidden("[]")
    }

    /// With so many hidden layers of that width.
    pub fn with_hidden(hidden: &str) -> Self {
        Self::of(&JOB.replace("hidden = []", &format!("hidden = {hidden}")))
    }

    /// With these lines at the end of the job.
    pub fn with_lines(lines: &str) -> Self {
        Self::of(&format!("{JOB}{lines}"))
    }

    fn of(job: &str) -> Self {
        let identity = Arc::new(Identity::generate().unwrap());
        let keys: Vec<_> = (0..5).map(|_| Arc::new(Identity::generate().unwrap())).collect();
        let spec = JobSpec::from_toml(job).unwrap();
        let roster = spec.agencies.iter().zip(&keys).map(|(agency, key)| RosterEntry {
            agency: agency.clone(),
            signing_key: key.verifying_key().to_string(),
            declared_records: 100,
        });
        let manifest = Manifest {
            version: MANIFEST_VERSION,
            roster: roster.collect(),
            spec,
            aggregator_key: identity.verifying_key().to_string(),
            nonce: "00".into(),
        };
        let plan = Plan::derive(&manifest).unwrap();
        let node = |(i, identity)| Node {
            identity,
            me: NodeIndex(i as u16),
            keys: Keys::None,
            round: None,
            state: plan.initial_state(&manifest),
            next: None,
            certificate: None,
            online: false,
            refuses: false,
            mute: false,
            hold: None,
            held: VecDeque::new(),
        };
        let nodes = keys.into_iter().enumerate().map(node).collect();
        let now = Now { millis: 0, unix: 1_700_000_000 };
        let (coordinator, effects) =
            Coordinator::begin(manifest.clone(), identity.clone(), TIMEOUTS, now).unwrap();
        let mut new = Self {
            coordinator,
            identity,
            manifest,
            plan,
            nodes,
            steps: Vec::new(),
            finished: None,
            states: Vec::new(),
            now,
            queue: VecDeque::new(),
            rng: ChaCha20Rng::seed_from_u64(1),
        };
        new.carry_out(effects);
        new
    }

    pub fn connect(&mut self, i: usize) {
        // Frames of the old session are lost; those of the new one begin with the offer.
        let node = &mut self.nodes[i];
        node.online = false;
        node.round = None;
        node.held.clear();
        let epoch = match &node.keys {
            Keys::Ready(keys) => Some(keys.epoch()),
            _ => None,
        };
        let resume = Resume { completed: Some(node.state.completed), epoch, upload: None };
        let me = node.me;
        self.event(Event::Connected(me, resume));
    }

    /// A new session of a node that has kept its masked vector; what was on its way is lost.
    pub fn come_back(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        node.held.clear();
        let Keys::Ready(keys) = &node.keys else { panic!("it has no keys") };
        let resume = Resume {
            completed: Some(node.state.completed),
            epoch: Some(keys.epoch()),
            upload: node.round.as_ref().map(|round| round.ctx().0),
        };
        let me = node.me;
        self.event(Event::Connected(me, resume));
    }

    /// A session of a node that says that it is further than this coordinator.
    pub fn connect_ahead(&mut self, i: usize, rounds: u32) {
        self.nodes[i].round = None;
        let Keys::Ready(keys) = &self.nodes[i].keys else { panic!("it has no keys") };
        let completed = Some(self.coordinator.state().completed + rounds);
        let resume = Resume { completed, epoch: Some(keys.epoch()), upload: None };
        self.event(Event::Connected(NodeIndex(i as u16), resume));
    }

    pub fn connect_all(&mut self) {
        (0..self.nodes.len()).for_each(|i| self.connect(i));
    }

    /// So many nodes upload at a time.
    pub fn set_uploads(&mut self, uploads: usize) {
        let uploads = uploads.try_into().unwrap();
        self.coordinator.set_capacity(Capacity { uploads, ..Capacity::default() });
    }

    /// Runs until so many rounds are certified.
    pub fn run_to_round(&mut self, completed: u32) {
        while self.coordinator.state().completed < completed {
            assert!(self.run(1) > 0);
        }
    }

    /// Sends the next message that a node holds back; false if there is none.
    pub fn release(&mut self, i: usize) -> bool {
        let Some(message) = self.nodes[i].held.pop_front() else { return false };
        self.event(Event::Secagg(NodeIndex(i as u16), message.encode().into()));
        self.run(100_000);
        true
    }

    pub fn identity_of(&self, i: usize) -> &Identity {
        &self.nodes[i].identity
    }

    pub fn disconnect(&mut self, i: usize) {
        self.nodes[i].online = false;
        self.event(Event::Disconnected(NodeIndex(i as u16)));
    }

    /// Queues an event.
    pub fn event(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    /// Forgets answers and frames that are on their way.
    pub fn drop_answers(&mut self) {
        self.queue.clear();
    }

    /// Handles at most `limit` events; returns how many there were.
    pub fn run(&mut self, limit: usize) -> usize {
        for done in 0..limit {
            let Some(event) = self.queue.pop_front() else { return done };
            let effects = self.coordinator.handle(self.now, event);
            self.carry_out(effects);
        }
        limit
    }

    /// Lets time pass and everything that follows from it happen.
    pub fn pass(&mut self, millis: u64) {
        self.now.millis += millis;
        self.event(Event::Tick);
        self.run(100_000);
    }

    /// Throws the coordinator away and restores it from what was persisted.
    pub fn restart(&mut self) {
        let snapshot = self.steps.iter().rev().find_map(|s| s.snapshot.as_ref()).unwrap();
        let snapshot: Snapshot = serde_json::from_slice(snapshot).unwrap();
        let certified = self.steps.iter().rev().find_map(|s| s.certified.as_ref());
        let certified = certified.map(|c| (c.state.clone(), c.certificate.clone()));
        self.queue.clear();
        self.coordinator = Coordinator::restore(
            self.manifest.clone(),
            self.identity.clone(),
            TIMEOUTS,
            self.now,
            &snapshot,
            certified,
        )
        .unwrap();
        self.nodes.iter_mut().for_each(|n| n.online = false);
    }

    /// Bodies of the record's entries of one kind.
    pub fn entries(&self, kind: &str) -> Vec<serde_json::Value> {
        let entries = self.steps.iter().flat_map(|s| &s.entries);
        entries.filter(|e| e.kind == kind).map(|e| e.body.clone()).collect()
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(step) => self.steps.push(*step),
                Effect::Offer(n) => {
                    let node = &mut self.nodes[usize::from(n.0)];
                    node.online = true;
                    self.queue.push_back(match node.refuses {
                        true => Event::Refused(n, "policy-epsilon: 3, at most 2".into()),
                        false => Event::Accepted(n),
                    });
                }
                Effect::Secagg(n, frame) => self.frame(n, &frame),
                Effect::State { node, state, certificate, .. } => {
                    let limits = Limits::for_members(5);
                    self.states.push((node, state.clone()));
                    let node = &mut self.nodes[usize::from(node.0)];
                    let qc = ResultQc::decode(&certificate, &limits).unwrap();
                    qc.verify(&self.plan.roster).unwrap();
                    let d = self.plan.layout.total();
                    node.state = ModelState::decode(&state, d, 1).unwrap();
                    assert_eq!(qc.state_hash, node.state.hash(&self.plan.job));
                    node.certificate = Some(qc);
                }
                Effect::Finished { complete, reason } => self.finished = Some((complete, reason)),
                Effect::Idle(..) | Effect::End { .. } | Effect::Note(_) => {}
                Effect::Disconnect(n, _) => self.nodes[usize::from(n.0)].online = false,
            }
        }
    }

    fn frame(&mut self, n: NodeIndex, frame: &[u8]) {
        let message = ServerMessage::decode(frame, &Limits::for_members(5)).unwrap();
        // No node hears of a certificate before the state it certifies is durable: after a crash in
        // between the nodes would be a round ahead of their coordinator, for good.
        if let ServerMessage::ResultQc(qc) = &message {
            let durable = self.steps.iter().filter_map(|s| s.certified.as_ref());
            assert!(durable.into_iter().any(|c| c.certificate == qc.encode()));
        }
        let node = &mut self.nodes[usize::from(n.0)];
        if !node.online || node.mute {
            return;
        }
        let replies = node.answer(&self.plan, &self.manifest, message, &mut self.rng);
        for reply in replies {
            match node.hold {
                Some(hold) if hold(&reply) => node.held.push_back(reply),
                _ => self.queue.push_back(Event::Secagg(n, reply.encode().into())),
            }
        }
    }
}

impl Node {
    /// The newest state that it holds.
    pub fn state(&self) -> &ModelState {
        &self.state
    }

    fn seat(&self, plan: &Plan) -> NodeSeat {
        NodeSeat::new(plan.roster.clone(), self.me, self.identity.clone()).unwrap()
    }

    fn answer(
        &mut self,
        plan: &Plan,
        manifest: &Manifest,
        message: ServerMessage,
        rng: &mut ChaCha20Rng,
    ) -> Vec<NodeMessage> {
        match (message, std::mem::replace(&mut self.keys, Keys::None)) {
            (ServerMessage::EpochStart(start), _) => {
                let (hello, message) = NodeEpochHello::open(&self.seat(plan), &start, rng).unwrap();
                self.keys = Keys::Hello(Box::new(hello));
                vec![message]
            }
            (ServerMessage::EpochHellos(hellos), Keys::Hello(hello)) => {
                let (peers, reveal) = hello.on_hellos(&hellos).unwrap();
                self.keys = Keys::Peers(Box::new(peers));
                reveal.into_iter().collect()
            }
            (ServerMessage::EpochPeers(message), Keys::Peers(peers)) => {
                let (kem, message) = peers.on_peers(message).unwrap();
                self.keys = Keys::Kem(Box::new(kem));
                vec![message]
            }
            (ServerMessage::EpochKems(kems), Keys::Kem(kem)) => {
                let (keys, done) = kem.on_kems(&kems).unwrap();
                self.keys = Keys::Ready(Box::new(keys));
                vec![done]
            }
            (ServerMessage::RoundStart(start), Keys::Ready(mut keys)) => {
                let operation = plan.operation(self.state.completed).unwrap();
                let view = RoundView {
                    round: self.state.completed,
                    attempt: start.view.attempt,
                    operation: operation.operation.code(),
                    vector_len: operation.vector_len,
                    lane_bits: operation.lanes(),
                    state_hash: self.state.hash(&plan.job),
                    params_hash: plan.params_hash(operation).unwrap(),
                    previous: self.certificate.as_ref().map_or(Digest::ZERO, ResultQc::digest),
                };
                let opened = NodeRound::open(
                    &self.seat(plan),
                    &mut keys,
                    plan.max_attempts,
                    start,
                    &view,
                    rng,
                );
                let (round, commit) = opened.unwrap();
                self.keys = Keys::Ready(keys);
                self.round = Some(round);
                vec![commit]
            }
            (message, keys) => {
                self.keys = keys;
                let Some(round) = &mut self.round else { return Vec::new() };
                if message.context() != round.ctx() {
                    return Vec::new();
                }
                let outputs = round.handle(message).unwrap();
                self.outputs(plan, manifest, outputs)
            }
        }
    }

    fn outputs(
        &mut self,
        plan: &Plan,
        manifest: &Manifest,
        outputs: Vec<NodeOutput>,
    ) -> Vec<NodeMessage> {
        let mut sent = Vec::new();
        for output in outputs {
            let round = self.round.as_mut().unwrap();
            let next = match output {
                NodeOutput::Send(message) => {
                    sent.push(message);
                    continue;
                }
                NodeOutput::Upload(upload) => {
                    sent.extend(upload);
                    continue;
                }
                NodeOutput::Complained { against, why } => panic!("{against}: {why}"),
                NodeOutput::Stopped(fault) => panic!("{fault}"),
                NodeOutput::VectorNeeded => {
                    let operation = plan.operation(self.state.completed).unwrap();
                    let zeros = vec![0; operation.vector_len as usize];
                    round.provide_vector(operation.to_lanes(&zeros)).unwrap()
                }
                NodeOutput::ChargeNeeded { .. } => round.release_upload().unwrap(),
                NodeOutput::Opened { sum, survivors, .. } => {
                    let operation = plan.operation(self.state.completed).unwrap();
                    let sum = operation.from_lanes(&sum);
                    let next = plan.apply(manifest, &self.state, &sum, survivors.len()).unwrap();
                    let hash = next.hash(&plan.job);
                    self.next = Some(next);
                    round.acknowledge_result(hash).unwrap()
                }
                NodeOutput::Certified(qc) => {
                    self.state = self.next.take().unwrap();
                    self.certificate = Some(qc);
                    continue;
                }
                NodeOutput::Aborted(_) => {
                    self.round = None;
                    return sent;
                }
            };
            sent.extend(self.outputs(plan, manifest, next));
        }
        sent
    }
}
