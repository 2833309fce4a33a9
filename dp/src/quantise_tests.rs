//! Tests of the quantiser: unbiased, exact at the edges, 1-Lipschitz, and the same for every output.

use proptest::prelude::*;
use rand_core::RngCore;

use super::*;
use crate::lanes::{to_lanes, to_narrow_lanes};
use crate::rng::SecretRng;

#[test]
fn unbiased() {
    let mut rng = SecretRng::danger_deterministic([1; 32]);
    for value in [0.0_f64, 0.25, -0.75, 0.5, -0.5, 3.999, -17.3, 1e-3] {
        let n = 200_000;
        let values = quantise(&vec![value; n], 1.0, 1000, &mut rng);
        let mean = values.iter().sum::<i64>() as f64 / n as f64;
        let fraction = value - value.floor();
        let deviation = (fraction * (1.0 - fraction) / n as f64).sqrt();
        assert!((mean - value).abs() <= 5.0 * deviation + 1e-12, "{value}: {mean}");
    }
}

/// The threshold is U itself, to its last bit: below r rounds up, at or above r does not.
#[test]
fn every_bit_of_the_uniform_number_counts() {
    let step = 2.0_f64.powi(-52);
    for k in [1, 2, 3, (1 << 36) - 1, 1 << 36, (1 << 36) + 1, 1 << 50] {
        let x = k as f64 * step;
        assert_eq!([k - 1, k, k + 1].map(|u| round_one(x, 1.0, 10.0, u)), [1, 0, 0], "{k}");
        // -x + 1 is the same fraction, one lower.
        let u = (1 << 52) - k;
        assert_eq!([u - 1, u].map(|u| round_one(-x, 1.0, 10.0, u)), [0, -1], "{k}");
    }
    // Whole numbers and halves next to even and odd ones.
    for (x, low, high) in [(0.0, 0, 0), (-3.0, -3, -3), (2.5, 3, 2), (3.5, 4, 3), (-2.5, -2, -3)] {
        let last = (1 << 52) - 1;
        assert_eq!(round_one(x, 1.0, 10.0, 0), low, "{x}");
        assert_eq!(round_one(x, 1.0, 10.0, last), high, "{x}");
    }
}

#[test]
fn non_finite_is_exactly_zero_and_the_clamp_holds() {
    let mut rng = SecretRng::danger_deterministic([2; 32]);
    let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    assert_eq!(quantise(&bad, 2.0, 10, &mut rng), [0, 0, 0]);
    let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let (mut wide, mut narrow) = (vec![7; 9], vec![7; 1]);
    quantise_into_lanes(&bad, 2.0, 10, &mut rng, &mut wide);
    quantise_into_narrow_lanes(&bad, 2.0, 10, &mut rng, &mut narrow);
    assert_eq!((wide, narrow), (vec![0; 3], vec![0; 3]));
    assert_eq!(quantise(&[1e300, -1e300, 1e-320], 1e300, 10, &mut rng), [10, -10, 0]);
    assert_eq!(quantise(&[5.0], f64::NAN, 10, &mut rng), [0]);
    assert_eq!(quantise(&[5.0, 0.0, -5.0], f64::INFINITY, 10, &mut rng), [10, 0, -10]);
    assert_eq!(quantise(&[5.0], 1.0, -3, &mut rng), [0]);
    assert_eq!(quantise(&[1e300, -1e300], 1.0, i64::MAX, &mut rng), [1 << 50, -1 << 50]);
}

/// Against the formula with a floor and a ceiling, up to the largest clamp of a release.
#[test]
fn agrees_with_the_ceiling_for_large_values() {
    let limit = 2_147_483_647.0;
    for whole in [0.0, 1.0, -1.0, 2.0_f64.powi(30) + 1.0, -limit, limit - 1.0] {
        for fraction in [0.0, 0.125, 0.375, 0.5, 0.75, 0.9375] {
            for sixteenths in 0..16_u64 {
                let (x, u) = (whole + fraction, sixteenths as f64 / 16.0);
                let expected = (x - u).ceil().clamp(-limit, limit) as i64;
                assert_eq!(round_one(x, 1.0, limit, sixteenths << 48), expected, "{x}, {u}");
            }
        }
    }
}

