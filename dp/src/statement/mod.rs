//! The privacy statement of a job: everything a sceptic needs to recompute the numbers.
//!
//! It is built from public parameters alone. What it claims can be recomputed by anybody with
//! [`PrivacyStatement::verify`]; nothing in it is typed in by hand except who it is about.

mod build;
mod estimate;
mod text;
mod verify;
mod words;

use serde::{Deserialize, Serialize};

use crate::accountant::RdpCurve;
use crate::budget::{Adversary, Guarantee};
use crate::mechanism::{NoiseScope, Release};

/// Version of the statement's layout.
pub const STATEMENT_FORMAT: u32 = 1;

/// What the job promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Distributed noise; differential privacy for one record.
    Record,
    /// Distributed noise; differential privacy for all of a person's records in a silo.
    Person,
    /// Every node adds the whole noise; for one record, or for a person.
    RecordLocal,
    /// Distributed noise; differential privacy for the whole contribution of an agency.
    Silo,
    /// As if a trusted aggregator added the noise. Simulations only.
    Central,
    /// Secure aggregation only: no differential privacy.
    None,
}

/// Whose presence is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// One record.
    Record,
    /// All records of a person in one silo, summed before clipping.
    Person,
    /// Everything that one agency contributes to a round.
    Silo,
}

impl Mode {
    /// The mode of a private job with this unit and noise.
    pub fn of(unit: Unit, noise: NoiseScope) -> Self {
        match (noise, unit) {
            (NoiseScope::Central, _) => Self::Central,
            (NoiseScope::Local, _) => Self::RecordLocal,
            (NoiseScope::Distributed, Unit::Record) => Self::Record,
            (NoiseScope::Distributed, Unit::Person) => Self::Person,
            (NoiseScope::Distributed, Unit::Silo) => Self::Silo,
        }
    }
}

/// Which kind of release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseKind {
    /// Sums for normalisation: one round, charged once for each attempt it may take.
    Statistics,
    /// Sums of clipped gradients.
    Training,
    /// Counts and losses on held-out units: one round, charged once for each attempt it may take.
    Evaluation,
}

/// What a statement is about; not derived, carried along.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identification {
    /// Whose presence is hidden.
    pub unit: Unit,
    /// Hash of the job's manifest, hexadecimal.
    pub job_hash: Option<String>,
    /// Head of the budget book that was charged, hexadecimal.
    pub book_hash: Option<String>,
    /// Lower bound on epsilon that an audit of the real pipeline measured.
    pub audit_lower_bound: Option<f64>,
}

/// A privacy statement (`privacy-statement.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyStatement {
    /// Layout version, [`STATEMENT_FORMAT`].
    pub format: u32,
    /// Software that wrote it, name and version.
    pub software: String,
    /// What the job promises.
    pub mode: Mode,
    /// What it is about.
    pub about: Identification,
    /// Neighbouring data sets.
    pub adjacency: String,
    /// The guarantee and all that leads to it; absent in mode `none`.
    pub claims: Option<Claims>,
    /// What the guarantee says nothing about.
    pub not_covered: Vec<String>,
    /// Who is trusted with what.
    pub trust: Vec<String>,
    /// Cryptographic assumptions.
    pub cryptography: Vec<String>,
}

/// The guarantee of a private job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Epsilon in the book: against the aggregator with the tolerated colluders.
    pub epsilon: f64,
    /// Delta of the whole job.
    pub delta: f64,
    /// Renyi order that gave epsilon.
    pub order: u32,
    /// "bound": proven from above. An "estimate" is never written here.
    pub nature: String,
    /// Accountant, name and version.
    pub accountant: String,
    /// Renyi orders of `rdp`.
    pub orders: Vec<u32>,
    /// Renyi curve of the whole job, in the book's case.
    pub rdp: RdpCurve,
    /// The four adversaries.
    pub adversaries: Vec<AdversaryClaim>,
    /// Every kind of release with its number and all its parameters.
    pub releases: Vec<ReleaseClaim>,
    /// How units are sampled.
    pub sampling: String,
    /// The mechanism in words.
    pub mechanism: String,
    /// Why floating point does not break the sensitivity.
    pub floating_point: String,
}

/// What holds against one adversary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdversaryClaim {
    /// Who looks.
    pub adversary: Adversary,
    /// Noise shares of a training release that this adversary does not know.
    pub honest_shares: u16,
    /// The guarantee; absent if the deductions from delta leave none to state.
    pub guarantee: Option<Guarantee>,
    /// Numerical ESTIMATE of epsilon by privacy-loss distributions, below the bound; not a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pld_estimate: Option<f64>,
}

/// One kind of release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseClaim {
    /// Which kind.
    pub kind: ReleaseKind,
    /// How many are charged, retries included.
    pub count: u32,
    /// All parameters and what is derived from them.
    pub release: Release,
    /// The noise sampler.
    pub sampler: SamplerClaim,
}

/// The noise sampler of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerClaim {
    /// What it is.
    pub name: String,
    /// Bound on the total variation distance of one sample from the discrete Gaussian.
    pub total_variation: f64,
}

#[cfg(test)]
mod tests;
