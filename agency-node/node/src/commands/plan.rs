//! `agency-node budget plan`: what could still run on a dataset, from the node's own book.
//!
//! Reads the book and changes nothing. A job's plan is derived as at an offer, with placeholder keys on
//! which no number depends.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tributary_dp::{RdpCurve, subsampled_gaussian};
use tributary_job::manifest::{MANIFEST_VERSION, Manifest, RosterEntry};
use tributary_job::{JobSpec, Plan};

use super::Dir;
use crate::book::{Book, DatasetBook, ProtectedUnit};
use crate::data_dir::DataDir;

/// Declared records of an agency where nothing is given; the cost does not depend on it.
const ASSUMED_RECORDS: u64 = 10_000;

/// What the order of additions may move a sum by, as the book allows for it.
const SLACK: f64 = 1e-12;

/// Arguments of `budget plan`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  agency-node budget plan --data-dir DIR --job job.toml
  agency-node budget plan --data-dir DIR --dataset flights \\
      --noise-multiplier 4 --sampling-rate 0.1 --rounds 200")]
pub struct PlanArgs {
    #[command(flatten)]
    dir: Dir,
    /// Only this dataset [default: every one].
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// The job that would run.
    #[arg(long, value_name = "JOB.toml", conflicts_with_all = [
        "noise_multiplier", "sampling_rate", "rounds",
    ])]
    job: Option<PathBuf>,
    /// Noise multiplier: standard deviation of the honest noise over the sensitivity.
    #[arg(long, value_name = "Z", required_unless_present = "job")]
    noise_multiplier: Option<f64>,
    /// Poisson sampling rate.
    #[arg(long, value_name = "Q", required_unless_present = "job")]
    sampling_rate: Option<f64>,
    /// Rounds, retries included.
    #[arg(long, value_name = "T", required_unless_present = "job")]
    rounds: Option<u32>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What a job would do to one dataset's account.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Forecast {
    dataset: String,
    /// Epsilon spent and reserved now.
    committed: f64,
    /// Epsilon after the job.
    would_be: f64,
    /// The limit.
    limit: f64,
    delta: f64,
    /// Renyi order of the account.
    order: u32,
    /// Share of the whole limit that the job takes.
    share: f64,
    fits: bool,
    /// Most training attempts of this kind that fit now, what else the job releases included.
    largest_rounds: u32,
    /// How many such jobs fit one after the other.
    jobs: u32,
    /// Whether exact sums have left before: then no number bounds this dataset.
    unprotected: bool,
    /// Whose presence the account hides.
    unit: ProtectedUnit,
    /// The same for the job; absent where only noise is given.
    job_unit: Option<ProtectedUnit>,
}

/// What would be released.
struct Request {
    /// Everything but training.
    fixed: RdpCurve,
    /// One training attempt.
    step: RdpCurve,
    attempts: u32,
    unit: Option<ProtectedUnit>,
}

impl PlanArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let request = self.request()?;
        let storage = DataDir::open(&self.dir.data_dir)?.storage().await?;
        let book = Book::replay(&storage.book().await?)?;
        let wanted = |name: &String| self.dataset.as_ref().is_none_or(|only| only == name);
        let accounts = book.datasets().iter().filter(|(name, _)| wanted(name));
        let forecasts: Vec<_> =
            accounts.map(|(name, account)| request.forecast(name, account)).collect();
        if forecasts.is_empty() {
            match &self.dataset {
                Some(name) => bail!("no dataset {name}; `agency-node dataset list` names them"),
                None => bail!("no dataset is registered; see `agency-node dataset add --help`"),
            }
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&forecasts)?);
        } else {
            forecasts.iter().for_each(|forecast| println!("{forecast}"));
        }
        Ok(())
    }

    fn request(&self) -> anyhow::Result<Request> {
        if let Some(path) = &self.job {
            return Request::of_job(path).with_context(|| format!("job {}", path.display()));
        }
        let (Some(z), Some(q), Some(attempts)) =
            (self.noise_multiplier, self.sampling_rate, self.rounds)
        else {
            bail!("give --job, or --noise-multiplier, --sampling-rate and --rounds");
        };
        if attempts == 0 {
            bail!("--rounds = 0 releases nothing: give at least 1");
        }
        Ok(Request {
            fixed: RdpCurve::zero(),
            step: subsampled_gaussian(q, z)?,
            attempts,
            unit: None,
        })
    }
}

impl Request {
    fn of_job(path: &Path) -> anyhow::Result<Self> {
        let spec = JobSpec::from_toml(&std::fs::read_to_string(path)?)?;
        let key = |name: &str| {
            let seed = [name.as_bytes()];
            hex::encode(tributary_secagg::hash("tributary/placeholder-key/v1", &seed).0)
        };
        let roster = spec.agencies.iter().map(|agency| RosterEntry {
            agency: agency.clone(),
            signing_key: key(agency),
            declared_records: ASSUMED_RECORDS,
        });
        let unit = ProtectedUnit::of(&spec);
        let plan = Plan::derive(&Manifest {
            version: MANIFEST_VERSION,
            roster: roster.collect(),
            aggregator_key: key("the aggregator"),
            nonce: String::new(),
            spec,
        })?;
        let Some(privacy) = &plan.privacy else {
            bail!("its mode is \"none\": exact sums would leave, and no budget bounds them");
        };
        // As the book reserves it.
        let step = privacy.training.rdp()?;
        let fixed = privacy.fixed().rdp()?;
        Ok(Self { fixed, step, attempts: privacy.training_releases, unit })
    }

