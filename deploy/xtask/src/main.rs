//! `cargo xtask`: what a person types after cloning the project.
//!
//! `setup` brings libtorch and the demo's data, `demo` runs a whole federation of real processes
//! on this machine, `bench` measures, `test` runs every check. This crate only starts programs and
//! moves files: it knows the command lines of the binaries and none of their code.

mod bench;
mod chaos;
mod check;
mod check_hf;
mod data;
mod demo;
mod setup;
mod support;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use support::interrupt::{self, Interrupted};
use support::repo::Repo;

/// Set-up, demo and tests of Tributary.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    about = "Set-up, demo and tests of Tributary",
    after_help = "The first two commands to type:\n  \
        cargo xtask demo    ten agencies train one model on this machine, with privacy\n  \
        cargo xtask test    format, lints, every test, documentation\n\n\
        Both do the set-up they need and repeat nothing that is already there."
)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Task {
    /// Fetch what the build and the demo need: libtorch and the flights data, through pip.
    Setup(setup::SetupArgs),
    /// Run a federation of real processes on this machine and report what it achieved.
    Demo(demo::DemoArgs),
    /// Kill processes of a real federation over and over, and check that nothing is lost.
    Chaos(chaos::ChaosArgs),
    /// Measure secure aggregation on this machine, beside Flower if wished.
    Bench(bench::BenchArgs),
    /// Set up, then run format, lints, build, every test and the documentation build.
    Test(check::TestArgs),
    /// Hold released models and base checkpoints against Hugging Face's transformers (some gigabytes).
    CheckHf,
}

/// The engine that computes gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Trainer {
    /// libtorch through the `tch` crate.
    Torch,
    /// Pure Rust; needs no libtorch.
    Reference,
}

impl Trainer {
    /// The name as the binaries' command lines spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Reference => "reference",
        }
    }
}

fn main() -> ExitCode {
    match perform(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("\ninterrupted: every process that was started has been stopped");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("\nerror: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn perform(cli: Cli) -> anyhow::Result<()> {
    interrupt::install()?;
    let repo = Repo::locate()?;
    match cli.command {
        Task::Setup(args) => setup::run(&repo, &args.plan()),
        Task::Demo(args) => demo::run(&repo, &args),
        Task::Chaos(args) => chaos::run(&repo, &args),
        Task::Bench(args) => bench::run(&repo, &args),
        Task::Test(args) => check::run(&repo, &args),
        Task::CheckHf => check_hf::run(&repo),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn contradicting_setup_flags_are_refused() {
        let parsed = Cli::try_parse_from(["xtask", "setup", "--data-only", "--libtorch-only"]);
        assert!(parsed.is_err());
    }

    #[test]
    fn a_demo_needs_three_to_ten_agencies() {
        for (count, fits) in [("2", false), ("3", true), ("10", true), ("11", false)] {
            let parsed = Cli::try_parse_from(["xtask", "demo", "--agencies", count]);
            assert_eq!(parsed.is_ok(), fits, "{count} agencies");
        }
    }
}
