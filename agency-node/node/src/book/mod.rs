//! The budget book: what this agency's records have cost so far, and whether more may be spent.
//!
//! One book over all jobs and restarts; per dataset one unit (a record), one delta and one Renyi
//! order, fixed at registration, so that spending against the limit is a valid filter for jobs
//! chosen one after the other (Feldman and Zrnic 2021). Reserve, charge, make durable, send: in
//! this order; nothing is ever refunded but the part of a reservation that no attempt used.
//!
//! Must not know files or databases: it makes entries of a hash-chained record and is rebuilt from
//! them.

mod account;
pub mod entry;
mod limits;

use std::collections::BTreeMap;

use tributary_dp::{DpError, JobPrivacy, RdpCurve};
use tributary_ledger::{Chain, Entry, Head};
use tributary_secagg::Identity;

pub use account::{AttemptsLeft, DatasetBook, Reservation};
pub use entry::{BookEntry, ChargeEntry};
pub use limits::{BudgetLimit, BudgetStatus, MIN_DELTA, conversion, order_for};

/// The book.
#[derive(Debug)]
pub struct Book {
    chain: Chain,
    datasets: BTreeMap<String, DatasetBook>,
}

/// What a job may cost at most.
#[derive(Debug, Clone, PartialEq)]
pub struct JobCost {
    /// Renyi curve of the whole job, every planned attempt included.
    pub curve: RdpCurve,
    /// How many attempts of each operation that is.
    pub attempts: AttemptsLeft,
}

/// Why the book refuses.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BookError {
    /// Not registered.
    #[error("dataset {0} has no budget; register it with `agency-node dataset add`")]
    UnknownDataset(String),
    /// Registered before with other terms.
    #[error("dataset {0} has a budget already; its unit, delta and limit stay as registered")]
    AlreadyRegistered(String),
    /// The limit would be exceeded.
    #[error(
        "dataset {dataset}: this job would bring the total to epsilon {would_be:.3}, the limit is \
         {limit:.3} (delta {delta:e}); {left:.3} is spent or reserved so far. It fits when the \
         limit is at least {would_be:.3}"
    )]
    Exhausted {
        /// The dataset.
        dataset: String,
        /// Epsilon after the job.
        would_be: f64,
        /// Epsilon spent and reserved now.
        left: f64,
        /// The limit.
        limit: f64,
        /// The dataset's delta.
        delta: f64,
    },
    /// A charge beyond its reservation, or without one.
    #[error("job {0}: no reservation covers another attempt")]
    NotReserved(String),
    /// A second charge for one attempt, or for one round of a job without noise.
    #[error("job {job}: round {round}, attempt {attempt}: this node has already uploaded there")]
    AlreadyCharged {
        /// The job's hash, hex.
        job: String,
        /// Secure round.
        round: u32,
        /// The attempt that is refused.
        attempt: u16,
    },
    /// A second reservation for one job.
    #[error("job {0} has a reservation already")]
    AlreadyReserved(String),
    /// A job that is over.
    #[error("job {0} has ended here before; it has to be submitted again as a new job")]
    Ended(String),
    /// A cost that cannot be.
    #[error("a cost must be finite, positive with noise and zero without")]
    BadCost,
    /// The stored book does not hang together.
    #[error(
        "the budget book is damaged at entry {at}: {problem}; nothing will be released until it \
         is restored from a backup"
    )]
    Damaged {
        /// Position.
        at: u64,
        /// What is wrong.
        problem: String,
    },
}

impl Book {
    /// Rebuilds the book from its entries, checking the chain and that no limit was ever passed.
    ///
    /// # Errors
    /// [`BookError::Damaged`] at the first entry that does not hold.
    pub fn replay(entries: &[Entry]) -> Result<Self, BookError> {
        let mut book = Self { chain: Chain::new(), datasets: BTreeMap::new() };
        let mut head = Head::default();
        for entry in entries {
            let at = head.length;
            let damaged = |problem: String| BookError::Damaged { at, problem };
            if entry.sequence != head.length || entry.previous != head.hash {
                return Err(damaged("does not follow the entry before it".into()));
            }
            let hash = entry.expected_hash().map_err(|e| damaged(e.to_string()))?;
            if hash != entry.hash {
                return Err(damaged("content does not match its hash".into()));
            }
            let what = BookEntry::from_body(&entry.body).map_err(damaged)?;
            book.apply(&what).map_err(|e| damaged(e.to_string()))?;
            head = Head { length: at + 1, hash };
        }
        book.chain = Chain::resume(head);
        Ok(book)
    }

    /// Where the book's record ends.
    pub fn head(&self) -> &Head {
        self.chain.head()
    }

    /// Accounts by dataset.
    pub fn datasets(&self) -> &BTreeMap<String, DatasetBook> {
        &self.datasets
    }

    /// Spent and left, in epsilon.
    pub fn status(&self, dataset: &str) -> Option<BudgetStatus> {
        Some(self.datasets.get(dataset)?.status())
    }

    /// Whether a job has ended here: it is never taken up again.
    pub fn is_closed(&self, job: &str) -> bool {
        self.datasets.values().any(|d| d.closed.contains(job))
    }

    /// Whether any attempt of a job's round is paid for.
    pub fn uploaded(&self, job: &str, round: u32) -> bool {
        self.datasets.values().filter_map(|d| d.open.get(job)).any(|r| r.uploaded(round))
    }

    /// Opens an account. The entry must be durable before the dataset is used.
    ///
    /// # Errors
    /// If there is one already.
    pub fn register(
        &mut self,
        dataset: &str,
        limit: BudgetLimit,
        at: &str,
        identity: &Identity,
    ) -> Result<Entry, BookError> {
        self.write(BookEntry::Registered { dataset: dataset.to_owned(), limit }, at, identity)
    }

