//! The fuzz targets for a few seconds, with a deterministic mutator over real frames of
//! every kind: bits, bytes, cuts, splices, and lies about lengths and counts. cargo-fuzz
//! runs the same functions for hours (`tests/fuzz/README.md`).
//!
//! The allocator of this program counts, so that a frame which promises more than it
//! holds is seen to cost nothing. `TRIBUTARY_FUZZ_SECONDS` makes it run longer.
#![expect(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod fuzz_targets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use fuzz_targets::fixture::fixture;
use fuzz_targets::{TARGETS, corpus, node_machine, server_machine};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use tributary_secagg::{Evidence, NodeMessage, ResultQc, ServerMessage};

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|sum| sum.set(sum.get().saturating_add(layout.size())));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn below(rng: &mut ChaCha20Rng, most: usize) -> usize {
    rng.next_u32() as usize % most.max(1)
}

/// One to four changes.
fn mutated(rng: &mut ChaCha20Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[below(rng, corpus.len())].clone();
    for _ in 0..=below(rng, 4) {
        let place = below(rng, bytes.len());
        match below(rng, 8) {
            0 | 1 if !bytes.is_empty() => bytes[place] ^= 1 << below(rng, 8),
            2 if !bytes.is_empty() => bytes[place] = rng.next_u32() as u8,
            3 => bytes.truncate(place),
            4 => {
                let other = &corpus[below(rng, corpus.len())];
                let from = below(rng, other.len());
                let length = below(rng, other.len() - from + 1);
                bytes.splice(
                    place..bytes.len().min(place + length),
                    other[from..from + length].to_vec(),
                );
            }
            5 if bytes.len() >= 4 => {
                // A count or a length that lies, wherever it may stand.
                let lie = [0xffff_ffff, 0x8000, 0xffff, 0x7fff_ffff, 0, 5][below(rng, 6)];
                let width = [2, 4][below(rng, 2)];
                let place = place.min(bytes.len() - width);
                bytes[place..place + width].copy_from_slice(&u32::to_le_bytes(lie)[..width]);
            }
            6 if bytes.len() > 2 => bytes[2] = rng.next_u32() as u8 % 0x50,
            _ => bytes.extend_from_within(place..),
        }
        bytes.truncate(1 << 19);
    }
    bytes
}

fn seconds() -> Duration {
    let set = std::env::var("TRIBUTARY_FUZZ_SECONDS").ok();
    Duration::from_secs(set.map_or(1, |seconds| seconds.parse().expect("a number")))
}

fn hammer(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target");
    let corpus = corpus(name);
    for input in &corpus {
        target(input);
    }
    let (mut rng, start) = (ChaCha20Rng::seed_from_u64(9), Instant::now());
    let mut runs = 0u32;
    while start.elapsed() < seconds() {
        let input = mutated(&mut rng, &corpus);
        if catch_unwind(|| target(&input)).is_err() {
            panic!("{name} fails on run {runs}: {}", hex::encode(&input));
        }
        runs += 1;
    }
    println!("{name}: {runs} runs");
    assert!(runs > 20);
}

#[test]
fn decoders() {
    for name in ["decode_node_message", "decode_server_message", "decode_result_qc"] {
        hammer(name);
    }
}

#[test]
fn records() {
    for name in ["decode_evidence", "epoch_secret_bytes"] {
        hammer(name);
    }
}

#[test]
fn machines_of_the_nodes() {
    hammer("node_machine");
}

#[test]
fn machines_of_the_aggregator() {
    hammer("server_machine");
}

/// Unchanged, the recorded frames take both machines to their ends: the targets reach
/// every phase.
#[test]
fn the_recorded_round_replays() {
    node_machine(&[]);
    server_machine(&[]);
    let kinds = |frames: Vec<Vec<u8>>| {
        let mut kinds: Vec<u8> = frames.iter().map(|frame| frame[2]).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    };
    assert_eq!(kinds(fixture().node_frames()).len(), 12, "every kind of a node's messages");
    assert_eq!(kinds(fixture().server_frames()).len(), 14, "every kind of the aggregator's");
}

/// Bytes that a call allocates.
fn cost(work: impl FnOnce()) -> usize {
    let before = ALLOCATED.get();
    work();
    ALLOCATED.get() - before
}

/// Decoding costs no more than a small multiple of the frame, whatever it promises:
/// every two bytes of every frame are made a huge count, every four a huge length.
#[test]
fn promises_cost_nothing() {
    let fixture = fixture();
    let limits = &fixture.limits;
    let mut tried = 0;
    let mut check = |bytes: &[u8], decode: &dyn Fn(&[u8])| {
        for place in (0..bytes.len().min(4000)).step_by(if bytes.len() > 1000 { 7 } else { 1 }) {
            for width in [2, 4] {
                let mut lie = bytes.to_vec();
                let end = (place + width).min(lie.len());
                lie[place..end].fill(0xff);
                let cost = cost(|| decode(&lie));
                assert!(cost <= 8 * lie.len() + 4096, "{cost} bytes for a frame of {}", lie.len());
                tried += 1;
            }
        }
    };
    for frame in fixture.node_frames() {
        check(&frame, &|bytes| drop(NodeMessage::decode(bytes, limits)));
    }
    for frame in fixture.server_frames() {
        check(&frame, &|bytes| drop(ServerMessage::decode(bytes, limits)));
    }
    check(&fixture.certificate.encode(), &|bytes| drop(ResultQc::decode(bytes, limits)));
    for evidence in fixture.evidence() {
        check(&evidence, &|bytes| drop(Evidence::decode(bytes, limits)));
    }
    assert!(tried > 5000);
    // The control: the counter counts.
    assert!(cost(|| drop(std::hint::black_box(vec![0u8; 100_000]))) >= 100_000);
}
