//! Adaptive steps at the server: FedAdagrad, FedAdam, FedYogi (Reddi et al. 2021, "Adaptive federated
//! optimization", Algorithm 2).
//!
//! They act on the published sum alone, so they cost no privacy in any mode, and every node computes
//! them again. Only `+ - * / sqrt` in f32, in a fixed order. They know no rounds, plans or data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which second moment is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// `v += g^2`.
    Adagrad,
    /// `v = beta2 v + (1 - beta2) g^2`.
    Adam,
    /// `v -= (1 - beta2) g^2 sign(v - g^2)`.
    Yogi,
}

/// `[training.server]`: how the mean gradient, or the mean change of the agencies' models, moves the
/// shared model: `m = beta1 m + (1 - beta1) g`, `p -= learning_rate m / (sqrt(v) + tau)`, v as the rule
/// says, from `tau^2`. Without it the step is heavy-ball SGD with `training.momentum`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerRule {
    /// The second moment.
    pub rule: Rule,
    /// Decay of the first moment, in `[0, 1)`.
    #[serde(default = "default_beta1")]
    pub beta1: f32,
    /// Decay of the second moment, in `[0, 1)`; adagrad has none.
    #[serde(default = "default_beta2")]
    pub beta2: f32,
    /// Degree of adaptivity: what is added to the root of the second moment.
    #[serde(default = "default_tau")]
    pub tau: f32,
}

fn default_beta1() -> f32 {
    0.9
}
fn default_beta2() -> f32 {
    0.99
}
fn default_tau() -> f32 {
    1e-3
}

impl ServerRule {
    /// The field that is out of bounds and what it must be.
    pub(crate) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let decays = |v: f32| (0.0..1.0).contains(&v);
        if !decays(self.beta1) {
            return Some(("beta1", "must be in [0, 1)"));
        }
        if !decays(self.beta2) {
            return Some(("beta2", "must be in [0, 1)"));
        }
        if !(1e-9..=1e3).contains(&self.tau) {
            return Some(("tau", "must be between 1e-9 and 1000"));
        }
        None
    }

    /// The second moment before the first round.
    pub(crate) fn initial(&self, parameters: usize) -> Vec<f32> {
        vec![self.tau * self.tau; parameters]
    }

    /// One coordinate: parameter, first and second moment from gradient `g`.
    pub(crate) fn step(&self, rate: f32, g: f32, p: &mut f32, m: &mut f32, v: &mut f32) {
        let square = g * g;
        *m = self.beta1 * *m + (1.0 - self.beta1) * g;
        *v = match self.rule {
            Rule::Adagrad => *v + square,
            Rule::Adam => self.beta2 * *v + (1.0 - self.beta2) * square,
            Rule::Yogi => {
                let step = (1.0 - self.beta2) * square;
                if *v > square {
                    *v - step
                } else if *v < square {
                    *v + step
                } else {
                    *v
                }
            }
        };
        // Rounding may leave a hair below zero.
        *p -= rate * *m / (v.max(0.0).sqrt() + self.tau);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(rule: Rule) -> ServerRule {
        ServerRule { rule, beta1: 0.5, beta2: 0.75, tau: 0.5 }
    }

    /// One step by hand: m = 0.5 * 2 = 1, p = -rate * 1 / (sqrt(v) + 0.5).
    #[test]
    fn first_steps_are_those_of_the_paper() {
        for (kind, v) in [
            (Rule::Adagrad, 0.25 + 4.0),
            (Rule::Adam, 0.75 * 0.25 + 0.25 * 4.0),
            (Rule::Yogi, 0.25 + 0.25 * 4.0),
        ] {
            let rule = rule(kind);
            let (mut p, mut m, mut second) = (0.0, 0.0, rule.initial(1)[0]);
            rule.step(0.1, 2.0, &mut p, &mut m, &mut second);
            assert_eq!((m, second), (1.0, v), "{kind:?}");
            assert_eq!(p, -(0.1 * 1.0 / (v.sqrt() + 0.5)));
        }
    }

    /// What sets them apart: a large gradient once, small ones after it. Adagrad never recovers, adam
    /// forgets at a steady rate, yogi lowers its second moment by no more than the gradient's square.
    #[test]
    fn they_forget_differently() {
        let after = |kind| {
            let rule = rule(kind);
            let (mut p, mut m, mut v) = (0.0, 0.0, rule.initial(1)[0]);
            rule.step(0.1, 10.0, &mut p, &mut m, &mut v);
            let peak = v;
            for _ in 0..20 {
                rule.step(0.1, 0.1, &mut p, &mut m, &mut v);
            }
            v / peak
        };
        assert!(after(Rule::Adagrad) >= 1.0);
        assert!(after(Rule::Adam) < 0.01);
        assert!((0.9..1.0).contains(&after(Rule::Yogi)));
    }

    #[test]
    fn bounds() {
        assert_eq!(rule(Rule::Adam).problem(), None);
        let bad = [
            (ServerRule { beta1: 1.0, ..rule(Rule::Adam) }, "beta1"),
            (ServerRule { beta2: f32::NAN, ..rule(Rule::Adam) }, "beta2"),
            (ServerRule { tau: 0.0, ..rule(Rule::Adam) }, "tau"),
        ];
        for (rule, field) in bad {
            assert_eq!(rule.problem().unwrap().0, field);
        }
    }
}
