//! Limits of a dataset: epsilon for people, Renyi divergence at one order for the filter.

use serde::{Deserialize, Serialize};

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
}

impl BudgetLimit {
    /// Terms for an epsilon and delta; `None` if no order leaves anything to spend.
    pub fn new(epsilon: f64, delta: f64) -> Option<Self> {
        let order = order_for(epsilon, delta)?;
        let rdp = (epsilon - conversion(order, delta)).next_down();
        Some(Self { epsilon, delta, order, rdp })
    }

    /// Epsilon of a Renyi divergence at this order; 0 for nothing spent.
    pub fn epsilon_at(&self, rdp: f64) -> f64 {
        if rdp <= 0.0 { 0.0 } else { (rdp + conversion(self.order, self.delta)).next_up() }
    }

    /// Status for amounts charged and outstanding.
    pub fn status(&self, charged: f64, outstanding: f64) -> BudgetStatus {
        BudgetStatus {
            spent: self.epsilon_at(charged),
            committed: self.epsilon_at(charged + outstanding),
            limit: self.epsilon,
            delta: self.delta,
            share: ((charged + outstanding) / self.rdp).clamp(0.0, 1.0),
        }
    }
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
    let best = tributary_dp::orders().iter().copied().max_by(|a, b| room(*a).total_cmp(&room(*b)))?;
    (room(best) > 0.0).then_some(best)
}
