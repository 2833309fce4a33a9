//! Lower bounds on epsilon from one run with many canaries.
//!
//! Each of m canaries was put in or left out by a fair coin; an adversary who saw the result guesses
//! for `guesses` of them, chosen as it likes, and `correct` guesses are right. Whatever it does, a
//! private mechanism bounds how often it can be right. This file knows these three numbers only, and
//! nothing of mechanisms or scores.

use statrs::distribution::{Binomial, Discrete, DiscreteCDF};

use super::statistics::{gaussian_epsilon, normal_cdf, normal_quantile};

/// Largest epsilon that is looked for.
const MOST: f64 = 30.0;

/// Halvings of a search.
const STEPS: u32 = 50;

/// How an adversary did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// Canaries m.
    pub canaries: u64,
    /// Canaries it made a guess for.
    pub guesses: u64,
    /// Guesses that are right.
    pub correct: u64,
}

/// Epsilon that the mechanism exceeds at `delta`, but with probability at most `significance`:
/// the largest that this score refutes, 0 if it refutes none.
///
/// Steinke, Nasr, Jagielski, "Privacy auditing with one (1) training run" (2023), theorem 5.2: the
/// number of right guesses is dominated by a binomial with success probability
/// `e^eps / (1 + e^eps)`, plus `2 m delta` times the largest, over i, mean of the i probabilities just
/// below the count.
#[must_use]
pub fn epsilon_lower_bound(score: Score, delta: f64, significance: f64) -> f64 {
    largest(MOST, |epsilon| chance(score, epsilon, delta) < significance)
}

/// As [`epsilon_lower_bound`], for mechanisms whose trade-off between false alarms and misses is a
/// Gaussian's: the largest shift over standard deviation `mu` that this score refutes.
///
/// Mahloujifar, Melis, Chaudhuri, "Auditing f-differential privacy in one run" (2024), algorithm 3.
/// It is larger than the bound for arbitrary mechanisms, and says nothing of one that is not Gaussian.
#[must_use]
pub fn gaussian_lower_bound(score: Score, significance: f64) -> f64 {
    largest(MOST, |mu| gaussian_refuted(score, mu, significance))
}

/// [`gaussian_lower_bound`] as epsilon at `delta`.
#[must_use]
pub fn gaussian_epsilon_lower_bound(score: Score, delta: f64, significance: f64) -> f64 {
    gaussian_epsilon(gaussian_lower_bound(score, significance), 1.0, delta)
}

/// Bound of the probability of so many right guesses under (epsilon, delta).
fn chance(score: Score, epsilon: f64, delta: f64) -> f64 {
    let Score { canaries, guesses, correct } = score;
    let Ok(law) = Binomial::new(1.0 / (1.0 + (-epsilon).exp()), guesses) else { return 1.0 };
    let at_least = correct.checked_sub(1).map_or(1.0, |below| law.sf(below));
    let (mut sum, mut steepest) = (0.0, 0.0_f64);
    if delta > 0.0 {
        for i in 1..=correct {
            sum += law.pmf(correct - i);
            steepest = steepest.max(sum / i as f64);
        }
    }
    (at_least + 2.0 * canaries as f64 * delta * steepest).min(1.0)
}

/// Whether so many right guesses have a probability of at most `significance` under a Gaussian
/// trade-off with `mu`. `right` and `wrong` are what the last canary of i right guesses adds to
/// either side; they are carried down from the count that was seen.
fn gaussian_refuted(score: Score, mu: f64, significance: f64) -> bool {
    let (m, guesses, correct) = (score.canaries as f64, score.guesses as f64, score.correct as f64);
    if score.correct > score.guesses || score.guesses > score.canaries || score.guesses == 0 {
        return false;
    }
    let mut wrong = significance * (guesses - correct) / m;
    let mut right = significance * correct / m;
    for i in (0..score.correct).rev() {
        let i = i as f64;
        let next = wrong.max(least_false_alarms(right, mu));
        right += i / (guesses - i) * (next - wrong);
        wrong = next;
    }
    right + wrong >= guesses / m
}

/// Smallest false alarm rate with which a Gaussian test of shift `mu` finds a share `power`.
fn least_false_alarms(power: f64, mu: f64) -> f64 {
    if power <= 0.0 {
        return 0.0;
    }
    if power >= 1.0 {
        return 1.0;
    }
    normal_cdf(normal_quantile(power) - mu)
}

/// Largest value up to `most` that is refuted, if all smaller ones are; 0 if none is.
fn largest(most: f64, refuted: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, most);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if refuted(middle) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn score(canaries: u64, guesses: u64, correct: u64) -> Score {
        Score { canaries, guesses, correct }
    }

    /// (m, guesses, correct, delta, bound, bound for Gaussians at delta 1e-5), significance 0.05.
    const KNOWN: [(u64, u64, u64, f64, f64, f64); 4] = [
        (100, 100, 80, 0.0, 0.958392, 2.130338),
        (1000, 200, 190, 1e-5, 2.393618, 3.916106),
        (1000, 1000, 700, 1e-5, 0.73174, 1.371983),
        (200, 20, 20, 1e-6, 1.822092, 2.892103),
    ];

    #[test]
    fn known_values() {
        for (m, r, v, delta, expected, gaussian) in KNOWN {
            let bound = epsilon_lower_bound(score(m, r, v), delta, 0.05);
            assert!((bound - expected).abs() < 1e-4, "{m} {r} {v}: {bound}");
            let bound = gaussian_epsilon_lower_bound(score(m, r, v), 1e-5, 0.05);
            assert!((bound - gaussian).abs() < 1e-4, "{m} {r} {v}: {bound}");
        }
    }

    #[test]
    fn every_row_of_the_reference() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../shared/reference/audit_reference.csv");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: {} is not here", path.display());
            return;
        };
        let mut rows = 0;
        for line in text.lines().skip(1) {
            let f: Vec<f64> = line.split(',').map(|v| v.parse().unwrap()).collect();
            let [m, guesses, correct, delta, significance, expected, gaussian] = f[..] else {
                panic!("{line}")
            };
            let s = score(m as u64, guesses as u64, correct as u64);
            let bound = epsilon_lower_bound(s, delta, significance);
            assert!((bound - expected).abs() < 1e-4, "{line}: {bound}");
            // This column is stated at delta 1e-5 throughout, whatever the row's delta.
            let bound = gaussian_epsilon_lower_bound(s, 1e-5, significance);
            assert!((bound - gaussian).abs() < 1e-4, "{line}: {bound}");
            rows += 1;
        }
        assert!(rows >= 10, "{rows} rows");
    }

    #[test]
    fn guessing_blindly_refutes_nothing_and_more_right_guesses_refute_more() {
        for delta in [0.0, 1e-5] {
            assert!(epsilon_lower_bound(score(1000, 1000, 510), delta, 0.05) < 1e-9);
            assert!(epsilon_lower_bound(score(1000, 100, 0), delta, 0.05) < 1e-9);
            let bounds: Vec<f64> =
                (60..=100).map(|v| epsilon_lower_bound(score(1000, 100, v), delta, 0.05)).collect();
            assert!(bounds.windows(2).all(|w| w[0] <= w[1]));
        }
        assert!(gaussian_lower_bound(score(1000, 1000, 510), 0.05) < 1e-9);
        assert!(
            epsilon_lower_bound(score(1000, 100, 95), 1e-3, 0.05)
                < epsilon_lower_bound(score(1000, 100, 95), 1e-5, 0.05)
        );
    }
}
