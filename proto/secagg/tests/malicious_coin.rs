//! The coin of the sparse graph: nobody chooses who is whose neighbour, neither the
//! aggregator nor whoever opens last. Sixteen nodes on a ring, twelve neighbours each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::attack::blames;
use common::keying::{Setup, ring};
use common::{Keying, key_agreement};
use tributary_secagg::messages::{
    EpochPeers, EpochReveal, Kind, SignedMessage as _, coin_commitment,
};
use tributary_secagg::{
    Abort, AbortReason, Digest, Fault, Graph, MAX_RESTARTS, NodeIndex, NodeMessage, NodeSet, Party,
    ServerOutput, ServerSeat,
};

const AGGREGATOR: Party = Party::Aggregator;

/// Shows node 0 changed coins or keys.
fn with_peers(change: impl Fn(&mut EpochPeers)) -> Result<(), Fault> {
    let mut setup = Setup::new(ring());
    let state = setup.shown().remove(0);
    let mut peers = setup.peers[&NodeIndex(0)].clone();
    change(&mut peers);
    state.on_peers(peers).map(drop)
}

#[test]
fn everybody_computes_the_graph_that_the_coins_give() {
    let mut setup = Setup::new(ring());
    let mut dones = Vec::new();
    for (state, kems) in setup.kems() {
        let (epoch, done) = state.on_kems(&kems).unwrap();
        setup.server.handle(NodeIndex(dones.len() as u16), done).unwrap();
        dones.push(epoch);
    }
    let facts = setup.server.facts().unwrap();
    assert_ne!(facts.coin, Digest::ZERO);
    let graph = Graph::of(&setup.roster.thresholds, &facts.coin);
    for (node, epoch) in (0u16..).map(NodeIndex).zip(&dones) {
        assert_eq!(**epoch.graph(), graph);
        assert_eq!(epoch.reached(), graph.peers(node));
        assert_eq!(epoch.reached().len(), 12);
        assert_eq!(epoch.transcript(), facts.transcript);
    }
}

#[test]
fn a_missing_coin() {
    let words = "sent other coins than those of the nodes in the epoch";
    blames(with_peers(|peers| peers.coins.truncate(15)), AGGREGATOR, words);
    blames(with_peers(|peers| peers.coins.clear()), AGGREGATOR, words);
    blames(with_peers(|peers| peers.coins[4] = peers.coins[3]), AGGREGATOR, words);
    blames(with_peers(|peers| peers.coins.swap(2, 3)), AGGREGATOR, words);
}

#[test]
fn a_wrong_coin() {
    let words = "passed on a coin of node 4 that does not open its commitment";
    blames(with_peers(|peers| peers.coins[4].1[0] ^= 1), AGGREGATOR, words);
    blames(with_peers(|peers| peers.coins[4].1 = peers.coins[5].1), AGGREGATOR, words);
}

/// The aggregator picks this node's neighbours: their keys are signed, but they are not
/// those that the coins give.
#[test]
fn neighbours_of_the_aggregators_choice() {
    let mut setup = Setup::new(ring());
    let state = setup.shown().remove(0);
    let mut peers = setup.peers[&NodeIndex(0)].clone();
    let stranger = (1..16).find(|node| peers.keys.iter().all(|(peer, _)| peer.0 != *node)).unwrap();
    let keys = setup.hellos[usize::from(stranger)].keys.clone();
    peers.keys.pop();
    peers.keys.push((NodeIndex(stranger), keys));
    peers.keys.sort_by_key(|(node, _)| *node);
    let words = "other keys than those of this node's peers";
    blames(state.on_peers(peers), AGGREGATOR, words);
}

