//! The clip factor of one unit: the one place where a norm becomes a promise.
//!
//! Knows nothing of models or tensors; every trainer takes its factors from here.

use crate::trainer::TrainerError;

/// Relative amount by which a norm is rounded up before it divides the clip norm. It exceeds the
/// rounding of a squared norm summed in f64 over up to four million terms (4e6 * 2^-53 < 5e-10)
/// plus the roundings of square root, quotient and product.
pub const NORM_SLACK: f64 = 1e-9;

/// Rounding allowed for in the squared norm of a sum of gradients, relative to the square of the sum
/// of their norms; see [`ClipNorm::factor_of_sum`].
pub const SUM_SLACK: f64 = 1e-9;

/// A sum of gradients counts as at least this part of the sum of their norms, so that gradients that
/// cancel cannot stand in a sum at a weight that is out of all proportion to the clip norm:
/// [`unit_float_error`](crate::unit_float_error()) counts on it.
pub const LEAST_OF_SUM: f64 = 1.0 / 64.0;

/// A clip norm that has been checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipNorm(f64);

impl ClipNorm {
    /// Accepts a norm within `1e-30..=1e30`, far from where f64 products of f32 values round to
    /// zero or overflow.
    ///
    /// # Errors
    /// [`TrainerError::ClipNorm`].
    pub fn new(norm: f64) -> Result<Self, TrainerError> {
        if (1e-30..=1e30).contains(&norm) {
            return Ok(Self(norm));
        }
        Err(TrainerError::ClipNorm { found: norm })
    }

    /// The factor `min(1, C / norm)` for a record whose gradient has this squared L2 norm, with
    /// the norm rounded up; `None` if it is not finite: the record must then contribute exact
    /// zeros.
    pub fn factor(self, squared_norm: f64) -> Option<f64> {
        if !squared_norm.is_finite() {
            return None;
        }
        let upper = squared_norm.sqrt() * (1.0 + NORM_SLACK);
        Some(if upper <= self.0 { 1.0 } else { self.0 / upper })
    }

    /// The factor for a unit of several records: `squared_sum` is the squared norm of the sum of
    /// their gradients as computed in f64, `squared_norms` are those of each. `None` if any is not
    /// finite: the unit must then contribute exact zeros as a whole.
    ///
    /// # Derivation
    /// With A the sum of the records' norms, the squared norm of the sum, added up over pairs of
    /// records and layers as `(g_i . g_j)(a_i . a_j + 1)` (or from the sum itself), errs by at most
    /// `gamma_k A^2`: every product of two records is off by at most `gamma_k` times the product of
    /// their norms in that layer (Higham, section 3.1, and Cauchy-Schwarz), and those products add
    /// up to at most A^2. Cancellation can make that the larger part, so [`SUM_SLACK`] `A^2` is
    /// added: it covers k up to four million roundings and the rounding of A. What remains is an
    /// upper bound of the norm.
    pub fn factor_of_sum(self, squared_sum: f64, squared_norms: &[f64]) -> Option<f64> {
        if let [one] = squared_norms {
            return self.factor(*one);
        }
        let total: f64 = squared_norms.iter().map(|s| s.sqrt()).sum();
        let squares = total * total;
        if !squares.is_finite() || !squared_sum.is_finite() {
            return None;
        }
        let upper = squared_sum.max(0.0) + SUM_SLACK * squares;
        self.factor(upper.max(LEAST_OF_SUM * LEAST_OF_SUM * squares))
    }
}

/// What happens to each record's gradient before it is added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighting {
    /// Clipped to a norm.
    Clip(ClipNorm),
    /// Added as it is.
    Plain,
}

impl Weighting {
    /// The weight of a record with this squared gradient norm, `None` if that is not finite.
    pub fn factor(self, squared_norm: f64) -> Option<f64> {
        match self {
            Self::Clip(norm) => norm.factor(squared_norm),
            Self::Plain => squared_norm.is_finite().then_some(1.0),
        }
    }

    /// The weight of a unit of several records, as [`ClipNorm::factor_of_sum`].
    pub fn factor_of_sum(self, squared_sum: f64, squared_norms: &[f64]) -> Option<f64> {
        match self {
            Self::Clip(norm) => norm.factor_of_sum(squared_sum, squared_norms),
            Self::Plain => {
                squared_norms.iter().chain([&squared_sum]).all(|s| s.is_finite()).then_some(1.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unusable_norms_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-31, 1e31] {
            assert!(ClipNorm::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn known_factors() {
        let clip = ClipNorm::new(2.0).unwrap();
        assert_eq!(clip.factor(0.0), Some(1.0));
        assert_eq!(clip.factor(1.0), Some(1.0));
        assert!((clip.factor(16.0).unwrap() - 0.5).abs() < 1e-8);
        assert_eq!(clip.factor(f64::NAN), None);
        assert_eq!(clip.factor(f64::INFINITY), None);
        assert_eq!(Weighting::Plain.factor(1e300), Some(1.0));
        assert_eq!(Weighting::Plain.factor(f64::NAN), None);
    }

    #[test]
    fn gradients_that_cancel_are_bounded_by_what_they_are_made_of() {
        let clip = ClipNorm::new(1.0).unwrap();
        // One record: no slack for sums.
        assert_eq!(clip.factor_of_sum(f64::NAN, &[0.5]), Some(1.0));
        // Two opposite gradients of norm 1000: a sum of 0, computed as anything within the bound.
        for computed in [0.0, -1e-3, 1e-3] {
            let factor = clip.factor_of_sum(computed, &[1e6, 1e6]).unwrap();
            assert!((factor - 64.0 / 2000.0).abs() < 1e-9, "{factor}");
        }
        // Two like ones: as good as exact.
        let factor = clip.factor_of_sum(4e6, &[1e6, 1e6]).unwrap();
        assert!((factor * 2000.0 - 1.0).abs() < 1e-8 && factor < 1.0 / 2000.0);
        assert_eq!(clip.factor_of_sum(0.0, &[0.0, 0.0]), Some(1.0));
        for (sum, norms) in
            [(f64::NAN, [1.0, 1.0]), (1.0, [f64::INFINITY, 1.0]), (1.0, [1.0, f64::NAN])]
        {
            assert_eq!(clip.factor_of_sum(sum, &norms), None);
            assert_eq!(Weighting::Plain.factor_of_sum(sum, &norms), None);
        }
        assert_eq!(Weighting::Plain.factor_of_sum(4.0, &[1.0, 1.0]), Some(1.0));
    }

    proptest! {
        #[test]
        fn a_clipped_norm_never_exceeds_the_clip(clip in 1e-6f64..1e6, values in
            proptest::collection::vec(-1e30f64..1e30, 1..50)) {
            let squared: f64 = values.iter().map(|v| v * v).sum();
            let factor = ClipNorm::new(clip).unwrap().factor(squared).unwrap();
            let after: f64 = values.iter().map(|v| (factor * v).powi(2)).sum::<f64>().sqrt();
            prop_assert!(after <= clip);
        }
    }
}
