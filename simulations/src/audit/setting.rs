//! Where an audit takes place: the plan that follows from a job, and records made up within its
//! bounds.
//!
//! Plans are derived from job specifications as every party derives them, never put together by hand.
//! It reads no table: an audit needs no agency's records.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tributary_dp::{DiscreteGaussian, DpError, Release};
use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec, ModelSpec, PrivacyMode, Transform};
use tributary_job::{JobSpec, ModelState, OperationPlan, Plan};
use tributary_training::{Batch, Dataset, Rows, Trainer};

use super::mechanism::{Call, Mechanism, Seed};
use super::records::{Record, norm, table};
use crate::error::SimulationError;
use crate::plan_report::manifest_for;
use crate::trainers::TrainerKind;

/// Standard deviations that an extreme cell lies from the mean: as far as a node lets it.
const EXTREME: f32 = 6.0;

/// Extreme records among which the canary is looked for.
const CANDIDATES: usize = 64;

/// Clip norm of a laboratory, at most: its canaries' gradients have a norm of about 3 and must be
/// clipped. The scale follows from the clip norm, so noise over sensitivity does not depend on it.
const LABORATORY_CLIP: f64 = 1.0;

/// A job to audit.
#[derive(Debug, Clone)]
pub struct Subject {
    job: JobSpec,
    declared: Vec<u64>,
    trainer: TrainerKind,
    release: Release,
}

/// A plan with everything that it takes to make releases.
pub struct Setting {
    /// The training release.
    pub operation: OperationPlan,
    /// The model that gradients are taken at.
    pub state: ModelState,
    /// Noise shares that are summed: one node each.
    pub honest: usize,
    release: Release,
    noise: Option<DiscreteGaussian>,
    trainer: Box<dyn Trainer>,
    data: DataSpec,
    nobody: Dataset,
}

impl Subject {
    /// A job with the records that its agencies declare, in the order of the job.
    ///
    /// # Errors
    /// If no plan follows from the job, or if its mode is not `record`.
    pub fn new(
        job: &JobSpec,
        declared: &[u64],
        trainer: TrainerKind,
    ) -> Result<Self, SimulationError> {
        let settings = |e: &dyn std::fmt::Display| SimulationError::Settings(e.to_string());
        if job.privacy.mode != PrivacyMode::Record {
            let text = "privacy.mode: the audit covers the mode \"record\" only";
            return Err(SimulationError::Settings(text.into()));
        }
        let manifest = manifest_for(job, declared).map_err(|e| settings(&e))?;
        let plan = Plan::derive(&manifest).map_err(|e| settings(&e))?;
        let release = plan.training.release;
        let release = release.ok_or_else(|| settings(&"the training release has no noise"))?;
        Ok(Self { job: job.clone(), declared: declared.to_vec(), trainer, release })
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &JobSpec {
        &self.job
    }

    /// Who computes gradients.
    #[must_use]
    pub fn trainer(&self) -> TrainerKind {
        self.trainer
    }

    /// The training release as the job's plan has it.
    #[must_use]
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The job's model, at a sampling rate and noise multiplier.
    ///
    /// # Errors
    /// If no plan follows.
    pub fn setting(&self, rate: f64, noise_multiplier: f64) -> Result<Setting, SimulationError> {
        Setting::derive(self.job.clone(), &self.declared, self.trainer, rate, noise_multiplier)
    }

    /// A laboratory: logistic regression over so many numeric inputs in place of the job's model, with
    /// the job's cohort and thresholds. Weight i is coordinate i of a vector, and a record in which
    /// only input i is set moves that coordinate and hardly another. `records` is what a node may hold
    /// at least.
    ///
    /// # Errors
    /// If no plan follows.
    pub fn laboratory(
        &self,
        inputs: usize,
        records: usize,
        rate: f64,
        noise_multiplier: f64,
    ) -> Result<Setting, SimulationError> {
        let mut job = self.job.clone();
        let numeric =
            |i| FeatureSpec::numeric(format!("audit-{i}"), -1.0, 1.0, Transform::Identity);
        job.data = DataSpec::new(
            LabelSpec::binary(job.data.label.column.as_str(), "1", "0"),
            (0..inputs).map(numeric).collect(),
        );
        job.model = ModelSpec::Mlp { hidden: Vec::new() };
        job.privacy.clip_norm = job.privacy.clip_norm.min(LABORATORY_CLIP);
        let declared: Vec<u64> = self.declared.iter().map(|n| (*n).max(records as u64)).collect();
        Setting::derive(job, &declared, self.trainer, rate, noise_multiplier)
    }
}

impl Setting {
    fn derive(
        mut job: JobSpec,
        declared: &[u64],
        trainer: TrainerKind,
        rate: f64,
        noise_multiplier: f64,
    ) -> Result<Self, SimulationError> {
        let settings = |e: &dyn std::fmt::Display| SimulationError::Settings(e.to_string());
        // The audit reads the gradient's coordinates alone.
        job.privacy.adaptive_clip = None;
        job.privacy.epsilon = None;
        job.privacy.noise_multiplier = Some(noise_multiplier);
        job.privacy.sampling_rate = rate;
        let manifest = manifest_for(&job, declared).map_err(|e| settings(&e))?;
        let plan = Plan::derive(&manifest).map_err(|e| settings(&e))?;
        let mut state = plan.initial_state(&manifest);
        state.normalisation.inverse_sd.fill(EXTREME);
        let release = plan.training.release.clone();
        let release = release.ok_or_else(|| settings(&"the training release has no noise"))?;
        let model = trainer.make(&job.model, job.data.input_width(), job.data.output_width());
        Ok(Self {
            honest: usize::from(release.honest_survivors),
            noise: Some(release.sampler().map_err(|e| settings(&e))?),
            operation: plan.training,
            state,
            release,
            trainer: model.map_err(SimulationError::Trainer)?,
            nobody: table(&job.data, &[])?,
            data: job.data,
        })
    }

