//! A malicious aggregator at the start of an attempt and at the relay of the shares:
//! every attack is refused by the nodes, by name, and before anything is charged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::attack::{
    Tap, VICTIM, attack, attack_in, cluster, nodes, refused, roomy, with_grant, with_relay,
    with_relay_in, with_start,
};
use common::run;
use tributary_secagg::messages::{Kind, SignedMessage as _};
use tributary_secagg::{
    Digest, Evidence, Fault, Identity, LaneBits, NodeIndex, NodeSet, ParameterError, Party, Roster,
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
    let narrow = LaneBits::new(16).unwrap();
    refused(&with_start(|start| start.view.lane_bits = narrow), "lane width");
    refused(&with_start(|start| start.view.previous = hash("fork", &[])), "previous result");
    refused(&with_start(|start| start.view.round = 4), "round");
    refused(&with_start(|start| start.view.attempt = 2), "attempt");
    refused(&with_start(|start| start.epoch = 2), "epoch");
    refused(&with_start(|start| start.context = Digest::ZERO), "context differs");
}

#[test]
fn a_cohort_that_is_too_small() {
    refused(&with_start(|start| start.cohort = nodes(&[0, 1, 2])), "fewer than u_min");
}

/// Another cohort than the one the others see is another context, in which no quorum is.
#[test]
fn another_cohort_for_one_node() {
    refused(&with_start(|start| start.cohort = nodes(&[0, 1, 2, 3])), "context differs");
    let mut cluster = cluster();
    let (roster, transcript) = (cluster.roster.clone(), cluster.facts.transcript);
    let outcome = attack_in(&mut cluster, BTreeMap::new(), Kind::RoundStart, |key, message| {
        let ServerMessage::RoundStart(mut start) = message else { unreachable!() };
        start.cohort = nodes(&[0, 1, 2, 3]);
        start.context = context(&roster, &transcript, &start.view, &start.cohort);
        vec![start.signed_by(key).into()]
    });
    // The victim is in a context of its own: what the round says to the others is none
    // of its business, and what it says is none of theirs.
    refused(&outcome, "of another context");
    assert!(!outcome.charged.contains_key(&VICTIM));
}

#[test]
fn this_node_is_missing_from_the_cohort_the_committed_or_the_granted() {
    let words = "leave this node out";
    refused(&with_start(|start| start.cohort = nodes(&[1, 2, 3, 4])), words);
    refused(&with_relay(|relay| relay.committed = nodes(&[1, 2, 3, 4])), words);
    let granted = with_grant(&[1, 2, 3, 4]);
    refused(&granted, words);
    assert!(!granted.charged.contains_key(&VICTIM), "nothing was charged");
}

/// A node is counted once, wherever it is named: sets are bitmaps, and every list is
/// in ascending order.
#[test]
fn duplicate_ids() {
    let twice = with_relay(|relay| relay.parcels[1] = relay.parcels[0].clone());
    refused(&twice, "other shares than those of the nodes");
    refused(&with_relay(|relay| relay.quorum[1] = relay.quorum[0]), "counted twice");
    let honest = cluster().roster;
    let mut members = honest.members.clone();
    members[1] = members[0];
    let refusal = Roster::new(honest.job, members, honest.aggregator, honest.thresholds);
    assert!(matches!(refusal, Err(ParameterError::DuplicateKey { .. })));
    let as_member = honest.members[0];
    let refusal = Roster::new(honest.job, honest.members.clone(), as_member, honest.thresholds);
    assert!(matches!(refusal, Err(ParameterError::DuplicateKey { .. })), "nor the aggregator");
}

