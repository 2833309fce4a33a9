//! Replays, crashes and restored backups: a (round, attempt) is spent once, and what was
//! committed to in it is the only thing that can ever leave in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::attack::{Tap, VICTIM, blames, cluster, nodes, only_send, stopped_at};
use common::{Cluster, MAX_ATTEMPTS, Script, parties, run};
use tributary_secagg::messages::{Kind, Ready, ShareRelay, SignedMessage as _, quorum_statement};
use tributary_secagg::{
    Digest, Evidence, Fault, NodeEpoch, NodeIndex, NodeMessage, NodeOutput, NodeSet, Party,
    RoundStart, RoundView, ServerMessage, ServerOutput, ServerRound, Thresholds, context,
};

/// The aggregator's start of an attempt, signed.
fn start_of(cluster: &Cluster, view: &RoundView, cohort: NodeSet) -> RoundStart {
    let ctx = context(&cluster.roster, &cluster.facts.transcript, view, &cohort);
    RoundStart { context: ctx, epoch: 1, view: view.clone(), cohort, signature: [0; 64] }
        .signed_by(&cluster.aggregator)
}

#[test]
fn replayed_rounds_and_attempts() {
    let mut cluster = cluster();
    let vectors = cluster.vectors(2);
    let mut starts = Vec::new();
    for attempt in [1, 2] {
        let view = cluster.view(5, attempt, 2);
        let tap = Tap::default();
        run(&mut cluster, &view, &vectors, tap.script());
        let ServerMessage::RoundStart(start) = tap.sent_to(0, Kind::RoundStart) else { panic!() };
        starts.push(start);
    }
    // The same attempt, an earlier attempt of the round, an earlier round.
    let earlier = cluster.view(4, 3, 2);
    starts.push(start_of(&cluster, &earlier, NodeSet::full(5)));
    for start in starts {
        let view = start.view.clone();
        let words = "this node is past round 5 attempt 2";
        blames(cluster.open_node(VICTIM, start, &view), Party::Aggregator, words);
    }
    // More attempts than the job has.
    let view = cluster.view(6, MAX_ATTEMPTS, 2);
    let start = start_of(&cluster, &view, NodeSet::full(5));
    let words = "opened attempt 4 of round 6; the job allows 4";
    blames(cluster.open_node(VICTIM, start, &view), Party::Aggregator, words);
    // A refused start leaves the epoch as it was: the next honest one works.
    let view = cluster.view(6, 0, 2);
    let start = start_of(&cluster, &view, NodeSet::full(5));
    assert!(cluster.open_node(VICTIM, start, &view).is_ok());
}

/// Keys of an earlier epoch are keys of another context: a start that names the old
/// epoch, or the new one with the old transcript, is refused.
#[test]
fn a_round_of_an_earlier_epoch() {
    let mut old = cluster();
    let mut new = cluster();
    assert_ne!(old.facts.transcript, new.facts.transcript);
    let view = new.view(0, 0, 2);
    let renumbered = RoundStart { epoch: 0, ..start_of(&new, &view, NodeSet::full(5)) };
    let renumbered = renumbered.signed_by(&new.aggregator);
    blames(new.open_node(VICTIM, renumbered, &view), Party::Aggregator, "in epoch 0");
    let replayed = start_of(&old, &view, NodeSet::full(5));
    blames(new.open_node(VICTIM, replayed.clone(), &view), Party::Aggregator, "context differs");
    assert!(old.open_node(VICTIM, replayed, &view).is_ok(), "it was good in its own epoch");
}

