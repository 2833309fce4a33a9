//! A deterministic in-memory world for the tests: a cluster of nodes with an
//! epoch, and a round whose every message travels as bytes, may be tampered with
//! on the way, and whose nodes may die at any point. It is the whole network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]
#![allow(dead_code, reason = "every test program uses another part of it")]

pub mod attack;
pub mod cheat;
pub mod gullible;
pub mod keying;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use tributary_secagg::messages::Kind;
use tributary_secagg::{
    Abort, Digest, EpochFacts, Evidence, Fault, Identity, LaneBits, Lanes, Limits, NodeEpoch,
    NodeEpochHello, NodeEpochKem, NodeEpochPeers, NodeIndex, NodeMessage, NodeOutput, NodePhase,
    NodeRound, NodeSeat, NodeSet, ResultQc, Roster, RoundStart, RoundView, ServerEpoch,
    ServerMessage, ServerOutput, ServerRound, ServerSeat, Thresholds, hash,
};

/// Attempts per round in all tests.
pub const MAX_ATTEMPTS: u16 = 4;

/// Nodes and an aggregator that share an epoch.
pub struct Cluster {
    pub roster: Arc<Roster>,
    pub identities: Vec<Arc<Identity>>,
    pub aggregator: Arc<Identity>,
    pub seats: Vec<NodeSeat>,
    pub server: ServerSeat,
    pub epochs: Vec<NodeEpoch>,
    pub facts: EpochFacts,
    pub rng: ChaCha20Rng,
}

/// Parties with keys derived from their position, and their roster.
pub fn parties(thresholds: Thresholds) -> (Arc<Roster>, Vec<Arc<Identity>>, Arc<Identity>) {
    let identity = |number: u16| {
        let seed = hash("test identity", &[&number.to_le_bytes()]).0;
        Arc::new(Identity::from_seed(&seed).unwrap())
    };
    let identities: Vec<_> = (0..thresholds.n).map(identity).collect();
    let aggregator = identity(u16::MAX);
    let keys = identities.iter().map(|identity| identity.verifying_key()).collect();
    let roster =
        Roster::new(hash("job", &[]), keys, aggregator.verifying_key(), thresholds).unwrap();
    (Arc::new(roster), identities, aggregator)
}

/// How far a node is in the set-up of an epoch.
pub enum Keying {
    Hello(NodeEpochHello),
    Peers(NodeEpochPeers),
    Kem(NodeEpochKem),
    Done(Box<NodeEpoch>),
    Failed(Fault),
}

/// What a node says to a message of the aggregator in an epoch's set-up.
pub fn keying_step(
    seat: &NodeSeat,
    state: Option<Keying>,
    message: ServerMessage,
    rng: &mut ChaCha20Rng,
) -> (Option<Keying>, Option<NodeMessage>) {
    let step = || -> Result<(Option<Keying>, Option<NodeMessage>), Fault> {
        Ok(match (state, message) {
            (_, ServerMessage::EpochStart(start)) => {
                let (state, hello) = NodeEpochHello::open(seat, &start, rng)?;
                (Some(Keying::Hello(state)), Some(hello))
            }
            (Some(Keying::Hello(state)), ServerMessage::EpochHellos(message)) => {
                let (state, reveal) = state.on_hellos(&message)?;
                (Some(Keying::Peers(state)), reveal)
            }
            (Some(Keying::Peers(state)), ServerMessage::EpochPeers(message)) => {
                let (state, kem) = state.on_peers(message)?;
                (Some(Keying::Kem(state)), Some(kem))
            }
            (Some(Keying::Kem(state)), ServerMessage::EpochKems(message)) => {
                let (epoch, done) = state.on_kems(&message)?;
                (Some(Keying::Done(Box::new(epoch))), Some(done))
            }
            (state, _) => (state, None),
        })
    };
    match step() {
        Ok(done) => done,
        Err(fault) => (Some(Keying::Failed(fault)), None),
    }
}

