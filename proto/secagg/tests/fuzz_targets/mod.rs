//! What is fuzzed, as plain functions of bytes: the decoders, the stored epoch, and the
//! machines of both sides. Shared by `fuzz_smoke.rs`, which runs them with a mutator of
//! its own, and by the cargo-fuzz crate in `tests/fuzz` of the workspace.
//!
//! Each function panics if what it promises does not hold: whatever decodes encodes to
//! the very bytes it came from, no input panics a machine, a machine that has refused
//! refuses from then on, and the aggregator opens no wrong sum.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]
#![allow(dead_code, reason = "every program uses another part of it")]

pub mod fixture;

use std::borrow::Cow;
use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tributary_secagg::messages::SignedMessage;
use tributary_secagg::{
    Evidence, Fault, Identity, Lanes, NodeEpoch, NodeEpochHello, NodeIndex, NodeMessage,
    NodeOutput, NodePhase, NodeRound, ResultQc, ServerEpoch, ServerMessage, ServerOutput,
    ServerRound, hash,
};

use fixture::{Fixture, MAX_ATTEMPTS, fixture};

/// What is given any bytes at all.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("decode_node_message", decode_node_message),
    ("decode_server_message", decode_server_message),
    ("decode_result_qc", decode_result_qc),
    ("decode_evidence", decode_evidence),
    ("epoch_secret_bytes", epoch_secret_bytes),
    ("node_machine", node_machine),
    ("server_machine", server_machine),
];

/// Real inputs of a target.
pub fn corpus(name: &str) -> Vec<Vec<u8>> {
    let fixture = fixture();
    match name {
        "decode_node_message" => fixture.node_frames(),
        "decode_server_message" => fixture.server_frames(),
        "decode_result_qc" => vec![fixture.certificate.encode()],
        "decode_evidence" => fixture.evidence(),
        "epoch_secret_bytes" => fixture.epochs.clone(),
        _ => machine_corpus(),
    }
}

/// Programs of changes: one change at each place, of every sort.
fn machine_corpus() -> Vec<Vec<u8>> {
    let sorts = [0u8, 1, 3, 4, 5, 6, 0x81, 0x86, 0x99];
    let mut programs = vec![vec![0]];
    for mode in [0, 3] {
        for sort in sorts {
            for place in 0..12usize {
                let mut program = vec![mode];
                program.resize(1 + place, 0);
                program.extend([sort, 40, 0, 1, 0xff, 0xfe, 7, 9]);
                programs.push(program);
            }
        }
    }
    programs
}

pub fn decode_node_message(bytes: &[u8]) {
    if let Ok(message) = NodeMessage::decode(bytes, &fixture().limits) {
        assert_eq!(message.encode(), bytes, "one value, one encoding");
        let _ = (message.kind(), message.context(), message.signed_statement());
        let _ = format!("{message:?}");
    }
}

pub fn decode_server_message(bytes: &[u8]) {
    if let Ok(message) = ServerMessage::decode(bytes, &fixture().limits) {
        assert_eq!(message.encode(), bytes, "one value, one encoding");
        let _ = (message.kind(), message.context(), message.signed_statement());
        let _ = format!("{message:?}");
    }
}

pub fn decode_result_qc(bytes: &[u8]) {
    let fixture = fixture();
    if let Ok(certificate) = ResultQc::decode(bytes, &fixture.limits) {
        assert_eq!(certificate.encode(), bytes, "one value, one encoding");
        // The digest leaves the signatures out and nothing else.
        let genuine = certificate.verify(&fixture.roster).is_ok();
        assert!(!genuine || certificate.digest() == fixture.certificate.digest());
    }
}

pub fn decode_evidence(bytes: &[u8]) {
    let fixture = fixture();
    if let Ok(evidence) = Evidence::decode(bytes, &fixture.limits) {
        assert_eq!(evidence.encode(), bytes, "one value, one encoding");
        // Nobody in the fixture ever broke a rule.
        assert!(evidence.verify(&fixture.roster).is_err());
    }
}

