//! `summary.json`: the figures of a run, for programs and for the report.
//!
//! Plain data. Reading it back refuses other shapes, so that a report is never drawn from a file
//! that means something else.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tributary_job::evaluation::Quality;
use tributary_job::plan::EvaluationPoint;

use crate::error::{SimulationError, read_text, write_file};

/// Name of the file in a results folder.
pub const FILE: &str = "summary.json";

/// The figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Name of the job.
    pub job: String,
    /// What the model is for.
    pub description: String,
    /// Hash of the manifest, hex.
    pub job_hash: String,
    /// Agencies in the order of the roster.
    pub agencies: Vec<String>,
    /// Declared records of each agency.
    pub declared_records: BTreeMap<String, u64>,
    /// Certified secure rounds, the statistics round included.
    pub rounds: u32,
    /// Training rounds among them.
    pub training_rounds: u32,
    /// Attempts of all rounds.
    pub attempts: u32,
    /// Names of the survivors, a list per certified round.
    pub survivors: Vec<Vec<String>>,
    /// Agencies that were asked and are not in the sum, by round; rounds without any are left out.
    pub dropped: BTreeMap<u32, Vec<String>>,
    /// Smallest survivor set that the agencies open.
    pub min_survivors: u16,
    /// Colluding agencies that the protocol tolerates.
    pub colluders: u16,
    /// Whether the labels are times to an event: every AUC is then Harrell's concordance, and accuracy
    /// counts the records of which it is known whether the event came by the end of the last interval.
    #[serde(default, skip_serializing_if = "is_false")]
    pub times_to_event: bool,
    /// Area under the ROC curve of the federated model on the test table; of a binary model only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_auc: Option<f64>,
    /// Its accuracy: at probability one half, or of the most probable class.
    pub test_accuracy: f64,
    /// Its mean cross-entropy in nats.
    pub test_log_loss: f64,
    /// Records of the test table.
    pub test_records: u64,
    /// Quality on the way.
    pub learning_curve: Vec<CurvePoint>,
    /// Quality of the released model on the agencies' own held-out records, as an evaluation round
    /// released it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<Quality>,
    /// Every evaluation round, with intervals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<EvaluationPoint>,
    /// How the released model was chosen; absent unless the job evaluates on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
    /// AUC of the same network trained without privacy on all records in one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooled_test_auc: Option<f64>,
    /// AUC of the same network trained without privacy at each agency alone; empty unless binary.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub silo_test_auc: BTreeMap<String, f64>,
    /// Accuracy of the network trained on all records in one place.
    #[serde(default)]
    pub pooled_test_accuracy: f64,
    /// Accuracy of the network trained at each agency alone.
    #[serde(default)]
    pub silo_test_accuracy: BTreeMap<String, f64>,
    /// Bits per token of a language model: per byte or character, where those are the tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_token: Option<BitsPerToken>,
    /// Privacy mode, as in the job.
    pub mode: String,
    /// Epsilon of the statement: for every attempt the agencies reserved, against the aggregator
    /// with the tolerated colluders. Absent in mode `none`.
    pub epsilon: Option<f64>,
    /// Delta of the whole job.
    pub delta: f64,
    /// Epsilon that the plan would have spent with every attempt used.
    pub planned_epsilon: Option<f64>,
    /// Epsilon against each adversary, strongest guarantee first.
    pub epsilon_against: Vec<AgainstAdversary>,
    /// Epsilon in the book after each certified round.
    pub epsilon_by_round: Vec<f64>,
    /// Noise multiplier of a training release.
    pub noise_multiplier: Option<f64>,
    /// Sampling rate of a training round.
    pub sampling_rate: f64,
    /// L2 bound of a record's gradient.
    pub clip_norm: f64,
    /// Parameters of the model.
    pub parameters: u64,
    /// Bytes up per parameter, survivor and training round, protocol messages included.
    pub bytes_up_per_parameter: f64,
    /// Duration of a secure round.
    pub round_millis: RoundMillis,
    /// Who computed gradients and predictions.
    pub trainer: String,
    /// Wall-clock seconds by phase, with `total`.
    pub seconds: BTreeMap<String, f64>,
    /// Head of the round record: its length and last hash.
    pub record_head: RecordHead,
    /// Whether the run was a simulation: its noise follows from a seed and protects nobody.
    pub simulated: bool,
    /// Version of this software.
    pub software_version: String,
}

