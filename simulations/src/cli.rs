//! The command line of `simulate`, with help worth reading.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use tributary_simulations::trainers::TrainerKind;
use tributary_simulations::utility::Choice;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and everything that was checked holds
  1  something is missing, wrong or failed; the message says what to do
  2  the command line is wrong
  3  evidence was refused: changed, incomplete or of another job

SIMULATE_LOG=info shows what nodes and coordinator say (debug: everything).";

/// Runs whole federations in one process, and checks and reports on runs, real or simulated.
#[derive(Debug, Parser)]
#[command(name = "simulate", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario: the whole federation in this process, then everything that `finish` does.
    ///
    /// The same coordinator, node engine, trainer and accountant as the daemons, without network
    /// and with virtual time. The same seed gives the same model, byte for byte. The noise of a
    /// simulation follows from its seed and protects nobody.
    ///
    /// Writes to OUT: run/ (the evidence), model.safetensors, summary.json,
    /// privacy-statement.json, rounds.jsonl, report.html.
    Run(RunArgs),
    /// Check a scenario and print its plan: thresholds, noise, epsilon, bytes. Runs nothing.
    CheckConfig {
        /// The scenario.
        #[arg(value_name = "SCENARIO.toml")]
        scenario: PathBuf,
    },
    /// Evaluate a run that `aggregator job export` wrote, and write the results and the report.
    ///
    /// Verifies the evidence first, measures the model on DATA/test.csv as it learned, trains the
    /// comparisons without privacy (all data pooled, and each agency alone), and states the
    /// privacy that was spent.
    Finish(FinishArgs),
    /// Recompute everything in a run's evidence: record, certificates, states, statement, model.
    ///
    /// Needs no data and no trust in whoever wrote the files: only the job hash that it prints has
    /// to be compared with the one that the agencies approved.
    Verify {
        /// Folder with manifest.json, rounds.jsonl and sums/; or a results folder with run/ in it.
        #[arg(long, value_name = "DIR")]
        run: PathBuf,
        /// The privacy statement; privacy-statement.json in DIR if there is one.
        #[arg(long, value_name = "FILE")]
        statement: Option<PathBuf>,
    },
    /// Draw report.html again from summary.json and rounds.jsonl.
    Report {
        /// Results folder.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Calculate what a job would cost: noise and epsilon against each adversary. Runs nothing.
    Privacy {
        /// The job.
        #[arg(long, value_name = "JOB.toml")]
        job: PathBuf,
        /// Declared records of each agency, in the order of the job [default: 10,000 each].
        #[arg(long, value_name = "N1,N2,..", value_delimiter = ',')]
        declared: Vec<u64>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Calculate what secure aggregation takes, and run one real round of it in this process.
    ///
    /// Prints the thresholds, what is tolerated, traffic and time, and in plain words what the
    /// aggregator can and cannot learn at these settings. Numbers that would not protect the
    /// agencies are refused with what to change. The round that follows is the real protocol with
    /// as many virtual agencies, of which the expected share vanishes in the middle.
    #[command(after_help = SECAGG_EXAMPLES)]
    Secagg(SecaggArgs),
    /// Measure accuracy against epsilon on real data, in every privacy mode.
    ///
    /// Prepares tables from public files, runs whole federations on them, and writes utility.json,
    /// utility.md and a picture of each problem to OUT. A run that was stopped goes on where it was.
    Utility(UtilityArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

const SECAGG_EXAMPLES: &str = "\
Examples:
  simulate secagg --nodes 10 --dim 1000000 --dropout 0.2
  simulate secagg --nodes 1000 --dim 100000 --dropout 0.05 --corrupt 0.1 --no-round
  simulate secagg --nodes 20 --dim 1e6 --bits 16 --max-value 1000 --json";

/// Arguments of `secagg`.
#[derive(Debug, Args)]
pub struct SecaggArgs {
    /// Agencies on the roster.
    #[arg(long, value_name = "N")]
    pub nodes: u16,
    /// Lanes (model parameters) of a vector; 1e6 is read as a million.
    #[arg(long, value_name = "D", value_parser = whole)]
    pub dim: u32,
    /// Share of the agencies that may be missing from a round.
    #[arg(long, value_name = "P", default_value_t = 0.1)]
    pub dropout: f64,
    /// Share of the agencies that may work for the aggregator.
    #[arg(long, value_name = "P", default_value_t = 0.1)]
    pub corrupt: f64,
    /// Least agencies in a sum, whatever else follows.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub min_survivors: u16,
    /// Bits of a lane, 1 to 32.
    #[arg(long, value_name = "B", default_value_t = 32)]
    pub bits: u8,
    /// Largest integer, positive or negative, in an agency's vector: is the sum sure to fit?
    #[arg(long, value_name = "V")]
    pub max_value: Option<u64>,
    /// Shares that open a seed, in place of the least safe number.
    #[arg(long, value_name = "T")]
    pub shamir_t: Option<u16>,
    /// Agencies that are invited to a round, in place of all.
    #[arg(long, value_name = "N")]
    pub cohort: Option<u16>,
    /// Threads of the round [default: as many as there are cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// Only calculate; run no round.
    #[arg(long)]
    pub no_round: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `utility`.
#[derive(Debug, Args)]
pub struct UtilityArgs {
    /// The problem.
    #[arg(value_enum, default_value = "all")]
    pub problem: Choice,
    /// Folder with heart_disease, mnist_by_writer and flights-v1, or one of those itself.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Results folder.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Runs of each mode and epsilon, with different noise.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub seeds: u32,
    /// One seed, epsilon 1, a tenth of the rounds: only to see that it works.
    #[arg(long)]
    pub quick: bool,
    /// Measure on a fifth of the training records, and leave the held-out ones alone: to choose
    /// settings by.
    #[arg(long)]
    pub validation: bool,
    /// Fail unless every target is met.
    #[arg(long)]
    pub check: bool,
    /// Who computes gradients.
    #[arg(long, value_enum, default_value_t)]
    pub trainer: TrainerKind,
}

/// A whole number, also as 1e6.
fn whole(text: &str) -> Result<u32, String> {
    let value = text.parse::<u32>().ok().or_else(|| {
        let value = text.parse::<f64>().ok()?;
        let whole = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
        whole.then_some(value as u32)
    });
    value.ok_or_else(|| "a whole number is needed, such as 100000 or 1e5".to_owned())
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The scenario.
    #[arg(value_name = "SCENARIO.toml")]
    pub scenario: PathBuf,
    /// Results folder; files of an earlier run in it are replaced.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Who computes gradients.
    #[arg(long, value_enum, default_value_t)]
    pub trainer: TrainerKind,
}

/// Arguments of `finish`.
#[derive(Debug, Args)]
pub struct FinishArgs {
    /// Folder that `aggregator job export` wrote.
    #[arg(long, value_name = "RUNDIR")]
    pub run: PathBuf,
    /// The job as it was submitted.
    #[arg(long, value_name = "JOB.toml")]
    pub job: PathBuf,
    /// Folder with AGENCY/train.csv for each agency, and test.csv.
    #[arg(long, value_name = "DATADIR")]
    pub data: PathBuf,
    /// Results folder.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seconds by phase of what came before, as JSON: {"setup": 1.5, "train": 90}.
    #[arg(long, value_name = "FILE.json")]
    pub timings: Option<PathBuf>,
    /// Who predicts, and trains the comparisons.
    #[arg(long, value_enum, default_value_t)]
    pub trainer: TrainerKind,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["simulate", "privacy", "--job", "j", "--declared", "1,2,3"]);
        let Command::Privacy { declared, json, .. } = cli.unwrap().command else { panic!() };
        assert_eq!((declared, json), (vec![1, 2, 3], false));
        assert!(Cli::try_parse_from(["simulate", "run", "s.toml"]).is_err(), "--out is needed");
        let line = ["simulate", "secagg", "--nodes", "10", "--dim", "1e6"];
        let Command::Secagg(args) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        assert_eq!((args.nodes, args.dim, args.bits), (10, 1_000_000, 32));
        for wrong in ["1.5", "-1", "many", "1e10"] {
            assert!(whole(wrong).is_err(), "{wrong}");
        }
    }
}
