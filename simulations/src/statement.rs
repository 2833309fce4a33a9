//! The privacy statement of a run: what the attempts in its record cost.
//!
//! Built from plan and record alone, so that anybody with the evidence arrives at the same one.

use std::path::Path;

use tributary_dp::{Identification, PrivacyStatement, Unit};
use tributary_job::Plan;

use crate::charges::Charges;
use crate::error::{SimulationError, read_text};
use crate::record::Record;

/// Name of the statement in a results folder.
pub const FILE: &str = "privacy-statement.json";

/// The statement of a run.
///
/// # Errors
/// From the accountant.
pub fn build(plan: &Plan, record: &Record) -> Result<PrivacyStatement, SimulationError> {
    let refuse = |e: tributary_dp::DpError| SimulationError::evidence("privacy statement", e);
    let about = Identification {
        unit: Unit::Record,
        job_hash: Some(plan.job.to_string()),
        book_hash: None,
        audit_lower_bound: None,
    };
    match Charges::of(record, plan).privacy(plan) {
        Some(privacy) => PrivacyStatement::for_job(&privacy, about).map_err(refuse),
        None => Ok(PrivacyStatement::for_plain_job(about)),
    }
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
    let stated: PrivacyStatement = serde_json::from_str(&read_text(path)?)
        .map_err(|e| refuse(format!("not a privacy statement: {e}")))?;
    stated.verify().map_err(|e| refuse(e.to_string()))?;
    let derived = build(plan, record)?;
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
                "it counts {} training releases, the record has {}",
                claimed.training_releases, charged.training_releases
            )));
        }
        if claimed != charged {
            return Err(refuse("its parameters are not those of the job".into()));
        }
    }
    Ok(stated)
}
