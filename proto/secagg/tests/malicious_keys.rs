//! Nodes that cheat while an epoch's keys are set up: the aggregator refuses them by name
//! and the others begin without them; where it is one word against another, the pair is
//! left out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::attack::blames;
use common::keying::{Setup, four, with_keys};
use common::{Keying, key_agreement, sends};
use tributary_secagg::messages::{
    EpochDone, EpochHello, EpochKem, KEM_KEY, PublicKeys, SignedMessage as _,
};
use tributary_secagg::{
    AbortReason, Fault, NodeIndex, NodeMessage, NodeSet, Party, ServerMessage, ServerOutput,
    Thresholds,
};

/// Eight nodes of which three may be missing and one corrupt; that one changes what it sends.
fn eight(
    liar: u16,
    change: impl Fn(NodeMessage) -> Option<NodeMessage>,
) -> (NodeSet, Vec<(u16, String)>, BTreeMap<NodeIndex, Keying>) {
    let thresholds = Thresholds::complete_graph(8, 0.1, 0.4, 5).unwrap();
    let setup = Setup::new(thresholds);
    let seat = tributary_secagg::ServerSeat::new(setup.roster.clone(), setup.aggregator.clone());
    let tamper = |node: NodeIndex, message| {
        if node.0 == liar { change(message) } else { Some(message) }
    };
    let (server, states, log) = key_agreement(&setup.seats, &seat.unwrap(), tamper);
    let evicted = log.into_iter().filter_map(|output| match output {
        ServerOutput::Evicted { node, why, evidence } => {
            assert!(evidence.is_none(), "one word against another");
            Some((node.0, why))
        }
        _ => None,
    });
    let members = server.facts().map(|facts| facts.members.clone());
    (members.unwrap_or_else(|| NodeSet::new(8)), evicted.collect(), states)
}

/// Changes the parcels of a lying node towards some of its peers.
fn bad_confirmation(towards: &[u16]) -> impl Fn(NodeMessage) -> Option<NodeMessage> {
    let setup = Setup::new(Thresholds::complete_graph(8, 0.1, 0.4, 5).unwrap());
    move |message| {
        let NodeMessage::EpochKem(mut kem) = message else { return Some(message) };
        let transcript = kem.transcript;
        for parcel in kem.parcels.iter_mut().filter(|parcel| towards.contains(&parcel.to.0)) {
            parcel.confirmation[3] ^= 1;
            let identity = &setup.identities[usize::from(parcel.from.0)];
            parcel.signature = identity.sign(&parcel.statement(&transcript).0);
        }
        Some(kem.into())
    }
}

#[test]
fn a_bad_key_confirmation_towards_one_separates_the_pair() {
    let (members, evicted, states) = eight(2, bad_confirmation(&[5]));
    assert_eq!(members, NodeSet::of(8, [0, 1, 3, 4, 6, 7].map(NodeIndex)));
    let words = |node| format!("its key confirmation and that of node {node} do not fit");
    assert_eq!(evicted, [(2, words(5)), (5, words(2))]);
    let Keying::Done(epoch) = &states[&NodeIndex(5)] else { panic!("node 5 has its keys") };
    assert!(!epoch.reached().contains(NodeIndex(2)));
}

#[test]
fn a_bad_key_confirmation_towards_many_puts_the_liar_out_alone() {
    let (members, evicted, _) = eight(2, bad_confirmation(&[0, 5, 7]));
    assert_eq!(members, NodeSet::of(8, [0, 1, 3, 4, 5, 6, 7].map(NodeIndex)));
    let words = "its key confirmation and that of node 0, 5, 7 do not fit".to_owned();
    assert_eq!(evicted, [(2, words)]);
}

/// The other way round: a node says of others' good confirmations that they are bad.
fn slander(against: &[u16]) -> impl Fn(NodeMessage) -> Option<NodeMessage> {
    let setup = Setup::new(Thresholds::complete_graph(8, 0.1, 0.4, 5).unwrap());
    move |message| {
        let NodeMessage::EpochDone(mut done) = message else { return Some(message) };
        done.without = NodeSet::of(8, against.iter().copied().map(NodeIndex));
        Some(done.signed_by(&setup.identities[2]).into())
    }
}

#[test]
fn a_false_word_about_confirmations_takes_one_along_and_never_more() {
    let (members, evicted, _) = eight(2, slander(&[6]));
    assert_eq!(members, NodeSet::of(8, [0, 1, 3, 4, 5, 7].map(NodeIndex)));
    assert_eq!(evicted.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [2, 6]);
    let (members, evicted, _) = eight(2, slander(&[0, 1, 3, 4, 5, 6, 7]));
    assert_eq!(members, NodeSet::of(8, [0, 1, 3, 4, 5, 6, 7].map(NodeIndex)));
    assert_eq!(evicted.len(), 1, "whoever accuses everybody goes alone: {evicted:?}");
}