    /// Reserves what a job may cost at most; `None` if it has an open reservation already, which
    /// then stands.
    ///
    /// # Errors
    /// [`BookError::Exhausted`] says what is left and when it would fit; [`BookError::Ended`] for a
    /// job that is over.
    pub fn reserve(
        &mut self,
        dataset: &str,
        job: &str,
        cost: &JobCost,
        at: &str,
        identity: &Identity,
    ) -> Result<Option<Entry>, BookError> {
        let rdp = self.cost(dataset, &cost.curve)?;
        let AttemptsLeft { statistics, training } = cost.attempts;
        let (dataset, job) = (dataset.to_owned(), job.to_owned());
        self.open(BookEntry::Reserved { dataset, job, rdp, statistics, training }, at, identity)
    }

    /// Notes that a job without differential privacy is accepted; `None` if that is noted already.
    ///
    /// # Errors
    /// If the dataset is unknown or the job is over.
    pub fn accept_unprotected(
        &mut self,
        dataset: &str,
        job: &str,
        at: &str,
        identity: &Identity,
    ) -> Result<Option<Entry>, BookError> {
        let (dataset, job) = (dataset.to_owned(), job.to_owned());
        self.open(BookEntry::Unprotected { dataset, job }, at, identity)
    }

    /// Charges one attempt; without noise there is no curve. The entry must be durable before the
    /// first byte leaves.
    ///
    /// # Errors
    /// If the job's reservation does not cover it, or the attempt (in mode `none`: the round) is
    /// charged already.
    pub fn charge(
        &mut self,
        dataset: &str,
        charge: ChargeEntry,
        curve: Option<&RdpCurve>,
        at: &str,
        identity: &Identity,
    ) -> Result<Entry, BookError> {
        let rdp = curve.map_or(Ok(0.0), |curve| self.cost(dataset, curve))?;
        let dataset = dataset.to_owned();
        self.write(BookEntry::Charged { dataset, rdp, charge }, at, identity)
    }

    /// Ends a job for good and gives the unused part of its reservation back; `None` if the job is
    /// not open.
    ///
    /// # Errors
    /// If the entry cannot be written.
    pub fn close(
        &mut self,
        job: &str,
        at: &str,
        identity: &Identity,
    ) -> Result<Option<Entry>, BookError> {
        let open = self.datasets.iter().find(|(_, d)| d.open.contains_key(job));
        let Some((dataset, _)) = open else { return Ok(None) };
        let (dataset, job) = (dataset.clone(), job.to_owned());
        self.write(BookEntry::Closed { dataset, job }, at, identity).map(Some)
    }

    fn open(
        &mut self,
        what: BookEntry,
        at: &str,
        identity: &Identity,
    ) -> Result<Option<Entry>, BookError> {
        match self.write(what, at, identity) {
            Err(BookError::AlreadyReserved(_)) => Ok(None),
            written => written.map(Some),
        }
    }

    fn cost(&self, dataset: &str, curve: &RdpCurve) -> Result<f64, BookError> {
        let account = self
            .datasets
            .get(dataset)
            .ok_or_else(|| BookError::UnknownDataset(dataset.to_owned()))?;
        curve.at(account.limit.order).ok_or(BookError::BadCost)
    }

    /// Applies, then chains: a refused entry leaves no trace.
    fn write(
        &mut self,
        what: BookEntry,
        at: &str,
        identity: &Identity,
    ) -> Result<Entry, BookError> {
        self.apply(&what)?;
        let damaged =
            |problem: String| BookError::Damaged { at: self.chain.head().length, problem };
        let body = what.to_body().map_err(damaged)?;
        let head = self.chain.head().length;
        self.chain
            .append(at, what.kind(), body, |bytes| identity.sign(bytes))
            .map_err(|e| BookError::Damaged { at: head, problem: e.to_string() })
    }

    fn apply(&mut self, what: &BookEntry) -> Result<(), BookError> {
        let cost = |rdp: f64| {
            if rdp.is_finite() && rdp >= 0.0 { Ok(rdp) } else { Err(BookError::BadCost) }
        };
        match what {
            BookEntry::Registered { dataset, limit } => {
                if self.datasets.contains_key(dataset) {
                    return Err(BookError::AlreadyRegistered(dataset.clone()));
                }
                self.datasets.insert(dataset.clone(), DatasetBook::new(*limit));
            }
            BookEntry::Reserved { dataset, job, rdp, statistics, training } => {
                let attempts = AttemptsLeft { statistics: *statistics, training: *training };
                self.account(dataset)?.reserve(dataset, job, cost(*rdp)?, attempts)?;
            }
            BookEntry::Unprotected { dataset, job } => {
                self.account(dataset)?.open_unprotected(job)?;
            }
            BookEntry::Charged { dataset, rdp, charge } => {
                self.account(dataset)?.charge(charge, cost(*rdp)?)?;
            }
            BookEntry::Closed { dataset, job } => self.account(dataset)?.close(job)?,
        }
        Ok(())
    }

    fn account(&mut self, dataset: &str) -> Result<&mut DatasetBook, BookError> {
        let unknown = || BookError::UnknownDataset(dataset.to_owned());
        self.datasets.get_mut(dataset).ok_or_else(unknown)
    }
}

impl JobCost {
    /// What a job in mode `record` may cost.
    ///
    /// # Errors
    /// From the accountant.
    pub fn of(privacy: &JobPrivacy) -> Result<Self, DpError> {
        let attempts = AttemptsLeft {
            statistics: privacy.statistics_releases,
            training: privacy.training_releases,
        };
        Ok(Self { curve: privacy.rdp()?, attempts })
    }
}

#[cfg(test)]
mod tests;
