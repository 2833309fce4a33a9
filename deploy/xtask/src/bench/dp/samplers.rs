//! The part of `bench dp` that times noise samplers, ours and opendp's in the same program.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::{Figures, Run};
use crate::bench::build;
use crate::bench::child;
use crate::bench::lines::Line;
use crate::support::command::{cargo, describe};
use crate::support::repo::Repo;

const MANIFEST: &str = "dp/oracle/Cargo.toml";
const PROGRAM: &str = "dp-bench";

/// Longer than it takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Our parameters that must be there, for what the program is for.
const PROMISED: [&str; 4] = ["10", "100", "1000", "100000"];

/// Builds and runs `dp-bench`. Adds `discrete_gaussian_ns`, `skellam_ns`, `opendp_ns` and
/// `opendp_ratio`, maps from sigma (or the standard deviation) as text to nanoseconds per sample, or to
/// opendp's time over ours; with peers `opendp_measurement_ns` too.
pub fn measure(run: &Run<'_>) -> Result<Figures> {
    let mut command = Command::new(build(run.repo)?);
    command.args(run.quick.then_some("--quick")).args(run.peers.then_some("--measurement"));
    println!("  {}", describe(&command));
    let output = child::run(&mut command, &run.logs, "dp-samplers", LIMIT)?;
    figures(&output, run.peers).with_context(|| format!("`{}` ended well", describe(&command)))
}

fn build(repo: &Repo) -> Result<PathBuf> {
    build::program(build_command(repo), PROGRAM)
}

/// opendp stands outside the workspace, and so does what is built with it.
fn build_command(repo: &Repo) -> Command {
    let message = "--message-format=json-render-diagnostics";
    let target = ["--target-dir", "target/oracle"];
    let what = ["build", "--locked", "--release", "--manifest-path", MANIFEST, "--bin", PROGRAM];
    cargo(repo, what.into_iter().chain(target).chain([message]))
}

fn figures(output: &str, peers: bool) -> Result<Figures> {
    let lines = Line::parse_all(output)?;
    let ours = by(&lines, "discrete_gaussian", "sigma");
    let theirs = by(&lines, "opendp", "sigma");
    for sigma in PROMISED {
        ensure!(ours.contains_key(sigma), "but timed no discrete Gaussian at sigma {sigma}");
        ensure!(theirs.contains_key(sigma), "but did not time opendp at sigma {sigma}");
    }
    let ratios: Map<String, Value> = theirs
        .iter()
        .filter_map(|(sigma, ns)| {
            let ratio = ns.as_f64()? / ours.get(sigma)?.as_f64()?;
            Some((sigma.clone(), json!((ratio * 10.0).round() / 10.0)))
        })
        .collect();
    let mut figures = Figures::new();
    figures.insert("discrete_gaussian_ns".into(), ours.into());
    figures.insert("skellam_ns".into(), by(&lines, "skellam", "deviation").into());
    figures.insert("opendp_ns".into(), theirs.into());
    figures.insert("opendp_ratio".into(), ratios.into());
    if peers {
        let whole = by(&lines, "opendp_measurement", "sigma");
        ensure!(!whole.is_empty(), "but did not time opendp's measurement");
        figures.insert("opendp_measurement_ns".into(), whole.into());
    }
    figures.insert("lines".into(), serde_json::to_value(&lines)?);
    Ok(figures)
}

/// Medians of the lines of one kind by the text under `key`.
fn by(lines: &[Line], bench: &str, key: &str) -> Map<String, Value> {
    let kind = lines.iter().filter(|line| line.is(bench));
    kind.filter_map(|line| Some((line.text(key)?.to_owned(), json!(line.seconds("ns")?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = r#"
{"bench":"discrete_gaussian","sigma":"10","samples":9,"ns":{"median":2.5,"min":2.0,"max":3.0,"n":5}}
{"bench":"discrete_gaussian","sigma":"100","samples":9,"ns":{"median":2.5}}
{"bench":"discrete_gaussian","sigma":"1000","samples":9,"ns":{"median":4.0}}
{"bench":"discrete_gaussian","sigma":"100000","samples":9,"ns":{"median":8.0}}
{"bench":"skellam","deviation":"100","samples":9,"ns":{"median":3.0}}
{"bench":"opendp","sigma":"10","samples":9,"ns":{"median":7000.0}}
{"bench":"opendp","sigma":"100","samples":9,"ns":{"median":7100.0}}
{"bench":"opendp","sigma":"1000","samples":9,"ns":{"median":7200.0}}
{"bench":"opendp","sigma":"100000","samples":9,"ns":{"median":8000.0}}
"#;

    #[test]
    fn promised_keys_are_maps_by_sigma() {
        let file = Value::from(figures(OUTPUT, false).unwrap());
        assert_eq!(file["discrete_gaussian_ns"]["1000"], 4.0);
        assert_eq!(file["discrete_gaussian_ns"]["100000"], 8.0);
        assert_eq!(file["skellam_ns"], json!({"100": 3.0}));
        assert_eq!(file["opendp_ns"]["1000"], 7200.0);
        assert_eq!(file["opendp_ratio"]["1000"], 1800.0);
        assert_eq!(file["lines"].as_array().unwrap().len(), 9);
        assert!(file.get("opendp_measurement_ns").is_none());
    }

    #[test]
    fn what_is_missing_is_an_error() {
        let without = |what: &str| -> String {
            OUTPUT.lines().filter(|l| !l.contains(what)).map(|l| format!("{l}\n")).collect()
        };
        let error = figures(&without("\"opendp\""), false).unwrap_err().to_string();
        assert!(error.contains("did not time opendp at sigma 10"), "{error}");
        let error = figures(&without("\"1000\""), false).unwrap_err().to_string();
        assert!(error.contains("at sigma 1000"), "{error}");
        let error = figures(OUTPUT, true).unwrap_err().to_string();
        assert!(error.contains("measurement"), "{error}");
        let line = r#"{"bench":"opendp_measurement","sigma":"10","ns":{"median":9000.0}}"#;
        let file = figures(&format!("{OUTPUT}{line}\n"), true).unwrap();
        assert_eq!(file["opendp_measurement_ns"]["10"], 9000.0);
    }

    #[test]
    fn figures_come_from_the_release_profile() {
        let line = describe(&build_command(&Repo::at("/r".as_ref(), "/c".as_ref())));
        assert!(line.contains("--release --manifest-path dp/oracle/Cargo.toml"), "{line}");
    }
}
