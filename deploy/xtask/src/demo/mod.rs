//! `cargo xtask demo`: a whole federation of real processes on this machine.
//!
//! It does by command line what operators would do: sets up an aggregator, enrols ten agency
//! nodes with one-time tokens, registers each agency's data, submits the job, watches the rounds,
//! kills one node without warning and brings it back, and collects the results. It knows the
//! binaries' command lines and reads their JSON; it uses none of their code.

mod aggregator;
mod binaries;
mod chaos;
mod federation;
mod finish;
mod job;
mod node;
mod output;
mod process;
mod report;
mod training;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::Trainer;
use crate::data;
use crate::setup::{self, Plan};
use crate::support::repo::Repo;
use crate::support::ui;

pub use aggregator::{Aggregator, JobStatus, State};
pub use binaries::Binaries;
pub use node::Node;
pub use process::call;

use federation::Federation;
use job::DemoJob;
use output::Output;

/// Options of `cargo xtask demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The engine that computes gradients; `reference` needs no libtorch.
    #[arg(long, value_enum, default_value_t = Trainer::Torch)]
    pub trainer: Trainer,
    /// Folder for the results, below the repository: new, empty, or of an earlier demo.
    #[arg(long, default_value = "target/demo", value_name = "DIR")]
    pub out: PathBuf,
    /// Training rounds instead of the job's own, for a shorter look.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: Option<u32>,
    /// Take only the largest N agencies.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=10))]
    pub agencies: Option<u16>,
    /// Build profile of the binaries.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    pub profile: Profile,
    /// Use the programs of this folder instead of building them.
    #[arg(long, value_name = "DIR", conflicts_with = "profile")]
    pub binaries: Option<PathBuf>,
    /// Do not kill and restart a node in the middle.
    #[arg(long)]
    pub no_kill: bool,
    /// Keep the data directories (keys, databases) of the aggregator and the nodes afterwards.
    #[arg(long)]
    pub keep: bool,
}

/// Build profile of the binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Optimised; what the demo's figures are for.
    Release,
    /// Quick to build.
    Dev,
}

/// Runs the demo.
pub fn run(repo: &Repo, args: &DemoArgs) -> Result<()> {
    let mut phases = Phases::start();
    let out = Output::prepare(&repo.root().join(&args.out))?;
    setup::run(repo, &Plan::for_trainer(args.trainer))?;
    phases.end("setup");

    let binaries = match &args.binaries {
        Some(folder) => Binaries::in_folder(folder)?,
        None => {
            ui::heading("Build");
            Binaries::build(repo, args.profile, args.trainer)?
        }
    };
    phases.end("build");

    let template = std::fs::read_to_string(repo.demo_job())
        .with_context(|| format!("cannot read {}", repo.demo_job().display()))?;
    let job = DemoJob::new(&template, args.rounds, args.agencies)?;
    let data = repo.data().join(data::FOLDER);
    let scene = Scene { out: &out, data: &data, binaries: &binaries, job: &job, args };
    scene.play(&mut phases)
}

/// Everything that a run needs once binaries and data are there.
pub struct Scene<'a> {
    /// Where results go.
    pub out: &'a Output,
    /// The prepared data.
    pub data: &'a std::path::Path,
    /// The programs.
    pub binaries: &'a Binaries,
    /// What is trained.
    pub job: &'a DemoJob,
    /// The person's options.
    pub args: &'a DemoArgs,
}

impl Scene<'_> {
    /// Enrols, trains, stops and reports.
    pub fn play(&self, phases: &mut Phases) -> Result<()> {
        ui::heading("Enrol");
        self.out.write("job.toml", self.job.text())?;
        let mut federation = Federation::start(self)?;
        phases.end("enrol");

        ui::heading("Train");
        let id = federation.submit(&self.out.path("job.toml"))?;
        let outcome = training::watch(&mut federation, &id, self)?;
        federation.stop()?;
        phases.end("train");

        ui::heading("Results");
        federation.export(&id, &self.out.path("run"))?;
        self.out.write("timings.json", &phases.json()?)?;
        finish::simulate(self)?;
        phases.end("finish");
        if self.args.keep {
            println!("  the data directories are kept in {}", self.out.root().display());
        } else {
            federation.remove_state()?;
        }
        report::print(self, phases, outcome.as_ref())
    }
}

/// Wall-clock time by phase.
#[derive(Debug)]
pub struct Phases {
    start: Instant,
    last: Instant,
    seconds: BTreeMap<&'static str, Duration>,
}

impl Phases {
    /// Starts the clock.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { start: now, last: now, seconds: BTreeMap::new() }
    }

    /// Ends the phase that began with the last call.
    pub fn end(&mut self, phase: &'static str) {
        let now = Instant::now();
        self.seconds.insert(phase, now - self.last);
        self.last = now;
    }

    /// Duration of a phase; zero if it has not ended.
    pub fn of(&self, phase: &str) -> Duration {
        self.seconds.get(phase).copied().unwrap_or_default()
    }

    /// Time since the start.
    pub fn total(&self) -> Duration {
        self.last - self.start
    }

    /// The phases so far as a JSON object of seconds. `simulate finish` adds its own time and the
    /// total.
    pub fn json(&self) -> Result<String> {
        let seconds: BTreeMap<_, _> =
            self.seconds.iter().map(|(phase, took)| (*phase, took.as_secs_f64())).collect();
        serde_json::to_string_pretty(&seconds).context("cannot write timings")
    }
}

#[cfg(test)]
mod tests;
