//! The release of mode `none`: quantised and summed, without noise and without any guarantee.
//! A type of its own, so that it cannot be mistaken for a private release.

use serde::{Deserialize, Serialize};

use super::bits::lane_bits;
use super::{LANE_LIMIT, RESOLUTION, compare};
use crate::clip::MAX_TERMS;
use crate::error::{DpError, in_range};

/// Room in the clamp for the rounding of a trainer's sum, relatively: far above that of any sum of
/// 2^26 clipped contributions. No guarantee rests on it.
const SUM_ROUNDING: f64 = 1.0 / 1024.0;

/// Scale and clamp of a release without noise: it hides a node's vector within one sum and nothing
/// more. One that is read from a file is derived again and compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stated")]
pub struct PlainRelease {
    /// L2 clip norm of one unit's contribution, in real units.
    pub clip_norm: f64,
    /// Coordinates of the vector.
    pub dimension: usize,
    /// Nodes that are asked.
    pub cohort: u16,
    /// Hard cap on the units in a node's batch.
    pub max_units_per_node: u64,
    /// Integer units per real unit.
    pub scale: f64,
    /// Bound of a node's coordinate, in integer units: what a batch can reach, or the largest with
    /// `n * clamp < 2^31` if that is smaller.
    pub clamp: i64,
    /// Bits of a lane: the smallest b in 8..=32 with `n * clamp < 2^(b-1)`.
    pub lane_bits: u8,
}

impl PlainRelease {
    /// Derives it from clip norm, dimension and cohort, with the scale of a private release and no
    /// cap on the units of a batch but 2^26: the clamp is the largest that fits 32 bits, and 32 bits
    /// is what it takes.
    ///
    /// # Errors
    /// If a parameter is outside its domain.
    pub fn derive(clip_norm: f64, dimension: usize, cohort: u16) -> Result<Self, DpError> {
        Self::derive_capped(clip_norm, dimension, cohort, MAX_TERMS)
    }

    /// As [`PlainRelease::derive`], for batches of at most `max_units_per_node` units (1 to 2^26):
    /// the clamp is no larger than what they can reach, and the lanes may be narrower.
    ///
    /// # Errors
    /// If a parameter is outside its domain.
    pub fn derive_capped(
        clip_norm: f64,
        dimension: usize,
        cohort: u16,
        max_units_per_node: u64,
    ) -> Result<Self, DpError> {
        in_range("clip_norm", clip_norm, 1e-30, 1e30, "between 1e-30 and 1e30")?;
        if dimension == 0 || dimension > 1 << 40 {
            return Err(DpError::parameter("dimension", dimension, "between 1 and 2^40"));
        }
        if cohort == 0 {
            return Err(DpError::parameter("cohort", cohort, "at least 1"));
        }
        let units = max_units_per_node;
        if units == 0 || units > MAX_TERMS {
            return Err(DpError::parameter("max_units_per_node", units, "between 1 and 2^26"));
        }
        let scale = RESOLUTION * (dimension as f64).sqrt() / clip_norm;
        let largest = (LANE_LIMIT / f64::from(cohort)).floor();
        let reachable = scale * clip_norm * (1.0 + SUM_ROUNDING) * units as f64 + 1.0;
        let clamp = largest.min(reachable.ceil()) as i64;
        let lane_bits = lane_bits(cohort, clamp, 0.0);
        Ok(Self { clip_norm, dimension, cohort, max_units_per_node, scale, clamp, lane_bits })
    }
}

/// A release as read; the derived part is only compared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    clip_norm: f64,
    dimension: usize,
    cohort: u16,
    max_units_per_node: u64,
    scale: f64,
    clamp: i64,
    lane_bits: u8,
}

impl TryFrom<Stated> for PlainRelease {
    type Error = DpError;

    fn try_from(s: Stated) -> Result<Self, DpError> {
        let derived =
            Self::derive_capped(s.clip_norm, s.dimension, s.cohort, s.max_units_per_node)?;
        compare(&[
            ("scale", s.scale, derived.scale),
            ("clamp", s.clamp as f64, derived.clamp as f64),
            ("lane_bits", f64::from(s.lane_bits), f64::from(derived.lane_bits)),
        ])?;
        Ok(derived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sum_cannot_wrap() {
        for cohort in [1, 2, 3, 7, 100, 65_535] {
            let release = PlainRelease::derive(1.0, 10_000, cohort).unwrap();
            assert!(i64::from(cohort) * release.clamp < 1 << 31);
            assert!(i64::from(cohort) * (release.clamp + 1) >= 1 << 31);
            assert_eq!(release.scale, 10_000.0);
            assert_eq!(release.lane_bits, 32);
        }
        assert!(PlainRelease::derive(0.0, 1, 1).is_err());
        assert!(PlainRelease::derive(1.0, 0, 1).is_err());
        assert!(PlainRelease::derive(1.0, 1, 0).is_err());
        assert!(PlainRelease::derive_capped(1.0, 1, 1, 0).is_err());
        assert!(PlainRelease::derive_capped(1.0, 1, 1, (1 << 26) + 1).is_err());
    }

    #[test]
    fn a_release_from_a_file_is_derived_again() {
        let release = PlainRelease::derive_capped(0.5, 1000, 20, 300).unwrap();
        let text = serde_json::to_string(&release).unwrap();
        assert_eq!(serde_json::from_str::<PlainRelease>(&text).unwrap(), release);
        for field in ["scale", "clamp", "lane_bits"] {
            let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
            value[field] = serde_json::json!(7);
            let error = serde_json::from_value::<PlainRelease>(value).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    proptest! {
        #[test]
        fn lane_bits_are_minimal_and_sufficient(
            dimension in 1..1_000_000_usize, cohort in 1..=u16::MAX, log_units in 0..26_u32,
        ) {
            let units = 1 << log_units;
            let release = PlainRelease::derive_capped(0.5, dimension, cohort, units).unwrap();
            let extreme = i64::from(cohort) * release.clamp;
            prop_assert!((8..=32).contains(&release.lane_bits));
            prop_assert!(extreme < 1 << (release.lane_bits - 1));
            prop_assert!(release.lane_bits == 8 || extreme >= 1 << (release.lane_bits - 2));
            let reach = units as f64 * 100.0 * (dimension as f64).sqrt();
            prop_assert!(release.clamp as f64 >= reach || extreme + i64::from(cohort) >= 1 << 31);
            let more = PlainRelease::derive_capped(0.5, dimension, cohort.saturating_add(1), units);
            prop_assert!(more.unwrap().lane_bits >= release.lane_bits);
        }
    }
}
