//! `aggregator job`: submit, list, status, cancel, export.

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use tributary_job::JobSpec;
use tributary_store::Store;

use super::place::{Desk, Place};
use crate::audit::{Act, Actor};
use crate::operations;
use crate::status::JobStatus;

/// Submit jobs and follow them.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Check a job file and queue it. Prints the job's identifier as the last line.
    Submit {
        #[command(flatten)]
        place: Place,
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
        place: Place,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show where a job stands, what is waited for, and who is missing.
    Status {
        #[command(flatten)]
        place: Place,
        /// The job's identifier.
        job: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a job that waits or runs. What its rounds cost stays charged.
    Cancel {
        #[command(flatten)]
        place: Place,
        /// The job's identifier.
        job: String,
    },
    /// Write a job's manifest, round record and published sums into a folder, for
    /// `simulate verify` and `simulate finish`.
    Export {
        #[command(flatten)]
        place: Place,
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
            Self::Submit { place, job, rounds, agencies } => {
                let text = std::fs::read_to_string(&job)
                    .with_context(|| format!("reading {}", job.display()))?;
                let spec = specification(&text, rounds, agencies)
                    .with_context(|| format!("job file {}", job.display()))?;
                submit(&place, &spec).await
            }
            Self::List { place, json } => {
                let all = match place.open().await? {
                    Desk::Local(dir) => {
                        dir.store().await?.jobs().await?.iter().map(JobStatus::of).collect()
                    }
                    Desk::Remote(mut remote) => remote.jobs().await?,
                };
                if json {
                    println!("{}", serde_json::to_string_pretty(&all)?);
                } else {
                    all.iter().for_each(|s| println!("{}", s.to_text()));
                }
                Ok(())
            }
            Self::Status { place, job, json } => {
                let status = match place.open().await? {
                    Desk::Local(dir) => {
                        JobStatus::of(&operations::job(&dir.store().await?, &job).await?)
                    }
                    Desk::Remote(mut remote) => remote.status(&job).await?,
                };
                if json {
                    println!("{}", serde_json::to_string(&status)?);
                } else {
                    println!("{}", status.to_text());
                }
                Ok(())
            }
            Self::Cancel { place, job } => {
                match place.open().await? {
                    Desk::Local(dir) => {
                        let (store, actor) = (dir.store().await?, Actor::local(&dir)?);
                        operations::cancel(&store, &job, "the operator", None, &actor).await?;
                    }
                    Desk::Remote(mut remote) => remote.cancel(&job).await?,
                }
                println!("job {job} is cancelled");
                Ok(())
            }
            Self::Export { place, job, out } => {
                match place.open().await? {
                    Desk::Local(dir) => {
                        let store = dir.store().await?;
                        let job = operations::job(&store, &job).await?;
                        crate::export::export(&store, &job, &out).await?;
                        let event = Act::EvidenceGiven { job: job.id };
                        Actor::local(&dir)?.note(&store, event).await?;
                    }
                    Desk::Remote(mut remote) => {
                        crate::export::write_files(&out, &remote.evidence(&job).await?)?;
                    }
                }
                println!("{}", out.display());
                Ok(())
            }
        }
    }
}

async fn submit(place: &Place, spec: &JobSpec) -> anyhow::Result<()> {
    let (id, notes) = match place.open().await? {
        Desk::Local(dir) => {
            let (store, actor) = (dir.store().await?, Actor::local(&dir)?);
            let done = operations::submit(&store, spec, operations::LOCAL, &actor).await?;
            (done.id, done.notes)
        }
        Desk::Remote(mut remote) => {
            let done = remote.submit(toml::to_string(spec)?).await?;
            let notes = done.notes.into_iter().map(|note| note.into_string()).collect();
            (done.job.as_str().to_owned(), notes)
        }
    };
    notes.iter().for_each(|note| eprintln!("{note}"));
    println!("{id}");
    Ok(())
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
