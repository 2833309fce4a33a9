//! A malicious aggregator from the grant to the upload, and a node's own program that calls
//! out of turn: nothing leaves but one vector, once, after it was charged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::attack::{
    Tap, VICTIM, attack, attack_with, blames, cluster, nodes, only_upload, refused, roomy,
    stopped_at, with_grant,
};
use common::run;
use tributary_secagg::messages::{Kind, SignedMessage as _, SurvivorQc, UploadGrant, UploadTurn};
use tributary_secagg::{
    Digest, Fault, NodeIndex, NodeMessage, NodeOutput, NodePhase, NodeSet, Party, ServerMessage,
};

#[test]
fn grants_that_are_too_small_or_name_others() {
    let small = with_grant(&[0, 1, 2]);
    refused(&small, "fewer than u_min");
    assert!(!small.charged.contains_key(&VICTIM), "nothing was charged");
    let absent = BTreeMap::from([(NodeIndex(4), Kind::RoundCommit)]);
    let outcome = attack_with(absent, Kind::UploadGrant, |aggregator, message| {
        let ServerMessage::UploadGrant(grant) = message else { unreachable!() };
        vec![UploadGrant { granted: NodeSet::full(5), ..grant }.signed_by(aggregator).into()]
    });
    refused(&outcome, "hold nodes (4) outside the set before");
}

/// The aggregator does not heed a complaint: the grant that names the dealer whose
/// shares were refused is refused as well, so nothing is ever masked against it.
#[test]
fn a_grant_that_names_a_node_this_node_complained_about() {
    let mut cluster = roomy();
    let dealer = cluster.identities[2].clone();
    let deaf = |node: NodeIndex, message: NodeMessage| match message {
        NodeMessage::RoundCommit(mut commit) if node.0 == 2 => {
            commit.entries[0].parcel.sealed_shares[40] ^= 1;
            vec![commit.signed_by(&dealer).into()]
        }
        NodeMessage::Complaint(complaint) => {
            assert_eq!((node, complaint.against.to_string().as_str()), (VICTIM, "2"));
            Vec::new()
        }
        other => vec![other],
    };
    let vectors = cluster.vectors(2);
    let view = cluster.view(0, 0, 2);
    let tap = Tap::default();
    let outcome = run(&mut cluster, &view, &vectors, tap.over(|_, message| vec![message], deaf));
    refused(&outcome, "named granted nodes that hold nodes (2) outside the set before");
    assert!(!outcome.charged.contains_key(&VICTIM));
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
    let (who, what) = proof(&outcome);
    assert_eq!(who, Party::Aggregator);
    assert!(what.contains("two different UploadGrant messages in one context"), "{what}");
}

/// A grant again after the vector has left: the attempt is spent, and what was sent is
/// all that is ever sent.
#[test]
fn a_grant_again_after_the_attempt_is_spent() {
    let mut cluster = cluster();
    let (mut outcome, grant) = stopped_at(&mut cluster, Kind::UploadGrant);
    let ServerMessage::UploadGrant(grant) = grant else { unreachable!() };
    let node = outcome.nodes.get_mut(&VICTIM).unwrap();
    assert!(node.handle(grant.clone().into()).unwrap().is_empty());
    let turn = UploadTurn { context: grant.context, first_chunk: 0 };
    node.handle(turn.into()).unwrap();
    only_upload(node.release_upload().unwrap());
    assert!(node.handle(grant.clone().into()).unwrap().is_empty(), "a repetition");
    let other =
        UploadGrant { granted: nodes(&[0, 1, 2, 4]), ..grant }.signed_by(&cluster.aggregator);
    blames(node.handle(other.into()), Party::Aggregator, "two different UploadGrant");
    assert_eq!(node.phase(), NodePhase::Faulted);
    let evidence = node.evidence().unwrap();
    assert_eq!(evidence.verify(&cluster.roster).unwrap().0, Party::Aggregator);
}

