//! Masks cancel, and whoever is missing at whatever point: either the exact sum
//! over the survivors comes out, or the attempt ends with its reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::{Cluster, Outcome, Script, plain_sum, run, run_cohort};
use proptest::prelude::*;
use tributary_secagg::messages::Kind;
use tributary_secagg::{
    AbortReason, CHUNK_LANES, LaneBits, NodeIndex, NodeSet, RoundView, Thresholds,
};

/// The points at which a node can be missing, in order.
const POINTS: [Kind; 7] = [
    Kind::RoundCommit,
    Kind::Ready,
    Kind::MaskedChunk,
    Kind::MaskedDone,
    Kind::SurvivorAck,
    Kind::UnmaskShares,
    Kind::ResultAck,
];

/// Nodes that get past a point.
fn past(n: u16, dies_before: &BTreeMap<NodeIndex, Kind>, point: Kind) -> NodeSet {
    let gone = |node: &NodeIndex| dies_before.get(node).is_some_and(|kind| *kind <= point);
    NodeSet::of(n, (0..n).map(NodeIndex).filter(|node| !gone(node)))
}

/// What must come of a round, said without any cryptography.
fn expected(t: Thresholds, dies: &BTreeMap<NodeIndex, Kind>) -> Result<NodeSet, AbortReason> {
    let stages = [
        (Kind::RoundCommit, t.u_min, AbortReason::TooFewCommits),
        (Kind::Ready, t.u_min, AbortReason::TooFewReady),
        (Kind::MaskedDone, t.u_min, AbortReason::TooFewUploads),
        (Kind::SurvivorAck, t.quorum, AbortReason::TooFewAcks),
        (Kind::UnmaskShares, t.shamir_t, AbortReason::TooFewShares),
        (Kind::ResultAck, t.quorum, AbortReason::TooFewAttestations),
    ];
    for (point, least, reason) in stages {
        if past(t.n, dies, point).len() < usize::from(least) {
            return Err(reason);
        }
    }
    Ok(past(t.n, dies, Kind::MaskedDone))
}

fn check(
    cluster: &mut Cluster,
    round: u32,
    length: usize,
    dies: BTreeMap<NodeIndex, Kind>,
    silently: bool,
) {
    let thresholds = cluster.roster.thresholds;
    let vectors = cluster.vectors(length);
    let view = cluster.view(round, 0, length as u32);
    let script = Script { dies_before: dies.clone(), silently, ..Script::default() };
    let outcome = run(cluster, &view, &vectors, script);
    assert!(outcome.faults.is_empty() && outcome.evicted.is_empty(), "{dies:?}: {outcome:?}");
    match expected(thresholds, &dies) {
        Ok(survivors) => check_sum(&outcome, &vectors, &survivors, &dies),
        Err(reason) => {
            let abort = outcome.aborted.as_ref().unwrap_or_else(|| panic!("{dies:?}"));
            assert_eq!(abort.reason, reason, "{dies:?}");
            assert!(abort.have < abort.need);
            assert!(outcome.certified.is_none() && outcome.node_certified.is_empty());
            if reason != AbortReason::TooFewAttestations {
                assert!(outcome.opened.is_none());
            }
        }
    }
}

fn check_sum(
    outcome: &Outcome,
    vectors: &[Vec<u32>],
    survivors: &NodeSet,
    dies: &BTreeMap<NodeIndex, Kind>,
) {
    let (sum, found) = outcome.opened.as_ref().unwrap_or_else(|| panic!("{dies:?}: {outcome:?}"));
    assert_eq!(found, survivors);
    assert_eq!(*sum, plain_sum(vectors, survivors));
    for received in outcome.sums.values() {
        assert_eq!(received, sum);
    }
    let certified = outcome.certified.as_ref().unwrap();
    assert_eq!(certified.survivors, *survivors);
    let alive: Vec<NodeIndex> = survivors.iter().filter(|node| !dies.contains_key(node)).collect();
    let mut nodes = outcome.node_certified.clone();
    nodes.sort();
    assert_eq!(nodes, alive);
}

#[test]
fn one_or_two_nodes_missing_at_every_point() {
    // N = 6, C = 1: tau = shamir_t = 4 = u_min, so two may be missing.
    let mut cluster = Cluster::new(6, 0.1, 0.34, 4);
    assert_eq!(cluster.roster.thresholds.u_min, 4);
    let mut round = 0;
    let mut check_next = |dies, silently| {
        check(&mut cluster, round, 5, dies, silently);
        round += 1;
    };
    check_next(BTreeMap::new(), false);
    for one in POINTS {
        for silently in [false, true] {
            check_next(BTreeMap::from([(NodeIndex(0), one)]), silently);
            check_next(BTreeMap::from([(NodeIndex(5), one)]), silently);
        }
        for other in POINTS {
            let silently = one > other;
            check_next(BTreeMap::from([(NodeIndex(1), one), (NodeIndex(4), other)]), silently);
        }
    }
}

