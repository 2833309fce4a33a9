//! Shamir's secret sharing (1979) over GF(2^8), 32 bytes in parallel.
//!
//! The field is that of AES (`x^8 + x^4 + x^3 + x + 1`). All scalars of the
//! algebra - share slots and Lagrange coefficients - are public; secrets,
//! coefficients and shares only ever pass through additions and through
//! multiplications by a public scalar, done on packed words without tables. So
//! neither a branch nor an address depends on a secret. Every coefficient above
//! the constant one is uniform over the whole field, **zero included**: leaving
//! zero out would make `t - 1` shares tell something.
//!
//! This module knows neither nodes nor what is shared.

use rand_core::RngCore;
use zeroize::{Zeroize, Zeroizing};

/// Why a sharing can be neither made nor opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShamirError {
    /// The threshold is zero or above the number of slots.
    #[error("the threshold {threshold} does not fit {slots} slots")]
    Threshold {
        /// Shares needed.
        threshold: usize,
        /// Slots given.
        slots: usize,
    },
    /// Slot zero, which would be the secret itself, or a slot named twice.
    #[error("slot {slot} is zero or named twice")]
    Slot {
        /// The refused slot.
        slot: u8,
    },
    /// As many shares as slots are needed.
    #[error("{found} shares were given for {expected} slots")]
    ShareCount {
        /// Slots of the interpolation.
        expected: usize,
        /// Shares given.
        found: usize,
    },
}

/// Deals shares of `secret`, one per slot and in the order of `slots`; any
/// `threshold` of them open it and fewer say nothing.
///
/// # Errors
/// [`ShamirError`] if the threshold does not fit, or a slot is zero or repeated.
pub fn deal(
    secret: &[u8; 32],
    threshold: usize,
    slots: &[u8],
    rng: &mut dyn RngCore,
) -> Result<Vec<Zeroizing<[u8; 32]>>, ShamirError> {
    if threshold == 0 || threshold > slots.len() {
        return Err(ShamirError::Threshold { threshold, slots: slots.len() });
    }
    check_slots(slots)?;
    let mut coefficients = vec![[0u8; 32]; threshold - 1];
    for coefficient in &mut coefficients {
        rng.fill_bytes(coefficient);
    }
    let shares = slots
        .iter()
        .map(|&slot| {
            let mut value = Packed([0; 4]);
            for coefficient in coefficients.iter().rev().chain([secret]) {
                value.multiply(slot);
                value.add(&Packed::load(coefficient));
            }
            value.store()
        })
        .collect();
    coefficients.zeroize();
    Ok(shares)
}

/// Lagrange interpolation at zero for a fixed set of slots, so that many
/// sharings held by the same holders are opened with one set of coefficients.
#[derive(Debug, Clone)]
pub struct Interpolation {
    weights: Vec<u8>,
}

impl Interpolation {
    /// Prepares for the shares in `slots`; their number must be the threshold.
    ///
    /// # Errors
    /// [`ShamirError`] if there is no slot, or one is zero or repeated.
    pub fn at_zero(slots: &[u8]) -> Result<Self, ShamirError> {
        if slots.is_empty() {
            return Err(ShamirError::Threshold { threshold: 0, slots: 0 });
        }
        check_slots(slots)?;
        let weight = |&slot: &u8| {
            let others = slots.iter().filter(|other| **other != slot);
            let (top, bottom) =
                others.fold((1, 1), |(top, bottom), &x| (times(top, x), times(bottom, x ^ slot)));
            times(top, inverse(bottom))
        };
        Ok(Self { weights: slots.iter().map(weight).collect() })
    }

    /// The secret behind `shares`, given in the order of the slots.
    ///
    /// # Errors
    /// [`ShamirError::ShareCount`] if their number is not that of the slots.
    pub fn secret(&self, shares: &[&[u8; 32]]) -> Result<Zeroizing<[u8; 32]>, ShamirError> {
        if shares.len() != self.weights.len() {
            return Err(ShamirError::ShareCount {
                expected: self.weights.len(),
                found: shares.len(),
            });
        }
        let mut sum = Packed([0; 4]);
        for (share, weight) in shares.iter().zip(&self.weights) {
            let mut term = Packed::load(share);
            term.multiply(*weight);
            sum.add(&term);
        }
        Ok(sum.store())
    }
}

