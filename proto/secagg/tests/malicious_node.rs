//! Malicious nodes that acknowledge, reveal or attest something else than they must, or say
//! things out of turn or in another's name: each is named, and the round goes on without
//! it. Commitments are in `malicious_dealing.rs`, uploads in `malicious_upload.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::attack::roomy;
use common::cheat::{CHEAT, Round, cheat, cheat_with, named, proven, six};
use common::{Script, run, sends};
use tributary_secagg::messages::{Kind, MaskedDone, Ready, SignedMessage as _, UnmaskShares};
use tributary_secagg::{
    AbortReason, Digest, Evidence, Fault, NodeIndex, NodeMessage, NodeSet, Party, ServerMessage,
    ServerOutput, ServerPhase, ServerRound,
};

// ---- acknowledgement, shares, result

#[test]
fn a_bad_acknowledgement() {
    let other = cheat(Kind::SurvivorAck, |identity, message| {
        let NodeMessage::SurvivorAck(mut ack) = message else { unreachable!() };
        ack.manifest = Digest::ZERO;
        vec![ack.signed_by(identity).into()]
    });
    named(other, "acknowledged another manifest", true);
    let no_tags = cheat(Kind::SurvivorAck, |_, message| {
        let NodeMessage::SurvivorAck(mut ack) = message else { unreachable!() };
        ack.tags.clear();
        vec![ack.into()]
    });
    named(no_tags, "for other nodes", true);
    let two = cheat(Kind::SurvivorAck, |identity, message| {
        let NodeMessage::SurvivorAck(mut other) = message.clone() else { unreachable!() };
        other.manifest = Digest::ZERO;
        vec![message, other.signed_by(identity).into()]
    });
    let outcome = named(two, "sent two different SurvivorAck", true);
    proven(&outcome, "signed two different SurvivorAck messages");
    // Wrong tags only cost the cheat its own vote at the receivers.
    let (outcome, _) = cheat(Kind::SurvivorAck, |_, message| {
        let NodeMessage::SurvivorAck(mut ack) = message else { unreachable!() };
        for (_, tag) in &mut ack.tags {
            tag[0] ^= 1;
        }
        vec![ack.into()]
    });
    assert_eq!(outcome.node_certified.len(), 6, "{outcome:?}");
}

/// The cheat changes the shares it reveals and signs them again.
fn reveals(dies: BTreeMap<NodeIndex, Kind>, change: impl Fn(&mut UnmaskShares)) -> Round {
    cheat_with(dies, Kind::UnmaskShares, move |identity, message| {
        let NodeMessage::UnmaskShares(mut shares) = message else { unreachable!() };
        change(&mut shares);
        vec![shares.signed_by(identity).into()]
    })
}

#[test]
fn a_bad_share_at_the_reveal_is_named_and_not_used() {
    let none = BTreeMap::new;
    let bad = reveals(none(), |shares| shares.self_shares[4].1.0[0] ^= 1);
    let outcome = named(bad, "bad share of node 4", true);
    let evidence = proven(&outcome, "revealed another share of node 4 than it had accepted");
    assert!(matches!(evidence, Evidence::BadShare { .. }));
    let own = reveals(none(), |shares| shares.self_shares[2].1.0[0] ^= 1);
    let outcome = named(own, "bad share of node 2", true);
    let evidence = proven(&outcome, "revealed another share of its own seed than it kept");
    assert!(matches!(evidence, Evidence::BadOwnShare { .. }));
    let dies = BTreeMap::from([(NodeIndex(5), Kind::MaskedChunk)]);
    let (outcome, _) = reveals(dies, |shares| shares.escrow_shares[0].1.0[31] ^= 1);
    assert!(outcome.evicted[&CHEAT].contains("bad share of node 5"));
    proven(&outcome, "another share of node 5");
    assert!(outcome.certified.is_some());
}

#[test]
fn shares_of_other_nodes_than_the_manifest_asks_for() {
    let words = "other nodes than the manifest asks for";
    let none = BTreeMap::new;
    named(reveals(none(), |shares| shares.self_shares.truncate(5)), words, true);
    named(reveals(none(), |shares| shares.self_shares.swap(0, 1)), words, true);
    let twice = reveals(none(), |shares| shares.self_shares[1] = shares.self_shares[0]);
    named(twice, words, true);
    // Both kinds for one node, of its own accord: nobody asked, nobody takes it.
    let both = reveals(none(), |shares| {
        let (node, share) = shares.self_shares[3];
        let share = tributary_secagg::messages::RevealedEscrowShare(share.0);
        shares.escrow_shares.push((node, share));
    });
    named(both, words, true);
}

