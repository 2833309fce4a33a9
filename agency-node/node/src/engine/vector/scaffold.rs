//! What SCAFFOLD (Karimireddy et al. 2020, "SCAFFOLD: Stochastic controlled averaging for federated
//! learning", Algorithm 1, option II) adds to an agency's round: the correction of its steps, and what
//! the round makes of its control variate. Arithmetic alone: whether the round counts is decided in
//! `control`.

use tributary_job::{ModelState, OperationPlan};

/// The control variates that a round starts from, and its steps.
pub(super) struct Variates<'a> {
    /// c, of the state.
    shared: &'a [f32],
    /// c_i, the agency's.
    own: &'a [f32],
    /// K.
    pub(super) steps: u32,
    /// K times the agencies' learning rate.
    distance: f64,
}

impl<'a> Variates<'a> {
    /// Those of a 0-based round of training; `None` unless its plan asks for them.
    pub(super) fn of(
        operation: &OperationPlan,
        round: u32,
        state: &'a ModelState,
        own: Option<&'a [f32]>,
    ) -> Result<Option<Self>, String> {
        let Some((steps, distance)) = operation.local_steps.zip(operation.local_distance(round))
        else {
            return Ok(None);
        };
        match (state.control.as_deref(), own) {
            (Some(shared), Some(own))
                if shared.len() == state.parameters.len() && own.len() == shared.len() =>
            {
                Ok(Some(Self { shared, own, steps, distance }))
            }
            _ => Err("a round of SCAFFOLD without its control variates".into()),
        }
    }

    /// What is added to every step's mean gradient: `c - c_i` (line 10).
    pub(super) fn shift(&self) -> Vec<f64> {
        let pairs = self.shared.iter().zip(self.own);
        pairs.map(|(c, own)| f64::from(*c) - f64::from(*own)).collect()
    }

    /// The change `x - y` of an agency without a record to learn from: its gradient is zero, its steps
    /// are the correction alone.
    pub(super) fn without_records(&self) -> Vec<f64> {
        self.shift().iter().map(|shift| self.distance * shift).collect()
    }

    /// c_i once the vector is in a certified sum: `c_i + (x - y) / (K eta) - c` (line 12, option II),
    /// with what the vector says of `x - y` in whole units, so that neither rounding nor clipping parts
    /// the mean of all c_i from c.
    pub(super) fn moved(&self, change: &[i64], scale: f64) -> Vec<f32> {
        let divisor = scale * self.distance;
        let moved = |((c, own), units): ((&f32, &f32), &i64)| {
            (f64::from(*own) - f64::from(*c) + *units as f64 / divisor) as f32
        };
        self.shared.iter().zip(self.own).zip(change).map(moved).collect()
    }
}

#[cfg(test)]
mod tests;
