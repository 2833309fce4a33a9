//! Secrets are neither printed nor left behind: what `Debug` shows of everything that
//! holds one, what stands in memory that was given back, and what a stolen epoch can
//! still open.
//!
//! The allocator of this program looks through every block that is freed, before it
//! goes back to the system, for patterns that a test is watching: lanes of a vector
//! that nobody else would write, links of a chain. It sees the heap only; copies on
//! the stack and in registers are out of its sight.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;
#[path = "secrets/looking.rs"]
mod looking;
#[path = "secrets/record.rs"]
mod record;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use common::{Cluster, sends};
use looking::left_behind;
use rand_chacha::rand_core::RngCore as _;
use record::record;
use tributary_secagg::mask::{self, MaskKey, Sign};
use tributary_secagg::messages::{
    RevealedEscrowShare, RevealedSelfShare, ShareParcel, UnmaskShares,
};
use tributary_secagg::{
    Digest, LaneBits, Lanes, NodeEpoch, NodeEpochHello, NodeEpochKem, NodeEpochPeers, NodeIndex,
    NodePhase, NodeSet, RoundView, ServerMessage, ServerRound,
};

/// The lane that all watched vectors are made of.
const LANE: u32 = 0xa5c3_f00d;

/// Four of the lanes as they stand in memory, turned over.
fn lane_pattern() -> [u8; 16] {
    std::array::from_fn(|at| !LANE.to_le_bytes()[at % 4])
}

/// The first half of a key, turned over.
fn first_half(key: &[u8]) -> [u8; 16] {
    std::array::from_fn(|at| !key[at])
}

/// The links that stand at the end of a stored epoch.
fn links(epoch: &NodeEpoch) -> Vec<[u8; 32]> {
    let bytes = epoch.to_secret_bytes();
    let count = epoch.reached().len();
    bytes[bytes.len() - 32 * count..].as_chunks::<32>().0.to_vec()
}

#[test]
fn the_allocator_finds_what_is_left() {
    let vector = vec![LANE; 64];
    assert!(left_behind(&[lane_pattern()], || drop(vector)) > 50);
    let kept = vec![LANE; 64];
    assert_eq!(left_behind(&[lane_pattern()], || assert_eq!(kept.len(), 64)), 0);
    // A vector that grows leaves its smaller self behind.
    let mut grown = vec![LANE; 64];
    assert!(left_behind(&[lane_pattern()], || grown.reserve_exact(10_000)) > 50);
    grown.fill(0);
}

#[test]
fn keys_are_gone_when_dropped() {
    let key = [0x5a; 32];
    let made = MaskKey::copied(&key);
    let mut zeros = vec![0u32; 1000];
    let found = left_behind(&[first_half(&key)], || {
        mask::apply(&made, Sign::Plus, &mut zeros);
        drop(made);
    });
    assert_eq!(found, 0);
    // A box of the same bytes is found.
    let open = Box::new(key);
    assert!(left_behind(&[first_half(&key)], || drop(open)) > 0);
}

#[test]
fn an_epoch_leaves_no_link_behind() {
    let mut cluster = Cluster::new(4, 0.0, 0.25, 3);
    let roster = cluster.roster.clone();
    let epoch = cluster.epochs.remove(0);
    let patterns: Vec<_> = links(&epoch).iter().map(|link| first_half(link)).collect();
    assert_eq!(patterns.len(), 3);
    let found = left_behind(&patterns, || {
        let bytes = epoch.to_secret_bytes();
        let again = NodeEpoch::from_secret_bytes(&roster, &bytes).unwrap();
        assert_eq!(again.reached().len(), 3);
        drop((epoch, bytes, again));
    });
    assert_eq!(found, 0);
    let exposed = cluster.epochs.remove(0);
    let patterns: Vec<_> = links(&exposed).iter().map(|link| first_half(link)).collect();
    assert!(left_behind(&patterns, || drop(exposed.to_secret_bytes().to_vec())) > 0);
}

/// The vector is there until it is masked in place; nothing that is freed from then
/// to the end of the round holds it, nor the links that the round used.
fn left_by_a_round(length: u32) -> usize {
    let mut cluster = Cluster::new(4, 0.0, 0.25, 3);
    let mut watched = vec![lane_pattern()];
    watched.extend(links(&cluster.epochs[0]).iter().map(|link| first_half(link)));
    let x = vec![LANE; length as usize];
    let view = RoundView { lane_bits: LaneBits::FULL, ..cluster.view(0, 0, length) };
    let mut certified = 0;
    let left = left_behind(&watched, || {
        certified = record(&mut cluster, &view, &x).certified;
    });
    assert_eq!(certified, 4);
    left
}