#[test]
fn shares_in_another_nodes_name() {
    let other = cheat(Kind::UnmaskShares, |_, message| {
        let NodeMessage::UnmaskShares(shares) = message else { unreachable!() };
        vec![shares.signed_by(&roomy().identities[3]).into()]
    });
    named(other, "sent a UnmaskShares with a bad signature", true);
}

#[test]
fn equivocating_shares() {
    let two = cheat(Kind::UnmaskShares, |identity, message| {
        let NodeMessage::UnmaskShares(mut other) = message.clone() else { unreachable!() };
        other.self_shares[0].1.0[0] ^= 1;
        vec![message, other.signed_by(identity).into()]
    });
    let outcome = named(two, "sent two different UnmaskShares", true);
    proven(&outcome, "signed two different UnmaskShares messages");
}

#[test]
fn another_state_from_the_same_sum() {
    let other = cheat(Kind::ResultAck, |identity, message| {
        let NodeMessage::ResultAck(mut ack) = message else { unreachable!() };
        ack.state_hash = Digest::ZERO;
        vec![ack.signed_by(identity).into()]
    });
    named(other, "arrived at state", true);
    let other = cheat(Kind::ResultAck, |identity, message| {
        let NodeMessage::ResultAck(mut ack) = message else { unreachable!() };
        ack.sum_root = Digest::ZERO;
        vec![ack.signed_by(identity).into()]
    });
    named(other, "signed another sum or other survivors", true);
}

// ---- order, repetition, strangers

#[test]
fn repetitions_are_harmless() {
    for kind in [
        Kind::RoundCommit,
        Kind::Ready,
        Kind::MaskedChunk,
        Kind::MaskedDone,
        Kind::SurvivorAck,
        Kind::UnmaskShares,
        Kind::ResultAck,
    ] {
        let (outcome, _) = cheat(kind, |_, message| vec![message.clone(), message]);
        assert!(outcome.evicted.is_empty(), "{kind}: {outcome:?}");
        assert_eq!(outcome.node_certified.len(), 6);
    }
    // A message of a phase that is over as well.
    let mut old = None;
    let (outcome, _) = cheat(Kind::Ready, |_, message| vec![message]);
    assert!(outcome.evicted.is_empty());
    let mut cluster = roomy();
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let node = |node, message: NodeMessage| {
        if node != CHEAT {
            return vec![message];
        }
        let late = old.take();
        if message.kind() == Kind::RoundCommit || message.kind() == Kind::SurvivorAck {
            old = Some(message.clone());
        }
        [Some(message), late].into_iter().flatten().collect()
    };
    let script = Script { node: Some(Box::new(node)), ..Script::default() };
    let outcome = run(&mut cluster, &view, &vectors, script);
    assert!(outcome.evicted.is_empty(), "{outcome:?}");
    assert_eq!(outcome.node_certified.len(), 6);
}

#[test]
fn a_message_of_the_wrong_phase() {
    let early = cheat(Kind::Ready, |identity, message| {
        let done = MaskedDone {
            context: message.context(),
            granted_hash: Digest::ZERO,
            root: Digest::ZERO,
            signature: [0; 64],
        };
        vec![done.signed_by(identity).into()]
    });
    named(early, "sent a MaskedDone while the round was waiting for vectors", false);
    let shares = cheat(Kind::SurvivorAck, |identity, message| {
        let shares = UnmaskShares {
            context: message.context(),
            self_shares: Vec::new(),
            escrow_shares: Vec::new(),
            signature: [0; 64],
        };
        vec![shares.signed_by(identity).into()]
    });
    named(shares, "sent a UnmaskShares while the round was waiting for signatures", true);
    // A message of the set-up of an epoch, in this round's context.
    let epoch = cheat(Kind::Ready, |_, message| {
        let context = message.context();
        let coin = [0; 32];
        vec![tributary_secagg::messages::EpochReveal { context, roll: context, coin }.into()]
    });
    named(epoch, "sent a EpochReveal within a round", false);
}

#[test]
fn a_message_in_another_nodes_name() {
    let ready = cheat(Kind::Ready, |_, message| {
        let NodeMessage::Ready(ready) = message else { unreachable!() };
        vec![ready.signed_by(&roomy().identities[3]).into()]
    });
    named(ready, "sent a Ready with a bad signature", false);
    let done = cheat(Kind::MaskedDone, |_, message| {
        let NodeMessage::MaskedDone(done) = message else { unreachable!() };
        vec![done.signed_by(&roomy().identities[3]).into()]
    });
    named(done, "sent a MaskedDone with a bad signature", false);
}

