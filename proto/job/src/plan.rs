//! What follows from a manifest: thresholds, mechanism, noise and cost of every round.
//!
//! Node, aggregator, simulator and auditor derive the same plan from the same manifest; nobody
//! sends it and nobody believes another's. The hash of a round's parameters goes into the context
//! that keys its masks, so parties with different plans cannot even add up.

mod evaluations;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tributary_dp::{
    DpError, Epsilon, FixedReleases, JobPrivacy, PlainRelease, Release, ReleaseParameters,
    Rotation, Unit,
};
use tributary_ledger::canonical_json;
use tributary_secagg::{
    Digest, LaneBits, Lanes, MAX_STEPS_AHEAD, ParameterError, Roster, Thresholds, VerifyingKey,
};

pub use evaluations::{Choice, EvaluationPoint};

use crate::evaluation::{RECORD_NORM, Rules};
use crate::history::Evaluations;
use crate::layout::ParameterLayout;
use crate::manifest::{JobHash, Manifest, ManifestError};
use crate::scaffold;
use crate::schedule::Schedule;
use crate::spec::{JobSpec, LocalSpec, PrivacyMode, SecureAggregationSpec};
use crate::state::ModelState;

/// Most records one node may hold for a job: the cap behind [`FLOAT_ERROR`].
pub const MAX_RECORDS_PER_NODE: u64 = 1 << 20;

/// Most windows of text that one node may hold for a job. A window's gradient is a sum over its
/// positions whose terms may cancel, so the bound on rounding allows for fewer of them.
pub const MAX_WINDOWS_PER_NODE: u64 = 1 << 17;

/// Most parameters of a model: one gigabyte of f32, and far below what a u32 index counts.
pub const MAX_PARAMETERS: u64 = 1 << 28;

/// Bound eta on how much rounding of a node's sum can widen one record's influence, relative to
/// the clip norm. Per-record gradients are exact inputs here; their weighted sum of at most
/// m = 2^20 terms is taken in f64, whose error is at most gamma_m * sum |x_i| <= gamma_m * m * C on
/// either of two neighbouring inputs (Higham, Accuracy and Stability, section 4.2), so
/// eta = 2 m gamma_m with gamma_m = m u / (1 - m u) and u = 2^-53: 2.44e-4, rounded up.
pub const FLOAT_ERROR: f64 = 2.5e-4;

/// What a secure round computes. The byte goes into the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Means and variances of the numeric features.
    Statistics,
    /// One step of training.
    Training,
    /// Counts and losses on held-out records.
    Evaluation,
}

/// Everything public about one kind of round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperationPlan {
    /// The kind.
    pub operation: Operation,
    /// Coordinates of a vector.
    pub vector_len: u32,
    /// L2 bound of one record's contribution.
    pub clip_norm: f64,
    /// Integer units per real unit.
    pub scale: f64,
    /// Integer units per unit counted in the last coordinate; absent without adaptive clipping. A
    /// round's clip norm is then `clip_norm` times the state's factor, and its scale `scale` over it.
    pub count_scale: Option<f64>,
    /// Bound of a node's coordinate before noise, in integer units.
    pub clamp: i64,
    /// Bits of a lane of the vectors: the sum over all nodes fits, whatever the data.
    pub lane_bits: u8,
    /// Most records a node has declared: the clamp and the lanes fit so many. Without noise a node
    /// leaves out what is above.
    pub max_records: u64,
    /// Poisson sampling rate of units.
    pub sampling_rate: f64,
    /// Share of the units that is held out: training leaves them out, evaluation takes them alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub holdout: f64,
    /// What is clipped as one: a record, a person's records, or the agency's whole contribution.
    pub unit: Unit,
    /// How an agency trains between rounds, where its whole change of the model travels.
    pub local: Option<LocalSpec>,
    /// With SCAFFOLD, the steps K that every agency takes in a round; absent without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_steps: Option<u32>,
    /// The private release; absent in mode `none`.
    pub release: Option<Release>,
    /// In compact encoding, what the rotations of all rounds follow from: the job's hash, which the
    /// context covers already.
    #[serde(skip)]
    pub rotation_key: Option<[u8; 32]>,
}

fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

