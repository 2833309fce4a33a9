//! What the runs are to show, checked against the rows.

use serde::{Deserialize, Serialize};

use super::document::{Row, What};

/// A promise about utility.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// What must hold.
    pub text: String,
    /// The number that was reached.
    pub reached: f64,
    /// The least that is good enough.
    pub least: f64,
}

impl Target {
    /// Whether it was reached.
    pub fn met(&self) -> bool {
        self.reached >= self.least
    }
}

/// Most that federated heart disease may be below pooled: one held-out record of 254.
const ONE_HEART: f64 = 1.0 / 254.0;

/// Accuracy of distributed noise over local noise at 10 silos by epsilon, in points.
const OVER_LOCAL: [(f64, f64); 3] = [(1.0, 4.5), (3.0, 2.3), (8.0, 1.4)];

/// Every target whose rows are there.
pub fn check(rows: &[Row]) -> Vec<Target> {
    let mut out = Vec::new();
    let find = |problem: &str, mode: &str, epsilon: Option<f64>| {
        rows.iter().find(|row| {
            row.problem == problem
                && row.what == What::Federated
                && row.mode == mode
                && row.target == epsilon
        })
    };
    let pooled = rows.iter().find(|row| row.problem == "heart" && row.what == What::Pooled);
    if let Some((plain, pooled)) = find("heart", "none", None).zip(pooled) {
        out.push(Target {
            text: "heart: federated without privacy as good as pooled, up to one record".into(),
            reached: plain.accuracy.0,
            least: pooled.accuracy.0 - ONE_HEART,
        });
        out.push(Target {
            text: "heart: above FLamby's published FedAvg".into(),
            reached: plain.accuracy.0,
            least: 0.748,
        });
    }
    if let Some(sites) = find("heart", "record", Some(1.0)).and_then(|row| row.sites) {
        out.push(Target {
            text: "heart: mean accuracy of the sites at epsilon 1".into(),
            reached: sites.0,
            least: 0.70,
        });
    }
    for (epsilon, margin) in OVER_LOCAL {
        let at = |mode| find("digits", mode, Some(epsilon)).map(|row| row.accuracy.0);
        let Some(record) = at("record") else { continue };
        if let Some(central) = at("central") {
            out.push(Target {
                text: format!("digits: distributed within a point of central, epsilon {epsilon}"),
                reached: record,
                least: central - 0.01,
            });
        }
        if let Some(local) = at("record-local") {
            out.push(Target {
                text: format!("digits: distributed {margin} points above local, epsilon {epsilon}"),
                reached: record,
                least: local + margin / 100.0,
            });
        }
    }
    out
}