#[test]
fn an_equivocating_or_unsigned_ready() {
    let two = cheat(Kind::Ready, |identity, message| {
        let NodeMessage::Ready(mut other) = message.clone() else { unreachable!() };
        other.relay = Digest::ZERO;
        vec![message, other.signed_by(identity).into()]
    });
    let outcome = named(two, "two different Ready", false);
    let evidence = proven(&outcome, "signed two different Ready messages in one context");
    assert!(matches!(evidence, Evidence::Equivocation { .. }));
    let unsigned = cheat(Kind::Ready, |_, message| {
        let NodeMessage::Ready(ready) = message else { unreachable!() };
        vec![Ready { relay: Digest::ZERO, ..ready }.into()]
    });
    let outcome = named(unsigned, "bad signature", false);
    assert!(outcome.evidence.is_empty());
    // A second one that it did not sign proves nothing, though it is named.
    let one_signed = cheat(Kind::Ready, |_, message| {
        let NodeMessage::Ready(mut other) = message.clone() else { unreachable!() };
        other.relay = Digest::ZERO;
        vec![message, other.into()]
    });
    let outcome = named(one_signed, "two different Ready", false);
    assert!(outcome.evidence.is_empty());
}

/// A ready says which relay its node works with. The aggregator sent one: with another,
/// from whomever, this node must not be in the sum.
#[test]
fn a_ready_that_names_another_relay() {
    let words = "works with another relay than the one it was sent";
    let none = cheat(Kind::Ready, |identity, message| {
        let NodeMessage::Ready(ready) = message else { unreachable!() };
        vec![Ready { relay: Digest::ZERO, ..ready }.signed_by(identity).into()]
    });
    let outcome = named(none, words, false);
    assert!(outcome.evidence.is_empty());
    // That of another node, to which other shares were relayed.
    let mut others = None;
    let mut cluster = roomy();
    let identity = cluster.identities[usize::from(CHEAT.0)].clone();
    let vectors = cluster.vectors(common::cheat::LANES);
    let view = cluster.view(0, 0, common::cheat::LANES as u32);
    let node = |node, message: NodeMessage| match message {
        NodeMessage::Ready(ready) if node == CHEAT => {
            let relay = others.unwrap();
            vec![Ready { relay, ..ready }.signed_by(&identity).into()]
        }
        NodeMessage::Ready(ready) => {
            others.get_or_insert(ready.relay);
            vec![ready.into()]
        }
        other => vec![other],
    };
    let script = Script { node: Some(Box::new(node)), ..Script::default() };
    let outcome = run(&mut cluster, &view, &vectors, script);
    named((outcome, vectors), words, false);
}

#[test]
fn strangers_and_stale_messages_change_nothing() {
    let mut cluster = roomy();
    let view = cluster.view(0, 0, 4);
    let cohort = six(&[0, 1, 2, 3, 4]);
    let (mut server, starts) =
        ServerRound::open(&cluster.server, &cluster.facts, view.clone(), cohort).unwrap();
    let Some((node, ServerMessage::RoundStart(start))) = sends(starts).into_iter().next() else {
        panic!("expected a start")
    };
    let (_, commit) = cluster.open_node(node, start, &view).unwrap();
    let before = server.waiting_for();
    assert!(matches!(server.handle(NodeIndex(9), commit.clone()), Err(Fault::Misuse { .. })));
    let fault = server.handle(NodeIndex(5), commit.clone()).unwrap_err();
    assert!(matches!(&fault, Fault::Stale { who: Party::Node(NodeIndex(5)), what }
        if what.contains("not invited")));
    let NodeMessage::RoundCommit(mut stale) = commit.clone() else { unreachable!() };
    stale.context = Digest::ZERO;
    let fault = server.handle(node, stale.into()).unwrap_err();
    assert!(matches!(&fault, Fault::Stale { what, .. } if what.contains("of another context")));
    assert_eq!(server.waiting_for(), before);
    // Another node's commit in one's own name.
    let out = server.handle(NodeIndex(1), commit.clone()).unwrap();
    assert!(out.iter().any(|output| matches!(
        output,
        ServerOutput::Evicted { node, why, evidence: None }
            if node.0 == 1 && why.contains("bad signature")
    )));
    assert!(matches!(server.handle(NodeIndex(1), commit.clone()), Err(Fault::Stale { .. })));
    assert!(server.handle(node, commit).unwrap().is_empty());
    assert_eq!(server.waiting_for(), six(&[2, 3, 4]));
    // One more is too many, and everybody left is told.
    let out = server.drop_node(NodeIndex(2));
    assert!(matches!(out.last(), Some(ServerOutput::Aborted(abort))
        if abort.reason == AbortReason::TooFewCommits && (abort.have, abort.need) == (3, 4)));
    assert_eq!(server.phase(), ServerPhase::Aborted);
    assert!(server.drop_node(NodeIndex(3)).is_empty());
    assert!(server.deadline().is_empty() && server.cancel().is_empty());
    assert!(server.provide_state(Digest::ZERO).is_empty());
    assert_eq!(server.waiting_for(), NodeSet::new(6));
}
