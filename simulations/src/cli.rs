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
    /// Calculate noise and epsilon, of a job or of bare numbers; check and show a privacy statement.
    ///
    /// With --job, what the job would cost against each adversary. Without it, give three of
    /// --epsilon, --noise-multiplier, --sampling-rate and --rounds: the fourth is calculated. Beside
    /// every upper bound stands a numerical estimate, labelled so. Runs nothing.
    #[command(after_help = PRIVACY_EXAMPLES)]
    Privacy(Box<PrivacyArgs>),
    /// Calculate what secure aggregation takes, and run one real round of it in this process.
    ///
    /// Prints the thresholds, what is tolerated, traffic and time, and in plain words what the
    /// aggregator can and cannot learn at these settings. Numbers that would not protect the
    /// agencies are refused with what to change. The round that follows is the real protocol with
    /// as many virtual agencies, of which the expected share vanishes in the middle.
    #[command(after_help = SECAGG_EXAMPLES)]
    Secagg(SecaggArgs),
    /// Audit the privacy of the node's pipeline from outside: noise, sensitivity, sampling, epsilon.
    ///
    /// Makes many releases of made-up records within a job's bounds, with the code that every round
    /// uses, and holds them against the plan. Exit code 3 if a check fails.
    #[command(after_help = crate::commands::audit::EXAMPLES)]
    Audit(crate::commands::audit::AuditArgs),
    /// Measure accuracy against epsilon on real data, in every privacy mode.
    ///
    /// Prepares tables from public files, runs whole federations on them, and writes utility.json,
    /// utility.md and a picture of each problem to OUT. A run that was stopped goes on where it was.
    Utility(UtilityArgs),
    /// Fine-tune a sentence encoder across 41 federal agencies: which uses of AI affect rights or safety?
    ///
    /// Prepares tables from the public inventory, trains adapters (LoRA) pooled, federated, and with
    /// every description hidden, and writes inventory.json and inventory.md to OUT. Only adapters
    /// travel; the encoder stays where it is.
    Inventory(InventoryArgs),
    /// Train a character model on real text: pooled, federated, and with speakers hidden.
    ///
    /// Prepares tables from the public file of Shakespeare's plays, runs whole federations on them, and
    /// writes language.json, language.md and a picture to OUT. Takes hours; a run that was stopped goes
    /// on where it was.
    Language(LanguageArgs),
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

const PRIVACY_EXAMPLES: &str = "\
Examples:
  simulate privacy --job job.toml
  simulate privacy --epsilon 2 --delta 1e-6 --sampling-rate 0.1 --rounds 200
  simulate privacy --noise-multiplier 2 --sampling-rate 0.04 --rounds 300 \\
      --nodes 20 --min-survivors 17 --colluders 2
  simulate privacy --sampling-rate 0.1 --table
  simulate privacy verify privacy-statement.json       (exit code 3 if a claim does not hold)
  simulate privacy show privacy-statement.json --html statement.html";

/// Arguments of `privacy`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct PrivacyArgs {
    /// Check or show a statement.
    #[command(subcommand)]
    pub action: Option<PrivacyAction>,
    /// The job.
    #[arg(long, value_name = "JOB.toml", conflicts_with_all = [
        "epsilon", "noise_multiplier", "sampling_rate", "rounds", "nodes", "table",
    ])]
    pub job: Option<PathBuf>,
    /// Declared records of each agency, in the order of the job [default: 10,000 each].
    #[arg(long, value_name = "N1,N2,..", value_delimiter = ',', requires = "job")]
    pub declared: Vec<u64>,
    /// Epsilon of all rounds.
    #[arg(long, value_name = "E")]
    pub epsilon: Option<f64>,
    /// Noise multiplier: standard deviation of the honest noise over the sensitivity.
    #[arg(long, value_name = "Z")]
    pub noise_multiplier: Option<f64>,
    /// Poisson sampling rate, above 0 and at most 1.
    #[arg(long, value_name = "Q")]
    pub sampling_rate: Option<f64>,
    /// Rounds, retries included.
    #[arg(long, value_name = "T")]
    pub rounds: Option<u32>,
    /// Delta of all rounds.
    #[arg(long, value_name = "D", default_value_t = 1e-6)]
    pub delta: f64,
    /// Nodes of a federation: adds the four adversaries and the bytes of a vector.
    #[arg(long, value_name = "N")]
    pub nodes: Option<u16>,
    /// Least nodes in a sum [default: all].
    #[arg(long, value_name = "N", requires = "nodes")]
    pub min_survivors: Option<u16>,
    /// Colluding nodes tolerated; one is always assumed.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "nodes")]
    pub colluders: u16,
    /// Parameters of the model; 1e6 is read as a million.
    #[arg(long, value_name = "D", default_value = "10000", value_parser = whole_size, requires = "nodes")]
    pub dim: usize,
    /// A table over epsilon 0.5 to 8 and rounds, for a sampling rate.
    #[arg(long)]
    pub table: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// What to do with a statement.
