//! The Skellam sampler: the difference of two independent Poisson numbers of the same mean.
//!
//! It knows a variance and a generator, no release and no vector's meaning. As everywhere in this
//! module, the running time depends a little on the sampled value: draw before a round opens.

use dashu::integer::UBig;
use rand_core::{CryptoRng, RngCore};

use super::cdf::{Float, fixed, float, lower_tail, with_precision};
use super::layout::ULP_128;
use super::prepared::PreparedNoise;
use super::sum::TableSum;
use super::table::Table;
use crate::error::{DpError, in_range};

/// Largest variance of one table; a larger one is a sum of independent equal parts.
const TABLE_VARIANCE: f64 = (1 << 20) as f64;
/// Largest variance served, by 64 parts.
const MAX_VARIANCE: f64 = (1 << 26) as f64;
const MIN_VARIANCE: f64 = 0.25;

/// Sampler of the Skellam distribution with mean 0 and total variance mu,
/// `P(x) = exp(-mu) I_|x|(mu)`: what two Poisson numbers of mean mu/2 differ by.
///
/// The sum of independent Skellam numbers is one, with the summed variance. So the noise of several
/// nodes needs no correction for being a sum, unlike a sum of discrete Gaussians, and variances above 2^20
/// are drawn as the sum of 2 to 64 equal parts. What it costs is
/// [`skellam`](crate::accountant::skellam)'s business.
///
/// # Total variation
///
/// The table's thresholds are cumulative probabilities rounded down to multiples of 2^-128. They come
/// from `I_k(mu)` by Miller's backward recurrence `I_{k-1} = I_{k+1} + (2k/mu) I_k`, begun with 0 at
/// N+1 and 1 at N, in floating point of 320 bits. All its terms are positive, so that rounding changes
/// a weight by less than N 2^-318 of itself. Beginning with 0 and 1 gives, up to a constant,
/// `I_k -+ (I_{N+1} / K_{N+1}) K_k` instead of `I_k`; K_k increases with k, so the error relative to
/// the sum of all weights is at most `P(N+1)`. By Chernoff's bound with the cumulant
/// `mu (cosh t - 1)` at `t = asinh(k/mu)`,
/// `P(X >= k) <= exp(sqrt(mu^2 + k^2) - mu - k asinh(k/mu))`; N is the first k for which that is below
/// 2^-200, and what lies beyond it is below that too. So every threshold is off by less than
/// 2^-128 (1 + 2^-50), and a sample of one table by half the sum over its values, stated twice as large.
/// A sum of m draws has m times that.
#[derive(Debug, Clone)]
pub struct Skellam {
    sum: TableSum,
    variance: f64,
    total_variation: f64,
}

impl Skellam {
    /// A sampler whose total variance is exactly `total_variance`.
    ///
    /// # Errors
    /// If the variance is outside [0.25, 2^26].
    pub fn new(total_variance: f64) -> Result<Self, DpError> {
        let range = "between 0.25 and 2^26";
        in_range("total_variance", total_variance, MIN_VARIANCE, MAX_VARIANCE, range)?;
        // A power of two: the quotient is exact.
        let parts = ((total_variance / TABLE_VARIANCE).ceil() as u32).next_power_of_two();
        let each = total_variance / f64::from(parts);
        let weights = weights(each);
        let table = Table::new(&lower_tail(&weights), each.sqrt());
        let total_variation = f64::from(parts) * (2.0 * weights.len() as f64 + 8.0) * ULP_128;
        let sum = TableSum::new(table, vec![1; parts as usize]);
        Ok(Self { sum, variance: total_variance, total_variation })
    }

    /// The variance of a sample.
    pub fn total_variance(&self) -> f64 {
        self.variance
    }

    /// Bound on the total variation distance between one sample and the Skellam law.
    pub fn total_variation(&self) -> f64 {
        self.total_variation
    }

    /// One sample.
    pub fn sample<R: RngCore + CryptoRng + ?Sized>(&self, rng: &mut R) -> i64 {
        self.sum.sample(rng)
    }

