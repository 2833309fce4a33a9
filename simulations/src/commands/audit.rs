//! `simulate audit`: the privacy audit from the command line, with its arguments.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tributary_dp::PrivacyStatement;
use tributary_simulations::SimulationError;
use tributary_simulations::audit::{
    Broken, Effort, Mechanism, Mutant, NodePipeline, Report, Subject, built_in_job, run, state,
};
use tributary_simulations::plan_report::ASSUMED_RECORDS;
use tributary_simulations::scenario::{Scenario, load_job};
use tributary_simulations::trainers::TrainerKind;

use super::run::declared;
use crate::progress;

/// Examples for the help.
pub const EXAMPLES: &str = "\
Examples:
  simulate audit                                 the built-in job, about a minute
  simulate audit --job job.toml --out audit.json
  simulate audit --quick --mutant half-sigma     see it fail (exit code 3)

It looks from outside: it makes releases with the node's own code on made-up records, and holds
them against the plan. It detects noise that is missing, weak, used twice or shared, gradients that
are not clipped, means in place of sums, sampling that is not Poisson, biased rounding, a sampler
with the wrong shape. A pass is no proof: it does not detect leaks of a probability below about one
in the number of repetitions, faults that only other records set off, timing, or bad randomness of
the operating system. More in deploy/docs/privacy-audit.md.";

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The job whose plan is audited [default: a small job that is built in].
    #[arg(long, value_name = "JOB.toml", conflicts_with = "scenario")]
    job: Option<PathBuf>,
    /// A scenario, whose job is audited with the records that its tables have.
    #[arg(long, value_name = "SCENARIO.toml")]
    scenario: Option<PathBuf>,
    /// Declared records of each agency, in the order of the job [default: 10,000 each].
    #[arg(long, value_name = "N1,N2,..", value_delimiter = ',', requires = "job")]
    declared: Vec<u64>,
    /// A fifth of the repetitions.
    #[arg(long, conflicts_with = "thorough")]
    quick: bool,
    /// Ten times the repetitions.
    #[arg(long)]
    thorough: bool,
    /// Seed of every random choice; the same seed gives the same report.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Who computes gradients.
    #[arg(long, value_enum, default_value = "reference")]
    trainer: TrainerKind,
    /// Audit a pipeline that is broken on purpose instead, to see what a failure looks like.
    #[arg(long, value_enum, value_name = "NAME")]
    mutant: Option<Mutant>,
    /// A privacy statement of the job: a copy with the lower bound in it is written beside it, as
    /// NAME-audited.json, if the audit passes.
    #[arg(long, value_name = "FILE.json", conflicts_with = "mutant")]
    statement: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE.json")]
    out: Option<PathBuf>,
}

/// Does it.
pub fn audit(args: &AuditArgs) -> Result<()> {
    let subject = subject(args)?;
    let effort = match (args.quick, args.thorough) {
        (true, _) => Effort::QUICK,
        (_, true) => Effort::THOROUGH,
        _ => Effort::STANDARD,
    };
    let mut broken = args.mutant.map(Broken::new);
    let mut pipeline = NodePipeline;
    let mechanism: &mut dyn Mechanism = match &mut broken {
        Some(broken) => broken,
        None => &mut pipeline,
    };
    let spinner = progress::steps();
    let report = run(&subject, mechanism, effort, args.seed, &mut |step, done, of| {
        spinner.set_message(format!("{step}: {done} of {of}"));
    })?;
    spinner.finish_and_clear();
    let json = serde_json::to_string_pretty(&report)? + "\n";
    if args.json {
        print!("{json}");
    } else {
        println!("{report}");
    }
    if let Some(path) = &args.out {
        write(path, &json)?;
    }
    let failed = report.failed();
    if !failed.is_empty() {
        let problem = format!("these checks fail: {}", failed.join(", "));
        return Err(SimulationError::Evidence { what: "privacy audit".into(), problem }.into());
    }
    if let Some(path) = &args.statement {
        let copy = into_statement(path, &subject, &report)?;
        eprintln!("statement with the lower bound: {}", copy.display());
    }
    Ok(())
}

fn subject(args: &AuditArgs) -> Result<Subject> {
    let (job, declared) = match (&args.job, &args.scenario) {
        (Some(path), _) => {
            let job = load_job(path)?;
            let assumed = vec![ASSUMED_RECORDS; job.agencies.len()];
            let declared = Some(args.declared.clone()).filter(|d| !d.is_empty());
            (job, declared.unwrap_or(assumed))
        }
        (None, Some(path)) => {
            let scenario = Scenario::load(path)?;
            let declared = declared(&scenario)?;
            (scenario.job, declared)
        }
        (None, None) => built_in_job()?,
    };
    Ok(Subject::new(&job, &declared, args.trainer)?)
}

fn into_statement(path: &Path, subject: &Subject, report: &Report) -> Result<PathBuf> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let statement: PrivacyStatement =
        serde_json::from_str(&text).map_err(|e| SimulationError::Evidence {
            what: path.display().to_string(),
            problem: format!("not a privacy statement: {e}"),
        })?;
    let stated = state(&statement, subject, report)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let copy = path.with_file_name(format!("{name}-audited.json"));
    write(&copy, &(serde_json::to_string_pretty(&stated)? + "\n"))?;
    Ok(copy)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}