/// A damaged disk: it is refused, or what is read goes on without a panic.
pub fn epoch_secret_bytes(bytes: &[u8]) {
    let fixture = fixture();
    let Ok(mut epoch) = NodeEpoch::from_secret_bytes(&fixture.roster, bytes) else { return };
    let again = epoch.to_secret_bytes();
    let other = NodeEpoch::from_secret_bytes(&fixture.roster, &again).unwrap();
    assert_eq!(*other.to_secret_bytes(), *again);
    let ServerMessage::RoundStart(start) =
        ServerMessage::decode(&fixture.to_node[0], &fixture.limits).unwrap()
    else {
        panic!("expected the start")
    };
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let _ = NodeRound::open(
        &fixture.seats[0],
        &mut epoch,
        MAX_ATTEMPTS,
        start,
        &fixture.view,
        &mut rng,
    );
    let _ = format!("{epoch:?}");
}

/// A program of changes, read from the input; an input that ends changes nothing more.
struct Changes<'a>(&'a [u8]);

impl Changes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    /// What arrives in place of frame `at`; the flag says to sign it anew.
    fn frames<'a>(&mut self, at: usize, all: &'a [Vec<u8>]) -> Vec<(Cow<'a, [u8]>, bool)> {
        let own = &all[at];
        let op = self.byte();
        let sign = op & 0x80 != 0;
        match op & 7 {
            1 | 2 => {
                let mut changed = own.clone();
                for _ in 0..=(op >> 3 & 3) {
                    let place = self.number() % changed.len();
                    changed[place] ^= self.byte().max(1);
                }
                vec![(changed.into(), sign)]
            }
            3 => Vec::new(),
            4 => vec![(own.into(), false), (own.into(), false)],
            5 => {
                let other = &all[self.number() % all.len()];
                vec![(other.into(), false), (own.into(), false)]
            }
            6 => {
                let mut changed = own.clone();
                let place = self.number() % changed.len();
                changed[place] ^= self.byte().max(1);
                vec![(own.into(), false), (changed.into(), sign)]
            }
            _ => vec![(own.into(), false)],
        }
    }
}

fn signed_by_aggregator(message: ServerMessage, key: &Identity) -> ServerMessage {
    match message {
        ServerMessage::EpochStart(message) => message.signed_by(key).into(),
        ServerMessage::RoundStart(message) => message.signed_by(key).into(),
        ServerMessage::ShareRelay(message) => message.signed_by(key).into(),
        ServerMessage::UploadGrant(message) => message.signed_by(key).into(),
        ServerMessage::SurvivorManifest(message) => message.signed_by(key).into(),
        ServerMessage::RoundResult(message) => message.signed_by(key).into(),
        ServerMessage::Abort(message) => message.signed_by(key).into(),
        other => other,
    }
}

fn signed_by_node(message: NodeMessage, key: &Identity) -> NodeMessage {
    match message {
        NodeMessage::RoundCommit(message) => message.signed_by(key).into(),
        NodeMessage::Complaint(message) => message.signed_by(key).into(),
        NodeMessage::Ready(message) => message.signed_by(key).into(),
        NodeMessage::MaskedDone(message) => message.signed_by(key).into(),
        NodeMessage::SurvivorAck(message) => message.signed_by(key).into(),
        NodeMessage::UnmaskShares(message) => message.signed_by(key).into(),
        NodeMessage::ResultAck(message) => message.signed_by(key).into(),
        NodeMessage::EpochDone(message) => message.signed_by(key).into(),
        other => other,
    }
}

/// Changed messages of the aggregator to a node, in a round or in an epoch's set-up.
pub fn node_machine(bytes: &[u8]) {
    let mut changes = Changes(bytes);
    if changes.byte() & 3 == 3 { node_in_set_up(changes) } else { node_in_round(changes) }
}

