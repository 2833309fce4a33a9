//! Clipping one unit's contribution: an upper bound of its norm, the factor, the clipped sum, and
//! what rounding in that sum can add to one unit's influence.
//!
//! It knows vectors only, not how a gradient came about. A norm that is too small would break the
//! guarantee, so every rounding here goes the safe way.

use crate::error::DpError;

/// Largest number of terms for which [`summation_error`] is meaningful.
pub(crate) const MAX_TERMS: u64 = 1 << 26;

/// Unit roundoff of f64.
const UNIT: f64 = f64::EPSILON / 2.0;

/// An upper bound of the L2 norm. NaN if a coordinate is NaN, infinite if one is infinite.
pub fn norm_upper(values: &[f64]) -> f64 {
    let largest =
        values.iter().fold(0.0_f64, |m, v| if v.is_nan() { f64::NAN } else { m.max(v.abs()) });
    if largest == 0.0 || !largest.is_finite() || values.iter().any(|v| v.is_nan()) {
        return if values.iter().any(|v| v.is_nan()) { f64::NAN } else { largest };
    }
    // Dividing by the largest coordinate keeps squares from overflowing and from vanishing.
    let sum: f64 = values.iter().map(|v| (v / largest) * (v / largest)).sum();
    // Division, square and n additions per term, then a root and a product; squares below the
    // smallest normal number lose at most their number times that number, far below the slack.
    let slack = (values.len() as f64 + 16.0) * 2.0 * f64::EPSILON;
    (sum.sqrt() * largest * (1.0 + slack)).next_up()
}

/// Factor that brings a vector with norm at most `norm_upper` to norm at most `clip`:
/// `min(1, clip / norm)`, rounded downwards. Exactly 0 for a non-finite norm (the contribution must
/// then be replaced by zeros, as 0 * NaN is NaN) and for a clip norm that is not positive.
pub fn clip_factor(norm_upper: f64, clip: f64) -> f64 {
    if !norm_upper.is_finite() || !clip.is_finite() || clip <= 0.0 {
        return 0.0;
    }
    if norm_upper <= clip {
        return 1.0;
    }
    (clip / norm_upper) * (1.0 - 4.0 * f64::EPSILON)
}

/// Adds `contribution`, clipped to L2 norm `clip`, to `sum`. A contribution with a non-finite
/// coordinate adds exactly nothing.
///
/// # Errors
/// If the lengths differ.
pub fn add_clipped(contribution: &[f64], clip: f64, sum: &mut [f64]) -> Result<(), DpError> {
    if contribution.len() != sum.len() {
        return Err(DpError::Length {
            what: "a unit's contribution",
            actual: contribution.len(),
            expected: sum.len(),
        });
    }
    let factor = clip_factor(norm_upper(contribution), clip);
    if factor > 0.0 {
        for (s, g) in sum.iter_mut().zip(contribution) {
            *s += factor * g;
        }
    }
    Ok(())
}

/// Bound eta, relative to the clip norm, on what rounding adds to one unit's influence on an f64 sum
/// of at most `terms` clipped contributions, in any order of summation.
///
/// The computed sum differs from the exact one by at most `gamma_m * sum_i |g_ij|` in coordinate j,
/// hence by `gamma_m * m * C` in L2, with `gamma_m = m u / (1 - m u)` (Higham, "Accuracy and
/// stability of numerical algorithms", section 4.2). Two neighbouring sums may err in opposite
/// directions: `eta = 2 m gamma_m`. Eight more roundings cover factor and product.
///
/// # Errors
/// If `terms` is 0 or above 2^26.
pub fn summation_error(terms: u64) -> Result<f64, DpError> {
    if terms == 0 || terms > MAX_TERMS {
        return Err(DpError::parameter("max_units_per_node", terms, "between 1 and 2^26"));
    }
    let m = terms as f64;
    let gamma = m * UNIT / (1.0 - m * UNIT);
    Ok((2.0 * m * gamma + 8.0 * UNIT) * (1.0 + 8.0 * f64::EPSILON))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Exact comparison `|v| <= clip` with dashu rationals.
    fn within(values: &[f64], clip: f64) -> bool {
        use dashu::rational::RBig;
        let exact = |v: f64| RBig::try_from(v).unwrap();
        let mut sum = RBig::ZERO;
        for v in values {
            sum += exact(*v) * exact(*v);
        }
        sum <= exact(clip) * exact(clip)
    }

    #[test]
    fn factor_edges() {
        assert_eq!(clip_factor(0.0, 1.0), 1.0);
        assert_eq!(clip_factor(1.0, 1.0), 1.0);
        assert!(clip_factor(2.0, 1.0) < 0.5 && clip_factor(2.0, 1.0) > 0.4999999);
        for (norm, clip) in [(f64::NAN, 1.0), (f64::INFINITY, 1.0), (1.0, 0.0), (1.0, f64::NAN)] {
            assert_eq!(clip_factor(norm, clip), 0.0);
        }
    }

    #[test]
    fn non_finite_contributions_add_nothing() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for place in 0..3 {
                let mut g = [1.0, 2.0, 3.0];
                g[place] = bad;
                let mut sum = [0.5; 3];
                add_clipped(&g, 1.0, &mut sum).unwrap();
                assert_eq!(sum, [0.5; 3], "{bad} at {place}");
            }
        }
        assert!(add_clipped(&[1.0], 1.0, &mut [0.0; 2]).is_err());
    }

    #[test]
    fn extreme_magnitudes() {
        assert!(norm_upper(&[1e300, 1e300]) >= 1.4142e300);
        assert!(norm_upper(&[1e-300, 1e-300]) >= 1.4142e-300);
        assert_eq!(norm_upper(&[]), 0.0);
        assert_eq!(norm_upper(&[f64::MAX, f64::MAX]), f64::INFINITY);
    }

    #[test]
    fn summation_error_matches_the_formula() {
        let eta = summation_error(1 << 20).unwrap();
        assert!(eta > 2.44e-4 && eta < 2.45e-4);
        assert!(summation_error(0).is_err() && summation_error(u64::MAX).is_err());
    }

    proptest! {
        #[test]
        fn norm_is_an_upper_bound(
            values in prop::collection::vec(-1e6..1e6_f64, 1..40),
            exponent in -200..200_i32,
        ) {
            let scaled: Vec<f64> = values.iter().map(|v| v * 2.0_f64.powi(exponent)).collect();
            let norm = norm_upper(&scaled);
            prop_assert!(within(&scaled, norm));
            prop_assert!(norm == 0.0 || !within(&scaled, norm * (1.0 - 1e-12)));
        }

        #[test]
        fn clipped_contribution_is_within_the_clip(
            values in prop::collection::vec(-1e3..1e3_f64, 1..40),
            clip in 1e-3..10.0_f64,
        ) {
            let mut sum = vec![0.0; values.len()];
            add_clipped(&values, clip, &mut sum).unwrap();
            prop_assert!(within(&sum, clip));
        }
    }
}
