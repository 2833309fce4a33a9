//! One aggregator and its nodes in a world of slow, breaking and repeating
//! connections and of processes that crash: whatever happens, a round ends with the
//! exact sum or with a named reason, and nothing is ever said or charged twice.
//!
//! One number drives everything: delays, breaks, partitions that heal or do not,
//! repeated frames, crashes of nodes and of the aggregator before and after every
//! record becomes durable, slow nodes, deadlines. Key pairs come from the crypto
//! library's own generator, so nothing in a run may depend on their bytes; the trace
//! (who, what, when) of a seed is the same every time. In the sparse graph the ring
//! hangs on the keys through the coin, so there only the plan is the same.
//!
//! ```text
//! plan        what a seed decides            checks      what must hold after every event
//! world       queue, connections             node, keying            a node's driver and disk
//!                                            aggregator, outputs     the aggregator's
//! ```
//!
//! Variables:
//!
//! ```sh
//! TRIBUTARY_SIM_SEEDS=5000 cargo test -p tributary-secagg --test simulation seeds
//! TRIBUTARY_SIM_SEED=42 cargo test -p tributary-secagg --test simulation one_seed -- --nocapture
//! ```
//!
//! The first runs that many seeds (150 by default), the second replays one and prints
//! its events. A run that fails prints the command that replays it.
//!
//! What the simulation once found stands at the end as tests of its own. Every seed repeats
//! frames of every kind, also turns, uploads and pieces of the sum.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

#[path = "simulation/aggregator.rs"]
mod aggregator;
#[path = "simulation/checks.rs"]
mod checks;
mod common;
#[path = "simulation/keying.rs"]
mod keying;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/outputs.rs"]
mod outputs;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/world.rs"]
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use plan::{Driver, Faults, Plan, Step, When, Who};
use tributary_secagg::messages::Kind;
use tributary_secagg::{NodeIndex, Thresholds};
use world::{Ending, World};

