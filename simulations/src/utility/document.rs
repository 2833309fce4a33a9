//! What the runs came to, as rows with mean and spread, as JSON and as a Markdown table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::targets::{self, Target};
use super::{Options, Split};
use crate::error::SimulationError;

/// What was trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// One model on all records pooled, without privacy.
    Pooled,
    /// Each agency on its own records, without privacy; the mean of them.
    Alone,
    /// One model that goes from agency to agency, without privacy.
    Cyclic,
    /// The federation.
    Federated,
}

/// What one agency's own held-out records say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Share of them that are right.
    pub accuracy: f64,
    /// Area under the ROC curve, of binary labels of both kinds.
    pub auc: Option<f64>,
}

/// One cell: one training and its measurements on the held-out records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The problem.
    pub problem: String,
    /// What was trained.
    pub what: What,
    /// Privacy mode.
    pub mode: String,
    /// Epsilon that was asked for.
    pub target: Option<f64>,
    /// Seed of sampling, rounding and noise.
    pub seed: u32,
    /// Share of the held-out records that are right.
    pub accuracy: f64,
    /// Area under the ROC curve, of binary labels.
    pub auc: Option<f64>,
    /// On each agency's own held-out records, where it has any.
    pub sites: BTreeMap<String, Site>,
    /// Epsilon of the plan: what the agencies' books reserve.
    pub epsilon: Option<f64>,
    /// Delta of the job.
    pub delta: f64,
    /// Noise multiplier of a round.
    pub noise_multiplier: Option<f64>,
    /// Training rounds.
    pub rounds: u32,
    /// Poisson sampling rate.
    pub sampling_rate: f64,
    /// L2 bound of a unit.
    pub clip_norm: f64,
    /// Learning rate, first and last round.
    pub learning_rate: (f32, f32),
    /// Heavy-ball momentum.
    pub momentum: f32,
    /// Middle wall-clock time of a secure round, training at all nodes included.
    pub round_millis: Option<f64>,
    /// Wall-clock time of the training.
    pub seconds: f64,
    /// Hash of all that the cell depends on.
    pub key: String,
}

/// Runs that differ in the seed only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The problem.
    pub problem: String,
    /// What was trained.
    pub what: What,
    /// Privacy mode.
    pub mode: String,
    /// Epsilon that was asked for.
    pub target: Option<f64>,
    /// Delta of the job.
    pub delta: f64,
    /// Number of runs.
    pub seeds: usize,
    /// Accuracy: mean, and standard deviation over the seeds.
    pub accuracy: (f64, f64),
    /// Mean over the agencies of the accuracy on their own held-out records.
    pub sites: Option<(f64, f64)>,
    /// AUC.
    pub auc: Option<(f64, f64)>,
    /// The largest epsilon of a plan.
    pub epsilon: Option<f64>,
    /// Middle wall-clock time of a secure round.
    pub round_millis: Option<f64>,
}

/// `utility.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Version of the software.
    pub software_version: String,
    /// Who computed gradients.
    pub trainer: String,
    /// Whether it was measured on records that are meant for choosing settings.
    pub validation: bool,
    /// Whether the runs were shortened.
    pub quick: bool,
    /// One row for each cell of the table.
    pub rows: Vec<Row>,
    /// What was promised.
    pub targets: Vec<Target>,
    /// Every single run.
    pub runs: Vec<Run>,
}

impl What {
    /// Name of a comparison's cell.
    pub(super) fn cell(self, problem: &str) -> String {
        let what = match self {
            Self::Pooled => "pooled",
            Self::Alone => "alone",
            Self::Cyclic => "cyclic",
            Self::Federated => "federated",
        };
        format!("{problem}-{what}")
    }
}

impl Row {
    /// What the picture and the targets look at: the mean site accuracy where sites measure, the
    /// AUC of flights, else the accuracy. With its spread.
    pub fn quality(&self) -> (f64, f64) {
        match (self.sites, self.auc) {
            (Some(sites), _) => sites,
            (None, Some(auc)) => auc,
            (None, None) => self.accuracy,
        }
    }

    /// What [`Self::quality`] is.
    pub fn measure(&self) -> &'static str {
        match (self.sites, self.auc) {
            (Some(_), _) => "mean accuracy of the sites",
            (None, Some(_)) => "AUC",
            (None, None) => "accuracy",
        }
    }

    /// What was trained, in a word or two.
    pub fn label(&self) -> &str {
        match self.what {
            What::Pooled => "pooled, no privacy",
            What::Alone => "each alone, no privacy",
            What::Cyclic => "cyclic, no privacy",
            What::Federated => &self.mode,
        }
    }
}

impl Document {
    pub(super) fn of(runs: Vec<Run>, options: &Options) -> Self {
        let mut groups: Vec<Vec<&Run>> = Vec::new();
        for run in &runs {
            let same = |other: &&Run| {
                (&other.problem, other.what, &other.mode, other.target)
                    == (&run.problem, run.what, &run.mode, run.target)
            };
            match groups.iter_mut().find(|group| group.iter().all(&same)) {
                Some(group) => group.push(run),
                None => groups.push(vec![run]),
            }
        }
        let rows: Vec<Row> = groups.iter().filter_map(|group| row(group)).collect();
        Self {
            software_version: env!("CARGO_PKG_VERSION").into(),
            trainer: options.trainer.name().into(),
            validation: options.split == Split::Validation,
            quick: options.quick,
            targets: targets::check(&rows),
            rows,
            runs,
        }
    }