/// Two attempts with different cohorts, each of which seeks a quorum under the same
/// (round, attempt): a node is in one of them only, and tau of them are in at most one.
#[test]
fn attempts_with_different_cohorts_each_seeking_a_quorum() {
    let mut cluster = cluster();
    let view = cluster.view(0, 0, 2);
    let [one, other] =
        [&[0, 1, 2, 3][..], &[0, 1, 2, 4][..]].map(|set| start_of(&cluster, &view, nodes(set)));
    assert_ne!(one.context, other.context);
    // The aggregator gets 0 and 1 into the first, 2 into the second; 3 and 4 are corrupt
    // and sign whatever it likes.
    let mut machines = BTreeMap::new();
    for (node, start, second) in [(0, &one, &other), (1, &one, &other), (2, &other, &one)] {
        let node = NodeIndex(node);
        let opened = cluster.open_node(node, start.clone(), &view).unwrap();
        let words = "this node is past round 0 attempt 0";
        blames(cluster.open_node(node, second.clone(), &view), Party::Aggregator, words);
        machines.insert(node, opened);
    }
    let (mut machine, _) = machines.remove(&VICTIM).unwrap();
    let signed = |node: u16, statement: Digest| {
        let identity = &cluster.identities[usize::from(node)];
        (NodeIndex(node), identity.sign(&statement.0))
    };
    // Node 2's signature for the other cohort is worthless here, so one is missing.
    let statement = quorum_statement(&one.context);
    let quorum = vec![
        signed(0, statement),
        signed(1, statement),
        signed(2, quorum_statement(&other.context)),
        signed(3, statement),
    ];
    let relay = ShareRelay {
        context: one.context,
        committed: one.cohort.clone(),
        parcels: Vec::new(),
        quorum,
        signature: [0; 64],
    }
    .signed_by(&cluster.aggregator);
    let words = "has no quorum in this context: the signature of node 2 is forged";
    blames(machine.handle(relay.into()), Party::Aggregator, words);
}

#[test]
fn a_restarted_node_does_not_open_a_spent_attempt_again() {
    let mut cluster = cluster();
    let vectors = cluster.vectors(2);
    let view = cluster.view(0, 0, 2);
    let old = cluster.epochs[0].to_secret_bytes();
    run(&mut cluster, &view, &vectors, Script::default());
    let stored = cluster.epochs[0].to_secret_bytes();
    assert_ne!(*old, *stored);
    let again = NodeEpoch::from_secret_bytes(&cluster.roster, &stored).unwrap();
    assert_eq!(again.last_spent(), Some((0, 0)));
    assert_eq!((again.epoch(), again.transcript()), (1, cluster.facts.transcript));
    assert_eq!(*again.members(), NodeSet::full(5));
    assert_eq!(again.reached(), nodes(&[1, 2, 3, 4]));
    cluster.epochs[0] = again;
    let start = start_of(&cluster, &view, NodeSet::full(5));
    let words = "this node is past round 0 attempt 0";
    blames(cluster.open_node(VICTIM, start, &view), Party::Aggregator, words);
    // Damaged bytes and another roster's are refused.
    for damaged in [&stored[1..], &stored[..stored.len() - 1], &[stored.as_slice(), &[0]].concat()]
    {
        assert!(NodeEpoch::from_secret_bytes(&cluster.roster, damaged).is_err());
    }
    let (other, _, _) = parties(Thresholds::complete_graph(5, 0.0, 0.2, 4).unwrap());
    let refusal = NodeEpoch::from_secret_bytes(&other, &stored);
    assert!(refusal.unwrap_err().to_string().contains("another roster"));
}

/// A node crashes at every point from its commit to its certificate, and its program
/// would like to go on with another vector: whatever was durable, the attempt is spent,
/// and there is no machine that could mask a second vector in it.
#[test]
fn a_crash_between_durable_points_and_then_a_different_vector() {
    for point in [
        Kind::ShareRelay,
        Kind::UploadGrant,
        Kind::SurvivorManifest,
        Kind::SurvivorQc,
        Kind::RoundResult,
        Kind::ResultQc,
    ] {
        let mut cluster = cluster();
        let (outcome, _) = stopped_at(&mut cluster, point);
        // The crash: the machine is gone, the epoch is what was stored before the commit.
        let stored = cluster.epochs[0].to_secret_bytes();
        drop(outcome);
        cluster.epochs[0] = NodeEpoch::from_secret_bytes(&cluster.roster, &stored).unwrap();
        let view = cluster.view(0, 0, 3);
        let start = start_of(&cluster, &view, NodeSet::full(5));
        let words = "this node is past round 0 attempt 0";
        blames(cluster.open_node(VICTIM, start, &view), Party::Aggregator, words);
        // The next attempt is another context with other keys and fresh seeds.
        let view = cluster.view(0, 1, 3);
        let start = start_of(&cluster, &view, NodeSet::full(5));
        assert!(cluster.open_node(VICTIM, start, &view).is_ok());
    }
}

