//! A malicious aggregator up to the upload: every attack is refused by the nodes,
//! by name, and before anything is charged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;

use common::attack::{
    VICTIM, attack, attack_with, cluster, nodes, refused, stopped_at, with_relay, with_start,
};
use common::{Cluster, MAX_ATTEMPTS, Script, parties, run};
use tributary_secagg::messages::{Kind, SignedMessage as _, SurvivorQc, UploadGrant};
use tributary_secagg::{
    Digest, Fault, Identity, NodeEpoch, NodeIndex, NodePhase, NodeSet, Party, Roster, RoundStart,
    ServerMessage, Thresholds, context, hash,
};

#[test]
fn an_untouched_round_succeeds() {
    let outcome = attack(Kind::SurvivorManifest, |_, message| vec![message]);
    assert_eq!(outcome.node_certified.len(), 5);
}

// ---- the start of an attempt

#[test]
fn another_model_hash_for_one_node() {
    let outcome = with_start(|start| start.view.state_hash = hash("other model", &[]));
    refused(&outcome, "state hash");
}

#[test]
fn other_parameters_operation_length_or_history() {
    refused(&with_start(|start| start.view.params_hash = Digest::ZERO), "parameter hash");
    refused(&with_start(|start| start.view.operation = 2), "operation");
    refused(&with_start(|start| start.view.vector_len = 7), "vector length");
    refused(&with_start(|start| start.view.previous = hash("fork", &[])), "previous result");
    refused(&with_start(|start| start.view.round = 4), "round");
    refused(&with_start(|start| start.view.attempt = 2), "attempt");
    refused(&with_start(|start| start.epoch = 2), "epoch");
    refused(&with_start(|start| start.context = Digest::ZERO), "context differs");
}

#[test]
fn a_cohort_too_small_or_without_the_node() {
    refused(&with_start(|start| start.cohort = nodes(&[0, 1, 2])), "fewer than u_min");
    refused(&with_start(|start| start.cohort = nodes(&[1, 2, 3, 4])), "leave this node out");
}

#[test]
fn a_lowered_threshold_is_another_context() {
    // The roster type does not even hold weak thresholds ...
    let honest = cluster().roster;
    let weak = Thresholds { quorum: 3, shamir_t: 3, ..honest.thresholds };
    let members = honest.members.clone();
    assert!(Roster::new(honest.job, members.clone(), honest.aggregator, weak).is_err());
    // ... and one with other, still sound, thresholds gives another context.
    let other = Thresholds { u_min: 5, ..honest.thresholds };
    let other = Roster::new(honest.job, members, honest.aggregator, other).unwrap();
    assert_ne!(other.digest(), honest.digest());
    let outcome = with_start(|start| {
        let view = start.view.clone();
        let transcript = hash("epoch of the other roster", &[&other.digest().0]);
        start.context = context(&other, &transcript, &view, &start.cohort);
    });
    refused(&outcome, "context differs");
}

#[test]
fn messages_not_signed_by_the_aggregator() {
    let stranger = Identity::generate().unwrap();
    for kind in [
        Kind::RoundStart,
        Kind::ShareRelay,
        Kind::UploadGrant,
        Kind::SurvivorManifest,
        Kind::RoundResult,
    ] {
        let outcome = attack(kind, |_, message| {
            vec![match message {
                ServerMessage::RoundStart(m) => m.signed_by(&stranger).into(),
                ServerMessage::ShareRelay(m) => m.signed_by(&stranger).into(),
                ServerMessage::UploadGrant(m) => m.signed_by(&stranger).into(),
                ServerMessage::SurvivorManifest(m) => m.signed_by(&stranger).into(),
                ServerMessage::RoundResult(m) => m.signed_by(&stranger).into(),
                other => other,
            }]
        });
        refused(&outcome, "bad signature");
    }
}