/// Another roll for one node: its coin is opened for that roll only, and what it
/// encapsulates is under a transcript that nobody else has.
#[test]
fn another_roll_for_one_node_than_for_the_others() {
    let mut setup = Setup::new(ring());
    let list = setup.list();
    let mut less = list.clone();
    less.hellos.pop();
    let (state, reveal) = setup.show(0, &less).unwrap();
    let Some(NodeMessage::EpochReveal(reveal)) = reveal else { panic!("expected a coin") };
    assert_eq!(reveal.roll, less.roll(&setup.roster));
    assert_ne!(reveal.roll, list.roll(&setup.roster));
    let zero = NodeIndex(0);
    let words = "opened its coin for another roll";
    blames(setup.server.handle(zero, reveal.clone().into()), Party::Node(zero), words);
    // The coins of the others' roll are not those of its own.
    let mut coins = vec![(zero, reveal.coin)];
    for node in 1..16 {
        let (_, reveal) = setup.show(node, &list).unwrap();
        let Some(NodeMessage::EpochReveal(reveal)) = reveal else { panic!("expected a coin") };
        coins.push((NodeIndex(node), reveal.coin));
    }
    let peers = EpochPeers { context: list.context, coins, keys: Vec::new() };
    let words = "sent other coins than those of the nodes in the epoch";
    blames(state.on_peers(peers), AGGREGATOR, words);
}

#[test]
fn coins_that_open_nothing_come_early_or_from_outside() {
    let mut setup = Setup::new(ring());
    let (one, party) = (NodeIndex(1), Party::Node(NodeIndex(1)));
    let context = setup.start.context;
    let early = EpochReveal { context, roll: context, coin: [1; 32] };
    let words = "opened its coin before it was shown the others'";
    blames(setup.server.handle(one, early.into()), party, words);
    let list = setup.list();
    let (_, reveal) = setup.show(1, &list).unwrap();
    let Some(NodeMessage::EpochReveal(honest)) = reveal else { panic!("expected a coin") };
    assert_eq!(coin_commitment(&context, one, &honest.coin), list.hellos[1].coin);
    let wrong = EpochReveal { coin: [1; 32], ..honest.clone() };
    let words = "a coin that does not open its commitment";
    blames(setup.server.handle(one, wrong.into()), party, words);
    // Somebody else's coin in one's own name opens nothing either.
    let two = NodeIndex(2);
    blames(setup.server.handle(two, honest.clone().into()), Party::Node(two), words);
    assert!(setup.server.handle(one, honest.into()).unwrap().is_empty());
    assert_eq!(setup.server.waiting_for().len(), 15);
}

type Log = Vec<ServerOutput>;

/// A set-up in which some nodes do not open their coin: `silent` says who, at which
/// restart.
fn mute(silent: &dyn Fn(u16, u8) -> bool) -> (Option<NodeSet>, BTreeMap<NodeIndex, Keying>, Log) {
    let setup = Setup::new(ring());
    let seat = ServerSeat::new(setup.roster.clone(), setup.aggregator.clone()).unwrap();
    // The restart is told by how often a node said hello.
    let mut hellos: BTreeMap<NodeIndex, u8> = BTreeMap::new();
    let (server, states, log) = key_agreement(&setup.seats, &seat, |node, message| {
        if message.kind() == Kind::EpochHello {
            *hellos.entry(node).or_default() += 1;
        }
        let reveals = message.kind() == Kind::EpochReveal;
        (!(reveals && silent(node.0, hellos[&node] - 1))).then_some(message)
    });
    (server.facts().map(|facts| facts.members.clone()), states, log)
}

fn evicted(log: &[ServerOutput]) -> Vec<(u16, &str)> {
    log.iter()
        .filter_map(|output| match output {
            ServerOutput::Evicted { node, why, .. } => Some((node.0, why.as_str())),
            _ => None,
        })
        .collect()
}