/// 32 field elements in four words.
struct Packed([u64; 4]);

impl Packed {
    fn load(bytes: &[u8; 32]) -> Self {
        let mut words = [0u64; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self(words)
    }

    fn store(&self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    fn add(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word ^= other;
        }
    }

    /// Multiplies every element by one scalar. The scalar is public.
    fn multiply(&mut self, scalar: u8) {
        let mut power = Self(self.0);
        self.0 = [0; 4];
        for bit in 0..8 {
            if scalar >> bit & 1 == 1 {
                self.add(&power);
            }
            power.double();
        }
    }

    /// Multiplies every element by `x`.
    fn double(&mut self) {
        const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
        const ONES: u64 = 0x0101_0101_0101_0101;
        for word in &mut self.0 {
            let carries = (*word >> 7) & ONES;
            *word = ((*word & LOW_BITS) << 1) ^ (carries * 0x1b);
        }
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

fn check_slots(slots: &[u8]) -> Result<(), ShamirError> {
    let mut seen = [false; 256];
    for &slot in slots {
        match seen.get_mut(usize::from(slot)) {
            Some(taken) if slot != 0 && !*taken => *taken = true,
            _ => return Err(ShamirError::Slot { slot }),
        }
    }
    Ok(())
}

/// Product of two public scalars.
fn times(a: u8, b: u8) -> u8 {
    let (mut product, mut power) = (0u8, a);
    for bit in 0..8 {
        product ^= power * (b >> bit & 1);
        power = (power << 1) ^ ((power >> 7) * 0x1b);
    }
    product
}

/// Inverse of a public scalar, as its 254th power; zero for zero.
fn inverse(a: u8) -> u8 {
    let (mut result, mut power) = (1u8, a);
    for _ in 0..7 {
        power = times(power, power);
        result = times(result, power);
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;
    use rand_core::RngCore;

    use super::{Interpolation, Packed, ShamirError, deal, inverse, times};

    /// Schoolbook multiplication modulo x^8+x^4+x^3+x+1, written another way.
    fn naive_times(a: u8, b: u8) -> u8 {
        let mut wide = 0u16;
        for bit in 0..8 {
            if b & (1 << bit) != 0 {
                wide ^= u16::from(a) << bit;
            }
        }
        for bit in (8..15).rev() {
            if wide & (1 << bit) != 0 {
                wide ^= 0x11b << (bit - 8);
            }
        }
        wide as u8
    }

    /// An RNG that gives out prepared bytes, one per call's first position.
    struct Prepared(Vec<u8>);

    impl RngCore for Prepared {
        fn next_u32(&mut self) -> u32 {
            unreachable!("dealing fills whole blocks")
        }
        fn next_u64(&mut self) -> u64 {
            unreachable!("dealing fills whole blocks")
        }
        fn fill_bytes(&mut self, out: &mut [u8]) {
            out.fill(self.0.remove(0));
        }
    }

    #[test]
    fn field_matches_schoolbook() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                assert_eq!(times(a, b), naive_times(a, b));
            }
            if a != 0 {
                assert_eq!(times(a, inverse(a)), 1);
            }
            let mut packed = Packed::load(&[a; 32]);
            packed.multiply(0x53);
            assert_eq!(*packed.store(), [naive_times(a, 0x53); 32]);
        }
        assert_eq!(times(0x53, 0xca), 1, "FIPS 197, section 4.2");
    }

    #[test]
    fn shares_match_a_naive_polynomial() {
        let secret: [u8; 32] = core::array::from_fn(|i| (i * 37) as u8);
        let coefficients = [0x00, 0x9d, 0x01];
        let slots = [1, 2, 77, 128, 255];
        let shares = deal(&secret, 4, &slots, &mut Prepared(coefficients.to_vec())).unwrap();
        for (slot, share) in slots.iter().zip(shares) {
            for (byte, constant) in share.iter().zip(secret) {
                let (mut value, mut power) = (constant, 1);
                for coefficient in coefficients {
                    power = naive_times(power, *slot);
                    value ^= naive_times(coefficient, power);
                }
                assert_eq!(*byte, value);
            }
        }
    }

    /// How often each tuple of `t - 1` shares occurs over all choices of the
    /// random coefficients drawn from `values`.
    fn histogram(
        secret: u8,
        slots: &[u8],
        values: &[u8],
    ) -> std::collections::BTreeMap<Vec<u8>, u32> {
        let threshold = slots.len() + 1;
        let mut all: Vec<u8> = slots.to_vec();
        all.push(200);
        let mut seen = std::collections::BTreeMap::new();
        for index in 0..values.len().pow(slots.len() as u32) {
            let mut rest = index;
            let coefficients = slots.iter().map(|_| {
                let value = values[rest % values.len()];
                rest /= values.len();
                value
            });
            let mut rng = Prepared(coefficients.collect());
            let shares = deal(&[secret; 32], threshold, &all, &mut rng).unwrap();
            let tuple = shares[..slots.len()].iter().map(|share| share[0]).collect();
            *seen.entry(tuple).or_insert(0) += 1;
        }
        seen
    }

    #[test]
    fn fewer_shares_than_the_threshold_are_uniform() {
        let every: Vec<u8> = (0..=255).collect();
        for secret in [0, 1, 0xa7] {
            let one = histogram(secret, &[5], &every);
            assert!(one.len() == 256 && one.values().all(|count| *count == 1));
        }
        let two = histogram(0x3c, &[1, 2], &every);
        assert!(two.len() == 65_536 && two.values().all(|count| *count == 1));
        // Negative control: the known bug of never drawing a zero coefficient
        // makes the secret's own value impossible as a share.
        let nonzero: Vec<u8> = (1..=255).collect();
        let biased = histogram(0xa7, &[5], &nonzero);
        assert!(biased.len() == 255 && !biased.contains_key(&vec![0xa7]));
    }

    #[test]
    fn zero_coefficients_are_drawn() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut constant_shares = 0;
        for _ in 0..200 {
            let shares = deal(&[9; 32], 2, &[1, 2], &mut rng).unwrap();
            constant_shares += shares[0].iter().filter(|byte| **byte == 9).count();
        }
        // 6400 bytes, each zero with probability 1/256.
        assert!((5..60).contains(&constant_shares), "{constant_shares}");
    }

