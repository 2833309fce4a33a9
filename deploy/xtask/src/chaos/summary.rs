//! What a chaos run came to, as JSON and in a line.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// The figures of a run. Everything but `kills`, `runs`, `rounds`, `attempts` and `model_distance`
/// ought to be zero or empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// What was drawn followed from it.
    pub seed: u64,
    /// Processes killed.
    pub kills: u32,
    /// Of them the aggregator.
    pub kills_of_the_aggregator: u32,
    /// Moments at which every process died at once.
    pub kills_of_all_at_once: u32,
    /// Disturbed jobs.
    pub runs: u32,
    /// Certified rounds in them.
    pub rounds: u64,
    /// Attempts that agencies paid for in them.
    pub attempts: u64,
    /// Jobs whose evidence does not verify, or whose model is far from the undisturbed one.
    pub wrong_sums: u32,
    /// Rounds that were certified and are not in the record, and rounds that a job did not get to.
    pub lost_rounds: u64,
    /// Charges made twice, for attempts that cannot have been, or still held back afterwards.
    pub overcharged: u64,
    /// Vectors in a certified sum, or noted as sent, without a charge.
    pub undercharged: u64,
    /// Largest difference of a parameter from the undisturbed model.
    pub model_distance: f64,
    /// What was wrong, in words.
    pub findings: Vec<String>,
    /// Seconds in all.
    pub seconds: f64,
}

impl Summary {
    /// Of a run that has not begun.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Writes it as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("the summary is no JSON")?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The main figures.
    pub fn in_a_line(&self) -> String {
        format!(
            "{} kills ({} of the aggregator, {} times all at once) in {} jobs, {} rounds and {} paid \
             attempts: {} wrong sums, {} lost rounds, {} overcharged, {} undercharged",
            self.kills,
            self.kills_of_the_aggregator,
            self.kills_of_all_at_once,
            self.runs,
            self.rounds,
            self.attempts,
            self.wrong_sums,
            self.lost_rounds,
            self.overcharged,
            self.undercharged
        )
    }

    /// What went wrong, if anything did.
    pub fn fault(&self) -> Option<String> {
        let bad =
            u64::from(self.wrong_sums) + self.lost_rounds + self.overcharged + self.undercharged;
        (bad > 0).then(|| format!("something is wrong: {}", self.findings.join("; ")))
    }
}
