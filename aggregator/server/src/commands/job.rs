//! `aggregator job`: submit, list, status, cancel, export.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use rand_core::RngCore;
use tributary_dp::Unit;
use tributary_job::manifest::{MANIFEST_VERSION, RosterEntry};
use tributary_job::spec::PrivacyMode;
use tributary_job::{JobSpec, Manifest, Plan};
use tributary_store::{Commit, Job, JobState, SqliteStore, Store};

use super::{Dir, unix_now};
use crate::data_dir::DataDir;
use crate::status::JobStatus;

/// Submit jobs and follow them.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Check a job file and queue it. Prints the job's identifier as the last line.
    Submit {
        #[command(flatten)]
        dir: Dir,
        /// The job, TOML.
        job: PathBuf,
        /// Run fewer or more training rounds than the file says.
        #[arg(long)]
        rounds: Option<u32>,
        /// Only the first so many agencies of the file.
        #[arg(long)]
        agencies: Option<usize>,
    },
    /// List all jobs, oldest first.
    List {
        #[command(flatten)]
        dir: Dir,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show where a job stands, what is waited for, and who is missing.
    Status {
        #[command(flatten)]
        dir: Dir,
        /// The job's identifier.
        job: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a job that waits or runs. What its rounds cost stays charged.
    Cancel {
        #[command(flatten)]
        dir: Dir,
        /// The job's identifier.
        job: String,
    },
    /// Write a job's manifest, round record and published sums into a folder, for
    /// `simulate verify` and `simulate finish`.
    Export {
        #[command(flatten)]
        dir: Dir,
        /// The job's identifier.
        job: String,
        /// The folder.
        #[arg(long)]
        out: PathBuf,
    },
}

impl JobCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Submit { dir, job, rounds, agencies } => {
                let text = std::fs::read_to_string(&job)
                    .with_context(|| format!("reading {}", job.display()))?;
                let spec = specification(&text, rounds, agencies)
                    .with_context(|| format!("job file {}", job.display()))?;
                submit(&DataDir::open(&dir.data_dir)?, &spec).await
            }
            Self::List { dir, json } => {
                let jobs = DataDir::open(&dir.data_dir)?.store().await?.jobs().await?;
                let all: Vec<_> = jobs.iter().map(JobStatus::of).collect();
                if json {
                    println!("{}", serde_json::to_string_pretty(&all)?);
                } else {
                    all.iter().for_each(|s| println!("{}", s.to_text()));
                }
                Ok(())
            }
            Self::Status { dir, job, json } => {
                let (_, job) = find(&dir, &job).await?;
                let status = JobStatus::of(&job);
                if json {
                    println!("{}", serde_json::to_string(&status)?);
                } else {
                    println!("{}", status.to_text());
                }
                Ok(())
            }
            Self::Cancel { dir, job } => {
                let (store, job) = find(&dir, &job).await?;
                if matches!(job.state, JobState::Done | JobState::Failed) {
                    bail!("job {} is over already ({})", job.id, job.state);
                }
                let state = Some((JobState::Failed, "cancelled by the operator".to_owned()));
                store.commit(&job.id, &Commit { state, ..Commit::default() }).await?;
                println!("job {} is cancelled", job.id);
                Ok(())
            }
            Self::Export { dir, job, out } => {
                let (store, job) = find(&dir, &job).await?;
                crate::export::export(&store, &job, &out).await?;
                println!("{}", out.display());
                Ok(())
            }
        }
    }
}

/// Parses a job file and applies the command line's overrides.
fn specification(
    text: &str,
    rounds: Option<u32>,
    agencies: Option<usize>,
) -> anyhow::Result<JobSpec> {
    let mut spec = JobSpec::from_toml(text)?;
    if let Some(rounds) = rounds {
        spec.training.rounds = rounds;
    }
    if let Some(n) = agencies {
        spec.agencies.truncate(n);
    }
    spec.validate()?;
    Ok(spec)
}

async fn submit(dir: &DataDir, spec: &JobSpec) -> anyhow::Result<()> {
    let plan = rehearse(spec)?;
    if let Some(epsilon) = plan.epsilon()? {
        let unit = match spec.unit() {
            Unit::Record => "record",
            Unit::Person => "person",
            Unit::Silo => "agency",
        };
        eprintln!(
            "plan: epsilon {:.3} at delta {:e} per {unit}, noise multiplier {:.3}, {} secure rounds, \
             sums of at least {} agencies",
            epsilon.epsilon,
            epsilon.delta,
            plan.training.release.as_ref().map_or(0.0, |r| r.parameters.noise_multiplier),
            plan.rounds,
            plan.roster.thresholds.u_min
        );
    }
    let store = dir.store().await?;
    let known: Vec<String> = store.agencies().await?.into_iter().map(|a| a.name).collect();
    let unknown: Vec<_> = spec.agencies.iter().filter(|a| !known.contains(a)).collect();
    if !unknown.is_empty() {
        let names: Vec<_> = unknown.iter().map(|s| s.as_str()).collect();
        eprintln!(
            "note: not enrolled yet: {}; the job waits for them (`aggregator enrol token`)",
            names.join(", ")
        );
    }
    let mut nonce = [0u8; 4];
    tributary_dp::SecretRng::from_os()?.fill_bytes(&mut nonce);
    let id = format!("{}-{}", spec.name, hex::encode(nonce));
    let text = toml::to_string(spec)?;
    store.submit(&id, &spec.name, &text, unix_now()).await?;
    println!("{id}");
    Ok(())
}

/// Records of an agency where no table is known yet.
const STAND_IN_RECORDS: u64 = 10_000;

/// The plan that would follow, with stand-ins for keys and counts: a job whose numbers do not fit
/// together is refused here and not when all agencies have come.
fn rehearse(spec: &JobSpec) -> anyhow::Result<Plan> {
    ensure!(
        spec.privacy.mode != PrivacyMode::Central,
        "privacy.mode: \"central\" trusts the aggregator with every contribution and exists in \
         simulations only; agencies are offered \"record\", \"person\", \"record-local\", \"silo\" and \
         \"none\""
    );
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
    Plan::derive(&manifest).context("the job cannot run as it is")
}

pub(super) async fn find(dir: &Dir, id: &str) -> anyhow::Result<(SqliteStore, Job)> {
    let store = DataDir::open(&dir.data_dir)?.store().await?;
    let job = store.job(id).await?;
    let job = job.with_context(|| format!("no job {id}; `aggregator job list` shows them"))?;
    Ok((store, job))
}
