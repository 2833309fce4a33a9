//! Ours and opendp's samples come from one law. opendp cannot be seeded, so the bounds are far out: a
//! right pair exceeds them once in 10^9 runs.

use tributary_dp::{DiscreteGaussian, SecretRng, Skellam};
use tributary_dp_oracle::{measurement, samples};

const N: usize = 30_000;

fn ours(sigma: f64, seed: u8) -> Vec<i64> {
    let mut values = vec![0; 4 * N];
    let mut rng = SecretRng::danger_deterministic([seed; 32]);
    DiscreteGaussian::new(sigma).unwrap().add_noise(&mut values, &mut rng);
    values
}

/// Two-sample chi-square as (statistic - degrees) / sqrt(2 degrees), in bins of a quarter of sigma.
fn distance(first: &[i64], second: &[i64], sigma: f64) -> f64 {
    let width = ((sigma / 4.0) as i64).max(1);
    let most = ((2.5 * sigma) as i64 / width).max(1);
    let bin = |v: i64| ((v + width / 2).div_euclid(width).clamp(-most, most) + most) as usize;
    let count = |values: &[i64]| {
        let mut counts = vec![0.0; (2 * most + 1) as usize];
        values.iter().for_each(|v| counts[bin(*v)] += 1.0);
        counts
    };
    let (n, m) = (first.len() as f64, second.len() as f64);
    let (first, second) = (count(first), count(second));
    let pairs = first.iter().zip(&second);
    let chi2: f64 = pairs
        .map(|(a, b)| {
            assert!(a + b > 10.0, "a bin has {a} and {b}");
            ((m / n).sqrt() * a - (n / m).sqrt() * b).powi(2) / (a + b)
        })
        .sum();
    let degrees = first.len() as f64 - 1.0;
    (chi2 - degrees) / (2.0 * degrees).sqrt()
}

#[test]
fn discrete_gaussians_cannot_be_told_apart() {
    for (seed, sigma) in [(1, 0.7), (2, 3.0), (3, 50.0), (4, 1000.0), (5, 5000.0), (6, 1e5)] {
        let theirs = samples(sigma, N).unwrap();
        let found = distance(&ours(sigma, seed), &theirs, sigma);
        assert!(found < 9.0, "sigma {sigma}: {found} standard deviations apart");
    }
}

#[test]
fn ten_percent_of_sigma_show() {
    for sigma in [3.0, 1000.0, 1e5] {
        let theirs = samples(1.1 * sigma, N).unwrap();
        let found = distance(&ours(sigma, 7), &theirs, sigma);
        assert!(found > 9.0, "sigma {sigma}: no power, {found}");
    }
}

#[test]
fn a_small_release_is_the_same_either_way() {
    // Counts, as a statistics round has them, with opendp's whole measurement.
    let counts: Vec<i64> = (0..N as i64).map(|i| i % 7).collect();
    let release = measurement(20.0).unwrap();
    let theirs = release.invoke(&counts).unwrap();
    let noise: Vec<i64> = theirs.iter().zip(&counts).map(|(r, c)| r - c).collect();
    assert!(distance(&ours(20.0, 8), &noise, 20.0) < 9.0);
    // And it says of it what we say: rho = d^2 / (2 sigma^2).
    let rho = release.map(&3.0).unwrap();
    let ours = tributary_dp::subsampled_gaussian(1.0, 20.0 / 3.0).unwrap();
    assert!((ours.at(2).unwrap() / (2.0 * rho) - 1.0).abs() < 1e-12);
}

#[test]
fn a_wide_skellam_is_nearly_a_discrete_gaussian() {
    let mut values = vec![0; 4 * N];
    let mut rng = SecretRng::danger_deterministic([9; 32]);
    Skellam::new(1e4).unwrap().add_noise(&mut values, &mut rng);
    assert!(distance(&values, &samples(100.0, N).unwrap(), 100.0) < 9.0);
}
