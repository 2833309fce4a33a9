//! Inverse-CDF sampling from a table with 128-bit thresholds.
//!
//! A sample is the number of thresholds that a uniform 128-bit word reaches. Its first 32 bits decide
//! almost always, by one lookup and one comparison without a branch; the other 96 are read only if
//! the first 32 equal those of a threshold. It knows no law and where no word comes from.

/// Bits of a word that are looked at first.
const FIRST: u32 = 32;

/// Set in cells whose thresholds have to be searched.
const SEARCH: u32 = 1 << 31;

/// Thresholds in units of 2^-128, ascending, and a guide over the first bits of a word.
#[derive(Debug, Clone)]
pub(super) struct Table {
    thresholds: Vec<u128>,
    /// By the word's first bits. Lower half: how many thresholds lie below the cell, and
    /// [`SEARCH`] if more than one lies in it. Upper half: the first 32 bits of the only one, or all
    /// ones if there is none.
    cells: Box<[u64]>,
    /// How far a 32-bit word is shifted to give its cell.
    shift: u32,
    /// Value of a word below all thresholds, negated.
    offset: i64,
}

impl Table {
    /// A symmetric law from its lower tail: `P(X <= -k)` for k = K..=1 in units of 2^-128, strictly
    /// positive, ascending, below one half. `spread`, about its standard deviation, only decides
    /// how fine the guide is.
    pub fn new(tail: &[u128], spread: f64) -> Self {
        // P(X <= k) = 1 - P(X <= -k-1): the mirrored half is the two's complement. P(X <= K) = 1
        // needs no threshold.
        let mirrored = tail.iter().rev().map(|t| t.wrapping_neg());
        let thresholds: Vec<u128> = tail.iter().copied().chain(mirrored).collect();
        let bits = guide_bits(spread);
        let cells = cells(&thresholds, bits);
        Self { thresholds, cells, shift: FIRST - bits, offset: tail.len() as i64 }
    }

    /// The sample that belongs to a uniform word; `more` gives the uniform words behind it.
    #[inline]
    pub fn value(&self, word: u32, more: &mut dyn FnMut() -> u32) -> i64 {
        let cell = self.cells[(word >> self.shift) as usize];
        let (bound, below) = ((cell >> 32) as u32, cell as u32);
        if word == bound || below >= SEARCH {
            return self.search(word, below & !SEARCH, more);
        }
        i64::from(below + u32::from(word > bound)) - self.offset
    }

    /// The definition among the thresholds of one cell, lazily.
    #[cold]
    #[inline(never)]
    fn search(&self, word: u32, below: u32, more: &mut dyn FnMut() -> u32) -> i64 {
        let next = self.cells.get((word >> self.shift) as usize + 1);
        let end = next.map_or(self.thresholds.len(), |cell| (*cell as u32 & !SEARCH) as usize);
        let below = below as usize;
        let inside = self.thresholds.get(below..end).unwrap_or_default();
        let mut reached = inside.partition_point(|t| first(*t) < word);
        if inside.get(reached).is_some_and(|t| first(*t) == word) {
            let full = (0..3).fold(u128::from(word), |w, _| (w << 32) | u128::from(more()));
            reached = inside.partition_point(|t| *t <= full);
        }
        (below + reached) as i64 - self.offset
    }
}

/// The first 32 bits.
fn first(threshold: u128) -> u32 {
    (threshold >> (128 - FIRST)) as u32
}

/// So many that a cell is 1/26 of the largest probability: about 1 % of all words then fall into cells
/// with several thresholds, which lie in the tails.
fn guide_bits(spread: f64) -> u32 {
    (spread.max(1.0).log2().ceil() as u32 + 6).clamp(8, 18)
}

fn cells(thresholds: &[u128], bits: u32) -> Box<[u64]> {
    let mut below = 0;
    let cell = |number: u32| {
        let rest = thresholds.get(below..).unwrap_or_default();
        let inside = rest.iter().take_while(|t| first(**t) >> (FIRST - bits) == number).count();
        let (bound, flag) = match (inside, rest.first()) {
            (0, _) | (_, None) => (u32::MAX, 0),
            (1, Some(only)) => (first(*only), 0),
            _ => (0, SEARCH),
        };
        let cell = (u64::from(bound) << 32) | u64::from(below as u32 | flag);
        below += inside;
        cell
    };
    (0..1 << bits).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, without cells or laziness.
    fn by_definition(tail: &[u128], word: u128) -> i64 {
        let k = tail.len() as i64;
        let below = tail.iter().filter(|t| **t <= word).count() as i64;
        let above = tail.iter().filter(|t| t.wrapping_neg() <= word).count() as i64;
        below + above - k
    }

    /// The table's answer to a word, and how many further words it asked for.
    fn asked(table: &Table, word: u128) -> (i64, u32) {
        let mut read = 1;
        let value = table.value(first(word), &mut || {
            read += 1;
            (word >> (128 - 32 * read)) as u32
        });
        (value, read - 1)
    }

    fn around(tail: &[u128]) -> impl Iterator<Item = u128> {
        let edges = tail.iter().flat_map(|t| [*t, t.wrapping_neg()]);
        edges.flat_map(|t| {
            let near = (-2..=2).map(move |d| t.wrapping_add_signed(d));
            near.chain([t ^ (1 << 96), t ^ (1 << 95), t | u128::MAX >> 32, t & !(u128::MAX >> 32)])
        })
    }

    #[test]
    fn agrees_with_the_definition_around_every_threshold() {
        // Thresholds that share the first 32, 64 and 96 bits, as in a real table's far tail.
        let tail = [3, 3, 9, 1 << 64, (1 << 64) + 1, 1 << 100, 5 << 110, 5 << 120, (1 << 127) - 7];
        for spread in [0.5, 100.0, 1e6] {
            let table = Table::new(&tail, spread);
            for word in around(&tail).chain([0, 1, 1 << 126, u128::MAX - 1, u128::MAX]) {
                let (value, _) = asked(&table, word);
                assert_eq!(value, by_definition(&tail, word), "word {word:#034x}");
            }
        }
    }

    #[test]
    fn further_words_are_read_only_on_a_tie() {
        let table = Table::new(&[1 << 100, 1 << 126], 1.0);
        assert_eq!(asked(&table, 12345 << 100), (-1, 0));
        assert_eq!(asked(&table, 1 << 100), (-1, 3));
        assert_eq!(asked(&table, (1 << 100) - 1), (-2, 0));
        // Whatever the first half, all 128 bits count.
        assert_eq!(asked(&table, (1 << 126) | 1), (0, 3));
        assert_eq!(asked(&table, (1_u128 << 126).wrapping_neg() - 1), (0, 0));
        assert_eq!(asked(&table, (1_u128 << 126).wrapping_neg()), (1, 3));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            mut tail in prop::collection::vec(1..1_u128 << 127, 1..40),
            shifts in prop::collection::vec(0..120_u32, 40),
            words in prop::collection::vec(any::<u128>(), 20),
            spread in 0.5..2000.0_f64,
        ) {
            tail.iter_mut().zip(&shifts).for_each(|(t, s)| *t = (*t >> s).max(1));
            tail.sort_unstable();
            let table = Table::new(&tail, spread);
            for word in words.into_iter().chain(around(&tail)) {
                prop_assert_eq!(asked(&table, word).0, by_definition(&tail, word));
            }
        }
    }
}
