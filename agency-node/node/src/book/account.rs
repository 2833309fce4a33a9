//! One dataset's account: what it may spend, what it has spent, and which jobs may still charge.
//!
//! Plain arithmetic over entries in order; it knows no chain, no signature and no clock.

use std::collections::{BTreeMap, BTreeSet};

use tributary_job::Operation;

use super::BookError;
use super::entry::ChargeEntry;
use super::limits::{BudgetLimit, BudgetStatus};

/// One dataset's account, in Renyi divergence at its order.
#[derive(Debug, Clone)]
pub struct DatasetBook {
    /// Limit and order.
    pub limit: BudgetLimit,
    /// Charged for good.
    pub charged: f64,
    /// Jobs that may still charge.
    pub open: BTreeMap<String, Reservation>,
    /// Jobs that are over; none of them is ever opened again.
    pub closed: BTreeSet<String>,
    /// Jobs without differential privacy: from the first one on, no epsilon bounds this dataset.
    pub unprotected: BTreeSet<String>,
}

/// What a job may still charge.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    /// Reserved in all.
    pub reserved: f64,
    /// Charged of it.
    pub charged: f64,
    /// How many attempts are left; `None` in mode `none`, where each round is uploaded once.
    pub left: Option<AttemptsLeft>,
    /// Attempts that are paid for: round and attempt.
    pub attempts: BTreeSet<(u32, u16)>,
}

/// Attempts of each operation that a reservation still pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptsLeft {
    /// Of the statistics round.
    pub statistics: u32,
    /// Of training rounds.
    pub training: u32,
}

impl DatasetBook {
    pub(super) fn new(limit: BudgetLimit) -> Self {
        Self {
            limit,
            charged: 0.0,
            open: BTreeMap::new(),
            closed: BTreeSet::new(),
            unprotected: BTreeSet::new(),
        }
    }

    /// Reserved and not yet charged.
    pub fn outstanding(&self) -> f64 {
        self.open.values().map(|r| (r.reserved - r.charged).max(0.0)).sum()
    }

    /// Spent and left, in epsilon.
    pub fn status(&self) -> BudgetStatus {
        let unprotected = !self.unprotected.is_empty();
        BudgetStatus { unprotected, ..self.limit.status(self.charged, self.outstanding()) }
    }

    pub(super) fn reserve(
        &mut self,
        dataset: &str,
        job: &str,
        rdp: f64,
        left: AttemptsLeft,
    ) -> Result<(), BookError> {
        self.check_new(job)?;
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
        self.open.insert(job.to_owned(), Reservation::new(rdp, Some(left)));
        Ok(())
    }

    pub(super) fn open_unprotected(&mut self, job: &str) -> Result<(), BookError> {
        self.check_new(job)?;
        self.open.insert(job.to_owned(), Reservation::new(0.0, None));
        self.unprotected.insert(job.to_owned());
        Ok(())
    }

    pub(super) fn charge(&mut self, charge: &ChargeEntry, rdp: f64) -> Result<(), BookError> {
        let job = &charge.job;
        let open = self.open.get_mut(job).ok_or_else(|| BookError::NotReserved(job.clone()))?;
        let uploaded = match open.left {
            Some(_) => open.attempts.contains(&(charge.round, charge.attempt)),
            // Without noise the difference of two sums of a round would show who is in one only.
            None => open.uploaded(charge.round),
        };
        if uploaded {
            let (round, attempt) = (charge.round, charge.attempt);
            return Err(BookError::AlreadyCharged { job: job.clone(), round, attempt });
        }
        // A release with noise always costs something, one without never: else nobody looked.
        if open.left.is_some() != (rdp > 0.0) {
            return Err(BookError::BadCost);
        }
        let after = round_up(open.charged + rdp);
        // Sums of equal terms and their product differ in the last bits.
        if after > open.reserved * (1.0 + 1e-9) {
            return Err(BookError::NotReserved(job.clone()));
        }
        if let Some(left) = &mut open.left {
            let left = match charge.operation {
                Operation::Statistics => &mut left.statistics,
                Operation::Training => &mut left.training,
            };
            *left = left.checked_sub(1).ok_or_else(|| BookError::NotReserved(job.clone()))?;
        }
        open.attempts.insert((charge.round, charge.attempt));
        open.charged = after;
        self.charged = round_up(self.charged + rdp);
        Ok(())
    }

    pub(super) fn close(&mut self, job: &str) -> Result<(), BookError> {
        self.open.remove(job).ok_or_else(|| BookError::NotReserved(job.to_owned()))?;
        self.closed.insert(job.to_owned());
        Ok(())
    }

    fn check_new(&self, job: &str) -> Result<(), BookError> {
        if self.closed.contains(job) {
            return Err(BookError::Ended(job.to_owned()));
        }
        match self.open.contains_key(job) {
            true => Err(BookError::AlreadyReserved(job.to_owned())),
            false => Ok(()),
        }
    }
}

impl Reservation {
    fn new(reserved: f64, left: Option<AttemptsLeft>) -> Self {
        Self { reserved, charged: 0.0, left, attempts: BTreeSet::new() }
    }

    /// Whether any attempt of a round is paid for.
    pub fn uploaded(&self, round: u32) -> bool {
        self.attempts.range((round, 0)..=(round, u16::MAX)).next().is_some()
    }
}

fn round_up(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.next_up() }
}
