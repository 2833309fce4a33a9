//! Goodness of fit of the discrete Gaussian sampler.
//!
//! It sees draws only. The law that they are held against is summed up here from its definition,
//! apart from the tables of the sampler.

use tributary_dp::{DiscreteGaussian, SecretRng};

use super::mechanism::Seed;
use super::moments::Products;
use super::report::Check;
use super::statistics::{chi_square_upper_p, normal_p};
use crate::error::SimulationError;

/// Standard parameters that are looked at: one table, one table of the largest size, two levels.
pub const SIGMAS: [f64; 6] = [3.0, 10.0, 100.0, 1e3, 1e4, 1e5];

/// Bins of the chi-square test hold at least so many draws by expectation.
const LEAST_IN_A_BIN: f64 = 50.0;

/// Bins per standard deviation, about.
const BINS_PER_SIGMA: f64 = 8.0;

/// Remainders modulo this are uniform for sigma >= 100, to 1e-20.
const MODULUS: i64 = 64;

/// All checks of the sampler for one sigma, over `draws` draws.
///
/// # Errors
/// If there is no sampler for this sigma.
pub fn check(sigma: f64, draws: u64, seed: Seed) -> Result<Vec<Check>, SimulationError> {
    let sampler =
        DiscreteGaussian::new(sigma).map_err(|e| SimulationError::Settings(e.to_string()))?;
    let mut rng = SecretRng::danger_deterministic(seed.key());
    Ok(fit(sigma, draws, &mut || sampler.sample(&mut rng)))
}

/// The checks, for any source of draws.
pub(super) fn fit(sigma: f64, draws: u64, draw: &mut dyn FnMut() -> i64) -> Vec<Check> {
    let law = Law::of(sigma);
    let width = ((sigma / BINS_PER_SIGMA).round() as i64).max(1);
    let bins = Bins::of(&law, width, draws as f64);
    let mut counts = vec![0_u64; bins.expected.len()];
    let mut remainders = vec![0_u64; MODULUS as usize];
    let (mut sum, mut squares, mut far) = (0.0, 0.0, 0_u64);
    let mut neighbours = Products::default();
    let mut before: Option<f64> = None;
    let limit = (3.0 * sigma).ceil() as i64;
    for _ in 0..draws {
        let value = draw();
        if let Some(count) = counts.get_mut(bins.index(value)) {
            *count += 1;
        }
        remainders[value.rem_euclid(MODULUS) as usize] += 1;
        far += u64::from(value.abs() >= limit);
        let x = value as f64 / sigma;
        sum += x;
        squares += x * x;
        if let Some(before) = before {
            neighbours.add(before, x);
        }
        before = Some(x);
    }
    let n = draws as f64;
    let chi = |counts: &[u64], expected: &[f64]| -> f64 {
        let terms = counts.iter().zip(expected).map(|(c, e)| (*c as f64 - e).powi(2) / e);
        chi_square_upper_p(terms.sum(), (counts.len() as f64 - 1.0).max(1.0))
    };
    let name = |what: &str| format!("sampler.sigma-{sigma}.{what}");
    let tail = law.beyond(limit);
    let mut checks = vec![
        Check::p_value(
            name("chi-square"),
            chi(&counts, &bins.expected),
            format!("p-value of the histogram, {} bins, {draws} draws", counts.len()),
        ),
        Check::p_value(name("mean"), normal_p(sum / n.sqrt()), "p-value of the mean"),
        // The fourth moment of a discrete Gaussian this wide is that of the normal law.
        Check::p_value(
            name("variance"),
            normal_p((squares - n) / (2.0 * n).sqrt()),
            "p-value of the variance",
        ),
        Check::p_value(
            name("tail"),
            normal_p((far as f64 - n * tail) / (n * tail * (1.0 - tail)).sqrt()),
            "p-value of how often three sigma are passed",
        ),
        Check::p_value(name("independence"), neighbours.p(), "p-value: neighbouring draws"),
    ];
    if sigma >= 100.0 {
        let uniform = vec![n / MODULUS as f64; MODULUS as usize];
        let p = chi(&remainders, &uniform);
        checks.push(Check::p_value(name("remainders"), p, "p-value of the remainders modulo 64"));
    }
    checks
}

/// The discrete Gaussian law from its definition.
struct Law {
    /// Probabilities of 0, 1, 2, ...; of -x as of x.
    probabilities: Vec<f64>,
}

impl Law {
    fn of(sigma: f64) -> Self {
        let last = (10.0 * sigma).ceil() as i64;
        let weight = |x: i64| (-0.5 * (x as f64 / sigma).powi(2)).exp();
        let mut probabilities: Vec<f64> = (0..=last).map(weight).collect();
        // Smallest first, so that no small one is lost.
        let total = 2.0 * probabilities.iter().skip(1).rev().sum::<f64>() + 1.0;
        probabilities.iter_mut().for_each(|p| *p /= total);
        Self { probabilities }
    }

