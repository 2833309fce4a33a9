//! A deterministic in-memory world for the tests: a cluster of nodes with an
//! epoch, and a round whose every message travels as bytes, may be tampered with
//! on the way, and whose nodes may die at any point. It is the whole network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]
#![allow(dead_code, reason = "every test program uses another part of it")]

pub mod attack;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use tributary_secagg::messages::Kind;
use tributary_secagg::{
    Abort, Digest, Fault, Identity, Limits, NodeEpoch, NodeEpochHello, NodeIndex, NodeMessage,
    NodeOutput, NodePhase, NodeRound, NodeSet, ResultQc, Roster, RoundStart, RoundView,
    ServerEpoch, ServerMessage, ServerOutput, ServerRound, Thresholds, hash,
};

/// Attempts per round in all tests.
pub const MAX_ATTEMPTS: u16 = 4;

/// Nodes and an aggregator that share an epoch.
pub struct Cluster {
    pub roster: Arc<Roster>,
    pub identities: Vec<Arc<Identity>>,
    pub aggregator: Arc<Identity>,
    pub epochs: Vec<NodeEpoch>,
    pub transcript: Digest,
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

impl Cluster {
    /// A cluster of `n` nodes with C = ceil(gamma n) corrupt ones tolerated.
    pub fn new(n: u16, gamma: f64, delta: f64, floor: u16) -> Self {
        Self::with(Thresholds::complete_graph(n, gamma, delta, floor).unwrap())
    }

    pub fn with(thresholds: Thresholds) -> Self {
        let (roster, identities, aggregator) = parties(thresholds);
        let limits = Limits::for_members(roster.size());
        let mut server = ServerEpoch::open(roster.clone(), aggregator.clone(), 1).unwrap();
        let mut hellos = BTreeMap::new();
        let mut out = Vec::new();
        for (node, identity) in (0u16..).map(NodeIndex).zip(&identities) {
            let (state, hello) =
                NodeEpochHello::open(roster.clone(), node, identity.clone(), 1).unwrap();
            hellos.insert(node, state);
            out.extend(server.handle(node, over_the_wire(&hello, &limits)).unwrap());
        }
        let mut kems = BTreeMap::new();
        let mut more = Vec::new();
        for (node, message) in sends(out) {
            let ServerMessage::EpochHellos(message) = over_the_wire(&message, &limits) else {
                panic!("expected the hellos")
            };
            let (state, kem) = hellos.remove(&node).unwrap().on_hellos(message).unwrap();
            kems.insert(node, state);
            more.extend(server.handle(node, over_the_wire(&kem, &limits)).unwrap());
        }
        assert!(server.is_complete());
        let mut epochs = BTreeMap::new();
        for (node, message) in sends(more) {
            let ServerMessage::EpochKems(message) = over_the_wire(&message, &limits) else {
                panic!("expected the encapsulations")
            };
            epochs.insert(node, kems.remove(&node).unwrap().on_kems(message).unwrap());
        }
        Self {
            roster,
            identities,
            aggregator,
            epochs: epochs.into_values().collect(),
            transcript: server.transcript().unwrap(),
            rng: ChaCha20Rng::seed_from_u64(7),
        }
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
            self.roster.clone(),
            node,
            self.identities[position].clone(),
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
    outputs
        .into_iter()
        .filter_map(|output| match output {
            ServerOutput::Send(node, message) => Some((node, message)),
            _ => None,
        })
        .collect()
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
    let (server, out) = ServerRound::open(
        cluster.roster.clone(),
        cluster.aggregator.clone(),
        1,
        cluster.transcript,
        view.clone(),
        cohort,
    )
    .unwrap();
    let mut world = World {
        limits: Limits::for_members(cluster.size()),
        cluster,
        server,
        view,
        vectors,
        script,
        nodes: BTreeMap::new(),
        dead: Vec::new(),
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
    queue: VecDeque<Event>,
    outcome: Outcome,
}

impl World<'_, '_> {
    fn run(&mut self) {
        for _ in 0..16 {
            while let Some(event) = self.queue.pop_front() {
                self.step(event);
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
            && self.dead.contains(&node)
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
                let x = self.vectors[usize::from(node.0)].clone();
                let rng = &mut self.cluster.rng;
                let done = self.nodes.get_mut(&node).map(|round| round.provide_vector(x, rng));
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
        let Some(round) = self.nodes.get_mut(&node) else { return };
        if matches!(round.phase(), NodePhase::Certified | NodePhase::Aborted) {
            return;
        }
        let done = round.handle(message);
        self.take_node(node, Some(done));
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
                NodeOutput::VectorNeeded => self.queue.push_back(Event::Provide(node)),
                NodeOutput::ChargeNeeded { payload_hash } => {
                    self.outcome.charged.insert(node, payload_hash);
                    self.queue.push_back(Event::Release(node));
                }
                NodeOutput::Opened { sum, .. } => {
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
                ServerOutput::Send(node, message) => {
                    let messages = match &mut self.script.server {
                        Some(hook) => hook(node, message),
                        None => vec![message],
                    };
                    for message in messages {
                        self.queue.push_back(Event::ToNode(node, message));
                    }
                }
                ServerOutput::Opened { sum, survivors, .. } => {
                    let state = state_of(&sum);
                    self.outcome.opened = Some((sum, survivors));
                    let out = self.server.provide_state(state);
                    self.take_server(out);
                }
                ServerOutput::Certified(quorum) => self.outcome.certified = Some(quorum),
                ServerOutput::Aborted(abort) => self.outcome.aborted = Some(abort),
                ServerOutput::Evicted { node, why } => {
                    self.outcome.evicted.insert(node, why);
                }
            }
        }
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
