//! `agency-node requests`: jobs that wait for a data steward's word, and the word.
//!
//! Works beside the running daemon: it looks at what was decided once a second and before every round.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use time::Duration;
use time::format_description::well_known::Rfc3339;

use super::Dir;
use super::desk::{Desk, Passphrase};
use crate::audit::{self, Event};
use crate::consent::statement::parse_time;
use crate::consent::{Approval, Decision, Grounds, RequestRow, StewardKey, Verdict};
use crate::storage::Change;

/// Longest reason, characters.
const MAX_REASON: usize = 300;

/// Jobs that wait for a data steward's word, and the word.
#[derive(Debug, Subcommand)]
pub enum Requests {
    /// List jobs that wait, and what was decided.
    List {
        #[command(flatten)]
        dir: Dir,
        /// Also those that are over.
        #[arg(long)]
        all: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say in plain words what a job would do here: what runs, on which data, at what privacy cost.
    Show {
        #[command(flatten)]
        dir: Dir,
        /// The job's hash, or the beginning of it.
        #[arg(value_name = "HASH")]
        job: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Approve a job with a data steward's key: this job, on this version of this dataset, until then.
    ///
    /// A job that waits is taken up within a second. The policy still decides: it may refuse what was
    /// approved, and an approval that does not hold is not stored.
    Approve {
        #[command(flatten)]
        dir: Dir,
        /// The job's hash, or the beginning of it.
        #[arg(value_name = "HASH")]
        job: String,
        /// The steward's key file.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
        /// How long it is valid: 12h, 30d.
        #[arg(long, value_name = "SPAN", default_value = "30d", value_parser = span)]
        expires: Duration,
        /// Only if the dataset is still this version, as `requests show` printed it.
        #[arg(long, value_name = "VERSION")]
        dataset_version: Option<String>,
    },
    /// Say no to a job that waits. Needs no steward's key: whoever runs the node may always say no.
    Deny {
        #[command(flatten)]
        dir: Dir,
        /// The job's hash, or the beginning of it.
        #[arg(value_name = "HASH")]
        job: String,
        /// Why; stays in this agency's own record.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Take an approval back. A job in progress ends here for good, before it charges again.
    Revoke {
        #[command(flatten)]
        dir: Dir,
        /// The job's hash, or the beginning of it.
        #[arg(value_name = "HASH")]
        job: String,
        /// Why; stays in this agency's own record.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

impl Requests {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { dir, all, json } => list(&Desk::open(&dir).await?, all, json).await,
            Self::Show { dir, job, json } => show(&Desk::open(&dir).await?, &job, json).await,
            Self::Approve { dir, job, key, passphrase, expires, dataset_version } => {
                let passphrase = passphrase.read()?;
                let key = StewardKey::load(&key, passphrase.as_deref().map(String::as_str))?;
                let desk = Desk::open(&dir).await?;
                approve(&desk, &job, &key, expires, dataset_version.as_deref()).await
            }
            Self::Deny { dir, job, reason } => {
                say_no(&Desk::open(&dir).await?, &job, &reason, false).await
            }
            Self::Revoke { dir, job, reason } => {
                say_no(&Desk::open(&dir).await?, &job, &reason, true).await
            }
        }
    }
}

async fn list(desk: &Desk, all: bool, json: bool) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for request in desk.storage.requests().await?.iter().filter(|r| all || r.outcome.is_none()) {
        rows.push((request.clone(), state_of(desk, request)));
    }
    if json {
        let row = |(request, state): &(RequestRow, State)| {
            serde_json::json!({
                "job": request.job, "name": state.name, "dataset": state.dataset,
                "first_seen": request.first_seen, "state": state.state, "why": state.why,
            })
        };
        println!("{}", serde_json::to_string_pretty(&rows.iter().map(row).collect::<Vec<_>>())?);
        return Ok(());
    }
    if rows.is_empty() {
        println!("no job waits for a word; `requests list --all` shows those that are over");
    }
    for (request, State { name, dataset, state, why }) in &rows {
        let short = request.job.get(..12).unwrap_or(&request.job);
        println!("{short}  {state:<9} {name} on {dataset}, since {}: {why}", request.first_seen);
    }
    Ok(())
}

/// Where a request stands.
struct State {
    name: String,
    dataset: String,
    state: &'static str,
    why: String,
}

fn state_of(desk: &Desk, request: &RequestRow) -> State {
    let (manifest, plan) = match desk.read(request) {
        Ok(read) => read,
        Err(error) => {
            let (name, dataset) = ("?".to_owned(), "?".to_owned());
            return State { name, dataset, state: "unreadable", why: error.to_string() };
        }
    };
    let (state, why) = match (&request.outcome, desk.verdict(&manifest, &plan, &desk.consent)) {
        (Some(outcome), _) => ("over", outcome.clone()),
        (None, Verdict::Granted(grounds)) => ("approved", grounds.to_string()),
        (None, Verdict::Waits(why)) => ("waits", why),
        (None, Verdict::Refused(why)) => ("denied", why),
    };
    State { name: manifest.spec.name, dataset: manifest.spec.dataset, state, why }
}

async fn show(desk: &Desk, job: &str, json: bool) -> anyhow::Result<()> {
    let request = desk.request(job).await?;
    let (manifest, plan) = desk.read(&request)?;
    let brief = desk.brief(&manifest, &plan);
    if json {
        println!("{}", serde_json::to_string_pretty(&brief)?);
        return Ok(());
    }
    print!("{brief}");
    let State { state, why, .. } = state_of(desk, &request);
    println!("  first offered at {}; {state}: {why}", request.first_seen);
    Ok(())
}

async fn approve(
    desk: &Desk,
    job: &str,
    key: &StewardKey,
    expires: Duration,
    seen: Option<&str>,
) -> anyhow::Result<()> {
    let request = desk.request(job).await?;
    let (manifest, plan) = desk.read(&request)?;
    let (spec, job) = (&manifest.spec, request.job.as_str());
    if let Some(outcome) = &request.outcome {
        bail!("this job is over here ({outcome}); the same work has to be submitted as a new job");
    }
    if let Err(refusal) = desk.policy.check(&manifest, &plan) {
        bail!("the policy refuses this job, and no approval changes that: {refusal}");
    }
    let version = desk.version(&spec.dataset).map_err(anyhow::Error::msg)?;
    if let Some(seen) = seen.filter(|seen| *seen != version) {
        bail!("the dataset {} is version {version} now, not {seen}: look again", spec.dataset);
    }
    let issued = parse_time(&desk.now.0).context("this node does not know the time")?;
    let expires = issued.checked_add(expires).context("--expires is too far away")?;
    let expires = expires.format(&Rfc3339)?;
    let dataset = (spec.dataset.as_str(), version.as_str());
    let times = (desk.now.0.as_str(), expires.as_str());
    let approval = Approval::new((&desk.config.agency, job), dataset, &key.name, times);
    let decision = Decision::Approved { approval: approval.sign(&key.identity)? };
    // As the node will judge it: what does not hold is not stored.
    let mut consent = desk.consent.clone();
    consent.decisions.insert(job.to_owned(), decision.clone());
    match desk.verdict(&manifest, &plan, &consent) {
        Verdict::Granted(Grounds::Steward { .. }) => {}
        Verdict::Granted(grounds) => println!("note: it runs without this approval: {grounds}"),
        Verdict::Waits(why) | Verdict::Refused(why) => bail!("this approval would not hold: {why}"),
    }
    let event = Event::Approved {
        job: job.to_owned(),
        dataset: spec.dataset.clone(),
        dataset_version: version.clone(),
        steward: key.name.clone(),
        steward_key: key.identity.verifying_key().fingerprint(),
        expires: expires.clone(),
        by: audit::operator(),
    };
    desk.record(&event, Change::Decide { job, decision: &decision }).await?;
    println!(
        "{} approved {} ({}) on {} version {version} until {expires}; `agency-node requests revoke` \
         takes it back",
        key.name,
        spec.name,
        job.get(..12).unwrap_or(job),
        spec.dataset
    );
    Ok(())
}

async fn say_no(desk: &Desk, job: &str, reason: &str, revoke: bool) -> anyhow::Result<()> {
    ensure!(
        !reason.trim().is_empty() && reason.chars().count() <= MAX_REASON,
        "--reason: 1 to {MAX_REASON} characters"
    );
    let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let request = desk.request(job).await?;
    let (job, at, by) = (request.job.clone(), desk.now.0.clone(), audit::operator());
    let approved = matches!(desk.consent.decisions.get(&job), Some(Decision::Approved { .. }));
    let (decision, event) = if revoke {
        ensure!(approved, "this job is not approved; `requests deny` says no to it");
        (
            Decision::Revoked { by: by.clone(), at, reason: reason.clone() },
            Event::Revoked { job: job.clone(), by, reason },
        )
    } else {
        ensure!(!approved, "this job is approved; `requests revoke` takes that back");
        (
            Decision::Denied { by: by.clone(), at, reason: reason.clone() },
            Event::Denied { job: job.clone(), by, reason },
        )
    };
    desk.record(&event, Change::Decide { job: &job, decision: &decision }).await?;
    match revoke {
        true => println!("revoked; if the job is in progress here it ends before its next charge"),
        false => println!("denied; the aggregator is told a code and no reason"),
    }
    Ok(())
}

/// `12h`, `30d`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span: write hours or days, as 12h or 30d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number = text.strip_suffix(unit).ok_or_else(wrong)?;
    let number: u32 = number.parse().map_err(|_| wrong())?;
    match unit {
        _ if number == 0 => Err("a span of nothing approves nothing".to_owned()),
        'h' => Ok(Duration::hours(i64::from(number))),
        'd' => Ok(Duration::days(i64::from(number))),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests;
