//! Terms of an account: epsilon for people, Renyi divergence at one order for the filter, and a
//! part of delta for what is no noise.

use serde::{Deserialize, Serialize};
use tributary_dp::{CRYPTO_ADVANTAGE, MASKING_FAILURE};

use super::grant::DeltaCost;
use super::unit::ProtectedUnit;

/// Least delta of an account: below it, hardly a job's masking and cryptographic terms fit.
pub const MIN_DELTA: f64 = 1e-9;

/// Shares of delta that conversion may be denied, the smallest first that holds the terms of
/// [`PLENTY`] jobs. Even half of delta costs only `ln 2 / (order - 1)` in epsilon.
const KEPT: [f64; 4] = [1e-3, 1e-2, 1e-1, 0.5];

/// Jobs whose terms an account should hold.
const PLENTY: f64 = 100.0;

/// Terms of a dataset's account, fixed at registration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetLimit {
    /// Most epsilon over all jobs.
    pub epsilon: f64,
    /// Delta of that epsilon.
    pub delta: f64,
    /// Renyi order of the account.
    pub order: u32,
    /// The limit as Renyi divergence at that order.
    pub rdp: f64,
    /// Whose presence is hidden.
    #[serde(default)]
    pub unit: ProtectedUnit,
    /// Share of delta that conversion does not spend. It holds what the jobs' guarantees deduct
    /// from delta besides the noise: the sampler's distance, the failure of masking and of a
    /// probabilistic bound, the cryptographic advantage.
    #[serde(default = "smallest_kept")]
    pub kept: f64,
}

fn smallest_kept() -> f64 {
    KEPT[0]
}

/// Spent and left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BudgetStatus {
    /// Epsilon of what is charged.
    pub spent: f64,
    /// Epsilon of what is charged and reserved.
    pub committed: f64,
    /// The limit less what is committed.
    pub left: f64,
    /// The limit.
    pub limit: f64,
    /// Delta.
    pub delta: f64,
    /// Renyi order of the account.
    pub order: u32,
    /// Whose presence is hidden.
    pub unit: ProtectedUnit,
    /// Share of the limit that is charged or reserved, 0 to 1.
    pub share: f64,
    /// Share of the kept part of delta that jobs' terms besides the noise take, 0 to 1.
    pub delta_share: f64,
    /// Whether these numbers bound nothing: exact sums have left (mode `none`).
    pub unprotected: bool,
    /// Whether entries were lost, and everything counts as spent for that.
    pub written_off: bool,
}

impl BudgetLimit {
    /// Terms for an epsilon and delta per record; `None` if delta is below [`MIN_DELTA`] or not
    /// below 1, no order leaves anything to spend, or epsilon is so large that the terms besides the
    /// noise of a single job use half of delta up (above about 30).
    pub fn new(epsilon: f64, delta: f64) -> Option<Self> {
        if !(epsilon.is_finite() && (MIN_DELTA..1.0).contains(&delta)) {
            return None;
        }
        let kept = kept_share(epsilon, delta)?;
        let order = order_for(epsilon, spendable(delta, kept))?;
        let rdp = (epsilon - conversion(order, spendable(delta, kept))).next_down();
        Some(Self { epsilon, delta, order, rdp, unit: ProtectedUnit::Record, kept })
    }

    /// The same terms for another unit.
    #[must_use]
    pub fn for_unit(self, unit: ProtectedUnit) -> Self {
        Self { unit, ..self }
    }

    /// Epsilon of a Renyi divergence at this order; 0 for nothing spent.
    pub fn epsilon_at(&self, rdp: f64) -> f64 {
        if rdp <= 0.0 {
            return 0.0;
        }
        (rdp + conversion(self.order, spendable(self.delta, self.kept))).next_up()
    }

    /// Share of the kept part of delta that these terms take; above 1 they do not fit.
    ///
    /// Where ideal noise and masks are replaced by real ones at a distance `D` in all, an
    /// (epsilon, delta') guarantee becomes (epsilon, delta' + (1 + e^epsilon) D). Taken at the
    /// limit, so that it holds whatever is spent below it.
    pub fn delta_share(&self, terms: &DeltaCost) -> f64 {
        share_of(self.epsilon, self.delta * self.kept, terms)
    }