#[test]
fn replayed_and_exhausted_attempts() {
    let mut cluster = cluster();
    let aggregator = cluster.aggregator.clone();
    let starts = RefCell::new(Vec::new());
    let capture = |node: NodeIndex, message: ServerMessage| {
        if let (VICTIM, ServerMessage::RoundStart(start)) = (node, &message) {
            starts.borrow_mut().push(start.clone());
        }
        vec![message]
    };
    let vectors = cluster.vectors(2);
    for attempt in [1, 2] {
        let view = cluster.view(5, attempt, 2);
        let script = Script { server: Some(Box::new(capture)), ..Script::default() };
        run(&mut cluster, &view, &vectors, script);
    }
    let starts = starts.into_inner();
    // The same attempt, an earlier attempt of the round, an earlier round.
    for start in &starts {
        let fault = cluster.open_node(VICTIM, start.clone(), &start.view.clone()).unwrap_err();
        assert_eq!(fault.blamed(), Some(Party::Aggregator));
        assert!(fault.to_string().contains("this node is past round 5 attempt 2"), "{fault}");
    }
    let fresh = |cluster: &Cluster, round, attempt| {
        let view = cluster.view(round, attempt, 2);
        let cohort = NodeSet::full(5);
        let ctx = context(&cluster.roster, &cluster.transcript, &view, &cohort);
        RoundStart { context: ctx, epoch: 1, view, cohort, signature: [0; 64] }
            .signed_by(&aggregator)
    };
    let start = fresh(&cluster, 4, 3);
    assert!(cluster.open_node(VICTIM, start.clone(), &start.view).is_err());
    let start = fresh(&cluster, 6, MAX_ATTEMPTS);
    let fault = cluster.open_node(VICTIM, start.clone(), &start.view).unwrap_err();
    assert!(fault.to_string().contains("the job allows 4"), "{fault}");
    // A refused start leaves the epoch as it was: the next honest one works.
    let start = fresh(&cluster, 6, 0);
    assert!(cluster.open_node(VICTIM, start.clone(), &start.view).is_ok());
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
    assert_eq!((again.epoch(), again.transcript()), (1, cluster.transcript));
    assert_eq!(again.members(), NodeSet::full(5));
    cluster.epochs[0] = again;
    let cohort = NodeSet::full(5);
    let ctx = context(&cluster.roster, &cluster.transcript, &view, &cohort);
    let start =
        RoundStart { context: ctx, epoch: 1, view: view.clone(), cohort, signature: [0; 64] }
            .signed_by(&cluster.aggregator.clone());
    assert!(cluster.open_node(VICTIM, start, &view).is_err());
    // Damaged bytes and another roster's are refused.
    assert!(NodeEpoch::from_secret_bytes(&cluster.roster, &stored[1..]).is_err());
    assert!(NodeEpoch::from_secret_bytes(&cluster.roster, &stored[..stored.len() - 1]).is_err());
    let (other, _, _) = parties(Thresholds::complete_graph(5, 0.0, 0.2, 4).unwrap());
    assert!(NodeEpoch::from_secret_bytes(&other, &stored).is_err());
}

// ---- the relay of the shares

#[test]
fn swapped_or_altered_ciphertexts() {
    let outcome = with_relay(|relay| {
        let [first, second, ..] = relay.parcels.as_mut_slice() else { unreachable!() };
        std::mem::swap(&mut first.sealed_shares, &mut second.sealed_shares);
    });
    refused(&outcome, "altered or swapped the shares of node 1");
    let outcome = with_relay(|relay| relay.parcels[2].edge_tag[0] ^= 1);
    refused(&outcome, "altered or swapped the shares of node 3");
    let outcome = with_relay(|relay| relay.parcels.swap(0, 1));
    refused(&outcome, "other shares than those of the nodes");
    let outcome = with_relay(|relay| relay.parcels[0].to = NodeIndex(2));
    refused(&outcome, "for another node");
}

#[test]
fn parcels_replayed_from_an_earlier_attempt() {
    let mut cluster = cluster();
    let aggregator = cluster.aggregator.clone();
    let vectors = cluster.vectors(2);
    let old = RefCell::new(Vec::new());
    let hook = |node: NodeIndex, message: ServerMessage| {
        if node != VICTIM {
            return vec![message];
        }
        let ServerMessage::ShareRelay(mut relay) = message else { return vec![message] };
        let mut old = old.borrow_mut();
        if old.is_empty() {
            *old = relay.parcels.clone();
        } else {
            relay.parcels[1] = old[1].clone();
        }
        vec![relay.signed_by(&aggregator).into()]
    };
    let view = cluster.view(0, 0, 2);
    let first = run(
        &mut cluster,
        &view,
        &vectors,
        Script { server: Some(Box::new(hook)), ..Script::default() },
    );
    assert!(first.faults.is_empty());
    let view = cluster.view(0, 1, 2);
    let second = run(
        &mut cluster,
        &view,
        &vectors,
        Script { server: Some(Box::new(hook)), ..Script::default() },
    );
    refused(&second, "altered or swapped the shares of node 2");
}