fn node_in_round(mut changes: Changes<'_>) {
    let fixture = fixture();
    let mut epoch = NodeEpoch::from_secret_bytes(&fixture.roster, &fixture.epochs[0]).unwrap();
    let mut rng = Fixture::rng_of(0);
    let mut machine: Option<NodeRound> = None;
    for at in 0..fixture.to_node.len() {
        for (frame, sign) in changes.frames(at, &fixture.to_node) {
            let Ok(mut message) = ServerMessage::decode(&frame, &fixture.limits) else { continue };
            if sign {
                message = signed_by_aggregator(message, &fixture.aggregator);
            }
            let Some(open) = &mut machine else {
                let ServerMessage::RoundStart(start) = message else { continue };
                let seat = &fixture.seats[0];
                let before = epoch.to_secret_bytes();
                match NodeRound::open(
                    seat,
                    &mut epoch,
                    MAX_ATTEMPTS,
                    start,
                    &fixture.view,
                    &mut rng,
                ) {
                    Ok((open, _)) => machine = Some(open),
                    Err(_) => assert_eq!(*epoch.to_secret_bytes(), *before),
                }
                continue;
            };
            let over = matches!(
                open.phase(),
                NodePhase::Certified | NodePhase::Aborted | NodePhase::Faulted
            );
            match open.handle(message) {
                Ok(outputs) => {
                    assert!(!over, "a machine that is over takes messages");
                    obey(fixture, open, outputs);
                }
                Err(fault) => {
                    assert!(!over || matches!(fault, Fault::Misuse { .. }));
                    let _ = (fault.to_string(), fault.suspects());
                    if let Some(evidence) = open.evidence() {
                        assert!(evidence.verify(&fixture.roster).is_ok());
                    }
                }
            }
        }
    }
}

/// Does what a node's machine asks for, as its program would.
fn obey(fixture: &Fixture, machine: &mut NodeRound, outputs: Vec<NodeOutput>) {
    for output in outputs {
        let more = match output {
            NodeOutput::VectorNeeded => {
                machine.provide_vector(Lanes::Wide(fixture.vectors[0].clone()))
            }
            NodeOutput::ChargeNeeded { .. } => machine.release_upload(),
            NodeOutput::Opened { .. } => machine.acknowledge_result(hash("state", &[])),
            NodeOutput::Upload(upload) => {
                for message in upload {
                    decode_node_message(&message.encode());
                }
                continue;
            }
            NodeOutput::Send(message) => {
                decode_node_message(&message.encode());
                continue;
            }
            _ => continue,
        };
        if let Ok(more) = more {
            obey(fixture, machine, more);
        }
    }
}

/// A node's set-up cannot be replayed, for its keys are fresh: the others are real.
fn node_in_set_up(mut changes: Changes<'_>) {
    let fixture = fixture();
    fixture::set_up(&fixture.seats, &fixture.server, |node, message| {
        if node != NodeIndex(0) {
            return vec![message];
        }
        let own = [message.encode()];
        let frames = changes.frames(0, &own);
        let decode = |(frame, sign): (Cow<'_, [u8]>, bool)| {
            let message = ServerMessage::decode(&frame, &fixture.limits).ok()?;
            Some(if sign { signed_by_aggregator(message, &fixture.aggregator) } else { message })
        };
        frames.into_iter().filter_map(decode).collect()
    });
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    if let Ok(ServerMessage::EpochStart(start)) =
        ServerMessage::decode(&fixture.setup_start, &fixture.limits)
    {
        let _ = NodeEpochHello::open(&fixture.seats[0], &start, &mut rng);
    }
}

/// Changed messages of nodes to the aggregator, in a round or in an epoch's set-up.
pub fn server_machine(bytes: &[u8]) {
    let mut changes = Changes(bytes);
    if changes.byte() & 3 == 3 { server_in_set_up(changes) } else { server_in_round(changes) }
}

