//! The clip factor of one record: the one place where a norm becomes a promise.
//!
//! Knows nothing of models or tensors; every trainer takes its factors from here.

use crate::trainer::TrainerError;

/// Relative amount by which a norm is rounded up before it divides the clip norm. It exceeds the
/// rounding of a squared norm summed in f64 over up to four million terms (4e6 * 2^-53 < 5e-10)
/// plus the roundings of square root, quotient and product.
pub const NORM_SLACK: f64 = 1e-9;

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
