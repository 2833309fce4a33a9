//! An aggregator or a peer that cheats while an epoch's keys are set up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{parties, sends};
use tributary_secagg::messages::{EpochHello, KemParcel, SignedMessage as _};
use tributary_secagg::{
    AbortReason, EpochHellos, EpochKems, EpochStart, Fault, Identity, NodeEpoch, NodeEpochHello,
    NodeEpochKem, NodeIndex, NodeMessage, NodeSet, Party, Roster, ServerEpoch, ServerMessage,
    ServerOutput, Thresholds,
};

struct Setup {
    roster: Arc<Roster>,
    identities: Vec<Arc<Identity>>,
    server: ServerEpoch,
    nodes: BTreeMap<NodeIndex, NodeEpochHello>,
    hellos: Vec<NodeMessage>,
}

/// Four nodes have made their hellos; the aggregator has none of them yet.
fn setup() -> Setup {
    let thresholds = Thresholds::complete_graph(4, 0.0, 0.25, 3).unwrap();
    let (roster, identities, aggregator) = parties(thresholds);
    let server = ServerEpoch::open(roster.clone(), aggregator, 9).unwrap();
    let mut nodes = BTreeMap::new();
    let mut hellos = Vec::new();
    for (node, identity) in (0u16..).map(NodeIndex).zip(&identities) {
        let (state, hello) =
            NodeEpochHello::open(roster.clone(), node, identity.clone(), 9).unwrap();
        nodes.insert(node, state);
        hellos.push(hello);
    }
    Setup { roster, identities, server, nodes, hellos }
}

impl Setup {
    /// The honest list of all hellos.
    fn list(&mut self) -> EpochHellos {
        let mut out = Vec::new();
        for (node, hello) in (0u16..).map(NodeIndex).zip(self.hellos.clone()) {
            out.extend(self.server.handle(node, hello).unwrap());
        }
        let Some((_, ServerMessage::EpochHellos(list))) = sends(out).into_iter().next() else {
            panic!("expected the hellos")
        };
        list
    }

    fn show(&mut self, node: u16, list: EpochHellos) -> Result<(NodeEpochKem, NodeMessage), Fault> {
        self.nodes.remove(&NodeIndex(node)).unwrap().on_hellos(list)
    }

    /// Shows the list to every node and gives their states and the relayed kems.
    fn kems(&mut self, list: &EpochHellos) -> Vec<(NodeEpochKem, EpochKems)> {
        let mut out = Vec::new();
        let mut states = Vec::new();
        for node in 0..4 {
            let (state, kem) = self.show(node, list.clone()).unwrap();
            states.push(state);
            out.extend(self.server.handle(NodeIndex(node), kem).unwrap());
        }
        let relayed = sends(out).into_iter().map(|(_, message)| match message {
            ServerMessage::EpochKems(kems) => kems,
            other => panic!("unexpected {other:?}"),
        });
        states.into_iter().zip(relayed).collect()
    }
}

#[track_caller]
fn blames<T>(result: Result<T, Fault>, who: Party, words: &str) {
    let fault = result.err().unwrap_or_else(|| panic!("accepted; expected: {words}"));
    assert_eq!(fault.blamed(), Some(who), "{fault}");
    assert!(fault.to_string().contains(words), "{fault}");
}

#[test]
fn swapped_public_keys() {
    let with = |change: fn(&mut EpochHellos)| {
        let mut setup = setup();
        let mut list = setup.list();
        change(&mut list);
        setup.show(0, list).map(drop)
    };
    let aggregator = Party::Aggregator;
    blames(with(|list| list.hellos[1].x25519[0] ^= 1), aggregator, "node 1 with a bad signature");
    blames(with(|list| list.hellos[2].kem_key[0] ^= 1), aggregator, "node 2 with a bad signature");
    blames(with(|list| list.hellos.swap(1, 2)), aggregator, "out of order");
    blames(with(|list| list.hellos[2] = list.hellos[1].clone()), aggregator, "twice");
    blames(with(|list| drop(list.hellos.remove(0))), aggregator, "own epoch keys");
    blames(with(|list| list.hellos.truncate(2)), aggregator, "fewer than u_min");
    blames(with(|list| list.context.0[0] ^= 1), aggregator, "another epoch");
    blames(with(|list| list.hellos[3].epoch = 8), aggregator, "another epoch");
    assert!(with(|list| drop(list.hellos.remove(3))).is_ok(), "one node may be missing");
}