/// The plan of a job.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Identity of the job.
    pub job: JobHash,
    /// Members and thresholds.
    pub roster: Arc<Roster>,
    /// The model's parameters.
    pub layout: ParameterLayout,
    /// Standardised features.
    pub numeric_features: usize,
    /// The statistics round; absent if no feature is standardised.
    pub statistics: Option<OperationPlan>,
    /// Training rounds.
    pub training: OperationPlan,
    /// Rounds that measure, the last one among them; absent unless the job asks for it.
    pub evaluation: Option<OperationPlan>,
    /// Which round computes what, if none is left out at the end.
    pub schedule: Schedule,
    /// What follows from the evaluations; absent unless the job evaluates on the way.
    pub rules: Option<Rules>,
    /// Number of secure rounds in all; fewer run where the job stops early.
    pub rounds: u32,
    /// Training attempts that may be charged: rounds and the spare ones. Attempts of the statistics
    /// and the evaluation rounds are charged apart: up to `max_attempts` and `evaluation_attempts`.
    pub attempts: u32,
    /// Attempts of evaluation rounds that may be charged.
    pub evaluation_attempts: u32,
    /// Attempts one round may take.
    pub max_attempts: u16,
    /// The constant that a sum is divided by: B = sum of q N_i for gradients, n for the changes of
    /// models after local training.
    pub batch: f64,
    /// Accounting of the whole job; absent in mode `none`.
    pub privacy: Option<JobPrivacy>,
}

