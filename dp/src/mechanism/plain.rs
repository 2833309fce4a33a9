//! The release of mode `none`: quantised and summed, without noise and without any guarantee.
//! A type of its own, so that it cannot be mistaken for a private release.

use serde::{Deserialize, Serialize};

use super::{LANE_LIMIT, RESOLUTION};
use crate::error::{DpError, in_range};

/// Scale and clamp of a release without noise: it hides a node's vector within one sum and nothing
/// more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainRelease {
    /// Coordinates of the vector.
    pub dimension: usize,
    /// Integer units per real unit.
    pub scale: f64,
    /// Bound of a node's coordinate, in integer units: the largest with `n * clamp < 2^31`.
    pub clamp: i64,
}

impl PlainRelease {
    /// Derives it from clip norm, dimension and cohort, with the scale of a private release.
    ///
    /// # Errors
    /// If a parameter is outside its domain.
    pub fn derive(clip_norm: f64, dimension: usize, cohort: u16) -> Result<Self, DpError> {
        in_range("clip_norm", clip_norm, 1e-30, 1e30, "between 1e-30 and 1e30")?;
        if dimension == 0 || dimension > 1 << 40 {
            return Err(DpError::parameter("dimension", dimension, "between 1 and 2^40"));
        }
        if cohort == 0 {
            return Err(DpError::parameter("cohort", cohort, "at least 1"));
        }
        let clamp = (LANE_LIMIT / f64::from(cohort)).floor() as i64;
        Ok(Self { dimension, scale: RESOLUTION * (dimension as f64).sqrt() / clip_norm, clamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_cannot_wrap() {
        for cohort in [1, 2, 3, 7, 100, 65_535] {
            let release = PlainRelease::derive(1.0, 10_000, cohort).unwrap();
            assert!(i64::from(cohort) * release.clamp < 1 << 31);
            assert!(i64::from(cohort) * (release.clamp + 1) >= 1 << 31);
            assert_eq!(release.scale, 10_000.0);
        }
        assert!(PlainRelease::derive(0.0, 1, 1).is_err());
        assert!(PlainRelease::derive(1.0, 0, 1).is_err());
        assert!(PlainRelease::derive(1.0, 1, 0).is_err());
    }
}
