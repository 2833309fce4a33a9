//! Whether a job may run now: the newest decision, the policy's automatic bounds, or nobody's word.
//!
//! Pure: the same facts give the same verdict. A denial wins over everything; an approval that does not
//! hold in every point counts as none.

use time::{Duration, OffsetDateTime};
use tributary_job::JobSpec;

use super::statement::{Approval, SignedApproval, parse_time};
use super::{Consent, Decision};
use crate::policy;

/// How far an approval may lie in the future: clocks of two machines differ.
const SKEW: Duration = Duration::minutes(10);

/// What is judged.
pub struct Case<'a> {
    /// This agency.
    pub agency: &'a str,
    /// The job's hash, hex.
    pub job: &'a str,
    /// The job.
    pub spec: &'a JobSpec,
    /// Epsilon that it plans for; `None` in mode `none`.
    pub epsilon: Option<f64>,
    /// Secure rounds.
    pub rounds: u32,
    /// The highest time that this node has seen; `None` if it does not know the time, and then nothing
    /// that ends is valid.
    pub now: Option<OffsetDateTime>,
    /// The dataset's present version. Asked only where an approval depends on it.
    pub dataset_version: &'a dyn Fn() -> Result<String, String>,
}

/// Whether a job may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Granted(Grounds),
    /// Somebody has yet to approve it; why, in words for the operator.
    Waits(String),
    /// Somebody has said no; who and why, in words for the operator.
    Refused(String),
}

/// Why a job may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grounds {
    /// The policy asks for no approval.
    Policy,
    /// The policy's automatic bounds cover it.
    Automatic,
    /// A steward has approved it.
    Steward {
        /// Who.
        name: String,
        /// Until when, RFC 3339.
        expires: String,
        /// For which version of the dataset.
        dataset_version: String,
    },
}

impl std::fmt::Display for Grounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Policy => f.write_str("the policy asks for no approval"),
            Self::Automatic => f.write_str("within the automatic bounds of the policy"),
            Self::Steward { name, expires, .. } => {
                write!(f, "approved by {name} until {expires}")
            }
        }
    }
}

/// Judges a job.
pub fn judge(policy: &policy::Approval, consent: &Consent, case: &Case<'_>) -> Verdict {
    let (mut why, decision) = (None, consent.decisions.get(case.job));
    match decision {
        Some(Decision::Denied { by, reason, at }) => {
            return Verdict::Refused(format!("denied by {by} at {at}: {reason}"));
        }
        Some(Decision::Revoked { by, reason, at }) => {
            return Verdict::Refused(format!("approval revoked by {by} at {at}: {reason}"));
        }
        Some(Decision::Approved { approval }) if policy.required => {
            match holds(policy, consent, case, approval) {
                Ok(grounds) => return Verdict::Granted(grounds),
                Err(problem) => why = Some(problem),
            }
        }
        Some(Decision::Approved { .. }) | None => {}
    }
    if !policy.required {
        return Verdict::Granted(Grounds::Policy);
    }
    let automatic = |auto: &policy::Automatic| auto.covers(case.spec, case.epsilon, case.rounds);
    if policy.auto.as_ref().is_some_and(automatic) {
        return Verdict::Granted(Grounds::Automatic);
    }
    Verdict::Waits(why.unwrap_or_else(|| nobody_yet(policy, consent, case)))
}

fn nobody_yet(policy: &policy::Approval, consent: &Consent, case: &Case<'_>) -> String {
    let may: Vec<_> = policy.stewards_of(&case.spec.dataset).collect();
    let registered = may.iter().any(|name| consent.stewards.contains_key(*name));
    let short = case.job.get(..12).unwrap_or(case.job);
    match (may.is_empty(), registered) {
        (true, _) => format!(
            "no data steward may approve jobs on {}: name one in the policy under approval.stewards",
            case.spec.dataset
        ),
        (_, false) => {
            format!("none of {} is registered here: `agency-node steward add`", may.join(", "))
        }
        (_, true) => format!("waits for {}: `agency-node requests show {short}`", may.join(" or ")),
    }
}

/// Whether an approval holds in every point.
fn holds(
    policy: &policy::Approval,
    consent: &Consent,
    case: &Case<'_>,
    signed: &SignedApproval,
) -> Result<Grounds, String> {
    let named = signed.read().map_err(|e| e.to_string())?;
    let steward = &named.steward;
    let key = consent.stewards.get(steward).ok_or_else(|| {
        format!("the approval is by {steward}, who is not registered here as a data steward")
    })?;
    let approval = signed.verify(key).map_err(|e| e.to_string())?;
    if !policy.may_approve(steward, &case.spec.dataset) {
        return Err(format!(
            "{steward} may not approve jobs on {} by this agency's policy",
            case.spec.dataset
        ));
    }
    about_this(&approval, case)?;
    in_time(policy, &approval, case)?;
    let version = (case.dataset_version)()?;
    if version != approval.dataset_version {
        return Err(format!(
            "the dataset {} has changed since {steward} approved the job: it was version {}, it is \
             version {version}; the approval is void and has to be given anew",
            case.spec.dataset, approval.dataset_version
        ));
    }
    Ok(Grounds::Steward {
        name: approval.steward,
        expires: approval.expires,
        dataset_version: version,
    })
}

fn about_this(approval: &Approval, case: &Case<'_>) -> Result<(), String> {
    let points = [
        ("job", approval.job.as_str(), case.job),
        ("agency", approval.agency.as_str(), case.agency),
        ("dataset", approval.dataset.as_str(), case.spec.dataset.as_str()),
    ];
    match points.into_iter().find(|(_, approved, here)| approved != here) {
        Some((what, approved, here)) => {
            Err(format!("the approval is for {what} {approved}, not for {here}"))
        }
        None => Ok(()),
    }
}

fn in_time(policy: &policy::Approval, approval: &Approval, case: &Case<'_>) -> Result<(), String> {
    let now =
        case.now.ok_or("this node does not know the time; an approval that ends needs one")?;
    let times = (parse_time(&approval.issued), parse_time(&approval.expires));
    let (Some(issued), Some(expires)) = times else {
        return Err("the approval names no time that can be read".into());
    };
    let steward = &approval.steward;
    if now >= expires {
        return Err(format!("the approval by {steward} expired at {}", approval.expires));
    }
    if issued > now + SKEW {
        return Err(format!(
            "the approval by {steward} is from the future ({}); check the clocks",
            approval.issued
        ));
    }
    if expires - issued > Duration::days(i64::from(policy.max_days)) {
        return Err(format!(
            "the approval by {steward} is valid for longer than the {} days that the policy allows",
            policy.max_days
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
