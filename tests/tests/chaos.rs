//! `cargo xtask chaos`, shortened: processes of a real federation are killed over and over.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tributary_tests::binaries::{self, Program};
use tributary_tests::call::call_within;

#[test]
fn processes_that_die_all_the_time_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("chaos");
    let aggregator = binaries::path(Program::Aggregator);
    for program in [Program::AgencyNode, Program::Simulate] {
        assert_eq!(binaries::path(program).parent(), aggregator.parent());
    }
    let mut chaos = Command::new(binaries::path(Program::Xtask));
    chaos.current_dir(tributary_tests::root());
    chaos.args(["chaos", "--kills", "12", "--rounds", "12", "--seed", "3", "--binaries"]);
    chaos.arg(aggregator.parent().unwrap()).arg("--out").arg(&out);
    let said = call_within(&mut chaos, Duration::from_secs(300)).ok();
    let text = std::fs::read_to_string(out.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    for key in ["wrong_sums", "lost_rounds", "overcharged", "undercharged"] {
        assert_eq!(summary[key], 0, "{key}: {said}");
    }
    assert!(summary["kills"].as_u64() >= Some(12) && summary["runs"].as_u64() >= Some(1), "{text}");
    assert_eq!(summary["findings"], serde_json::json!([]), "{text}");
}
