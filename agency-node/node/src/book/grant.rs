//! What a job may cost, and what it is granted: kinds of releases, how many of each, and what one
//! of them costs at the account's order.
//!
//! Knows plans by their public numbers; no account and no entry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_dp::{
    Adversary, CRYPTO_ADVANTAGE, DpError, JobPrivacy, MASKING_FAILURE, RdpCurve, ReleaseParameters,
};
use tributary_job::Operation;

use super::limits::BudgetLimit;
use super::unit::ProtectedUnit;

/// What is released. Every one of them is a function of records and pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseKind {
    /// A sum of clipped gradients or updates.
    Training,
    /// Sums for normalisation.
    Statistics,
    /// A model's quality on records that were held back.
    Evaluation,
    /// Any other number about records.
    Metrics,
    /// An audit of the mechanism on real records.
    Audit,
}

/// Whether a job's releases were all fixed before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanKind {
    /// Numbers and noise of all releases are fixed: each kind has one price, and the job's own
    /// statement may take the best order of its whole curve.
    Static,
    /// Later releases depend on earlier results: prices come one by one and are summed at the one
    /// order that the account committed to beforehand (Feldman and Zrnic 2021); no other order may
    /// be chosen afterwards, for the statement either.
    Adaptive,
}

/// What a job deducts from delta besides its noise.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeltaCost {
    /// Probabilities of failure: of masking, and beta of a probabilistic sensitivity bound.
    pub additive: f64,
    /// Distance between real and ideal laws: total variation of the sampler over all releases, and
    /// the cryptographic advantage. Paid `1 + e^epsilon` times.
    pub distance: f64,
}

/// Releases of one kind that a job plans.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedReleases {
    /// Renyi curve of one release; for an adaptive plan, of the dearest.
    pub curve: RdpCurve,
    /// How many there are at most, every repeated attempt included.
    pub count: u32,
    /// How many of them are spare attempts.
    pub spare: u32,
    /// What the curve follows from, to say which noise would fit.
    pub parameters: Option<ReleaseParameters>,
}

/// What a job may cost at most.
#[derive(Debug, Clone, PartialEq)]
pub struct JobCost {
    /// The whole cost of an adaptive plan; `None` for a static one, whose cost is the sum of its
    /// releases.
    pub adaptive: Option<RdpCurve>,
    /// Whose presence the job hides.
    pub unit: ProtectedUnit,
    /// Its releases.
    pub releases: BTreeMap<ReleaseKind, PlannedReleases>,
    /// Deductions from delta.
    pub delta: DeltaCost,
    /// The job's own statement, at the best order of its curve; for a static plan only.
    pub stated: Option<Stated>,
}

/// An (epsilon, delta) statement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// Epsilon.
    pub epsilon: f64,
    /// Delta.
    pub delta: f64,
    /// The order at which it was found.
    pub order: u32,
}

/// Releases of one kind that are granted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// How many.
    pub releases: u32,
    /// What one costs at the account's order: exactly (static) or at most (adaptive).
    pub each: f64,
}

/// What an account grants a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// How its releases are priced.
    pub plan: PlanKind,
    /// Whose presence the job hides.
    pub unit: ProtectedUnit,
    /// Renyi divergence in all, at the account's order.
    pub rdp: f64,
    /// By kind.
    pub lines: BTreeMap<ReleaseKind, Line>,
    /// Deductions from delta.
    pub delta: DeltaCost,
    /// What the job alone comes to, for comparison with its privacy statement.
    pub stated: Option<Stated>,
}

impl From<Operation> for ReleaseKind {
    fn from(operation: Operation) -> Self {
        // Exhaustive on purpose: an operation without a kind could not be charged.
        match operation {
            Operation::Statistics => Self::Statistics,
            Operation::Training => Self::Training,
            Operation::Evaluation => Self::Evaluation,
        }
    }
}

impl std::fmt::Display for ReleaseKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::Statistics => "statistics",
            Self::Evaluation => "evaluation",
            Self::Metrics => "metrics",
            Self::Audit => "audit",
        })
    }
}

impl DeltaCost {
    /// Of a job of which nothing more is known: masking and cryptography.
    pub const JOB: Self = Self { additive: MASKING_FAILURE, distance: CRYPTO_ADVANTAGE };

    /// The sum, rounded up.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let additive = round_up(self.additive + other.additive);
        Self { additive, distance: round_up(self.distance + other.distance) }
    }

    fn is_valid(&self) -> bool {
        let valid = |v: f64| v.is_finite() && v >= 0.0;
        valid(self.additive) && valid(self.distance)
    }
}

