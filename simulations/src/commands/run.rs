//! `simulate run`: a scenario from its file to its report.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use tributary_dp::{RdpCurve, Release};
use tributary_job::{Operation, Plan};
use tributary_round::RoundEntry;
use tributary_simulations::data::DataDir;
use tributary_simulations::federation::{self, Setup};
use tributary_simulations::finish::{Finish, finish};
use tributary_simulations::plan_report::manifest_for;
use tributary_simulations::scenario::{DataSource, Scenario};

use crate::cli::RunArgs;
use crate::{commands::tell, progress};

/// Runs it.
pub fn run(args: &RunArgs) -> Result<()> {
    let scenario = Scenario::load(&args.scenario)?;
    let started = Instant::now();
    let data = scenario.data(&args.out)?;
    let spinner = progress::steps();
    spinner.set_message("counting records");
    let declared = data.load(&scenario.job.agencies, &scenario.job.data)?.sizes();
    spinner.finish_and_clear();
    let mut timings = BTreeMap::from([("data".to_owned(), started.elapsed().as_secs_f64())]);

    let started = Instant::now();
    let plan = Plan::derive(&manifest_for(&scenario.job, &declared)?)
        .with_context(|| format!("job {}", scenario.job_path.display()))?;
    let bar = progress::rounds(plan.rounds);
    let spent = epsilon_so_far(&plan)?;
    let mut observe = |round: &RoundEntry| {
        bar.set_position(u64::from(round.round) + 1);
        let epsilon = spent.get(round.round as usize).map(|e| format!(", epsilon {e:.2}"));
        bar.set_message(format!(
            "{} agencies{}",
            round.survivors.len(),
            epsilon.unwrap_or_default()
        ));
    };
    let setup = Setup {
        job: &scenario.job,
        data: &data,
        declared: &declared,
        trainer: args.trainer,
        seed: scenario.seed,
        faults: &scenario.faults,
    };
    let outcome = federation::run(&setup, &mut observe)?;
    bar.finish_and_clear();
    timings.insert("train".into(), started.elapsed().as_secs_f64());

    let run = args.out.join("run");
    if run.exists() {
        // Sums of an earlier, longer run would stay behind.
        std::fs::remove_dir_all(&run).with_context(|| format!("{}", run.display()))?;
    }
    let run = outcome.evidence.write(&run)?;
    let task = Finish {
        run: &run,
        job: &scenario.job,
        job_path: &scenario.job_path,
        data: &data,
        out: &args.out,
        trainer: args.trainer,
        timings,
        round_millis: Some(outcome.round_millis),
    };
    let spinner = progress::steps();
    let summary = finish(&task, &mut |step| spinner.set_message(step.to_owned()))?;
    spinner.finish_and_clear();
    tell(&summary, &args.out);
    Ok(())
}

/// Declared records of a scenario, with every table of a folder read and checked.
pub fn declared(scenario: &Scenario) -> Result<Vec<u64>> {
    match &scenario.source {
        DataSource::Synthetic(synthetic) => {
            let count = scenario.job.agencies.len();
            Ok(synthetic.records.iter().take(count).map(|n| u64::from(*n)).collect())
        }
        DataSource::SyntheticText(corpus) => {
            // How many windows a corpus makes is known once it is there.
            let folder = tempfile::tempdir().context("a temporary folder for the corpus")?;
            let data = corpus.write(&scenario.job.agencies, DataDir::new(folder.path()))?;
            Ok(data.load(&scenario.job.agencies, &scenario.job.data)?.sizes())
        }
        DataSource::Folder(data) => {
            Ok(data.load(&scenario.job.agencies, &scenario.job.data)?.sizes())
        }
    }
}

/// Epsilon in the book after each round if none is retried; empty in mode `none`.
fn epsilon_so_far(plan: &Plan) -> Result<Vec<f64>> {
    let Some(privacy) = &plan.privacy else { return Ok(Vec::new()) };
    let of = |release: &Option<Release>| release.as_ref().map(Release::rdp).transpose();
    let (statistics, evaluation) = (of(&privacy.statistics)?, of(&privacy.evaluation)?);
    let training = privacy.training.rdp()?;
    let mut curve = RdpCurve::zero();
    let mut out = Vec::with_capacity(plan.rounds as usize);
    for round in 0..plan.rounds {
        let cost = match plan.schedule.operation(round) {
            Some(Operation::Statistics) => statistics.as_ref(),
            Some(Operation::Evaluation) => evaluation.as_ref(),
            Some(Operation::Training) | None => Some(&training),
        };
        curve += cost.unwrap_or(&training);
        out.push(tributary_dp::epsilon(&curve, privacy.delta)?.epsilon);
    }
    Ok(out)
}
