//! `cargo xtask chaos`: a federation of real processes that are killed without warning, over and
//! over, and whether anything is lost, released twice or paid for wrongly.
//!
//! Jobs run one after the other. At times drawn from a seed a process (or all of them at once) gets
//! SIGKILL and is started again a moment later. Afterwards the evidence and every agency's budget
//! book are read as an auditor would, through the command lines. It uses none of the binaries' code.

mod books;
mod draw;
mod federation;
mod job;
mod model;
mod run;
mod summary;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::Trainer;
use crate::demo::{Binaries, Profile};
use crate::support::repo::Repo;
use crate::support::ui;

use draw::Draw;
use federation::Federation;
use summary::Summary;

/// Kill processes of a real federation until enough have died.
#[derive(Debug, Args)]
pub struct ChaosArgs {
    /// Processes to kill.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub kills: u32,
    /// What is killed when follows from this number, as far as the machine keeps time.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Training rounds of each job.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(3..=1000))]
    pub rounds: u32,
    /// Where the summary, the logs and, after a failure, all data directories go.
    #[arg(long, value_name = "DIR", default_value = "target/chaos")]
    pub out: PathBuf,
    /// Build profile of the programs.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    pub profile: Profile,
    /// Use the programs of this folder instead of building them.
    #[arg(long, value_name = "DIR", hide = true)]
    pub binaries: Option<PathBuf>,
}

/// Runs the command.
pub fn run(repo: &Repo, args: &ChaosArgs) -> Result<()> {
    let out = repo.root().join(&args.out);
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let binaries = match &args.binaries {
        Some(folder) => Binaries::in_folder(folder)?,
        None => {
            ui::heading("Build");
            Binaries::build(repo, args.profile, Trainer::Reference)?
        }
    };

    ui::heading("Chaos");
    let work = out.join("federation");
    let mut federation = Federation::start(&binaries, &work, &out.join("logs"))?;
    let mut summary = Summary::new(args.seed);
    println!("  a first job runs undisturbed: the models of the others are held against its model");
    let reference = run::undisturbed(&mut federation, args.rounds)?;
    let mut draw = Draw::new(args.seed);
    while summary.kills < args.kills {
        let outcome = run::disturbed(&mut federation, args, &mut draw, &mut summary, &reference)?;
        println!("  {outcome}");
    }
    federation.stop()?;
    summary.write(&out.join("summary.json"))?;
    println!("\n  {}: {}", out.join("summary.json").display(), summary.in_a_line());
    if let Some(fault) = summary.fault() {
        bail!("{fault}. The data directories are kept in {}", work.display());
    }
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}
