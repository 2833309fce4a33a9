//! Vectors of lanes modulo `2^b`, and their packed bytes.
//!
//! A vector is worked on in machine words - 16 bits wide if `b <= 16`, else 32 -
//! and travels with `b` bits a lane. Since `2^b` divides `2^16` and `2^32`, the
//! words may wrap as they like: only the lowest `b` bits mean anything, and
//! packing keeps exactly those. This module knows no mask, message or phase.

use std::fmt;
use std::ops::Range;

use zeroize::Zeroize;

use crate::CHUNK_LANES;
use crate::packing;

/// Bits of a lane, 1 to 32: the ring of a round is the integers modulo `2^bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneBits(u8);

impl LaneBits {
    /// All 32 bits of a word.
    pub const FULL: Self = Self(32);

    /// `bits` bits a lane; `None` outside 1 to 32.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits >= 1 && bits <= 32 { Some(Self(bits)) } else { None }
    }

    /// The number of bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether lanes are worked on in 16-bit words.
    #[must_use]
    pub const fn is_narrow(self) -> bool {
        self.0 <= 16
    }

    /// Bytes of `lanes` packed lanes.
    #[must_use]
    pub const fn packed_bytes(self, lanes: usize) -> usize {
        (lanes * self.0 as usize).div_ceil(8)
    }
}

/// A vector of lanes. It may hold a node's own vector: it is printed by its length
/// only.
#[derive(Clone, PartialEq, Eq)]
pub enum Lanes {
    /// 16-bit words, for up to 16 bits a lane.
    Narrow(Vec<u16>),
    /// 32-bit words, for 17 to 32 bits a lane.
    Wide(Vec<u32>),
}

impl Lanes {
    /// `length` zeros in the words that `bits` calls for.
    #[must_use]
    pub fn zeros(bits: LaneBits, length: usize) -> Self {
        if bits.is_narrow() { Self::Narrow(vec![0; length]) } else { Self::Wide(vec![0; length]) }
    }

    /// Number of lanes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Narrow(words) => words.len(),
            Self::Wide(words) => words.len(),
        }
    }

    /// Whether there is no lane.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the words are those that `bits` calls for.
    #[must_use]
    pub fn fits(&self, bits: LaneBits) -> bool {
        matches!(self, Self::Narrow(_)) == bits.is_narrow()
    }

    /// The lowest `bits` bits of every lane.
    #[must_use]
    pub fn reduced(mut self, bits: LaneBits) -> Self {
        match &mut self {
            Self::Narrow(words) if bits.bits() < 16 => {
                let mask = (1u16 << bits.bits()) - 1;
                words.iter_mut().for_each(|word| *word &= mask);
            }
            Self::Wide(words) if bits.bits() < 32 => {
                let mask = (1u32 << bits.bits()) - 1;
                words.iter_mut().for_each(|word| *word &= mask);
            }
            _ => {}
        }
        self
    }

    /// The packed bytes of the whole vector, little-endian, `bits` bits a lane.
    #[must_use]
    pub fn pack(&self, bits: LaneBits) -> Vec<u8> {
        self.pack_range(bits, 0..self.len())
    }

    /// Reads what [`Self::pack`] wrote; `None` if the length is not that of `length`
    /// lanes or a bit behind the last lane is set.
    #[must_use]
    pub fn unpack(bits: LaneBits, length: usize, bytes: &[u8]) -> Option<Self> {
        if !is_packed(bits, length, bytes) {
            return None;
        }
        let mut lanes = Self::zeros(bits, length);
        lanes.add_packed(bits, 0, bytes);
        Some(lanes)
    }

    /// The packed bytes of a chunk of [`CHUNK_LANES`] lanes; empty past the end.
    pub(crate) fn pack_chunk(&self, bits: LaneBits, index: usize) -> Vec<u8> {
        self.pack_range(bits, chunk_range(self.len(), index))
    }

    /// Adds packed lanes to those from `first` on; what lies past the end is left out.
    pub(crate) fn add_packed(&mut self, bits: LaneBits, first: usize, bytes: &[u8]) {
        match self {
            Self::Narrow(words) => {
                packing::add(bits, bytes, words.get_mut(first..).unwrap_or_default());
            }
            Self::Wide(words) => {
                packing::add(bits, bytes, words.get_mut(first..).unwrap_or_default());
            }
        }
    }

    fn pack_range(&self, bits: LaneBits, range: Range<usize>) -> Vec<u8> {
        match self {
            Self::Narrow(words) => packing::pack(bits, words.get(range).unwrap_or_default()),
            Self::Wide(words) => packing::pack(bits, words.get(range).unwrap_or_default()),
        }
    }
}