    /// The release that the plan describes.
    #[must_use]
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The accountant's epsilon of one release, against the aggregator with the tolerated colluders.
    ///
    /// # Errors
    /// From the accountant.
    pub fn accountant(&self, delta: f64) -> Result<f64, SimulationError> {
        let refuse = |e: DpError| SimulationError::Settings(e.to_string());
        let curve = self.release.rdp().map_err(refuse)?;
        Ok(tributary_dp::epsilon(&curve, delta).map_err(refuse)?.epsilon)
    }

    /// Standard deviation of the honest nodes' noise in one coordinate, integer units.
    #[must_use]
    pub fn noise_sd(&self) -> f64 {
        self.release.sigma_local * (self.honest as f64).sqrt()
    }

    /// Leaves the noise off, to look at what happens before it.
    #[must_use]
    pub fn without_noise(mut self) -> Self {
        self.operation.release = None;
        self.noise = None;
        self
    }

    /// One release: the sum of the honest nodes' vectors as it would be opened, length d. `nodes` are
    /// the records of the first nodes, the others have none; `seed.node` is set for each.
    ///
    /// # Errors
    /// If the mechanism refuses or gives a vector of another length.
    pub fn release_sum(
        &mut self,
        mechanism: &mut dyn Mechanism,
        nodes: &[Dataset],
        seed: Seed,
    ) -> Result<Vec<i64>, SimulationError> {
        let Self { operation, state, noise, trainer, nobody, .. } = self;
        let mut sum = vec![0_i64; operation.vector_len as usize];
        for node in 0..self.honest {
            let data = nodes.get(node).unwrap_or(nobody);
            let seed = Seed { node: node as u32, ..seed };
            let call = Call { operation, data, state, noise: noise.as_ref(), seed };
            let lanes = mechanism.vector(&call, trainer.as_mut())?;
            if lanes.len() != sum.len() {
                let text = format!("a vector of {} lanes, the plan has {}", lanes.len(), sum.len());
                return Err(SimulationError::Trainer(text));
            }
            sum.iter_mut().zip(operation.from_lanes(&lanes)).for_each(|(s, v)| *s += v);
        }
        Ok(operation.from_lanes(&operation.to_lanes(&sum)))
    }

    /// Records as a node would read them from its table.
    ///
    /// # Errors
    /// If they do not fit the job.
    pub fn dataset(&self, records: &[Record]) -> Result<Dataset, SimulationError> {
        table(&self.data, records)
    }

    /// A record with every cell at a bound of its column, drawn at random.
    pub fn extreme(&self, rng: &mut ChaCha20Rng) -> Record {
        Record::extreme(&self.data, rng)
    }

    /// A record's gradient before clipping, length d.
    ///
    /// # Errors
    /// From the trainer.
    pub fn gradient(&mut self, record: &Record) -> Result<Vec<f64>, SimulationError> {
        let data = self.dataset(std::slice::from_ref(record))?;
        self.over_all(&data, |trainer, parameters, batch| trainer.gradient_sum(parameters, batch))
    }

    /// The clipped gradients of all records, summed, length d, in real units.
    ///
    /// # Errors
    /// From the trainer.
    pub fn clipped_sum(&mut self, data: &Dataset) -> Result<Vec<f64>, SimulationError> {
        let clip = self.operation.clip_norm;
        self.over_all(data, |trainer, parameters, batch| {
            Ok(trainer.clipped_gradient_sum(parameters, batch, clip)?.sum)
        })
    }

    /// The extreme record with the largest gradient among many, and the gradient.
    ///
    /// # Errors
    /// From the trainer.
    pub fn canary(&mut self, rng: &mut ChaCha20Rng) -> Result<(Record, Vec<f64>), SimulationError> {
        let mut best: Option<(f64, Record, Vec<f64>)> = None;
        for _ in 0..CANDIDATES {
            let record = self.extreme(rng);
            let gradient = self.gradient(&record)?;
            let size = norm(&gradient);
            if size.is_finite() && best.as_ref().is_none_or(|(largest, ..)| size > *largest) {
                best = Some((size, record, gradient));
            }
        }
        match best {
            Some((size, record, gradient)) if size > 0.0 => Ok((record, gradient)),
            _ => Err(SimulationError::Settings(
                "no record moves this model: nothing to audit".into(),
            )),
        }
    }

    fn over_all<T>(
        &mut self,
        data: &Dataset,
        compute: impl FnOnce(
            &mut dyn Trainer,
            &[f32],
            &Batch<'_>,
        ) -> Result<T, tributary_training::TrainerError>,
    ) -> Result<T, SimulationError> {
        let failed = |e: tributary_training::TrainerError| SimulationError::Trainer(e.to_string());
        let all: Vec<u32> = (0..data.len() as u32).collect();
        let mut features = Vec::new();
        data.features(&all, &self.state.normalisation, &mut features);
        let labels = data.labels(&all);
        let rows = Rows::new(&features, data.input_width()).map_err(failed)?;
        let batch = Batch::new(rows, &labels).map_err(failed)?;
        compute(self.trainer.as_mut(), &self.state.parameters, &batch).map_err(failed)
    }
}

/// A generator for the audit's own choices, apart from every mechanism's.
#[must_use]
pub fn choices(seed: u64, check: u32) -> ChaCha20Rng {
    let own = Seed { audit: seed, check, world: u32::MAX, round: u64::MAX, node: u32::MAX };
    ChaCha20Rng::from_seed(own.key())
}