/// How the released model was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// Training rounds that it has seen.
    pub trained: u32,
    /// The evaluation (counted from 0) that measured it; absent if none did.
    pub evaluation: Option<u32>,
    /// What evaluations are compared by.
    pub metric: String,
    /// Whether it is the best one; otherwise the last one.
    pub best: bool,
    /// Whether the evaluations ended the job before its last round.
    pub stopped_early: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Mean cross-entropy in bits on the test table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitsPerToken {
    /// Of the federated model.
    pub federated: f64,
    /// Of the model trained on all records in one place.
    pub pooled: f64,
    /// Of the model trained at each agency alone.
    pub silos: BTreeMap<String, f64>,
}

/// The model after so many secure rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurvePoint {
    /// Secure rounds applied.
    pub round: u32,
    /// AUC on the test table; of a binary model only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_auc: Option<f64>,
    /// Accuracy on the test table.
    #[serde(default)]
    pub test_accuracy: f64,
    /// Mean cross-entropy in nats.
    pub test_log_loss: f64,
}

/// What holds against one adversary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgainstAdversary {
    /// Who looks.
    pub adversary: tributary_dp::Adversary,
    /// Noise shares that it does not know.
    pub honest_shares: u16,
    /// Epsilon; absent if none can be stated.
    pub epsilon: Option<f64>,
}

/// Milliseconds of a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundMillis {
    /// Half of the rounds were faster.
    pub median: f64,
    /// 95 % of the rounds were faster.
    pub p95: f64,
}

/// Where the record ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordHead {
    /// Number of entries.
    pub length: u64,
    /// Hash of the last, hex.
    pub hash: String,
}

impl Summary {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is missing or of another shape.
    pub fn read(path: &Path) -> Result<Self, SimulationError> {
        serde_json::from_str(&read_text(path)?).map_err(|e| SimulationError::Results {
            path: path.to_owned(),
            problem: format!("not a summary that this version writes: {e}"),
        })
    }

    /// Writes the file, keys in order.
    ///
    /// # Errors
    /// From the file system.
    pub fn write(&self, path: &Path) -> Result<(), SimulationError> {
        let problem = |e: serde_json::Error| SimulationError::Results {
            path: path.to_owned(),
            problem: e.to_string(),
        };
        let mut text = serde_json::to_string_pretty(self).map_err(problem)?;
        text.push('\n');
        write_file(path, text.as_bytes())
    }

    /// What the models are compared by: `AUC` if they are binary, `concordance` of times to an event,
    /// otherwise `accuracy`.
    pub fn measure(&self) -> &'static str {
        if self.times_to_event {
            return "concordance";
        }
        if self.test_auc.is_some() { "AUC" } else { "accuracy" }
    }

    /// The federated model by that measure.
    pub fn quality(&self) -> f64 {
        self.test_auc.unwrap_or(self.test_accuracy)
    }

    /// The pooled model by that measure.
    pub fn pooled_quality(&self) -> f64 {
        let auc = self.pooled_test_auc.filter(|_| self.test_auc.is_some());
        auc.unwrap_or(self.pooled_test_accuracy)
    }

    /// Each agency alone by that measure.
    pub fn silo_quality(&self) -> &BTreeMap<String, f64> {
        if self.test_auc.is_some() { &self.silo_test_auc } else { &self.silo_test_accuracy }
    }

    /// The best agency alone.
    pub fn best_silo(&self) -> Option<(&str, f64)> {
        let silos = self.silo_quality().iter().map(|(name, v)| (name.as_str(), *v));
        silos.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// In how many rounds an agency's vector is in the sum.
    pub fn rounds_survived(&self, agency: &str) -> usize {
        let names = |round: &&Vec<String>| round.iter().any(|name| name == agency);
        self.survivors.iter().filter(names).count()
    }
}

impl CurvePoint {
    /// The model by [`Summary::measure`].
    pub fn quality(&self) -> f64 {
        self.test_auc.unwrap_or(self.test_accuracy)
    }
}

impl RoundMillis {
    /// Of these durations; zeros for none. Quantiles are nearest ranks.
    pub fn of(mut millis: Vec<f64>) -> Self {
        millis.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            let at = (share * millis.len() as f64).ceil() as usize;
            millis.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self { median: rank(0.5), p95: rank(0.95) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let of = |n: u32| RoundMillis::of((1..=n).rev().map(f64::from).collect());
        assert_eq!(of(0), RoundMillis { median: 0.0, p95: 0.0 });
        assert_eq!(of(1), RoundMillis { median: 1.0, p95: 1.0 });
        assert_eq!(of(100), RoundMillis { median: 50.0, p95: 95.0 });
    }

    #[test]
    fn another_shape_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, r#"{"job": "x"}"#).unwrap();
        let error = Summary::read(&path).unwrap_err().to_string();
        assert!(error.contains("summary.json") && error.contains("description"), "{error}");
    }
}