#[test]
fn keys_replayed_from_another_epoch() {
    let mut setup = setup();
    let list = setup.list();
    let (state, _) =
        NodeEpochHello::open(setup.roster.clone(), NodeIndex(0), setup.identities[0].clone(), 10)
            .unwrap();
    blames(state.on_hellos(list), Party::Aggregator, "another epoch");
}

#[test]
fn a_start_that_is_not_the_aggregators_or_of_another_roster() {
    let setup = setup();
    let (_, _, aggregator) = parties(setup.roster.thresholds);
    let start = EpochStart::new(&setup.roster, &aggregator, 4);
    assert!(start.verify(&setup.roster).is_ok());
    let forged = start.clone().signed_by(&setup.identities[0]);
    blames(forged.verify(&setup.roster), Party::Aggregator, "did not sign");
    let renumbered = EpochStart { epoch: 5, ..start.clone() }.signed_by(&aggregator);
    blames(renumbered.verify(&setup.roster), Party::Aggregator, "another job or roster");
    let (other, _, _) = parties(Thresholds::complete_graph(5, 0.0, 0.2, 4).unwrap());
    blames(start.verify(&other), Party::Aggregator, "another job or roster");
}

/// Signs a changed hello of node 3 as node 3 would.
fn lying_peer(change: impl Fn(&mut EpochHello, &EpochHello)) -> Result<(), Fault> {
    let mut setup = setup();
    let mut list = setup.list();
    let first = list.hellos[0].clone();
    change(&mut list.hellos[3], &first);
    list.hellos[3] = list.hellos[3].clone().signed_by(&setup.identities[3]);
    setup.show(0, list).map(drop)
}

#[test]
fn bad_keys_of_a_peer_are_blamed_on_it() {
    let peer = Party::Node(NodeIndex(3));
    blames(lying_peer(|hello, _| hello.x25519 = [0; 32]), peer, "small order");
    blames(lying_peer(|hello, _| hello.kem_key.fill(0xff)), peer, "FIPS 203");
    blames(lying_peer(|hello, other| hello.x25519 = other.x25519), peer, "another node offered");
    blames(
        lying_peer(|hello, other| hello.kem_key = other.kem_key.clone()),
        peer,
        "another node offered",
    );
}

/// One node's state, the parcels for it, and a change made to them.
fn with_kems(change: impl Fn(&mut EpochKems, &Setup)) -> Result<NodeEpoch, Fault> {
    let mut setup = setup();
    let list = setup.list();
    let (state, mut kems) = setup.kems(&list).remove(0);
    change(&mut kems, &setup);
    state.on_kems(kems)
}

fn resign(parcel: &mut KemParcel, kems: &EpochKems, setup: &Setup) {
    let identity = &setup.identities[usize::from(parcel.from.0)];
    parcel.signature = identity.sign(&parcel.statement(&kems.transcript).0);
}

#[test]
fn encapsulations_that_are_not_the_peers() {
    let aggregator = Party::Aggregator;
    assert!(with_kems(|_, _| {}).is_ok());
    let result = with_kems(|kems, _| kems.parcels[0].ciphertext[9] ^= 1);
    blames(result, aggregator, "node 1 with a bad signature");
    let result = with_kems(|kems, _| kems.parcels.swap(0, 1));
    blames(result, aggregator, "twice or to the wrong node");
    let result = with_kems(|kems, _| kems.parcels[1].to = NodeIndex(2));
    blames(result, aggregator, "wrong node");
    let result = with_kems(|kems, _| kems.transcript.0[0] ^= 1);
    blames(result, aggregator, "other epoch keys than it showed");
    let result = with_kems(|kems, _| kems.parcels.truncate(1));
    blames(result, aggregator, "fewer than u_min");
    let members = with_kems(|kems, _| kems.parcels.truncate(2)).unwrap().members();
    assert_eq!(members, NodeSet::of(4, [0, 1, 2].map(NodeIndex)));
}