/// What a node leaves of its vector when its attempt ends with handing it in.
fn left_by_a_dropped_attempt(length: usize) -> usize {
    let mut cluster = Cluster::new(4, 0.0, 0.25, 3);
    let view = cluster.view(0, 0, length as u32);
    let cohort = NodeSet::full(4);
    let (mut server, out) =
        ServerRound::open(&cluster.server, &cluster.facts, view.clone(), cohort).unwrap();
    let mut machines = BTreeMap::new();
    let mut relays = Vec::new();
    for (node, message) in sends(out) {
        let ServerMessage::RoundStart(start) = message else { panic!("expected a start") };
        let (machine, commit) = cluster.open_node(node, start, &view).unwrap();
        machines.insert(node, machine);
        relays.extend(sends(server.handle(node, commit).unwrap()));
    }
    let (node, relay) = relays.remove(0);
    let mut machine = machines.remove(&node).unwrap();
    machine.handle(relay).unwrap();
    assert_eq!(machine.phase(), NodePhase::AwaitingVector);
    let x = Lanes::Wide(vec![LANE; length]);
    let dropped = left_behind(&[lane_pattern()], || {
        machine.provide_vector(x).unwrap();
        drop(machine);
    });
    // A vector of the wrong length is refused, and wiped all the same.
    let (node, relay) = relays.remove(0);
    let mut machine = machines.remove(&node).unwrap();
    machine.handle(relay).unwrap();
    let short = Lanes::Wide(vec![LANE; length - 1]);
    let refused = left_behind(&[lane_pattern()], || {
        assert!(machine.provide_vector(short).is_err());
    });
    dropped + refused
}

#[test]
fn a_round_leaves_neither_vector_nor_links_behind() {
    assert_eq!(left_by_a_round(3200), 0);
}

#[test]
fn an_attempt_that_is_dropped_leaves_no_vector_behind() {
    assert_eq!(left_by_a_dropped_attempt(3200), 0);
}

/// Lengths that are no whole number of the packing's groups of 32 lanes.
#[test]
fn odd_lengths_leave_nothing_behind_either() {
    assert_eq!((left_by_a_dropped_attempt(3000), left_by_a_round(3000)), (0, 0));
    assert_eq!((left_by_a_dropped_attempt(3201), left_by_a_round(3201)), (0, 0));
}

/// Ways in which bytes might be printed.
fn shapes(secret: &[u8]) -> Vec<String> {
    let part = &secret[..8];
    let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = |parts: Vec<String>| parts.join(", ");
    vec![
        hex.to_uppercase(),
        hex,
        list(part.iter().map(u8::to_string).collect()),
        list(part.iter().map(|byte| format!("{byte:#x}")).collect()),
        part.iter().map(|byte| format!("\n    {byte},")).collect(),
    ]
}

fn lane_shapes() -> Vec<String> {
    let mut shapes = shapes(&[LANE.to_le_bytes(); 2].concat());
    shapes.extend([LANE.to_string(), format!("{LANE:x}"), format!("{LANE:X}")]);
    shapes
}

fn shows_none(text: &str, secrets: &[Vec<String>]) {
    for shape in secrets.iter().flatten() {
        assert!(!text.contains(shape.as_str()), "a secret is printed: {text}");
    }
}

#[test]
fn nothing_that_holds_a_secret_prints_it() {
    let mut cluster = Cluster::new(4, 0.0, 0.25, 3);
    let mut secrets = vec![lane_shapes()];
    secrets.extend(links(&cluster.epochs[0]).iter().map(|link| shapes(link)));
    let x = vec![LANE; 50];
    let view = cluster.view(0, 0, 50);
    let recorded = record(&mut cluster, &view, &x);
    assert!(recorded.looks.len() > 15 && recorded.certified == 4);
    for look in &recorded.looks {
        shows_none(look, &secrets);
    }
    // The sum of four equal vectors is as secret as long as it is not released.
    let sum = LANE.wrapping_mul(4);
    let sums = vec![vec![sum.to_string(), format!("{sum:x}")]];
    recorded.looks.iter().for_each(|look| shows_none(look, &sums));
    let share = [0x5a; 32];
    let values: Vec<(Box<dyn Debug>, Vec<String>)> = vec![
        (Box::new(cluster.epochs.remove(0)), secrets.concat()),
        (Box::new(MaskKey::copied(&share)), shapes(&share)),
        (Box::new(RevealedSelfShare(share)), shapes(&share)),
        (Box::new(RevealedEscrowShare(share)), shapes(&share)),
        (Box::new(Lanes::Wide(x)), lane_shapes()),
        (
            Box::new(UnmaskShares {
                context: Digest::ZERO,
                self_shares: vec![(NodeIndex(1), RevealedSelfShare(share))],
                escrow_shares: vec![(NodeIndex(2), RevealedEscrowShare(share))],
                signature: [0; 64],
            }),
            shapes(&share),
        ),
    ];
    for (value, shapes) in values {
        shows_none(&format!("{value:?} {value:#?}"), &[shapes]);
    }
    // The control: bytes that are printed are seen.
    let printed = std::panic::catch_unwind(|| shows_none(&format!("{share:?}"), &[shapes(&share)]));
    assert!(printed.is_err());
}

