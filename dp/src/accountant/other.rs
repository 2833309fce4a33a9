//! Renyi curves of mechanisms that no job uses, for calculations beside it and as a check of the
//! conversion: Laplace noise, zero-concentrated privacy, tree aggregation, sampling of a fixed size.

use super::curve::RdpCurve;
use super::gaussian::{MAX_NOISE_MULTIPLIER, MIN_NOISE_MULTIPLIER, subsampled_gaussian};
use super::log_binomial::ln_binomial;
use crate::error::{DpError, in_range};

/// Relative error granted to a few functions in a row.
const SLACK: f64 = 1.0 + 1e-11;

/// Curve of one release with Laplace noise of the given scale over sensitivity: `R(a) = 1/(a-1) ln(
/// a/(2a-1) e^((a-1)/b) + (a-1)/(2a-1) e^(-a/b))` (Mironov, "Renyi differential privacy", 2017,
/// proposition 6). Rounded upwards.
///
/// # Errors
/// If the scale is outside [1e-3, 1e9].
pub fn laplace(scale: f64) -> Result<RdpCurve, DpError> {
    in_range("scale", scale, 1e-3, 1e9, "between 1e-3 and 1e9")?;
    Ok(RdpCurve::from_fn(|a| {
        let a = f64::from(a);
        let (gain, loss) = ((a - 1.0) / scale, -a / scale);
        let rest = (a - 1.0) / a * (loss - gain).exp();
        let divergence = gain + (a / (2.0 * a - 1.0)).ln() + rest.ln_1p();
        // Cancellation at large scales: the terms are below gain + ln 2 in size.
        (divergence.max(0.0) + 1e-15 * (gain + 1.0)) / (a - 1.0) * SLACK
    }))
}

/// Curve of a rho-zero-concentrated release: `R(a) = rho a` (Bun and Steinke 2016).
///
/// # Errors
/// If rho is negative or not finite.
pub fn zero_concentrated(rho: f64) -> Result<RdpCurve, DpError> {
    in_range("rho", rho, 0.0, 1e9, "between 0 and 1e9")?;
    Ok(RdpCurve::from_fn(|a| rho * f64::from(a) * (1.0 + f64::EPSILON)))
}

/// Curve of all prefix sums of `steps` numbers by one binary tree, each node with Gaussian noise of
/// the given multiplier: a unit in one step is in at most `ceil(log2(steps + 1))` nodes (Kairouz et
/// al., "Practical and private (deep) learning without sampling or shuffling", 2021). A unit may take
/// part in one step only.
///
/// # Errors
/// If the noise multiplier is outside its domain or there is no step.
pub fn tree_aggregation(noise_multiplier: f64, steps: u32) -> Result<RdpCurve, DpError> {
    if steps == 0 {
        return Err(DpError::parameter("steps", steps, "at least 1"));
    }
    let nodes = u32::BITS - steps.leading_zeros();
    Ok(subsampled_gaussian(1.0, noise_multiplier)?.times(nodes))
}

/// Curve of one release with Gaussian noise on a sample of exactly `sample` of `units` units, drawn
/// without replacement, where neighbours REPLACE one unit and the noise multiplier is over the
/// sensitivity to that (twice the clip norm): Wang, Balle, Kasiviswanathan,
/// "Subsampled Renyi differential privacy and analytical moments accountant" (2019), theorem 9,
/// `R(a) <= 1/(a-1) ln(1 + q^2 C(a,2) min(4 (e^e2 - 1), 2 e^e2) + sum_j 2 q^j C(a,j) e^((j-1) e_j))`.
/// Rounded upwards.
///
/// # Errors
/// If a parameter is outside its domain.
pub fn sampled_without_replacement(
    units: u64,
    sample: u64,
    noise_multiplier: f64,
) -> Result<RdpCurve, DpError> {
    let (low, high) = (MIN_NOISE_MULTIPLIER, MAX_NOISE_MULTIPLIER);
    in_range("noise_multiplier", noise_multiplier, low, high, "between 0.01 and 1e9")?;
    if sample == 0 || sample > units {
        return Err(DpError::parameter("sample", sample, "between 1 and the number of units"));
    }
    let full = |a: f64| a / (2.0 * noise_multiplier * noise_multiplier);
    if sample == units {
        return Ok(RdpCurve::from_fn(|a| full(f64::from(a)) * SLACK));
    }
    let ln_q = (sample as f64).ln() - (units as f64).ln();
    Ok(RdpCurve::from_fn(|a| {
        let first = full(2.0);
        let pair = (4.0 * first.exp_m1()).min(2.0 * first.exp()).ln();
        let pair = pair + 2.0 * ln_q + ln_binomial(a, 2);
        let more = (3..=a).map(|j| {
            let i = f64::from(j);
            std::f64::consts::LN_2 + i * ln_q + ln_binomial(a, j) + (i - 1.0) * full(i)
        });
        let terms: Vec<f64> = std::iter::once(pair).chain(more).collect();
        let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let ln_x = top + terms.iter().map(|t| (t - top).exp()).sum::<f64>().ln() + 1e-11;
        let divergence = ln_x.max(0.0) + (-ln_x.abs()).exp().ln_1p();
        // Sampling never costs more than taking everybody.
        (divergence * SLACK / (f64::from(a) - 1.0)).min(full(f64::from(a)) * SLACK)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accountant::epsilon;

    fn at(curve: &RdpCurve, delta: f64) -> f64 {
        epsilon(curve, delta).unwrap().epsilon
    }

    #[test]
    fn oracle_values() {
        // dp-accounting 0.6: its order for Laplace is ours; its orders for the tree are finer.
        let ten = laplace(2.0).unwrap().times(10);
        assert!((at(&ten, 1e-6) / 4.9989814 - 1.0).abs() < 1e-6, "{}", at(&ten, 1e-6));
        let tree = at(&tree_aggregation(5.0, 1000).unwrap(), 1e-6);
        assert!((3.1310898..3.1345028).contains(&tree), "{tree}");
        let rho = at(&zero_concentrated(0.5).unwrap(), 1e-9);
        assert!((rho / 6.4754086 - 1.0).abs() < 1e-6);
        let fixed = sampled_without_replacement(60_000, 600, 1.0).unwrap().times(1000);
        assert!((at(&fixed, 1e-5) / 3.5761115 - 1.0).abs() < 1e-6, "{}", at(&fixed, 1e-5));
    }

    #[test]
    fn shape_and_refusals() {
        let curve = laplace(1e6).unwrap();
        assert!(curve.values().iter().all(|v| *v >= 0.0 && *v < 1e-9));
        let all = sampled_without_replacement(10, 10, 3.0).unwrap();
        assert!((all.at(2).unwrap() - 1.0 / 9.0).abs() < 1e-10);
        let some = sampled_without_replacement(1000, 10, 3.0).unwrap();
        assert!(some.values().iter().zip(all.values()).all(|(s, a)| s <= a));
        assert!(laplace(0.0).is_err() && zero_concentrated(-1.0).is_err());
        assert!(tree_aggregation(1.0, 0).is_err() && tree_aggregation(0.0, 8).is_err());
        assert!(sampled_without_replacement(10, 11, 1.0).is_err());
        assert!(sampled_without_replacement(10, 0, 1.0).is_err());
        // 1023 steps fit a tree of ten levels, 1024 need one more.
        let depth = |steps| tree_aggregation(1.0, steps).unwrap().at(2).unwrap().round() as u32;
        assert_eq!((depth(1), depth(1023), depth(1024)), (1, 10, 11));
    }
}
