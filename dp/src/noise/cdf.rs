//! Cumulative probabilities to 128 bits from weights in fixed point with 256 fractional bits, and the
//! weights of the discrete Gaussian.

use dashu::base::Sign;
use dashu::float::{FBig, round::mode::HalfEven};
use dashu::integer::UBig;

use super::layout::reach;

/// Numbers of [`PRECISION`] bits.
pub(super) type Float = FBig<HalfEven, 2>;

/// Fractional bits of the weights. A weight of the Gaussian is the product of at most 2^19 factors,
/// each truncated, so it is off by less than 2^-216: nothing against the 2^-128 of a threshold.
pub(super) const FRACTION: usize = 256;

/// Precision of floating-point numbers, in bits.
const PRECISION: usize = 320;

/// `P(X <= -k)` in units of 2^-128, rounded down, for k = K, K-1, ..., 1 (ascending probability);
/// K is the last k for which that is not 0. By symmetry this determines the law. `weights` are
/// `P(X = k) / P(X = 0)` in units of 2^-256 for k = 1, 2, ...
pub(super) fn lower_tail(weights: &[UBig]) -> Vec<u128> {
    let sum: UBig = weights.iter().sum();
    let total = (UBig::ONE << FRACTION) + (sum << 1);
    let mut cumulative = UBig::ZERO;
    let mut tail = Vec::with_capacity(weights.len());
    for weight in weights.iter().rev() {
        cumulative += weight;
        // Below one half, so the conversion cannot fail.
        let threshold = u128::try_from((&cumulative << 128) / &total).unwrap_or(u128::MAX / 2);
        if threshold > 0 {
            tail.push(threshold);
        }
    }
    tail
}

/// `exp(-k^2 / (2 sigma^2))` for k = 1, 2, ..., by the recurrence w_{k+1} = w_k r_k,
/// r_k = exp(-(2k+1) / (2 sigma^2)).
pub(super) fn gaussian_weights(sigma: f64) -> Vec<UBig> {
    let ratio = exp_minus_inverse(sigma, 1);
    let mut step = exp_minus_inverse(sigma, 2);
    let mut weight = UBig::ONE << FRACTION;
    let mut weights = Vec::new();
    for _ in 0..reach(sigma) {
        weight = (weight * &step) >> FRACTION;
        step = (step * &ratio) >> FRACTION;
        weights.push(weight.clone());
    }
    weights
}

/// A number at full precision; exact for a finite one. Callers have checked that it is.
pub(super) fn float(v: f64) -> Float {
    with_precision(Float::try_from(v).unwrap_or(Float::ONE))
}

/// The same number, computed with at full precision from here on.
pub(super) fn with_precision(v: Float) -> Float {
    v.with_precision(PRECISION).value()
}

/// A non-negative number in units of 2^-256, rounded down.
pub(super) fn fixed(v: Float) -> UBig {
    let scaled = v * with_precision(Float::from(UBig::ONE << FRACTION));
    match scaled.floor().to_int().value().into_parts() {
        (Sign::Positive, magnitude) => magnitude,
        (Sign::Negative, _) => UBig::ZERO,
    }
}

/// `exp(-1 / (factor sigma^2))` in units of 2^-256, rounded down; sigma is taken exactly.
fn exp_minus_inverse(sigma: f64, factor: u32) -> UBig {
    let sigma = float(sigma);
    let variance = &sigma * &sigma * with_precision(Float::from(factor));
    fixed((-(with_precision(Float::ONE) / variance)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(sigma: f64) -> Vec<u128> {
        lower_tail(&gaussian_weights(sigma))
    }

    fn tail(sigma: f64, k: usize) -> f64 {
        let table = table(sigma);
        table[table.len() - k] as f64 / 2.0_f64.powi(128)
    }

    #[test]
    fn known_probabilities() {
        // From 60-digit arithmetic; the last ones only exist because thresholds have 128 bits.
        for (sigma, k, expected) in KNOWN {
            let value = tail(sigma, k);
            assert!((value / expected - 1.0).abs() < 1e-13, "sigma {sigma}, k {k}: {value}");
        }
    }

    const KNOWN: [(f64, usize, f64); 6] = [
        (0.5, 1, 0.10671464647902605),
        (1.0, 1, 0.30052886086656915),
        (1.0, 10, 7.694_810_469_606_493e-23),
        (3.7, 5, 0.11124412830548398),
        (10.0, 100, 1.209822695804983e-23),
        (300.0, 2700, 1.145_807_025_449_03e-19),
    ];

    #[test]
    fn thresholds_increase_and_stay_below_one_half() {
        for sigma in [0.5, 1.0, 7.3, 150.0] {
            let table = table(sigma);
            // In the outermost tail several values may share a threshold: then they never occur.
            assert!(table.windows(2).all(|w| w[0] < w[1] || (w[0] == w[1] && w[0] < 1000)));
            assert!(table.last().is_some_and(|t| *t < 1 << 127));
            // exp(-13^2 / 2) is above 2^-128, so a full table reaches further than 12.9 sigma.
            assert!(table.len() as f64 > 12.9 * sigma - 1.0, "sigma {sigma}: {}", table.len());
        }
    }
}
