//! How a job trains: rounds, the server's optimiser, and training at the agency between two rounds.
//!
//! Numbers and their bounds only; the arithmetic is in [`crate::state`] and at the agency.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SpecError;
use crate::server_rule::ServerRule;

/// Rounds, and the server's optimiser on the summed, clipped, noised gradients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// Training rounds, one secure sum each.
    pub rounds: u32,
    /// Learning rate of the first round.
    pub learning_rate: f32,
    /// Learning rate of the last round; linear in between. Defaults to `learning_rate`.
    #[serde(default)]
    pub final_learning_rate: Option<f32>,
    /// Heavy-ball momentum in `[0, 1)`; with Adam the decay of the first moment.
    #[serde(default)]
    pub momentum: f32,
    /// The server's rule; `sgd` if left out.
    #[serde(default, skip_serializing_if = "OptimiserKind::is_sgd")]
    pub optimiser: OptimiserKind,
    /// An adaptive step at the server by Reddi et al.; without it the rule is `optimiser`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerRule>,
    /// Seed of the initial model.
    #[serde(default)]
    pub seed: u64,
    /// Training at the agency between two rounds: then what travels is the change of the model and
    /// not one gradient. Needed in mode `silo`, possible in mode `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalSpec>,
}

/// An update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptimiserKind {
    /// Heavy-ball SGD.
    #[default]
    Sgd,
    /// Adam (Kingma and Ba 2015, Algorithm 1). At the server, on the mean of what agencies sent:
    /// FedAdam (Reddi et al. 2021, "Adaptive federated optimization", Algorithm 2) with bias
    /// correction.
    Adam,
}

/// Local training: SGD over shuffled minibatches (McMahan et al. 2017, "Communication-efficient
/// learning of deep networks from decentralized data", Algorithm 1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalSpec {
    /// Passes over the agency's records in a round.
    pub epochs: u32,
    /// Records of a minibatch.
    pub batch_size: u32,
    /// Learning rate at the agency; the server's multiplies the mean change.
    pub learning_rate: f32,
    /// Heavy-ball momentum in `[0, 1)`; not with Adam, whose decays are 0.9 and 0.999.
    #[serde(default)]
    pub momentum: f32,
    /// The agency's rule, `sgd` if left out; it starts afresh in every round.
    #[serde(default, skip_serializing_if = "OptimiserKind::is_sgd")]
    pub optimiser: OptimiserKind,
    /// Training round r (from 0) trains at `learning_rate * decay^r`; in `(0, 1]`, 1 if left
    /// out.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub decay: f32,
    /// FedProx (Li et al. 2020, "Federated optimization in heterogeneous networks", Algorithm 2): mu of
    /// the term `mu / 2 |w - w_shared|^2` that ties an agency's model to the shared one. 0, if left
    /// out, is FedAvg.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub proximal: f32,
    /// SCAFFOLD (Karimireddy et al. 2020, "SCAFFOLD: Stochastic controlled averaging for federated
    /// learning", Algorithm 1, option II): every agency keeps an estimate of its own mean gradient, its
    /// control variate, and corrects its steps by it. All agencies take equally many steps: those of
    /// `epochs` passes over as many records as an agency has on average. In mode `none` alone, and with
    /// plain steps at the agencies and at the server.
    #[serde(default, skip_serializing_if = "is_false")]
    pub scaffold: bool,
}

fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn one() -> f32 {
    1.0
}

fn is_one(value: &f32) -> bool {
    *value == 1.0
}

impl OptimiserKind {
    fn is_sgd(&self) -> bool {
        *self == Self::Sgd
    }
}

impl TrainingSpec {
    /// Learning rate of a 0-based training round; linear from first to last, `+ - * /` only.
    pub fn learning_rate_at(&self, round: u32) -> f32 {
        let last = self.final_learning_rate.unwrap_or(self.learning_rate);
        if self.rounds <= 1 {
            return self.learning_rate;
        }
        let progress = round.min(self.rounds - 1) as f32 / (self.rounds - 1) as f32;
        self.learning_rate + (last - self.learning_rate) * progress
    }

    pub(super) fn validate(&self) -> Result<(), SpecError> {
        if self.rounds == 0 || self.rounds > 100_000 {
            return Err(SpecError::new("training.rounds", "between 1 and 100,000"));
        }
        let rates = [Some(self.learning_rate), self.final_learning_rate];
        if rates.iter().flatten().any(|r| !r.is_finite() || *r <= 0.0) {
            return Err(SpecError::new("training.learning_rate", "must be finite and positive"));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(SpecError::new("training.momentum", "must be in [0, 1)"));
        }
        if let Some(rule) = &self.server {
            if let Some((field, problem)) = rule.problem() {
                return Err(SpecError::new(format!("training.server.{field}"), problem));
            }
            if self.momentum != 0.0 {
                let text = "training.server has beta1 instead: leave it out";
                return Err(SpecError::new("training.momentum", text));
            }
            if !self.optimiser.is_sgd() {
                let text = "training.server takes its place: leave it out";
                return Err(SpecError::new("training.optimiser", text));
            }
        }
        self.local.as_ref().map_or(Ok(()), LocalSpec::validate)
    }
}

impl LocalSpec {
    pub(super) fn validate(&self) -> Result<(), SpecError> {
        if self.epochs == 0 || self.epochs > 1000 {
            return Err(SpecError::new("training.local.epochs", "between 1 and 1000"));
        }
        if self.batch_size == 0 || self.batch_size > 1 << 20 {
            return Err(SpecError::new("training.local.batch_size", "between 1 and 1,048,576"));
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            let text = "must be finite and positive";
            return Err(SpecError::new("training.local.learning_rate", text));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(SpecError::new("training.local.momentum", "must be in [0, 1)"));
        }
        if self.optimiser == OptimiserKind::Adam && self.momentum != 0.0 {
            let text = "has no meaning with adam: leave it out";
            return Err(SpecError::new("training.local.momentum", text));
        }
        if !(self.decay > 0.0 && self.decay <= 1.0) {
            return Err(SpecError::new("training.local.decay", "must be in (0, 1]"));
        }
        if !(0.0..=1e6).contains(&self.proximal) {
            return Err(SpecError::new("training.local.proximal", "must be between 0 and 1e6"));
        }
        Ok(())
    }
}

impl LocalSpec {
    /// Learning rate at the agency in a 0-based training round.
    pub fn learning_rate_at(&self, round: u32) -> f32 {
        let exponent = i32::try_from(round).unwrap_or(i32::MAX);
        self.learning_rate * self.decay.powi(exponent)
    }
}