    #[test]
    fn bad_slots_and_thresholds_are_refused() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        assert!(deal(&[0; 32], 0, &[1], &mut rng).is_err());
        assert!(deal(&[0; 32], 3, &[1, 2], &mut rng).is_err());
        assert_eq!(deal(&[0; 32], 1, &[0], &mut rng).err(), Some(ShamirError::Slot { slot: 0 }));
        assert!(deal(&[0; 32], 2, &[7, 7], &mut rng).is_err());
        assert!(Interpolation::at_zero(&[3, 3]).is_err());
        assert!(Interpolation::at_zero(&[]).is_err());
        assert!(Interpolation::at_zero(&[1, 2]).unwrap().secret(&[&[0; 32]]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_threshold_of_shares_opens(secret: [u8; 32], n in 1usize..=128, cut in 0.0f64..1.0, seed: u64) {
            let threshold = 1 + (cut * n as f64) as usize;
            let mut slots: Vec<u8> = (1..=n as u8).collect();
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let shares = deal(&secret, threshold, &slots, &mut rng).unwrap();
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by_key(|i| (*i as u64).wrapping_mul(seed | 1));
            order.truncate(threshold);
            slots = order.iter().map(|i| slots[*i]).collect();
            let chosen: Vec<&[u8; 32]> = order.iter().map(|i| &*shares[*i]).collect();
            let opened = Interpolation::at_zero(&slots).unwrap().secret(&chosen).unwrap();
            prop_assert_eq!(*opened, secret);
        }
    }
}
