//! Builds a statement from the job's public parameters.

use super::words;
use super::{
    AdversaryClaim, Claims, Identification, Mode, PrivacyStatement, ReleaseClaim, ReleaseKind,
    STATEMENT_FORMAT, SamplerClaim, Unit,
};
use crate::accountant::{ACCOUNTANT_NAME, ACCOUNTANT_VERSION, orders};
use crate::budget::{Adversary, JobPrivacy};
use crate::error::DpError;
use crate::mechanism::{NoiseScope, Release};
use crate::noise::total_variation_bound;

impl PrivacyStatement {
    /// The statement of a private job.
    ///
    /// # Errors
    /// If the accountant refuses the job's parameters.
    pub fn for_job(job: &JobPrivacy, about: Identification) -> Result<Self, DpError> {
        let mut statement = Self::for_plain_job(about);
        let (unit, noise) = (statement.about.unit, job.training.parameters.noise);
        statement.mode = Mode::of(unit, noise);
        statement.adjacency = words::adjacency(unit).to_owned();
        statement.claims = Some(Claims::of(job, unit)?);
        statement.not_covered = owned(&words::NOT_COVERED);
        statement.trust = owned(&words::trust(noise));
        Ok(statement)
    }

    /// The statement of a job in mode `none`: that there is no differential privacy, in words.
    pub fn for_plain_job(about: Identification) -> Self {
        Self {
            format: STATEMENT_FORMAT,
            software: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            mode: Mode::None,
            about,
            adjacency: words::adjacency(Unit::Record).to_owned(),
            claims: None,
            not_covered: owned(&words::NONE_NOT_COVERED),
            trust: owned(&words::trust(NoiseScope::Distributed)),
            cryptography: owned(&words::CRYPTOGRAPHY),
        }
    }
}

impl Claims {
    fn of(job: &JobPrivacy, unit: Unit) -> Result<Self, DpError> {
        let book = job.epsilon()?;
        let adversaries = Adversary::ALL
            .into_iter()
            .map(|a| AdversaryClaim::of(job, a))
            .collect::<Result<_, _>>()?;
        let mut releases = Vec::new();
        if let Some(statistics) = &job.statistics {
            let count = job.statistics_releases;
            releases.push(ReleaseClaim::of(ReleaseKind::Statistics, count, statistics)?);
        }
        if let Some(evaluation) = &job.evaluation {
            let count = job.evaluation_releases;
            releases.push(ReleaseClaim::of(ReleaseKind::Evaluation, count, evaluation)?);
        }
        let (kind, count) = (ReleaseKind::Training, job.training_releases);
        releases.push(ReleaseClaim::of(kind, count, &job.training)?);
        Ok(Self {
            epsilon: book.epsilon,
            delta: book.delta,
            order: book.order,
            nature: words::BOUND.to_owned(),
            accountant: format!("{ACCOUNTANT_NAME} {ACCOUNTANT_VERSION}"),
            orders: orders().to_vec(),
            rdp: job.rdp()?,
            adversaries,
            releases,
            sampling: words::sampling(unit).to_owned(),
            mechanism: words::mechanism(&job.training.parameters),
            floating_point: words::FLOATING_POINT.to_owned(),
        })
    }
}

impl AdversaryClaim {
    fn of(job: &JobPrivacy, adversary: Adversary) -> Result<Self, DpError> {
        let guarantee = match job.guarantee(adversary) {
            Ok(guarantee) => Some(guarantee),
            Err(DpError::DeltaExhausted { .. }) => None,
            Err(other) => return Err(other),
        };
        let honest_shares = adversary.honest_shares(&job.training);
        Ok(Self { adversary, honest_shares, guarantee, pld_estimate: None })
    }
}

impl ReleaseClaim {
    fn of(kind: ReleaseKind, count: u32, release: &Release) -> Result<Self, DpError> {
        let total_variation = total_variation_bound(release.sigma_local)?;
        let sampler = SamplerClaim { name: words::SAMPLER.to_owned(), total_variation };
        Ok(Self { kind, count, release: release.clone(), sampler })
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}
