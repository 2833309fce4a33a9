//! The privacy audit: measures from outside whether noise, sensitivity and sampling are what the
//! accountant believes.
//!
//! It runs the node's own pipeline on made-up records within a job's bounds and holds what comes out
//! against the job's plan. It must not know how the pipeline works: a [`Mechanism`] is asked for
//! vectors, and everything else is statistics. [`Mutant`]s are mechanisms with a fault each, which it
//! must catch. What it can and cannot see is in `deploy/docs/privacy-audit.md`.

mod bench;
pub mod black_box;
mod canaries;
pub mod mechanism;
mod moments;
pub mod mutants;
pub mod one_run;
pub mod records;
pub mod report;
pub mod sampler;
mod sampling;
pub mod setting;
pub mod statistics;

use tributary_dp::PrivacyStatement;
use tributary_job::JobSpec;

use crate::error::SimulationError;
use bench::{Bench, Stream};
pub use mechanism::{Mechanism, NodePipeline};
pub use mutants::{Broken, Mutant};
pub use report::{Check, Claim, Report, Verdict};
pub use setting::Subject;

/// Confidence of each lower bound on epsilon.
pub const CONFIDENCE: f64 = 0.95;

/// Delta at which the black box is tight as well as valid: events that it decides on happen often
/// enough to be counted. A guarantee holds at every delta on its curve, so any may be audited.
pub const AUDIT_DELTA: f64 = 1e-2;

/// Probability, at most, that a right pipeline fails any of the tests by p-value or interval.
pub const SIGNIFICANCE: f64 = 1e-4;

/// Tests by p-value or interval in one audit, at most.
pub const MOST_CHECKS: usize = 64;

/// Significance of each of them (Bonferroni).
pub const SIGNIFICANCE_PER_CHECK: f64 = SIGNIFICANCE / MOST_CHECKS as f64;

/// How much an audit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Draws from each sampler.
    pub samples: u64,
    /// Releases of each world in each black-box audit.
    pub repetitions: u64,
    /// Releases of each world and company where sensitivity is measured.
    pub sensitivity: u64,
    /// Releases where rounding is measured.
    pub rounding: u64,
    /// Releases where sampling is measured, at least.
    pub sampling: u64,
    /// Canaries of the one-run audit.
    pub canaries: usize,
}

impl Effort {
    /// Seconds, for a first look.
    pub const QUICK: Self = Self {
        samples: 200_000,
        repetitions: 4000,
        sensitivity: 40,
        rounding: 400,
        sampling: 1000,
        canaries: 500,
    };
    /// The default.
    pub const STANDARD: Self = Self {
        samples: 2_000_000,
        repetitions: 20_000,
        sensitivity: 100,
        rounding: 2000,
        sampling: 4000,
        canaries: 1000,
    };
    /// For a release of the software.
    pub const THOROUGH: Self = Self {
        samples: 20_000_000,
        repetitions: 200_000,
        sensitivity: 400,
        rounding: 10_000,
        sampling: 20_000,
        canaries: 2000,
    };
}

/// The built-in job, with what its agencies declare.
///
/// # Errors
/// Never, as a test makes sure.
pub fn built_in_job() -> Result<(JobSpec, Vec<u64>), SimulationError> {
    let job = JobSpec::from_toml(include_str!("job.toml"))
        .map_err(|e| SimulationError::Settings(e.to_string()))?;
    let declared = vec![1000; job.agencies.len()];
    Ok((job, declared))
}

/// Runs every check. `progress` hears which step runs and how far it is.
///
/// # Errors
/// If an audit is not possible at all; a check that fails is in the report.
pub fn run(
    subject: &Subject,
    mechanism: &mut dyn Mechanism,
    effort: Effort,
    seed: u64,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Report, SimulationError> {
    let name = mechanism.name();
    let mut bench = Bench { subject, mechanism, seed, effort, progress };
    let mut checks = Vec::new();
    for (i, sigma) in sampler::SIGMAS.into_iter().enumerate() {
        (bench.progress)("samplers", i as u64, sampler::SIGMAS.len() as u64);
        let own = bench.seed(Stream::Sampler, i as u32, 0);
        checks.extend(sampler::check(sigma, effort.samples, own)?);
    }
    let audit_lower_bound = releases(&mut bench, &mut checks)?;
    report(subject, name, effort, seed, checks, audit_lower_bound)
}

/// Runs every check that looks at the mechanism: all but those of the samplers.
///
/// # Errors
/// As [`run`].
pub fn run_releases(
    subject: &Subject,
    mechanism: &mut dyn Mechanism,
    effort: Effort,
    seed: u64,
) -> Result<Report, SimulationError> {
    let name = mechanism.name();
    let mut bench = Bench { subject, mechanism, seed, effort, progress: &mut |_, _, _| {} };
    let mut checks = Vec::new();
    let audit_lower_bound = releases(&mut bench, &mut checks)?;
    report(subject, name, effort, seed, checks, audit_lower_bound)
}

/// A copy of a statement with the audit's lower bound in it.
///
/// # Errors
/// If the statement does not verify, is about another release than the one audited, or is refuted by
/// the bound.
pub fn state(
    statement: &PrivacyStatement,
    subject: &Subject,
    report: &Report,
) -> Result<PrivacyStatement, SimulationError> {
    let refuse = |e: tributary_dp::DpError| SimulationError::evidence("privacy statement", e);
    statement.verify().map_err(refuse)?;
    if statement.job().map_err(refuse)?.training != *subject.release() {
        let text = "it is about another training release than the one audited; name its job, and \
                    what its agencies declare with --declared";
        return Err(SimulationError::evidence("privacy statement", text));
    }
    let mut stated = statement.clone();
    stated.about.audit_lower_bound = Some(report.audit_lower_bound);
    stated.verify().map_err(refuse)?;
    Ok(stated)
}

fn releases(bench: &mut Bench<'_>, checks: &mut Vec<Check>) -> Result<f64, SimulationError> {
    bench.rounding(checks)?;
    bench.sensitivity(checks)?;
    bench.sampling(checks)?;
    let full = bench.full(checks)?;
    let sampled = if bench.subject.release().parameters.sampling_rate < 1.0 {
        bench.sampled(checks)?
    } else {
        full
    };
    bench.one_run(checks)?;
    Ok(sampled)
}

fn report(
    subject: &Subject,
    mechanism: String,
    effort: Effort,
    seed: u64,
    checks: Vec<Check>,
    audit_lower_bound: f64,
) -> Result<Report, SimulationError> {
    let (release, parameters) = (subject.release(), &subject.release().parameters);
    let delta = subject.job().privacy.delta;
    let setting = subject.setting(parameters.sampling_rate, parameters.noise_multiplier)?;
    Ok(Report {
        software: concat!("tributary ", env!("CARGO_PKG_VERSION")).into(),
        job: subject.job().name.clone(),
        mechanism,
        trainer: subject.trainer().name().into(),
        seed,
        repetitions: effort.repetitions,
        samples: effort.samples,
        claim: Claim {
            dimension: parameters.dimension,
            noise_multiplier: parameters.noise_multiplier,
            sampling_rate: parameters.sampling_rate,
            honest_survivors: release.honest_survivors,
            sigma_local: release.sigma_local,
            sensitivity: release.sensitivity,
            delta,
            epsilon_one_release: setting.accountant(delta)?,
        },
        passed: checks.iter().all(|c| c.verdict != Verdict::Fail),
        checks,
        audit_lower_bound,
        confidence: CONFIDENCE,
    })
}
