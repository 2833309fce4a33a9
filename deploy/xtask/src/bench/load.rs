//! `cargo xtask bench load`: what many agencies cost the aggregator: idle sessions with the real daemon,
//! and a round of many agencies over mutual TLS. Memory is the aggregator's, as the system counts it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use super::machine::{self, Machine};
use super::{FOLDER, build, child};
use crate::support::repo::Repo;
use crate::support::ui;

/// Longer than anything here takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Options of `cargo xtask bench load`.
#[derive(Debug, Args)]
#[command(after_help = "Results: target/bench/load.json. Logs: target/bench/logs.")]
pub struct LoadArgs {
    /// Idle sessions.
    #[arg(long, default_value_t = 500, value_name = "N")]
    idle: u32,
    /// Seconds that they are held.
    #[arg(long, default_value_t = 30, value_name = "S")]
    hold: u32,
    /// Agencies of the round; 0 leaves it out.
    #[arg(long, default_value_t = 100, value_name = "N")]
    agencies: u32,
    /// Parameters of its model.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    parameters: u32,
}

/// Runs the benchmark.
pub fn run(repo: &Repo, args: &LoadArgs) -> Result<()> {
    let out = repo.root().join(FOLDER);
    let logs = out.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    ui::heading("Build");
    let (folder, idle) = build::load_bench(repo)?;
    let round = (args.agencies > 0).then(|| build::secagg_bench(repo)).transpose()?;
    let (name, value) = build::ALLOCATOR;

    ui::heading("Measure");
    let mut command = Command::new(idle);
    command.env("TRIBUTARY_TEST_BINARIES", folder).env(name, value);
    command.args(["--nodes", &args.idle.to_string(), "--hold", &args.hold.to_string()]);
    let said = child::run(&mut command, &logs, "load-idle", LIMIT)?;
    let idle = line(&said, "idle")?;
    let mib = |value: &Value| value.as_f64().unwrap_or(f64::NAN) / f64::from(1 << 20);
    println!(
        "  {} idle sessions: {:.0} MiB instead of {:.0} MiB, {:.1} s to connect, {:.2} s of processor \
         time in {} s",
        args.idle,
        mib(&idle["rss_bytes_after"]),
        mib(&idle["rss_bytes_before"]),
        idle["connect_s"].as_f64().unwrap_or(f64::NAN),
        idle["cpu_s_holding"].as_f64().unwrap_or(f64::NAN),
        args.hold
    );
    let round = match round {
        None => Value::Null,
        Some(program) => {
            let mut command = Command::new(program);
            let (n, dim) = (args.agencies.to_string(), args.parameters.to_string());
            command.env(name, value).args(["round", "--nodes", &n, "--dim", &dim, "--rounds", "1"]);
            let said = child::run(&mut command, &logs, "load-round", LIMIT)?;
            let round = line(&said, "round")?;
            let peak = round.pointer("/aggregator/peak_rss_bytes").or(round.get("peak_rss_bytes"));
            println!(
                "  a round of {n} agencies with {dim} parameters: {:.0} MiB at most",
                mib(peak.unwrap_or(&Value::Null))
            );
            round
        }
    };
    let summary = serde_json::json!({
        "machine": Machine::describe(), "commit": machine::commit(repo), "idle": idle, "round": round,
    });
    let path = out.join("load.json");
    fs::write(&path, serde_json::to_string_pretty(&summary)? + "\n")
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("\n  all figures: {}", path.display());
    Ok(())
}

/// The JSON line of a measurement.
fn line(said: &str, bench: &str) -> Result<Value> {
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut fitting = lines.filter(|line| line["bench"] == bench);
    let found = fitting.next().with_context(|| format!("no line with \"bench\":\"{bench}\""))?;
    ensure!(fitting.next().is_none(), "two lines with \"bench\":\"{bench}\"");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_measurement_is_found() {
        let said = "talk\n{\"bench\":\"idle\",\"nodes\":5}\n{\"bench\":\"round\"}\n";
        assert_eq!(line(said, "idle").unwrap()["nodes"], 5);
        assert!(line(said, "mask").is_err());
    }
}
