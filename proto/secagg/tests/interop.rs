//! Rounds in which some nodes are programs in another language.
//!
//! `tests/interop` at the root of the repository holds a second implementation of a node, which
//! shares no code and no library with this crate. Here it takes part in epochs and rounds beside the
//! crate's own machines: every sum must come out exact, every node must hold the same certified
//! result, and what an honest node must refuse, the other one refuses as well. It needs `python3`;
//! without it the tests say so and pass, unless `TRIBUTARY_REQUIRE_PYTHON=1` is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;
#[path = "interop/lies.rs"]
mod lies;
#[path = "interop/mixed.rs"]
mod mixed;
#[path = "interop/own.rs"]
mod own;
#[path = "interop/python.rs"]
mod python;

use std::cell::RefCell;
use std::collections::VecDeque;

use common::{sends, state_of, words};
use lies::{LIES, Lie, SETUP_LIES, VICTIM};
use mixed::{Hook, Mixed, Script};
use own::Plan;
use python::{folder, program, python};
use tributary_secagg::messages::{Kind, ShareParcel, SignedMessage as _, UploadTurn};
use tributary_secagg::{
    Digest, Fault, Identity, NodeIndex, NodeMessage, NodeSet, ResultQc, ServerMessage,
    ServerOutput, ServerRound, Thresholds, hash,
};

/// Whoever stays to the end of a round must note its certificate.
struct Expected(Vec<Vec<String>>);

impl Expected {
    fn round(&mut self, nodes: &NodeSet, quorum: &ResultQc) {
        for node in nodes.iter() {
            self.0[usize::from(node.0)].push(format!("certified {}", quorum.digest()));
        }
    }
}

fn gone_at(nodes: &[(u16, Kind)]) -> Script<'static> {
    let gone_at = nodes.iter().map(|(node, kind)| (NodeIndex(*node), *kind)).collect();
    Script { gone_at, ..Script::default() }
}

const EVERY_KIND: [Kind; 8] = [
    Kind::RoundStart,
    Kind::RoundCommit,
    Kind::Ready,
    Kind::MaskedChunk,
    Kind::MaskedDone,
    Kind::SurvivorAck,
    Kind::UnmaskShares,
    Kind::ResultAck,
];

/// Two of five nodes are programs in Python. For each of four lane widths two rounds, in each of
/// which one node of either kind is lost: a Python node before every kind of message once.
#[test]
fn every_dropout_in_the_complete_graph() {
    let Some(python) = python() else { return };
    let widths = [32, 32, 26, 26, 16, 16, 11, 11];
    let lengths = [100, 33, 7, 1, 64, 65_540, 90, 5];
    let rounds: Vec<(u8, u32)> = widths.into_iter().zip(lengths).collect();
    let plan = Plan::new(5, &rounds);
    let thresholds = Thresholds::complete_graph(5, 0.0, 0.4, 3).unwrap();
    let mut mixed = Mixed::new(python, thresholds, &[1, 3], &plan);
    mixed.key(&Script::default());
    assert_eq!(mixed.facts.as_ref().unwrap().members, NodeSet::full(5));
    let mut expected = Expected(vec![Vec::new(); 5]);
    for (at, kind) in EVERY_KIND.into_iter().enumerate() {
        let (foreign, own) = if at % 2 == 0 { (1, 4) } else { (3, 0) };
        let mut script = gone_at(&[(foreign, kind), (own, EVERY_KIND[(at + 3) % 8])]);
        script.breaks = (at == 5).then_some(NodeIndex(1));
        let (quorum, evicted) = mixed.run(at, &script);
        let lost = NodeSet::of(5, [foreign, own].map(NodeIndex));
        assert_eq!(mixed.gone, lost, "round {at}");
        assert!(evicted.is_empty());
        expected.round(&NodeSet::full(5).difference(&lost), &quorum);
    }
    assert_eq!(mixed.end(), expected.0);
}

