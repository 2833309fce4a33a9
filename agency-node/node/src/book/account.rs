//! One account: what may be spent, what has been spent, and which jobs may still charge.
//!
//! Plain arithmetic over entries in order; it knows no chain, no signature and no clock.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::ChargeEntry;
use super::error::BookError;
use super::grant::{DeltaCost, Grant, PlanKind, ReleaseKind, round_up, total};
use super::limits::{BudgetLimit, BudgetStatus};

/// How much the order of additions may move a sum of amounts; more than the last bits of any
/// account that people will ever fill.
const SLACK: f64 = 1e-12;

/// One account, in Renyi divergence at its order.
#[derive(Debug, Clone)]
pub struct DatasetBook {
    /// Limit and order.
    pub limit: BudgetLimit,
    /// Jobs that may still charge.
    pub open: BTreeMap<String, Reservation>,
    /// Jobs that are over; none of them is ever opened again.
    pub closed: BTreeSet<String>,
    /// Jobs without differential privacy: from the first one on, no epsilon bounds these records.
    pub unprotected: BTreeSet<String>,
    /// Whether lost entries made everything count as spent.
    pub written_off: bool,
    /// What jobs that are over have charged.
    settled: f64,
    /// What they took of delta besides their noise.
    settled_delta: DeltaCost,
    /// Every charge with its time.
    pub(super) history: Vec<super::year::Charge>,
}

/// What a job may still charge.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    /// The terms; `None` in mode `none`, where each round is uploaded once and costs no number.
    pub grant: Option<Grant>,
    /// Attempts that are paid for, by round and attempt.
    pub attempts: BTreeMap<(u32, u16), Attempt>,
    /// Releases that are paid for, by kind.
    used: BTreeMap<ReleaseKind, u32>,
    /// What an adaptive plan has charged.
    spent: f64,
}

/// An attempt that is paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What is released.
    pub kind: ReleaseKind,
    /// Hash of the masked vector, hex.
    pub payload: String,
    /// Whether it has left in full.
    pub sent: bool,
}

impl DatasetBook {
    pub(super) fn new(limit: BudgetLimit) -> Self {
        Self {
            limit,
            open: BTreeMap::new(),
            closed: BTreeSet::new(),
            unprotected: BTreeSet::new(),
            written_off: false,
            settled: 0.0,
            settled_delta: DeltaCost::default(),
            history: Vec::new(),
        }
    }

    /// Charged for good.
    pub fn charged(&self) -> f64 {
        self.open.values().fold(self.settled, |sum, r| add(sum, r.charged()))
    }

    /// Charged for good, and what open jobs may charge at most.
    pub fn committed(&self) -> f64 {
        self.open.values().fold(self.settled, |sum, r| add(sum, r.reserved()))
    }

    /// What jobs take of delta besides their noise, the open ones included.
    pub fn delta_terms(&self) -> DeltaCost {
        let open = self.open.values().filter_map(|r| r.grant.as_ref());
        open.fold(self.settled_delta, |sum, grant| sum.plus(&grant.delta))
    }

    /// Spent and left, in epsilon.
    pub fn status(&self) -> BudgetStatus {
        let (charged, terms) = (self.charged(), self.delta_terms());
        let outstanding = (self.committed() - charged).max(0.0);
        BudgetStatus {
            unprotected: !self.unprotected.is_empty(),
            written_off: self.written_off,
            ..self.limit.status(charged, outstanding, &terms)
        }
    }

    /// Opens a job with a grant, if it fits.
    pub(super) fn grant(&mut self, dataset: &str, job: &str, g: &Grant) -> Result<(), BookError> {
        self.check_new(job)?;
        if !g.is_valid() {
            return Err(BookError::BadCost);
        }
        if !g.unit.covers(self.limit.unit) {
            let (dataset, registered) = (dataset.to_owned(), self.limit.unit);
            return Err(BookError::OtherUnit { dataset, registered, job: g.unit });
        }
        if (self.committed() + g.rdp) * (1.0 + SLACK) > self.limit.rdp {
            return Err(self.exhausted(dataset, g.rdp));
        }
        if self.limit.delta_share(&self.delta_terms().plus(&g.delta)) > 1.0 {
            let (dataset, delta) = (dataset.to_owned(), self.limit.delta);
            return Err(BookError::DeltaExhausted { dataset, delta, jobs: self.closed.len() });
        }
        self.open.insert(job.to_owned(), Reservation::new(Some(g.clone())));
        Ok(())
    }

    /// Opens a job as version 0.1 did: numbers of two kinds, whose prices come with the charges.
    pub(super) fn reserve_v1(
        &mut self,
        dataset: &str,
        job: &str,
        rdp: f64,
        lines: [(ReleaseKind, u32); 2],
    ) -> Result<(), BookError> {
        self.check_new(job)?;
        if round_up(self.committed() + rdp) > self.limit.rdp * (1.0 + 1e-8) {
            return Err(self.exhausted(dataset, rdp));
        }
        self.open.insert(job.to_owned(), Reservation::new(Some(Grant::of_v1(rdp, lines))));
        Ok(())
    }

    pub(super) fn open_unprotected(&mut self, job: &str) -> Result<(), BookError> {
        self.check_new(job)?;
        self.open.insert(job.to_owned(), Reservation::new(None));
        self.unprotected.insert(job.to_owned());
        Ok(())
    }