    pub(super) fn json(&self) -> Result<String, SimulationError> {
        serde_json::to_string_pretty(self)
            .map(|text| text + "\n")
            .map_err(|e| SimulationError::Settings(e.to_string()))
    }

    /// Names of the problems, in order.
    pub fn problems(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.problem.as_str()).collect();
        names.dedup();
        names
    }

    /// The table, problem by problem.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        for problem in self.problems() {
            let rows = || self.rows.iter().filter(|row| row.problem == problem);
            let sites = rows().any(|row| row.sites.is_some());
            let auc = rows().any(|row| row.auc.is_some());
            let _ = write!(out, "### {problem}\n\n| what | epsilon | delta | accuracy, % |");
            let mut line = "|---|---|---|---|".to_owned();
            for (shown, name) in [(sites, " mean of the sites, % |"), (auc, " AUC |")] {
                if shown {
                    out += name;
                    line += "---|";
                }
            }
            let _ = write!(out, " seeds |\n{line}---|\n");
            for row in rows() {
                let epsilon = row.target.map_or("-".to_owned(), |e| e.to_string());
                let delta = row.target.map_or("-".to_owned(), |_| format!("{:e}", row.delta));
                let percent = |v: (f64, f64)| spread((v.0 * 100.0, v.1 * 100.0), row.seeds, 1);
                let _ = write!(
                    out,
                    "| {} | {epsilon} | {delta} | {} |",
                    row.label(),
                    percent(row.accuracy)
                );
                if sites {
                    let _ = write!(out, " {} |", row.sites.map_or("-".to_owned(), percent));
                }
                if auc {
                    let shown = row.auc.map(|v| spread(v, row.seeds, 3));
                    let _ = write!(out, " {} |", shown.as_deref().unwrap_or("-"));
                }
                let _ = writeln!(out, " {} |", row.seeds);
            }
            out.push('\n');
            if sites {
                out += &self.by_site(problem);
            }
        }
        out
    }

    /// Accuracy and AUC of each agency's own held-out records, averaged over the seeds: alone, pooled,
    /// and federated without and with privacy.
    fn by_site(&self, problem: &str) -> String {
        let of = |row: &Row| -> Vec<&Run> {
            let same = |run: &&Run| {
                (run.problem.as_str(), run.what, &run.mode, run.target)
                    == (problem, row.what, &row.mode, row.target)
            };
            self.runs.iter().filter(same).collect()
        };
        let shown = |row: &&Row| match row.what {
            What::Federated => matches!(row.mode.as_str(), "none" | "fedavg" | "record"),
            What::Pooled | What::Alone => true,
            What::Cyclic => false,
        };
        let rows = self.rows.iter().filter(|row| row.problem == problem).filter(shown);
        let columns: Vec<(String, Vec<&Run>)> = rows
            .map(|row| {
                let epsilon = row.target.map_or(String::new(), |e| format!(", epsilon {e}"));
                (format!("{}{epsilon}", row.label()), of(row))
            })
            .collect();
        let agencies: Vec<&String> = columns
            .first()
            .and_then(|(_, runs)| runs.first())
            .map_or(Vec::new(), |run| run.sites.keys().collect());
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let mut out = format!(
            "Accuracy in % and AUC on each agency's own held-out records:\n\n| agency | {} |\n|---|{}\n",
            names.join(" | "),
            "---|".repeat(names.len())
        );
        for agency in agencies {
            let _ = write!(out, "| {agency} |");
            for (_, runs) in &columns {
                let found: Vec<&Site> = runs.iter().filter_map(|r| r.sites.get(agency)).collect();
                let accuracies: Vec<f64> = found.iter().map(|s| s.accuracy * 100.0).collect();
                let aucs: Option<Vec<f64>> = found.iter().map(|s| s.auc).collect();
                let _ = write!(out, " {:.1}", moments(&accuracies).0);
                if let Some(aucs) = aucs {
                    let _ = write!(out, ", {:.3}", moments(&aucs).0);
                }
                out += " |";
            }
            out.push('\n');
        }
        out.push('\n');
        out
    }
}

fn spread((mean, deviation): (f64, f64), seeds: usize, digits: usize) -> String {
    if seeds < 2 {
        return format!("{mean:.digits$}");
    }
    format!("{mean:.digits$} ± {deviation:.digits$}")
}

fn row(group: &[&Run]) -> Option<Row> {
    let first = group.first()?;
    let all = |value: &dyn Fn(&Run) -> Option<f64>| {
        let values: Option<Vec<f64>> = group.iter().map(|run| value(run)).collect();
        values.map(|values| moments(&values))
    };
    let site_mean = |run: &Run| {
        let count = run.sites.len();
        let sum: f64 = run.sites.values().map(|site| site.accuracy).sum();
        (count > 0).then(|| sum / count as f64)
    };
    Some(Row {
        problem: first.problem.clone(),
        what: first.what,
        mode: first.mode.clone(),
        target: first.target,
        delta: first.delta,
        seeds: group.len(),
        accuracy: all(&|run| Some(run.accuracy))?,
        sites: all(&site_mean),
        auc: all(&|run| run.auc),
        epsilon: group.iter().filter_map(|run| run.epsilon).reduce(f64::max),
        round_millis: all(&|run| run.round_millis).map(|(mean, _)| mean),
    })
}

/// Mean and standard deviation of a sample (n - 1).
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, if values.len() < 2 { 0.0 } else { (squares / (n - 1.0)).sqrt() })
}