#[test]
fn a_key_confirmation_that_does_not_fit() {
    // Signed by the peer itself, so the peer is to blame.
    let peer = Party::Node(NodeIndex(2));
    let confirmation = with_kems(|kems, setup| {
        let mut parcel = kems.parcels[1].clone();
        parcel.confirmation[0] ^= 1;
        resign(&mut parcel, kems, setup);
        kems.parcels[1] = parcel;
    });
    blames(confirmation, peer, "key confirmation");
    let ciphertext = with_kems(|kems, setup| {
        let mut parcel = kems.parcels[1].clone();
        parcel.ciphertext[100] ^= 1;
        resign(&mut parcel, kems, setup);
        kems.parcels[1] = parcel;
    });
    blames(ciphertext, peer, "key confirmation");
}

#[test]
fn the_aggregator_refuses_bad_nodes_and_goes_on() {
    let mut setup = setup();
    let hello = |setup: &Setup, node: usize| match &setup.hellos[node] {
        NodeMessage::EpochHello(hello) => hello.clone(),
        other => panic!("unexpected {other:?}"),
    };
    let one = NodeIndex(1);
    let mut forged = hello(&setup, 1);
    forged.x25519[3] ^= 1;
    blames(setup.server.handle(one, forged.clone().into()), Party::Node(one), "bad signature");
    let foreign = hello(&setup, 2);
    blames(setup.server.handle(one, foreign.into()), Party::Node(one), "another node's name");
    assert!(setup.server.handle(NodeIndex(7), forged.into()).is_err());
    // A repetition is harmless, a second key is not.
    let honest = hello(&setup, 1);
    assert!(setup.server.handle(one, honest.clone().into()).unwrap().is_empty());
    assert!(setup.server.handle(one, honest.clone().into()).unwrap().is_empty());
    let mut second = honest.clone();
    second.x25519[0] ^= 1;
    let second = second.signed_by(&setup.identities[1]);
    blames(setup.server.handle(one, second.into()), Party::Node(one), "two different");
    let mut copied = hello(&setup, 0);
    copied.x25519 = honest.x25519;
    let copied = copied.signed_by(&setup.identities[0]);
    let zero = Party::Node(NodeIndex(0));
    blames(setup.server.handle(NodeIndex(0), copied.into()), zero, "of another node");
    assert_eq!(setup.server.waiting_for(), NodeSet::of(4, [0, 2, 3].map(NodeIndex)));
}

#[test]
fn deadlines_go_on_without_the_missing_or_abort() {
    let mut setup = setup();
    for node in 0..3u16 {
        let hello = setup.hellos[usize::from(node)].clone();
        setup.server.handle(NodeIndex(node), hello).unwrap();
    }
    assert_eq!(setup.server.waiting_for(), NodeSet::of(4, [NodeIndex(3)]));
    let list = sends(setup.server.deadline());
    assert_eq!(list.len(), 3);
    let mut states = Vec::new();
    let mut out = Vec::new();
    for (node, message) in list {
        let ServerMessage::EpochHellos(list) = message else { panic!("expected the hellos") };
        let (state, kem) = setup.show(node.0, list).unwrap();
        states.push(state);
        out.extend(setup.server.handle(node, kem).unwrap());
    }
    assert!(setup.server.is_complete());
    let transcript = setup.server.transcript().unwrap();
    for (state, (_, message)) in states.into_iter().zip(sends(out)) {
        let ServerMessage::EpochKems(kems) = message else { panic!("expected kems") };
        let epoch = state.on_kems(kems).unwrap();
        assert_eq!(epoch.transcript(), transcript);
        assert_eq!(Some(&epoch.members()), setup.server.members());
    }

    let mut setup = self::setup();
    setup.server.handle(NodeIndex(0), setup.hellos[0].clone()).unwrap();
    let out = setup.server.deadline();
    let Some(ServerOutput::Aborted(abort)) = out.last() else { panic!("expected an abort") };
    assert_eq!((abort.reason, abort.have, abort.need), (AbortReason::TooFewInEpoch, 1, 3));
}
