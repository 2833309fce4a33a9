//! The ring's order against an independent implementation, its uniformity, and
//! the property that the thresholds rest on, by exhaustion.

use proptest::prelude::*;

use super::*;

/// A sparse graph of any size; its thresholds protect nobody.
fn sparse(n: u16, degree: u16, coin: Digest) -> Graph {
    let thresholds = Thresholds { n, corrupt: 0, quorum: n, shamir_t: 1, u_min: n, degree };
    Graph::of(&thresholds, &coin)
}

fn coin(number: u32) -> Digest {
    hash("c", &[&number.to_le_bytes()])
}

fn ring(graph: &Graph) -> Vec<u16> {
    match &graph.shape {
        Shape::Complete => Vec::new(),
        Shape::Ring { ring, .. } => ring.iter().map(|node| node.0).collect(),
    }
}

#[test]
fn known_answers_of_another_implementation() {
    // From a Python program that was written after the module's documentation.
    let small = ring(&sparse(130, 40, Digest::ZERO));
    assert_eq!(small[..10], [64, 67, 122, 5, 58, 85, 12, 15, 113, 8]);
    assert_eq!(small[127..], [120, 2, 24]);
    // A coin with one rejected word.
    let large = ring(&sparse(2000, 40, coin(4147)));
    assert_eq!(large[..5], [1917, 1188, 904, 759, 1970]);
    assert_eq!(large[1995..], [1827, 1867, 1418, 449, 958]);
}

#[test]
fn slots_count_along_the_ring() {
    let graph = sparse(130, 4, Digest::ZERO);
    let order: Vec<NodeIndex> = ring(&graph).into_iter().map(NodeIndex).collect();
    let dealer = order[0];
    let slots: Vec<_> =
        [128, 129, 0, 1, 2, 3, 127].map(|place: usize| graph.slot(dealer, order[place])).to_vec();
    assert_eq!(slots, [Some(1), Some(2), None, Some(3), Some(4), None, None]);
}

#[test]
fn the_complete_graph_ignores_the_coin() {
    let thresholds = Thresholds::solve(10, 0.2, 0.3, 5).unwrap();
    let graph = Graph::of(&thresholds, &coin(1));
    assert_eq!(graph, Graph::of(&thresholds, &coin(2)));
    assert!(graph.is_complete());
    for a in (0..10).map(NodeIndex) {
        assert_eq!(graph.peers(a).len(), 9);
        assert!(!graph.peers(a).contains(a));
        assert_eq!(graph.holders(a), NodeSet::full(10), "the dealer keeps one of its shares");
        assert_eq!(graph.slot(NodeIndex(3), a), u8::try_from(a.0 + 1).ok());
        assert_eq!(graph.are_peers(NodeIndex(3), a), a.0 != 3);
    }
}