    fn forecast(&self, dataset: &str, account: &DatasetBook) -> Forecast {
        let limit = &account.limit;
        // The order is one of the list: the account was opened with it. If not, nothing fits.
        let at = |curve: &RdpCurve| curve.at(limit.order).unwrap_or(f64::MAX);
        let cost = |attempts: u32| at(&(&self.fixed + &self.step.times(attempts)));
        let now = account.committed();
        let same_unit = self.unit.is_none_or(|unit| unit.covers(limit.unit));
        let fits = |rdp: f64| same_unit && (now + rdp) * (1.0 + SLACK) <= limit.rdp;
        let job = cost(self.attempts);
        let repeated = |jobs: u32| (job * f64::from(jobs)) * (1.0 + SLACK);
        Forecast {
            dataset: dataset.to_owned(),
            committed: account.status().committed,
            would_be: limit.epsilon_at((now + job).next_up()),
            limit: limit.epsilon,
            delta: limit.delta,
            order: limit.order,
            share: (job / limit.rdp).min(f64::MAX),
            fits: fits(job),
            largest_rounds: largest(|rounds| fits(cost(rounds))),
            jobs: largest(|jobs| fits(repeated(jobs))),
            unprotected: !account.unprotected.is_empty(),
            unit: limit.unit,
            job_unit: self.unit,
        }
    }
}

/// The largest number that fits; 0 if not even 1 does.
fn largest(fits: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0_u32, u32::MAX);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.fits { "FITS" } else { "DOES NOT FIT" };
        writeln!(f, "dataset {}: {verdict}", self.dataset)?;
        writeln!(f, "  epsilon spent or reserved now   {:.3} of {}", self.committed, self.limit)?;
        writeln!(f, "  epsilon with this job           {:.3}", self.would_be)?;
        writeln!(f, "  share of the whole budget       {:.1} %", self.share * 100.0)?;
        writeln!(f, "  largest rounds that fit         {}", self.largest_rounds)?;
        write!(f, "  such jobs that fit in a row     {}", self.jobs)?;
        if let Some(job) = self.job_unit.filter(|job| !job.covers(self.unit)) {
            write!(
                f,
                "\n  The budget is kept per {}, and the job protects per {job}: no noise makes it fit.",
                self.unit
            )?;
        } else if !self.fits {
            write!(
                f,
                "\n  It would fit a limit of epsilon {:.3}; a limit is for good.",
                self.would_be
            )?;
        }
        if self.unprotected {
            write!(
                f,
                "\n  Exact sums have left before (mode none): no number bounds this dataset."
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{BudgetLimit, DeltaCost, JobCost, PlannedReleases, ReleaseKind};
    use tributary_secagg::Identity;

    fn book(identity: &Identity) -> Book {
        let mut book = Book::replay(&[]).unwrap();
        let limit = BudgetLimit::new(4.0, 1e-6).unwrap();
        book.register("flights", limit, "2025-01-01T00:00:00Z", identity).unwrap();
        book
    }

    fn request(attempts: u32) -> Request {
        let step = subsampled_gaussian(0.1, 4.0).unwrap();
        Request { fixed: RdpCurve::zero(), step, attempts, unit: Some(ProtectedUnit::Record) }
    }

    #[test]
    fn the_forecast_is_what_the_book_does() {
        let identity = Identity::generate().unwrap();
        let mut book = book(&identity);
        let account = |book: &Book| book.datasets()["flights"].clone();
        let forecast = request(100).forecast("flights", &account(&book));
        assert!(forecast.fits && forecast.jobs >= 1 && forecast.committed == 0.0);
        let cost = |count: u32| {
            let curve = request(1).step;
            let planned = PlannedReleases { curve, count, spare: 0, parameters: None };
            JobCost {
                adaptive: None,
                unit: ProtectedUnit::Record,
                releases: std::collections::BTreeMap::from([(ReleaseKind::Training, planned)]),
                delta: DeltaCost::default(),
                stated: None,
            }
        };
        let mut reserve = |job: &str, n: u32| {
            book.reserve("flights", job, &cost(n), "2025-01-01T00:00:00Z", &identity).map(drop)
        };
        for job in 0..forecast.jobs {
            reserve(&format!("job {job}"), 100).unwrap();
        }
        assert!(reserve("one more", 100).is_err(), "the forecast was too low");
        let after = request(100).forecast("flights", &account(&book));
        assert!(!after.fits && after.jobs == 0 && after.would_be > after.limit);
        assert!(after.to_string().contains("DOES NOT FIT"));
        let left = after.largest_rounds;
        assert!(left < 100);
        let mut reserve = |job: &str, n: u32| {
            book.reserve("flights", job, &cost(n), "2025-01-01T00:00:00Z", &identity).map(drop)
        };
        assert!(reserve("too many", left + 1).is_err());
        if left > 0 {
            reserve("the rest", left).unwrap();
        }
    }

    #[test]
    fn largest_finds_the_edge() {
        for edge in [0, 1, 2, 1000, u32::MAX] {
            assert_eq!(largest(|n| n <= edge), edge);
        }
    }

    #[test]
    fn a_job_without_noise_has_no_cost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.toml");
        std::fs::write(&path, "name = 1").unwrap();
        assert!(Request::of_job(&path).is_err());
    }
}
