//! From a node's real sum to integers, and from integers to the 32-bit lanes of secure aggregation.
//!
//! It knows neither noise nor masks. The steps are 1-Lipschitz clamp, then stochastic rounding; the
//! sensitivity that [`Release`](crate::Release) derives relies on both.

use rand_core::{CryptoRng, RngCore};

/// `floor(scale * S + U)` per coordinate with U uniform in [0, 1), after clamping `scale * S` to
/// plus or minus `clamp`; shape `[d]` in, `[d]` out, every result in `[-clamp, clamp]`.
///
/// Unbiased (to 2^-64) inside the clamp. Two inputs that differ by x in a coordinate, rounded with
/// the same U, differ by less than `|scale * x| + 1` there, whatever U is: the integer part and the
/// comparison `U < fraction` are exact, there is no addition that could round. A coordinate that is
/// not finite becomes exactly 0. One 64-bit word is drawn per coordinate, whatever its value.
pub fn quantise<R: RngCore + CryptoRng + ?Sized>(
    sum: &[f64],
    scale: f64,
    clamp: i64,
    rng: &mut R,
) -> Vec<i64> {
    let bound = clamp.max(0) as f64;
    sum.iter().map(|s| round_one(*s, scale, bound, rng.next_u64())).collect()
}

/// Two's complement modulo 2^32.
pub fn to_lanes(values: &[i64]) -> Vec<u32> {
    values.iter().map(|v| *v as u32).collect()
}

/// Signed interpretation of lanes: the sum of signed values if that lies in [-2^31, 2^31).
pub fn from_lanes(lanes: &[u32]) -> Vec<i64> {
    lanes.iter().map(|l| i64::from(*l as i32)).collect()
}

fn round_one(value: f64, scale: f64, bound: f64, uniform: u64) -> i64 {
    let scaled = scale * value;
    if !value.is_finite() || scaled.is_nan() {
        return 0;
    }
    let clamped = scaled.min(bound).max(-bound);
    let whole = clamped.floor();
    // Exact: both are multiples of the same power of two and the difference is below 1. A fraction
    // that rounds to 2^64 saturates.
    let threshold = ((clamped - whole) * TWO_POW_64) as u64;
    whole as i64 + i64::from(uniform < threshold)
}

const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SecretRng;
    use proptest::prelude::*;

    #[test]
    fn unbiased() {
        let mut rng = SecretRng::danger_deterministic([1; 32]);
        for value in [0.0, 0.25, -0.75, 3.999, -17.3, 1e-3] {
            let n = 200_000;
            let values = quantise(&vec![value; n], 1.0, 1000, &mut rng);
            let mean = values.iter().sum::<i64>() as f64 / n as f64;
            let fraction: f64 = value - value.floor();
            let deviation = (fraction * (1.0 - fraction) / n as f64).sqrt();
            assert!((mean - value).abs() <= 5.0 * deviation + 1e-12, "{value}: {mean}");
        }
    }

    #[test]
    fn non_finite_is_exactly_zero_and_the_clamp_holds() {
        let mut rng = SecretRng::danger_deterministic([2; 32]);
        let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        assert_eq!(quantise(&bad, 2.0, 10, &mut rng), [0, 0, 0]);
        assert_eq!(quantise(&[1e300, -1e300, 1e-320], 1e300, 10, &mut rng), [10, -10, 0]);
        assert_eq!(quantise(&[5.0], f64::NAN, 10, &mut rng), [0]);
        assert_eq!(quantise(&[5.0], 1.0, -3, &mut rng), [0]);
    }

    #[test]
    fn lanes_wrap_like_two_complement() {
        let values = [0, 1, -1, i64::from(i32::MAX), i64::from(i32::MIN), -123_456_789];
        assert_eq!(from_lanes(&to_lanes(&values)), values);
        assert_eq!(to_lanes(&[-1, 1 << 32]), [u32::MAX, 0]);
        let sum: Vec<u32> = to_lanes(&[-5, 7])
            .iter()
            .zip(to_lanes(&[3, -9]))
            .map(|(a, b)| a.wrapping_add(b))
            .collect();
        assert_eq!(from_lanes(&sum), [-2, -2]);
    }

    proptest! {
        /// With the same U: monotone, and less than one unit beyond the real difference.
        #[test]
        fn lipschitz(
            a in -2e3..2e3_f64, difference in -30.0..30.0_f64,
            scale in 0.1..5.0_f64, uniform: u64, clamp in 1..4000_i64,
        ) {
            let b = a + difference;
            let (x, y) = (scale * a, scale * b);
            let (u, v) = (round_one(a, scale, clamp as f64, uniform), round_one(b, scale, clamp as f64, uniform));
            prop_assert!(u.abs() <= clamp && v.abs() <= clamp);
            prop_assert!((u - v).abs() as f64 <= (x - y).abs() + 1.0);
            prop_assert!((x <= y && u <= v) || (x > y && u >= v));
            if x.abs() < clamp as f64 {
                prop_assert!((u as f64 - x).abs() < 1.0);
            }
        }
    }
}
