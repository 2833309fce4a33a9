//! What the demo says at the end, read from `summary.json`: proud where it may be, honest always.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::training::Mishap;
use super::{Phases, Scene};
use crate::support::ui;

/// Largest distance to the pooled model that the main job may have.
const NEAR_POOLED: f64 = 0.02;

/// Largest epsilon of the main job.
const EPSILON: f64 = 2.0;

/// The part of `summary.json` that is printed.
#[derive(Debug, Deserialize)]
struct Summary {
    survivors: Vec<Value>,
    test_auc: f64,
    test_accuracy: f64,
    pooled_test_auc: f64,
    silo_test_auc: BTreeMap<String, f64>,
    epsilon: Option<f64>,
    delta: f64,
    mode: String,
    bytes_up_per_parameter: f64,
}

/// Prints the summary of a run.
pub fn print(scene: &Scene<'_>, phases: &Phases, mishap: Option<&Mishap>) -> Result<()> {
    let path = scene.out.path("summary.json");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let summary: Summary = serde_json::from_str(&text)
        .with_context(|| format!("{} is not as expected", path.display()))?;
    println!("{}", summary.tell(scene.job.agencies().len(), mishap));
    if scene.job.is_shortened() {
        println!("  The run was shortened, so the main job's bar does not apply.");
    } else {
        println!("{}", summary.verdict());
    }
    println!("\n  Time");
    for phase in ["setup", "build", "enrol", "train", "finish"] {
        println!("    {phase:10} {}", ui::seconds(phases.of(phase)));
    }
    let run = phases.of("enrol") + phases.of("train") + phases.of("finish");
    println!(
        "    {:10} {} ({} after the build)",
        "total",
        ui::seconds(phases.total()),
        ui::seconds(run)
    );
    println!("\n  Results: {}", scene.out.root().display());
    println!(
        "    report.html is the story, summary.json the figures, model.safetensors the model,"
    );
    println!(
        "    rounds.jsonl the signed record, privacy-statement.json what is promised to whom."
    );
    Ok(())
}

impl Summary {
    fn best_silo(&self) -> Option<(&str, f64)> {
        let silos = self.silo_test_auc.iter().map(|(name, auc)| (name.as_str(), *auc));
        silos.max_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    fn tell(&self, agencies: usize, mishap: Option<&Mishap>) -> String {
        let mut lines = vec![format!(
            "  {agencies} agencies trained one model in {} secure rounds; no row left its agency.",
            self.survivors.len()
        )];
        lines.push("\n  Test AUC on days that nobody trained on".into());
        lines.push(format!(
            "    federated, with privacy       {:.4}  (accuracy {:.4})",
            self.test_auc, self.test_accuracy
        ));
        lines.push(format!("    all data pooled, no privacy   {:.4}", self.pooled_test_auc));
        if let Some((name, auc)) = self.best_silo() {
            lines.push(format!("    best single agency ({name})       {auc:.4}"));
        }
        let worst = self.silo_test_auc.values().copied().fold(f64::INFINITY, f64::min);
        if worst.is_finite() {
            lines.push(format!("    worst single agency           {worst:.4}"));
        }
        lines.push(match self.epsilon {
            Some(epsilon) => format!(
                "\n  Privacy: epsilon {epsilon:.3} at delta {:e} (mode {}), for every record",
                self.delta, self.mode
            ),
            None => format!("\n  Privacy: none promised (mode {})", self.mode),
        });
        let bytes = self.bytes_up_per_parameter;
        lines.push(format!("  Upload: {bytes:.2} bytes a parameter, node and round"));
        lines.extend(mishap.map(|mishap| self.tell_mishap(mishap)));
        lines.join("\n")
    }

    fn tell_mishap(&self, mishap: &Mishap) -> String {
        let Mishap { agency, killed_after, restarted_after } = mishap;
        let absent = self.survivors.iter().filter(|round| names(round, agency) == Some(false));
        let back = match self.survivors.last().and_then(|round| names(round, agency)) {
            Some(true) => "it is in the last one",
            Some(false) => "it is NOT in the last one",
            None => "the summary does not name who is in the last one",
        };
        format!(
            "  The node of {agency} was killed after round {killed_after} and started again after \
             round {restarted_after}: {} rounds went on without it, {back}.",
            absent.count()
        )
    }

    fn verdict(&self) -> String {
        let private = self.epsilon.is_some_and(|epsilon| epsilon <= EPSILON);
        let near = self.pooled_test_auc - self.test_auc;
        let above = self.best_silo().is_some_and(|(_, best)| self.test_auc > best);
        let word = |met: bool| if met { "met   " } else { "MISSED" };
        format!(
            "\n  The bar of the main job\n    {} epsilon at most {EPSILON}\n    \
             {} within {NEAR_POOLED} of the pooled model (distance {near:.4})\n    \
             {} above the best single agency",
            word(private),
            word(near <= NEAR_POOLED),
            word(above)
        )
    }
}

/// Whether a round's survivors include an agency; none if the round does not list names.
fn names(round: &Value, agency: &str) -> Option<bool> {
    let list = round.as_array().or_else(|| round.get("agencies")?.as_array())?;
    Some(list.iter().any(|name| name.as_str() == Some(agency)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(auc: f64) -> Summary {
        serde_json::from_value(serde_json::json!({
            "agencies": ["ua", "wn"], "rounds": 3,
            "survivors": [["ua", "wn"], ["ua"], ["ua", "wn"]],
            "test_auc": auc, "test_accuracy": 0.77, "pooled_test_auc": 0.75,
            "silo_test_auc": {"ua": 0.73, "wn": 0.70},
            "epsilon": 1.9, "delta": 1e-6, "mode": "record",
            "bytes_up_per_parameter": 4.1, "seconds": {"total": 1.0}
        }))
        .unwrap()
    }

    #[test]
    fn tells_the_mishap_from_the_record() {
        let mishap = Mishap { agency: "wn".into(), killed_after: 1, restarted_after: 2 };
        let text = summary(0.74).tell(2, Some(&mishap));
        assert!(text.contains("1 rounds went on without it, it is in the last one"), "{text}");
        assert!(text.contains("best single agency (ua)") && text.contains("1.900"), "{text}");
    }

    #[test]
    fn the_verdict_is_honest() {
        assert!(!summary(0.74).verdict().contains("MISSED"));
        // 0.731 beats the silos and is 0.019 away; 0.729 fails both.
        assert_eq!(summary(0.731).verdict().matches("MISSED").count(), 0);
        assert_eq!(summary(0.729).verdict().matches("MISSED").count(), 2);
        let open = Summary { epsilon: None, ..summary(0.74) };
        assert_eq!(open.verdict().matches("MISSED").count(), 1);
        assert!(open.tell(2, None).contains("none promised"));
    }

    #[test]
    fn survivors_may_be_listed_in_two_ways() {
        assert_eq!(names(&serde_json::json!(["ua"]), "ua"), Some(true));
        assert_eq!(names(&serde_json::json!({"round": 1, "agencies": ["ua"]}), "wn"), Some(false));
        assert_eq!(names(&serde_json::json!(9), "ua"), None);
    }
}
