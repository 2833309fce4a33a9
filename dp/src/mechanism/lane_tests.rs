//! Tests of clamp and lane width of a private release: the sum fits, barely, and privacy knows
//! neither.

use proptest::prelude::*;

use super::tests::parameters;
use super::*;
use crate::lanes::{from_lanes, from_narrow_lanes, to_lanes, to_narrow_lanes};

#[test]
fn declared_maxima_make_narrow_lanes() {
    let bits = |max_units_per_node| {
        let p = ReleaseParameters { max_units_per_node, ..parameters() };
        Release::derive(&p).unwrap().lane_bits
    };
    // s C = 10^4: 20 nodes with one unit, 2 * (2e5 + 1.9e5) < 2^20; a generous cap costs 32 bits.
    assert_eq!([1, 100, 1000, 1 << 20].map(bits), [20, 26, 29, 32]);
    // The smallest of releases: two bytes a lane.
    let p = ReleaseParameters {
        dimension: 1,
        noise_multiplier: 0.05,
        max_units_per_node: 10,
        cohort: 3,
        min_survivors: 3,
        ..parameters()
    };
    assert_eq!(Release::derive(&p).unwrap().lane_bits, 14);
}

/// Another cap changes clamp and lanes, and nothing that the accountant reads.
#[test]
fn privacy_knows_neither_clamp_nor_lane_width() {
    let release = |max_units_per_node| {
        let p = ReleaseParameters { float_error: 1e-3, max_units_per_node, ..parameters() };
        Release::derive(&p).unwrap()
    };
    let (narrow, wide) = (release(1), release(1 << 20));
    assert!(narrow.lane_bits < wide.lane_bits && narrow.clamp < wide.clamp);
    assert_eq!(narrow.sensitivity, wide.sensitivity);
    assert_eq!(narrow.sigma_local, wide.sigma_local);
    assert_eq!(narrow.rdp().unwrap(), wide.rdp().unwrap());
}

/// A noisy sum beyond the lanes opens as another number, which depends on the noisy sum alone.
#[test]
fn a_wrap_only_harms_utility() {
    let p = ReleaseParameters { dimension: 1, max_units_per_node: 1, ..parameters() };
    let release = Release::derive(&p).unwrap();
    let (bits, range) = (release.lane_bits, 1_i64 << release.lane_bits);
    let edge = 20 * release.clamp + release.noise_tail as i64;
    let sums = [0, edge, -edge, range / 2 - 1, -range / 2];
    assert_eq!(from_lanes(&to_lanes(&sums), bits), sums);
    assert_eq!(from_lanes(&to_lanes(&[range / 2]), bits), [-range / 2]);
    for turns in [-3, 1, 2] {
        let wrapped = sums.map(|s| s + turns * range);
        assert_eq!(from_lanes(&to_lanes(&wrapped), bits), sums);
    }
    if bits <= 16 {
        assert_eq!(from_narrow_lanes(&to_narrow_lanes(&sums), bits), sums);
    }
}

fn release(cohort: u16, dimension: usize, log_units: u32, z: f64) -> Result<Release, DpError> {
    Release::derive(&ReleaseParameters {
        dimension,
        noise_multiplier: z,
        cohort,
        min_survivors: 3,
        colluders: 1,
        max_units_per_node: 1 << log_units,
        ..parameters()
    })
}

proptest! {
    #[test]
    fn lane_bits_are_minimal_and_sufficient(
        cohort in 3..2000_u16, log_dimension in 0..24_u32, log_units in 0..26_u32,
        log_z in -2.0..1.0_f64,
    ) {
        let made = release(cohort, 1 << log_dimension, log_units, 10.0_f64.powf(log_z));
        prop_assume!(made.is_ok());
        let made = made.unwrap();
        let extreme = f64::from(cohort) * made.clamp as f64 + made.noise_tail;
        let half = 2.0_f64.powi(i32::from(made.lane_bits) - 1);
        prop_assert!((8..=32).contains(&made.lane_bits));
        prop_assert!(extreme < half, "{extreme} in {} bits", made.lane_bits);
        let barely = extreme * (1.0 + 1e-12) >= half / 2.0;
        prop_assert!(made.lane_bits == 8 || barely, "{extreme} in {} bits", made.lane_bits);
    }

    #[test]
    fn lane_bits_grow_with_the_cohort(
        cohort in 3..2000_u16, more in 1..2000_u16, log_dimension in 0..20_u32,
        log_units in 0..26_u32,
    ) {
        let bits = |n| release(n, 1 << log_dimension, log_units, 1.0).map(|r| r.lane_bits);
        let (small, large) = (bits(cohort), bits(cohort + more));
        prop_assume!(small.is_ok() && large.is_ok());
        prop_assert!(small.unwrap() <= large.unwrap());
    }
}
