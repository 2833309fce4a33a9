//! Noise drawn before it is needed: one vector, for one attempt of one round.
//!
//! Drawing takes a time that depends a little on what is drawn, so it is done while no peer waits.
//! It knows neither the attempt nor the law; whoever draws keeps the vector with the attempt's kind.

use std::fmt;

use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::sum::TableSum;
use crate::error::DpError;

/// A vector of noise that can be added once: adding consumes it, and it is overwritten then or when it
/// is dropped. It cannot be cloned, read or printed. Four bytes a coordinate.
///
/// Values are kept modulo 2^32. Lanes have at most 32 bits, so what is sent is the same as with the
/// noise itself.
pub struct PreparedNoise {
    lanes: Zeroizing<Vec<u32>>,
}

impl PreparedNoise {
    pub(super) fn draw<R: RngCore + CryptoRng + ?Sized>(
        sum: &TableSum,
        len: usize,
        rng: &mut R,
    ) -> Self {
        // Of its final size from the beginning: growing would leave copies behind.
        let mut lanes = Zeroizing::new(vec![0; len]);
        sum.each(&mut lanes, rng, |lane, noise| *lane = noise as u32);
        Self { lanes }
    }

    /// Coordinates.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether there are no coordinates.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Adds the noise, modulo 2^32 (see above), to `values` of shape `[len]`, and is used up.
    ///
    /// # Errors
    /// If the lengths differ: then nothing has been added, and the noise is gone all the same.
    pub fn add_to(self, values: &mut [i64]) -> Result<(), DpError> {
        let (actual, expected) = (values.len(), self.lanes.len());
        if actual != expected {
            return Err(DpError::Length {
                what: "the vector for prepared noise",
                actual,
                expected,
            });
        }
        for (value, lane) in values.iter_mut().zip(self.lanes.iter()) {
            *value = value.wrapping_add(i64::from(*lane as i32));
        }
        Ok(())
    }
}

impl fmt::Debug for PreparedNoise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreparedNoise(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use crate::lanes::{from_lanes, to_lanes};
    use crate::noise::{DiscreteGaussian, Skellam};
    use crate::rng::SecretRng;

    fn rng(seed: u8) -> SecretRng {
        SecretRng::danger_deterministic([seed; 32])
    }

    #[test]
    fn the_same_as_noise_drawn_on_the_spot() {
        for sigma in [3.0, 700.0, 1e5] {
            let sampler = DiscreteGaussian::new(sigma).unwrap();
            let values: Vec<i64> = (0..2000).map(|i| i * 1001 - 1_000_000).collect();
            let (mut now, mut later) = (values.clone(), values);
            sampler.add_noise(&mut now, &mut rng(1));
            let prepared = sampler.prepare(later.len(), &mut rng(1));
            assert_eq!(prepared.len(), later.len());
            prepared.add_to(&mut later).unwrap();
            assert_eq!(now, later);
        }
        let sampler = Skellam::new(50.0).unwrap();
        let (mut now, mut later) = (vec![0; 100], vec![0; 100]);
        sampler.add_noise(&mut now, &mut rng(2));
        sampler.prepare(100, &mut rng(2)).add_to(&mut later).unwrap();
        assert_eq!(now, later);
    }

    #[test]
    fn beyond_32_bits_the_lanes_are_the_same() {
        let sampler = DiscreteGaussian::new(2.0_f64.powi(28)).unwrap();
        let (mut now, mut later) =
            (vec![i64::from(i32::MAX); 5000], vec![i64::from(i32::MAX); 5000]);
        sampler.add_noise(&mut now, &mut rng(3));
        sampler.prepare(5000, &mut rng(3)).add_to(&mut later).unwrap();
        assert_eq!(to_lanes(&now), to_lanes(&later));
        assert_eq!(from_lanes(&to_lanes(&now), 32), from_lanes(&to_lanes(&later), 32));
    }

    #[test]
    fn a_vector_of_another_length_gets_none() {
        let sampler = DiscreteGaussian::new(10.0).unwrap();
        let mut values = vec![7; 9];
        let prepared = sampler.prepare(10, &mut rng(4));
        assert_eq!(format!("{prepared:?}"), "PreparedNoise(<redacted>)");
        assert!(prepared.add_to(&mut values).is_err());
        assert_eq!(values, [7; 9]);
        assert!(sampler.prepare(0, &mut rng(4)).is_empty());
    }
}
