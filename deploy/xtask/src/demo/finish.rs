//! Evaluating a finished run: `simulate finish` computes the figures and writes the report.

use std::process::Command;

use anyhow::{Result, bail};

use super::Scene;
use super::process::call;

/// Files that the results folder must hold afterwards.
const RESULTS: [&str; 5] =
    ["model.safetensors", "summary.json", "privacy-statement.json", "rounds.jsonl", "report.html"];

/// Runs `simulate finish` and checks that everything is there.
pub fn simulate(scene: &Scene<'_>) -> Result<()> {
    let out = scene.out;
    let mut command = Command::new(&scene.binaries.simulate);
    command.arg("finish");
    command.arg("--run").arg(out.path("run"));
    command.arg("--job").arg(out.path("job.toml"));
    command.arg("--data").arg(scene.data);
    command.arg("--out").arg(out.root());
    command.arg("--timings").arg(out.path("timings.json"));
    command.args(["--trainer", scene.args.trainer.name()]);
    println!("  evaluating on the held-out days, and training the comparisons without privacy");
    call(&mut command, &out.logs().join("finish.log"))?;
    let missing: Vec<_> = RESULTS.iter().filter(|file| !out.path(file).is_file()).collect();
    if !missing.is_empty() {
        bail!("`simulate finish` ended well but did not write {missing:?}");
    }
    Ok(())
}