    /// Adds an independent sample to every coordinate.
    pub fn add_noise<R: RngCore + CryptoRng + ?Sized>(&self, values: &mut [i64], rng: &mut R) {
        self.sum.each(values, rng, |value, noise| *value = value.wrapping_add(noise));
    }

    /// A vector of `len` independent samples, to be added once and later.
    pub fn prepare<R: RngCore + CryptoRng + ?Sized>(
        &self,
        len: usize,
        rng: &mut R,
    ) -> PreparedNoise {
        PreparedNoise::draw(&self.sum, len, rng)
    }
}

/// `I_k(mu) / I_0(mu)` in units of 2^-256 for k = 1, ..., N.
fn weights(mu: f64) -> Vec<UBig> {
    let last = reach(mu, 200.0);
    let slope = with_precision(Float::from(2)) / float(mu);
    let mut above = with_precision(Float::ZERO);
    let mut here = with_precision(Float::ONE);
    let mut bessel = Vec::with_capacity(last as usize);
    for k in (1..=last).rev() {
        let below = above + &here * &slope * with_precision(Float::from(k));
        bessel.push(here.clone());
        above = here;
        here = below;
    }
    // What is left is I_0.
    bessel.into_iter().rev().map(|i| fixed(i / &here)).collect()
}

/// A k with `P(X >= k) < 2^-bits`, by Chernoff's bound.
fn reach(mu: f64, bits: f64) -> u32 {
    let exponent = |k: u32| {
        let k = f64::from(k);
        mu + k * (k / mu).asinh() - mu.hypot(k)
    };
    // One bit more for the rounding of the exponent, which is below 2^-20.
    let enough = |k: u32| exponent(k) > (bits + 1.0) * std::f64::consts::LN_2;
    let mut high = 16;
    while !enough(high) {
        high *= 2;
    }
    let mut low = 0;
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if enough(middle) { high = middle } else { low = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SecretRng;

    /// `exp(-mu) I_k(mu) = 1/n sum_j exp(mu (cos t_j - 1)) cos(k t_j)` over n points of the circle, up
    /// to the probabilities at n - k and beyond: nothing of the recurrence is in it.
    fn probability(mu: f64, k: i64, points: u32) -> f64 {
        let term = |j: u32| {
            let t = 2.0 * std::f64::consts::PI * f64::from(j) / f64::from(points);
            (mu * (t.cos() - 1.0)).exp() * (k as f64 * t).cos()
        };
        (0..points).map(term).sum::<f64>() / f64::from(points)
    }

    #[test]
    fn thresholds_are_the_cumulative_probabilities() {
        for (mu, points) in [(0.25, 64), (1.0, 64), (7.3, 128), (100.0, 512), (900.0, 1024)] {
            let tail = lower_tail(&weights(mu));
            let unit = 2.0_f64.powi(128);
            for k in 1..=(4.0 * mu.sqrt()) as usize + 1 {
                let above = if k < tail.len() { tail[tail.len() - k - 1] as f64 } else { 0.0 };
                let found = (tail[tail.len() - k] as f64 - above) / unit;
                let exact = probability(mu, k as i64, points);
                assert!((found - exact).abs() < 1e-14, "mu {mu}, k {k}: {found} {exact}");
            }
        }
    }

    #[test]
    fn known_probabilities_far_out() {
        // For mu = 1 the first terms of the series sum_m (mu/2)^(2m+k) / (m! (m+k)!) decide.
        let tail = lower_tail(&weights(1.0));
        let mut factorial = 1.0;
        for k in 1..=20_usize {
            factorial *= k as f64;
            if k < 10 {
                continue;
            }
            let next = |n: f64| 0.25 / (n + 1.0);
            let bessel = |n: f64| 1.0 + next(n) + next(n) * 0.25 / (2.0 * (n + 2.0));
            let n = k as f64;
            let here = 0.5_f64.powi(k as i32) / factorial * bessel(n);
            let there = here * 0.5 / (n + 1.0) * bessel(n + 1.0) / bessel(n);
            let beyond = there * 0.5 / (n + 2.0);
            let exact = (-1.0_f64).exp() * (here + there + beyond);
            let found = tail[tail.len() - k] as f64 / 2.0_f64.powi(128);
            assert!((found / exact - 1.0).abs() < 1e-3, "k {k}: {found} {exact}");
        }
    }

    #[test]
    fn goodness_of_fit() {
        for (seed, mu) in [(1, 1.0), (2, 100.0), (3, 2500.0)] {
            let sampler = Skellam::new(mu).unwrap();
            assert!(misfit(&sampler, mu, seed).abs() < 5.0, "variance {mu}");
            // One percent of the standard deviation shows.
            let wrong = Skellam::new(mu * 1.03).unwrap();
            assert!(misfit(&wrong, mu, seed) > 5.0, "no power at variance {mu}");
        }
    }

    /// (chi-square - degrees) / sqrt(2 degrees) of a million samples.
    fn misfit(sampler: &Skellam, mu: f64, seed: u8) -> f64 {
        let n = 1_000_000;
        let mut rng = SecretRng::danger_deterministic([seed; 32]);
        let mut values = vec![0; n];
        sampler.add_noise(&mut values, &mut rng);
        let reach = (3.2 * mu.sqrt()) as i64 + 1;
        let points = (40.0 * mu.sqrt()) as u32 + 64;
        let mut seen = vec![0.0; (2 * reach + 2) as usize];
        let mut expected: Vec<f64> =
            (-reach..=reach).map(|k| probability(mu, k, points) * n as f64).collect();
        expected.push(n as f64 - expected.iter().sum::<f64>());
        for v in values {
            let bin = if v.abs() <= reach { (v + reach) as usize } else { seen.len() - 1 };
            seen[bin] += 1.0;
        }
        let chi2: f64 = seen.iter().zip(&expected).map(|(s, e)| (s - e).powi(2) / e).sum();
        let degrees = seen.len() as f64 - 1.0;
        (chi2 - degrees) / (2.0 * degrees).sqrt()
    }

    #[test]
    fn large_variances_are_sums_of_parts() {
        let mu = 3.0 * TABLE_VARIANCE;
        let sampler = Skellam::new(mu).unwrap();
        assert_eq!(sampler.total_variance(), mu);
        let n = 200_000;
        let mut values = vec![0; n];
        sampler.add_noise(&mut values, &mut SecretRng::danger_deterministic([5; 32]));
        let moment = |p: i32| values.iter().map(|v| (*v as f64).powi(p)).sum::<f64>() / n as f64;
        assert!(moment(1).abs() < 5.0 * (mu / n as f64).sqrt());
        assert!((moment(2) / mu - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt());
        assert!((moment(4) / (3.0 * mu * mu) - 1.0).abs() < 0.05);
        // Odd and even alike.
        let odd = values.iter().filter(|v| *v % 2 != 0).count() as f64 / n as f64;
        assert!((odd - 0.5).abs() < 5.0 * 0.5 / (n as f64).sqrt());
    }

    #[test]
    fn total_variation_is_small_and_ranges_are_checked() {
        for (mu, parts) in [(0.25, 1.0), (100.0, 1.0), (MAX_VARIANCE, 64.0)] {
            let sampler = Skellam::new(mu).unwrap();
            assert!(sampler.total_variation() >= parts * 8.0 * ULP_128);
            // A million coordinates a round, a thousand rounds, a hundred nodes.
            assert!(sampler.total_variation() * 1e11 < 1e-20, "{mu}");
        }
        for mu in [0.0, -1.0, 0.2, f64::NAN, f64::INFINITY, 1e8] {
            assert!(Skellam::new(mu).is_err());
        }
    }

    #[test]
    fn the_reach_is_where_the_tail_ends() {
        for mu in [0.25, 1.0, 100.0, 900.0] {
            let (near, far) = (reach(mu, 30.0), reach(mu, 200.0));
            assert!(near < far);
            let points = (60.0 * f64::sqrt(mu)) as u32 + 256;
            let beyond: f64 =
                (near..near + 60).map(|k| probability(mu, i64::from(k), points)).sum();
            assert!(beyond < 2.0_f64.powi(-30), "mu {mu}: {beyond}");
        }
    }
}