#[test]
fn a_first_quorum_that_is_none() {
    refused(&with_relay(|relay| relay.quorum.truncate(3)), "3 signatures are no quorum of 4");
    refused(&with_relay(|relay| relay.quorum[1] = relay.quorum[0]), "counted twice");
    refused(&with_relay(|relay| relay.quorum[2].1[7] ^= 1), "signature of node 2 is forged");
    let outcome = with_relay(|relay| {
        relay.committed = nodes(&[0, 1, 2]);
        relay.parcels.truncate(2);
    });
    refused(&outcome, "fewer than u_min");
}

// ---- the grant

#[test]
fn grants_that_are_too_small_or_leave_the_node_out() {
    for (set, words) in
        [(&[0, 1, 2][..], "fewer than u_min"), (&[1, 2, 3, 4][..], "leave this node out")]
    {
        let outcome = attack(Kind::UploadGrant, |aggregator, message| {
            let ServerMessage::UploadGrant(grant) = message else { unreachable!() };
            vec![UploadGrant { granted: nodes(set), ..grant }.signed_by(aggregator).into()]
        });
        refused(&outcome, words);
        assert!(!outcome.charged.contains_key(&VICTIM), "nothing was charged");
    }
    let absent = BTreeMap::from([(NodeIndex(4), Kind::RoundCommit)]);
    let outcome = attack_with(absent, Kind::UploadGrant, |aggregator, message| {
        let ServerMessage::UploadGrant(grant) = message else { unreachable!() };
        vec![UploadGrant { granted: NodeSet::full(5), ..grant }.signed_by(aggregator).into()]
    });
    refused(&outcome, "outside the set before");
}

#[test]
fn a_second_grant_after_the_first() {
    let outcome = attack(Kind::UploadGrant, |aggregator, message| {
        let ServerMessage::UploadGrant(grant) = &message else { unreachable!() };
        let other =
            UploadGrant { granted: nodes(&[0, 1, 2, 3]), ..grant.clone() }.signed_by(aggregator);
        vec![message.clone(), message.clone(), other.into()]
    });
    refused(&outcome, "two different UploadGrant");
}

// ---- the node's own program, and the end of a machine

#[test]
fn a_second_vector_and_calls_out_of_turn() {
    let mut cluster = cluster();
    let (mut outcome, _) = stopped_at(&mut cluster, Kind::UploadGrant);
    let node = outcome.nodes.get_mut(&NodeIndex(0)).unwrap();
    assert!(node.vector_opening().is_some());
    let fault = node.provide_vector(vec![9; 3], &mut cluster.rng).unwrap_err();
    assert!(matches!(fault, Fault::Misuse { .. }));
    assert_eq!(node.phase(), NodePhase::Faulted);
    let node = outcome.nodes.get_mut(&NodeIndex(1)).unwrap();
    assert!(matches!(node.release_upload().unwrap_err(), Fault::Misuse { .. }));
    let node = outcome.nodes.get_mut(&NodeIndex(2)).unwrap();
    assert!(matches!(node.acknowledge_result(Digest::ZERO).unwrap_err(), Fault::Misuse { .. }));
}

#[test]
fn a_message_of_another_context_or_phase() {
    let outcome = attack(Kind::UploadGrant, |aggregator, message| {
        let ServerMessage::UploadGrant(grant) = message else { unreachable!() };
        vec![UploadGrant { context: Digest::ZERO, ..grant }.signed_by(aggregator).into()]
    });
    refused(&outcome, "of another context");
    let outcome = attack(Kind::UploadGrant, |_, message| {
        let context = message.context();
        let quorum = SurvivorQc {
            context,
            manifest: Digest::ZERO,
            signatures: Vec::new(),
            tags: Vec::new(),
        };
        vec![quorum.into(), message]
    });
    refused(&outcome, "while this node was waiting for permission to upload");
}
