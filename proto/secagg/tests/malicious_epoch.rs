//! An aggregator that cheats while an epoch's keys are set up, or lets a peer's bad keys
//! through, in the complete graph. What it refuses itself is in `malicious_keys.rs`, the
//! sparse graph's coin in `malicious_coin.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use common::attack::{blames, disputes};
use common::keying::{Setup, four, with_keys};
use common::parties;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tributary_secagg::messages::{
    EpochDone, EpochHellos, EpochKems, EpochPeers, KemParcel, PublicKeys, SignedMessage as _,
};
use tributary_secagg::{
    EpochStart, Fault, MAX_EPOCHS, MAX_RESTARTS, NodeEpoch, NodeEpochHello, NodeIndex, NodeMessage,
    NodeSet, Party, Thresholds,
};

const AGGREGATOR: Party = Party::Aggregator;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(5)
}

// ---- the start of an epoch

#[test]
fn a_start_that_is_not_the_aggregators_or_of_another_roster() {
    let setup = Setup::new(four());
    let none = NodeSet::new(4);
    let start = EpochStart::new(&setup.roster, &setup.aggregator, 4, 0, none.clone());
    assert!(start.verify(&setup.roster).is_ok());
    let open = |start: &EpochStart| NodeEpochHello::open(&setup.seats[0], start, &mut rng());
    assert!(open(&start).is_ok());
    let forged = start.clone().signed_by(&setup.identities[1]);
    blames(open(&forged), AGGREGATOR, "did not sign");
    let renumbered = EpochStart { epoch: 5, ..start.clone() }.signed_by(&setup.aggregator);
    blames(open(&renumbered), AGGREGATOR, "another job or roster");
    // Other thresholds make another roster, and so no key at all.
    let lowered = Thresholds { u_min: 4, ..four() };
    let (other, _, _) = parties(lowered);
    let start = EpochStart::new(&other, &setup.aggregator, 4, 0, none);
    blames(open(&start), AGGREGATOR, "another job or roster");
    let without_me = NodeSet::of(4, [NodeIndex(0)]);
    let start = EpochStart::new(&setup.roster, &setup.aggregator, 4, 1, without_me);
    blames(open(&start), AGGREGATOR, "left this node out");
}

/// More throws of the coin than the thresholds pay for.
#[test]
fn more_epochs_or_restarts_than_a_job_has() {
    let setup = Setup::new(four());
    let open = |epoch, restart| {
        let out = left_out(restart);
        let start = EpochStart::new(&setup.roster, &setup.aggregator, epoch, restart, out);
        NodeEpochHello::open(&setup.seats[0], &start, &mut rng())
    };
    assert!(open(MAX_EPOCHS, MAX_RESTARTS).is_ok());
    blames(open(MAX_EPOCHS + 1, 0), AGGREGATOR, "started epoch 17 for the 1. time");
    blames(open(u32::MAX, 0), AGGREGATOR, "a job has epochs 1 to 16");
    blames(open(1, MAX_RESTARTS + 1), AGGREGATOR, "started epoch 1 for the 5. time");
    blames(open(1, u8::MAX), AGGREGATOR, "with at most 3 restarts");
}

/// Epochs are counted from 1: with epoch 0 as well there would be 17, and 68 throws of the
/// coin where the thresholds pay for 64.
#[test]
fn an_epoch_before_the_first() {
    let setup = Setup::new(four());
    let start = EpochStart::new(&setup.roster, &setup.aggregator, 0, 0, NodeSet::new(4));
    let refusal = NodeEpochHello::open(&setup.seats[0], &start, &mut rng());
    blames(refusal, AGGREGATOR, "started epoch 0 for the 1. time; a job has epochs 1 to 16");
}

