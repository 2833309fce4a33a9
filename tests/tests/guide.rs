//! The walk through a first federation, by the commands of the guide itself.
//!
//! Every `sh` fence of `deploy/docs/first-federation.md` in one script, but for the fence that builds:
//! the programs are those of this test run.

#![allow(clippy::unwrap_used, reason = "a failing unwrap in a test is a failing test")]

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use tributary_tests::binaries::{self, Program};

/// The guide's port; a free one takes its place.
const PORT: &str = "7443";

#[test]
fn the_guide_leads_from_nothing_to_a_verified_model() {
    let guide = tributary_tests::root().join("deploy/docs/first-federation.md");
    let script = script(&fs::read_to_string(guide).unwrap());
    assert!(script.contains("aggregator init") && !script.contains("cargo build"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = script.replace(PORT, &port.to_string());
    let dir = tempfile::tempdir().unwrap();
    let paths = [Program::Aggregator, Program::AgencyNode, Program::Simulate].map(|program| {
        let path = binaries::path(program);
        path.parent().unwrap().to_owned()
    });
    let search = std::env::var_os("PATH").unwrap_or_default();
    let search = std::env::join_paths(paths.into_iter().chain(std::env::split_paths(&search)));
    // What is still running when a command fails is ended, too.
    let safe = format!("set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
    let output = Command::new("timeout")
        .args(["300", "bash", "-c", &safe])
        .current_dir(dir.path())
        .env("PATH", search.unwrap())
        .env_remove("TRIBUTARY_NODE_DIR")
        .env_remove("TRIBUTARY_AGGREGATOR_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    let logs = || {
        let log = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        ["aggregator.log", "nih.log"].map(log).join("\n---\n")
    };
    assert!(output.status.success(), "{said}\n{failed}\n{}", logs());
    let expected = [
        "enrolled as nih",
        "all rounds are certified",
        "Everything that was checked holds.",
        "the budget book holds",
    ];
    for expected in expected {
        assert!(said.contains(expected), "{expected}: {said}\n{failed}");
    }
    let model = fs::read(dir.path().join("model.safetensors")).unwrap();
    let text = String::from_utf8_lossy(&model);
    assert!(text.contains("tributary.held_out") && text.contains("accuracy_within"));
}

/// All `sh` fences without a further word, one after the other.
fn script(guide: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in guide.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => {
                out += line;
                out.push('\n');
            }
            _ => {}
        }
    }
    out
}

#[test]
fn fences_that_build_are_left_out() {
    let guide = "a\n```sh build\nb\n```\n```sh\nc\nd\n```\ne\n```toml\nf\n```\n";
    assert_eq!(script(guide), "c\nd\n");
}
