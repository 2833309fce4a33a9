//! What people do at the aggregator, on its store: the same for the command line beside the service
//! and for calls from elsewhere. Who may do it was decided before.

use std::time::{Duration, SystemTime};

use rand_core::RngCore;
use tributary_dp::Unit;
use tributary_job::manifest::{MANIFEST_VERSION, RosterEntry};
use tributary_job::spec::PrivacyMode;
use tributary_job::{JobSpec, Manifest, Plan};
use tributary_secagg::VerifyingKey;
use tributary_store::{Commit, Job, JobState, Store, StoreError};
use tributary_transport::{EnrolmentToken, Fingerprint, Member};
use tributary_wire::control::{AgencyReport, Revoke, Serial};

use crate::audit::{Act, Actor};
use crate::unix_now;

/// Who submits on the aggregator's own machine.
pub const LOCAL: &str = "local";

/// Records of an agency where no table is known yet.
const STAND_IN_RECORDS: u64 = 10_000;

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// What was named does not exist.
    #[error("{0}")]
    Unknown(String),
    /// What was asked for is malformed or impossible.
    #[error("{0}")]
    Invalid(String),
    /// It is not possible now, or not for this caller.
    #[error("{0}")]
    Refused(String),
    /// The state database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A queued job.
#[derive(Debug)]
pub struct Submission {
    /// Its identifier.
    pub id: String,
    /// What the submitter should know.
    pub notes: Vec<String>,
}

/// Checks a job and queues it.
///
/// # Errors
/// [`OperationError::Invalid`] for a job that cannot run.
pub async fn submit<S: Store>(
    store: &S,
    spec: &JobSpec,
    submitter: &str,
    actor: &Actor,
) -> Result<Submission, OperationError> {
    let plan = rehearse(spec)?;
    let mut notes = Vec::new();
    let planned = plan.epsilon().map_err(invalid)?;
    if let Some(epsilon) = &planned {
        let unit = match spec.unit() {
            Unit::Record => "record",
            Unit::Person => "person",
            Unit::Silo => "agency",
        };
        notes.push(format!(
            "plan: epsilon {:.3} at delta {:e} per {unit}, noise multiplier {:.3}, {} secure rounds, \
             sums of at least {} agencies",
            epsilon.epsilon,
            epsilon.delta,
            plan.training.release.as_ref().map_or(0.0, |r| r.parameters.noise_multiplier),
            plan.rounds,
            plan.roster.thresholds.u_min
        ));
    }
    let known: Vec<String> = store.agencies().await?.into_iter().map(|a| a.name).collect();
    let unknown = spec.agencies.iter().filter(|a| !known.contains(a));
    let unknown: Vec<&str> = unknown.map(String::as_str).collect();
    if !unknown.is_empty() {
        notes.push(format!(
            "note: not enrolled yet: {}; the job waits for them (`aggregator enrol token`)",
            unknown.join(", ")
        ));
    }
    let mut nonce = [0u8; 4];
    tributary_dp::SecretRng::from_os().map_err(invalid)?.fill_bytes(&mut nonce);
    let id = format!("{}-{}", spec.name, hex::encode(nonce));
    let text = toml::to_string(spec).map_err(invalid)?;
    store.submit(&id, &spec.name, &text, submitter, unix_now()).await?;
    tracing::info!(job = %id, %submitter, "job submitted");
    let epsilon = planned.map(|planned| planned.epsilon);
    actor.note(store, Act::JobSubmitted { job: id.clone(), epsilon }).await?;
    Ok(Submission { id, notes })
}

/// One job.
///
/// # Errors
/// [`OperationError::Unknown`].
pub async fn job<S: Store>(store: &S, id: &str) -> Result<Job, OperationError> {
    let unknown =
        || OperationError::Unknown(format!("no job {id}; `aggregator job list` shows them"));
    store.job(id).await?.ok_or_else(unknown)
}

/// Ends a job that waits or runs. `who` stands in the reason; `own_only` names the one whose jobs
/// alone may be ended.
///
/// # Errors
/// [`OperationError::Refused`] for a job that is over, or somebody else's.
pub async fn cancel<S: Store>(
    store: &S,
    id: &str,
    who: &str,
    own_only: Option<&Member>,
    actor: &Actor,
) -> Result<(), OperationError> {
    let job = job(store, id).await?;
    if own_only.is_some_and(|member| job.submitter != member.to_string()) {
        return Err(OperationError::Refused(format!(
            "job {id} was submitted by {}; ask them or an operator to cancel it",
            job.submitter
        )));
    }
    if matches!(job.state, JobState::Done | JobState::Failed) {
        let problem = format!("job {} is over already ({})", job.id, job.state);
        return Err(OperationError::Refused(problem));
    }
    let state = Some((JobState::Failed, format!("cancelled by {who}")));
    store.commit(&job.id, &Commit { state, ..Commit::default() }).await?;
    tracing::info!(job = %id, %who, "job cancelled");
    Ok(actor.note(store, Act::JobCancelled { job: job.id }).await?)
}