/// Why no plan follows from a manifest.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The manifest itself.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The thresholds.
    #[error("secure_aggregation: {0}")]
    Thresholds(#[from] ParameterError),
    /// The privacy parameters.
    #[error("privacy: {0}")]
    Privacy(#[from] DpError),
    /// A signing key is not 32 bytes of hex.
    #[error("manifest: signing key of {0} is not 64 hex digits")]
    Key(String),
    /// The size of the job.
    #[error("{0}")]
    Size(String),
}

impl Operation {
    /// The byte in the context.
    pub fn code(self) -> u8 {
        match self {
            Self::Statistics => 1,
            Self::Training => 2,
            Self::Evaluation => 3,
        }
    }
}

impl OperationPlan {
    /// Width of a lane.
    #[must_use]
    pub fn lanes(&self) -> LaneBits {
        LaneBits::new(self.lane_bits).unwrap_or(LaneBits::FULL)
    }

    /// Clip norm of a round of training that starts from `state`.
    #[must_use]
    pub fn clip_norm_at(&self, state: &ModelState) -> f64 {
        self.clip_norm * state.clip_factor()
    }

    /// Integer units per real unit in a round that starts from `state`: what a clipped unit weighs
    /// in integers, and so the sensitivity, is the same in every round.
    #[must_use]
    pub fn scale_at(&self, state: &ModelState) -> f64 {
        match self.operation {
            Operation::Statistics | Operation::Evaluation => self.scale,
            Operation::Training => self.scale / state.clip_factor(),
        }
    }

    /// The rotation of a round (counted from 0), another one each time: in compact encoding the vector is
    /// turned before it is rounded, and the sum turned back. A count at the end is left alone.
    #[must_use]
    pub fn rotation(&self, round: u32) -> Option<Rotation> {
        let key = self.rotation_key?;
        let turned = (self.vector_len as usize).saturating_sub(self.count_scale.map_or(0, |_| 1));
        let seed = tributary_secagg::hash("tributary/rotation/v1", &[&key, &round.to_le_bytes()]);
        Some(Rotation::new(turned, seed.0))
    }

    /// With SCAFFOLD, K times the agencies' learning rate in a 0-based round of training: how far a
    /// mean gradient of one takes a model. Products alone, so that every party has the same bits.
    #[must_use]
    pub fn local_distance(&self, training_round: u32) -> Option<f64> {
        let (steps, local) = (self.local_steps?, self.local?);
        Some(scaffold::distance(steps, &local, training_round))
    }

    /// Signed integers as lanes of a vector.
    #[must_use]
    pub fn to_lanes(&self, values: &[i64]) -> Lanes {
        if self.lanes().is_narrow() {
            tributary_dp::to_narrow_lanes(values).into()
        } else {
            tributary_dp::to_lanes(values).into()
        }
    }

    /// The signed integers in the lanes of a sum.
    #[must_use]
    pub fn from_lanes(&self, sum: &Lanes) -> Vec<i64> {
        match sum {
            Lanes::Narrow(words) => tributary_dp::from_narrow_lanes(words, self.lane_bits),
            Lanes::Wide(words) => tributary_dp::from_lanes(words, self.lane_bits),
        }
    }

    /// A published sum as it is stored: packed lanes.
    #[must_use]
    pub fn pack(&self, sum: &Lanes) -> Vec<u8> {
        sum.pack(self.lanes())
    }

    /// Reads what [`Self::pack`] wrote; `None` if it is not a vector of this length.
    #[must_use]
    pub fn unpack(&self, bytes: &[u8]) -> Option<Lanes> {
        Lanes::unpack(self.lanes(), self.vector_len as usize, bytes)
    }
}

impl Plan {
    /// Derives the plan.
    ///
    /// # Errors
    /// When the manifest is out of bounds or its numbers do not fit together; the message names
    /// the section of the specification to change.
    pub fn derive(manifest: &Manifest) -> Result<Self, PlanError> {
        manifest.validate()?;
        let spec = &manifest.spec;
        let thresholds = thresholds(manifest.roster.len(), spec)?;
        check_size(spec)?;
        let layout =
            ParameterLayout::of(&spec.model, spec.data.input_width(), spec.data.output_width());
        let numeric_features = spec.data.numeric_count();
        let most = max_records_per_node(spec);
        if let Some(r) = manifest.roster.iter().find(|r| r.declared_records > most) {
            return Err(PlanError::Size(format!(
                "{} declares {} records; at most {most} are supported",
                r.agency, r.declared_records
            )));
        }
        let attempts = spec.training.rounds + spec.secure_aggregation.spare_attempts;
        let total: u64 = manifest.roster.iter().map(|r| r.declared_records).sum();
        let fit = 1.0 - spec.evaluation.map_or(0.0, |e| e.holdout);
        let batch = match spec.training.local {
            Some(_) => f64::from(thresholds.n),
            None => spec.privacy.sampling_rate * total as f64 * fit,
        };
        let adaptive = spec.privacy.adaptive_clip;
        let dimensions = Dimensions {
            training: layout.total() + usize::from(adaptive.is_some()),
            statistics: numeric_features * 3,
            evaluation: spec.evaluation.map_or(0, |e| e.vector_len()),
            count_noise: adaptive.map(|rule| rule.count_noise.unwrap_or(batch / 20.0)),
        };
        let max_attempts = spec.secure_aggregation.max_attempts;
        // A node's key chains are hashed forward from the beginning of an epoch, and no further.
        let schedule = Schedule::of(spec);
        let others = 1 + u64::from(schedule.evaluations.max(1));
        let steps = (u64::from(spec.training.rounds) + others) * u64::from(max_attempts);
        if steps > MAX_STEPS_AHEAD {
            return Err(PlanError::Size(format!(
                "training.rounds: {} rounds of up to {max_attempts} attempts are {steps} steps; at \
                 most {MAX_STEPS_AHEAD} are possible in one job",
                spec.training.rounds
            )));
        }
        let spare = spec.secure_aggregation.spare_attempts;
        let evaluation_attempts = schedule.evaluation_attempts(max_attempts, spare);
        let counts = Counts {
            training: attempts,
            statistics: u32::from(max_attempts),
            evaluation: evaluation_attempts,
        };
        let declared = manifest.roster.iter().map(|r| r.declared_records);
        let max_records = declared.max().unwrap_or(1).max(1);
        let mut kinds = releases(spec, thresholds, dimensions, counts, max_records)?;
        let rules =
            kinds.evaluation.as_ref().and_then(|e| evaluations::rules(spec, e, thresholds.n));
        let job = manifest.hash()?;
        kinds.training.rotation_key = spec.privacy.compact.map(|_| job.0);
        let each = spec.privacy.sampling_rate * fit * total as f64 / f64::from(thresholds.n);
        let controlled = spec.training.local.filter(|local| local.scaffold);
        kinds.training.local_steps = controlled.map(|local| scaffold::steps(&local, each));
        Ok(Self {
            job,
            roster: roster(manifest, thresholds)?,
            numeric_features,
            rounds: schedule.rounds(),
            schedule,
            rules,
            attempts,
            evaluation_attempts,
            max_attempts,
            batch,
            layout,
            statistics: kinds.statistics,
            training: kinds.training,
            evaluation: kinds.evaluation,
            privacy: kinds.privacy,
        })
    }

    /// What a secure round (counted from 0) computes; `None` past the last. Whether the job has stopped
    /// before is known to its state alone: see [`Plan::next`].
    pub fn operation(&self, round: u32) -> Option<&OperationPlan> {
        match self.schedule.operation(round)? {
            Operation::Statistics => self.statistics.as_ref(),
            Operation::Training => Some(&self.training),
            Operation::Evaluation => self.evaluation.as_ref(),
        }
    }

    /// What the next round after this state computes; `None` if the job is over, because no round is left
    /// or because its evaluations stopped it.
    #[must_use]
    pub fn next(&self, state: &ModelState) -> Option<&OperationPlan> {
        if self.stops(state) { None } else { self.operation(state.completed) }
    }

    /// The state every party starts from.
    pub fn initial_state(&self, manifest: &Manifest) -> ModelState {
        let training = &manifest.spec.training;
        let mut state = ModelState::initial(&self.layout, self.numeric_features, training.seed)
            .with_control(training);
        state.evaluations = self.rules.map(|_| Evaluations::default());
        match &training.server {
            Some(rule) => {
                ModelState { second_moment: Some(rule.initial(self.layout.total())), ..state }
            }
            None => state.with_optimiser(training.optimiser),
        }
    }

    /// The next state from a round's sum (signed integers, length as planned) over the vectors of so
    /// many `survivors`.
    ///
    /// # Errors
    /// If the job is over or the length is wrong.
    pub fn apply(
        &self,
        manifest: &Manifest,
        state: &ModelState,
        sum: &[i64],
        survivors: usize,
    ) -> Result<ModelState, PlanError> {
        let Some(operation) = self.next(state) else {
            return Err(PlanError::Size("the job has no further round".into()));
        };
        if sum.len() != operation.vector_len as usize {
            return Err(PlanError::Size(format!(
                "a sum of {} coordinates, expected {}",
                sum.len(),
                operation.vector_len
            )));
        }
        let mut next = state.clone();
        match operation.operation {
            Operation::Statistics => next.apply_statistics(sum, operation.scale),
            // It measures the model and leaves it as it is.
            Operation::Evaluation => {
                next.completed += 1;
                self.note_evaluation(&mut next, sum);
            }
            Operation::Training => {
                let round = self.schedule.trained_in(state.completed);
                let training = &manifest.spec.training;
                let scale = operation.scale_at(state);
                if let Some(rotation) = operation.rotation(state.completed) {
                    let mut turned: Vec<f64> = sum.iter().map(|v| *v as f64).collect();
                    rotation.inverse(&mut turned);
                    next.apply_training(training, round, turned.into_iter(), scale, self.batch);
                } else {
                    let exact = sum.iter().map(|v| *v as f64);
                    next.apply_training(training, round, exact, scale, self.batch);
                }
                let distance = operation.local_distance(round);
                if let (Some(distance), Some(control)) = (distance, &mut next.control) {
                    let exact = sum.iter().map(|v| *v as f64);
                    let divisor = scale * distance * self.batch;
                    scaffold::step(control, exact, divisor, survivors as f64 / self.batch);
                }
                let counted = operation.count_scale.zip(sum.last());
                if let (Some((unit, count)), Some(rule)) =
                    (counted, &manifest.spec.privacy.adaptive_clip)
                {
                    next.adapt_clip(rule, *count as f64 / unit, self.batch);
                }
            }
        }
        Ok(next)
    }

    /// Epsilon of the whole job if every attempt is used; `None` without noise.
    ///
    /// # Errors
    /// From the accountant.
    pub fn epsilon(&self) -> Result<Option<Epsilon>, PlanError> {
        Ok(self.privacy.as_ref().map(JobPrivacy::epsilon).transpose()?)
    }

    /// Hash of everything that a round's masks are bound to besides model and cohort.
    ///
    /// # Errors
    /// If the plan cannot be written as JSON.
    pub fn params_hash(&self, operation: &OperationPlan) -> Result<Digest, PlanError> {
        let t = self.roster.thresholds;
        let mut parameters = serde_json::json!({
            "operation": operation,
            "thresholds": [t.n, t.corrupt, t.quorum, t.shamir_t, t.u_min, t.degree],
            "batch": self.batch,
        });
        if let (Some(rules), Some(parameters)) = (&self.rules, parameters.as_object_mut()) {
            let evaluations = serde_json::json!({ "schedule": self.schedule, "rules": rules });
            parameters.insert("evaluations".into(), evaluations);
        }
        let text = canonical_json(&parameters).map_err(ManifestError::from)?;
        Ok(tributary_secagg::hash("tributary/params/v1", &[text.as_bytes()]))
    }
}

struct Dimensions {
    training: usize,
    statistics: usize,
    evaluation: usize,
    count_noise: Option<f64>,
}

/// Releases of each kind that are charged in advance.
#[derive(Clone, Copy)]
struct Counts {
    training: u32,
    statistics: u32,
    evaluation: u32,
}

struct Kinds {
    statistics: Option<OperationPlan>,
    training: OperationPlan,
    evaluation: Option<OperationPlan>,
    privacy: Option<JobPrivacy>,
}

/// Most records that one node may hold for a job.
pub fn max_records_per_node(spec: &JobSpec) -> u64 {
    if spec.data.text.is_some() { MAX_WINDOWS_PER_NODE } else { MAX_RECORDS_PER_NODE }
}

/// Refuses a model that is too large, before anything of its size is made.
fn check_size(spec: &JobSpec) -> Result<(), PlanError> {
    let inputs = spec.data.input_width();
    match spec.model.parameters(inputs, spec.data.output_width()) {
        Some(total) if total <= MAX_PARAMETERS => Ok(()),
        total => {
            let total = total.map_or("more than 2^64".to_owned(), |t| t.to_string());
            Err(PlanError::Size(format!(
                "model: {total} parameters over {inputs} inputs; at most {MAX_PARAMETERS} are \
                 supported: make the model narrower"
            )))
        }
    }
}

/// A dimension as the number of lanes of a vector.
fn lanes(dimension: usize) -> Result<u32, PlanError> {
    u32::try_from(dimension)
        .map_err(|_| PlanError::Size(format!("a vector of {dimension} coordinates is too long")))
}

fn thresholds(n: usize, job: &JobSpec) -> Result<Thresholds, PlanError> {
    let n = u16::try_from(n).map_err(|_| PlanError::Size("too many agencies".into()))?;
    let spec: &SecureAggregationSpec = &job.secure_aggregation;
    if job.privacy.mode == PrivacyMode::Central {
        // The yardstick's noise is made of all shares.
        return Ok(Thresholds::solve(n, spec.corrupt_fraction, 0.0, n)?);
    }
    Ok(Thresholds::solve(n, spec.corrupt_fraction, spec.dropout_fraction, spec.min_survivors)?)
}

fn roster(manifest: &Manifest, thresholds: Thresholds) -> Result<Arc<Roster>, PlanError> {
    let key = |who: &str, text: &str| {
        VerifyingKey::from_hex(text).map_err(|_| PlanError::Key(who.to_owned()))
    };
    let members = manifest
        .roster
        .iter()
        .map(|r| key(&r.agency, &r.signing_key))
        .collect::<Result<Vec<_>, _>>()?;
    let aggregator = key("the aggregator", &manifest.aggregator_key)?;
    let roster = Roster::new(Digest(manifest.hash()?.0), members, aggregator, thresholds)?;
    Ok(Arc::new(roster))
}

/// Derives both kinds of release. A target epsilon covers all attempts of the statistics round and
/// all training attempts, the spare ones included.
fn releases(
    spec: &JobSpec,
    thresholds: Thresholds,
    dimensions: Dimensions,
    counts: Counts,
    max_records: u64,
) -> Result<Kinds, PlanError> {
    let (privacy, unit) = (&spec.privacy, spec.unit());
    let holdout = spec.evaluation.map_or(0.0, |e| e.holdout);
    let shape = Shape { unit, local: spec.training.local, max_records, holdout };
    // A record contributes (present, u, u^2) per numeric feature with |u| <= 1; a person or an
    // agency is clipped to, or averages to, the same norm.
    let statistics_clip = (dimensions.statistics as f64).sqrt();
    let parameters = |dimension, clip_norm, noise_multiplier, sampling_rate| ReleaseParameters {
        clip_norm,
        dimension,
        noise_multiplier,
        sampling_rate,
        cohort: thresholds.n,
        min_survivors: thresholds.u_min,
        colluders: thresholds.corrupt.max(1),
        float_error: FLOAT_ERROR,
        max_units_per_node: if unit == Unit::Silo { 1 } else { max_records },
        noise: privacy.mode.noise(),
        count_noise: None,
        compact: None,
    };
    if !privacy.mode.is_private() {
        let without = |operation, dimension, clip, rate| {
            without_noise(operation, dimension, clip, rate, thresholds.n, &shape)
        };
        return Ok(Kinds {
            statistics: (dimensions.statistics > 0)
                .then(|| {
                    without(Operation::Statistics, dimensions.statistics, statistics_clip, 1.0)
                })
                .transpose()?,
            training: without(
                Operation::Training,
                dimensions.training,
                privacy.clip_norm,
                privacy.sampling_rate,
            )?,
            evaluation: (dimensions.evaluation > 0)
                .then(|| without(Operation::Evaluation, dimensions.evaluation, RECORD_NORM, 1.0))
                .transpose()?,
            privacy: None,
        });
    }
    let statistics = (dimensions.statistics > 0)
        .then(|| {
            let z = privacy.statistics_noise_multiplier;
            Release::derive(&parameters(dimensions.statistics, statistics_clip, z, 1.0))
        })
        .transpose()?;
    let evaluation = spec
        .evaluation
        .map(|e| Release::derive(&parameters(e.vector_len(), RECORD_NORM, e.noise_multiplier, 1.0)))
        .transpose()?;
    let (clip, rate) = (privacy.clip_norm, privacy.sampling_rate);
    let wanted = |z| ReleaseParameters {
        count_noise: dimensions.count_noise,
        compact: privacy.compact,
        ..parameters(dimensions.training, clip, z, rate)
    };
    let of = |release: &Option<Release>, count| release.as_ref().map_or(0, |_| count);
    let statistics_releases = of(&statistics, counts.statistics);
    let evaluation_releases = of(&evaluation, counts.evaluation);
    let job = match (privacy.noise_multiplier, privacy.epsilon) {
        (Some(z), _) => JobPrivacy {
            statistics,
            statistics_releases,
            evaluation,
            evaluation_releases,
            training: Release::derive(&wanted(z))?,
            training_releases: counts.training,
            delta: privacy.delta,
        },
        (None, Some(target)) => {
            let others = FixedReleases {
                statistics: statistics.map(|release| (release, statistics_releases)),
                evaluation: evaluation.map(|release| (release, evaluation_releases)),
            };
            JobPrivacy::calibrate(target, privacy.delta, others, &wanted(1.0), counts.training)?
        }
        (None, None) => {
            return Err(PlanError::Size("privacy: epsilon or noise_multiplier is missing".into()));
        }
    };
    let kind = |operation, r: &Release| with_noise(operation, r.clone(), &shape);
    Ok(Kinds {
        statistics: job.statistics.as_ref().map(|r| kind(Operation::Statistics, r)).transpose()?,
        training: kind(Operation::Training, &job.training)?,
        evaluation: job.evaluation.as_ref().map(|r| kind(Operation::Evaluation, r)).transpose()?,
        privacy: Some(job),
    })
}

/// What an operation has besides its release.
struct Shape {
    unit: Unit,
    local: Option<LocalSpec>,
    max_records: u64,
    holdout: f64,
}

impl Shape {
    fn holdout(&self, operation: Operation) -> f64 {
        if operation == Operation::Statistics { 0.0 } else { self.holdout }
    }

    fn local(&self, operation: Operation) -> Option<LocalSpec> {
        self.local.filter(|_| operation == Operation::Training)
    }
}

fn with_noise(
    operation: Operation,
    release: Release,
    shape: &Shape,
) -> Result<OperationPlan, PlanError> {
    let p = &release.parameters;
    Ok(OperationPlan {
        operation,
        vector_len: lanes(p.dimension)?,
        clip_norm: p.clip_norm,
        scale: release.scale,
        count_scale: release.count_scale,
        clamp: release.clamp,
        lane_bits: release.lane_bits,
        max_records: shape.max_records,
        sampling_rate: p.sampling_rate,
        unit: shape.unit,
        holdout: shape.holdout(operation),
        local: shape.local(operation),
        release: Some(release),
        rotation_key: None,
        local_steps: None,
    })
}

fn without_noise(
    operation: Operation,
    dimension: usize,
    clip_norm: f64,
    sampling_rate: f64,
    cohort: u16,
    shape: &Shape,
) -> Result<OperationPlan, PlanError> {
    let local = shape.local(operation);
    let units = if local.is_some() { 1 } else { shape.max_records };
    let plain = PlainRelease::derive_capped(clip_norm, dimension, cohort, units)?;
    Ok(OperationPlan {
        operation,
        vector_len: lanes(dimension)?,
        clip_norm,
        scale: plain.scale,
        count_scale: None,
        clamp: plain.clamp,
        lane_bits: plain.lane_bits,
        max_records: shape.max_records,
        sampling_rate,
        unit: if local.is_some() { Unit::Silo } else { shape.unit },
        holdout: shape.holdout(operation),
        local,
        release: None,
        rotation_key: None,
        local_steps: None,
    })
}

#[cfg(test)]
pub(crate) mod tests;
