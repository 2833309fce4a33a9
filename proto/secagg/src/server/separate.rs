//! Where two nodes contradict each other and nobody else can tell who is wrong: whom
//! to leave out. It knows nodes and pairs of them, not what they contradict each
//! other about.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{NodeIndex, NodeSet};

/// Whom of `present` to leave out so that no pair of present nodes is left, each with
/// the nodes it stands against, in words.
///
/// An honest node contradicts only corrupt ones, so at most C different nodes. Who
/// contradicts more is a liar and goes alone. Of the pairs that are left one after the
/// other goes whole: each has a liar in it, so no more honest nodes are lost than
/// corrupt ones, whoever says what about whom.
pub(super) fn separate(
    pairs: Vec<(NodeIndex, NodeIndex)>,
    present: &NodeSet,
    corrupt: u16,
) -> Vec<(NodeIndex, String)> {
    let mut against: BTreeMap<NodeIndex, BTreeSet<NodeIndex>> = BTreeMap::new();
    for (one, other) in pairs.into_iter().filter(|(one, other)| one != other) {
        against.entry(one).or_default().insert(other);
        against.entry(other).or_default().insert(one);
    }
    // Where no corrupt node is planned for, one that is there all the same is one liar.
    let corrupt = corrupt.max(1);
    let mut gone: BTreeSet<NodeIndex> = BTreeSet::new();
    for (node, others) in &against {
        if others.len() > usize::from(corrupt) {
            gone.insert(*node);
        }
    }
    for (node, others) in &against {
        if gone.contains(node) || !present.contains(*node) {
            continue;
        }
        let open = |other: &&NodeIndex| present.contains(**other) && !gone.contains(other);
        if let Some(other) = others.iter().find(open).copied() {
            gone.extend([*node, other]);
        }
    }
    gone.iter()
        .filter(|node| present.contains(**node))
        .map(|node| {
            let others = against.get(node).into_iter().flatten();
            let names: Vec<String> = others.map(ToString::to_string).collect();
            (*node, names.join(", "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(pairs: &[(u16, u16)], corrupt: u16) -> Vec<u16> {
        let pairs = pairs.iter().map(|(one, other)| (NodeIndex(*one), NodeIndex(*other)));
        let found = separate(pairs.collect(), &NodeSet::full(10), corrupt);
        found.into_iter().map(|(node, _)| node.0).collect()
    }

    #[test]
    fn who_contradicts_more_than_the_corrupt_could_goes_alone() {
        assert_eq!(out(&[(1, 4), (2, 4), (4, 3)], 2), [4]);
        assert_eq!(out(&[(1, 4), (2, 4), (4, 3)], 3), [1, 4]);
    }

    #[test]
    fn a_single_pair_goes_together_however_often_it_is_named() {
        let pairs = vec![(NodeIndex(2), NodeIndex(5)), (NodeIndex(5), NodeIndex(2))];
        let found = separate(pairs, &NodeSet::full(10), 2);
        assert_eq!(found, [(NodeIndex(2), "5".to_owned()), (NodeIndex(5), "2".to_owned())]);
        assert!(out(&[], 2).is_empty() && out(&[(3, 3)], 2).is_empty());
    }

    #[test]
    fn colluders_lose_as_many_as_they_take_along() {
        // 0 and 1 lie about 5; they do not outvote it.
        assert_eq!(out(&[(0, 5), (1, 5)], 2), [0, 5]);
        // 0, 1, 2 lie about 5, 6 and 7: at most three honest nodes for three liars.
        let all: Vec<_> = (0..3).flat_map(|liar| (5..8).map(move |node| (liar, node))).collect();
        assert_eq!(out(&all, 3), [0, 1, 2, 5, 6, 7]);
    }

    #[test]
    fn who_is_gone_counts_as_a_voice_and_is_not_named() {
        let present = NodeSet::of(10, [3, 4, 5].map(NodeIndex));
        let pairs = [(0, 4), (1, 4), (2, 4)].map(|(a, b)| (NodeIndex(a), NodeIndex(b)));
        assert_eq!(separate(pairs.to_vec(), &present, 2).len(), 1);
        assert!(separate(pairs[..2].to_vec(), &present, 2).is_empty());
    }
}