impl JobCost {
    /// What a planned job may cost: a static plan. `spare` is how many of its training releases are
    /// spare attempts.
    ///
    /// # Errors
    /// From the accountant.
    pub fn of(privacy: &JobPrivacy, unit: ProtectedUnit, spare: u32) -> Result<Self, DpError> {
        let planned = |release: &tributary_dp::Release, count, spare| {
            let parameters = Some(release.parameters.clone());
            Ok::<_, DpError>(PlannedReleases { curve: release.rdp()?, count, spare, parameters })
        };
        let training = planned(&privacy.training, privacy.training_releases, spare)?;
        let mut releases = BTreeMap::from([(ReleaseKind::Training, training)]);
        if let Some(statistics) = &privacy.statistics {
            let count = privacy.statistics_releases;
            let planned = planned(statistics, count, count.saturating_sub(1))?;
            releases.insert(ReleaseKind::Statistics, planned);
        }
        if let Some(evaluation) = &privacy.evaluation {
            let count = privacy.evaluation_releases;
            // How many of them are spare is asked of training alone.
            let planned = planned(evaluation, count, count.saturating_sub(1))?;
            releases.insert(ReleaseKind::Evaluation, planned);
        }
        let guarantee = privacy.guarantee(Adversary::Colluders)?;
        let terms = guarantee.delta_terms;
        // What the guarantee pays at the job's own epsilon, before the factor 1 + e^epsilon.
        let distance = (terms.sampler + terms.cryptography) / (1.0 + terms.at_epsilon.exp());
        let additive = terms.rounding + terms.masking;
        let up = |v: f64| v * (1.0 + 1e-9);
        let e = guarantee.epsilon;
        let stated = Stated { epsilon: e.epsilon, delta: e.delta, order: e.order };
        Ok(Self {
            adaptive: None,
            unit,
            releases,
            delta: DeltaCost { additive: up(additive), distance: up(distance) },
            stated: Some(stated),
        })
    }

    /// The grant at an account's order; `None` if a number is not finite or the order is unknown.
    pub(super) fn grant(&self, limit: &BudgetLimit) -> Option<Grant> {
        let mut lines = BTreeMap::new();
        for (kind, planned) in &self.releases {
            let each = planned.curve.at(limit.order)?;
            lines.insert(*kind, Line { releases: planned.count, each });
        }
        let sum = total(lines.values().map(|line| (line.each, line.releases)));
        let (plan, rdp, stated) = match &self.adaptive {
            None => (PlanKind::Static, sum, self.stated),
            Some(most) => {
                let rdp = most.at(limit.order)?;
                let (epsilon, delta) = (limit.epsilon_at(rdp), limit.delta);
                let stated = Stated { epsilon, delta, order: limit.order };
                (PlanKind::Adaptive, rdp, Some(stated))
            }
        };
        let grant = Grant { plan, unit: self.unit, rdp, lines, delta: self.delta, stated };
        grant.is_valid().then_some(grant)
    }
}

impl Grant {
    /// What version 0.1 reserved: prices came with the charges, and sums were compared with a
    /// tolerance.
    pub(super) fn of_v1(rdp: f64, lines: [(ReleaseKind, u32); 2]) -> Self {
        let rdp = rdp * (1.0 + 1e-9);
        Self {
            plan: PlanKind::Adaptive,
            unit: ProtectedUnit::Record,
            rdp,
            lines: lines.map(|(kind, releases)| (kind, Line { releases, each: rdp })).into(),
            delta: DeltaCost::JOB,
            stated: None,
        }
    }

    /// Whether its numbers can be, and a static one holds all its releases.
    pub(super) fn is_valid(&self) -> bool {
        let valid = |v: f64| v.is_finite() && v > 0.0;
        let lines = self.lines.values();
        let holds = self.plan == PlanKind::Adaptive
            || self.rdp >= total(lines.clone().map(|l| (l.each, l.releases)));
        valid(self.rdp) && self.delta.is_valid() && holds && lines.clone().all(|l| valid(l.each))
    }
}

/// Sum of price times number, rounded up. Never less for fewer of one kind.
pub(super) fn total(parts: impl Iterator<Item = (f64, u32)>) -> f64 {
    parts.fold(0.0, |sum, (each, count)| round_up(sum + round_up(each * f64::from(count))))
}

pub(super) fn round_up(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.next_up() }
}