    fn at(&self, x: i64) -> f64 {
        self.probabilities.get(x.unsigned_abs() as usize).copied().unwrap_or(0.0)
    }

    /// P(|X| >= limit).
    fn beyond(&self, limit: i64) -> f64 {
        2.0 * self.probabilities.iter().skip(limit as usize).rev().sum::<f64>()
    }
}

/// Bins of one width, with everything outside in the first and the last.
struct Bins {
    first: i64,
    width: i64,
    expected: Vec<f64>,
}

impl Bins {
    /// As far out as a bin still holds enough of `draws` draws.
    fn of(law: &Law, width: i64, draws: f64) -> Self {
        let mass = |first: i64| (first..first + width).map(|x| law.at(x)).sum::<f64>() * draws;
        // The bin in the middle is centred on 0 as closely as its width allows.
        let middle = -(width / 2);
        let mut reach = 1;
        while mass(middle + (reach + 1) * width) >= LEAST_IN_A_BIN {
            reach += 1;
        }
        let first = middle - reach * width;
        let mut expected: Vec<f64> = (0..=2 * reach).map(|i| mass(first + i * width)).collect();
        let (left, right) = (first, middle + (reach + 1) * width);
        let outside =
            |from: i64| draws * law.probabilities.iter().skip(from as usize).rev().sum::<f64>();
        expected[0] += outside(1 - left);
        if let Some(last) = expected.last_mut() {
            *last += outside(right);
        }
        Self { first, width, expected }
    }

    fn index(&self, value: i64) -> usize {
        let place = (value - self.first).div_euclid(self.width).max(0) as usize;
        place.min(self.expected.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SIGNIFICANCE_PER_CHECK;
    use super::super::report::Verdict;
    use super::*;

    fn seed(audit: u64) -> Seed {
        Seed { audit, check: 0, world: 0, round: 0, node: 0 }
    }

    fn failed(checks: &[Check]) -> Vec<&str> {
        let failed = checks.iter().filter(|c| c.verdict == Verdict::Fail);
        failed.filter_map(|c| c.name.rsplit('.').next()).collect()
    }

    #[test]
    fn bins_hold_all_draws() {
        for sigma in [3.0, 100.0, 1e4] {
            let law = Law::of(sigma);
            let bins = Bins::of(&law, ((sigma / 8.0) as i64).max(1), 1e5);
            assert!((bins.expected.iter().sum::<f64>() - 1e5).abs() < 1e-4, "{sigma}");
            assert!(bins.expected.iter().all(|e| *e > 50.0) && bins.expected.len() > 10);
            assert_eq!(bins.index(i64::MIN / 2), 0);
            assert_eq!(bins.index(i64::MAX / 2), bins.expected.len() - 1);
            assert_eq!(bins.index(0), bins.expected.len() / 2);
        }
        assert!((Law::of(10.0).beyond(30) - 0.0031).abs() < 2e-4);
    }

    #[test]
    fn the_sampler_fits_and_its_p_values_are_not_suspiciously_high_or_low() {
        let mut lowest: f64 = 1.0;
        for sigma in SIGMAS {
            let checks = check(sigma, 100_000, seed(7)).unwrap();
            assert_eq!(failed(&checks), [""; 0], "sigma {sigma}");
            lowest = checks.iter().map(|c| c.measured).fold(lowest, f64::min);
        }
        assert!(lowest > SIGNIFICANCE_PER_CHECK && lowest < 0.5, "{lowest}");
    }

    #[test]
    fn other_laws_do_not_fit() {
        let sampler = |sigma| DiscreteGaussian::new(sigma).unwrap();
        let mut rng = SecretRng::danger_deterministic([5; 32]);
        // Two per cent too narrow.
        let narrow = sampler(98.0);
        let checks = fit(100.0, 200_000, &mut || narrow.sample(&mut rng));
        assert!(failed(&checks).contains(&"variance"));
        // A twentieth of sigma off the middle.
        let right = sampler(100.0);
        let checks = fit(100.0, 200_000, &mut || right.sample(&mut rng) + 5);
        assert!(failed(&checks).contains(&"mean"));
        // Cut off at three sigma.
        let checks = fit(100.0, 200_000, &mut || right.sample(&mut rng).clamp(-299, 299));
        assert!(failed(&checks).contains(&"tail"));
        // Even numbers only: moments and histogram hide it.
        let checks = fit(1000.0, 200_000, &mut || 2 * (sampler_half(&mut rng)));
        assert_eq!(failed(&checks), ["remainders"]);
        // Every draw twice.
        let mut last = None;
        let checks = fit(100.0, 100_000, &mut || match last.take() {
            Some(value) => value,
            None => *last.insert(right.sample(&mut rng)),
        });
        assert!(failed(&checks).contains(&"independence"));
    }

    fn sampler_half(rng: &mut SecretRng) -> i64 {
        use std::sync::OnceLock;
        static HALF: OnceLock<DiscreteGaussian> = OnceLock::new();
        HALF.get_or_init(|| DiscreteGaussian::new(500.0).unwrap()).sample(rng)
    }
}