/// Twenty nodes in a ring, three of them in Python. One node never answers, and one does not open
/// its coin, so that the set-up begins anew; then two rounds with dropouts.
#[test]
fn a_restart_and_dropouts_in_the_sparse_graph() {
    let Some(python) = python() else { return };
    let plan = Plan::new(20, &[(26, 50), (11, 40), (32, 3)]);
    let thresholds =
        Thresholds { n: 20, corrupt: 0, quorum: 11, shamir_t: 8, u_min: 11, degree: 12 };
    let mut mixed = Mixed::new(python, thresholds, &[0, 7, 13], &plan);
    mixed.key(&gone_at(&[(4, Kind::EpochStart), (9, Kind::EpochReveal)]));
    let members = mixed.facts.as_ref().unwrap().members.clone();
    assert_eq!(members, NodeSet::full(20).difference(&NodeSet::of(20, [4, 9].map(NodeIndex))));
    let mut expected = Expected(vec![Vec::new(); 20]);
    let lost = [
        [(7, Kind::MaskedDone), (11, Kind::MaskedChunk)],
        [(13, Kind::UnmaskShares), (19, Kind::Ready)],
        [(0, Kind::RoundStart), (1, Kind::SurvivorAck)],
    ];
    for (at, lost) in lost.iter().enumerate() {
        let (quorum, evicted) = mixed.run(at, &gone_at(lost));
        assert!(evicted.is_empty());
        let lost = NodeSet::of(20, lost.map(|(node, _)| NodeIndex(node)));
        expected.round(&members.difference(&lost), &quorum);
    }
    assert_eq!(mixed.end(), expected.0);
}

/// What a node must refuse in the set-up, the Python node refuses.
#[test]
fn a_lying_aggregator_keys_nobody() {
    let Some(python) = python() else { return };
    let thresholds = Thresholds { n: 8, corrupt: 0, quorum: 5, shamir_t: 5, u_min: 5, degree: 6 };
    let plan = Plan::new(8, &[(32, 1)]);
    for Lie(words, change) in &SETUP_LIES {
        let mut mixed = Mixed::new(python, thresholds, &[VICTIM.0], &plan);
        mixed.key(&Script { lie: Some((VICTIM, Box::new(change))), ..Script::default() });
        assert!(!mixed.facts.as_ref().unwrap().members.contains(VICTIM), "{words}");
        let notes = mixed.end().swap_remove(usize::from(VICTIM.0));
        assert!(notes.len() == 1 && notes[0].contains(words), "{notes:?}, not {words}");
    }
}

/// What a node must refuse, the Python node refuses; the others go on without it.
#[test]
fn a_lying_aggregator_is_refused() {
    let Some(python) = python() else { return };
    let plan = Plan::new(5, &[(26, 10); LIES.len() + 2]);
    let thresholds = Thresholds::complete_graph(5, 0.0, 0.4, 3).unwrap();
    let mut mixed = Mixed::new(python, thresholds, &[VICTIM.0], &plan);
    mixed.key(&Script::default());
    for (at, Lie(_, change)) in LIES.iter().enumerate() {
        let lie = Some((VICTIM, Box::new(change) as Hook<'_>));
        let (quorum, _) = mixed.run(at, &Script { lie, ..Script::default() });
        quorum.verify(&mixed.roster).unwrap();
        assert!(mixed.gone.contains(VICTIM), "round {at}");
    }
    // Two different manifests; it signs the first and sees the second.
    let twice: Hook<'_> = Box::new(|by, message| {
        let ServerMessage::SurvivorManifest(manifest) = message else { return None };
        let mut second = manifest.clone();
        second.granted_hash = Digest::ZERO;
        Some(vec![message.clone(), second.signed_by(by).into()])
    });
    mixed.run(LIES.len(), &Script { lie: Some((VICTIM, twice)), ..Script::default() });
    let mut notes = mixed.end().swap_remove(usize::from(VICTIM.0));
    assert_eq!(notes.pop().unwrap(), "refused two different SurvivorManifest messages");
    assert_eq!(notes.len(), LIES.len(), "{notes:?}");
    for (note, Lie(words, _)) in notes.iter().zip(&LIES) {
        assert!(note.starts_with("refused ") && note.contains(words), "{note}, not {words}");
    }
}

/// A turn that comes when the manifest is out, and pieces of the sum that come again, change
/// nothing: the Python node ignores them and ends with the others' certificate.
#[test]
fn late_turns_and_pieces_of_the_sum() {
    let Some(python) = python() else { return };
    let plan = Plan::new(5, &[(26, 10)]);
    let thresholds = Thresholds::complete_graph(5, 0.0, 0.4, 3).unwrap();
    let mut mixed = Mixed::new(python, thresholds, &[VICTIM.0], &plan);
    mixed.key(&Script::default());
    let sum = RefCell::new(None);
    let again: Hook<'_> = Box::new(|_, message| {
        let turn = UploadTurn { context: message.context(), first_chunk: 0 };
        let late = match message.kind() {
            Kind::SumChunk => {
                *sum.borrow_mut() = Some(message.clone());
                return Some(vec![turn.into(), message.clone(), message.clone()]);
            }
            Kind::SurvivorManifest | Kind::SurvivorQc => turn.into(),
            Kind::RoundResult => sum.borrow().clone().unwrap(),
            _ => return None,
        };
        Some(vec![message.clone(), late])
    });
    let script = Script { instead: Some((VICTIM, again)), ..Script::default() };
    let (quorum, evicted) = mixed.run(0, &script);
    assert!(evicted.is_empty() && mixed.gone.is_empty());
    let mut expected = Expected(vec![Vec::new(); 5]);
    expected.round(&NodeSet::full(5), &quorum);
    assert_eq!(mixed.end(), expected.0);
}

