//! The tests and bounds that verdicts rest on. It knows numbers only.
//!
//! Distribution functions come from `statrs`.

use statrs::distribution::{Beta, ChiSquared, ContinuousCDF, Normal};

/// Two-sided p-value of a standard normal statistic; 0 for one that is not a number.
#[must_use]
pub fn normal_p(z: f64) -> f64 {
    if z.is_nan() { 0.0 } else { 2.0 * upper_normal(z.abs()) }
}

/// Two-sided p-value of a chi-square statistic with so many degrees of freedom; 0 for one that is not
/// a number.
#[must_use]
pub fn chi_square_p(statistic: f64, freedom: f64) -> f64 {
    match ChiSquared::new(freedom) {
        Ok(law) if statistic >= 0.0 => (2.0 * law.sf(statistic).min(law.cdf(statistic))).min(1.0),
        _ => 0.0,
    }
}

/// One-sided p-value of a chi-square statistic: how often a fit is as bad as this or worse.
#[must_use]
pub fn chi_square_upper_p(statistic: f64, freedom: f64) -> f64 {
    match ChiSquared::new(freedom) {
        Ok(law) if statistic >= 0.0 => law.sf(statistic),
        _ => 0.0,
    }
}

/// How far a standard normal variable strays at most, on either side, but with probability
/// `significance`.
#[must_use]
pub fn normal_limit(significance: f64) -> f64 {
    -normal_quantile(significance / 2.0)
}

/// `P(N(0,1) <= x)`.
#[must_use]
pub fn normal_cdf(x: f64) -> f64 {
    standard().map_or(f64::NAN, |law| law.cdf(x))
}

/// `x` with `P(N(0,1) <= x) = p`; what is outside [0, 1] counts as the nearer end.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    let p = if p > 0.0 { p.min(1.0) } else { 0.0 };
    standard().map_or(f64::NAN, |law| law.inverse_cdf(p))
}

/// Lower confidence bound of a probability that held `hits` times out of `trials` (Clopper and
/// Pearson, "The use of confidence or fiducial limits", 1934): too high with probability at most
/// `miss`.
#[must_use]
pub fn probability_at_least(hits: u64, trials: u64, miss: f64) -> f64 {
    if hits == 0 || hits > trials {
        return 0.0;
    }
    Beta::new(hits as f64, (trials - hits + 1) as f64).map_or(0.0, |law| law.inverse_cdf(miss))
}

/// Upper confidence bound of a probability, as [`probability_at_least`].
#[must_use]
pub fn probability_at_most(hits: u64, trials: u64, miss: f64) -> f64 {
    if hits >= trials {
        return 1.0;
    }
    1.0 - probability_at_least(trials - hits, trials, miss)
}

/// Epsilon at `delta` of one release of a Poisson-subsampled Gaussian mechanism, not as a bound but
/// as it is: sampling rate `q`, `mu` the shift over the standard deviation. For q = 1 this is theorem
/// 8 of Balle and Wang, "Improving the Gaussian mechanism for differential privacy" (2018); for
/// q < 1 the hockey-stick divergences of `N(0,1)` and `(1-q) N(0,1) + q N(mu,1)` in both directions.
#[must_use]
pub fn gaussian_epsilon(mu: f64, q: f64, delta: f64) -> f64 {
    if !(mu > 0.0 && q > 0.0) {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while gaussian_delta(mu, q, high) > delta && high < 700.0 {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if gaussian_delta(mu, q, middle) > delta { low = middle } else { high = middle }
    }
    high
}

fn gaussian_delta(mu: f64, q: f64, epsilon: f64) -> f64 {
    let growth = epsilon.exp();
    // The likelihood ratio 1 - q + q exp(mu x - mu^2 / 2) equals `ratio` at x.
    let place = |ratio: f64| ((ratio - 1.0 + q) / q).ln() / mu + mu / 2.0;
    let x = place(growth);
    let added = (1.0 - q - growth) * upper_normal(x) + q * upper_normal(x - mu);
    if 1.0 / growth <= 1.0 - q {
        return added;
    }
    let x = place(1.0 / growth);
    let (without, with) = (normal_cdf(x), (1.0 - q) * normal_cdf(x) + q * normal_cdf(x - mu));
    added.max(without - growth * with)
}

fn upper_normal(x: f64) -> f64 {
    normal_cdf(-x)
}

fn standard() -> Option<Normal> {
    Normal::new(0.0, 1.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clopper_pearson_known_values() {
        // Standard tables: 5 of 20 at 95 %, two-sided: 0.0866 to 0.4910; 0 of 20: at most 0.1684.
        assert!((probability_at_least(5, 20, 0.025) - 0.08657).abs() < 1e-4);
        assert!((probability_at_most(5, 20, 0.025) - 0.49105).abs() < 1e-4);
        assert!((probability_at_most(0, 20, 0.025) - 0.16843).abs() < 1e-4);
        assert_eq!((probability_at_least(0, 9, 0.05), probability_at_most(9, 9, 0.05)), (0.0, 1.0));
        // 1 - 0.05^(1/n) where nothing was seen, also for many trials.
        let none = probability_at_most(0, 100_000, 0.05);
        assert!((none / 2.99569e-5 - 1.0).abs() < 1e-3, "{none}");
    }

    #[test]
    fn p_values_known() {
        assert!((normal_p(1.959964) - 0.05).abs() < 1e-6);
        assert!((chi_square_upper_p(18.307, 10.0) - 0.05).abs() < 1e-5);
        assert!((normal_limit(0.05) - 1.959964).abs() < 1e-6);
        assert!((normal_p(6.0) / 1.9732e-9 - 1.0).abs() < 1e-3);
        assert_eq!((normal_p(f64::NAN), chi_square_p(f64::NAN, 3.0)), (0.0, 0.0));
        assert!(chi_square_p(10.0, 100.0) < 1e-20, "too good a fit is as odd as too bad a one");
    }

    #[test]
    fn exact_gaussian_epsilon() {
        // dp-accounting's D* column for one release at z = 1 and delta 1e-5 is 4.377.
        assert!((gaussian_epsilon(1.0, 1.0, 1e-5) - 4.3767).abs() < 2e-3);
        let halved = gaussian_epsilon(1.0, 0.5, 1e-5);
        assert!(halved < gaussian_epsilon(1.0, 1.0, 1e-5) && halved > 3.0, "{halved}");
        assert!(gaussian_epsilon(1.0, 0.01, 1e-5) < 2.0);
        assert_eq!(gaussian_epsilon(0.0, 1.0, 1e-5), 0.0);
        // Never above the accountant's bound.
        for (q, z) in [(1.0, 1.0), (0.5, 2.0), (0.1, 0.7), (0.01, 1.0)] {
            let curve = tributary_dp::subsampled_gaussian(q, z).unwrap();
            for delta in [1e-2, 1e-5] {
                let bound = tributary_dp::epsilon(&curve, delta).unwrap().epsilon;
                let exact = gaussian_epsilon(1.0 / z, q, delta);
                assert!(exact <= bound, "{q} {z} {delta}: {exact} above {bound}");
                assert!(exact > 0.15 * bound || delta > 1e-3, "{q} {z} {delta}: {exact} {bound}");
            }
        }
    }
}
