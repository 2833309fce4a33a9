//! `simulate privacy`: a job's cost, the calculator, and statements checked and shown.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use tributary_simulations::calculator::{Federation, Question, Sweep};
use tributary_simulations::plan_report::{ASSUMED_RECORDS, PlanReport};
use tributary_simulations::scenario::load_job;
use tributary_simulations::{SimulationError, report, statement};

use crate::cli::{PrivacyAction, PrivacyArgs};

/// Does it.
pub fn run(args: &PrivacyArgs) -> Result<()> {
    match (&args.action, &args.job) {
        (Some(PrivacyAction::Verify { statement }), _) => verify(statement),
        (Some(PrivacyAction::Show { statement, html }), _) => show(statement, html.as_deref()),
        (None, Some(job)) => job_cost(job, args),
        (None, None) => calculate(args),
    }
}

fn job_cost(path: &Path, args: &PrivacyArgs) -> Result<()> {
    let job = load_job(path)?;
    let assumed = || vec![ASSUMED_RECORDS; job.agencies.len()];
    let declared = if args.declared.is_empty() { assumed() } else { args.declared.clone() };
    let report =
        PlanReport::of(&job, &declared).with_context(|| format!("job {}", path.display()))?;
    print(&report, args.json)
}

fn calculate(args: &PrivacyArgs) -> Result<()> {
    let federation = args.nodes.map(|nodes| Federation {
        nodes,
        min_survivors: args.min_survivors.unwrap_or(nodes),
        colluders: args.colluders,
        dimension: args.dim,
    });
    let question = Question {
        epsilon: args.epsilon,
        noise_multiplier: args.noise_multiplier,
        sampling_rate: args.sampling_rate,
        rounds: args.rounds,
        delta: args.delta,
        federation,
    };
    if args.table {
        return print(&Sweep::of(&question)?, args.json);
    }
    print(&question.answer()?, args.json)
}

fn verify(path: &Path) -> Result<()> {
    let stated = statement::read(path)?;
    stated
        .verify()
        .map_err(|e| SimulationError::Evidence { what: name(path), problem: e.to_string() })?;
    print!("{}", stated.to_text());
    println!("\n{}: every claim was recomputed from its own parameters, and holds.", name(path));
    println!(
        "Whether the parameters are those of the job only its record can tell: `simulate verify`."
    );
    Ok(())
}

fn show(path: &Path, html: Option<&Path>) -> Result<()> {
    let stated = statement::read(path)?;
    let verdict = stated.verify();
    if let Some(html) = html {
        let page = report::statement_page(&stated, verdict.is_ok());
        std::fs::write(html, page).with_context(|| format!("{}", html.display()))?;
        println!("{}", html.display());
    } else {
        print!("{}", stated.to_text());
    }
    if let Err(e) = verdict {
        eprintln!("warning: it does NOT hold: {e} (`simulate privacy verify` refuses it)");
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

fn print(what: &(impl Serialize + std::fmt::Display), json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(what)?);
    } else {
        println!("{what}");
    }
    Ok(())
}
