//! The privacy of a whole job: its releases composed, per adversary, with every deduction from delta.
//!
//! It depends on public parameters only: not on who survived, what was sampled or what was released.

mod estimate;
mod job;

use serde::{Deserialize, Serialize};

use crate::accountant::Epsilon;
use crate::mechanism::{NoiseScope, Release};

/// Probability, per job, that the masking graph or its quorums fail against the corrupt nodes that
/// are tolerated (the complete graph never fails; the sparse one is solved for less than this). Such
/// an event does not depend on the data and costs its probability once.
pub const MASKING_FAILURE: f64 = 1.0 / (1_u64 << 40) as f64;

/// Distinguishing advantage granted against AES-256, SHA-2, HKDF, X25519, ML-KEM-768 and Ed25519
/// together, per job. It is paid (1 + e^epsilon) times, like every distance between laws.
pub const CRYPTO_ADVANTAGE: f64 = MASKING_FAILURE / (1_u64 << 24) as f64;

/// Who looks. Every guarantee is stated against each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adversary {
    /// The public sees the sums; every node of the cohort survives.
    Public,
    /// The aggregator alone, with the smallest survivor set that nodes open.
    Aggregator,
    /// The aggregator with the tolerated colluders among the survivors: what the book charges.
    Colluders,
    /// The aggregator and every other node: only the victim's own noise share protects.
    EverybodyElse,
}

impl Adversary {
    /// All four, strongest guarantee first.
    pub const ALL: [Self; 4] =
        [Self::Public, Self::Aggregator, Self::Colluders, Self::EverybodyElse];

    /// Noise shares in the sum that this adversary does not know.
    pub fn honest_shares(self, release: &Release) -> u16 {
        match (release.parameters.noise, self) {
            (NoiseScope::Central, _) | (_, Self::Public) => release.parameters.cohort,
            (_, Self::Aggregator) => release.parameters.min_survivors,
            (_, Self::Colluders) => release.honest_survivors,
            (_, Self::EverybodyElse) => 1,
        }
    }

    /// Whether the guarantee rests on secure aggregation: not where the sum is all that is seen, not
    /// where everybody else has given up their masks, and not where the book counts on the unit's own
    /// node alone.
    pub fn relies_on_masking(self, noise: NoiseScope) -> bool {
        match self {
            Self::Aggregator => noise != NoiseScope::Central,
            Self::Colluders => noise == NoiseScope::Distributed,
            Self::Public | Self::EverybodyElse => false,
        }
    }
}

/// Releases of a job: at most one of statistics, and training releases of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobPrivacy {
    /// One statistics release; absent if there is none.
    pub statistics: Option<Release>,
    /// Statistics releases that may be charged: the one round and its retries, 0 without one.
    pub statistics_releases: u32,
    /// One evaluation release on held-out units; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Release>,
    /// Evaluation releases that may be charged, 0 without one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub evaluation_releases: u32,
    /// One training release.
    pub training: Release,
    /// Training releases that may be charged: rounds and retries.
    pub training_releases: u32,
    /// Target delta of the whole job.
    pub delta: f64,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Releases whose noise is given, beside the training releases whose noise is looked for: each kind with
/// how many may be charged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FixedReleases {
    /// Statistics.
    pub statistics: Option<(Release, u32)>,
    /// Evaluation.
    pub evaluation: Option<(Release, u32)>,
}

/// What is deducted from delta before the conversion; the parts sum to at most delta.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeltaTerms {
    /// Failure probability of a probabilistic sensitivity bound, once a release: 0 in wide encoding.
    pub rounding: f64,
    /// `(1 + e^epsilon) * sum over releases of h * d * TV` of the sampler.
    pub sampler: f64,
    /// Data-independent failure of the masking protocol.
    pub masking: f64,
    /// `(1 + e^epsilon)` times the cryptographic advantage.
    pub cryptography: f64,
    /// Epsilon at which the factor `1 + e^epsilon` was taken; not below the guarantee's epsilon.
    pub at_epsilon: f64,
    /// What is left for the conversion: delta'.
    pub remaining: f64,
}

/// A guarantee of the whole job against one adversary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guarantee {
    /// Epsilon at the job's full delta.
    pub epsilon: Epsilon,
    /// How delta was spent.
    pub delta_terms: DeltaTerms,
}

#[cfg(test)]
pub(crate) mod tests;
