//! The rotation of compact encoding: random signs and a Walsh-Hadamard transform, which spread a
//! vector evenly over its coordinates and keep its length.
//!
//! Public and derived from a key: every party turns the same way, and the published sum is turned back.
//! It knows no data, noise or job. Only `+ - *` and one square root in a fixed order: the same bits
//! everywhere.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};

/// Largest block, 2^20 coordinates: eight megabytes, and the last levels still fit a cache.
const MAX_LOG_BLOCK: u32 = 20;

/// A rotation of vectors of one length.
///
/// The vector is cut into blocks of 2^k coordinates, k the largest that fits (at most 20). Where a rest
/// is left, a last block lies over the end of the vector and is turned after the others, so nothing is
/// padded. Each block is `H S / sqrt(2^k)`, S signs of its own (Ailon and Chazelle 2009, "The fast
/// Johnson-Lindenstrauss transform"): an orthogonal matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    len: usize,
    key: [u8; 32],
}

impl Rotation {
    /// For vectors of `len` coordinates; the signs follow from the key, which is public.
    pub fn new(len: usize, key: [u8; 32]) -> Self {
        Self { len, key }
    }

    /// Coordinates of a block.
    pub fn block(dimension: usize) -> usize {
        match dimension.checked_ilog2() {
            None => 0,
            Some(log) => 1 << log.min(MAX_LOG_BLOCK),
        }
    }

    /// Turns the first `len` coordinates of a vector; others are left alone.
    pub fn forward(&self, vector: &mut [f64]) {
        for (index, start) in self.starts().enumerate() {
            let Some(block) = vector.get_mut(start..start + Self::block(self.len)) else { return };
            self.flip(index, block);
            hadamard(block);
        }
    }

    /// Undoes [`Rotation::forward`], up to the rounding of f64.
    pub fn inverse(&self, vector: &mut [f64]) {
        let starts: Vec<usize> = self.starts().collect();
        for (index, start) in starts.into_iter().enumerate().rev() {
            let Some(block) = vector.get_mut(start..start + Self::block(self.len)) else { return };
            hadamard(block);
            self.flip(index, block);
        }
    }

    /// Where blocks start, in the order in which they are turned.
    fn starts(&self) -> impl Iterator<Item = usize> + use<> {
        let block = Self::block(self.len).max(1);
        let whole = self.len / block;
        let rest = (!self.len.is_multiple_of(block)).then(|| self.len - block);
        (0..whole).map(move |i| i * block).chain(rest)
    }

    /// Multiplies by the signs of a block: bits of AES-256-CTR under the key, a counter range to a
    /// block.
    fn flip(&self, index: usize, block: &mut [f64]) {
        let mut start = [0; 16];
        start[..8].copy_from_slice(&(index as u64).to_be_bytes());
        let mut stream = Ctr128BE::<Aes256>::new((&self.key).into(), &start.into());
        let mut bits = [0_u8; 1024];
        for values in block.chunks_mut(bits.len() * 8) {
            bits.fill(0);
            stream.apply_keystream(&mut bits);
            for (byte, eight) in bits.iter().zip(values.chunks_mut(8)) {
                for (bit, value) in eight.iter_mut().enumerate() {
                    let sign = u64::from(byte >> bit & 1) << 63;
                    *value = f64::from_bits(value.to_bits() ^ sign);
                }
            }
        }
    }
}

/// Width below which levels are taken together, so that a block goes through the caches once.
const TILE: usize = 1 << 12;

/// The Walsh-Hadamard transform over the square root of the length (a power of two), in place.
fn hadamard(block: &mut [f64]) {
    let n = block.len();
    for tile in block.chunks_mut(TILE) {
        levels(tile, 1);
    }
    if n > TILE {
        levels(block, TILE);
    }
    let factor = 1.0 / (n as f64).sqrt();
    block.iter_mut().for_each(|v| *v *= factor);
}

/// The levels from width `first` on.
fn levels(values: &mut [f64], first: usize) {
    let mut half = first;
    while half < values.len() {
        for pair in values.chunks_exact_mut(half * 2) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn norm(v: &[f64]) -> f64 {
        v.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    #[test]
    fn two_by_two() {
        let mut v = [3.0, 1.0];
        hadamard(&mut v);
        let root = 2.0_f64.sqrt();
        assert!((v[0] - 4.0 / root).abs() < 1e-15 && (v[1] - 2.0 / root).abs() < 1e-15);
    }

    #[test]
    fn tiles_do_not_matter() {
        let n = 4 * TILE;
        let v: Vec<f64> = (0..n).map(|i| ((i * 7919) % 101) as f64).collect();
        let (mut a, mut b) = (v.clone(), v);
        hadamard(&mut a);
        levels(&mut b, 1);
        let factor = 1.0 / (n as f64).sqrt();
        b.iter_mut().for_each(|x| *x *= factor);
        assert_eq!(a, b);
    }

    /// A vector in one coordinate, the worst for a clamp, becomes as flat as chance allows.
    #[test]
    fn one_coordinate_is_spread() {
        for len in [1 << 10, 1500, 3 << 10] {
            for at in [0, len / 2, len - 1] {
                let mut v = vec![0.0; len];
                v[at] = 1.0;
                Rotation::new(len, [7; 32]).forward(&mut v);
                let largest = v.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                let even = 1.0 / (Rotation::block(len) as f64).sqrt();
                assert!(largest < 6.0 * even, "{len} {at}: {largest} {even}");
            }
        }
    }

    #[test]
    fn blocks_have_signs_of_their_own() {
        let mut v = vec![1.0; 4096 * 3];
        Rotation { len: 4096 * 3, key: [1; 32] }.flip(0, &mut v[..4096]);
        Rotation { len: 4096 * 3, key: [1; 32] }.flip(1, &mut v[4096..8192]);
        Rotation { len: 4096 * 3, key: [2; 32] }.flip(0, &mut v[8192..]);
        let (a, rest) = v.split_at(4096);
        let (b, c) = rest.split_at(4096);
        for (x, y) in [(a, b), (a, c), (b, c)] {
            let dot: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
            assert!(dot.abs() < 6.0 * 64.0, "{dot}");
        }
    }

    proptest! {
        #[test]
        fn lengths_are_kept_and_it_can_be_undone(
            len in 0..5000_usize, key: [u8; 32], seed in 1..1000_u64,
        ) {
            let value = |i: usize| ((i as u64 * seed * 2_654_435_761) % 1009) as f64 - 504.0;
            let v: Vec<f64> = (0..len + 3).map(value).collect();
            let rotation = Rotation::new(len, key);
            let mut turned = v.clone();
            rotation.forward(&mut turned);
            prop_assert_eq!(&turned[len..], &v[len..]);
            prop_assert!((norm(&turned) - norm(&v)).abs() <= 1e-12 * norm(&v));
            rotation.inverse(&mut turned);
            let largest = turned.iter().zip(&v).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
            prop_assert!(largest < 1e-9, "{largest}");
        }
    }
}