/// Runs an epoch's set-up to its end; `tamper` may change what a node sends (or keep
/// it back), deadlines pass when nothing moves any more.
pub fn key_agreement(
    seats: &[NodeSeat],
    server: &ServerSeat,
    mut tamper: impl FnMut(NodeIndex, NodeMessage) -> Option<NodeMessage>,
) -> (ServerEpoch, BTreeMap<NodeIndex, Keying>, Vec<ServerOutput>) {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let limits = Limits::for_members(seats.len() as u16);
    let (mut machine, out) = ServerEpoch::open(server, 1, NodeSet::new(seats.len() as u16));
    let mut states: BTreeMap<NodeIndex, Keying> = BTreeMap::new();
    let mut log = Vec::new();
    let mut queue: VecDeque<ServerOutput> = out.into();
    for _ in 0..64 {
        while let Some(output) = queue.pop_front() {
            log.push(output.clone());
            for (node, message) in sends(vec![output]) {
                let message = over_the_wire(&message, &limits);
                let seat = &seats[usize::from(node.0)];
                let (state, answer) = keying_step(seat, states.remove(&node), message, &mut rng);
                states.extend(state.map(|state| (node, state)));
                let Some(answer) = answer.and_then(|answer| tamper(node, answer)) else { continue };
                // A refusal concerns this message only; the machine goes on.
                if let Ok(out) = machine.handle(node, over_the_wire(&answer, &limits)) {
                    queue.extend(out);
                }
            }
        }
        if machine.is_complete() || log.iter().any(|o| matches!(o, ServerOutput::Aborted(_))) {
            return (machine, states, log);
        }
        queue.extend(machine.deadline());
    }
    panic!("the set-up of the epoch does not end")
}

impl Cluster {
    /// A cluster of `n` nodes with C = ceil(gamma n) corrupt ones tolerated.
    pub fn new(n: u16, gamma: f64, delta: f64, floor: u16) -> Self {
        Self::with(Thresholds::complete_graph(n, gamma, delta, floor).unwrap())
    }

    pub fn with(thresholds: Thresholds) -> Self {
        let (roster, identities, aggregator) = parties(thresholds);
        let seats: Vec<NodeSeat> = (0u16..)
            .map(NodeIndex)
            .zip(&identities)
            .map(|(node, identity)| NodeSeat::new(roster.clone(), node, identity.clone()).unwrap())
            .collect();
        let server = ServerSeat::new(roster.clone(), aggregator.clone())
            .unwrap()
            .with_threads(NonZeroUsize::new(2).unwrap());
        let (machine, states, _) = key_agreement(&seats, &server, |_, message| Some(message));
        assert!(machine.is_complete());
        let epochs = states
            .into_values()
            .map(|state| match state {
                Keying::Done(epoch) => *epoch,
                Keying::Failed(fault) => panic!("{fault}"),
                _ => panic!("a node has no keys"),
            })
            .collect();
        let facts = machine.facts().unwrap().clone();
        let rng = ChaCha20Rng::seed_from_u64(7);
        Self { roster, identities, aggregator, seats, server, epochs, facts, rng }
    }

    pub fn size(&self) -> u16 {
        self.roster.size()
    }

    /// What every honest party believes about an attempt.
    pub fn view(&self, round: u32, attempt: u16, vector_len: u32) -> RoundView {
        RoundView {
            round,
            attempt,
            operation: 1,
            vector_len,
            lane_bits: LaneBits::FULL,
            state_hash: hash("state", &[&round.to_le_bytes()]),
            params_hash: hash("params", &[]),
            previous: Digest::ZERO,
        }
    }

    /// One random vector per node.
    pub fn vectors(&mut self, length: usize) -> Vec<Vec<u32>> {
        let rng = &mut self.rng;
        (0..self.roster.size()).map(|_| (0..length).map(|_| rng.next_u32()).collect()).collect()
    }

    /// Opens one node's machine.
    pub fn open_node(
        &mut self,
        node: NodeIndex,
        start: RoundStart,
        view: &RoundView,
    ) -> Result<(NodeRound, NodeMessage), Fault> {
        let position = usize::from(node.0);
        NodeRound::open(
            &self.seats[position],
            &mut self.epochs[position],
            MAX_ATTEMPTS,
            start,
            view,
            &mut self.rng,
        )
    }
}