#[test]
fn a_lowered_threshold_is_another_context() {
    // No roster is made of weak thresholds ...
    let honest = cluster().roster;
    let good = honest.thresholds;
    let members = honest.members.clone();
    for (weak, number) in [
        (Thresholds { quorum: 3, ..good }, "quorum"),
        (Thresholds { shamir_t: 3, ..good }, "shamir_t"),
        (Thresholds { u_min: 3, ..good }, "u_min"),
        (Thresholds { corrupt: 3, ..good }, "quorum"),
    ] {
        let refusal = Roster::new(honest.job, members.clone(), honest.aggregator, weak);
        let words = refusal.unwrap_err().to_string();
        assert!(words.starts_with(&format!("{number} is")), "{words}");
    }
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

// ---- the relay of the shares

/// What the aggregator alters on its way to one node, the node cannot tell from what
/// the dealer did wrong: it complains, and would go on without the dealer. Its vector is not
/// in the sum, and the signed commit and the signed relay convict the aggregator.
#[test]
fn swapped_or_altered_ciphertexts() {
    type Change = fn(&mut tributary_secagg::messages::ShareRelay);
    let changes: [(Change, &str); 5] = [
        (|relay| relay.parcels[1].slot += 1, "another slot than the graph gives this node"),
        (|relay| relay.parcels[1].sealed_shares = relay.parcels[2].sealed_shares, "do not open"),
        (|relay| relay.parcels[1].sealed_shares[30] ^= 1, "do not open"),
        (|relay| relay.parcels[1].edge_tag[0] ^= 1, "published tag"),
        (|relay| relay.parcels[1].escrow_share_hash = Digest::ZERO, "hashes were published"),
    ];
    for (change, words) in changes {
        let mut cluster = roomy();
        let aggregator = cluster.aggregator.clone();
        let tap = Tap::default();
        let server = move |node, message: ServerMessage| match message {
            ServerMessage::ShareRelay(mut relay) if node == VICTIM => {
                change(&mut relay);
                vec![relay.signed_by(&aggregator).into()]
            }
            other => vec![other],
        };
        let vectors = cluster.vectors(3);
        let view = cluster.view(0, 0, 3);
        let script = tap.over(server, |_, message| vec![message]);
        let outcome = run(&mut cluster, &view, &vectors, script);
        let [(by, dealer, why)] = outcome.complaints.as_slice() else { panic!("{outcome:?}") };
        assert_eq!((*by, *dealer), (VICTIM, NodeIndex(2)));
        assert!(why.contains(words), "{why}");
        // The rest of the aggregator is honest and sent no such relay: it does not go on
        // with a node that accepted it, and nobody else is put out for that.
        let words = "works with another relay than the one it was sent";
        assert_eq!(outcome.evicted, BTreeMap::from([(VICTIM, words.to_owned())]));
        assert!(outcome.evidence.is_empty(), "nothing proves anything of the victim");
        let rest = NodeSet::of(6, [1, 2, 3, 4, 5].map(NodeIndex));
        assert_eq!(outcome.opened.unwrap().1, rest);
        assert!(!outcome.charged.contains_key(&VICTIM));
        let evidence = Evidence::AlteredRelay {
            commit: tap.of_node(2, Kind::RoundCommit),
            relay: tap.to_node(0, Kind::ShareRelay),
        };
        let (who, what) = evidence.verify(&cluster.roster).unwrap();
        assert_eq!(who, Party::Aggregator);
        assert!(what.contains("altered the shares of node 2 for node 0"), "{what}");
    }
}

/// So many that too few nodes would be left: then the node does not go on at all, and
/// names both who may have done it.
#[test]
fn altered_ciphertexts_of_too_many_nodes() {
    let outcome = with_relay(|relay| {
        let [first, second, ..] = relay.parcels.as_mut_slice() else { unreachable!() };
        std::mem::swap(&mut first.sealed_shares, &mut second.sealed_shares);
    });
    let fault = &outcome.faults[&VICTIM];
    assert!(matches!(fault, Fault::Disputed { node: NodeIndex(1), .. }), "{fault}");
    assert!(fault.to_string().contains("nodes 1, 2, too many to go on"), "{fault}");
    assert_eq!(fault.suspects(), [Party::Node(NodeIndex(1)), Party::Aggregator]);
    assert_eq!(fault.blamed(), None);
    assert!(!outcome.charged.contains_key(&VICTIM));
}

#[test]
fn parcels_of_or_for_other_nodes() {
    let swapped = with_relay(|relay| relay.parcels.swap(0, 1));
    refused(&swapped, "other shares than those of the nodes");
    refused(&with_relay(|relay| relay.parcels[0].to = NodeIndex(2)), "for another node");
    let missing = with_relay(|relay| relay.parcels.truncate(3));
    refused(&missing, "other shares than those of the nodes");
}

/// Shares of an earlier attempt open under no key of this one.
#[test]
fn ciphertexts_replayed_from_an_earlier_attempt() {
    let mut cluster = roomy();
    let aggregator = cluster.aggregator.clone();
    let first = Tap::default();
    let vectors = cluster.vectors(2);
    let view = cluster.view(0, 0, 2);
    run(&mut cluster, &view, &vectors, first.script());
    let ServerMessage::ShareRelay(old) = first.sent_to(0, Kind::ShareRelay) else { panic!() };
    let second = Tap::default();
    let server = |node, message: ServerMessage| match message {
        ServerMessage::ShareRelay(mut relay) if node == VICTIM => {
            let (old, new) = (&old.parcels[1], &mut relay.parcels[1]);
            new.sealed_shares = old.sealed_shares;
            (new.self_share_hash, new.escrow_share_hash) =
                (old.self_share_hash, old.escrow_share_hash);
            vec![relay.signed_by(&aggregator).into()]
        }
        other => vec![other],
    };
    let view = cluster.view(0, 1, 2);
    let script = second.over(server, |_, message| vec![message]);
    let outcome = run(&mut cluster, &view, &vectors, script);
    let [(VICTIM, NodeIndex(2), why)] = outcome.complaints.as_slice() else { panic!() };
    assert!(why.contains("do not open under the pair's key and this context"), "{why}");
    let evidence = Evidence::AlteredRelay {
        commit: second.of_node(2, Kind::RoundCommit),
        relay: second.to_node(0, Kind::ShareRelay),
    };
    assert_eq!(evidence.verify(&cluster.roster).unwrap().0, Party::Aggregator);
    // The whole relay of the earlier attempt is of another context.
    let view = cluster.view(0, 2, 2);
    let script = common::Script {
        server: Some(Box::new(|node, message: ServerMessage| {
            if node == VICTIM && message.kind() == Kind::ShareRelay {
                return vec![old.clone().into()];
            }
            vec![message]
        })),
        ..common::Script::default()
    };
    refused(&run(&mut cluster, &view, &vectors, script), "of another context");
}

/// Every node signed that it is in this context, and exactly tau of the signatures are
/// passed on: a longer certificate is refused, valid or not.
#[test]
fn a_first_quorum_with_more_signers_than_tau() {
    let mut cluster = cluster();
    let identity = cluster.identities[4].clone();
    let outcome = with_relay_in(&mut cluster, |relay| {
        assert_eq!(relay.quorum.len(), 4);
        let statement = tributary_secagg::messages::quorum_statement(&relay.context);
        relay.quorum.push((NodeIndex(4), identity.sign(&statement.0)));
    });
    refused(&outcome, "5 signatures where 4 make a quorum");
    assert!(!outcome.charged.contains_key(&VICTIM));
}

#[test]
fn a_first_quorum_with_forged_duplicated_or_missing_signers() {
    refused(&with_relay(|relay| relay.quorum.truncate(3)), "3 signatures are no quorum of 4");
    refused(&with_relay(|relay| relay.quorum[1] = relay.quorum[0]), "counted twice");
    refused(&with_relay(|relay| relay.quorum.swap(0, 1)), "counted twice or out of order");
    refused(&with_relay(|relay| relay.quorum[2].1[7] ^= 1), "signature of node 2 is forged");
    let outcome = with_relay(|relay| {
        relay.committed = nodes(&[0, 1, 2]);
        relay.parcels.truncate(2);
    });
    refused(&outcome, "fewer than u_min");
    // Node 4 is not among those of whom the aggregator says that they committed.
    let mut cluster = roomy();
    let outcome = with_relay_in(&mut cluster, |relay| {
        relay.committed.remove(NodeIndex(5));
        relay.parcels.pop();
        let last = relay.quorum[3].1;
        relay.quorum[3] = (NodeIndex(5), last);
    });
    refused(&outcome, "signer 5 has no vote");
}
