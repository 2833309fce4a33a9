//! What commands about jobs, stewards and peers need: the node's files and its time, read once.
//!
//! Opens the state beside a running daemon and takes no lock: every change is one transaction.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use tributary_job::{Manifest, Plan};
use tributary_secagg::VerifyingKey;
use zeroize::Zeroizing;

use super::Dir;
use crate::audit::Event;
use crate::book::Book;
use crate::clock::Clock;
use crate::config::Config;
use crate::consent::brief::{Brief, Sources};
use crate::consent::{Case, Consent, RequestRow, Verdict, judge};
use crate::data_dir::DataDir;
use crate::engine::Now;
use crate::policy::Policy;
use crate::records::Records;
use crate::storage::{Change, DatasetRow, Storage};
use crate::version::Versions;

/// Fewest characters of a hash that name a job.
const LEAST_PREFIX: usize = 6;

/// How a passphrase comes to a command.
#[derive(Debug, clap::Args)]
pub struct Passphrase {
    /// File with the passphrase of the key file, its first line; `-` reads standard input. Left out for
    /// a key file that is not sealed.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Passphrase {
    /// The passphrase, if one is given.
    pub fn read(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        let Some(path) = &self.passphrase_file else { return Ok(None) };
        let text = Zeroizing::new(match path.as_os_str() == "-" {
            true => std::io::read_to_string(std::io::stdin()).context("reading the passphrase")?,
            false => std::fs::read_to_string(path)
                .with_context(|| format!("passphrase file {}", path.display()))?,
        });
        let line = text.lines().next().unwrap_or_default();
        ensure!(!line.is_empty(), "the passphrase is empty");
        Ok(Some(Zeroizing::new(line.to_owned())))
    }
}

/// The node's state, as a command sees it.
pub struct Desk {
    pub config: Config,
    pub policy: Policy,
    pub storage: Storage,
    pub consent: Consent,
    pub datasets: Vec<DatasetRow>,
    pub book: Book,
    pub now: Now,
    salt: Vec<u8>,
}

impl Desk {
    /// Reads everything.
    pub async fn open(dir: &Dir) -> anyhow::Result<Self> {
        Self::of(DataDir::open(&dir.data_dir)?).await
    }

    /// As [`Desk::open`], of a directory that is open already.
    pub async fn of(dir: DataDir) -> anyhow::Result<Self> {
        let config = dir.config()?;
        let policy = dir.policy(&config)?;
        // A daemon may be writing the book just now: its newest head is the daemon's to check.
        let storage = dir.storage_as_it_is().await?;
        Ok(Self {
            consent: storage.consent().await?,
            datasets: storage.datasets().await?,
            book: Book::replay(&storage.book().await?)?,
            now: now(&storage).await?,
            salt: storage.salt().await?,
            policy,
            config,
            storage,
        })
    }

    /// The one request whose hash begins like this.
    pub async fn request(&self, prefix: &str) -> anyhow::Result<RequestRow> {
        ensure!(
            prefix.len() >= LEAST_PREFIX,
            "give at least {LEAST_PREFIX} characters of the hash"
        );
        let all = self.storage.requests().await?;
        let mut found = all.into_iter().filter(|request| request.job.starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(request), None) => Ok(request),
            (None, _) => bail!(
                "no job {prefix} has waited here; `agency-node requests list --all` names those that did"
            ),
            (Some(_), Some(_)) => {
                bail!("more than one job begins with {prefix}: give more of the hash")
            }
        }
    }

    /// Manifest and plan of a request.
    pub fn read(&self, request: &RequestRow) -> anyhow::Result<(Manifest, Plan)> {
        let unreadable = || format!("the manifest of job {} cannot be read", request.job);
        let manifest = Manifest::from_canonical(&request.manifest).with_context(unreadable)?;
        let plan = Plan::derive(&manifest).with_context(unreadable)?;
        ensure!(plan.job.to_string() == request.job, "the stored manifest is that of another job");
        Ok((manifest, plan))
    }

    /// Version of a dataset's file now.
    pub fn version(&self, dataset: &str) -> Result<String, String> {
        let row = self.row(dataset)?;
        Versions::of(row, &self.salt).now()
    }

    fn row(&self, dataset: &str) -> Result<&DatasetRow, String> {
        let row = self.datasets.iter().find(|row| row.name == dataset);
        row.ok_or_else(|| {
            format!("no dataset {dataset} is registered; see `agency-node dataset list`")
        })
    }

    /// What the node would say about a job now, were this decided.
    pub fn verdict(&self, manifest: &Manifest, plan: &Plan, consent: &Consent) -> Verdict {
        let version = || self.version(&manifest.spec.dataset);
        let case = Case {
            agency: &self.config.agency,
            job: &plan.job.to_string(),
            spec: &manifest.spec,
            epsilon: plan.epsilon().map_or(Some(f64::INFINITY), |e| e.map(|e| e.epsilon)),
            rounds: plan.rounds,
            now: self.now.time(),
            dataset_version: &version,
        };
        judge(&self.policy.approval, consent, &case)
    }

    /// A job in plain words.
    pub fn brief(&self, manifest: &Manifest, plan: &Plan) -> Brief {
        let row = self.row(&manifest.spec.dataset).ok();
        let rows = |row: &DatasetRow| Records::of(row).ok()?.check().ok();
        let key = VerifyingKey::from_hex(&self.config.aggregator_key);
        let key = key.map_or_else(|_| self.config.aggregator_key.clone(), |key| key.fingerprint());
        let sources = Sources {
            agency: &self.config.agency,
            aggregator: [self.config.aggregator.clone(), key],
            policy: &self.policy,
            book: &self.book,
            consent: &self.consent,
            version: self.version(&manifest.spec.dataset),
            rows: row.and_then(rows),
            now: self.now.time(),
        };
        Brief::of(manifest, plan, &sources)
    }

    /// An entry of the audit record with the change that it is about.
    pub async fn record(&self, event: &Event, change: Change<'_>) -> anyhow::Result<()> {
        Ok(self.storage.record(&self.now.0, event, change).await?)
    }
}

/// The time by which the node goes.
pub async fn now(storage: &Storage) -> anyhow::Result<Now> {
    let mut clock = Clock::new(storage.highest_time().await?.as_deref());
    if let Some(complaint) = clock.complaint() {
        eprintln!("warning: {complaint}");
    }
    Ok(clock.now())
}

/// An entry of the audit record about a command.
pub async fn note(storage: &Storage, event: &Event) -> anyhow::Result<()> {
    Ok(storage.record(&now(storage).await?.0, event, Change::None).await?)
}
