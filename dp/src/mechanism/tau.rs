//! How far a sum of discrete Gaussians is from one discrete Gaussian.

use std::f64::consts::PI;

/// Bound tau on the log-ratio, in one coordinate, between the sum of `shares` independent discrete
/// Gaussians of standard parameter `sigma_local` (at least 1/2) and a discrete Gaussian of the summed
/// variance: `10 * sum_{k=1}^{h-1} exp(-2 pi^2 sigma^2 k/(k+1))` (Kairouz, Liu, Steinke 2021,
/// theorem 11). Exactly 0 for one share.
///
/// The result is rounded up to a power of two, and never below the smallest normal number: so it is
/// the same on every processor whatever its mathematical library, and stays a bound where the
/// exponentials vanish in f64.
pub fn discrete_sum_tau(sigma_local: f64, shares: u16) -> f64 {
    if shares <= 1 {
        return 0.0;
    }
    let exponent = 2.0 * PI * PI * sigma_local * sigma_local;
    let sum: f64 = (1..shares)
        .map(f64::from)
        .map(|k| (-exponent * k / (k + 1.0) * (1.0 - 8.0 * f64::EPSILON)).exp())
        .sum();
    next_power_of_two(10.0 * sum * (1.0 + 1e-12))
}

/// Smallest power of two at or above a non-negative number, at least the smallest normal number.
fn next_power_of_two(value: f64) -> f64 {
    if value <= f64::MIN_POSITIVE {
        return f64::MIN_POSITIVE;
    }
    let truncated = f64::from_bits(value.to_bits() & !((1 << 52) - 1));
    if truncated == value { value } else { truncated * 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oracle_values_are_bounded_within_a_factor_of_two() {
        for (sigma, shares, tau) in [(1.0, 1000, 5.731_282e-4), (0.5, 1000, 75.251_62)] {
            let bound = discrete_sum_tau(sigma, shares);
            assert!(bound >= tau && bound <= 2.0 * tau, "{bound} against {tau}");
        }
    }

    #[test]
    fn one_share_is_exact_and_wide_noise_negligible() {
        assert_eq!(discrete_sum_tau(3.0, 1), 0.0);
        let wide = discrete_sum_tau(3000.0, 100);
        assert!(wide > 0.0 && wide < 1e-300);
        assert!(discrete_sum_tau(3.0, 100) < 1e-36);
    }

    #[test]
    fn powers_of_two() {
        for (value, expected) in [(1.0, 1.0), (1.1, 2.0), (0.7, 1.0), (0.0, f64::MIN_POSITIVE)] {
            assert_eq!(next_power_of_two(value), expected);
        }
    }
}