/// Runs a plan to its end; panics with the last events at a violation.
fn run(plan: Plan) -> World {
    let mut world = World::new(plan);
    world.run();
    if let Some(violation) = world.checks.violation() {
        let seed = world.plan.seed;
        let last = world.trace.len().saturating_sub(40);
        let events = world.trace[last..].join("\n");
        panic!(
            "seed {seed}: {violation}\n{events}\nreplay: TRIBUTARY_SIM_SEED={seed} cargo test -p \
             tributary-secagg --test simulation one_seed -- --nocapture"
        );
    }
    world
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn seeds() {
    let seeds = number("TRIBUTARY_SIM_SEEDS").unwrap_or(150);
    let (next, done, uploads, crashes, certified) = (
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
    );
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let world = run(Plan::of(seed));
                    done.fetch_add(
                        u64::from(world.ending == Some(Ending::Done)),
                        Ordering::Relaxed,
                    );
                    uploads.fetch_add(world.checks.uploads() as u64, Ordering::Relaxed);
                    crashes.fetch_add(u64::from(world.crashes), Ordering::Relaxed);
                    certified.fetch_add(world.checks.rounds() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    let (done, crashes) = (done.into_inner(), crashes.into_inner());
    let (uploads, certified) = (uploads.into_inner(), certified.into_inner());
    println!(
        "{seeds} seeds: {done} ran to their end, {certified} rounds certified, {uploads} uploads, {crashes} crashes"
    );
    // The plans are worth something: most things happen, and not everything fails.
    if seeds >= 100 {
        assert!(done > seeds / 3 && done < seeds && crashes > seeds / 4 && certified > seeds);
    }
}

#[test]
fn one_seed() {
    let Some(seed) = number("TRIBUTARY_SIM_SEED") else { return };
    let mut world = World::new(Plan::of(seed));
    println!("{:#?}", world.plan);
    world.run();
    println!("{}\n{:?}", world.trace.join("\n"), world.ending);
    assert_eq!(world.checks.violation(), None);
}

#[test]
fn a_seed_gives_the_same_events_every_time() {
    for seed in [3, 11, 23, 36] {
        let (one, other) = (run(Plan::of(seed)), run(Plan::of(seed)));
        assert!(one.trace.len() > 50);
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.ending, other.ending);
    }
}

#[test]
fn a_calm_run_certifies_every_round() {
    let world = run(Plan::calm(1));
    assert_eq!(world.ending, Some(Ending::Done));
    assert_eq!((world.checks.rounds(), world.checks.uploads(), world.crashes), (2, 10, 0));
    let rotated = run(Plan { rounds_per_epoch: 1, rounds: 3, ..Plan::calm(2) });
    assert_eq!(rotated.ending, Some(Ending::Done));
}

/// Every durable step of a node and of the aggregator, each before and after its
/// record, and the aggregator's also between two receivers.
#[test]
fn a_crash_at_every_durable_step() {
    let node = Who::Node(NodeIndex(1));
    let of_node = [
        Kind::EpochHello,
        Kind::EpochKem,
        Kind::EpochDone,
        Kind::RoundCommit,
        Kind::Ready,
        Kind::MaskedChunk,
        Kind::MaskedDone,
        Kind::SurvivorAck,
        Kind::UnmaskShares,
        Kind::ResultAck,
    ];
    let of_aggregator = [
        Kind::EpochStart,
        Kind::EpochHellos,
        Kind::EpochPeers,
        Kind::EpochKems,
        Kind::RoundStart,
        Kind::ShareRelay,
        Kind::UploadGrant,
        Kind::UploadTurn,
        Kind::SurvivorManifest,
        Kind::SurvivorQc,
        Kind::SumChunk,
        Kind::RoundResult,
        Kind::ResultQc,
    ];
    let mut points = Vec::new();
    for kind in of_node {
        points.push((node, Step::Message(kind), When::Before));
        // An upload is not stored: there is no moment between a record and its leaving.
        if !matches!(kind, Kind::MaskedChunk | Kind::MaskedDone) {
            points.push((node, Step::Message(kind), When::After));
        }
    }
    for step in [Step::Charge, Step::Certificate] {
        points.extend([(node, step, When::Before), (node, step, When::After)]);
    }
    for kind in of_aggregator {
        for when in [When::Before, When::After, When::Midway] {
            points.push((Who::Aggregator, Step::Message(kind), when));
        }
    }
    for when in [When::Before, When::After] {
        points.push((Who::Aggregator, Step::Facts, when));
    }
    for (number, point) in points.into_iter().enumerate() {
        // Once the others can go on alone, once they need everybody.
        for floor in [4, 5] {
            let mut plan = Plan::calm(number as u64);
            plan.thresholds.u_min = floor;
            let world = run(Plan { crash_at: Some(point), ..plan });
            assert_eq!(world.crashes, 1, "{point:?} is never reached");
            // Everybody comes back and there are attempts left: nothing is lost.
            assert_eq!(world.ending, Some(Ending::Done), "{point:?}");
            assert_eq!(world.checks.rounds(), 2, "{point:?}");
        }
    }
}

/// The violations that a driver leads to over some seeds.
fn violations(plan: impl Fn(u64) -> Plan) -> Vec<String> {
    (0..12)
        .filter_map(|seed| {
            let mut world = World::new(plan(seed));
            world.run();
            world.checks.violation().map(str::to_owned)
        })
        .collect()
}

#[test]
fn a_driver_that_forgets_the_charge_is_found() {
    let found = violations(|seed| Plan { driver: Driver::ForgetsCharge, ..Plan::calm(seed) });
    assert!(found.len() == 12 && found.iter().all(|what| what.contains("durably charged 0 times")));
}

#[test]
fn a_driver_that_restores_an_old_epoch_is_found() {
    let crash = (Who::Node(NodeIndex(1)), Step::Message(Kind::Ready), When::Before);
    let found = violations(|seed| Plan {
        driver: Driver::RestoresOldBackup,
        crash_at: Some(crash),
        ..Plan::calm(seed)
    });
    let twice = "says two different things under one context: RoundCommit";
    assert!(found.iter().any(|what| what.contains(twice)), "{found:?}");
    // The same crash with the newest copy is harmless.
    let sound = violations(|seed| Plan { crash_at: Some(crash), ..Plan::calm(seed) });
    assert_eq!(sound, Vec::<String>::new());
}

/// Connections that repeat whatever they have carried, in order: also turns, uploads
/// and pieces of the sum.
#[test]
fn every_frame_may_be_repeated() {
    let found = violations(|seed| {
        let calm = Plan::calm(seed);
        let faults = Faults { twice: 100, breaks: 150, lasting: 0, overlap: 9, ..calm.faults };
        Plan { faults, rounds: 4, ..calm }
    });
    assert_eq!(found, Vec::<String>::new());
}

/// A sparse graph in which as many nodes are missing as the quorum allows: some node
/// is left with too few holders of its shares. Nobody is to blame for that.
#[test]
fn a_sparse_graph_with_many_missing_nodes_blames_nobody() {
    let found = violations(|seed| {
        let of = Plan::of(25 * seed + 7);
        let faults = Faults { crash: 120, breaks: 60, lasting: 6000, patience: 20, ..of.faults };
        let thresholds = Thresholds { u_min: 11, ..of.thresholds };
        Plan { thresholds, faults, length: 5, max_attempts: 4, ..of }
    });
    assert_eq!(found, Vec::<String>::new());
}
