//! The budget book: what this agency's records have cost so far, and whether more may be spent.
//!
//! One book over all jobs and restarts. Per account one unit, one delta and one Renyi order, fixed
//! at registration, so that spending against the limit is a valid filter for jobs chosen one after
//! the other (Feldman and Zrnic 2021). Datasets with the same people share an account. Reserve,
//! charge, make durable, send, note as sent: in this order; nothing is ever refunded but the part
//! of a reservation that no attempt used. Every release pays, of whatever kind.
//!
//! Must not know files or databases: it makes entries of a hash-chained record and is rebuilt from
//! them.

mod account;
mod advice;
pub mod entry;
mod error;
mod grant;
mod limits;
mod unit;
mod year;

use std::collections::BTreeMap;

use tributary_dp::RdpCurve;
use tributary_ledger::{Chain, Entry, Head};
use tributary_secagg::Identity;

pub use account::{Attempt, DatasetBook, Reservation};
pub use advice::Advice;
pub use entry::{BookEntry, ChargeEntry};
pub use error::{BookError, Exhausted};
pub use grant::{DeltaCost, Grant, JobCost, Line, PlanKind, PlannedReleases, ReleaseKind, Stated};
pub use limits::{BudgetLimit, BudgetStatus, MIN_DELTA, conversion, order_for};
pub use unit::ProtectedUnit;
pub use year::{DAYS_OF_A_YEAR, Year};

/// The book.
#[derive(Debug)]
pub struct Book {
    chain: Chain,
    accounts: BTreeMap<String, DatasetBook>,
    /// Datasets that pay from another's account: name, and name of the account.
    shared: BTreeMap<String, String>,
}