fn restarts(log: &[ServerOutput]) -> Vec<(u8, NodeSet)> {
    common::sends(log.to_vec())
        .into_iter()
        .filter(|(node, _)| node.0 == 0)
        .filter_map(|(_, message)| match message {
            tributary_secagg::ServerMessage::EpochStart(start) => {
                Some((start.restart, start.excluded))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_missing_reveal_is_named_excluded_and_the_epoch_begins_anew() {
    let (members, states, log) = mute(&|node, _| node == 4);
    let mut expected = NodeSet::full(16);
    expected.remove(NodeIndex(4));
    assert_eq!(members, Some(expected));
    assert_eq!(evicted(&log), [(4, "it did not open its coin for the graph")]);
    let only = NodeSet::of(16, [NodeIndex(4)]);
    assert_eq!(restarts(&log), [(0, NodeSet::new(16)), (1, only)]);
    // Nobody keeps what was made before: the keys are of the second coin.
    let Keying::Done(epoch) = &states[&NodeIndex(0)] else { panic!("node 0 has its keys") };
    assert!(!epoch.reached().contains(NodeIndex(4)));
    assert!(!epoch.members().contains(NodeIndex(4)));
}

#[test]
fn missing_reveals_to_the_last_restart_end_the_epoch() {
    // One is missing each time, except the last: it ends well.
    let (members, _, log) = mute(&|node, restart| node == u16::from(restart) + 1 && restart < 3);
    assert_eq!(members.unwrap().len(), 13);
    assert_eq!(restarts(&log).last().unwrap().0, MAX_RESTARTS);
    // One more, and it is over.
    let (members, _, log) = mute(&|node, restart| node == u16::from(restart) + 1);
    assert!(members.is_none());
    assert_eq!(evicted(&log).iter().map(|(node, _)| *node).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let Some(ServerOutput::Aborted(abort)) = log.last() else { panic!("expected an abort") };
    let Abort { reason, blamed, .. } = abort;
    assert_eq!(*reason, AbortReason::CoinNotOpened);
    assert_eq!(*blamed, NodeSet::of(16, [1, 2, 3, 4].map(NodeIndex)));
    assert!(abort.to_string().contains("to blame: node 1, 2, 3, 4"), "{abort}");
}

#[test]
fn too_many_missing_reveals_leave_too_few() {
    let (members, _, log) = mute(&|node, _| node > 7);
    assert!(members.is_none());
    assert_eq!(evicted(&log).len(), 8);
    let Some(ServerOutput::Aborted(abort)) = log.last() else { panic!("expected an abort") };
    assert_eq!((abort.reason, abort.have, abort.need), (AbortReason::TooFewInEpoch, 8, 9));
}

/// An excluded node is not heard any more in this epoch.
#[test]
fn an_excluded_node_that_says_hello_again() {
    let mut setup = Setup::new(ring());
    let list = setup.list();
    for node in 0..15 {
        let (_, reveal) = setup.show(node, &list).unwrap();
        setup.server.handle(NodeIndex(node), reveal.unwrap()).unwrap();
    }
    let out = setup.server.deadline();
    let (_, start) = common::sends(out).pop().unwrap();
    let mut hello = setup.hellos[15].clone();
    hello.context = start.context();
    setup.resign_hello(&mut hello);
    let fault = setup.server.handle(NodeIndex(15), hello.into()).unwrap_err();
    assert!(matches!(&fault, Fault::Stale { what, .. } if what.contains("left out")), "{fault}");
    // And a hello of the first try is none of the second.
    let old = setup.hellos[0].clone();
    let fault = setup.server.handle(NodeIndex(0), old.into()).unwrap_err();
    assert!(matches!(fault, Fault::Stale { .. }), "{fault}");
}

/// A node that never shared a key with another cannot say that its confirmation was
/// bad: it is refused by name, and nobody is separated.
#[test]
fn a_false_word_about_a_node_that_is_no_peer() {
    let mut setup = Setup::new(ring());
    let (zero, mut last) = (NodeIndex(0), None);
    for (node, (state, kems)) in (0u16..).map(NodeIndex).zip(setup.kems()) {
        let (epoch, done) = state.on_kems(&kems).unwrap();
        if node == zero {
            let NodeMessage::EpochDone(done) = done else { panic!("expected a confirmation") };
            last = Some((epoch, done));
        } else {
            setup.server.handle(node, done).unwrap();
        }
    }
    let (epoch, mut done) = last.unwrap();
    let strangers = NodeSet::full(16).difference(&epoch.reached());
    let stranger = strangers.iter().find(|node| *node != zero).unwrap();
    done.without.insert(stranger);
    let done = done.signed_by(&setup.identities[0]);
    let words = "complained about nodes that confirmed nothing to it";
    blames(setup.server.handle(zero, done.into()), Party::Node(zero), words);
    assert_eq!(setup.server.waiting_for(), NodeSet::of(16, [zero]));
}