impl From<Vec<u16>> for Lanes {
    fn from(words: Vec<u16>) -> Self {
        Self::Narrow(words)
    }
}

impl From<Vec<u32>> for Lanes {
    fn from(words: Vec<u32>) -> Self {
        Self::Wide(words)
    }
}

impl Zeroize for Lanes {
    fn zeroize(&mut self) {
        match self {
            Self::Narrow(words) => words.zeroize(),
            Self::Wide(words) => words.zeroize(),
        }
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if matches!(self, Self::Narrow(_)) { 16 } else { 32 };
        write!(f, "Lanes({} of {width} bits, <redacted>)", self.len())
    }
}

/// Chunks of a vector of `length` lanes.
pub(crate) fn chunk_count(length: usize) -> usize {
    length.div_ceil(CHUNK_LANES)
}

/// The lanes of a chunk.
pub(crate) fn chunk_range(length: usize, index: usize) -> Range<usize> {
    let first = index.saturating_mul(CHUNK_LANES).min(length);
    first..(first + CHUNK_LANES).min(length)
}

/// Whether bytes are the one encoding of `lanes` lanes.
pub(crate) fn is_packed(bits: LaneBits, lanes: usize, bytes: &[u8]) -> bool {
    let used = lanes * usize::from(bits.bits()) % 8;
    bytes.len() == bits.packed_bytes(lanes)
        && (used == 0 || bytes.last().is_none_or(|last| last >> used == 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn packing_keeps_the_lowest_bits(bits in 1u8..=32, words in proptest::collection::vec(any::<u32>(), 0..300)) {
            let bits = LaneBits::new(bits).unwrap();
            let lanes: Lanes = if bits.is_narrow() {
                words.iter().map(|word| *word as u16).collect::<Vec<_>>().into()
            } else {
                words.clone().into()
            };
            let packed = lanes.pack(bits);
            prop_assert_eq!(packed.len(), bits.packed_bytes(words.len()));
            let back = Lanes::unpack(bits, words.len(), &packed).unwrap();
            prop_assert_eq!(back, lanes.reduced(bits));
        }

        #[test]
        fn packed_addition_is_addition_modulo(bits in 1u8..=32, pairs in proptest::collection::vec(any::<(u32, u32)>(), 1..200)) {
            let bits = LaneBits::new(bits).unwrap();
            let of = |pick: fn(&(u32, u32)) -> u32| -> Lanes {
                let words = pairs.iter().map(pick);
                if bits.is_narrow() { words.map(|word| word as u16).collect::<Vec<_>>().into() }
                else { words.collect::<Vec<_>>().into() }
            };
            let (mut a, b) = (of(|pair| pair.0), of(|pair| pair.1));
            let sum = of(|pair| pair.0.wrapping_add(pair.1));
            a.add_packed(bits, 0, &b.pack(bits));
            prop_assert_eq!(a.reduced(bits), sum.reduced(bits));
        }
    }

    #[test]
    fn only_the_one_encoding_is_taken() {
        let bits = LaneBits::new(3).unwrap();
        let packed = Lanes::from(vec![1u16, 2, 7]).pack(bits);
        assert_eq!(packed, [0b1101_0001, 0b1]);
        assert!(Lanes::unpack(bits, 3, &packed).is_some());
        assert!(Lanes::unpack(bits, 3, &packed[..1]).is_none());
        assert!(Lanes::unpack(bits, 3, &[packed[0], 0b11]).is_none(), "a bit behind the last lane");
        assert!(LaneBits::new(0).is_none() && LaneBits::new(33).is_none());
        assert_eq!(format!("{:?}", Lanes::from(vec![5u32])), "Lanes(1 of 32 bits, <redacted>)");
    }

    #[test]
    fn chunks_cover_the_vector_once() {
        for length in [0, 1, CHUNK_LANES, CHUNK_LANES + 1, 3 * CHUNK_LANES - 1] {
            let covered: usize =
                (0..chunk_count(length)).map(|index| chunk_range(length, index).len()).sum();
            assert_eq!(covered, length);
            assert!(chunk_range(length, chunk_count(length)).is_empty());
        }
    }
}