#[derive(Debug, Subcommand)]
pub enum PrivacyAction {
    /// Recompute a privacy statement from its own public parameters; refuse what does not hold.
    Verify {
        /// The statement.
        #[arg(value_name = "STATEMENT.json")]
        statement: PathBuf,
    },
    /// Show a privacy statement as a page, in plain text or as HTML.
    Show {
        /// The statement.
        #[arg(value_name = "STATEMENT.json")]
        statement: PathBuf,
        /// Write a self-contained page here instead.
        #[arg(long, value_name = "FILE.html")]
        html: Option<PathBuf>,
    },
}

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

/// Arguments of `inventory`.
#[derive(Debug, Args)]
pub struct InventoryArgs {
    /// Folder with federal_ai_inventory in it, or that folder itself.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder with model.safetensors and tokenizer.json of all-MiniLM-L6-v2.
    #[arg(long, value_name = "DIR")]
    pub encoder: PathBuf,
    /// Results folder.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Two rounds: only to see that it works.
    #[arg(long)]
    pub quick: bool,
    /// Who computes gradients.
    #[arg(long, value_enum, default_value_t)]
    pub trainer: TrainerKind,
}

/// Arguments of `language`.
#[derive(Debug, Args)]
pub struct LanguageArgs {
    /// Folder with tinyshakespeare in it, or that folder itself.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Results folder.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Runs of each kind.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub seeds: u32,
    /// A tiny model and two rounds: only to see that it works.
    #[arg(long)]
    pub quick: bool,
    /// Who computes gradients.
    #[arg(long, value_enum, default_value_t)]
    pub trainer: TrainerKind,
}

fn whole_size(text: &str) -> Result<usize, String> {
    whole(text).map(|n| n as usize)
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
        let Command::Privacy(args) = cli.unwrap().command else { panic!() };
        assert_eq!((args.declared, args.json), (vec![1, 2, 3], false));
        let line = ["simulate", "privacy", "verify", "s.json"];
        let Command::Privacy(args) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        assert!(matches!(args.action, Some(PrivacyAction::Verify { .. })));
        for wrong in [
            &["--job", "j", "--epsilon", "1"][..],
            &["--job", "j", "verify", "s.json"],
            &["--declared", "1"],
            &["--min-survivors", "3"],
            &["verify"],
        ] {
            let line = ["simulate", "privacy"].iter().chain(wrong);
            assert!(Cli::try_parse_from(line).is_err(), "{wrong:?}");
        }
        assert!(Cli::try_parse_from(["simulate", "run", "s.toml"]).is_err(), "--out is needed");
        let line = ["simulate", "secagg", "--nodes", "10", "--dim", "1e6"];
        let Command::Secagg(args) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        assert_eq!((args.nodes, args.dim, args.bits), (10, 1_000_000, 32));
        assert!(Cli::try_parse_from(["simulate", "audit", "--quick", "--thorough"]).is_err());
        assert!(Cli::try_parse_from(["simulate", "audit", "--mutant", "half-sigma"]).is_ok());
        for wrong in ["1.5", "-1", "many", "1e10"] {
            assert!(whole(wrong).is_err(), "{wrong}");
        }
    }
}
