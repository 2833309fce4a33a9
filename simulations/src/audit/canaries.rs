//! The one-run audit: many canaries in one release, each in or out by a fair coin, all guessed at.
//!
//! The release is one of a laboratory in which every canary has a coordinate of its own. The guesses
//! are made from the release alone.

use rand_core::RngCore as _;

use super::CONFIDENCE;
use super::bench::{Bench, Stream};
use super::one_run::{Score, epsilon_lower_bound, gaussian_epsilon_lower_bound};
use super::records::Record;
use super::report::Check;
use super::setting::choices;
use super::statistics::normal_cdf;
use crate::error::SimulationError;

/// Shares of the canaries that may be guessed at; one is chosen before the release is made.
const SHARES: [f64; 8] = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0];

impl Bench<'_> {
    /// The bounds of theorem 5.2 and of the Gaussian trade-off.
    pub(super) fn one_run(&mut self, checks: &mut Vec<Check>) -> Result<(), SimulationError> {
        let canaries = self.effort.canaries;
        (self.progress)("one run", 0, 1);
        let z = self.subject.release().parameters.noise_multiplier;
        let delta = self.subject.job().privacy.delta;
        let mut setting = self.subject.laboratory(canaries, canaries, 1.0, z)?;
        let mut rng = choices(self.seed, Stream::OneRun as u32);
        let (mut records, mut included, mut signs) = (Vec::new(), Vec::new(), Vec::new());
        for canary in 0..canaries {
            let coins = rng.next_u32();
            let (is_in, positive) = (coins & 1 == 1, coins & 2 == 2);
            if is_in {
                records.push(Record::of_laboratory(canaries, canary, 1.0, positive));
            }
            included.push(is_in);
            // The gradient of a logit's weight is (p - label) times the input.
            signs.push(if positive { -1.0 } else { 1.0 });
        }
        let nodes = [setting.dataset(&records)?];
        let seed = self.seed(Stream::OneRun, 0, 0);
        let release = setting.release_sum(self.mechanism, &nodes, seed)?;
        let mut scores: Vec<(f64, bool)> = release
            .iter()
            .zip(&signs)
            .zip(&included)
            .map(|((value, sign), is_in)| (*value as f64 * sign, *is_in))
            .collect();
        scores.sort_by(|a, b| a.0.total_cmp(&b.0));
        let significance = 1.0 - CONFIDENCE;
        let each = guesses_on_each_side(canaries, 1.0 / z, delta, significance);
        let out = scores.iter().take(each).filter(|(_, is_in)| !is_in).count();
        let inside = scores.iter().rev().take(each).filter(|(_, is_in)| *is_in).count();
        let score = Score {
            canaries: canaries as u64,
            guesses: 2 * each as u64,
            correct: (out + inside) as u64,
        };
        let allowed = setting.accountant(delta)?;
        checks.push(Check::within(
            "one-run.epsilon",
            epsilon_lower_bound(score, delta, significance),
            None,
            Some(allowed),
            format!(
                "lower bound on epsilon at delta {delta:e}: {} of {} guesses right, {} canaries",
                score.correct, score.guesses, score.canaries
            ),
        ));
        checks.push(Check::within(
            "one-run.gaussian",
            gaussian_epsilon_lower_bound(score, delta, significance),
            None,
            Some(allowed),
            "the same guesses, for a mechanism that is Gaussian",
        ));
        Ok(())
    }
}

/// How many of the highest and of the lowest scores to guess at: what would give the best bound if
/// the scores were Gaussians `mu` apart. It follows from the plan and not from any release.
fn guesses_on_each_side(canaries: usize, mu: f64, delta: f64, significance: f64) -> usize {
    let mut best = (-1.0, canaries / 2);
    for share in SHARES {
        let each = ((canaries as f64 * share / 2.0) as usize).max(1);
        let guesses = 2 * each as u64;
        let correct = (guesses as f64 * accuracy(share / 2.0, mu)).floor() as u64;
        let score = Score { canaries: canaries as u64, guesses, correct };
        let bound = epsilon_lower_bound(score, delta, significance);
        if bound > best.0 {
            best = (bound, each);
        }
    }
    best.1
}

/// How many of the highest `share` of scores are canaries that are in.
fn accuracy(share: f64, mu: f64) -> f64 {
    let above = |threshold: f64| {
        let (out, is_in) = (normal_cdf(-threshold), normal_cdf(mu - threshold));
        (f64::midpoint(out, is_in), is_in / (out + is_in))
    };
    let (mut low, mut high) = (-10.0, 10.0 + mu);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if above(middle).0 > share { low = middle } else { high = middle }
    }
    above(low).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_guesses_where_the_noise_is_small_and_many_where_it_is_large() {
        assert!((accuracy(0.5, 1.0) - normal_cdf(0.5)).abs() < 1e-9);
        assert!(accuracy(0.01, 1.0) > accuracy(0.1, 1.0));
        let (near, far) = (
            guesses_on_each_side(1000, 0.2, 1e-6, 0.05),
            guesses_on_each_side(1000, 2.0, 1e-6, 0.05),
        );
        assert!(near > far && far >= 10 && near <= 500, "{near} {far}");
    }
}
