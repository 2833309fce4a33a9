//! Sets that can be summed up and opened: in the sparse graph everybody in them needs enough
//! holders of its shares, from the epoch to the survivors. Beside it, who uploads when.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use common::attack::VICTIM;
use common::cheat::six;
use common::keying::ring;
use common::{Cluster, Keying, Script, key_agreement, plain_sum, run, run_cohort, sends};
use tributary_secagg::messages::Kind;
use tributary_secagg::{
    AbortReason, Fault, Graph, NodeIndex, NodeMessage, NodeSeat, NodeSet, ServerEpoch,
    ServerMessage, ServerOutput, ServerPhase, ServerRound, ServerSeat,
};

/// The ring with five of node 0's twelve neighbours missing: seven hold its shares, eight
/// open them.
fn five_missing(cluster: &Cluster) -> (NodeSet, NodeSet) {
    let peers = cluster.epochs[0].graph().peers(VICTIM);
    let missing = NodeSet::of(16, peers.iter().take(5));
    let left = NodeSet::full(16).difference(&missing);
    (missing, left)
}

#[test]
fn only_a_cohort_that_can_be_opened_is_invited() {
    let mut cluster = Cluster::with(ring());
    let (_, left) = five_missing(&cluster);
    let view = cluster.view(0, 0, 3);
    let refusal = ServerRound::open(&cluster.server, &cluster.facts, view.clone(), left.clone());
    let fault = refusal.map(drop).unwrap_err();
    assert!(matches!(fault, Fault::Misuse { .. }), "{fault}");
    let words = "a cohort in which a node has too few holders of its shares";
    assert!(fault.to_string().contains(words), "{fault}");
    // What is left of it: everybody in it has its holders in it, and nobody else could.
    let open = cluster.facts.openable(&cluster.roster, &left);
    let graph = Graph::of(&cluster.roster.thresholds, &cluster.facts.coin);
    assert!(open.is_subset(&left) && !open.contains(VICTIM));
    assert_eq!(open, graph.openable(left.clone(), 8));
    for node in open.iter() {
        assert!(graph.holders(node).intersection(&open).len() >= 8);
    }
    // With four missing everybody can be opened, whoever they are.
    let mut four = left;
    let back = graph.peers(VICTIM).iter().next().unwrap();
    four.insert(back);
    assert_eq!(cluster.facts.openable(&cluster.roster, &four), four);
    let vectors = cluster.vectors(3);
    let outcome = run_cohort(&mut cluster, &view, four.clone(), &vectors, Script::default());
    assert_eq!(outcome.opened.unwrap(), (plain_sum(&vectors, &four), four));
    // Whoever is no member of the epoch is not in it either.
    let mut facts = cluster.facts.clone();
    facts.members.remove(NodeIndex(9));
    assert!(!facts.openable(&cluster.roster, &NodeSet::full(16)).contains(NodeIndex(9)));
}

/// The vectors are in the sum already, and one of their owners has too few holders among
/// the survivors: its mask would never come off, so the attempt ends before a manifest.
#[test]
fn a_survivor_with_too_few_holders_ends_the_upload() {
    let mut cluster = Cluster::with(ring());
    let (missing, left) = five_missing(&cluster);
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let dies_before = missing.iter().map(|node| (node, Kind::MaskedDone)).collect();
    let outcome = run(&mut cluster, &view, &vectors, Script { dies_before, ..Script::default() });
    let abort = outcome.aborted.unwrap();
    let graph = Graph::of(&cluster.roster.thresholds, &cluster.facts.coin);
    let worst = left.iter().map(|node| graph.holders(node).intersection(&left).len()).min();
    assert_eq!(abort.reason, AbortReason::TooFewShares);
    assert_eq!((usize::from(abort.have), abort.need), (worst.unwrap(), 8));
    assert!(outcome.opened.is_none() && outcome.evicted.is_empty());
    let acknowledged = |node: &NodeIndex| outcome.nodes[node].phase();
    assert!(left.iter().all(|node| acknowledged(&node) == tributary_secagg::NodePhase::Aborted));
}

/// Five neighbours of a node send no encapsulations. The node could only refuse the epoch:
/// it is left out, and everybody whom that leaves with too few.
#[test]
fn an_epoch_without_whom_it_would_leave_with_too_few_peers() {
    let cluster = Cluster::with(ring());
    let mut missing: Option<NodeSet> = None;
    let (server, states, log) = key_agreement(&cluster.seats, &cluster.server, |node, message| {
        if let (VICTIM, NodeMessage::EpochKem(kem)) = (node, &message) {
            missing = Some(NodeSet::of(16, kem.parcels[..5].iter().map(|parcel| parcel.to)));
        }
        let silent = missing.as_ref().is_some_and(|missing| missing.contains(node));
        Some(message).filter(|message| message.kind() != Kind::EpochKem || !silent)
    });
    let answered = NodeSet::full(16).difference(&missing.unwrap());
    let coins = log.iter().find_map(|output| match output {
        ServerOutput::Send(_, ServerMessage::EpochPeers(peers)) => Some(peers.coins.clone()),
        _ => None,
    });
    let roll = log.iter().find_map(|output| match output {
        ServerOutput::SendAll(_, ServerMessage::EpochHellos(list)) => {
            Some(list.roll(&cluster.roster))
        }
        _ => None,
    });
    let coin = tributary_secagg::messages::joint_coin(&roll.unwrap(), &coins.unwrap());
    let graph = Graph::of(&cluster.roster.thresholds, &coin);
    let expected = graph.openable(answered.clone(), 8);
    assert!(!expected.contains(VICTIM));
    assert!(!matches!(states[&VICTIM], Keying::Failed(_)), "nobody refuses");
    let aborted = log.iter().find_map(|output| match output {
        ServerOutput::Aborted(abort) => Some(abort),
        _ => None,
    });
    if expected.len() < 9 {
        let abort = aborted.unwrap();
        assert_eq!(abort.reason, AbortReason::TooFewInEpoch);
        assert_eq!(usize::from(abort.have), expected.len());
        return;
    }
    assert_eq!(server.facts().unwrap().members, expected);
    let told = sends(log).into_iter().filter(|(_, message)| {
        matches!(message, ServerMessage::Abort(abort) if abort.reason == AbortReason::NotIncluded)
    });
    let told = NodeSet::of(16, told.map(|(node, _)| node));
    assert_eq!(told, NodeSet::full(16).difference(&expected));
}

