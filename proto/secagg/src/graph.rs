//! Who shares keys, masks and shares with whom; fixed for an epoch. It knows
//! no key and no message, and not how the coin was tossed.
//!
//! Up to 128 nodes everybody is everybody's neighbour. Above, the nodes stand in
//! a ring in random order and each has the k/2 next ones on either side as
//! neighbours: the Harary graph of Bell, Bonawitz, Gascon, Lepoint, Raykova,
//! *Secure Single-Server Aggregation with (Poly)Logarithmic Overhead*, CCS 2020.
//! It is drawn on the full roster, also when a round has a smaller cohort.
//!
//! # The order of the ring
//!
//! Words come from the blocks `hash("graph", [coin, counter])` with `counter` =
//! 0, 1, 2, ... as 8 bytes little-endian ([`crate::hash`] gives the layout of the
//! hash); each block of 32 bytes is eight 32-bit little-endian words, used in
//! order. To draw uniformly from `0..m`, take the next word `w` until
//! `w < m * floor(2^32 / m)`, and return `w mod m`.
//!
//! The ring starts as `[0, 1, ..., n - 1]`. For `i = n - 1, n - 2, ..., 1`, draw
//! `j` from `0..i + 1` and swap the entries `i` and `j` (Fisher and Yates). The
//! entry at a place is the [`NodeIndex`] of the node that stands there.

use crate::digest::{Digest, hash};
use crate::ids::{NodeIndex, NodeSet};
use crate::params::Thresholds;

/// Who shares keys, masks and shares with whom; fixed for an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    n: u16,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Complete,
    Ring {
        /// Neighbours on either side.
        half: u16,
        /// Node at each place.
        ring: Vec<NodeIndex>,
        /// Place of each node.
        places: Vec<u16>,
        /// Neighbours of each node.
        peers: Vec<NodeSet>,
    },
}

impl Graph {
    /// The graph of an epoch. If `thresholds.degree` says complete, the coin is
    /// ignored. The thresholds are those of a [`crate::Roster`], hence checked.
    #[must_use]
    pub fn of(thresholds: &Thresholds, coin: &Digest) -> Self {
        let n = thresholds.n;
        if thresholds.is_complete() {
            return Self { n, shape: Shape::Complete };
        }
        let ring = shuffled(n, coin);
        let mut places = vec![0; ring.len()];
        for (place, node) in (0u16..).zip(&ring) {
            if let Some(slot) = places.get_mut(node.position()) {
                *slot = place;
            }
        }
        let half = thresholds.degree / 2;
        let around = |place: usize| {
            let size = ring.len();
            let steps = 1..=usize::from(half);
            let places = steps.flat_map(move |step| [place + step, place + size - step]);
            NodeSet::of(n, places.filter_map(|at| ring.get(at % size).copied()))
        };
        let peers = places.iter().map(|place| around(usize::from(*place))).collect();
        Self { n, shape: Shape::Ring { half, ring, places, peers } }
    }

