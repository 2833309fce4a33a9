//! A small cluster with an epoch, and one honest round of it in frames: the corpus, and
//! what the machines under fire are built from. Made once per process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use tributary_secagg::messages::{Abort, Complaint, EpochReveal, SignedMessage as _};
use tributary_secagg::{
    AbortReason, Digest, EpochFacts, Evidence, Identity, LaneBits, Lanes, Limits, NodeEpoch,
    NodeEpochHello, NodeEpochKem, NodeEpochPeers, NodeIndex, NodeMessage, NodeOutput, NodeRound,
    NodeSeat, NodeSet, ResultQc, Roster, RoundView, ServerEpoch, ServerMessage, ServerOutput,
    ServerRound, ServerSeat, Thresholds, hash,
};

/// Attempts per round.
pub const MAX_ATTEMPTS: u16 = 4;

/// Nodes; one may be missing.
const NODES: u16 = 4;

pub struct Fixture {
    pub roster: Arc<Roster>,
    pub limits: Limits,
    pub identities: Vec<Arc<Identity>>,
    pub aggregator: Arc<Identity>,
    pub seats: Vec<NodeSeat>,
    pub server: ServerSeat,
    pub facts: EpochFacts,
    /// The nodes' epochs before the round.
    pub epochs: Vec<Vec<u8>>,
    pub view: RoundView,
    pub vectors: Vec<Vec<u32>>,
    /// Frames of the round for node 0.
    pub to_node: Vec<Vec<u8>>,
    /// All nodes' frames of the round.
    pub to_server: Vec<(NodeIndex, Vec<u8>)>,
    pub setup_start: Vec<u8>,
    pub setup_to_server: Vec<(NodeIndex, Vec<u8>)>,
    /// Frames of the set-up, of the aggregator.
    pub setup_of_server: Vec<Vec<u8>>,
    pub certificate: ResultQc,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::new);

pub fn fixture() -> &'static Fixture {
    &FIXTURE
}

enum Keying {
    Hello(NodeEpochHello),
    Peers(NodeEpochPeers),
    Kem(NodeEpochKem),
    Done(Box<NodeEpoch>),
}

/// What came of an epoch's set-up.
pub struct SetUp {
    pub facts: Option<EpochFacts>,
    epochs: BTreeMap<NodeIndex, NodeEpoch>,
    to_server: Vec<(NodeIndex, Vec<u8>)>,
    of_server: Vec<Vec<u8>>,
}

/// An epoch's set-up among real machines; `arrives` says what reaches a node in place
/// of the aggregator's message.
pub fn set_up(
    seats: &[NodeSeat],
    server: &ServerSeat,
    mut arrives: impl FnMut(NodeIndex, ServerMessage) -> Vec<ServerMessage>,
) -> SetUp {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let (mut machine, out) = ServerEpoch::open(server, 1, NodeSet::new(NODES));
    let mut states: BTreeMap<NodeIndex, Keying> = BTreeMap::new();
    let (mut to_server, mut of_server) = (Vec::new(), Vec::new());
    let mut queue: VecDeque<(NodeIndex, ServerMessage)> = sends(out).into();
    for _ in 0..4 {
        while let Some((node, message)) = queue.pop_front() {
            of_server.push(message.encode());
            for message in arrives(node, message) {
                let seat = &seats[usize::from(node.0)];
                let Some(answer) = step(seat, &mut states, node, message, &mut rng) else {
                    continue;
                };
                to_server.push((node, answer.encode()));
                if let Ok(out) = machine.handle(node, answer) {
                    queue.extend(sends(out));
                }
            }
        }
        queue.extend(sends(machine.deadline()));
    }
    let done = |(node, state)| match state {
        Keying::Done(epoch) => Some((node, *epoch)),
        _ => None,
    };
    let epochs = states.into_iter().filter_map(done).collect();
    SetUp { facts: machine.facts().cloned(), epochs, to_server, of_server }
}