/// A node with a bad key is refused at its hello, and the others begin without it.
#[test]
fn bad_keys_are_refused_at_the_hello_and_the_others_go_on() {
    let setup = Setup::new(Thresholds::complete_graph(8, 0.1, 0.4, 5).unwrap());
    let changes: [fn(&mut PublicKeys); 2] =
        [|keys| keys.x25519 = [0; 32], |keys| *keys.kem_key = [0xff; KEM_KEY]];
    for change in changes {
        let (members, evicted, _) = eight(4, |message| {
            let NodeMessage::EpochHello(mut hello) = message else { return Some(message) };
            with_keys(&mut hello, change);
            setup.resign_hello(&mut hello);
            Some(hello.into())
        });
        assert_eq!(members, NodeSet::of(8, [0, 1, 2, 3, 5, 6, 7].map(NodeIndex)));
        assert!(evicted.is_empty());
    }
}

#[test]
fn the_aggregator_refuses_bad_hellos_and_goes_on() {
    let mut setup = Setup::new(four());
    let one = Party::Node(NodeIndex(1));
    let resigned = |setup: &Setup, node: usize, change: fn(&mut EpochHello)| {
        let mut hello = setup.hellos[node].clone();
        change(&mut hello);
        setup.resign_hello(&mut hello);
        hello
    };
    let mut forged = setup.hellos[1].clone();
    forged.entry.coin.0[3] ^= 1;
    blames(setup.server.handle(NodeIndex(1), forged.clone().into()), one, "bad signature");
    let foreign = setup.hellos[2].clone();
    blames(setup.server.handle(NodeIndex(1), foreign.into()), one, "another node's name");
    let result = setup.server.handle(NodeIndex(7), forged.into());
    assert!(matches!(result, Err(Fault::Misuse { .. })));
    let other = resigned(&setup, 1, |hello| hello.keys.x25519[0] ^= 1);
    blames(setup.server.handle(NodeIndex(1), other.into()), one, "other epoch keys than it signed");
    let small = resigned(&setup, 1, |hello| with_keys(hello, |keys| keys.x25519 = [0; 32]));
    blames(setup.server.handle(NodeIndex(1), small.into()), one, "of small order");
    let bad = resigned(&setup, 1, |hello| with_keys(hello, |keys| keys.kem_key.fill(0xff)));
    blames(setup.server.handle(NodeIndex(1), bad.into()), one, "FIPS 203");
    let stale = resigned(&setup, 1, |hello| hello.context.0[0] ^= 1);
    let result = setup.server.handle(NodeIndex(1), stale.into());
    assert!(matches!(result, Err(Fault::Stale { .. })));
    // A repetition is harmless, a second key is not.
    let honest = setup.hellos[1].clone();
    for _ in 0..2 {
        let out = setup.server.handle(NodeIndex(1), honest.clone().into()).unwrap();
        assert!(out.is_empty());
    }
    let second = resigned(&setup, 1, |hello| with_keys(hello, |keys| keys.x25519[0] ^= 1));
    blames(setup.server.handle(NodeIndex(1), second.into()), one, "two different epoch keys");
    let second = resigned(&setup, 1, |hello| hello.entry.coin.0[0] ^= 1);
    blames(setup.server.handle(NodeIndex(1), second.into()), one, "two different epoch keys");
    // Somebody else's keys, either of the two.
    let zero = Party::Node(NodeIndex(0));
    let halves: [fn(&mut PublicKeys, &PublicKeys); 2] = [
        |keys, other| keys.x25519 = other.x25519,
        |keys, other| keys.kem_key = other.kem_key.clone(),
    ];
    for copy in halves {
        let mut copied = setup.hellos[0].clone();
        with_keys(&mut copied, |keys| copy(keys, &honest.keys));
        setup.resign_hello(&mut copied);
        let words = "offered the epoch keys of another node";
        blames(setup.server.handle(NodeIndex(0), copied.into()), zero, words);
    }
    assert_eq!(setup.server.waiting_for(), NodeSet::of(4, [0, 2, 3].map(NodeIndex)));
}

#[test]
fn the_aggregator_refuses_bad_encapsulations_and_goes_on() {
    let mut setup = Setup::new(four());
    let states = setup.shown();
    let zero = NodeIndex(0);
    let mut kems = Vec::new();
    for (node, state) in (0u16..).map(NodeIndex).zip(states) {
        let (_, kem) = state.on_peers(setup.peers[&node].clone()).unwrap();
        let NodeMessage::EpochKem(kem) = kem else { panic!("expected encapsulations") };
        kems.push(kem);
    }
    let mut refuse = |change: &dyn Fn(&mut EpochKem), words: &str| {
        let mut kem = kems[0].clone();
        change(&mut kem);
        blames(setup.server.handle(zero, kem.into()), Party::Node(zero), words);
    };
    refuse(&|kem| kem.parcels[0].ciphertext[0] ^= 1, "bad signature");
    refuse(&|kem| drop(kem.parcels.pop()), "for other nodes than its peers");
    refuse(&|kem| kem.parcels.swap(0, 1), "for other nodes than its peers");
    refuse(&|kem| kem.transcript.0[0] ^= 1, "under another transcript");
    refuse(&|kem| *kem = kems[1].clone(), "for other nodes than its peers");
    refuse(&|kem| kem.parcels[1].from = NodeIndex(1), "bad signature");
    // Taken once; another one afterwards is refused.
    assert!(setup.server.handle(zero, kems[0].clone().into()).unwrap().is_empty());
    assert!(setup.server.handle(zero, kems[0].clone().into()).unwrap().is_empty());
    let mut second = kems[0].clone();
    second.parcels[0].confirmation[0] ^= 1;
    let words = "two different sets of encapsulations";
    blames(setup.server.handle(zero, second.into()), Party::Node(zero), words);
    assert_eq!(setup.server.waiting_for(), NodeSet::of(4, [1, 2, 3].map(NodeIndex)));
}

