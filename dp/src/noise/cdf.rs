//! Cumulative probabilities of the discrete Gaussian to 128 bits, by fixed-point arithmetic with 256
//! fractional bits.

use dashu::base::Sign;
use dashu::float::{FBig, round::mode::HalfEven};
use dashu::integer::UBig;

use super::layout::reach;

type Float = FBig<HalfEven, 2>;

/// Fractional bits of the weights. A weight is the product of at most 2^19 factors, each truncated,
/// so it is off by less than 2^-216: nothing against the 2^-128 of a threshold.
const FRACTION: usize = 256;

/// Precision of the exponentials, in bits.
const PRECISION: usize = 320;

/// `P(X <= -k)` in units of 2^-128, rounded down, for k = K, K-1, ..., 1 (ascending probability);
/// K is the last k for which that is not 0. By symmetry this determines the law.
pub(super) fn lower_tail(sigma: f64) -> Vec<u128> {
    let weights = weights(sigma);
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
fn weights(sigma: f64) -> Vec<UBig> {
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

/// `exp(-1 / (factor sigma^2))` in units of 2^-256, rounded down; sigma is taken exactly.
fn exp_minus_inverse(sigma: f64, factor: u32) -> UBig {
    let float = |v: Float| v.with_precision(PRECISION).value();
    // A finite sigma always converts; the layout has checked it.
    let sigma = float(Float::try_from(sigma).unwrap_or(Float::ONE));
    let variance = &sigma * &sigma * float(Float::from(factor));
    let exponential = (-(float(Float::ONE) / variance)).exp();
    let scaled = exponential * float(Float::from(UBig::ONE << FRACTION));
    match scaled.floor().to_int().value().into_parts() {
        (Sign::Positive, magnitude) => magnitude,
        (Sign::Negative, _) => UBig::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(sigma: f64, k: usize) -> f64 {
        let table = lower_tail(sigma);
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
            let table = lower_tail(sigma);
            // In the outermost tail several values may share a threshold: then they never occur.
            assert!(table.windows(2).all(|w| w[0] < w[1] || (w[0] == w[1] && w[0] < 1000)));
            assert!(table.last().is_some_and(|t| *t < 1 << 127));
            // exp(-13^2 / 2) is above 2^-128, so a full table reaches further than 12.9 sigma.
            assert!(table.len() as f64 > 12.9 * sigma - 1.0, "sigma {sigma}: {}", table.len());
        }
    }
}