/// An epoch that begins without a node: it is not asked, not waited for and not heard.
#[test]
fn an_epoch_without_a_node() {
    let cluster = Cluster::new(6, 0.1, 0.34, 4);
    let (mut server, out) = ServerEpoch::open(&cluster.server, 2, six(&[3]));
    let starts = sends(out);
    let asked = NodeSet::of(6, starts.iter().map(|(node, _)| *node));
    assert_eq!(asked, six(&[0, 1, 2, 4, 5]));
    assert_eq!(server.waiting_for(), asked);
    let ServerMessage::EpochStart(start) = &starts[0].1 else { panic!("expected a start") };
    assert!(start.excluded.is_empty(), "left out is not excluded: it did nothing in this epoch");
    let mut rng = cluster.rng;
    let mut hello = |seat: &NodeSeat| {
        let (_, hello) = tributary_secagg::NodeEpochHello::open(seat, start, &mut rng).unwrap();
        hello
    };
    let uninvited = server.handle(NodeIndex(3), hello(&cluster.seats[3]));
    assert!(matches!(uninvited, Err(Fault::Stale { .. })), "{uninvited:?}");
    for node in asked.iter() {
        server.handle(node, hello(&cluster.seats[usize::from(node.0)])).unwrap();
    }
    assert_eq!(server.waiting_for(), asked, "the others go on");
}

/// While uploading the aggregator waits for all, but only those with a turn hold it up; and
/// it says how far each is.
#[test]
fn who_holds_up_the_uploads() {
    let mut cluster = common::attack::roomy();
    let two = NonZeroUsize::new(2).unwrap();
    let seat = ServerSeat::new(cluster.roster.clone(), cluster.aggregator.clone()).unwrap();
    let seat = seat.with_uploads(two);
    let lanes = common::cheat::LANES;
    let view = cluster.view(0, 0, lanes as u32);
    let cohort = NodeSet::full(6);
    let (mut server, starts) =
        ServerRound::open(&seat, &cluster.facts, view.clone(), cohort.clone()).unwrap();
    assert_eq!((server.holding_up(), server.waiting_for()), (cohort.clone(), cohort.clone()));
    assert_eq!(server.upload_progress(VICTIM), None, "nobody uploads yet");
    let vectors = cluster.vectors(lanes);
    let mut nodes = BTreeMap::new();
    let mut queue: Vec<_> = sends(starts);
    let mut uploads = BTreeMap::new();
    while !queue.is_empty() {
        for (node, message) in std::mem::take(&mut queue) {
            let outputs = match message {
                ServerMessage::RoundStart(start) => {
                    let (round, commit) = cluster.open_node(node, start, &view).unwrap();
                    nodes.insert(node, round);
                    queue.extend(sends(server.handle(node, commit).unwrap()));
                    continue;
                }
                message => nodes.get_mut(&node).unwrap().handle(message).unwrap(),
            };
            let round = nodes.get_mut(&node).unwrap();
            for output in outputs {
                match output {
                    tributary_secagg::NodeOutput::VectorNeeded => {
                        let x = vectors[usize::from(node.0)].clone();
                        let ready = round.provide_vector(x).unwrap();
                        let ready = common::attack::only_send(ready);
                        queue.extend(sends(server.handle(node, ready).unwrap()));
                    }
                    tributary_secagg::NodeOutput::ChargeNeeded { .. } => {
                        let upload = common::attack::only_upload(round.release_upload().unwrap());
                        uploads.insert(node, upload);
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
    }
    assert_eq!(server.phase(), ServerPhase::Uploading);
    assert_eq!((server.holding_up(), server.waiting_for()), (six(&[0, 1]), cohort));
    assert_eq!(server.upload_progress(VICTIM), Some(0));
    assert_eq!(server.upload_progress(NodeIndex(2)), None, "it is not its turn");
    let mut upload = uploads.remove(&VICTIM).unwrap();
    let first = upload.next().unwrap();
    server.handle(VICTIM, first.clone()).unwrap();
    assert_eq!(server.upload_progress(VICTIM), Some(1));
    server.handle(VICTIM, first.clone()).unwrap();
    assert_eq!(server.upload_progress(VICTIM), Some(1), "a repetition is no progress");
    for message in upload {
        server.handle(VICTIM, message).unwrap();
    }
    assert_eq!(server.upload_progress(VICTIM), None);
    assert_eq!(server.holding_up(), six(&[1, 2]));
    assert_eq!(server.waiting_for(), six(&[1, 2, 3, 4, 5]));
    // A chunk behind the end of a vector is in the sum already.
    assert!(server.handle(VICTIM, first).unwrap().is_empty());
    assert_eq!(server.holding_up(), six(&[1, 2]));
    server.drop_node(NodeIndex(1));
    assert_eq!(server.holding_up(), six(&[2, 3]));
    server.widen_uploads();
    assert_eq!(server.holding_up(), six(&[2, 3, 4]));
}