/// The proof that the victim's machine holds.
fn proof(outcome: &common::Outcome) -> (Party, String) {
    let evidence = outcome.nodes[&VICTIM].evidence().expect("a proof");
    evidence.verify(&cluster().roster).unwrap()
}

#[test]
fn a_turn_that_skips_chunks() {
    let skip = |first_chunk| {
        attack(Kind::UploadTurn, move |_, message| {
            vec![UploadTurn { context: message.context(), first_chunk }.into()]
        })
    };
    let outcome = skip(1);
    refused(&outcome, "asked for chunk 1 of a vector of which it has nothing");
    assert!(!outcome.charged.contains_key(&VICTIM));
    refused(&skip(u32::MAX), "asked for chunk 4294967295");
    // After the upload as well, past the end.
    let mut cluster = cluster();
    let (mut outcome, message) = stopped_at(&mut cluster, Kind::SurvivorManifest);
    let node = outcome.nodes.get_mut(&VICTIM).unwrap();
    let turn = UploadTurn { context: message.context(), first_chunk: 2 };
    blames(node.handle(turn.into()), Party::Aggregator, "asked for chunk 2 of 1");
}

/// The node is there again while its program still writes the charge down, and the
/// aggregator says once more whose turn it is: that is a repetition and no offence.
#[test]
fn a_turn_again_while_the_charge_is_written() {
    let mut cluster = cluster();
    let (mut outcome, grant) = stopped_at(&mut cluster, Kind::UploadGrant);
    let node = outcome.nodes.get_mut(&VICTIM).unwrap();
    node.handle(grant.clone()).unwrap();
    let turn = UploadTurn { context: grant.context(), first_chunk: 0 };
    node.handle(turn.clone().into()).unwrap();
    assert!(node.handle(turn.clone().into()).unwrap().is_empty());
    assert_eq!(node.phase(), NodePhase::AwaitingCharge);
    only_upload(node.release_upload().unwrap());
}

#[test]
fn a_turn_before_the_grant() {
    let mut cluster = cluster();
    let (mut outcome, grant) = stopped_at(&mut cluster, Kind::UploadGrant);
    let node = outcome.nodes.get_mut(&VICTIM).unwrap();
    let turn = UploadTurn { context: grant.context(), first_chunk: 0 };
    let words = "sent a UploadTurn while this node was waiting for permission";
    blames(node.handle(turn.into()), Party::Aggregator, words);
}

/// Asked to upload again, a node gives out the same bytes and no others.
#[test]
fn a_second_turn_gives_the_identical_bytes() {
    let mut cluster = cluster();
    let (mut outcome, grant) = stopped_at(&mut cluster, Kind::UploadGrant);
    let node = outcome.nodes.get_mut(&VICTIM).unwrap();
    node.handle(grant.clone()).unwrap();
    let turn = |first_chunk| UploadTurn { context: grant.context(), first_chunk }.into();
    node.handle(turn(0)).unwrap();
    let frames = |outputs| only_upload(outputs).map(|m| m.encode()).collect::<Vec<_>>();
    let first = frames(node.release_upload().unwrap());
    assert_eq!(first.len(), 2);
    for _ in 0..2 {
        assert_eq!(frames(node.handle(turn(0)).unwrap()), first);
    }
    assert_eq!(frames(node.handle(turn(1)).unwrap()), first[1..]);
}

/// A broken connection may cost a few uploads; an aggregator that asks again and again is
/// refused, so that it cannot use up a node's line.
#[test]
fn the_seventeenth_turn() {
    let mut cluster = cluster();
    let (mut outcome, grant) = stopped_at(&mut cluster, Kind::UploadGrant);
    let node = outcome.nodes.get_mut(&VICTIM).unwrap();
    node.handle(grant.clone()).unwrap();
    let turn = |first_chunk| UploadTurn { context: grant.context(), first_chunk }.into();
    node.handle(turn(0)).unwrap();
    only_upload(node.release_upload().unwrap());
    for asked in 2..=16u32 {
        only_upload(node.handle(turn(asked % 2)).unwrap());
    }
    let words = "asked for the upload 17 times";
    blames(node.handle(turn(0)), Party::Aggregator, words);
    assert_eq!(node.phase(), NodePhase::Faulted);
}

