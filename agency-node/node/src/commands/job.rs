//! `agency-node job`: look at the job in progress, or end it here.

use clap::Subcommand;

use super::{Dir, desk};
use crate::audit::{self, Event};
use crate::book::Book;
use crate::data_dir::DataDir;
use crate::engine::{Record, StoredJob};
use crate::session::timestamp;
use crate::storage::Durable as _;

/// Look at the job in progress, or end it here.
#[derive(Debug, Subcommand)]
pub enum Job {
    /// Show the job in progress: what it is for, and what it has charged.
    Show {
        #[command(flatten)]
        dir: Dir,
    },
    /// End the job in progress at this agency, for good. The daemon must not run meanwhile.
    ///
    /// What it has charged stays charged, what it had reserved is free again, its keys are erased,
    /// and this node never takes that job up again. The others may go on without this agency.
    Abandon {
        #[command(flatten)]
        dir: Dir,
    },
    /// Show the aggregator's signed checkpoints that this node has kept, or hold a job's record
    /// against them: a history that was rewritten or cut off does not go through all of them.
    Checkpoints {
        #[command(flatten)]
        dir: Dir,
        /// Folder with a job's evidence (`manifest.json`, `rounds.jsonl`), as the central team
        /// exports it.
        #[arg(long, value_name = "DIR")]
        evidence: Option<std::path::PathBuf>,
    },
}

impl Job {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Show { dir } => show(&DataDir::open(&dir.data_dir)?).await,
            Self::Checkpoints { dir, evidence } => {
                let dir = DataDir::open(&dir.data_dir)?;
                super::history::checkpoints(&dir, evidence.as_deref()).await
            }
            Self::Abandon { dir } => {
                let dir = DataDir::open(&dir.data_dir)?;
                let _lock = dir.lock("job abandon")?;
                abandon(&dir).await
            }
        }
    }
}

async fn show(dir: &DataDir) -> anyhow::Result<()> {
    let storage = dir.storage().await?;
    let Some(job) = storage.open_job().await? else {
        println!("in no job");
        return Ok(());
    };
    println!("{}", name(&job));
    println!("  hash {}", hex::encode(job.hash()));
    let book = Book::replay(&storage.book().await?)?;
    let hex = hex::encode(job.hash());
    for (dataset, account) in book.datasets() {
        let Some(open) = account.open.get(&hex) else { continue };
        let uploads = open.attempts.len();
        match open.left() {
            Some(left) => {
                let left: Vec<_> = left.iter().map(|(kind, n)| format!("{n} of {kind}")).collect();
                println!(
                    "  budget of {dataset}: {uploads} attempts charged; it may charge {} more",
                    left.join(" and ")
                );
            }
            None => println!("  budget of {dataset}: {uploads} exact sums uploaded (mode none)"),
        }
    }
    Ok(())
}

async fn abandon(dir: &DataDir) -> anyhow::Result<()> {
    let storage = dir.storage().await?;
    let Some(job) = storage.open_job().await? else {
        println!("in no job; nothing to abandon");
        return Ok(());
    };
    let mut book = Book::replay(&storage.book().await?)?;
    let hex = hex::encode(job.hash());
    let entry = book.close(&hex, &timestamp(), &dir.identity()?)?;
    let outcome = "abandoned by the agency's operator".to_owned();
    let event = Event::Operator {
        command: "job abandon".into(),
        outcome: format!("job {hex} is over here"),
        by: audit::operator(),
    };
    storage.persist(&Record::Ended { entry, job: hex, outcome }).await?;
    desk::note(&storage, &event).await?;
    println!("{} is over here; what it charged stays charged", name(&job));
    Ok(())
}

/// In words, as far as the stored manifest can still be read.
fn name(job: &StoredJob) -> String {
    match tributary_job::Manifest::from_canonical(&job.manifest) {
        Ok(manifest) => format!("job {}: {}", manifest.spec.name, manifest.spec.description),
        Err(error) => format!("a job whose manifest this software does not read ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{BudgetLimit, ReleaseKind};

    #[tokio::test]
    async fn an_abandoned_job_is_closed_in_the_book_and_never_opened_again() {
        let (_root, dir) = crate::fixtures::enrolled();
        let (storage, identity) = (dir.storage().await.unwrap(), dir.identity().unwrap());
        let at = "2026-01-01T00:00:00Z";
        let mut book = Book::replay(&[]).unwrap();
        let limit = BudgetLimit::new(8.0, 1e-6).unwrap();
        let registered = book.register("d", limit, at, &identity).unwrap();
        storage.append_book(&registered).await.unwrap();
        // A manifest from another version: abandoning must not need to understand it.
        let stored = StoredJob {
            manifest: "{}".into(),
            epoch: None,
            state: None,
            answered: None,
            control: None,
        };
        let hex = hex::encode(stored.hash());
        let cost = crate::fixtures::cost(&[(ReleaseKind::Training, 10.0, 2)]);
        let entry = book.reserve("d", &hex, &cost, at, &identity).unwrap();
        let accepted = Record::Accepted { entry, job: hex.clone(), manifest: stored.manifest };
        storage.persist(&accepted).await.unwrap();
        storage.close().await;
        show(&dir).await.unwrap();
        abandon(&dir).await.unwrap();
        abandon(&dir).await.unwrap();
        let storage = dir.storage().await.unwrap();
        assert!(storage.open_job().await.unwrap().is_none());
        let book = Book::replay(&storage.book().await.unwrap()).unwrap();
        assert!(book.is_closed(&hex));
        assert_eq!(book.status("d").unwrap().committed, 0.0);
    }

    #[tokio::test]
    async fn nothing_is_abandoned_under_a_running_daemon() {
        let (_root, dir) = crate::fixtures::enrolled();
        let _daemon = dir.lock("serve").unwrap();
        let job = Job::Abandon { dir: Dir { data_dir: dir.path().to_owned() } };
        let error = job.run().await.unwrap_err().to_string();
        assert!(error.contains("agency-node serve"), "{error}");
    }
}
