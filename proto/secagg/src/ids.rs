//! Who a message is about: positions in the roster, sets of them, and parties.
//! It knows nothing of keys or rounds.

use std::fmt;

use crate::codec::{DecodeError, Reader, Writer};

/// Position of a node in the roster of its job, counted from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u16);

impl NodeIndex {
    pub(crate) fn position(self) -> usize {
        usize::from(self.0)
    }

    pub(crate) fn to_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }
}

impl fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A party of the protocol, as named in faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The one aggregator of the job.
    Aggregator,
    /// A node of the roster.
    Node(NodeIndex),
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aggregator => f.write_str("the aggregator"),
            Self::Node(node) => write!(f, "node {node}"),
        }
    }
}

/// A set of nodes out of a roster of fixed size, kept as a canonical bitmap:
/// two equal sets have equal encodings. Bit `i` of byte `i / 8` (least
/// significant first) stands for node `i`; unused bits are zero.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NodeSet {
    roster: u16,
    bits: Vec<u8>,
}

impl NodeSet {
    /// The empty set over a roster of `roster` nodes.
    #[must_use]
    pub fn new(roster: u16) -> Self {
        Self { roster, bits: vec![0; usize::from(roster).div_ceil(8)] }
    }

    /// All nodes of a roster of `roster` nodes.
    #[must_use]
    pub fn full(roster: u16) -> Self {
        Self::of(roster, (0..roster).map(NodeIndex))
    }

    /// The named nodes; indices outside the roster are left out.
    #[must_use]
    pub fn of(roster: u16, nodes: impl IntoIterator<Item = NodeIndex>) -> Self {
        let mut set = Self::new(roster);
        for node in nodes {
            set.insert(node);
        }
        set
    }

    /// Adds a node. True if it was not there before; false, with no change,
    /// if it was, or if the index lies outside the roster.
    pub fn insert(&mut self, node: NodeIndex) -> bool {
        if node.0 >= self.roster {
            return false;
        }
        match self.bits.get_mut(node.position() / 8) {
            Some(byte) if *byte & bit(node) == 0 => {
                *byte |= bit(node);
                true
            }
            _ => false,
        }
    }

    /// Removes a node; true if it was there.
    pub fn remove(&mut self, node: NodeIndex) -> bool {
        match self.bits.get_mut(node.position() / 8) {
            Some(byte) if *byte & bit(node) != 0 => {
                *byte &= !bit(node);
                true
            }
            _ => false,
        }
    }

    /// Whether the node is in the set.
    #[must_use]
    pub fn contains(&self, node: NodeIndex) -> bool {
        self.bits.get(node.position() / 8).is_some_and(|byte| byte & bit(node) != 0)
    }

    /// The nodes in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        (0..self.roster).map(NodeIndex).filter(|node| self.contains(*node))
    }

    /// How many nodes are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bits.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Whether no node is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|byte| *byte == 0)
    }

    /// Size of the roster the set is taken from.
    #[must_use]
    pub fn roster_size(&self) -> u16 {
        self.roster
    }

    /// Whether every node of `self` is in `other`, both over the same roster.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.roster == other.roster && self.bits.iter().zip(&other.bits).all(|(a, b)| a & !b == 0)
    }

    /// Nodes in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combined(other, |a, b| a & b)
    }

    /// Nodes in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        for node in other.iter() {
            union.insert(node);
        }
        union
    }

    /// Nodes in `self` that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combined(other, |a, b| a & !b)
    }

    /// Byte by byte; where the other set is over a smaller roster it has nobody.
    fn combined(&self, other: &Self, with: impl Fn(u8, u8) -> u8) -> Self {
        let others = other.bits.iter().copied().chain(std::iter::repeat(0));
        let bits = self.bits.iter().zip(others).map(|(a, b)| with(*a, b)).collect();
        Self { roster: self.roster, bits }
    }

    /// The canonical bytes: roster size as 16 bits little-endian, then the bitmap.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.finish()
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u16(self.roster);
        writer.raw(&self.bits);
    }

    /// Reads a set over exactly `roster` nodes.
    pub(crate) fn read(reader: &mut Reader<'_>, roster: u16) -> Result<Self, DecodeError> {
        let size = reader.u16()?;
        if size != roster {
            return Err(DecodeError::Malformed("a node set is over another roster size"));
        }
        let bits = reader.raw(usize::from(roster).div_ceil(8))?.to_vec();
        let used = usize::from(roster) % 8;
        if used != 0 && bits.last().is_some_and(|last| last >> used != 0) {
            return Err(DecodeError::Malformed("a node set has bits outside the roster"));
        }
        Ok(Self { roster, bits })
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nobody");
        }
        for (position, node) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{node}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeSet({self} of {})", self.roster)
    }
}

fn bit(node: NodeIndex) -> u8 {
    1 << (node.0 % 8)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn behaves_as_a_set(n in 1u16..200, ops in proptest::collection::vec((0u16..220, any::<bool>()), 0..60)) {
            let (mut set, mut model) = (NodeSet::new(n), BTreeSet::new());
            for (index, add) in ops {
                let node = NodeIndex(index);
                if add {
                    prop_assert_eq!(set.insert(node), index < n && model.insert(node));
                } else {
                    prop_assert_eq!(set.remove(node), model.remove(&node));
                }
            }
            prop_assert_eq!(set.len(), model.len());
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert!(set.is_subset(&NodeSet::full(n)));
            let bytes = set.encode();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(NodeSet::read(&mut reader, n), Ok(set));
        }
    }

    #[test]
    fn bits_outside_the_roster_are_refused() {
        let mut bytes = NodeSet::full(9).encode();
        assert!(NodeSet::read(&mut Reader::new(&bytes), 9).is_ok());
        *bytes.last_mut().unwrap() |= 0b10;
        assert!(NodeSet::read(&mut Reader::new(&bytes), 9).is_err());
        assert!(NodeSet::read(&mut Reader::new(&NodeSet::full(8).encode()), 9).is_err());
    }

    #[test]
    fn subsets_are_over_one_roster() {
        assert!(!NodeSet::full(3).is_subset(&NodeSet::full(4)));
        assert!(NodeSet::of(4, [NodeIndex(1)]).is_subset(&NodeSet::full(4)));
        assert!(!NodeSet::full(4).is_subset(&NodeSet::of(4, [NodeIndex(1)])));
    }
}