#[test]
fn one_node_too_many_missing_is_a_clean_abort() {
    let mut cluster = Cluster::new(6, 0.1, 0.34, 4);
    for (round, point) in (0u32..).zip(POINTS) {
        let dies: BTreeMap<_, _> = (0..3).map(|node| (NodeIndex(node * 2), point)).collect();
        assert!(expected(cluster.roster.thresholds, &dies).is_err());
        check(&mut cluster, round, 3, dies, round % 2 == 0);
    }
}

#[test]
fn vectors_of_several_chunks_add_up() {
    let mut cluster = Cluster::new(4, 0.0, 0.25, 3);
    let lengths = [1, CHUNK_LANES - 1, CHUNK_LANES, CHUNK_LANES + 1, 2 * CHUNK_LANES + 3];
    for (round, length) in (0u32..).zip(lengths) {
        let dies = BTreeMap::from([(NodeIndex(2), Kind::MaskedDone)]);
        check(&mut cluster, round, length, dies, false);
    }
}

#[test]
fn sixty_four_nodes_with_dropouts() {
    let mut cluster = Cluster::new(64, 0.1, 0.2, 5);
    let dies = [3, 17, 18, 40, 63].into_iter().zip(POINTS.into_iter().cycle().skip(1));
    let dies = dies.map(|(node, point)| (NodeIndex(node), point)).collect();
    check(&mut cluster, 0, 33, dies, true);
}

#[test]
fn lanes_of_every_width_add_up() {
    let mut cluster = Cluster::new(4, 0.0, 0.25, 3);
    let dies = BTreeMap::from([(NodeIndex(1), Kind::MaskedDone)]);
    for (round, bits) in (0u32..).zip([1, 7, 8, 12, 15, 16, 17, 20, 25, 31, 32]) {
        let bits = LaneBits::new(bits).unwrap();
        let vectors = cluster.vectors(CHUNK_LANES + 5);
        let view = RoundView { lane_bits: bits, ..cluster.view(round, 0, 65_541) };
        let script = Script { dies_before: dies.clone(), ..Script::default() };
        let outcome = run(&mut cluster, &view, &vectors, script);
        let (sum, survivors) = outcome.opened.unwrap();
        let mask = u32::MAX >> (32 - bits.bits());
        let expected: Vec<u32> =
            plain_sum(&vectors, &survivors).into_iter().map(|lane| lane & mask).collect();
        assert_eq!(sum, expected, "{bits:?}");
        assert_eq!(outcome.node_certified.len(), 3);
    }
}

#[test]
fn the_sparse_graph_with_dropouts_at_every_point() {
    // 140 nodes, each with a few dozen peers; a fixed coin makes the graph.
    let thresholds = Thresholds::solve(140, 0.05, 0.1, 5).unwrap();
    assert!(!thresholds.is_complete());
    let mut cluster = Cluster::with(thresholds);
    assert!(!cluster.epochs[0].graph().is_complete());
    let dies: BTreeMap<_, _> =
        [3, 17, 40, 66, 90, 111, 139].into_iter().map(NodeIndex).zip(POINTS).collect();
    check(&mut cluster, 0, 33, BTreeMap::new(), false);
    check(&mut cluster, 1, 33, dies, true);
}

#[test]
fn a_cohort_smaller_than_the_roster() {
    let mut cluster = Cluster::new(8, 0.0, 0.3, 5);
    let cohort = NodeSet::of(8, [0, 2, 3, 5, 6, 7].map(NodeIndex));
    let vectors = cluster.vectors(9);
    let view = cluster.view(0, 0, 9);
    let outcome = run_cohort(&mut cluster, &view, cohort.clone(), &vectors, Script::default());
    assert_eq!(outcome.opened.unwrap(), (plain_sum(&vectors, &cohort), cohort));
}

#[test]
fn rounds_and_attempts_follow_each_other() {
    let mut cluster = Cluster::new(4, 0.0, 0.25, 3);
    let full = NodeSet::full(4);
    // Node 3 misses round 1 and hashes forward in round 2.
    for (round, attempt, cohort) in [
        (0, 0, full.clone()),
        (0, 2, full.clone()),
        (1, 0, NodeSet::of(4, [0, 1, 2].map(NodeIndex))),
        (2, 3, full.clone()),
        (9, 0, full),
    ] {
        let vectors = cluster.vectors(4);
        let view = cluster.view(round, attempt, 4);
        let outcome = run_cohort(&mut cluster, &view, cohort.clone(), &vectors, Script::default());
        assert_eq!(outcome.opened.unwrap().0, plain_sum(&vectors, &cohort));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn any_dropouts_give_the_exact_sum_or_a_reason(
        n in 3u16..=12,
        gamma in 0.0f64..0.25,
        delta in 0.0f64..0.5,
        length in 1usize..40,
        deaths in proptest::collection::vec((0u16..12, 0usize..POINTS.len()), 0..4),
        silently: bool,
    ) {
        if let Ok(thresholds) = Thresholds::complete_graph(n, gamma, delta, 2) {
            let mut cluster = Cluster::with(thresholds);
            let dies = deaths
                .into_iter()
                .filter(|(node, _)| *node < n)
                .map(|(node, point)| (NodeIndex(node), POINTS[point]))
                .collect();
            check(&mut cluster, 0, length, dies, silently);
        }
    }
}