/// What was under way when the manifest was: turns and pieces of the sum that come late
/// give nothing out and are no offence.
#[test]
fn late_turns_and_pieces_of_the_sum() {
    let mut cluster = cluster();
    let aggregator = |message: ServerMessage| {
        let context = message.context();
        let turn = ServerMessage::from(UploadTurn { context, first_chunk: 0 });
        match message {
            message @ (ServerMessage::SurvivorManifest(_)
            | ServerMessage::SurvivorQc(_)
            | ServerMessage::SumChunk(_)
            | ServerMessage::ResultQc(_)) => vec![message, turn],
            other => vec![other],
        }
    };
    let mut sum = None;
    let server = |node, message: ServerMessage| {
        if node != VICTIM {
            return vec![message];
        }
        if message.kind() == Kind::SumChunk {
            sum = Some(message.clone());
        }
        let repeated = (message.kind() == Kind::RoundResult).then(|| sum.clone().unwrap());
        let mut sent = aggregator(message);
        sent.extend(repeated);
        sent
    };
    let tap = Tap::default();
    let vectors = cluster.vectors(2);
    let view = cluster.view(0, 0, 2);
    let outcome = run(&mut cluster, &view, &vectors, tap.over(server, |_, message| vec![message]));
    assert!(outcome.faults.is_empty(), "{outcome:?}");
    assert_eq!(outcome.node_certified.len(), 5);
    let said = tap.node.borrow();
    let uploads =
        said.iter().filter(|(node, message)| *node == VICTIM && message.kind() == Kind::MaskedDone);
    assert_eq!(uploads.count(), 1, "what was asked for late is not given");
    drop(said);
    // Before the grant they are out of turn, and so is a piece of a sum before the shares.
    let (mut outcome, manifest) = stopped_at(&mut self::cluster(), Kind::SurvivorManifest);
    let chunk = tributary_secagg::messages::SumChunk {
        context: manifest.context(),
        index: 0,
        data: vec![0; 12].into(),
    };
    let node = outcome.nodes.get_mut(&VICTIM).unwrap();
    let words = "sent a SumChunk while this node was waiting for the list of survivors";
    blames(node.handle(chunk.into()), Party::Aggregator, words);
}

// ---- the node's own program, and the end of a machine

#[test]
fn a_second_vector_and_calls_out_of_turn() {
    let mut cluster = cluster();
    let (mut outcome, _) = stopped_at(&mut cluster, Kind::UploadGrant);
    let node = outcome.nodes.get_mut(&NodeIndex(0)).unwrap();
    let fault = node.provide_vector(vec![9u32; 3]).unwrap_err();
    assert!(matches!(fault, Fault::Misuse { .. }));
    assert_eq!(node.phase(), NodePhase::Faulted);
    let node = outcome.nodes.get_mut(&NodeIndex(1)).unwrap();
    assert!(matches!(node.release_upload().unwrap_err(), Fault::Misuse { .. }));
    let node = outcome.nodes.get_mut(&NodeIndex(2)).unwrap();
    assert!(matches!(node.acknowledge_result(Digest::ZERO).unwrap_err(), Fault::Misuse { .. }));
}

/// Without the charge nothing leaves, however often the aggregator says it is time.
#[test]
fn nothing_leaves_before_the_charge() {
    let mut cluster = cluster();
    let (mut outcome, grant) = stopped_at(&mut cluster, Kind::UploadGrant);
    let node = outcome.nodes.get_mut(&VICTIM).unwrap();
    node.handle(grant.clone()).unwrap();
    let turn = UploadTurn { context: grant.context(), first_chunk: 0 };
    let outputs = node.handle(turn.into()).unwrap();
    assert!(matches!(outputs[..], [NodeOutput::ChargeNeeded { .. }]));
    assert_eq!(node.phase(), NodePhase::AwaitingCharge);
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
