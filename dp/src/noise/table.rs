//! Inverse-CDF sampling from a table with 128-bit thresholds.
//!
//! A first 64-bit word decides almost always; the second is read only if the first equals a
//! threshold's upper half. A guide of 2^13 entries says where the search starts.

use rand_core::{CryptoRng, RngCore};

const GUIDE_BITS: u32 = 13;
const GUIDE_SIZE: usize = 1 << GUIDE_BITS;

/// Thresholds `P(X <= x)` in units of 2^-128 for x = -K..=K, split into halves.
#[derive(Debug, Clone)]
pub(super) struct Table {
    upper: Vec<u64>,
    lower: Vec<u64>,
    guide: Box<[u32; GUIDE_SIZE]>,
    /// K.
    offset: i64,
}

impl Table {
    /// A symmetric law from its lower tail: `P(X <= -k)` for k = K..=1, strictly positive, ascending.
    pub fn new(tail: &[u128]) -> Self {
        // P(X <= k) = 1 - P(X <= -k-1): the mirrored half is the two's complement, and the last
        // threshold, 1, is the one that no word reaches.
        let mirrored = tail.iter().rev().map(|t| t.wrapping_neg());
        let thresholds = || tail.iter().copied().chain(mirrored.clone()).chain([u128::MAX]);
        let upper: Vec<u64> = thresholds().map(|t| (t >> 64) as u64).collect();
        let lower = thresholds().map(|t| t as u64).collect();
        let mut guide = Box::new([0; GUIDE_SIZE]);
        let mut first = 0;
        for (slot, start) in guide.iter_mut().zip((0_u64..).map(|b| b << (64 - GUIDE_BITS))) {
            while upper.get(first).is_some_and(|u| *u < start) {
                first += 1;
            }
            *slot = first as u32;
        }
        Self { upper, lower, guide, offset: tail.len() as i64 }
    }

    /// One sample: the first x whose threshold exceeds a uniform 128-bit word.
    #[inline]
    pub fn sample<R: RngCore + CryptoRng + ?Sized>(&self, rng: &mut R) -> i64 {
        let word = rng.next_u64();
        let start = self.guide[(word >> (64 - GUIDE_BITS)) as usize] as usize;
        let mut index = start;
        for upper in self.upper.iter().skip(start) {
            if *upper > word {
                break;
            }
            if *upper == word {
                index = self.tie(index, word, rng.next_u64());
                break;
            }
            index += 1;
        }
        index as i64 - self.offset
    }

    /// The search among thresholds that share the upper half; the last entry takes what is left.
    #[cold]
    #[inline(never)]
    fn tie(&self, from: usize, word: u64, second: u64) -> usize {
        let last = self.upper.len() - 1;
        let pairs = self.upper.iter().zip(&self.lower).enumerate().skip(from);
        pairs
            .take_while(|(i, (u, l))| *i < last && (**u, **l) <= (word, second))
            .last()
            .map_or(from, |(i, _)| i + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator that plays back given words.
    struct Words(Vec<u64>);

    impl RngCore for Words {
        fn next_u32(&mut self) -> u32 {
            self.next_u64() as u32
        }
        fn next_u64(&mut self) -> u64 {
            self.0.remove(0)
        }
        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.next_u32() as u8);
        }
    }

    impl CryptoRng for Words {}

    /// The definition, without halves, guide or laziness.
    fn by_definition(tail: &[u128], word: u128) -> i64 {
        let k = tail.len() as i64;
        let below = tail.iter().filter(|t| **t <= word).count() as i64;
        let above = tail.iter().filter(|t| t.wrapping_neg() <= word).count() as i64;
        below + above - k
    }

    #[test]
    fn agrees_with_the_definition_around_every_threshold() {
        // Two thresholds share an upper half, as in a real table's far tail.
        let tail = [3, 9, 1 << 64, (1 << 64) + 1, 1 << 100, 5 << 110, (1 << 127) - 7];
        let table = Table::new(&tail);
        let edges = tail.iter().flat_map(|t| [*t, t.wrapping_neg()]);
        let around = edges.flat_map(|t| (-2..=2).map(move |d| t.wrapping_add_signed(d)));
        for word in around.chain([0, 1, 1 << 126, u128::MAX - 1, u128::MAX]) {
            let mut words = Words(vec![(word >> 64) as u64, word as u64]);
            let value = table.sample(&mut words);
            assert_eq!(value, by_definition(&tail, word), "word {word:#034x}");
        }
    }

    #[test]
    fn second_word_is_read_only_on_a_tie() {
        let table = Table::new(&[1 << 100, 1 << 126]);
        let mut words = Words(vec![12345 << 20, 7]);
        table.sample(&mut words);
        assert_eq!(words.0, [7]);
        let mut words = Words(vec![1 << 36, 7]);
        assert_eq!(table.sample(&mut words), -1);
        assert!(words.0.is_empty());
    }
}
