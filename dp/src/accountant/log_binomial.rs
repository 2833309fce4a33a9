//! Logarithms of binomial coefficients up to the largest order, with a stated error.

use std::sync::OnceLock;

const SIZE: usize = 1025;

/// Absolute error bound of [`ln_binomial`].
///
/// Each `ln k` is off by at most one unit in the last place of a number below 7, so a sum of 1024 of
/// them (compensated, plus one final rounding near 6078) is off by less than 2e-12; a coefficient
/// takes three such sums and two subtractions.
pub(crate) const LN_BINOMIAL_ERROR: f64 = 8e-12;

/// ln of `n` over `k`, for `k <= n <= 1024`; minus infinity outside.
pub(crate) fn ln_binomial(n: u32, k: u32) -> f64 {
    let table = ln_factorials();
    let of = |i: u32| table.get(i as usize).copied();
    match (of(n), of(k), n.checked_sub(k).and_then(of)) {
        (Some(n), Some(k), Some(rest)) => n - k - rest,
        _ => f64::NEG_INFINITY,
    }
}

fn ln_factorials() -> &'static [f64] {
    static TABLE: OnceLock<Vec<f64>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
        let mut table = vec![0.0];
        for k in 1..SIZE {
            // Kahan summation keeps the error of the running sum at one rounding.
            let term = (k as f64).ln() - lost;
            let next = sum + term;
            lost = (next - sum) - term;
            sum = next;
            table.push(sum);
        }
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_coefficients() {
        for (n, k, value) in
            [(5, 2, 10.0), (30, 15, 155_117_520.0), (60, 30, 1.182_645_815_648_614_2e17)]
        {
            let error = ln_binomial(n, k) - f64::ln(value);
            assert!(error.abs() < LN_BINOMIAL_ERROR, "{n} over {k}: {error}");
        }
        // 1024 over 512, from exact integer arithmetic.
        assert!((ln_binomial(1024, 512) - 706.090_941_497_353_4).abs() < LN_BINOMIAL_ERROR);
        assert_eq!(ln_binomial(3, 4), f64::NEG_INFINITY);
    }
}
