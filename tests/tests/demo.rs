//! `cargo xtask demo`, shortened: five carriers, the reference trainer, one node killed and brought
//! back. It needs the prepared flights data and is skipped without it.
//!
//! Checked: that it ends well, that every result is there and holds what is promised, and that
//! nothing is left running. Not checked: how good the model is, which is the job of the full demo.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tributary_model::export::read_described;
use tributary_tests::Evidence;
use tributary_tests::binaries::{self, Program};
use tributary_tests::call::{call, call_within};

const ROUNDS: u64 = 200;
const AGENCIES: [&str; 5] = ["ua", "b6", "ev", "dl", "aa"];

/// Running, and training the comparisons.
const LIMIT: Duration = Duration::from_secs(1200);

#[test]
fn the_demo_shows_what_it_promises() {
    let root = tributary_tests::root();
    let data = root.join(".cache/data/flights-v1");
    if !data.join("MANIFEST").is_file() {
        println!("skipped: no flights data in {}; `cargo xtask setup` brings it", data.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let mut demo = Command::new(binaries::path(Program::Xtask));
    demo.current_dir(&root).args(["demo", "--trainer", "reference"]);
    let programs = [Program::Aggregator, Program::AgencyNode, Program::Simulate];
    let [folder_of_all, others @ ..] =
        programs.map(|p| binaries::path(p).parent().unwrap().to_owned());
    assert!(others.iter().all(|other| *other == folder_of_all), "{others:?}");
    demo.arg("--binaries").arg(&folder_of_all);
    demo.args(["--rounds", &ROUNDS.to_string(), "--agencies", "5", "--out"]).arg(&out);
    let said = call_within(&mut demo, LIMIT).ok();
    assert!(said.contains("rounds went on without it, it is in the last one"), "{said}");
    assert!(said.contains("the main job's bar does not apply"), "{said}");

    assert_eq!(running_below(&out), Vec::<String>::new(), "left running");
    assert!(!out.join("nodes").exists(), "keys and databases are removed");

    let text = fs::read_to_string(out.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    check_summary(&summary);

    // The exported evidence holds by itself, and agrees with the summary.
    let evidence = Evidence::read(&out.join("run"));
    assert_eq!(evidence.rounds.len() as u64, ROUNDS + 1);
    for (round, told) in evidence.rounds.iter().zip(summary["survivors"].as_array().unwrap()) {
        assert_eq!(serde_json::to_value(&round.survivors).unwrap(), *told, "round {}", round.round);
    }
    let lost: BTreeSet<_> =
        AGENCIES.iter().filter(|a| !evidence.rounds_without(a).is_empty()).collect();
    assert_eq!(lost.len(), 1, "one node was killed: {lost:?}");
    let (_, parameters) = read_described(&out.join("model.safetensors")).unwrap();
    assert_eq!(parameters, evidence.state.parameters);
    let statement = fs::read_to_string(out.join("privacy-statement.json")).unwrap();
    assert!(serde_json::from_str::<Value>(&statement).unwrap().is_object());

    // The report stands alone: no script, style or picture from elsewhere.
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("<svg") && report.contains("</html>"));
    for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!report.contains(outside), "the report loads something: {outside}");
    }
    assert!(fs::read_to_string(out.join("rounds.jsonl")).unwrap().lines().count() as u64 > ROUNDS);

    let mut verify = Command::new(binaries::path(Program::Simulate));
    call(verify.args(["verify", "--run"]).arg(out.join("run"))).ok();
}

/// Processes with a path in their command line.
#[cfg(target_os = "linux")]
fn running_below(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|e| fs::read(e.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(folder.to_str().unwrap())).collect()
}

#[cfg(not(target_os = "linux"))]
fn running_below(_folder: &Path) -> Vec<String> {
    Vec::new()
}

fn check_summary(summary: &Value) {
    assert_eq!(summary["agencies"], serde_json::json!(AGENCIES));
    assert_eq!(summary["rounds"].as_u64(), Some(ROUNDS + 1), "with the statistics round");
    assert_eq!(summary["survivors"].as_array().unwrap().len() as u64, ROUNDS + 1);
    for key in ["test_auc", "test_accuracy", "pooled_test_auc"] {
        let value = summary[key].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&value), "{key} is {value}");
    }
    let silos = summary["silo_test_auc"].as_object().unwrap();
    assert_eq!(silos.keys().map(String::as_str).collect::<BTreeSet<_>>(), AGENCIES.into());
    let epsilon = summary["epsilon"].as_f64().unwrap();
    assert!(epsilon > 0.0 && epsilon <= 2.0, "epsilon {epsilon}");
    assert!(summary["delta"].as_f64().unwrap() <= 1e-6);
    assert_eq!(summary["mode"], "record");
    // Four bytes a lane, and what the protocol adds.
    let bytes = summary["bytes_up_per_parameter"].as_f64().unwrap();
    assert!((4.0..8.0).contains(&bytes), "{bytes} bytes a parameter");
    let seconds = summary["seconds"].as_object().unwrap();
    for phase in ["enrol", "train", "total"] {
        assert!(seconds.get(phase).and_then(Value::as_f64).is_some_and(|s| s > 0.0), "{seconds:?}");
    }
}
