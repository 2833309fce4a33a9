//! The result file and the table that the person sees.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::summary::{ByKey, Summary};
use crate::support::ui;

/// Writes the result file; readers never see half of one.
pub fn write(path: &Path, summary: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_string_pretty(summary).context("cannot write the results")?;
    json.push('\n');
    let part = path.with_extension("json.part");
    fs::write(&part, json).with_context(|| format!("cannot write {}", part.display()))?;
    fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Prints the figures.
pub fn print(summary: &Summary) {
    ui::heading("Results");
    for line in table(summary) {
        println!("  {line}");
    }
}

fn table(summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    let masks =
        [("u16", summary.mask_ns_per_parameter_u16), ("u32", summary.mask_ns_per_parameter_u32)];
    for (lanes, ns) in masks {
        if let Some(ns) = ns {
            lines.push(format!("masks in {lanes} lanes: {ns:.3} ns for each parameter and mask"));
        }
    }
    if let Some(seconds) = summary.overhead_seconds_100_nodes {
        lines.push(format!("100 nodes with one parameter: {seconds:.3} s a round"));
    }
    if let Some(many) = &summary.many {
        let count = |field| many.count(field).unwrap_or_default();
        let seconds = many.seconds("round_s").unwrap_or_default();
        let exact = if many.flag("exact") == Some(true) { "exact" } else { "not exact" };
        lines.push(format!(
            "{} nodes in one process, {} parameters: {seconds:.2} s, {exact}",
            count("nodes"),
            count("dim")
        ));
    }
    if let Some(peers) = &summary.peers {
        for (d, ratio) in &peers.flower_node_ratios {
            lines.push(format!("a node's computation at {d}: Flower takes {ratio:.1} times ours"));
        }
    }
    lines.extend(rounds(summary));
    lines
}

/// One line a cohort.
fn rounds(summary: &Summary) -> Vec<String> {
    if summary.round_seconds.is_empty() {
        return Vec::new();
    }
    let row = |cells: [&str; 6]| {
        let [cohort, round, memory, up, secagg, plain] = cells;
        format!("{cohort:>10} {round:>10} {memory:>12} {up:>12} {secagg:>14} {plain:>14}")
    };
    let heads =
        ["round", "seconds", "memory/model", "bytes up/par", "Flower SecAgg+", "Flower plain"];
    let mut lines = vec![String::new(), row(heads)];
    let shown = |figures: Option<&ByKey>, key: &str, unit: &str| {
        let figure = figures.and_then(|figures| figures.get(key));
        figure.map_or("-".to_owned(), |figure| format!("{figure:.2}{unit}"))
    };
    let peers = summary.peers.as_ref();
    let mut seconds: Vec<_> = summary.round_seconds.iter().collect();
    // Ten nodes before a hundred.
    seconds.sort_by_key(|(key, _)| (key.find('x'), *key));
    for (key, seconds) in seconds {
        lines.push(row([
            key,
            &format!("{seconds:.3}"),
            &shown(Some(&summary.peak_rss_over_model), key, ""),
            &shown(Some(&summary.bytes_up_per_parameter), key, ""),
            &shown(peers.map(|p| &p.flower_round_ratio), key, " x ours"),
            &shown(peers.map(|p| &p.flower_plain_ratio), key, " x ours"),
        ]));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::lines::Line;
    use crate::bench::machine::Machine;
    use crate::bench::run::Outcome;

    fn summary() -> Summary {
        let parse = |text| Line::parse_all(text).unwrap();
        let outcome = Outcome {
            ours: parse(
                r#"{"bench":"round","nodes":10,"dim":1000000,"round_s":{"median":0.25},"peak_rss_bytes":9,"model_bytes":4}
                {"bench":"virtual","nodes":200,"dim":10000,"round_s":1.5,"exact":true}"#,
            ),
            flower: parse(
                r#"{"bench":"flower_round","nodes":10,"dim":1000000,"secagg":true,"round_s":{"median":2.5}}"#,
            ),
            failed: Vec::new(),
        };
        Summary::new(Machine::describe(), "abc".to_owned(), outcome, true)
    }

    #[test]
    fn the_table_has_what_was_measured() {
        let text = table(&summary()).join("\n");
        for part in ["0.250", "2.25", "10.00 x ours", "10x1e6", "1.50 s, exact", " -"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("lanes"), "{text}");
    }

    #[test]
    fn ten_nodes_come_before_a_hundred() {
        let line = |nodes, dim| {
            let text = r#"{"bench":"round","round_s":1"#;
            Line::parse(&format!("{text},\"nodes\":{nodes},\"dim\":{dim}}}")).unwrap()
        };
        let ours = vec![line(100, 1), line(50, 10_000_000), line(10, 1_000_000)];
        let outcome = Outcome { ours, ..Outcome::default() };
        let rows = rounds(&Summary::new(Machine::describe(), "abc".to_owned(), outcome, false));
        let keys: Vec<_> =
            rows.iter().skip(2).filter_map(|row| row.split_whitespace().next()).collect();
        assert_eq!(keys, ["10x1e6", "50x1e7", "100x1"]);
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secagg.json");
        fs::write(&path, "old").unwrap();
        write(&path, &summary()).unwrap();
        let file: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(file["round_seconds"]["10x1e6"], 0.25);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("no/such/folder.json"), &summary()).is_err());
    }
}