/// The messages among a machine's outputs.
pub fn sends(outputs: Vec<ServerOutput>) -> Vec<(NodeIndex, ServerMessage)> {
    let mut found = Vec::new();
    for output in outputs {
        match output {
            ServerOutput::Send(node, message) => found.push((node, message)),
            ServerOutput::SendAll(nodes, message) => {
                found.extend(nodes.iter().map(|node| (node, message.clone())));
            }
            _ => {}
        }
    }
    found
}

/// Encodes and decodes, as the network does.
pub trait OverTheWire: Sized {
    fn pass(&self, limits: &Limits) -> Self;
}

impl OverTheWire for NodeMessage {
    fn pass(&self, limits: &Limits) -> Self {
        Self::decode(&self.encode(), limits).unwrap()
    }
}

impl OverTheWire for ServerMessage {
    fn pass(&self, limits: &Limits) -> Self {
        Self::decode(&self.encode(), limits).unwrap()
    }
}

pub fn over_the_wire<M: OverTheWire>(message: &M, limits: &Limits) -> M {
    message.pass(limits)
}

type ServerHook<'a> = Box<dyn FnMut(NodeIndex, ServerMessage) -> Vec<ServerMessage> + 'a>;
type NodeHook<'a> = Box<dyn FnMut(NodeIndex, NodeMessage) -> Vec<NodeMessage> + 'a>;

/// How a round goes wrong, if it does.
#[derive(Default)]
pub struct Script<'a> {
    /// The node dies instead of sending its first message of this kind.
    pub dies_before: BTreeMap<NodeIndex, Kind>,
    /// Nobody notices a death; the phase runs into its deadline instead.
    pub silently: bool,
    /// What the aggregator sends in place of its message to a node.
    pub server: Option<ServerHook<'a>>,
    /// What a node sends in place of its message.
    pub node: Option<NodeHook<'a>>,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Outcome {
    pub opened: Option<(Vec<u32>, NodeSet)>,
    pub certified: Option<ResultQc>,
    pub aborted: Option<Abort>,
    pub evicted: BTreeMap<NodeIndex, String>,
    /// Evidence against evicted nodes.
    pub evidence: BTreeMap<NodeIndex, Evidence>,
    /// Whose shares a node complained about, and why.
    pub complaints: Vec<(NodeIndex, NodeIndex, String)>,
    pub faults: BTreeMap<NodeIndex, Fault>,
    /// Sums as the nodes received them.
    pub sums: BTreeMap<NodeIndex, Vec<u32>>,
    /// Nodes that hold a certified result.
    pub node_certified: Vec<NodeIndex>,
    /// Why the aggregator ended it for a node.
    pub node_aborted: BTreeMap<NodeIndex, Abort>,
    /// Payload hashes the nodes were asked to charge for.
    pub charged: BTreeMap<NodeIndex, Digest>,
    /// The nodes' machines as they stand at the end.
    pub nodes: BTreeMap<NodeIndex, NodeRound>,
}

/// Runs one attempt over the whole roster.
pub fn run(
    cluster: &mut Cluster,
    view: &RoundView,
    vectors: &[Vec<u32>],
    script: Script<'_>,
) -> Outcome {
    let cohort = NodeSet::full(cluster.size());
    run_cohort(cluster, view, cohort, vectors, script)
}

/// Runs one attempt with a cohort.
pub fn run_cohort(
    cluster: &mut Cluster,
    view: &RoundView,
    cohort: NodeSet,
    vectors: &[Vec<u32>],
    script: Script<'_>,
) -> Outcome {
    let (server, out) =
        ServerRound::open(&cluster.server, &cluster.facts, view.clone(), cohort).unwrap();
    let mut world = World {
        limits: Limits::for_members(cluster.size()),
        cluster,
        server,
        view,
        vectors,
        script,
        nodes: BTreeMap::new(),
        dead: Vec::new(),
        stopped: Vec::new(),
        queue: VecDeque::new(),
        outcome: Outcome::default(),
    };
    world.take_server(out);
    world.run();
    Outcome { nodes: world.nodes, ..world.outcome }
}

