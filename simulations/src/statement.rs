//! The privacy statement of a run: what its agencies reserved for it, and so what it can have cost.
//!
//! The record is the aggregator's, and the aggregator is one of the adversaries: it could leave
//! attempts out. What the nodes can have charged at most follows from the plan, so the claims are
//! made for that; the record must not show more, and what it shows stands in the summary.

use std::path::Path;

use tributary_dp::{Identification, PrivacyStatement};
use tributary_job::Plan;

use crate::charges::Charges;
use crate::error::{SimulationError, read_text};
use crate::record::Record;

/// Name of the statement in a results folder.
pub const FILE: &str = "privacy-statement.json";

/// Appended to the software's version where the noise came from a scenario's public seed.
const SIMULATED: &str =
    " (SIMULATION: noise from a public seed; nothing this run put out is protected)";

/// The statement of a run.
///
/// # Errors
/// From the accountant, or if the record shows more attempts than the plan reserves.
pub fn build(
    plan: &Plan,
    record: &Record,
    simulated: bool,
) -> Result<PrivacyStatement, SimulationError> {
    let refuse = |e: tributary_dp::DpError| SimulationError::evidence("privacy statement", e);
    let about = Identification {
        unit: plan.training.unit,
        job_hash: Some(plan.job.to_string()),
        book_hash: None,
        audit_lower_bound: None,
    };
    let mut statement = match &plan.privacy {
        Some(reserved) => {
            let shown = Charges::of(record, plan);
            if shown.training > reserved.training_releases
                || shown.statistics > reserved.statistics_releases
                || shown.evaluation > reserved.evaluation_releases
            {
                let text = format!(
                    "it shows {} training, {} statistics and {} evaluation attempts, more than the plan \
                     reserves",
                    shown.training, shown.statistics, shown.evaluation
                );
                return Err(SimulationError::evidence("record", text));
            }
            PrivacyStatement::for_job(reserved, about).map_err(refuse)?
        }
        None => PrivacyStatement::for_plain_job(about),
    };
    if simulated {
        statement.software.push_str(SIMULATED);
    }
    Ok(statement)
}

/// Reads a statement; nothing in it is checked but its form.
///
/// # Errors
/// If the file cannot be read, or is no privacy statement.
pub fn read(path: &Path) -> Result<PrivacyStatement, SimulationError> {
    let refuse = |e: serde_json::Error| {
        let problem = format!("not a privacy statement: {e}");
        SimulationError::evidence(path.display().to_string(), problem)
    };
    serde_json::from_str(&read_text(path)?).map_err(refuse)
}

/// Checks a statement on file: every claim recomputed, and about this run and all its attempts.
///
/// # Errors
/// The first claim that does not hold.
pub fn check(
    path: &Path,
    plan: &Plan,
    record: &Record,
) -> Result<PrivacyStatement, SimulationError> {
    let refuse = |problem: String| SimulationError::evidence(path.display().to_string(), problem);
    let stated = read(path)?;
    stated.verify().map_err(|e| refuse(e.to_string()))?;
    let derived = build(plan, record, false)?;
    if stated.about.job_hash != derived.about.job_hash {
        return Err(refuse("it is about another job".into()));
    }
    if stated.about.unit != derived.about.unit || stated.mode != derived.mode {
        return Err(refuse("it is about another mode or unit than the job's".into()));
    }
    if stated.claims.is_some() {
        let (claimed, charged) = (stated.job(), derived.job());
        let (claimed, charged) = (
            claimed.map_err(|e| refuse(e.to_string()))?,
            charged.map_err(|e| refuse(e.to_string()))?,
        );
        if claimed.training_releases != charged.training_releases {
            return Err(refuse(format!(
                "it counts {} training releases, the plan reserves {}",
                claimed.training_releases, charged.training_releases
            )));
        }
        if claimed != charged {
            return Err(refuse("its parameters are not those of the job".into()));
        }
    }
    Ok(stated)
}