#[test]
fn strangers_have_no_neighbours() {
    let thresholds = Thresholds::solve(10, 0.2, 0.3, 5).unwrap();
    for graph in [Graph::of(&thresholds, &Digest::ZERO), sparse(10, 4, Digest::ZERO)] {
        for stranger in [NodeIndex(10), NodeIndex(u16::MAX)] {
            assert!(graph.peers(stranger).is_empty());
            assert!(graph.holders(stranger).is_empty());
            assert!(!graph.are_peers(stranger, NodeIndex(0)));
            assert!(!graph.are_peers(NodeIndex(0), stranger));
            assert_eq!(graph.slot(stranger, NodeIndex(0)), None);
            assert_eq!(graph.slot(NodeIndex(0), stranger), None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn neighbours_are_k_and_mutual(n in 4u16..300, half in 1u16..127, number: u32) {
        prop_assume!(2 * half < n - 1);
        let graph = sparse(n, 2 * half, coin(number));
        prop_assert_eq!(&graph, &sparse(n, 2 * half, coin(number)));
        prop_assert!(n < 20 || ring(&graph) != ring(&sparse(n, 2 * half, coin(!number))));
        prop_assert!(!graph.is_complete());
        for a in (0..n).map(NodeIndex) {
            let peers = graph.peers(a);
            prop_assert_eq!(peers.len(), usize::from(2 * half));
            prop_assert_eq!(&peers, &graph.holders(a));
            let mut slots = Vec::new();
            for b in (0..n).map(NodeIndex) {
                prop_assert_eq!(graph.are_peers(a, b), peers.contains(b));
                prop_assert_eq!(graph.are_peers(b, a), peers.contains(b));
                slots.extend(graph.slot(a, b));
                // Seen from the other side, the offset has the other sign.
                let mirrored = graph.slot(b, a).map(|slot| 2 * half + 1 - u16::from(slot));
                prop_assert_eq!(graph.slot(a, b).map(u16::from), mirrored);
            }
            slots.sort_unstable();
            prop_assert!(slots.into_iter().map(u16::from).eq(1..=2 * half));
        }
    }
}

#[test]
fn every_order_of_the_ring_is_equally_likely() {
    const DRAWS: u32 = 4800;
    let mut counts = std::collections::BTreeMap::new();
    for number in 0..DRAWS {
        *counts.entry(ring(&sparse(4, 2, coin(number)))).or_insert(0u32) += 1;
    }
    assert_eq!(counts.len(), 24);
    let expected = f64::from(DRAWS) / 24.0;
    let chi_square: f64 =
        counts.values().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    assert!(chi_square < 49.7, "23 degrees of freedom, 1 in 1000: {chi_square}");
}

/// Goes through all sets of at most two corrupt nodes and all sets of live honest
/// ones, with a threshold of k/2 + (most corrupt nodes among k/2 in a row) + `extra`.
/// Returns how often the live honest nodes fall into several parts, counting
/// parts, and how many parts hold no node whose self mask stays closed. Nodes
/// are bits of a word.
fn parts_that_open(graph: &Graph, half: usize, extra: u32) -> (u32, u32) {
    let order = ring(graph);
    let n = order.len();
    let peers: Vec<u32> = (0..n as u16)
        .map(|node| graph.peers(NodeIndex(node)).iter().fold(0, |set, peer| set | 1 << peer.0))
        .collect();
    let (mut parts, mut open) = (0, 0);
    for corrupt in (0u32..1 << n).filter(|set| set.count_ones() <= 2) {
        let among = |from: usize| {
            (0..half).filter(|step| corrupt >> order[(from + step) % n] & 1 == 1).count() as u32
        };
        let t = half as u32 + (0..n).map(among).max().unwrap() + extra;
        for live in (0u32..1 << n).filter(|live| live & corrupt == 0) {
            let mut rest = live;
            while rest != 0 {
                let (mut part, mut edge) = (0, rest & rest.wrapping_neg());
                while edge != 0 {
                    part |= edge;
                    let next = (0..n).filter(|node| edge >> node & 1 == 1);
                    edge = next.fold(0, |set, node| set | peers[node]) & live & !part;
                }
                rest &= !part;
                if part == live {
                    break;
                }
                parts += 1;
                let holders = |node: usize| (peers[node] & (live | corrupt)).count_ones();
                open += u32::from((0..n).all(|node| part >> node & 1 == 0 || holders(node) >= t));
            }
        }
    }
    (parts, open)
}

#[test]
fn no_part_that_was_cut_off_can_be_opened() {
    for (n, half) in [(9, 2), (11, 2), (11, 3), (12, 4)] {
        let graph = sparse(n, 2 * half, coin(u32::from(n)));
        let half = usize::from(half);
        let (parts, open) = parts_that_open(&graph, half, 1);
        assert!(parts > 100, "{parts} parts");
        assert_eq!(open, 0, "n={n}, k={}, of {parts} parts", 2 * half);
        // One share fewer and the property is gone.
        assert!(n < 11 || half > 2 || parts_that_open(&graph, half, 0).1 > 0, "n={n}");
    }
}