    /// Whether every node is a neighbour of every other one.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.shape == Shape::Complete
    }

    /// The neighbours of a node, without itself; nobody for an index outside the
    /// roster.
    #[must_use]
    pub fn peers(&self, node: NodeIndex) -> NodeSet {
        if node.0 >= self.n {
            return NodeSet::new(self.n);
        }
        match &self.shape {
            Shape::Complete => {
                let mut peers = NodeSet::full(self.n);
                peers.remove(node);
                peers
            }
            Shape::Ring { peers, .. } => {
                peers.get(node.position()).cloned().unwrap_or_else(|| NodeSet::new(self.n))
            }
        }
    }

    /// Whether two different nodes of the roster are neighbours.
    #[must_use]
    pub fn are_peers(&self, a: NodeIndex, b: NodeIndex) -> bool {
        match &self.shape {
            Shape::Complete => a != b && a.0 < self.n && b.0 < self.n,
            Shape::Ring { .. } => self.slot(a, b).is_some(),
        }
    }

    /// Who holds shares of a dealer's seeds. In the complete graph all nodes do,
    /// the dealer too; in the sparse one its neighbours. Nobody for an index
    /// outside the roster.
    #[must_use]
    pub fn holders(&self, dealer: NodeIndex) -> NodeSet {
        match &self.shape {
            Shape::Complete if dealer.0 < self.n => NodeSet::full(self.n),
            _ => self.peers(dealer),
        }
    }

    /// The largest part of a set in which everybody has at least `shamir_t` holders of
    /// its shares: only such sets can be summed up and opened.
    #[must_use]
    pub fn openable(&self, set: NodeSet, shamir_t: u16) -> NodeSet {
        let mut set = set;
        loop {
            let holders = |node: NodeIndex| self.holders(node).intersection(&set).len();
            let enough = |node: &NodeIndex| holders(*node) >= usize::from(shamir_t);
            let kept = NodeSet::of(self.n, set.iter().filter(enough));
            if kept == set {
                return set;
            }
            set = kept;
        }
    }

    /// How many holders within a set the worst of its nodes has; 0 for nobody.
    pub(crate) fn fewest_holders(&self, set: &NodeSet) -> usize {
        set.iter().map(|node| self.holders(node).intersection(set).len()).min().unwrap_or(0)
    }

    /// The Shamir slot of a holder in a dealer's sharing, `None` if it holds no
    /// share.
    ///
    /// Complete: the holder's index plus 1. Sparse: counted along the ring from
    /// the dealer, the holder k/2 places before it has slot 1, the one just
    /// before it k/2, the one just after it k/2 + 1, the one k/2 places after
    /// it k.
    #[must_use]
    pub fn slot(&self, dealer: NodeIndex, holder: NodeIndex) -> Option<u8> {
        if dealer.0 >= self.n || holder.0 >= self.n {
            return None;
        }
        let slot = match &self.shape {
            Shape::Complete => holder.0.checked_add(1)?,
            Shape::Ring { half, places, .. } => {
                let place = |node: NodeIndex| places.get(node.position()).copied();
                let (from, to) = (place(dealer)?, place(holder)?);
                let after = if to >= from { to - from } else { to + (self.n - from) };
                let before = self.n - after;
                if (1..=*half).contains(&after) {
                    half + after
                } else if (1..=*half).contains(&before) {
                    half + 1 - before
                } else {
                    return None;
                }
            }
        };
        u8::try_from(slot).ok()
    }
}

/// The nodes in the order of the module's documentation.
fn shuffled(n: u16, coin: &Digest) -> Vec<NodeIndex> {
    let mut ring: Vec<NodeIndex> = (0..n).map(NodeIndex).collect();
    let mut words = Words { coin, counter: 0, block: Vec::new() };
    for i in (1..n).rev() {
        let j = words.below(u32::from(i) + 1);
        ring.swap(usize::from(i), j);
    }
    ring
}

/// The stream of words that follows from a coin.
struct Words<'a> {
    coin: &'a Digest,
    counter: u64,
    /// Unused words of the block, the next one last.
    block: Vec<u32>,
}

impl Words<'_> {
    /// A uniform number below `m`, which is not 0.
    fn below(&mut self, m: u32) -> usize {
        let used = (1u64 << 32) / u64::from(m) * u64::from(m);
        loop {
            let word = self.next();
            if u64::from(word) < used {
                return (word % m) as usize;
            }
        }
    }

    fn next(&mut self) -> u32 {
        loop {
            if let Some(word) = self.block.pop() {
                return word;
            }
            let block = hash("graph", &[&self.coin.0, &self.counter.to_le_bytes()]);
            self.counter += 1;
            let words = block.0.as_chunks::<4>().0;
            self.block.extend(words.iter().rev().map(|word| u32::from_le_bytes(*word)));
        }
    }
}

#[cfg(test)]
mod tests;
