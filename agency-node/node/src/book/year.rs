//! What an account has spent in a year: a bound on the rate, beside the limit for good.
//!
//! The same additive filter at the account's one order, over the charges of the last 365 days and all
//! that open jobs may still charge. It says nothing about what was released before; the account's limit
//! does. Knows no clock: the time is given.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::account::DatasetBook;
use super::grant::round_up;

/// Days that count as a year.
pub const DAYS_OF_A_YEAR: i64 = 365;

/// What was spent in the last 365 days.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Year {
    /// Epsilon of what is charged in them and of what open jobs may charge.
    pub committed: f64,
    /// The same with one more job.
    pub would_be: f64,
    /// Delta of both.
    pub delta: f64,
}

/// A charge with its time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Charge {
    /// `None` if its time cannot be read: then it counts in every year.
    at: Option<OffsetDateTime>,
    job: String,
    rdp: f64,
}

impl Charge {
    pub(super) fn new(at: &str, job: &str, rdp: f64) -> Self {
        Self { at: OffsetDateTime::parse(at, &Rfc3339).ok(), job: job.to_owned(), rdp }
    }
}

impl DatasetBook {
    /// Renyi divergence that is charged in the 365 days up to `now`, and all that open jobs have
    /// reserved. Without a time everything counts.
    pub(super) fn committed_since(&self, now: Option<OffsetDateTime>) -> f64 {
        let begin = now.and_then(|now| now.checked_sub(Duration::days(DAYS_OF_A_YEAR)));
        let recent = |charge: &&Charge| match (charge.at, begin) {
            (Some(at), Some(begin)) => at > begin,
            _ => true,
        };
        let closed = |charge: &&Charge| !self.open.contains_key(&charge.job);
        let charges = self.history.iter().filter(closed).filter(recent).map(|charge| charge.rdp);
        let open = self.open.values().map(|open| open.reserved());
        let sum = charges.chain(open).fold(0.0, |sum, rdp| round_up(sum + rdp));
        // What was lost was charged at a time that nobody knows.
        if self.written_off { sum.max(self.limit.rdp) } else { sum }
    }

    /// What the newest charge of a job cost.
    pub(super) fn newest_charge(&self, job: &str) -> Option<f64> {
        self.history.iter().rev().find(|charge| charge.job == job).map(|charge| charge.rdp)
    }
}
