//! Noise for the next attempt, drawn between rounds.
//!
//! How long drawing takes hangs a little on what is drawn. So it is done outside rounds and not between
//! a round's start and this node's `Ready`. What the same call has to say (the answer to an offer, say)
//! is carried out after it and shows the time of the whole vector, nothing of a part. Only an attempt that begins without a vector in reserve (the one
//! after a resume with another state, say) draws on the spot. It knows no records and no masks.

use tributary_dp::{DiscreteGaussian, PreparedNoise, SecretRng};
use tributary_job::{Operation, OperationPlan};

use super::job::{ActiveJob, Noise};

/// At most one vector of noise. It leaves by value and the place is empty then: no vector can be used
/// twice, and a vector of one attempt not in another. Four bytes a parameter stay in memory between
/// rounds.
#[derive(Debug, Default)]
pub(super) struct Reserve(Option<(Operation, PreparedNoise)>);

impl Noise {
    /// The sampler of a kind of round.
    fn of(&self, operation: Operation) -> Option<&DiscreteGaussian> {
        match operation {
            Operation::Statistics => self.statistics.as_ref(),
            Operation::Training => self.training.as_ref(),
            Operation::Evaluation => self.evaluation.as_ref(),
        }
    }
}

impl Reserve {
    /// Draws what the operation needs, unless it is there.
    fn fill(
        &mut self,
        operation: &OperationPlan,
        noise: &Noise,
        randomness: impl Fn() -> Result<SecretRng, String>,
    ) -> Result<(), String> {
        if !self.fits(operation) {
            self.0 = None;
            if let Some(sampler) = noise.of(operation.operation) {
                let vector = sampler.prepare(operation.vector_len as usize, &mut randomness()?);
                self.0 = Some((operation.operation, vector));
            }
        }
        Ok(())
    }

    fn fits(&self, operation: &OperationPlan) -> bool {
        self.0.as_ref().is_some_and(|(kind, vector)| {
            *kind == operation.operation && vector.len() == operation.vector_len as usize
        })
    }

    /// The noise for one attempt; `None` if the operation has none. Afterwards nothing is in reserve.
    pub(super) fn take(
        &mut self,
        operation: &OperationPlan,
        noise: &Noise,
        randomness: impl Fn() -> Result<SecretRng, String>,
    ) -> Result<Option<PreparedNoise>, String> {
        self.fill(operation, noise, randomness)?;
        Ok(self.0.take().map(|(_, vector)| vector))
    }
}

impl ActiveJob {
    /// Between rounds: makes sure that there is noise for the next attempt. Without randomness there
    /// is none, which that attempt then reports.
    pub(super) fn prepare_noise(&mut self, randomness: impl Fn() -> Result<SecretRng, String>) {
        if self.running.is_some() {
            return;
        }
        let next = self.plan.next(&self.state);
        let filled = next.map(|next| self.reserve.fill(next, &self.noise, randomness));
        if let Some(Err(problem)) = filled {
            tracing::warn!("no noise in reserve: {problem}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tributary_secagg::NodeSet;

    use crate::fixtures::{Federation, JOB, job_without_noise};

    fn operation(operation: Operation, len: u32) -> OperationPlan {
        OperationPlan {
            operation,
            vector_len: len,
            clip_norm: 1.0,
            scale: 1.0,
            clamp: 1,
            lane_bits: 32,
            max_records: 1,
            sampling_rate: 1.0,
            unit: tributary_dp::Unit::Record,
            local: None,
            count_scale: None,
            release: None,
            rotation_key: None,
            local_steps: None,
            holdout: 0.0,
        }
    }

    fn noise() -> Noise {
        let sampler = |sigma| Some(DiscreteGaussian::new(sigma).unwrap());
        Noise { statistics: sampler(1e6), training: sampler(1e6), evaluation: None }
    }

    fn values(vector: Option<PreparedNoise>, len: usize) -> Vec<i64> {
        let mut values = vec![0; len];
        vector.unwrap().add_to(&mut values).unwrap();
        values
    }

    #[test]
    fn every_attempt_gets_noise_of_its_own() {
        let (noise, training) = (noise(), operation(Operation::Training, 50));
        let drawn = Cell::new(0);
        let randomness = || {
            drawn.set(drawn.get() + 1);
            SecretRng::from_os().map_err(|e| e.to_string())
        };
        let mut reserve = Reserve::default();
        reserve.fill(&training, &noise, randomness).unwrap();
        reserve.fill(&training, &noise, randomness).unwrap();
        assert_eq!(drawn.get(), 1);
        let first = reserve.take(&training, &noise, randomness).unwrap();
        assert_eq!(drawn.get(), 1);
        // The place is empty: the next one is drawn.
        let second = reserve.take(&training, &noise, randomness).unwrap();
        assert_eq!(drawn.get(), 2);
        assert_ne!(values(first, 50), values(second, 50));
    }

    #[test]
    fn noise_for_another_kind_of_round_is_thrown_away() {
        let noise = noise();
        let randomness = || SecretRng::from_os().map_err(|e| e.to_string());
        let mut reserve = Reserve::default();
        reserve.fill(&operation(Operation::Statistics, 4), &noise, randomness).unwrap();
        for (kind, len) in [(Operation::Training, 4), (Operation::Training, 9)] {
            let wanted = operation(kind, len);
            assert!(!reserve.fits(&wanted));
            reserve.fill(&wanted, &noise, randomness).unwrap();
            assert!(reserve.fits(&wanted));
        }
        let broken = || Err("no entropy".to_owned());
        let statistics = operation(Operation::Statistics, 4);
        assert!(reserve.take(&statistics, &noise, broken).is_err());
        // What did not fit is gone, not kept for later.
        assert!(reserve.0.is_none());
        let without = Noise { statistics: None, training: None, evaluation: None };
        assert!(reserve.take(&statistics, &without, broken).unwrap().is_none());
    }

    fn in_reserve(federation: &Federation) -> Vec<bool> {
        federation.engines.iter().map(|e| e.job().unwrap().reserve.0.is_some()).collect()
    }

    #[test]
    fn it_is_there_before_a_round_opens_and_used_up_in_it() {
        let mut federation = Federation::new(JOB).accepted();
        assert_eq!(in_reserve(&federation), [true; 5]);
        let facts = federation.agree(1);
        assert_eq!(in_reserve(&federation), [true; 5]);
        // The attempt ends with the sum open and no certificate: it still runs, its noise is gone.
        federation.attempt(0, &facts, NodeSet::full(5));
        assert_eq!(in_reserve(&federation), [false; 5]);
        (0..5).for_each(|i| federation.restart(i));
        assert_eq!(in_reserve(&federation), [true; 5]);
        let exact = Federation::new(&job_without_noise()).accepted();
        assert_eq!(in_reserve(&exact), [false; 5]);
    }
}