/// Tiles, their last part, both input types and all outputs see the same randomness.
#[test]
fn all_forms_agree_and_lengths_are_kept() {
    // The vectors are used again, longer and shorter.
    let (mut lanes, mut narrow_lanes) = (Vec::new(), Vec::new());
    for length in [TILE, 0, 1, 7, TILE - 1, 2 * TILE + 3, TILE + 1] {
        let narrow: Vec<f32> = (0..length).map(|i| (i as f32 * 0.37).sin()).collect();
        let wide: Vec<f64> = narrow.iter().map(|v| f64::from(*v)).collect();
        let rng = || SecretRng::danger_deterministic([3; 32]);
        let values = quantise(&wide, 900.0, 800, &mut rng());
        assert_eq!(values.len(), length);
        assert_eq!(quantise(&narrow, 900.0, 800, &mut rng()), values);
        quantise_into_lanes(&wide, 900.0, 800, &mut rng(), &mut lanes);
        assert_eq!(lanes, to_lanes(&values));
        lanes.fill(7);
        quantise_into_lanes(&narrow, 900.0, 800, &mut rng(), &mut lanes);
        assert_eq!(lanes, to_lanes(&values));
        quantise_into_narrow_lanes(&narrow, 900.0, 800, &mut rng(), &mut narrow_lanes);
        assert_eq!(narrow_lanes, to_narrow_lanes(&values));
        for (value, real) in values.iter().zip(&wide) {
            assert!((*value as f64 - (900.0 * real).clamp(-800.0, 800.0)).abs() < 1.0);
        }
    }
}

/// How much is drawn does not depend on the values: what follows is the same.
#[test]
fn randomness_drawn_depends_on_the_length_only() {
    let after = |values: &[f64]| {
        let mut rng = SecretRng::danger_deterministic([4; 32]);
        quantise(values, 1.0, 10, &mut rng);
        rng.next_u64()
    };
    assert_eq!(after(&[0.0; 3000]), after(&[f64::NAN; 3000]));
    assert_eq!(after(&[0.0; 3000]), after(&[1e9; 3000]));
}

/// Within a tile the roundings are as good as independent: the variance of a sum is the sum of
/// variances, and not TILE times that.
#[test]
fn roundings_of_a_tile_are_not_correlated() {
    let mut rng = SecretRng::danger_deterministic([5; 32]);
    let runs = 2000;
    let sums: Vec<f64> = (0..runs)
        .map(|_| quantise(&[0.5; TILE], 1.0, 10, &mut rng).iter().sum::<i64>() as f64)
        .collect();
    let centre = TILE as f64 / 2.0;
    let variance = sums.iter().map(|s| (s - centre).powi(2)).sum::<f64>() / f64::from(runs);
    // Relative deviation of the estimate: sqrt(2 / runs) = 3 %.
    assert!((variance / (TILE as f64 / 4.0) - 1.0).abs() < 0.16, "{variance}");
}

proptest! {
    /// With the same U: monotone, and less than one unit beyond the real difference.
    #[test]
    fn lipschitz(
        a in -2e3..2e3_f64, difference in -30.0..30.0_f64,
        scale in 0.1..5.0_f64, uniform in 0..1_u64 << 52, clamp in 1..4000_i64,
    ) {
        let b = a + difference;
        let (x, y) = (scale * a, scale * b);
        let rounded = |value| round_one(value, scale, clamp as f64, uniform);
        let (u, v) = (rounded(a), rounded(b));
        prop_assert!(u.abs() <= clamp && v.abs() <= clamp);
        prop_assert!((u - v).abs() as f64 <= (x - y).abs() + 1.0);
        prop_assert!((x <= y && u <= v) || (x > y && u >= v));
        if x.abs() < clamp as f64 {
            prop_assert!((u as f64 - x).abs() < 1.0);
        }
    }
}