fn step(
    seat: &NodeSeat,
    states: &mut BTreeMap<NodeIndex, Keying>,
    node: NodeIndex,
    message: ServerMessage,
    rng: &mut ChaCha20Rng,
) -> Option<NodeMessage> {
    let (state, answer) = match (states.remove(&node), message) {
        (_, ServerMessage::EpochStart(start)) => {
            let (state, hello) = NodeEpochHello::open(seat, &start, rng).ok()?;
            (Keying::Hello(state), Some(hello))
        }
        (Some(Keying::Hello(state)), ServerMessage::EpochHellos(message)) => {
            let (state, reveal) = state.on_hellos(&message).ok()?;
            (Keying::Peers(state), reveal)
        }
        (Some(Keying::Peers(state)), ServerMessage::EpochPeers(message)) => {
            let (state, kem) = state.on_peers(message).ok()?;
            (Keying::Kem(state), Some(kem))
        }
        (Some(Keying::Kem(state)), ServerMessage::EpochKems(message)) => {
            let (epoch, done) = state.on_kems(&message).ok()?;
            (Keying::Done(Box::new(epoch)), Some(done))
        }
        (state, _) => (state?, None),
    };
    states.insert(node, state);
    answer
}

fn sends(outputs: Vec<ServerOutput>) -> Vec<(NodeIndex, ServerMessage)> {
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

impl Fixture {
    /// A node's random numbers in the round: the same every time, so that the recorded
    /// frames fit a machine that is opened again.
    pub fn rng_of(node: u16) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(100 + u64::from(node))
    }

    fn new() -> Self {
        let thresholds = Thresholds::complete_graph(NODES, 0.0, 0.25, 3).unwrap();
        let identity = |number: u16| {
            let seed = hash("fuzz identity", &[&number.to_le_bytes()]).0;
            Arc::new(Identity::from_seed(&seed).unwrap())
        };
        let identities: Vec<_> = (0..NODES).map(identity).collect();
        let aggregator = identity(u16::MAX);
        let keys = identities.iter().map(|identity| identity.verifying_key()).collect();
        let job = hash("fuzz job", &[]);
        let roster = Roster::new(job, keys, aggregator.verifying_key(), thresholds).unwrap();
        let roster = Arc::new(roster);
        let seats: Vec<_> = (0..NODES)
            .map(NodeIndex)
            .zip(&identities)
            .map(|(node, identity)| NodeSeat::new(roster.clone(), node, identity.clone()).unwrap())
            .collect();
        let server = ServerSeat::new(roster.clone(), aggregator.clone())
            .unwrap()
            .with_uploads(NonZeroUsize::new(2).unwrap());
        let agreed = set_up(&seats, &server, |_, message| vec![message]);
        let view = RoundView {
            round: 0,
            attempt: 0,
            operation: 1,
            vector_len: 7,
            lane_bits: LaneBits::FULL,
            state_hash: hash("state before", &[]),
            params_hash: hash("parameters", &[]),
            previous: Digest::ZERO,
        };
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let vectors = (0..NODES).map(|_| (0..7).map(|_| rng.next_u32()).collect()).collect();
        let facts = agreed.facts.unwrap();
        let epochs: Vec<Vec<u8>> =
            agreed.epochs.values().map(|epoch| epoch.to_secret_bytes().to_vec()).collect();
        let mut fixture = Self {
            limits: Limits::for_members(NODES),
            setup_start: agreed.of_server[0].clone(),
            setup_to_server: agreed.to_server,
            setup_of_server: agreed.of_server,
            to_node: Vec::new(),
            to_server: Vec::new(),
            certificate: ResultQc {
                context: Digest::ZERO,
                manifest_hash: Digest::ZERO,
                sum_root: Digest::ZERO,
                state_hash: Digest::ZERO,
                survivors: NodeSet::new(NODES),
                signatures: Vec::new(),
            },
            roster,
            identities,
            aggregator,
            seats,
            server,
            facts,
            epochs,
            view,
            vectors,
        };
        fixture.record();
        fixture
    }

    /// Runs the round and keeps its frames.
    fn record(&mut self) {
        let cohort = self.facts.members.clone();
        let (mut server, out) =
            ServerRound::open(&self.server, &self.facts, self.view.clone(), cohort).unwrap();
        let mut machines: BTreeMap<NodeIndex, NodeRound> = BTreeMap::new();
        let mut queue: VecDeque<(NodeIndex, ServerMessage)> = sends(out).into();
        while let Some((node, message)) = queue.pop_front() {
            if node == NodeIndex(0) {
                self.to_node.push(message.encode());
            }
            let mut answers = Vec::new();
            if let ServerMessage::RoundStart(start) = message {
                let position = usize::from(node.0);
                let (bytes, mut rng) = (&self.epochs[position], Self::rng_of(node.0));
                let mut epoch = NodeEpoch::from_secret_bytes(&self.roster, bytes).unwrap();
                let (seat, view) = (&self.seats[position], &self.view);
                let (machine, commit) =
                    NodeRound::open(seat, &mut epoch, MAX_ATTEMPTS, start, view, &mut rng).unwrap();
                machines.insert(node, machine);
                answers.push(commit);
            } else {
                let machine = machines.get_mut(&node).unwrap();
                let outputs = machine.handle(message).unwrap();
                self.follow(node, machine, outputs, &mut answers);
            }
            for answer in answers {
                self.to_server.push((node, answer.encode()));
                let mut outputs = server.handle(node, answer).unwrap();
                outputs.extend(server.provide_state(hash("state", &[])));
                for output in &outputs {
                    if let ServerOutput::Certified(certificate) = output {
                        self.certificate = certificate.clone();
                    }
                }
                queue.extend(sends(outputs));
            }
        }
        assert!(self.certificate.verify(&self.roster).is_ok());
    }

    fn follow(
        &self,
        node: NodeIndex,
        machine: &mut NodeRound,
        outputs: Vec<NodeOutput>,
        answers: &mut Vec<NodeMessage>,
    ) {
        for output in outputs {
            let more = match output {
                NodeOutput::Send(message) => {
                    answers.push(message);
                    continue;
                }
                NodeOutput::Upload(upload) => {
                    answers.extend(upload);
                    continue;
                }
                NodeOutput::VectorNeeded => {
                    let x = self.vectors[usize::from(node.0)].clone();
                    machine.provide_vector(Lanes::Wide(x))
                }
                NodeOutput::ChargeNeeded { .. } => machine.release_upload(),
                NodeOutput::Opened { .. } => machine.acknowledge_result(hash("state", &[])),
                _ => continue,
            };
            self.follow(node, machine, more.unwrap(), answers);
        }
    }

    /// No node of the roster.
    pub fn nobody(&self) -> NodeSet {
        NodeSet::new(NODES)
    }

    /// Real frames of every kind of the nodes.
    pub fn node_frames(&self) -> Vec<Vec<u8>> {
        let context = hash("ctx", &[]);
        let against = NodeSet::of(NODES, [NodeIndex(2)]);
        let complaint = Complaint { context, against, signature: [0; 64] };
        let reveal = EpochReveal { context, roll: hash("roll", &[]), coin: [7; 32] };
        let others: [NodeMessage; 2] =
            [complaint.signed_by(&self.identities[1]).into(), reveal.into()];
        let recorded = self.setup_to_server.iter().chain(&self.to_server);
        let mut frames: Vec<Vec<u8>> = recorded.map(|(_, frame)| frame.clone()).collect();
        frames.extend(others.iter().map(NodeMessage::encode));
        frames
    }

    /// Real frames of every kind of the aggregator.
    pub fn server_frames(&self) -> Vec<Vec<u8>> {
        let blamed = NodeSet::of(NODES, [NodeIndex(3)]);
        let (context, reason) = (hash("ctx", &[]), AbortReason::TooFewUploads);
        let abort = Abort { context, reason, have: 2, need: 3, blamed, signature: [0; 64] };
        let abort = ServerMessage::from(abort.signed_by(&self.aggregator)).encode();
        self.setup_of_server.iter().chain(&self.to_node).cloned().chain([abort]).collect()
    }

    /// Evidence of every kind, none of it true.
    pub fn evidence(&self) -> Vec<Vec<u8>> {
        let of = |kind: u8| {
            let mut frames = self.to_server.iter().map(|(_, frame)| frame);
            frames.find(|frame| frame[2] == kind).unwrap().clone()
        };
        let (commit, shares) = (of(0x03), of(0x08));
        let relay = self.to_node.iter().find(|frame| frame[2] == 0x44).unwrap().clone();
        [
            Evidence::Equivocation { first: commit.clone(), second: of(0x04) },
            Evidence::BadShare { ready: of(0x04), relay: relay.clone(), shares: shares.clone() },
            Evidence::BadOwnShare { commit: commit.clone(), shares: shares.clone() },
            Evidence::BadDealing { commit: commit.clone(), shares: vec![shares] },
            Evidence::AlteredRelay { commit, relay },
        ]
        .iter()
        .map(Evidence::encode)
        .collect()
    }
}