/// Whether a type can be printed: the inherent method wins where its bound holds.
struct Probe<T>(PhantomData<T>);

trait Silent {
    fn prints(&self) -> bool {
        false
    }
}

impl<T> Silent for Probe<T> {}

impl<T: Debug> Probe<T> {
    fn prints(&self) -> bool {
        true
    }
}

/// The states of an epoch's set-up cannot be printed at all. One that gets a `Debug`
/// belongs into the test above.
#[test]
fn states_of_the_set_up_cannot_be_printed() {
    assert!(!Probe::<NodeEpochHello>(PhantomData).prints());
    assert!(!Probe::<NodeEpochPeers>(PhantomData).prints());
    assert!(!Probe::<NodeEpochKem>(PhantomData).prints());
    assert!(Probe::<MaskKey>(PhantomData).prints(), "the probe works");
}

struct ThirtyTwo;

impl KeyType for ThirtyTwo {
    fn len(&self) -> usize {
        32
    }
}

/// HKDF-Expand as the protocol's description has it, written once more.
fn expand(key: &[u8; 32], label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut info = Vec::new();
    for part in [label.as_bytes()].iter().chain(parts) {
        info.extend_from_slice(&(part.len() as u64).to_le_bytes());
        info.extend_from_slice(part);
    }
    let mut out = [0; 32];
    let prk = Prk::new_less_safe(HKDF_SHA256, key);
    prk.expand(&[&info], ThirtyTwo).unwrap().fill(&mut out).unwrap();
    out
}

/// Whether the share key of a link opens a parcel for its holder.
fn opens(link: &[u8; 32], ctx: &Digest, parcel: &ShareParcel) -> bool {
    let (from, to) = (parcel.from.0.to_le_bytes(), parcel.to.0.to_le_bytes());
    let key = expand(link, "share", &[&ctx.0, &from, &to]);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let mut buffer = parcel.sealed_shares.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(&buffer[..12]).unwrap();
    let aad: Vec<u8> = [&ctx.0[..], &from, &to].concat();
    key.open_in_place(nonce, Aad::from(aad), &mut buffer[12..]).is_ok()
}

/// Somebody records all frames of a round and later steals a node's epoch: nothing
/// that follows from it, however far it is ratcheted, opens a sealed share of that
/// round. The epoch as it was before does (so this test can fail).
#[test]
fn a_stolen_epoch_does_not_open_the_rounds_before() {
    let mut cluster = Cluster::new(4, 0.0, 0.25, 3);
    let before = links(&cluster.epochs[0]);
    let x: Vec<u32> = (0..20).map(|_| cluster.rng.next_u32()).collect();
    let view = cluster.view(0, 0, 20);
    let recorded = record(&mut cluster, &view, &x);
    assert_eq!((recorded.parcels.len(), recorded.certified), (3, 4));
    let ServerMessage::RoundStart(start) =
        ServerMessage::decode(&recorded.frames[0], &tributary_secagg::Limits::for_members(4))
            .unwrap()
    else {
        panic!("expected the start")
    };
    let ctx = start.context;
    for parcel in &recorded.parcels {
        assert_eq!(before.iter().filter(|link| opens(link, &ctx, parcel)).count(), 1);
    }
    let after = links(&cluster.epochs[0]);
    let bytes = cluster.epochs[0].to_secret_bytes();
    assert!(before.iter().all(|link| !bytes.windows(32).any(|window| window == link)));
    for mut link in after.iter().copied() {
        for _ in 0..500 {
            assert!(recorded.parcels.iter().all(|parcel| !opens(&link, &ctx, parcel)));
            assert!(!recorded.frames.iter().any(|frame| frame.windows(32).any(|w| w == link)));
            link = expand(&link, "ratchet", &[]);
        }
    }
    // The ratchet above is the crate's: it leads from the links before to those after.
    let stepped: Vec<_> = before.iter().map(|link| expand(link, "ratchet", &[])).collect();
    assert_eq!(stepped, after);
}
