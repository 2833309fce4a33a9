//! What the attempts of a record cost: how many releases of each kind are charged, and epsilon as
//! the rounds went by.
//!
//! Counts every attempt that the record knows of, also those that opened nothing: a node may have
//! paid for them. Knows the record's counts and the plan's releases; no states, no models.

use tributary_dp::{Adversary, DpError, JobPrivacy, RdpCurve, epsilon};
use tributary_job::{Operation, Plan};

use crate::record::Record;

/// Charged attempts by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Charges {
    /// Of the statistics round.
    pub statistics: u32,
    /// Of training rounds.
    pub training: u32,
    /// Of the evaluation round.
    pub evaluation: u32,
}

impl Charges {
    /// Counts the attempts of a record. Attempts are numbered, so that one which a crash of the
    /// aggregator left without an entry is seen by the gap.
    pub fn of(record: &Record, plan: &Plan) -> Self {
        let mut charges = Self::default();
        let last_round = record.rounds.len() as u32;
        for round in 0..=last_round {
            charges.add(round, attempts(record, round), plan);
        }
        let spent = record.end.as_ref().map_or(0, |end| end.attempts);
        let missed = spent.saturating_sub(charges.all());
        charges.training += missed;
        charges
    }

    /// Of all kinds.
    pub fn all(&self) -> u32 {
        self.statistics + self.training + self.evaluation
    }

    fn add(&mut self, round: u32, attempts: u32, plan: &Plan) {
        match plan.operation(round).map(|o| o.operation) {
            Some(Operation::Statistics) => self.statistics += attempts,
            Some(Operation::Evaluation) => self.evaluation += attempts,
            Some(Operation::Training) | None => self.training += attempts,
        }
    }

    /// The privacy of these charges; `None` in mode `none`.
    pub fn privacy(&self, plan: &Plan) -> Option<JobPrivacy> {
        plan.privacy.as_ref().map(|planned| JobPrivacy {
            statistics: planned.statistics.clone().filter(|_| self.statistics > 0),
            statistics_releases: self.statistics,
            evaluation: planned.evaluation.clone().filter(|_| self.evaluation > 0),
            evaluation_releases: self.evaluation,
            training_releases: self.training,
            ..planned.clone()
        })
    }
}

/// Epsilon in the book after each round; empty in mode `none`.
///
/// Taken at what the whole job leaves of delta, so that the last value is the statement's.
///
/// # Errors
/// From the accountant.
pub fn epsilon_by_round(record: &Record, plan: &Plan) -> Result<Vec<f64>, DpError> {
    let Some(job) = Charges::of(record, plan).privacy(plan) else { return Ok(Vec::new()) };
    let delta = job.guarantee(Adversary::Colluders)?.delta_terms.remaining;
    let training = job.training.rdp()?;
    let none = || Ok(RdpCurve::zero());
    let statistics = job.statistics.as_ref().map_or_else(none, |release| release.rdp())?;
    let evaluation = job.evaluation.as_ref().map_or_else(none, |release| release.rdp())?;
    let mut charges = Charges::default();
    let mut out = Vec::with_capacity(record.rounds.len());
    for round in 0..record.rounds.len() as u32 {
        charges.add(round, attempts(record, round), plan);
        let fixed = &statistics.times(charges.statistics) + &evaluation.times(charges.evaluation);
        let curve = &training.times(charges.training) + &fixed;
        out.push(epsilon(&curve, delta)?.epsilon);
    }
    Ok(out)
}

/// Attempts of one round: the highest number that an entry names, and one.
fn attempts(record: &Record, round: u32) -> u32 {
    let rounds = record.rounds.iter().map(|r| (r.entry.round, r.entry.attempt));
    let aborts = record.aborts.iter().map(|a| (a.round, a.attempt));
    let of_round = rounds.chain(aborts).filter(|(r, _)| *r == round);
    of_round.map(|(_, attempt)| u32::from(attempt) + 1).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan_report::manifest_for;
    use crate::record::{CertifiedRound, EndEntry};
    use tributary_job::JobSpec;
    use tributary_ledger::Head;
    use tributary_round::record::{AbortEntry, RoundEntry};

    fn plan() -> Plan {
        let spec = JobSpec::from_toml(include_str!("../scenarios/toy-job.toml")).unwrap();
        Plan::derive(&manifest_for(&spec, &[1000; 5]).unwrap()).unwrap()
    }

    /// A record of rounds with these winning attempts; every earlier attempt was aborted.
    fn record(winning: &[u16], spent: Option<u32>) -> Record {
        let entry = |(round, attempt): (usize, &u16)| RoundEntry {
            late: Vec::new(),
            gone: Vec::new(),
            round: round as u32,
            attempt: *attempt,
            operation: String::new(),
            cohort: Vec::new(),
            survivors: Vec::new(),
            dropped: Vec::new(),
            ctx: String::new(),
            sum_root: String::new(),
            state_hash: String::new(),
            certificate: String::new(),
            bytes_up: 0,
            millis: 0,
        };
        let rounds = winning.iter().enumerate().map(entry);
        let end =
            |attempts| EndEntry { complete: true, reason: String::new(), rounds: 0, attempts };
        Record {
            rounds: rounds
                .map(|entry| CertifiedRound { entry, transcript: String::new() })
                .collect(),
            aborts: Vec::new(),
            agencies: Vec::new(),
            accusations: Vec::new(),
            end: spent.map(end),
            head: Head::default(),
        }
    }

    #[test]
    fn every_attempt_counts() {
        let plan = plan();
        let of = |record: &Record| Charges::of(record, &plan);
        assert_eq!(
            of(&record(&[0, 0, 0], None)),
            Charges { statistics: 1, training: 2, evaluation: 0 }
        );
        assert_eq!(
            of(&record(&[1, 0, 2], None)),
            Charges { statistics: 2, training: 4, evaluation: 0 }
        );
        assert_eq!(
            of(&record(&[0, 0], Some(5))),
            Charges { statistics: 1, training: 4, evaluation: 0 }
        );
        let mut open = record(&[0, 0], None);
        let abort = |attempt| AbortEntry {
            gone: Vec::new(),
            round: 2,
            attempt,
            cohort: vec![],
            late: vec![],
            reason: String::new(),
        };
        open.aborts = vec![abort(0), abort(1)];
        assert_eq!(of(&open), Charges { statistics: 1, training: 3, evaluation: 0 });
    }

    #[test]
    fn a_repeated_statistics_round_is_paid_for() {
        let plan = plan();
        let epsilon = |statistics| {
            let job = Charges { statistics, training: 10, evaluation: 0 }.privacy(&plan).unwrap();
            job.epsilon().unwrap().epsilon
        };
        assert!(epsilon(0) < epsilon(1) && epsilon(1) < epsilon(3));
    }

    #[test]
    fn epsilon_grows_and_ends_at_the_statements_number() {
        let plan = plan();
        let record = record(&[0; 12], None);
        let curve = epsilon_by_round(&record, &plan).unwrap();
        assert_eq!(curve.len(), 12);
        assert!(curve.windows(2).all(|w| w[0] <= w[1]) && curve[0] > 0.0);
        let job = Charges::of(&record, &plan).privacy(&plan).unwrap();
        let stated = job.epsilon().unwrap().epsilon;
        assert!((curve[11] / stated - 1.0).abs() < 1e-9, "{} {stated}", curve[11]);
    }
}
