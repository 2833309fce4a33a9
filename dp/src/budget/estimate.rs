//! The numerical estimate of a job's epsilon, beside its bound. Never charged.

use super::{Adversary, JobPrivacy};
use crate::accountant::{LossMechanism, pld_epsilon};
use crate::error::DpError;
use crate::mechanism::{Release, discrete_sum_tau};

impl JobPrivacy {
    /// Epsilon of the whole job against an adversary by privacy-loss distributions: an ESTIMATE, a
    /// few per cent below [`JobPrivacy::guarantee`], and no substitute for it.
    ///
    /// Delta is what the guarantee has left for the noise. Shares of discrete noise are accounted as
    /// one continuous Gaussian plus `2 tau d` a release, the most that the ratio of the two laws can
    /// add to a loss.
    ///
    /// # Errors
    /// As [`JobPrivacy::guarantee`], or if the noise is too small for an estimate.
    pub fn pld_estimate(&self, adversary: Adversary) -> Result<f64, DpError> {
        let delta = self.guarantee(adversary)?.delta_terms.remaining;
        let (mut uses, mut discrete) = (Vec::new(), 0.0);
        let mut count = |release: &Release, times: u32| -> Result<(), DpError> {
            let shares = adversary.honest_shares(release);
            let noise_multiplier = release.noise_multiplier_with(shares)?;
            let sampling_rate = release.parameters.sampling_rate;
            uses.push((LossMechanism::SampledGaussian { sampling_rate, noise_multiplier }, times));
            let tau = discrete_sum_tau(release.sigma_local, shares);
            discrete += 2.0 * tau * release.parameters.dimension as f64 * f64::from(times);
            Ok(())
        };
        for (release, times) in self.releases() {
            count(release, times)?;
        }
        Ok(pld_epsilon(&uses, delta)? + discrete)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn below_the_bound_and_ordered_like_it() {
        let job = example(20, 17, 2);
        let mut last = 0.0;
        for adversary in Adversary::ALL {
            let bound = job.guarantee(adversary).unwrap().epsilon.epsilon;
            let estimate = job.pld_estimate(adversary).unwrap();
            assert!(
                estimate < bound && estimate > 0.8 * bound,
                "{adversary:?}: {estimate} {bound}"
            );
            assert!(estimate > last);
            last = estimate;
        }
        let statistics = Some(job.training.clone());
        let more = JobPrivacy { statistics, statistics_releases: 9, ..job.clone() };
        let of = |job: &JobPrivacy| job.pld_estimate(Adversary::Colluders).unwrap();
        assert!(of(&more) > of(&job));
        let tiny = JobPrivacy { delta: 1e-12, ..job };
        assert!(tiny.pld_estimate(Adversary::Colluders).is_err(), "no bound, no estimate");
    }
}