fn server_in_set_up(mut changes: Changes<'_>) {
    let fixture = fixture();
    let (mut machine, _) = ServerEpoch::open(&fixture.server, 1, fixture.nobody());
    let frames: Vec<Vec<u8>> =
        fixture.setup_to_server.iter().map(|(_, frame)| frame.clone()).collect();
    for (at, (from, _)) in fixture.setup_to_server.iter().enumerate() {
        for (frame, sign) in changes.frames(at, &frames) {
            let Ok(mut message) = NodeMessage::decode(&frame, &fixture.limits) else { continue };
            if sign {
                message = signed_by_node(message, &fixture.identities[usize::from(from.0)]);
            }
            let _ = machine.handle(*from, message);
        }
        if changes.byte() == 0xff {
            let _ = machine.deadline();
        }
    }
    for _ in 0..4 {
        let _ = machine.deadline();
    }
    assert!(machine.waiting_for().is_empty());
}

fn server_in_round(mut changes: Changes<'_>) {
    let fixture = fixture();
    let cohort = fixture.facts.members.clone();
    let (mut machine, _) =
        ServerRound::open(&fixture.server, &fixture.facts, fixture.view.clone(), cohort).unwrap();
    let frames: Vec<Vec<u8>> = fixture.to_server.iter().map(|(_, frame)| frame.clone()).collect();
    let mut signed_anew = BTreeMap::new();
    for (at, (from, _)) in fixture.to_server.iter().enumerate() {
        for (frame, sign) in changes.frames(at, &frames) {
            let Ok(mut message) = NodeMessage::decode(&frame, &fixture.limits) else { continue };
            if sign {
                message = signed_by_node(message, &fixture.identities[usize::from(from.0)]);
                signed_anew.insert(*from, ());
            }
            if let Ok(outputs) = machine.handle(*from, message) {
                judge(fixture, &mut machine, outputs, signed_anew.is_empty());
            }
        }
        let outputs = match changes.byte() {
            0xff => machine.deadline(),
            0xfe => machine.drop_node(*from),
            0xfd => machine.resume_upload(*from),
            0xfc => machine.widen_uploads(),
            _ => continue,
        };
        judge(fixture, &mut machine, outputs, signed_anew.is_empty());
    }
    for _ in 0..8 {
        let outputs = machine.deadline();
        judge(fixture, &mut machine, outputs, signed_anew.is_empty());
    }
    assert!(machine.waiting_for().is_empty(), "a round ends with its deadlines");
}

/// What the aggregator's machine gives out is in order.
fn judge(fixture: &Fixture, machine: &mut ServerRound, outputs: Vec<ServerOutput>, honest: bool) {
    for output in outputs {
        match output {
            ServerOutput::Send(_, message) | ServerOutput::SendAll(_, message) => {
                decode_server_message(&message.encode());
            }
            ServerOutput::Opened { sum, survivors, .. } => {
                let Lanes::Wide(sum) = sum else { panic!("another width") };
                let expected = |lane: usize| {
                    let lanes =
                        survivors.iter().map(|node| fixture.vectors[usize::from(node.0)][lane]);
                    lanes.fold(0u32, u32::wrapping_add)
                };
                // Whoever signs anew may send any vector.
                assert!(!honest || (0..sum.len()).all(|lane| sum[lane] == expected(lane)));
                let more = machine.provide_state(hash("state", &[]));
                judge(fixture, machine, more, honest);
            }
            ServerOutput::Evicted { evidence, .. } => {
                if let Some(evidence) = evidence {
                    assert!(evidence.verify(&fixture.roster).is_ok());
                }
            }
            ServerOutput::Certified(certificate) => certificate.verify(&fixture.roster).unwrap(),
            ServerOutput::Aborted(_) => {}
        }
    }
}
