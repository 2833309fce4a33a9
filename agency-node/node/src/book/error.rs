//! Why the book refuses, in sentences for the agency's own log.
//!
//! None of them is sent: what is left of a budget is the agency's business.

use super::advice::Advice;
use super::unit::ProtectedUnit;

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
    #[error("{0}")]
    Exhausted(Box<Exhausted>),
    /// The part of delta that is kept for what is no noise would be exceeded.
    #[error(
        "dataset {dataset}: {jobs} jobs have used up the part of delta {delta:e} that is kept for \
         masking, sampler and cryptography; the terms are for good, so no further job fits"
    )]
    DeltaExhausted {
        /// The dataset.
        dataset: String,
        /// Its delta.
        delta: f64,
        /// Jobs that are over.
        jobs: usize,
    },
    /// A job protects another unit than the account promises.
    #[error(
        "dataset {dataset}: its budget is kept per {registered}, and this job protects per {job}: \
         neither says what it costs the other; it needs a mode that protects a {registered}"
    )]
    OtherUnit {
        /// The dataset.
        dataset: String,
        /// The account's unit.
        registered: ProtectedUnit,
        /// The job's unit.
        job: ProtectedUnit,
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
    /// Something is said to have left that was not paid for, or has left before.
    #[error("job {job}: round {round}, attempt {attempt}: nothing that is paid for waits there")]
    NotCharged {
        /// The job's hash, hex.
        job: String,
        /// Secure round.
        round: u32,
        /// The attempt.
        attempt: u16,
    },
    /// A second reservation for one job.
    #[error("job {0} has a reservation already")]
    AlreadyReserved(String),
    /// A job that is over.
    #[error("job {0} has ended here before; it has to be submitted again as a new job")]
    Ended(String),
    /// A cost that cannot be.
    #[error("a cost must be finite, positive with noise and zero without, and as it was granted")]
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

/// A limit that a job would exceed.
#[derive(Debug, Clone, PartialEq)]
pub struct Exhausted {
    /// The dataset.
    pub dataset: String,
    /// Epsilon after the job.
    pub would_be: f64,
    /// Epsilon spent and reserved now.
    pub committed: f64,
    /// How much of that is only reserved.
    pub reserved: f64,
    /// The limit.
    pub limit: f64,
    /// The account's delta.
    pub delta: f64,
    /// What would fit; `None` if nobody asked.
    pub advice: Option<Advice>,
}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { dataset, would_be, committed, reserved, limit, delta, advice } = self;
        let (left, needs) = ((limit - committed).max(0.0), would_be - committed);
        write!(
            f,
            "dataset {dataset}: this job would bring the total to epsilon {would_be:.3}, the limit \
             is {limit:.3} (delta {delta:e}): {committed:.3} is spent or reserved so far, {left:.3} \
             is left, and the job needs {needs:.3}"
        )?;
        if *reserved > 0.0005 {
            write!(
                f,
                "; {reserved:.3} is only reserved, and what the running job does not use of it is \
                 free again when that job ends"
            )?;
        }
        match advice {
            Some(advice) => write!(f, ". {advice}"),
            None => Ok(()),
        }
    }
}