/// Draws a one-time token and remembers its hash.
///
/// # Errors
/// [`OperationError::Invalid`] if there is no randomness.
pub async fn issue_token<S: Store>(
    store: &S,
    authority: Fingerprint,
    member: &Member,
    valid_hours: u32,
    actor: &Actor,
) -> Result<EnrolmentToken, OperationError> {
    let seconds = u64::from(valid_hours) * 3600;
    let expires = SystemTime::now() + Duration::from_secs(seconds);
    let token = EnrolmentToken::new(member.clone(), authority, expires).map_err(invalid)?;
    let until = unix_now().saturating_add(i64::from(valid_hours) * 3600);
    store.put_token(&token.secret_hash(), &member.to_string(), until).await?;
    tracing::info!(%member, valid_hours, "token issued");
    actor.note(store, Act::TokenIssued { member: member.to_string(), valid_hours }).await?;
    Ok(token)
}

/// Refuses a member or a certificate from now on; returns how many certificates that are, 0 where
/// the member has none that is known.
///
/// # Errors
/// [`OperationError::Unknown`].
pub async fn revoke<S: Store>(
    store: &S,
    what: &Revoke,
    actor: &Actor,
) -> Result<u64, OperationError> {
    let certificates = refuse(store, what).await?;
    let target = match what {
        Revoke::Member(member) => member.to_string(),
        Revoke::Certificate(serial) => serial.to_string(),
    };
    actor.note(store, Act::Revoked { target, certificates }).await?;
    Ok(certificates)
}

async fn refuse<S: Store>(store: &S, what: &Revoke) -> Result<u64, OperationError> {
    let now = unix_now();
    match what {
        Revoke::Member(member) => {
            let name = member.to_string();
            if !store.revoke(&name, now).await? {
                let (kind, list) = match member {
                    Member::Agency(_) => ("agency", "node list"),
                    Member::Person(..) => ("person", "role list"),
                };
                let problem = format!("no {kind} {name}; `aggregator {list}` shows them");
                return Err(OperationError::Unknown(problem));
            }
            tracing::info!(%member, "revoked");
            let all = store.certificates().await?;
            let own = all.iter().filter(|c| c.certificate.member == name);
            Ok(own.filter(|c| c.certificate.ends_at > now).count() as u64)
        }
        Revoke::Certificate(serial) => {
            match store.revoke_certificate(serial.as_str(), now).await? {
                0 => Err(OperationError::Unknown(format!(
                    "no certificate {serial}; `aggregator certificate list` shows them"
                ))),
                count => {
                    tracing::info!(%serial, count, "certificates revoked");
                    Ok(count)
                }
            }
        }
    }
}

/// All agencies, each with its newest certificate.
///
/// # Errors
/// From the store.
pub async fn agencies<S: Store>(store: &S) -> Result<Vec<AgencyReport>, OperationError> {
    let certificates = store.certificates().await?;
    let report = |agency: tributary_store::Agency| {
        let mut own = certificates.iter().map(|c| &c.certificate);
        let newest = own
            .find(|c| c.member == agency.name)
            .and_then(|c| Some((Serial::new(&c.serial)?, u64::try_from(c.ends_at).unwrap_or(0))));
        Some(AgencyReport {
            agency: agency.name.parse().ok()?,
            revoked: agency.revoked_at.is_some(),
            signing_key: agency.signing_key,
            certificate: newest,
        })
    };
    Ok(store.agencies().await?.into_iter().filter_map(report).collect())
}

/// An agency's line for people.
pub fn agency_line(report: &AgencyReport) -> String {
    let state = if report.revoked { "revoked" } else { "enrolled" };
    let key = VerifyingKey(report.signing_key).fingerprint();
    let certificate = match &report.certificate {
        Some((serial, ends)) => format!("certificate {serial} until {}", utc(*ends)),
        None => "no certificate known".to_owned(),
    };
    format!("{:<24} {state:<9} {key}  {certificate}", report.agency)
}

/// Unix seconds as people read them.
pub fn utc(seconds: u64) -> String {
    tributary_transport::certificate::utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The plan that would follow, with stand-ins for keys and counts: a job whose numbers do not fit
/// together is refused here and not when all agencies have come.
fn rehearse(spec: &JobSpec) -> Result<Plan, OperationError> {
    if spec.privacy.mode == PrivacyMode::Central {
        return Err(OperationError::Invalid(
            "privacy.mode: \"central\" trusts the aggregator with every contribution and exists in \
             simulations only; agencies are offered \"record\", \"person\", \"record-local\", \"silo\" \
             and \"none\""
                .to_owned(),
        ));
    }
    let key = |i: usize| {
        let number = (i as u64).to_le_bytes();
        hex::encode(tributary_secagg::hash("tributary/placeholder-key/v1", &[&number]).0)
    };
    let entry = |(i, agency): (usize, &String)| RosterEntry {
        agency: agency.clone(),
        signing_key: key(i),
        declared_records: STAND_IN_RECORDS,
    };
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        spec: spec.clone(),
        roster: spec.agencies.iter().enumerate().map(entry).collect(),
        aggregator_key: key(spec.agencies.len()),
        nonce: String::new(),
    };
    Plan::derive(&manifest)
        .map_err(|e| OperationError::Invalid(format!("the job cannot run as it is: {e}")))
}

fn invalid(error: impl std::fmt::Display) -> OperationError {
    OperationError::Invalid(error.to_string())
}