/// Who was put out, whose vectors are in the sum, and what every node noted.
type Dealt = (NodeSet, Option<NodeSet>, Vec<Vec<String>>);

/// A round of seven nodes, two of them in Python, in which some of this crate's nodes deal
/// badly: what they change of their entry for the Python node is signed again.
fn badly_dealt(dealers: &[u16], change: impl Fn(&mut ShareParcel)) -> Option<Dealt> {
    let python = python()?;
    let plan = Plan::new(7, &[(16, 10)]);
    // One may be corrupt; five are the least.
    let thresholds = Thresholds::complete_graph(7, 0.1, 0.3, 4).unwrap();
    let mut mixed = Mixed::new(python, thresholds, &[1, VICTIM.0], &plan);
    mixed.key(&Script::default());
    let (view, _) = mixed.plan.0[0].clone();
    let facts = mixed.facts.clone().unwrap();
    let (mut server, out) =
        ServerRound::open(&mixed.server, &facts, view, NodeSet::full(7)).unwrap();
    let (mut evicted, mut summed) = (NodeSet::new(7), None);
    let mut queue = VecDeque::from(out);
    while let Some(output) = queue.pop_front() {
        match output {
            ServerOutput::Evicted { node, .. } => {
                evicted.insert(node);
            }
            ServerOutput::Opened { sum, survivors, .. } => {
                queue.extend(server.provide_state(state_of(&words(&sum))));
                summed = Some(survivors);
            }
            output => {
                for (node, message) in sends(vec![output]) {
                    for answer in mixed.deliver(node, &message, &Script::default()) {
                        let answer = match answer {
                            NodeMessage::RoundCommit(mut commit) if dealers.contains(&node.0) => {
                                let entry =
                                    commit.entries.iter_mut().find(|e| e.parcel.to == VICTIM);
                                change(&mut entry.unwrap().parcel);
                                let seed = hash("test identity", &[&node.0.to_le_bytes()]);
                                commit.signed_by(&Identity::from_seed(&seed.0).unwrap()).into()
                            }
                            other => other,
                        };
                        match server.handle(node, answer) {
                            Ok(more) => queue.extend(more),
                            Err(Fault::Stale { .. }) => {}
                            Err(fault) => panic!("{fault}"),
                        }
                    }
                }
            }
        }
        if queue.is_empty() && !server.waiting_for().is_empty() {
            queue.extend(server.deadline());
        }
    }
    Some((evicted, summed, mixed.end()))
}

/// A parcel is spoilt, or for another slot. The Python node complains, and the aggregator
/// separates the pair.
#[test]
fn a_complaint_is_understood() {
    let changes: [fn(&mut ShareParcel); 2] =
        [|parcel| parcel.sealed_shares[20] ^= 1, |parcel| parcel.slot ^= 1];
    for change in changes {
        let Some((evicted, summed, notes)) = badly_dealt(&[0], change) else { return };
        assert_eq!(evicted, NodeSet::of(7, [NodeIndex(0), VICTIM]));
        assert_eq!(summed, Some(NodeSet::of(7, [1, 2, 4, 5, 6].map(NodeIndex))));
        assert_eq!(notes[usize::from(VICTIM.0)], ["complained 0", "aborted 11"]);
        assert!(notes[1].len() == 1 && notes[1] == notes[2]);
    }
}

/// Too few usable dealers are left: the Python node complains before it stops, and whoever
/// goes on knows of whom. Of three contradictions it must be the liar, for one may be.
#[test]
fn a_complaint_before_the_end_is_understood() {
    let Some((evicted, summed, notes)) =
        badly_dealt(&[0, 2, 4], |parcel| parcel.sealed_shares[20] ^= 1)
    else {
        return;
    };
    assert_eq!(evicted, NodeSet::of(7, [VICTIM]));
    assert_eq!(summed, Some(NodeSet::full(7).difference(&NodeSet::of(7, [VICTIM]))));
    let [complained, stopped, ..] = notes[usize::from(VICTIM.0)].as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!((complained.as_str(), &stopped[..8]), ("complained 0 2 4", "stopped "));
}

/// The known answers of `tests/vectors` are computed anew by the second implementation.
#[test]
fn the_vectors_are_recomputed() {
    let Some(python) = python() else { return };
    let file = folder().join("../vectors/secagg-v3.json");
    let output = program(python, "check_vectors.py").arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaints}");
    println!("{said}");
}
