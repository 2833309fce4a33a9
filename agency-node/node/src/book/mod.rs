//! The budget book: what this agency's records have cost so far, and whether more may be spent.
//!
//! One book over all jobs and restarts; per dataset one unit (a record), one delta and one Renyi
//! order, fixed at registration, so that spending against the limit is a valid filter for jobs
//! chosen one after the other (Feldman and Zrnic 2021). Reserve, charge, make durable, send: in
//! this order; nothing is ever refunded but the part of a reservation that no attempt used.
//!
//! Must not know files or databases: it makes entries of a hash-chained record and is rebuilt from
//! them.

pub mod entry;
mod limits;

use std::collections::BTreeMap;

use tributary_dp::RdpCurve;
use tributary_ledger::{Chain, Entry, Head};
use tributary_secagg::Identity;

pub use entry::{BookEntry, ChargeEntry};
pub use limits::{BudgetLimit, BudgetStatus, conversion, order_for};

/// The book.
#[derive(Debug)]
pub struct Book {
    chain: Chain,
    datasets: BTreeMap<String, DatasetBook>,
}

/// One dataset's account, in Renyi divergence at its order.
#[derive(Debug, Clone)]
pub struct DatasetBook {
    /// Limit and order.
    pub limit: BudgetLimit,
    /// Charged for good.
    pub charged: f64,
    /// Jobs with an open reservation.
    pub open: BTreeMap<String, Reservation>,
}

/// What a job may still charge.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    /// Reserved in all.
    pub reserved: f64,
    /// Charged of it.
    pub charged: f64,
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
    /// A cost that is not a number.
    #[error("a cost must be finite and not negative")]
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
        let account = self.datasets.get(dataset)?;
        Some(account.limit.status(account.charged, account.outstanding()))
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

    /// Reserves what a job may cost at most.
    ///
    /// # Errors
    /// [`BookError::Exhausted`] says what is left and when it would fit.
    pub fn reserve(
        &mut self,
        dataset: &str,
        job: &str,
        curve: &RdpCurve,
        at: &str,
        identity: &Identity,
    ) -> Result<Entry, BookError> {
        let rdp = self.cost(dataset, curve)?;
        let (dataset, job) = (dataset.to_owned(), job.to_owned());
        self.write(BookEntry::Reserved { dataset, job, rdp }, at, identity)
    }

    /// Charges one attempt. The entry must be durable before the first byte leaves.
    ///
    /// # Errors
    /// If the job's reservation does not cover it.
    pub fn charge(
        &mut self,
        dataset: &str,
        charge: ChargeEntry,
        curve: &RdpCurve,
        at: &str,
        identity: &Identity,
    ) -> Result<Entry, BookError> {
        let rdp = self.cost(dataset, curve)?;
        let dataset = dataset.to_owned();
        self.write(BookEntry::Charged { dataset, rdp, charge }, at, identity)
    }

    /// Gives the unused part of a job's reservation back; `None` if there is no reservation.
    ///
    /// # Errors
    /// If the entry cannot be written.
    pub fn close(
        &mut self,
        dataset: &str,
        job: &str,
        at: &str,
        identity: &Identity,
    ) -> Result<Option<Entry>, BookError> {
        let open = self.datasets.get(dataset).is_some_and(|d| d.open.contains_key(job));
        if !open {
            return Ok(None);
        }
        let (dataset, job) = (dataset.to_owned(), job.to_owned());
        self.write(BookEntry::Closed { dataset, job }, at, identity).map(Some)
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
        let account = |datasets: &mut BTreeMap<String, DatasetBook>, name: &str| {
            datasets.remove(name).ok_or_else(|| BookError::UnknownDataset(name.to_owned()))
        };
        match what {
            BookEntry::Registered { dataset, limit } => {
                if self.datasets.contains_key(dataset) {
                    return Err(BookError::AlreadyRegistered(dataset.clone()));
                }
                let new = DatasetBook { limit: *limit, charged: 0.0, open: BTreeMap::new() };
                self.datasets.insert(dataset.clone(), new);
            }
            BookEntry::Reserved { dataset, job, rdp } => {
                let rdp = cost(*rdp)?;
                let account = self
                    .datasets
                    .get_mut(dataset)
                    .ok_or_else(|| BookError::UnknownDataset(dataset.clone()))?;
                account.reserve(dataset, job, rdp)?;
            }
            BookEntry::Charged { dataset, rdp, charge } => {
                let rdp = cost(*rdp)?;
                let account = self
                    .datasets
                    .get_mut(dataset)
                    .ok_or_else(|| BookError::UnknownDataset(dataset.clone()))?;
                account.charge(&charge.job, rdp)?;
            }
            BookEntry::Closed { dataset, job } => {
                let mut found = account(&mut self.datasets, dataset)?;
                found.open.remove(job);
                self.datasets.insert(dataset.clone(), found);
            }
        }
        Ok(())
    }
}

impl DatasetBook {
    /// Reserved and not yet charged.
    pub fn outstanding(&self) -> f64 {
        self.open.values().map(|r| (r.reserved - r.charged).max(0.0)).sum()
    }

    fn reserve(&mut self, dataset: &str, job: &str, rdp: f64) -> Result<(), BookError> {
        let now = round_up(self.charged + self.outstanding());
        let after = round_up(now + rdp);
        if after > self.limit.rdp {
            return Err(BookError::Exhausted {
                dataset: dataset.to_owned(),
                would_be: self.limit.epsilon_at(after),
                left: self.limit.epsilon_at(now),
                limit: self.limit.epsilon,
                delta: self.limit.delta,
            });
        }
        let slot = Reservation { reserved: 0.0, charged: 0.0 };
        self.open.entry(job.to_owned()).or_insert(slot).reserved += rdp;
        Ok(())
    }

    fn charge(&mut self, job: &str, rdp: f64) -> Result<(), BookError> {
        let open =
            self.open.get_mut(job).ok_or_else(|| BookError::NotReserved(job.to_owned()))?;
        let after = round_up(open.charged + rdp);
        // Sums of equal terms and their product differ in the last bits.
        if after > open.reserved * (1.0 + 1e-9) {
            return Err(BookError::NotReserved(job.to_owned()));
        }
        open.charged = after;
        self.charged = round_up(self.charged + rdp);
        Ok(())
    }
}

fn round_up(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.next_up() }
}

#[cfg(test)]
mod tests;