/// Nodes are left out for a coin that they did not open, and for nothing else: the first
/// try is for everybody, and a further one without somebody.
#[test]
fn nodes_left_out_for_nothing() {
    let setup = Setup::new(four());
    let open = |restart, excluded| {
        let start = EpochStart::new(&setup.roster, &setup.aggregator, 1, restart, excluded);
        NodeEpochHello::open(&setup.seats[0], &start, &mut rng())
    };
    let words = "left nodes out of an epoch that did not begin anew, or began it anew for nobody";
    blames(open(0, left_out(1)), AGGREGATOR, words);
    blames(open(1, left_out(0)), AGGREGATOR, words);
    assert!(open(0, left_out(0)).is_ok() && open(1, left_out(1)).is_ok());
}

/// Whom an honest aggregator could have left out by then: node 3, from the first restart.
fn left_out(restart: u8) -> NodeSet {
    NodeSet::of(4, (restart > 0).then_some(NodeIndex(3)))
}

#[test]
fn a_roll_replayed_from_another_epoch_or_restart() {
    let mut setup = Setup::new(four());
    let list = setup.list();
    for (epoch, restart) in [(10, 0), (9, 1), (8, 0)] {
        let out = left_out(restart);
        let start = EpochStart::new(&setup.roster, &setup.aggregator, epoch, restart, out);
        let (state, _) = NodeEpochHello::open(&setup.seats[0], &start, &mut rng()).unwrap();
        blames(state.on_hellos(&list), AGGREGATOR, "another epoch");
    }
}

// ---- the roll

#[test]
fn swapped_public_keys_on_the_roll() {
    let with = |change: fn(&mut EpochHellos)| {
        let mut setup = Setup::new(four());
        let mut list = setup.list();
        change(&mut list);
        setup.show(0, &list).map(drop)
    };
    let bad = "node 1 with a bad signature";
    blames(with(|list| list.hellos[1].keys.0[0] ^= 1), AGGREGATOR, bad);
    blames(with(|list| list.hellos[1].coin.0[0] ^= 1), AGGREGATOR, bad);
    blames(with(|list| list.hellos[1].keys = list.hellos[2].keys), AGGREGATOR, bad);
    blames(with(|list| list.hellos.swap(1, 2)), AGGREGATOR, "out of order");
    blames(with(|list| list.hellos[2] = list.hellos[1].clone()), AGGREGATOR, "twice");
    blames(with(|list| list.hellos[3].from = NodeIndex(9)), AGGREGATOR, "which is nobody");
    blames(
        with(|list| list.hellos.retain(|hello| hello.from.0 != 0)),
        AGGREGATOR,
        "own epoch keys",
    );
    blames(with(|list| list.hellos.truncate(2)), AGGREGATOR, "fewer than u_min");
    blames(with(|list| list.context.0[0] ^= 1), AGGREGATOR, "another epoch");
    assert!(with(|list| list.hellos.truncate(3)).is_ok(), "one node may be missing");
}

#[test]
fn an_excluded_node_on_the_roll() {
    let setup = Setup::new(four());
    let out = NodeSet::of(4, [NodeIndex(3)]);
    let start = EpochStart::new(&setup.roster, &setup.aggregator, 9, 1, out);
    let mut states = Vec::new();
    let mut hellos = Vec::new();
    for seat in &setup.seats[..3] {
        let (state, hello) = NodeEpochHello::open(seat, &start, &mut rng()).unwrap();
        let NodeMessage::EpochHello(hello) = hello else { panic!("expected a hello") };
        states.push(state);
        hellos.push(hello.entry);
    }
    // The excluded node plays along and signs for the very context that excludes it.
    let mut fourth = setup.hellos[3].clone();
    fourth.context = start.context;
    setup.resign_hello(&mut fourth);
    hellos.push(fourth.entry);
    let list = EpochHellos { context: start.context, hellos };
    let words = "listed node 3, which it had left out";
    blames(states.remove(0).on_hellos(&list), AGGREGATOR, words);
}

