//! Renyi divergence of one release of the (Poisson-subsampled, discrete) Gaussian mechanism.
//!
//! The noise multiplier here is the standard deviation of the honest noise over the sensitivity.

use super::curve::RdpCurve;
use super::log_binomial::{LN_BINOMIAL_ERROR, ln_binomial};
use crate::error::{DpError, in_range};

/// Smallest noise multiplier accepted; below it no number means anything.
pub const MIN_NOISE_MULTIPLIER: f64 = 0.01;
/// Largest noise multiplier accepted.
pub const MAX_NOISE_MULTIPLIER: f64 = 1e9;

/// Relative error granted to every product and function in a term's logarithm.
const TERM_RELATIVE: f64 = 8.0 * f64::EPSILON;
/// Absolute error granted to a term's logarithm and to the sum of at most 1023 terms.
const TERM_ABSOLUTE: f64 = LN_BINOMIAL_ERROR + 1e-12;

/// Curve of one release with Poisson sampling rate `q` in (0, 1] and the given noise multiplier `z`.
///
/// Mironov, Talwar, Zhang, "Renyi differential privacy of the sampled Gaussian mechanism" (2019),
/// section 3.3, integer orders a:
/// `R(a) = 1/(a-1) * ln sum_i C(a,i) (1-q)^(a-i) q^i exp(i(i-1)/(2 z^2))`; for q = 1 it is
/// `a / (2 z^2)`. The same numbers hold for discrete Gaussian noise with integer shifts.
/// The sum is taken as `1 + X`, where X collects the terms with `exp(..) - 1`, all positive, so
/// that small divergences keep their relative accuracy. Rounded upwards.
///
/// # Errors
/// If `q` is outside (0, 1] or the noise multiplier outside [0.01, 1e9].
pub fn subsampled_gaussian(q: f64, noise_multiplier: f64) -> Result<RdpCurve, DpError> {
    in_range("sampling_rate", q, f64::MIN_POSITIVE, 1.0, "in (0, 1]")?;
    let (low, high) = (MIN_NOISE_MULTIPLIER, MAX_NOISE_MULTIPLIER);
    in_range("noise_multiplier", noise_multiplier, low, high, "between 0.01 and 1e9")?;
    let variance = noise_multiplier * noise_multiplier;
    if q == 1.0 {
        let full = |a: u32| f64::from(a) / (2.0 * variance) * (1.0 + 4.0 * f64::EPSILON);
        return Ok(RdpCurve::from_fn(full));
    }
    // ln(exp(y) - 1) for y = i(i-1)/(2 z^2) does not depend on the order.
    let growth: Vec<f64> = (0..=1024_u32)
        .map(|i| ln_expm1(f64::from(i) * (f64::from(i) - 1.0) / (2.0 * variance)))
        .collect();
    let (ln_q, ln_rest) = (q.ln(), (-q).ln_1p());
    let mut terms = Vec::with_capacity(1024);
    Ok(RdpCurve::from_fn(|a| {
        terms.clear();
        for (i, growth) in (0..=a).zip(&growth).skip(2) {
            let parts =
                [ln_binomial(a, i), f64::from(a - i) * ln_rest, f64::from(i) * ln_q, *growth];
            let magnitude: f64 = parts.iter().map(|p| p.abs()).sum();
            terms.push(parts.iter().sum::<f64>() + TERM_ABSOLUTE + TERM_RELATIVE * magnitude);
        }
        let ln_x = log_sum_exp(&terms);
        ln_one_plus_exp(ln_x) * (1.0 + 8.0 * f64::EPSILON) / (f64::from(a) - 1.0)
    }))
}

/// What a sum of several independent discrete Gaussians may lose against one discrete Gaussian of the
/// summed variance: `(2a+1)/(a-1) * tau * d` per release, where e^tau bounds the ratio of the two
/// laws in one coordinate (Kairouz, Liu, Steinke, "The distributed discrete Gaussian mechanism",
/// 2021, section 4) and `d` is the dimension. Rounded upwards.
pub fn discrete_correction(tau: f64, dimension: usize) -> RdpCurve {
    if tau == 0.0 {
        return RdpCurve::zero();
    }
    let per_coordinate = tau * dimension as f64 * (1.0 + 8.0 * f64::EPSILON);
    RdpCurve::from_fn(|a| {
        let a = f64::from(a);
        (2.0 * a + 1.0) / (a - 1.0) * per_coordinate
    })
}

