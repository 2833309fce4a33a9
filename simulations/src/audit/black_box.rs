//! Black-box lower bounds on epsilon from releases of two neighbouring data sets.
//!
//! It sees one number per release, its projection on the canary's direction, and nothing of how the
//! release came about.

use super::statistics::{probability_at_least, probability_at_most};

/// One number per release, in each of two worlds.
#[derive(Debug, Clone, Default)]
pub struct Worlds {
    /// Without the canary.
    pub without: Vec<f64>,
    /// With it.
    pub with: Vec<f64>,
}

/// A set of outcomes: above or below a threshold.
#[derive(Debug, Clone, Copy)]
struct Event {
    threshold: f64,
    above: bool,
    /// Whether the event is likelier with the canary.
    with: bool,
}

/// Epsilon that a mechanism with these releases exceeds at `delta`, with confidence `confidence`.
///
/// (epsilon, delta)-DP means `P(E) <= e^epsilon Q(E) + delta` for every event E and both orders of the
/// worlds. The event is chosen on the first half of the releases; on the second half the two
/// probabilities are bounded after Clopper and Pearson, each at half the error allowed, and
/// `epsilon >= ln((P - delta) / Q)` (Jagielski, Ullman, Oprea, "Auditing differentially private machine
/// learning", 2020, section 4; Nasr et al., "Tight auditing of differentially private machine
/// learning", 2023). 0 if nothing is refuted.
#[must_use]
pub fn epsilon_lower_bound(worlds: &Worlds, delta: f64, confidence: f64) -> f64 {
    let miss = (1.0 - confidence) / 2.0;
    let (without, without_held) = worlds.without.split_at(worlds.without.len() / 2);
    let (with, with_held) = worlds.with.split_at(worlds.with.len() / 2);
    let tried = Sorted::of(without, with);
    let held = Sorted::of(without_held, with_held);
    let mut best: Option<(f64, Event)> = None;
    for event in tried.events() {
        let bound = tried.bound(event, delta, miss);
        if best.is_none_or(|(largest, _)| bound > largest) {
            best = Some((bound, event));
        }
    }
    best.map_or(0.0, |(_, event)| held.bound(event, delta, miss).max(0.0))
}

/// Both worlds in ascending order.
struct Sorted {
    without: Vec<f64>,
    with: Vec<f64>,
}

impl Sorted {
    fn of(without: &[f64], with: &[f64]) -> Self {
        let sorted = |values: &[f64]| {
            let mut values = values.to_vec();
            values.sort_by(f64::total_cmp);
            values
        };
        Self { without: sorted(without), with: sorted(with) }
    }

    /// Thresholds at the ranks 1, 2, 3, .. of either world from either end, ever further apart.
    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for values in [&self.without, &self.with] {
            let mut rank = 1;
            while rank < values.len() {
                for threshold in [values[rank], values[values.len() - 1 - rank]] {
                    for above in [true, false] {
                        let event = |with| Event { threshold, above, with };
                        events.extend([event(true), event(false)]);
                    }
                }
                rank += rank.div_ceil(6);
            }
        }
        events
    }

    fn bound(&self, event: Event, delta: f64, miss: f64) -> f64 {
        let count = |values: &[f64]| {
            let below = values.partition_point(|v| *v <= event.threshold);
            let hits = if event.above { values.len() - below } else { below };
            (hits as u64, values.len() as u64)
        };
        let (mut likely, mut rare) = (count(&self.with), count(&self.without));
        if !event.with {
            std::mem::swap(&mut likely, &mut rare);
        }
        let p = probability_at_least(likely.0, likely.1, miss) - delta;
        let q = probability_at_most(rare.0, rare.1, miss);
        if p > 0.0 && q > 0.0 { (p / q).ln() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{gaussian_epsilon, normal_quantile};
    use super::*;
    use rand_core::RngCore as _;

    /// Normal numbers, shifted by `mu` with the canary.
    fn normal(mu: f64, count: usize, seed: u64) -> Worlds {
        let mut rng = super::super::setting::choices(seed, 0);
        let mut draw = || normal_quantile((rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64);
        let without = (0..count).map(|_| draw()).collect();
        Worlds { without, with: (0..count).map(|_| mu + draw()).collect() }
    }

    #[test]
    fn tight_for_a_gaussian_and_never_above_it() {
        for mu in [0.5, 1.0, 2.0] {
            let exact = gaussian_epsilon(mu, 1.0, 1e-2);
            let bounds: Vec<f64> = (0..20)
                .map(|seed| epsilon_lower_bound(&normal(mu, 20_000, seed), 1e-2, 0.95))
                .collect();
            let above = bounds.iter().filter(|b| **b > exact).count();
            assert!(above <= 3, "{mu}: {above} of 20 above {exact}");
            let mean = bounds.iter().sum::<f64>() / 20.0;
            assert!(mean > 0.6 * exact, "{mu}: {mean} of {exact}");
        }
    }

    #[test]
    fn both_orders_count_and_equal_worlds_refute_nothing() {
        let Worlds { without, with } = normal(1.5, 10_000, 1);
        let swapped = Worlds { without: with, with: without };
        assert!(epsilon_lower_bound(&swapped, 1e-2, 0.95) > 2.0);
        assert!(epsilon_lower_bound(&normal(0.0, 10_000, 2), 0.0, 0.95) < 0.2);
        assert_eq!(epsilon_lower_bound(&Worlds::default(), 1e-5, 0.95), 0.0);
    }

    #[test]
    fn worlds_that_are_told_apart_always() {
        let apart = Worlds { without: vec![0.0; 2000], with: vec![1.0; 2000] };
        let bound = epsilon_lower_bound(&apart, 1e-5, 0.95);
        // 1000 held out: at least 0.9963 against at most 0.0037.
        assert!((bound - 5.6).abs() < 0.05, "{bound}");
    }
}
