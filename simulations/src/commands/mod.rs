//! One file per subcommand that does more than call the library.

pub mod audit;
mod inventory;
mod language;
mod privacy;
mod run;
mod secagg;
mod utility;

use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory as _;
use tributary_simulations::evidence::RunDir;
use tributary_simulations::finish::{self, Finish, finish};
use tributary_simulations::plan_report::PlanReport;
use tributary_simulations::scenario::{Scenario, load_job};
use tributary_simulations::summary::Summary;
use tributary_simulations::{data::DataDir, report, verify};

use crate::cli::{Cli, Command, FinishArgs};
use crate::progress;

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::CheckConfig { scenario } => check_config(&scenario),
        Command::Finish(args) => finish_run(&args),
        Command::Verify { run, statement } => {
            println!(
                "{}\n\nEverything that was checked holds.",
                verify::verify(&run, statement.as_deref())?
            );
            Ok(())
        }
        Command::Report { out } => {
            report::write(&out)?;
            println!("{}", out.join(report::FILE).display());
            Ok(())
        }
        Command::Privacy(args) => privacy::run(&args),
        Command::Secagg(args) => secagg::run(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Utility(args) => utility::run(&args),
        Command::Inventory(args) => inventory::run(&args),
        Command::Language(args) => language::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "simulate", &mut std::io::stdout());
            Ok(())
        }
    }
}

fn check_config(path: &Path) -> Result<()> {
    let scenario = Scenario::load(path)?;
    let declared = run::declared(&scenario)?;
    let report = PlanReport::of(&scenario.job, &declared)
        .with_context(|| format!("job {}", scenario.job_path.display()))?;
    println!("{report}");
    for fault in &scenario.faults {
        let back = match fault.to_round {
            Some(to) => format!("and takes part again from round {to} on"),
            None => "and does not come back".to_owned(),
        };
        println!("\nfault: {} dies in round {} {back}", fault.agency, fault.from_round);
    }
    println!("\n{} is valid.", path.display());
    Ok(())
}

fn finish_run(args: &FinishArgs) -> Result<()> {
    let job = load_job(&args.job)?;
    let timings = args.timings.as_deref().map(finish::read_timings).transpose()?;
    let task = Finish {
        run: &RunDir::find(&args.run)?,
        job: &job,
        job_path: &args.job,
        data: &DataDir::new(&args.data),
        out: &args.out,
        trainer: args.trainer,
        timings: timings.unwrap_or_default(),
        round_millis: None,
    };
    let spinner = progress::steps();
    let summary = finish(&task, &mut |step| spinner.set_message(step.to_owned()))?;
    spinner.finish_and_clear();
    tell(&summary, &args.out);
    Ok(())
}

/// The result in a few lines.
fn tell(s: &Summary, out: &Path) {
    let (quality, pooled) = (s.quality(), s.pooled_quality());
    println!("test {:<5} {quality:.4} federated, {pooled:.4} pooled", s.measure());
    if let Some((name, auc)) = s.best_silo() {
        println!("           {auc:.4} best agency alone ({name})");
    }
    if let Some(bits) = &s.bits_per_token {
        println!(
            "test bits  {:.4} federated, {:.4} pooled, per token",
            bits.federated, bits.pooled
        );
    }
    match s.epsilon {
        Some(epsilon) => println!("privacy    epsilon {epsilon:.3} at delta {:e}", s.delta),
        None => println!("privacy    none promised"),
    }
    let total = s.seconds.get("total").copied().unwrap_or(0.0);
    if s.simulated && s.epsilon.is_some() {
        println!("           as a real run would have; this one's noise follows from its seed");
    }
    println!("rounds     {} in {total:.1} s in all", s.rounds);
    if let Some(released) = &s.released {
        let which = if released.best { "best" } else { "last" };
        println!("released   the {which} model, after {} training rounds", released.trained);
        if released.stopped_early {
            println!("           stopped early: {} no longer improved", released.metric);
        }
    }
    println!("results    {}", out.join(report::FILE).display());
}