enum Event {
    ToNode(NodeIndex, ServerMessage),
    ToServer(NodeIndex, NodeMessage),
    Provide(NodeIndex),
    Release(NodeIndex),
    Attest(NodeIndex),
}

struct World<'a, 'b> {
    limits: Limits,
    cluster: &'a mut Cluster,
    server: ServerRound,
    view: &'a RoundView,
    vectors: &'a [Vec<u32>],
    script: Script<'b>,
    nodes: BTreeMap<NodeIndex, NodeRound>,
    dead: Vec<NodeIndex>,
    /// Who stops behind what it has sent.
    stopped: Vec<NodeIndex>,
    queue: VecDeque<Event>,
    outcome: Outcome,
}

impl World<'_, '_> {
    fn run(&mut self) {
        for _ in 0..16 {
            loop {
                if let Some(event) = self.queue.pop_front() {
                    self.step(event);
                } else if let Some(node) = self.stopped.pop() {
                    self.kill(node, false);
                } else {
                    break;
                }
            }
            if self.outcome.certified.is_some() || self.outcome.aborted.is_some() {
                return;
            }
            let out = self.server.deadline();
            self.take_server(out);
        }
        panic!("the round does not end: {:?}", self.server);
    }

    fn step(&mut self, event: Event) {
        if let Event::Provide(node) | Event::Release(node) | Event::Attest(node) = event
            && (self.dead.contains(&node) || self.is_over(node))
        {
            return;
        }
        match event {
            Event::ToNode(node, message) => self.deliver(node, message),
            Event::ToServer(node, message) => {
                let message = over_the_wire(&message, &self.limits);
                match self.server.handle(node, message) {
                    Ok(out) => self.take_server(out),
                    Err(Fault::Stale { .. }) => {}
                    Err(fault) => panic!("the server failed: {fault}"),
                }
            }
            Event::Provide(node) => {
                let x = lanes(self.view.lane_bits, &self.vectors[usize::from(node.0)]);
                let done = self.nodes.get_mut(&node).map(|round| round.provide_vector(x));
                self.take_node(node, done);
            }
            Event::Release(node) => {
                let done = self.nodes.get_mut(&node).map(NodeRound::release_upload);
                self.take_node(node, done);
            }
            Event::Attest(node) => {
                let state = state_of(&self.outcome.sums[&node]);
                let done = self.nodes.get_mut(&node).map(|round| round.acknowledge_result(state));
                self.take_node(node, done);
            }
        }
    }

    fn deliver(&mut self, node: NodeIndex, message: ServerMessage) {
        if self.dead.contains(&node) {
            return;
        }
        let message = over_the_wire(&message, &self.limits);
        if let ServerMessage::RoundStart(start) = message {
            match self.cluster.open_node(node, start, self.view) {
                Ok((round, commit)) => {
                    self.nodes.insert(node, round);
                    self.take_node(node, Some(Ok(vec![NodeOutput::Send(commit)])));
                }
                Err(fault) => self.take_node(node, Some(Err(fault))),
            }
            return;
        }
        if self.is_over(node) {
            return;
        }
        let Some(round) = self.nodes.get_mut(&node) else { return };
        let done = round.handle(message);
        self.take_node(node, Some(done));
    }

    /// Whether a node's attempt has ended, so that its program asks nothing more of it.
    fn is_over(&self, node: NodeIndex) -> bool {
        let round = self.nodes.get(&node);
        round
            .is_some_and(|round| matches!(round.phase(), NodePhase::Certified | NodePhase::Aborted))
    }

