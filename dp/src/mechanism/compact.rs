//! Compact encoding: few integer units per coordinate, at nearly the noise of the wide one.
//!
//! Wide encoding makes rounding negligible with a hundred units per root-mean-square coordinate of a
//! clipped unit, since its sensitivity counts a whole unit of rounding in every coordinate. Compact
//! encoding rounds coarsely and bounds what rounding adds in all coordinates together, which fails
//! with a probability [`BETA`] that is deducted from delta; and it spreads every contribution evenly
//! by a [`Rotation`](crate::Rotation) first, so that the clamp need not hold a sum that lies in one
//! coordinate. Privacy needs no property of the rotation but that it keeps lengths.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{DpError, in_range};

/// Chance, per release, that rounding adds more than the sensitivity allows for.
pub(super) const BETA: f64 = 1e-15;

/// `ln(1 / BETA)` from above.
const LN_INVERSE_BETA: f64 = 34.538_78;

/// What the bits of the rounding's randomness that coordinates share can move a rounding's mean: see
/// [`quantise`](crate::quantise), whose coordinates are independent given the shared bits, with means
/// off by less than 2^-16.
const SHARED_BIAS: f64 = 1.0 / 65_536.0 + 1.0 / (1_u64 << 40) as f64;

/// What the rotation's own rounding adds to a unit's influence, relative to the clip norm. Each of at
/// most two transforms takes at most 20 levels of additions and one scaling, each exact up to u = 2^-53
/// relative to the vector's length; the error is at most `2 * 24 u` of the length of either of two
/// neighbouring sums, which is at most 2^26 clip norms: 96 * 2^26 u = 7.2e-7.
pub(crate) const ROTATION_ERROR: f64 = 1e-6;

/// Compact encoding of a release.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compact {
    /// Integer units per root-mean-square coordinate of a clipped unit, 0.25 to 100: the scale is
    /// `resolution sqrt(d) / C`. Rounding adds about `1 / (8 resolution^2)` to the noise of a long vector.
    pub resolution: f64,
}

impl Compact {
    /// Checks the domain.
    ///
    /// # Errors
    /// If the resolution is outside 0.25 to 100.
    pub(super) fn validate(self) -> Result<(), DpError> {
        in_range("compact.resolution", self.resolution, 0.25, 100.0, "between 0.25 and 100")
    }
}

/// Bound, broken with probability at most [`BETA`], of the L2 distance between two vectors of `d`
/// coordinates that are rounded with the same randomness and were at most `before` apart:
/// `D^2 = M^2 + d/4 + sqrt(2 ln(1/beta)) (M + sqrt(d)/2)` (the bound on which Kairouz, Liu,
/// Steinke 2021 condition their rounding, used here without the condition), with `M = before + sqrt(d) 2^-16` for the shared bits.
///
/// With the same randomness the difference of two roundings is, coordinate by coordinate, the
/// stochastic rounding of the difference, with randomness that is uniform whatever the data is.
pub(super) fn rounded_distance(before: f64, d: f64) -> f64 {
    let root = d.sqrt();
    let mean = before + root * SHARED_BIAS;
    let tail = (2.0 * LN_INVERSE_BETA).sqrt() * (mean + root / 2.0);
    (mean * mean + d / 4.0 + tail).sqrt() * (1.0 + 16.0 * f64::EPSILON)
}

/// Upper bound, but for a chance below 1e-10, of a Poisson sample's size where `mean` is expected:
/// Bernstein's inequality at `8 sqrt(mean) + 24`. Serves the clamp alone.
pub(super) fn sampled_at_most(mean: f64) -> f64 {
    (mean + 8.0 * mean.sqrt() + 24.0).ceil()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantise::quantise;
    use crate::rng::SecretRng;

    #[test]
    fn the_bound_on_a_logarithm_is_one() {
        assert!(LN_INVERSE_BETA > -(BETA.ln()) && LN_INVERSE_BETA < -(BETA.ln()) + 1e-5);
    }

    /// The law of the distance of two roundings with the same randomness: it stays below the bound,
    /// which is not far above, and the square's mean is what the lemma starts from.
    #[test]
    fn real_roundings_stay_below_it() {
        for (d, size) in [(256_usize, 20.0_f64), (4096, 64.0), (4096, 400.0)] {
            let per = size / (d as f64).sqrt();
            let base: Vec<f64> = (0..d).map(|i| (i as f64 * 0.618).fract() * 3.0).collect();
            let moved: Vec<f64> = base.iter().map(|b| b + per).collect();
            let bound = rounded_distance(size, d as f64);
            let (mut squares, mut largest) = (0.0, 0.0_f64);
            for seed in 0..200_u8 {
                let rounded = |v: &[f64]| {
                    let mut rng = SecretRng::danger_deterministic([seed; 32]);
                    quantise(v, 1.0, 1 << 40, &mut rng)
                };
                let (a, b) = (rounded(&base), rounded(&moved));
                let square: i64 = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum();
                squares += square as f64;
                largest = largest.max((square as f64).sqrt());
            }
            assert!(largest < bound, "{d} {size}: {largest} {bound}");
            let fraction = per.fract();
            let mean = size * size + d as f64 * fraction * (1.0 - fraction);
            assert!((squares / 200.0 / mean - 1.0).abs() < 0.02, "{d} {size}");
            assert!(bound < 1.35 * (size * size + d as f64 / 4.0).sqrt(), "{d} {size}: {bound}");
        }
    }

    #[test]
    fn a_sample_is_hardly_ever_larger() {
        assert_eq!(sampled_at_most(0.0), 24.0);
        assert_eq!(sampled_at_most(100.0), 204.0);
    }
}