/// Whose keys they are nobody can tell: a node copied them, or the aggregator let it.
#[test]
fn a_peer_with_the_keys_of_another() {
    let mut setup = Setup::new(four());
    let mut list = setup.list();
    let mut copied = setup.hellos[3].clone();
    copied.entry.keys = setup.hellos[1].entry.keys;
    setup.resign_hello(&mut copied);
    list.hellos[3] = copied.entry;
    disputes(setup.show(0, &list), 3, "offered epoch keys that another node offered");
}

/// Half of another's keys shows only when the keys themselves are passed on.
#[test]
fn a_peer_with_half_the_keys_of_another() {
    let halves: [fn(&mut PublicKeys, &PublicKeys); 2] = [
        |keys, other| keys.x25519 = other.x25519,
        |keys, other| keys.kem_key = other.kem_key.clone(),
    ];
    for copy in halves {
        let mut setup = Setup::new(four());
        let mut list = setup.list();
        let other = setup.hellos[1].keys.clone();
        let mut hello = setup.hellos[3].clone();
        with_keys(&mut hello, |keys| copy(keys, &other));
        setup.resign_hello(&mut hello);
        list.hellos[3] = hello.entry;
        let (state, _) = setup.show(0, &list).unwrap();
        let mut peers = setup.peers[&NodeIndex(0)].clone();
        peers.keys[2].1 = hello.keys;
        disputes(state.on_peers(peers), 3, "offered epoch keys that another node offered");
    }
}

/// Confirmations that do not fit are the peers' doing or the aggregator's; with too few
/// left the node refuses the epoch and names the first.
#[test]
fn too_few_confirmed_peers() {
    let result = with_kems(|kems, setup| {
        for at in [0, 2] {
            let mut parcel = kems.parcels[at].clone();
            parcel.confirmation[0] ^= 1;
            setup.resign_parcel(&mut parcel, kems);
            kems.parcels[at] = parcel;
        }
    });
    disputes(result, 1, "reaches 2 nodes, fewer than 3; not confirmed: 1, 3");
}

// ---- the peers' keys

fn with_peers(change: impl Fn(&mut EpochPeers)) -> Result<(), Fault> {
    let mut setup = Setup::new(four());
    let state = setup.shown().remove(0);
    let mut peers = setup.peers[&NodeIndex(0)].clone();
    change(&mut peers);
    state.on_peers(peers).map(drop)
}

#[test]
fn other_keys_than_those_that_were_signed() {
    let swapped = "passed on other keys of node 1 than the node signed";
    let aggregator = AGGREGATOR;
    blames(with_peers(|peers| peers.keys[0].1.x25519[0] ^= 1), aggregator, swapped);
    blames(with_peers(|peers| peers.keys[0].1.kem_key[7] ^= 1), aggregator, swapped);
    let result = with_peers(|peers| peers.keys[0].1 = peers.keys[1].1.clone());
    blames(result, aggregator, swapped);
    let others = "other keys than those of this node's peers";
    blames(with_peers(|peers| drop(peers.keys.pop())), aggregator, others);
    blames(with_peers(|peers| peers.keys.swap(0, 1)), aggregator, others);
    blames(with_peers(|peers| peers.keys[2] = peers.keys[1].clone()), aggregator, others);
    blames(with_peers(|peers| peers.keys[0].0 = NodeIndex(0)), aggregator, others);
    blames(with_peers(|peers| peers.context.0[0] ^= 1), aggregator, "another epoch");
}

/// In the complete graph there is nothing to toss for; whoever sends coins wants to
/// choose the transcript.
#[test]
fn coins_in_the_complete_graph() {
    let words = "sent coins where the graph needs none";
    blames(with_peers(|peers| peers.coins.push((NodeIndex(0), [7; 32]))), AGGREGATOR, words);
}