#[test]
fn confirmations_that_are_unsigned_foreign_or_two() {
    let mut setup = Setup::new(four());
    let (one, party) = (NodeIndex(1), Party::Node(NodeIndex(1)));
    let early = EpochDone {
        context: setup.start.context,
        transcript: setup.start.context,
        without: NodeSet::new(4),
        signature: [0; 64],
    };
    let words = "confirmed keys that it cannot have";
    blames(setup.server.handle(one, early.into()), party, words);
    let mut dones = Vec::new();
    for (state, kems) in setup.kems() {
        let (_, done) = state.on_kems(&kems).unwrap();
        let NodeMessage::EpochDone(done) = done else { panic!("expected a confirmation") };
        dones.push(done);
    }
    let in_anothers_name = dones[2].clone();
    blames(setup.server.handle(one, in_anothers_name.into()), party, "bad signature");
    let mut other = dones[1].clone();
    other.transcript.0[0] ^= 1;
    let other = other.signed_by(&setup.identities[1]);
    blames(setup.server.handle(one, other.into()), party, "under another transcript");
    assert!(setup.server.handle(one, dones[1].clone().into()).unwrap().is_empty());
    let mut second = dones[1].clone();
    second.without.insert(NodeIndex(3));
    let second = second.signed_by(&setup.identities[1]);
    blames(setup.server.handle(one, second.into()), party, "two different ways");
    for node in [0u16, 2, 3] {
        let done = dones[usize::from(node)].clone();
        setup.server.handle(NodeIndex(node), done.into()).unwrap();
    }
    assert_eq!(setup.server.facts().unwrap().members, NodeSet::full(4));
}

#[test]
fn messages_of_the_wrong_phase() {
    let mut setup = Setup::new(four());
    let zero = NodeIndex(0);
    let context = setup.start.context;
    let kem = EpochKem { context, transcript: context, parcels: Vec::new() };
    let words = "before it was shown any keys";
    blames(setup.server.handle(zero, kem.into()), Party::Node(zero), words);
    let ready = tributary_secagg::messages::Ready { context, relay: context, signature: [0; 64] };
    let words = "sent a Ready in an epoch";
    blames(setup.server.handle(zero, ready.into()), Party::Node(zero), words);
    assert_eq!(setup.server.waiting_for().len(), 4);
    // A hello again when the roll is out is a repetition that changes nothing.
    setup.list();
    let hello = setup.hellos[0].clone();
    assert!(setup.server.handle(zero, hello.into()).unwrap().is_empty());
}

#[test]
fn deadlines_go_on_without_the_missing_or_abort() {
    let mut setup = Setup::new(four());
    for hello in setup.hellos.clone().into_iter().take(3) {
        setup.server.handle(hello.entry.from, hello.into()).unwrap();
    }
    assert_eq!(setup.server.waiting_for(), NodeSet::of(4, [NodeIndex(3)]));
    let out = sends(setup.server.deadline());
    assert_eq!(out.iter().filter(|(node, _)| node.0 == 3).count(), 0);
    assert_eq!(out.len(), 6, "roll and keys for three nodes");

    // A node that lies four times out of four: one left out at each step, until too few
    // are left to begin.
    let mut setup = Setup::new(four());
    let first = setup.hellos[0].clone();
    setup.server.handle(NodeIndex(0), first.into()).unwrap();
    let out = setup.server.deadline();
    let Some(ServerOutput::Aborted(abort)) = out.last() else { panic!("expected an abort") };
    assert_eq!((abort.reason, abort.have, abort.need), (AbortReason::TooFewInEpoch, 1, 3));

    // One does not confirm: it is told, and the epoch is complete without it.
    let mut setup = Setup::new(four());
    for (node, (state, kems)) in (0u16..).zip(setup.kems()) {
        let (_, done) = state.on_kems(&kems).unwrap();
        if node != 2 {
            setup.server.handle(NodeIndex(node), done).unwrap();
        }
    }
    let out = sends(setup.server.deadline());
    let [(NodeIndex(2), ServerMessage::Abort(abort))] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(abort.reason, AbortReason::NotIncluded);
    let facts = setup.server.facts().unwrap();
    assert_eq!(facts.members, NodeSet::of(4, [0, 1, 3].map(NodeIndex)));
}