    fn take_node(&mut self, node: NodeIndex, done: Option<Result<Vec<NodeOutput>, Fault>>) {
        let outputs = match done {
            None => return,
            Some(Ok(outputs)) => outputs,
            Some(Err(fault)) => {
                self.outcome.faults.entry(node).or_insert(fault);
                self.kill(node, false);
                return;
            }
        };
        for output in outputs {
            if self.dead.contains(&node) {
                return;
            }
            match output {
                NodeOutput::Send(message) => self.send_of_node(node, message),
                NodeOutput::Upload(upload) => {
                    for message in upload {
                        if self.dead.contains(&node) {
                            return;
                        }
                        self.send_of_node(node, message);
                    }
                }
                NodeOutput::Complained { against, why } => {
                    self.outcome.complaints.push((node, against, why));
                }
                NodeOutput::Stopped(fault) => {
                    self.outcome.faults.entry(node).or_insert(fault);
                    self.stopped.push(node);
                }
                NodeOutput::VectorNeeded => self.queue.push_back(Event::Provide(node)),
                NodeOutput::ChargeNeeded { payload_hash } => {
                    self.outcome.charged.insert(node, payload_hash);
                    self.queue.push_back(Event::Release(node));
                }
                NodeOutput::Opened { sum, .. } => {
                    let sum = words(&sum);
                    self.outcome.sums.insert(node, sum);
                    self.queue.push_back(Event::Attest(node));
                }
                NodeOutput::Aborted(abort) => {
                    self.outcome.node_aborted.insert(node, abort);
                }
                NodeOutput::Certified(quorum) => {
                    quorum.verify(&self.cluster.roster).unwrap();
                    self.outcome.node_certified.push(node);
                }
            }
        }
    }

    fn send_of_node(&mut self, node: NodeIndex, message: NodeMessage) {
        if self.script.dies_before.get(&node) == Some(&message.kind()) {
            self.kill(node, self.script.silently);
            return;
        }
        let messages = match &mut self.script.node {
            Some(hook) => hook(node, message),
            None => vec![message],
        };
        for message in messages {
            self.queue.push_back(Event::ToServer(node, message));
        }
    }

    fn kill(&mut self, node: NodeIndex, silently: bool) {
        self.dead.push(node);
        if !silently {
            let out = self.server.drop_node(node);
            self.take_server(out);
        }
    }

    fn take_server(&mut self, outputs: Vec<ServerOutput>) {
        for output in outputs {
            match output {
                ServerOutput::Send(..) | ServerOutput::SendAll(..) => {
                    for (node, message) in sends(vec![output]) {
                        let messages = match &mut self.script.server {
                            Some(hook) => hook(node, message),
                            None => vec![message],
                        };
                        for message in messages {
                            self.queue.push_back(Event::ToNode(node, message));
                        }
                    }
                }
                ServerOutput::Opened { sum, survivors, .. } => {
                    let sum = words(&sum);
                    let state = state_of(&sum);
                    self.outcome.opened = Some((sum, survivors));
                    let out = self.server.provide_state(state);
                    self.take_server(out);
                }
                ServerOutput::Certified(quorum) => self.outcome.certified = Some(quorum),
                ServerOutput::Aborted(abort) => self.outcome.aborted = Some(abort),
                ServerOutput::Evicted { node, why, evidence } => {
                    self.outcome.evicted.insert(node, why);
                    self.outcome.evidence.extend(evidence.map(|evidence| (node, evidence)));
                }
            }
        }
    }
}

/// A vector's words as 32-bit numbers.
pub fn words(lanes: &Lanes) -> Vec<u32> {
    match lanes {
        Lanes::Narrow(words) => words.iter().map(|word| u32::from(*word)).collect(),
        Lanes::Wide(words) => words.clone(),
    }
}

/// Words as a vector of the width.
pub fn lanes(bits: LaneBits, words: &[u32]) -> Lanes {
    if bits.is_narrow() {
        Lanes::Narrow(words.iter().map(|word| *word as u16).collect())
    } else {
        Lanes::Wide(words.to_vec())
    }
}

/// The "model" of the tests: the hash of the sum.
pub fn state_of(sum: &[u32]) -> Digest {
    let bytes: Vec<u8> = sum.iter().flat_map(|lane| lane.to_le_bytes()).collect();
    hash("test state", &[&bytes])
}

/// The sum of the named nodes' vectors.
pub fn plain_sum(vectors: &[Vec<u32>], nodes: &NodeSet) -> Vec<u32> {
    let mut sum = vec![0u32; vectors[0].len()];
    for node in nodes.iter() {
        for (sum, lane) in sum.iter_mut().zip(&vectors[usize::from(node.0)]) {
            *sum = sum.wrapping_add(*lane);
        }
    }
    sum
}