    /// Status for amounts charged and outstanding.
    pub fn status(&self, charged: f64, outstanding: f64, terms: &DeltaCost) -> BudgetStatus {
        let committed = self.epsilon_at(charged + outstanding);
        BudgetStatus {
            spent: self.epsilon_at(charged),
            committed,
            left: (self.epsilon - committed).max(0.0),
            limit: self.epsilon,
            delta: self.delta,
            order: self.order,
            unit: self.unit,
            share: ((charged + outstanding) / self.rdp).clamp(0.0, 1.0),
            delta_share: self.delta_share(terms).clamp(0.0, 1.0),
            unprotected: false,
            written_off: false,
        }
    }
}

fn share_of(epsilon: f64, kept: f64, terms: &DeltaCost) -> f64 {
    let used = (1.0 + epsilon.exp()) * terms.distance + terms.additive;
    used * (1.0 + 1e-12) / kept.next_down()
}

/// The smallest share that holds plenty of jobs, or else the largest if it holds one.
fn kept_share(epsilon: f64, delta: f64) -> Option<f64> {
    let jobs = |n: f64| DeltaCost { additive: n * MASKING_FAILURE, distance: n * CRYPTO_ADVANTAGE };
    let holds = |kept: f64, n: f64| share_of(epsilon, delta * kept, &jobs(n)) <= 1.0;
    let plenty = KEPT.into_iter().find(|kept| holds(*kept, PLENTY));
    plenty.or_else(|| KEPT.last().copied().filter(|most| holds(*most, 1.0)))
}

/// The part of delta that conversion may spend, rounded down.
fn spendable(delta: f64, kept: f64) -> f64 {
    (delta * (1.0 - kept)).next_down()
}

/// What converting from Renyi order `a` to (epsilon, delta) adds: `ln((a-1)/a) - (ln delta + ln
/// a)/(a-1)` (Canonne, Kamath, Steinke 2020, Proposition 12).
pub fn conversion(order: u32, delta: f64) -> f64 {
    let a = f64::from(order);
    ((a - 1.0) / a).ln() - (delta.ln() + a.ln()) / (a - 1.0)
}

/// The order at which a Gaussian mechanism has most to spend: Renyi divergence grows like `a`, so
/// the one with the largest `(epsilon - conversion) / a`.
pub fn order_for(epsilon: f64, delta: f64) -> Option<u32> {
    if !(epsilon.is_finite() && delta > 0.0 && delta < 1.0) {
        return None;
    }
    let room = |a: u32| (epsilon - conversion(a, delta)) / f64::from(a);
    let best =
        tributary_dp::orders().iter().copied().max_by(|a, b| room(*a).total_cmp(&room(*b)))?;
    (room(best) > 0.0).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_delta_is_kept_for_what_is_no_noise() {
        for (delta, share) in [(1e-9, 0.1), (1e-8, 1e-2), (1e-6, 1e-3), (1e-5, 1e-3)] {
            let limit = BudgetLimit::new(2.0, delta).unwrap();
            let whole = 2.0 - conversion(limit.order, delta);
            assert!(limit.rdp < whole, "conversion spends all of delta {delta:e}");
            // e^-x of the difference in epsilon is the share of delta, to the power 1/(order - 1).
            let kept = 1.0 - ((limit.rdp - whole) * f64::from(limit.order - 1)).exp();
            assert!((kept - share).abs() < 1e-6 && limit.kept == share, "{delta:e}: {kept}");
            assert!(delta * share > 100.0 * MASKING_FAILURE);
            assert!(limit.epsilon_at(limit.rdp) <= 2.0 + 1e-12);
        }
    }

    #[test]
    fn a_delta_too_small_to_hold_the_other_terms_is_refused() {
        assert!(BudgetLimit::new(2.0, 0.999e-9).is_none());
        assert!(BudgetLimit::new(2.0, f64::NAN).is_none());
        assert!(BudgetLimit::new(2.0, 1.0).is_none());
    }

    #[test]
    fn an_epsilon_at_which_cryptography_alone_takes_delta_is_refused() {
        let large = BudgetLimit::new(25.0, 1e-6).unwrap();
        assert!(large.kept > 1e-3);
        assert!(large.delta_share(&DeltaCost { additive: 0.0, distance: CRYPTO_ADVANTAGE }) < 1.0);
        assert!(BudgetLimit::new(50.0, 1e-6).is_none());
        assert!(BudgetLimit::new(f64::INFINITY, 1e-6).is_none());
    }
}
