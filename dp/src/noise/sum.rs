//! Samples that are a fixed combination of independent draws from one table, one or a vector of them.
//!
//! It knows no law: what the combination of table laws amounts to is its users' argument.

use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::table::Table;

/// Words that are taken from the generator at a time. The block is overwritten when it is done with.
const BLOCK: usize = 512;

/// `sum_j factor_j x_j` with independent x_j from one table.
#[derive(Debug, Clone)]
pub(super) struct TableSum {
    table: Table,
    factors: Vec<i64>,
}

impl TableSum {
    /// At least one factor, and at most 64.
    pub fn new(table: Table, factors: Vec<i64>) -> Self {
        Self { table, factors }
    }

    /// One sample.
    #[inline]
    pub fn sample<R: RngCore + CryptoRng + ?Sized>(&self, rng: &mut R) -> i64 {
        let draw = |factor: &i64| factor * self.table.value(rng.next_u32(), &mut || rng.next_u32());
        self.factors.iter().map(draw).sum()
    }

    /// Hands an independent sample to every element.
    pub fn each<T, R: RngCore + CryptoRng + ?Sized>(
        &self,
        values: &mut [T],
        rng: &mut R,
        add: impl Fn(&mut T, i64),
    ) {
        // A loop of its own for the counts that matter, so that the compiler sees them.
        match *self.factors.as_slice() {
            [1] => blocks::<T, R, 1>(values, rng, |[word], more, value| {
                add(value, self.table.value(word, more));
            }),
            [1, stride] => blocks::<T, R, 2>(values, rng, |[first, second], more, value| {
                let low = self.table.value(first, more);
                add(value, low + stride * self.table.value(second, more));
            }),
            _ => values.iter_mut().for_each(|value| add(value, self.sample(rng))),
        }
    }
}

/// Calls `f` for every element with N fresh words, which the generator gives in blocks, and with what
/// gives words behind them.
#[inline(always)]
fn blocks<T, R: RngCore + CryptoRng + ?Sized, const N: usize>(
    values: &mut [T],
    rng: &mut R,
    f: impl Fn([u32; N], &mut dyn FnMut() -> u32, &mut T),
) {
    let mut block = Zeroizing::new([0_u8; 4 * BLOCK]);
    for some in values.chunks_mut(BLOCK / N) {
        let bytes = &mut block[..4 * N * some.len()];
        rng.fill_bytes(bytes);
        for (value, bytes) in some.iter_mut().zip(bytes.chunks_exact(4 * N)) {
            let word = |i: usize| match bytes[4 * i..] {
                [a, b, c, d, ..] => u32::from_le_bytes([a, b, c, d]),
                _ => 0,
            };
            f(std::array::from_fn(word), &mut || rng.next_u32(), value);
        }
    }
}