    /// What a release costs: the granted price in a static plan, its own in an adaptive one.
    pub(super) fn price(
        &self,
        job: &str,
        kind: ReleaseKind,
        own: Option<f64>,
    ) -> Result<f64, BookError> {
        let open = self.open.get(job).ok_or_else(|| BookError::NotReserved(job.to_owned()))?;
        match (&open.grant, own) {
            (None, None) => Ok(0.0),
            (Some(grant), Some(own)) => {
                let line = grant.lines.get(&kind);
                let line = line.ok_or_else(|| BookError::NotReserved(job.to_owned()))?;
                match grant.plan {
                    _ if own > line.each => Err(BookError::NotReserved(job.to_owned())),
                    PlanKind::Static => Ok(line.each),
                    PlanKind::Adaptive => Ok(own),
                }
            }
            // A release with noise always costs something, one without never: else nobody looked.
            _ => Err(BookError::BadCost),
        }
    }

    pub(super) fn charge(
        &mut self,
        charge: &ChargeEntry,
        rdp: f64,
        at: &str,
    ) -> Result<(), BookError> {
        let job = &charge.job;
        let not_reserved = || BookError::NotReserved(job.clone());
        let open = self.open.get_mut(job).ok_or_else(not_reserved)?;
        let (round, attempt) = (charge.round, charge.attempt);
        let uploaded = match open.grant {
            Some(_) => open.attempts.contains_key(&(round, attempt)),
            // Without noise the difference of two sums of a round would show who is in one only.
            None => open.uploaded(round),
        };
        if uploaded {
            return Err(BookError::AlreadyCharged { job: job.clone(), round, attempt });
        }
        if open.grant.is_some() != (rdp > 0.0) {
            return Err(BookError::BadCost);
        }
        let used = open.used.get(&charge.kind).copied().unwrap_or(0);
        if let Some(grant) = &open.grant {
            let line = grant.lines.get(&charge.kind).ok_or_else(not_reserved)?;
            let spent = round_up(open.spent + rdp);
            if used >= line.releases {
                return Err(not_reserved());
            }
            match grant.plan {
                PlanKind::Static if rdp != line.each => return Err(BookError::BadCost),
                PlanKind::Adaptive if rdp > line.each || spent > grant.rdp => {
                    return Err(not_reserved());
                }
                PlanKind::Static => {}
                PlanKind::Adaptive => open.spent = spent,
            }
        }
        open.used.insert(charge.kind, used + 1);
        let (kind, payload) = (charge.kind, charge.payload.clone());
        open.attempts.insert((round, attempt), Attempt { kind, payload, sent: false });
        self.history.push(super::year::Charge::new(at, job, rdp));
        Ok(())
    }

    /// Marks a paid attempt as gone; whether that is news.
    pub(super) fn sent(
        &mut self,
        job: &str,
        number: (u32, u16),
        payload: &str,
    ) -> Result<(), BookError> {
        let attempt = self.open.get_mut(job).and_then(|r| r.attempts.get_mut(&number));
        match attempt {
            Some(attempt) if attempt.payload == payload && !attempt.sent => {
                attempt.sent = true;
                Ok(())
            }
            _ => {
                let (round, attempt) = number;
                Err(BookError::NotCharged { job: job.to_owned(), round, attempt })
            }
        }
    }

    pub(super) fn close(&mut self, job: &str) -> Result<(), BookError> {
        let over = self.open.remove(job).ok_or_else(|| BookError::NotReserved(job.to_owned()))?;
        self.settled = add(self.settled, over.charged());
        // Masks and samplers were at work from the first release on.
        if let Some(grant) = over.grant.filter(|_| !over.attempts.is_empty()) {
            self.settled_delta = self.settled_delta.plus(&grant.delta);
        }
        self.closed.insert(job.to_owned());
        Ok(())
    }

    /// Everything that is not charged counts as charged.
    pub(super) fn write_off(&mut self) {
        self.written_off = true;
        self.settled = self.settled.max(self.limit.rdp);
        self.closed.extend(std::mem::take(&mut self.open).into_keys());
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

    fn exhausted(&self, dataset: &str, rdp: f64) -> BookError {
        let status = self.status();
        let would_be = self.limit.epsilon_at(self.committed() + rdp);
        BookError::Exhausted(Box::new(super::Exhausted {
            dataset: dataset.to_owned(),
            would_be,
            committed: status.committed,
            reserved: status.committed - status.spent,
            limit: status.limit,
            delta: status.delta,
            advice: None,
        }))
    }
}

impl Reservation {
    fn new(grant: Option<Grant>) -> Self {
        Self { grant, attempts: BTreeMap::new(), used: BTreeMap::new(), spent: 0.0 }
    }

    /// Reserved in all.
    pub fn reserved(&self) -> f64 {
        self.grant.as_ref().map_or(0.0, |grant| grant.rdp)
    }

    /// Charged of it.
    pub fn charged(&self) -> f64 {
        match &self.grant {
            None => 0.0,
            Some(grant) if grant.plan == PlanKind::Adaptive => self.spent,
            // Not summed up charge by charge: so it is never more than what was reserved.
            Some(grant) => total(
                grant
                    .lines
                    .iter()
                    .map(|(kind, line)| (line.each, self.used.get(kind).copied().unwrap_or(0))),
            ),
        }
    }

    /// Releases of each kind that the reservation still pays for; `None` in mode `none`.
    pub fn left(&self) -> Option<BTreeMap<ReleaseKind, u32>> {
        let lines = &self.grant.as_ref()?.lines;
        let left = |kind: &ReleaseKind, releases: u32| {
            releases.saturating_sub(self.used.get(kind).copied().unwrap_or(0))
        };
        Some(lines.iter().map(|(kind, line)| (*kind, left(kind, line.releases))).collect())
    }

    /// Whether any attempt of a round is paid for.
    pub fn uploaded(&self, round: u32) -> bool {
        self.attempts.range((round, 0)..=(round, u16::MAX)).next().is_some()
    }
}

fn add(a: f64, b: f64) -> f64 {
    if b == 0.0 { a } else { round_up(a + b) }
}