impl Book {
    /// Rebuilds the book from its entries, checking the chain and that no limit was ever passed.
    ///
    /// # Errors
    /// [`BookError::Damaged`] at the first entry that does not hold.
    pub fn replay(entries: &[Entry]) -> Result<Self, BookError> {
        let mut book =
            Self { chain: Chain::new(), accounts: BTreeMap::new(), shared: BTreeMap::new() };
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
            if entry.kind != what.kind() {
                return Err(damaged("kind and content differ".into()));
            }
            book.apply(&what, &entry.at).map_err(|e| damaged(e.to_string()))?;
            head = Head { length: at + 1, hash };
        }
        book.chain = Chain::resume(head);
        Ok(book)
    }

    /// Where the book's record ends.
    pub fn head(&self) -> &Head {
        self.chain.head()
    }

    /// Accounts, by the dataset that each was opened for.
    pub fn datasets(&self) -> &BTreeMap<String, DatasetBook> {
        &self.accounts
    }

    /// Datasets that pay from the account of another, with the name of that account.
    pub fn shared(&self) -> &BTreeMap<String, String> {
        &self.shared
    }

    /// The name of the account that a dataset pays from.
    pub fn account_of<'a>(&'a self, dataset: &'a str) -> Option<&'a str> {
        match self.shared.get(dataset) {
            Some(account) => Some(account),
            None => self.accounts.contains_key(dataset).then_some(dataset),
        }
    }

    /// The account that a dataset pays from.
    pub fn account(&self, dataset: &str) -> Option<&DatasetBook> {
        self.accounts.get(self.account_of(dataset)?)
    }

    /// Spent and left, in epsilon.
    pub fn status(&self, dataset: &str) -> Option<BudgetStatus> {
        Some(self.account(dataset)?.status())
    }

    /// Whether a job has ended here: it is never taken up again.
    pub fn is_closed(&self, job: &str) -> bool {
        self.accounts.values().any(|d| d.closed.contains(job))
    }

    /// Whether any attempt of a job's round is paid for.
    pub fn uploaded(&self, job: &str, round: u32) -> bool {
        self.accounts.values().filter_map(|d| d.open.get(job)).any(|r| r.uploaded(round))
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

    /// Lets a dataset pay from the account of another: for copies, and wherever the same people may
    /// be in both. The terms are that account's.
    ///
    /// # Errors
    /// If the dataset has a budget already, or the other has none.
    pub fn share(
        &mut self,
        dataset: &str,
        with: &str,
        at: &str,
        identity: &Identity,
    ) -> Result<Entry, BookError> {
        let (dataset, with) = (dataset.to_owned(), with.to_owned());
        self.write(BookEntry::Shared { dataset, with }, at, identity)
    }

    /// Reserves what a job may cost at most; `None` if it has an open reservation already, which
    /// then stands. The only way to a charge with noise, for every kind of release.
    ///
    /// # Errors
    /// [`BookError::Exhausted`] says what is left and when it would fit; [`BookError::OtherUnit`]
    /// for a job that protects less than the account promises; [`BookError::Ended`] for a job that
    /// is over.
    pub fn reserve(
        &mut self,
        dataset: &str,
        job: &str,
        cost: &JobCost,
        at: &str,
        identity: &Identity,
    ) -> Result<Option<Entry>, BookError> {
        let account = self.account(dataset).ok_or_else(|| unknown(dataset))?;
        let (limit, left) = (account.limit, account.limit.rdp - account.committed());
        let grant = cost.grant(&limit).ok_or(BookError::BadCost)?;
        let lines = grant.lines.clone();
        let (dataset, job) = (dataset.to_owned(), job.to_owned());
        match self.open(BookEntry::Granted { dataset, job, grant }, at, identity) {
            Err(BookError::Exhausted(mut exhausted)) => {
                exhausted.advice = Some(Advice::find(cost, &lines, limit.order, left));
                Err(BookError::Exhausted(exhausted))
            }
            other => other,
        }
    }

    /// Whether a reservation would be made, without making it: for a job that has yet to be approved.
    ///
    /// # Errors
    /// As [`Book::reserve`].
    pub fn would_reserve(&self, dataset: &str, job: &str, cost: &JobCost) -> Result<(), BookError> {
        let account = self.account(dataset).ok_or_else(|| unknown(dataset))?;
        let grant = cost.grant(&account.limit).ok_or(BookError::BadCost)?;
        match account.clone().grant(dataset, job, &grant) {
            Err(BookError::AlreadyReserved(_)) => Ok(()),
            Err(BookError::Exhausted(mut exhausted)) => {
                let (order, left) = (account.limit.order, account.limit.rdp - account.committed());
                exhausted.advice = Some(Advice::find(cost, &grant.lines, order, left));
                Err(BookError::Exhausted(exhausted))
            }
            other => other,
        }
    }

    /// What a dataset's account has spent in the 365 days up to `now`, with what open jobs may still
    /// charge, and what it would be with one more job. `None` without an account, or for a cost that
    /// cannot be.
    pub fn year(
        &self,
        dataset: &str,
        job: &str,
        cost: Option<&JobCost>,
        now: Option<time::OffsetDateTime>,
    ) -> Option<Year> {
        let account = self.account(dataset)?;
        let committed = account.committed_since(now);
        // A job that is open is in the sum already.
        let more = match cost.filter(|_| !account.open.contains_key(job)) {
            Some(cost) => cost.grant(&account.limit)?.rdp,
            None => 0.0,
        };
        Some(Year {
            committed: account.limit.epsilon_at(committed),
            would_be: account.limit.epsilon_at((committed + more).next_up()),
            delta: account.limit.delta,
        })
    }

    /// Epsilon that a dataset's account would have committed with one more job; the same as now for a
    /// job that is open. `None` without an account, or for a cost that cannot be.
    pub fn after(&self, dataset: &str, job: &str, cost: &JobCost) -> Option<f64> {
        let account = self.account(dataset)?;
        let more = match account.open.contains_key(job) {
            true => 0.0,
            false => cost.grant(&account.limit)?.rdp,
        };
        Some(account.limit.epsilon_at((account.committed() + more).next_up()))
    }

    /// What the newest charge of a job cost, and epsilon that its account has spent with it; `None`
    /// where no number says it.
    pub fn spent_with(&self, dataset: &str, job: &str) -> Option<(f64, Option<f64>)> {
        let account = self.account(dataset)?;
        let status = account.status();
        let rdp = account.newest_charge(job)?;
        Some((rdp, (!status.unprotected).then_some(status.spent)))
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
    /// first byte leaves. A static plan pays the price that it was granted, an adaptive one what
    /// this curve says.
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
        let account = self.account(dataset).ok_or_else(|| unknown(dataset))?;
        let own = match curve {
            Some(curve) => Some(curve.at(account.limit.order).ok_or(BookError::BadCost)?),
            None => None,
        };
        let rdp = account.price(&charge.job, charge.kind, own)?;
        let dataset = dataset.to_owned();
        self.write(BookEntry::Charged { dataset, rdp, charge }, at, identity)
    }

    /// Notes that a paid attempt has left in full; `None` if that is noted already, or the job is
    /// over.
    ///
    /// # Errors
    /// If the entry cannot be written.
    pub fn sent(
        &mut self,
        job: &str,
        (round, attempt): (u32, u16),
        at: &str,
        identity: &Identity,
    ) -> Result<Option<Entry>, BookError> {
        let open = self.accounts.iter().find_map(|(name, d)| Some((name, d.open.get(job)?)));
        let found = open.and_then(|(name, r)| Some((name, r.attempts.get(&(round, attempt))?)));
        let Some((dataset, paid)) = found.filter(|(_, paid)| !paid.sent) else { return Ok(None) };
        let (dataset, payload, job) = (dataset.clone(), paid.payload.clone(), job.to_owned());
        let sent = BookEntry::Sent { dataset, job, round, attempt, payload };
        self.write(sent, at, identity).map(Some)
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
        let open = self.accounts.iter().find(|(_, d)| d.open.contains_key(job));
        let Some((dataset, _)) = open else { return Ok(None) };
        let (dataset, job) = (dataset.clone(), job.to_owned());
        self.write(BookEntry::Closed { dataset, job }, at, identity).map(Some)
    }

    /// Gives up entries that are lost for good: every account counts as spent in full.
    ///
    /// # Errors
    /// If the entry cannot be written.
    pub fn write_off(
        &mut self,
        lost: &Head,
        at: &str,
        identity: &Identity,
    ) -> Result<Entry, BookError> {
        self.write(BookEntry::WrittenOff { lost: lost.clone() }, at, identity)
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

    /// Applies, then chains: a refused entry leaves no trace.
    fn write(
        &mut self,
        what: BookEntry,
        at: &str,
        identity: &Identity,
    ) -> Result<Entry, BookError> {
        self.apply(&what, at)?;
        let damaged =
            |problem: String| BookError::Damaged { at: self.chain.head().length, problem };
        let body = what.to_body().map_err(damaged)?;
        let head = self.chain.head().length;
        self.chain
            .append(at, what.kind(), body, |bytes| identity.sign(bytes))
            .map_err(|e| BookError::Damaged { at: head, problem: e.to_string() })
    }

    fn apply(&mut self, what: &BookEntry, at: &str) -> Result<(), BookError> {
        let cost = |rdp: f64| {
            if rdp.is_finite() && rdp >= 0.0 { Ok(rdp) } else { Err(BookError::BadCost) }
        };
        match what {
            BookEntry::Registered { dataset, limit } => {
                self.check_free(dataset)?;
                self.accounts.insert(dataset.clone(), DatasetBook::new(*limit));
            }
            BookEntry::Shared { dataset, with } => {
                self.check_free(dataset)?;
                let account = self.account_of(with).ok_or_else(|| unknown(with))?.to_owned();
                self.shared.insert(dataset.clone(), account);
            }
            BookEntry::Granted { dataset, job, grant } => {
                self.account_mut(dataset)?.grant(dataset, job, grant)?;
            }
            BookEntry::Reserved { dataset, job, rdp, statistics, training } => {
                let lines =
                    [(ReleaseKind::Statistics, *statistics), (ReleaseKind::Training, *training)];
                self.account_mut(dataset)?.reserve_v1(dataset, job, cost(*rdp)?, lines)?;
            }
            BookEntry::Unprotected { dataset, job } => {
                self.account_mut(dataset)?.open_unprotected(job)?;
            }
            BookEntry::Charged { dataset, rdp, charge } => {
                self.account_mut(dataset)?.charge(charge, cost(*rdp)?, at)?;
            }
            BookEntry::Sent { dataset, job, round, attempt, payload } => {
                self.account_mut(dataset)?.sent(job, (*round, *attempt), payload)?;
            }
            BookEntry::Closed { dataset, job } => self.account_mut(dataset)?.close(job)?,
            BookEntry::WrittenOff { .. } => {
                self.accounts.values_mut().for_each(DatasetBook::write_off);
            }
        }
        Ok(())
    }

    fn check_free(&self, dataset: &str) -> Result<(), BookError> {
        match self.account_of(dataset) {
            Some(_) => Err(BookError::AlreadyRegistered(dataset.to_owned())),
            None => Ok(()),
        }
    }

    fn account_mut(&mut self, dataset: &str) -> Result<&mut DatasetBook, BookError> {
        let name = self.account_of(dataset).ok_or_else(|| unknown(dataset))?.to_owned();
        self.accounts.get_mut(&name).ok_or_else(|| unknown(dataset))
    }
}

fn unknown(dataset: &str) -> BookError {
    BookError::UnknownDataset(dataset.to_owned())
}

#[cfg(test)]
mod tests;
