//! Poisson sampling of units: each one independently, with one probability.
//!
//! The accountant's amplification holds for exactly this law, for no shuffling and no fixed batch
//! size. The size of a sample is secret: never publish it and never divide by it.

use rand_core::{CryptoRng, RngCore};

use crate::error::{DpError, in_range};

/// Indices, ascending, of the units of a fresh sample out of `n`: each index independently with
/// probability `floor(q 2^64) / 2^64`, hence at most `q`. One 64-bit word is drawn per unit.
///
/// # Errors
/// If `q` is outside [0, 1] or `n` exceeds 2^32.
pub fn poisson_sample<R: RngCore + CryptoRng + ?Sized>(
    n: usize,
    q: f64,
    rng: &mut R,
) -> Result<Vec<u32>, DpError> {
    in_range("sampling_rate", q, 0.0, 1.0, "in [0, 1]")?;
    let Ok(last) = u32::try_from(n.saturating_sub(1)) else {
        return Err(DpError::parameter("units", n, "at most 2^32"));
    };
    if n == 0 {
        return Ok(Vec::new());
    }
    if q == 1.0 {
        return Ok((0..=last).collect());
    }
    // Multiplying by a power of two is exact; the conversion truncates.
    let threshold = (q * 18_446_744_073_709_551_616.0) as u64;
    Ok((0..=last).filter(|_| rng.next_u64() < threshold).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SecretRng;

    #[test]
    fn edges() {
        let mut rng = SecretRng::danger_deterministic([3; 32]);
        assert_eq!(poisson_sample(4, 1.0, &mut rng).unwrap(), [0, 1, 2, 3]);
        assert!(poisson_sample(1000, 0.0, &mut rng).unwrap().is_empty());
        assert!(poisson_sample(0, 0.5, &mut rng).unwrap().is_empty());
        for q in [-0.1, 1.1, f64::NAN] {
            assert!(poisson_sample(4, q, &mut rng).is_err());
        }
    }

    /// Always the same word.
    struct Constant(u64);

    impl RngCore for Constant {
        fn next_u32(&mut self) -> u32 {
            self.0 as u32
        }
        fn next_u64(&mut self) -> u64 {
            self.0
        }
        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    impl CryptoRng for Constant {}

    #[test]
    fn exactly_the_words_below_the_threshold_include() {
        for (q, threshold) in [(0.5, 1_u64 << 63), (0.75, 3 << 62), (2.0_f64.powi(-64), 1)] {
            assert_eq!(poisson_sample(3, q, &mut Constant(threshold - 1)).unwrap(), [0, 1, 2]);
            assert!(poisson_sample(3, q, &mut Constant(threshold)).unwrap().is_empty());
        }
    }

    #[test]
    fn binomial_sizes_and_equal_inclusion() {
        let mut rng = SecretRng::danger_deterministic([4; 32]);
        let (n, q, repeats) = (200, 0.3, 5000);
        let mut counts = vec![0_u32; n];
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..repeats {
            let sample = poisson_sample(n, q, &mut rng).unwrap();
            assert!(sample.windows(2).all(|w| w[0] < w[1]));
            for i in &sample {
                counts[*i as usize] += 1;
            }
            let size = sample.len() as f64;
            sum += size;
            squares += size * size;
        }
        let (mean, runs) = (sum / f64::from(repeats), f64::from(repeats));
        let variance = squares / runs - mean * mean;
        assert!((mean - 60.0).abs() < 5.0 * (42.0 / runs).sqrt());
        // A fixed batch size would have variance 0, Poisson sampling has n q (1 - q) = 42.
        assert!((variance - 42.0).abs() < 5.0 * 42.0 * (2.0 / runs).sqrt());
        let expected = runs * q;
        let chi2: f64 = counts
            .iter()
            .map(|c| (f64::from(*c) - expected).powi(2) / (expected * (1.0 - q)))
            .sum();
        assert!((chi2 - 200.0).abs() < 5.0 * 400.0_f64.sqrt(), "{chi2}");
    }
}
