//! Composition, conversion and calibration of a whole job.

use super::{
    Adversary, CRYPTO_ADVANTAGE, DeltaTerms, FixedReleases, Guarantee, JobPrivacy, MASKING_FAILURE,
};
use crate::accountant::{Epsilon, RdpCurve, calibrate, epsilon};
use crate::error::DpError;
use crate::mechanism::{Release, ReleaseParameters};
use crate::noise::total_variation_bound;

impl JobPrivacy {
    /// Renyi curve of the whole job in the worst case that is charged.
    ///
    /// # Errors
    /// From the accountant, for parameters outside its domain.
    pub fn rdp(&self) -> Result<RdpCurve, DpError> {
        self.rdp_against(Adversary::Colluders)
    }

    /// Renyi curve of the whole job against an adversary.
    ///
    /// # Errors
    /// As [`JobPrivacy::rdp`].
    pub fn rdp_against(&self, adversary: Adversary) -> Result<RdpCurve, DpError> {
        let mut total = RdpCurve::zero();
        for (release, count) in self.releases() {
            let one = release.rdp_with_honest(adversary.honest_shares(release))?;
            total += &one.times(count);
        }
        Ok(total)
    }

    /// The number in the book: epsilon against the aggregator with the tolerated colluders.
    ///
    /// # Errors
    /// As [`JobPrivacy::rdp`], or [`DpError::DeltaExhausted`].
    pub fn epsilon(&self) -> Result<Epsilon, DpError> {
        Ok(self.guarantee(Adversary::Colluders)?.epsilon)
    }

    /// The guarantee against an adversary.
    ///
    /// Replacing ideal noise and ideal masks by real ones costs `(1 + e^epsilon)` times the distance
    /// between the laws, where epsilon is the result itself: the terms are taken at a slightly larger
    /// epsilon, and the result is accepted only if it is not above that.
    ///
    /// # Errors
    /// As [`JobPrivacy::rdp`], or [`DpError::DeltaExhausted`] if the terms exceed delta (then no
    /// guarantee can be stated against this adversary).
    pub fn guarantee(&self, adversary: Adversary) -> Result<Guarantee, DpError> {
        let curve = self.rdp_against(adversary)?;
        let distance = self.sampler_distance(adversary)?;
        let (masking, advantage) = if adversary.relies_on_masking(self.training.parameters.noise) {
            (MASKING_FAILURE, CRYPTO_ADVANTAGE)
        } else {
            (0.0, 0.0)
        };
        let rounding =
            self.releases().map(|(r, n)| r.rounding_failure() * f64::from(n)).sum::<f64>();
        let mut found = epsilon(&curve, self.delta)?.epsilon;
        loop {
            let at_epsilon = found * (1.0 + 1e-6) + 1e-6;
            let factor = 1.0 + at_epsilon.exp();
            let (sampler, cryptography) = (factor * distance, factor * advantage);
            let used = (rounding + sampler + masking + cryptography) * (1.0 + 1e-12);
            // Half of delta is the most that deductions may take; beyond, epsilon only explodes.
            if used.is_nan() || used > self.delta / 2.0 {
                return Err(DpError::DeltaExhausted { delta: self.delta, epsilon: at_epsilon });
            }
            let remaining = (self.delta - used).next_down();
            let result = epsilon(&curve, remaining)?;
            if result.epsilon <= at_epsilon {
                let delta_terms =
                    DeltaTerms { rounding, sampler, masking, cryptography, at_epsilon, remaining };
                let epsilon = Epsilon { delta: self.delta, ..result };
                return Ok(Guarantee { epsilon, delta_terms });
            }
            found = result.epsilon;
        }
    }

    /// A job whose training noise is the smallest that meets a target epsilon in the book, everything
    /// included. The noise multiplier is rounded up to a multiple of 1/1000, so that it can be written
    /// into a plan; the one in `training` is ignored. `others` are the releases with noise of their own.
    ///
    /// # Errors
    /// If a parameter is outside its domain, if the target cannot be met, or if the noise does not fit
    /// into the lanes.
    pub fn calibrate(
        target_epsilon: f64,
        delta: f64,
        others: FixedReleases,
        training: &ReleaseParameters,
        training_releases: u32,
    ) -> Result<Self, DpError> {
        let zero = RdpCurve::zero();
        let fixed = others.rdp()?;
        let (statistics, statistics_releases) = others.statistics.unzip();
        let statistics_releases = statistics_releases.unwrap_or(0);
        let (evaluation, evaluation_releases) = others.evaluation.unzip();
        let evaluation_releases = evaluation_releases.unwrap_or(0);
        let q = training.sampling_rate;
        let z = calibrate(target_epsilon, delta, &fixed, training_releases, q, &zero)?;
        let job = |noise_multiplier: f64| -> Result<Self, DpError> {
            let parameters = ReleaseParameters { noise_multiplier, ..training.clone() };
            let training = Release::derive(&parameters)?;
            let statistics = statistics.clone();
            Ok(Self {
                statistics,
                statistics_releases,
                evaluation: evaluation.clone(),
                evaluation_releases,
                training,
                training_releases,
                delta,
            })
        };
        // Deductions from delta and the discrete correction cost a little more than the ideal.
        let mut thousandths = (z * 1000.0).ceil();
        let mut stride = 1.0;
        loop {
            let candidate = job(thousandths / 1000.0)?;
            match candidate.epsilon() {
                Ok(e) if e.epsilon <= target_epsilon => return Ok(candidate),
                Ok(_) | Err(DpError::DeltaExhausted { .. }) => {}
                Err(other) => return Err(other),
            }
            thousandths += stride;
            stride *= 2.0;
        }
    }

    /// The releases with noise of their own.
    pub fn fixed(&self) -> FixedReleases {
        let of = |release: &Option<Release>, count| release.clone().map(|release| (release, count));
        FixedReleases {
            statistics: of(&self.statistics, self.statistics_releases),
            evaluation: of(&self.evaluation, self.evaluation_releases),
        }
    }

    /// Each kind of release with the number that is charged.
    pub(crate) fn releases(&self) -> impl Iterator<Item = (&Release, u32)> {
        let statistics = self.statistics.iter().map(|r| (r, self.statistics_releases));
        let evaluation = self.evaluation.iter().map(|r| (r, self.evaluation_releases));
        statistics.chain(evaluation).chain([(&self.training, self.training_releases)])
    }

    /// Total variation between the job's real and ideal honest noise: `sum count * h * d * TV`.
    fn sampler_distance(&self, adversary: Adversary) -> Result<f64, DpError> {
        let mut total = 0.0;
        for (release, count) in self.releases() {
            let shares = f64::from(adversary.honest_shares(release));
            let samples = f64::from(count) * shares * release.parameters.dimension as f64;
            total += samples * total_variation_bound(release.sigma_local)?;
        }
        Ok(total * (1.0 + 1e-12))
    }
}

impl FixedReleases {
    /// Renyi curve of all of them.
    ///
    /// # Errors
    /// As [`Release::rdp`].
    pub fn rdp(&self) -> Result<RdpCurve, DpError> {
        let mut total = RdpCurve::zero();
        for (release, count) in [&self.statistics, &self.evaluation].into_iter().flatten() {
            total += &release.rdp()?.times(*count);
        }
        Ok(total)
    }
}