/// ln(e^y - 1) for y > 0; minus infinity at 0.
fn ln_expm1(y: f64) -> f64 {
    if y > 1.0 { y + (-(-y).exp()).ln_1p() } else { y.exp_m1().ln() }
}

/// ln(1 + e^l), accurate for very negative l.
fn ln_one_plus_exp(l: f64) -> f64 {
    l.max(0.0) + (-l.abs()).exp().ln_1p()
}

fn log_sum_exp(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + terms.iter().map(|t| (t - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(q: f64, z: f64, order: u32) -> f64 {
        subsampled_gaussian(q, z).unwrap().at(order).unwrap()
    }

    #[test]
    fn closed_forms() {
        // Order 2: ln(1 + q^2 (e^{1/z^2} - 1)), also where the divergence is tiny.
        for (q, z) in [(0.1_f64, 1.0_f64), (0.5, 3.0), (1e-6, 2.0), (1e-9, 50.0)] {
            let exact = (q * q * (1.0 / (z * z)).exp_m1()).ln_1p();
            let value = at(q, z, 2);
            assert!(value >= exact, "q={q} z={z}: {value} < {exact}");
            assert!(value <= exact * (1.0 + 1e-10), "q={q} z={z}: {value} > {exact}");
        }
        assert!((at(1.0, 2.0, 64) - 8.0).abs() < 1e-12);
    }

    #[test]
    fn high_precision_values_are_bounded_from_above() {
        // From 60-digit arithmetic of the same formula.
        for (q, z, order, exact) in HIGH_PRECISION {
            let value = at(q, z, order);
            assert!(value >= exact, "q={q} z={z} a={order}: {value} < {exact}");
            assert!(value <= exact * (1.0 + 1e-9), "q={q} z={z} a={order}: {value} > {exact}");
        }
    }

    const HIGH_PRECISION: [(f64, f64, u32, f64); 6] = [
        (0.01, 1.0, 8, 0.000_893_643_907_606_031_8),
        (0.1, 0.5, 2, 0.429_169_590_597_899_7),
        (0.25, 8.0, 128, 0.10857268078954002),
        (0.001, 0.6, 1024, 1415.3077144942871),
        (0.04, 2.0, 33, 0.8141283581813413),
        (0.0001, 40.0, 1024, 3.201204775738334e-9),
    ];

    #[test]
    fn refuses_nonsense() {
        for (q, z) in [(0.0, 1.0), (-0.1, 1.0), (1.1, 1.0), (f64::NAN, 1.0)] {
            assert!(subsampled_gaussian(q, z).is_err());
        }
        for z in [0.0, -1.0, 1e-3, f64::NAN, f64::INFINITY] {
            assert!(subsampled_gaussian(0.1, z).is_err());
        }
    }

    #[test]
    fn correction_formula() {
        let curve = discrete_correction(1e-6, 1000);
        assert!((curve.at(2).unwrap() - 5e-3).abs() < 1e-12);
        assert!((curve.at(1024).unwrap() - 2049.0 / 1023.0 * 1e-3).abs() < 1e-12);
        assert_eq!(discrete_correction(0.0, 1000), RdpCurve::zero());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn monotone(q in 0.001..0.9_f64, z in 0.3..20.0_f64) {
            let base = subsampled_gaussian(q, z).unwrap();
            let more_data = subsampled_gaussian(q * 1.1, z).unwrap();
            let more_noise = subsampled_gaussian(q, z * 1.1).unwrap();
            let full = subsampled_gaussian(1.0, z).unwrap();
            let mut last = 0.0;
            for (((b, d), n), f) in base.values().iter().zip(more_data.values())
                .zip(more_noise.values()).zip(full.values())
            {
                prop_assert!(d >= b && b >= n && f >= b);
                // Renyi divergence does not decrease in the order.
                prop_assert!(*b >= last * (1.0 - 1e-9));
                last = *b;
            }
        }
    }
}