/// The aggregator lets a bad key through: the peer that signed it is to blame.
#[test]
fn bad_keys_of_a_peer_are_blamed_on_it() {
    let lying = |change: fn(&mut PublicKeys)| {
        let mut setup = Setup::new(four());
        let mut list = setup.list();
        let mut hello = setup.hellos[3].clone();
        with_keys(&mut hello, change);
        setup.resign_hello(&mut hello);
        list.hellos[3] = hello.entry;
        let (state, _) = setup.show(0, &list).unwrap();
        let mut peers = setup.peers[&NodeIndex(0)].clone();
        peers.keys[2].1 = hello.keys;
        state.on_peers(peers).map(drop)
    };
    let peer = Party::Node(NodeIndex(3));
    blames(lying(|keys| keys.x25519 = [0; 32]), peer, "small order");
    blames(lying(|keys| keys.kem_key.fill(0xff)), peer, "FIPS 203");
}

// ---- encapsulations and confirmations

/// Node 0's state, the parcels for it, and a change made to them.
fn with_kems(change: impl Fn(&mut EpochKems, &Setup)) -> Result<(NodeEpoch, EpochDone), Fault> {
    let mut setup = Setup::new(four());
    let (state, mut kems) = setup.kems().remove(0);
    change(&mut kems, &setup);
    state.on_kems(&kems).map(|(epoch, done)| match done {
        NodeMessage::EpochDone(done) => (epoch, done),
        other => panic!("unexpected {other:?}"),
    })
}

#[test]
fn encapsulations_that_are_not_the_peers() {
    let (_, done) = with_kems(|_, _| {}).unwrap();
    assert!(done.without.is_empty());
    let result = with_kems(|kems, _| kems.parcels[0].ciphertext[9] ^= 1);
    blames(result, AGGREGATOR, "node 1 with a bad signature");
    let result = with_kems(|kems, _| kems.parcels.swap(0, 1));
    blames(result, AGGREGATOR, "twice or to the wrong node");
    let result = with_kems(|kems, _| kems.parcels[1].to = NodeIndex(2));
    blames(result, AGGREGATOR, "wrong node");
    let result = with_kems(|kems, _| kems.parcels[0].from = NodeIndex(0));
    blames(result, AGGREGATOR, "node 0, which is no peer");
    let result = with_kems(|kems, _| kems.transcript.0[0] ^= 1);
    blames(result, AGGREGATOR, "other epoch keys than it showed");
    let result = with_kems(|kems, _| kems.context.0[0] ^= 1);
    blames(result, AGGREGATOR, "another epoch");
    let result = with_kems(|kems, _| kems.parcels.truncate(1));
    blames(result, AGGREGATOR, "reaches 2 nodes, fewer than 3");
    let (epoch, done) = with_kems(|kems, _| kems.parcels.truncate(2)).unwrap();
    assert_eq!(epoch.reached(), NodeSet::of(4, [1, 2].map(NodeIndex)));
    assert!(done.without.is_empty(), "what did not arrive was not refused");
}

/// An encapsulation of one epoch means nothing in another.
#[test]
fn encapsulations_replayed_from_another_epoch() {
    let old = Setup::new(four()).kems().remove(0).1;
    let result = with_kems(|kems, _| kems.parcels[0] = old.parcels[0].clone());
    blames(result, AGGREGATOR, "node 1 with a bad signature");
}

#[test]
fn a_key_confirmation_that_does_not_fit_is_refused_and_said() {
    let changes: [fn(&mut KemParcel); 2] =
        [|parcel| parcel.confirmation[0] ^= 1, |parcel| parcel.ciphertext[100] ^= 1];
    for change in changes {
        let (epoch, done) = with_kems(|kems, setup| {
            let mut parcel = kems.parcels[1].clone();
            change(&mut parcel);
            setup.resign_parcel(&mut parcel, kems);
            kems.parcels[1] = parcel;
        })
        .unwrap();
        assert_eq!(done.without, NodeSet::of(4, [NodeIndex(2)]));
        assert_eq!(epoch.reached(), NodeSet::of(4, [1, 3].map(NodeIndex)));
        assert_eq!(*epoch.members(), NodeSet::full(4), "the roll stays what was signed");
    }
}