/// A machine takes one vector.
#[test]
fn a_second_vector_under_one_context() {
    let mut cluster = cluster();
    let (mut outcome, _) = stopped_at(&mut cluster, Kind::UploadGrant);
    let node = outcome.nodes.get_mut(&VICTIM).unwrap();
    let fault = node.provide_vector(vec![9u32; 3]).unwrap_err();
    assert!(matches!(&fault, Fault::Misuse { what } if what.contains("a vector was handed in")));
    let fault = node.provide_vector(vec![9u32; 3]).unwrap_err();
    assert!(fault.to_string().contains("the attempt is over"), "{fault}");
}

/// What says that the vector is there says nothing of the vector.
#[test]
fn no_bit_of_the_ready_depends_on_the_vector() {
    for vector in [vec![0, 0, 0], vec![1, u32::MAX, 77]] {
        let mut cluster = cluster();
        let (mut outcome, relay) = stopped_at(&mut cluster, Kind::ShareRelay);
        let node = outcome.nodes.get_mut(&VICTIM).unwrap();
        let (statement, _) = relay.signed_statement().unwrap();
        let context = relay.context();
        assert_eq!(node.handle(relay).unwrap(), [NodeOutput::VectorNeeded]);
        // Made without the vector, signature and all.
        let known = Ready { context, relay: statement, signature: [0; 64] }
            .signed_by(&cluster.identities[usize::from(VICTIM.0)]);
        assert_eq!(only_send(node.provide_vector(vector).unwrap()), known.into());
    }
}

/// What the crate cannot do: know that its own bytes are old. An older copy opens the
/// attempt again; refusing it is the caller's part (book and anchored log). What the
/// crate does even so: the seeds are fresh and the seal is randomised, so the two
/// commits together say nothing, and the second one convicts the node at the aggregator
/// instead of entering a sum.
#[test]
fn a_restored_backup() {
    let mut cluster = cluster();
    let view = cluster.view(0, 0, 2);
    let backup = cluster.epochs[0].to_secret_bytes();
    let (mut server, starts) =
        ServerRound::open(&cluster.server, &cluster.facts, view.clone(), NodeSet::full(5)).unwrap();
    let Some((_, ServerMessage::RoundStart(start))) = common::sends(starts).into_iter().next()
    else {
        panic!("expected a start")
    };
    let mut commits = Vec::new();
    for _ in 0..2 {
        let (_, commit) = cluster.open_node(VICTIM, start.clone(), &view).unwrap();
        let NodeMessage::RoundCommit(commit) = commit else { panic!("expected a commit") };
        commits.push(commit);
        cluster.epochs[0] = NodeEpoch::from_secret_bytes(&cluster.roster, &backup).unwrap();
    }
    let [first, second] = <[_; 2]>::try_from(commits).unwrap();
    // The edges are the pair's own, the same again; all that hangs on fresh seeds differs.
    for (one, other) in first.entries.iter().zip(&second.entries) {
        assert_eq!(one.parcel.edge_tag, other.parcel.edge_tag);
        assert_ne!(one.sealed_edge, other.sealed_edge);
        assert_ne!(one.parcel.sealed_shares[..12], other.parcel.sealed_shares[..12], "nonces");
        assert_ne!(one.parcel.self_share_hash, other.parcel.self_share_hash);
    }
    assert_ne!(first.self_commitment, second.self_commitment);
    assert!(server.handle(VICTIM, first.into()).unwrap().is_empty());
    let out = server.handle(VICTIM, second.into()).unwrap();
    let evicted = out.into_iter().find_map(|output| match output {
        ServerOutput::Evicted { node, why, evidence } => Some((node, why, evidence)),
        _ => None,
    });
    let (node, why, evidence) = evicted.unwrap();
    assert_eq!(node, VICTIM);
    assert!(why.contains("two different RoundCommit"), "{why}");
    let evidence = evidence.unwrap();
    assert!(matches!(evidence, Evidence::Equivocation { .. }));
    let (who, _) = evidence.verify(&cluster.roster).unwrap();
    assert_eq!(who, Party::Node(VICTIM));
}
