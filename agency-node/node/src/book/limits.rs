//! Limits of a dataset: epsilon for people, Renyi divergence at one order for the filter.

use serde::{Deserialize, Serialize};

/// Least delta of an account: below it, the share kept for what is no noise (see `RESERVED`) is
/// smaller than one job's masking and cryptographic terms.
pub const MIN_DELTA: f64 = 1e-9;

/// Share of delta that conversion does not spend. It covers what the jobs' own guarantees deduct
/// from delta besides the noise: the sampler's distance, the failure of masking (2^-40 a job) and
/// the cryptographic advantage.
const RESERVED: f64 = 1e-3;

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
}

/// Spent and left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BudgetStatus {
    /// Epsilon of what is charged.
    pub spent: f64,
    /// Epsilon of what is charged and reserved.
    pub committed: f64,
    /// The limit.
    pub limit: f64,
    /// Delta.
    pub delta: f64,
    /// Share of the limit that is charged or reserved, 0 to 1.
    pub share: f64,
    /// Whether these numbers bound nothing: exact sums have left (mode `none`).
    pub unprotected: bool,
}

impl BudgetLimit {
    /// Terms for an epsilon and delta; `None` if delta is below [`MIN_DELTA`] or not below 1, or no
    /// order leaves anything to spend.
    pub fn new(epsilon: f64, delta: f64) -> Option<Self> {
        if !(MIN_DELTA..1.0).contains(&delta) {
            return None;
        }
        let order = order_for(epsilon, spendable(delta))?;
        let rdp = (epsilon - conversion(order, spendable(delta))).next_down();
        Some(Self { epsilon, delta, order, rdp })
    }

    /// Epsilon of a Renyi divergence at this order; 0 for nothing spent.
    pub fn epsilon_at(&self, rdp: f64) -> f64 {
        if rdp <= 0.0 {
            return 0.0;
        }
        (rdp + conversion(self.order, spendable(self.delta))).next_up()
    }

    /// Status for amounts charged and outstanding.
    pub fn status(&self, charged: f64, outstanding: f64) -> BudgetStatus {
        BudgetStatus {
            spent: self.epsilon_at(charged),
            committed: self.epsilon_at(charged + outstanding),
            limit: self.epsilon,
            delta: self.delta,
            share: ((charged + outstanding) / self.rdp).clamp(0.0, 1.0),
            unprotected: false,
        }
    }
}

/// The part of delta that conversion may spend, rounded down.
fn spendable(delta: f64) -> f64 {
    (delta * (1.0 - RESERVED)).next_down()
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
        for delta in [1e-9, 1e-6, 1e-5] {
            let limit = BudgetLimit::new(2.0, delta).unwrap();
            let whole = 2.0 - conversion(limit.order, delta);
            assert!(limit.rdp < whole, "conversion spends all of delta {delta:e}");
            // e^-x of the difference in epsilon is the share of delta, to the power 1/(order - 1).
            let kept = 1.0 - ((limit.rdp - whole) * f64::from(limit.order - 1)).exp();
            assert!((kept - RESERVED).abs() < 1e-6, "{kept}");
            assert!(delta * RESERVED > tributary_dp::MASKING_FAILURE);
            assert!(limit.epsilon_at(limit.rdp) <= 2.0 + 1e-12);
        }
    }

    #[test]
    fn a_delta_too_small_to_hold_the_other_terms_is_refused() {
        assert!(BudgetLimit::new(2.0, 0.999e-9).is_none());
        assert!(BudgetLimit::new(2.0, f64::NAN).is_none());
        assert!(BudgetLimit::new(2.0, 1.0).is_none());
    }
}
