//! `cargo xtask bench`: measures on this machine, from the same commit, beside a peer if wished.
//!
//! It starts programs and reads the JSON lines that they print; it uses none of their code. What
//! is comparable with what, and what is not, stands in `deploy/bench/README.md`.

mod build;
mod cells;
mod child;
mod data;
mod dp;
mod keys;
mod lines;
mod load;
mod machine;
mod peers;
mod report;
mod run;
mod summary;
mod train;
mod training;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::support::repo::Repo;
use crate::support::ui;

use machine::Machine;
use run::{Failure, Program, Programs};
use summary::Summary;

/// Where everything goes, below the repository.
const FOLDER: &str = "target/bench";

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

/// What to measure.
#[derive(Debug, Subcommand)]
enum What {
    /// Secure aggregation: masks, one node's computation, rounds over real connections.
    Secagg(SecaggArgs),
    /// The aggregator under load: many idle sessions, and a round of many agencies.
    Load(load::LoadArgs),
    /// Differential privacy: noise samplers, beside opendp's.
    Dp(dp::DpArgs),
    /// Reading: three million rows of a Parquet file, time and memory.
    Data(data::DataArgs),
    /// Training of language models: tokens a second, beside PyTorch and Opacus.
    Train(train::TrainArgs),
}

/// Options of `cargo xtask bench secagg`.
#[derive(Debug, Args)]
#[command(
    after_help = "Takes about 5 minutes after the build, with --peers about 10, with --quick \
        about one. Leave the machine idle meanwhile.\n\n\
        Results: target/bench/secagg.json. Logs of the programs: target/bench/logs.\n\n\
        Examples:\n  \
        cargo xtask bench secagg --quick\n  \
        cargo xtask bench secagg --peers\n  \
        cargo xtask bench secagg --peers --cells kernel,10x1e6"
)]
pub struct SecaggArgs {
    /// Measure Flower beside us: installs it into target/bench/venv, with pip.
    #[arg(long)]
    peers: bool,
    /// Fewer and smaller cells.
    #[arg(long)]
    quick: bool,
    /// Only these cells, as `10x1e6` (with what Flower is asked beside them); a wrong name lists
    /// all.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cells: Vec<String>,
    /// Timed rounds of every cell that has rounds, instead of each cell's own number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
}

/// Runs a benchmark.
pub fn run(repo: &Repo, args: &BenchArgs) -> Result<()> {
    match &args.what {
        What::Secagg(args) => secagg(repo, args),
        What::Load(args) => load::run(repo, args),
        What::Dp(args) => dp::run(repo, args),
        What::Data(args) => data::run(repo, args),
        What::Train(args) => train::run(repo, args),
    }
}

fn secagg(repo: &Repo, args: &SecaggArgs) -> Result<()> {
    let cells = cells::select(cells::plan(args.quick, args.peers, args.rounds), &args.cells)?;
    let out = repo.root().join(FOLDER);
    let logs = out.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;

    ui::heading("Build");
    let (name, value) = build::ALLOCATOR;
    let env = vec![(name, value.into())];
    let ours = Program { path: build::secagg_bench(repo)?, env, ..Program::default() };
    let flower = if args.peers {
        ui::heading("Peers");
        Some(peers::prepare(repo, &out)?)
    } else {
        None
    };

    ui::heading("Measure");
    let machine = Machine::describe();
    println!("  {}, {} cores; leave it idle", machine.cpu_model, machine.cores);
    let outcome = run::run(&Programs { ours, flower }, &cells, &logs)?;
    let summary = Summary::new(machine, machine::commit(repo), outcome, args.peers);
    conclude(&summary, &out.join("secagg.json"), cells.len())
}

/// Writes and prints what there is; fails if a cell failed.
fn conclude(summary: &Summary, path: &Path, cells: usize) -> Result<()> {
    report::write(path, summary)?;
    report::print(summary);
    println!("\n  all figures: {}", path.display());
    if summary.failed().is_empty() {
        return Ok(());
    }
    let told = |failure: &Failure| format!("\n{}: {}", failure.cell, failure.error);
    let all: String = summary.failed().iter().map(told).collect();
    bail!("{} of {cells} cells failed\n{all}", summary.failed().len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use run::Outcome;

    #[test]
    fn failed_cells_are_named_and_the_file_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secagg.json");
        let mut outcome = Outcome::default();
        outcome.failed.push(Failure { cell: "100x1".into(), error: "no port left".into() });
        let summary = Summary::new(Machine::describe(), "abc".into(), outcome, false);
        let error = conclude(&summary, &path, 4).unwrap_err().to_string();
        assert!(error.contains("1 of 4 cells") && error.contains("100x1: no port left"), "{error}");
        assert!(fs::read_to_string(&path).unwrap().contains("no port left"));

        let good = Summary::new(Machine::describe(), "abc".into(), Outcome::default(), false);
        conclude(&good, &path, 4).unwrap();
    }
}
