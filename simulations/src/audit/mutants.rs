//! Broken mechanisms, each as somebody could have written it by mistake. The audit must catch them
//! all; the real code knows none of them.
//!
//! Each calls the node's pipeline and spoils what goes in or comes out.

use rand_core::RngCore as _;
use tributary_dp::{DiscreteGaussian, DpError, SecretRng};
use tributary_job::OperationPlan;
use tributary_secagg::Lanes;
use tributary_training::{Batch, ClippedSum, Rows, Trainer, TrainerError};

use super::bench::COMPANY;
use super::mechanism::{Call, Mechanism, NodePipeline, Seed};
use crate::error::SimulationError;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutant {
    /// One honest node adds no noise.
    ShareMissing,
    /// Every share is divided by the square root of the number of honest nodes once too often.
    SharesTooSmall,
    /// Half the standard deviation.
    HalfSigma,
    /// Gradients are not clipped.
    NoClip,
    /// The sum is divided by the size of the batch that was drawn, not by a constant.
    MeanForSum,
    /// The noise of one round is added in the next one too.
    NoiseReused,
    /// The noise of the first round is added in every round.
    NoiseFrozen,
    /// All nodes draw the same noise.
    NoiseShared,
    /// One draw of noise is added to every coordinate.
    NoiseRepeated,
    /// A batch of fixed size is drawn.
    FixedSize,
    /// Every record is in every batch.
    AlwaysIn,
    /// The sample of the first round is used in every round.
    SampleReused,
    /// Rounding goes down always.
    RoundingDown,
    /// Rounding goes to the nearest integer.
    RoundingToNearest,
}

/// The pipeline with a fault in it.
#[derive(Debug)]
pub struct Broken {
    mutant: Mutant,
    pipeline: NodePipeline,
    weak: Option<(f64, DiscreteGaussian)>,
}

impl Broken {
    /// A pipeline with this fault.
    #[must_use]
    pub fn new(mutant: Mutant) -> Self {
        Self { mutant, pipeline: NodePipeline, weak: None }
    }

    /// With a sampler of another parameter than the plan's.
    fn with_sigma(
        &mut self,
        call: &Call<'_>,
        trainer: &mut dyn Trainer,
        factor: f64,
    ) -> Result<Lanes, SimulationError> {
        let Some(planned) = call.noise else { return self.pipeline.vector(call, trainer) };
        let sigma = (planned.sigma() * factor).max(0.5);
        if self.weak.as_ref().is_none_or(|(held, _)| *held != sigma) {
            self.weak = Some((sigma, DiscreteGaussian::new(sigma).map_err(settings)?));
        }
        let noise = self.weak.as_ref().map(|(_, sampler)| sampler);
        self.pipeline.vector(&Call { noise, ..*call }, trainer)
    }

    /// The vector without noise, made from one seed, and noise from another.
    fn with_noise_from(
        &mut self,
        call: &Call<'_>,
        trainer: &mut dyn Trainer,
        vector: Seed,
        noise: Seed,
        repeat: bool,
    ) -> Result<Lanes, SimulationError> {
        let operation = OperationPlan { release: None, ..call.operation.clone() };
        let bare = Call { operation: &operation, noise: None, seed: vector, ..*call };
        let lanes = self.pipeline.vector(&bare, trainer)?;
        let Some(sampler) = call.noise else { return Ok(lanes) };
        let mut values = operation.from_lanes(&lanes);
        // Another key than the vector's, which began with the sampling.
        let mut rng =
            SecretRng::danger_deterministic(Seed { world: noise.world + 77, ..noise }.key());
        if repeat {
            let once = sampler.sample(&mut rng);
            values.iter_mut().for_each(|v| *v += once);
        } else {
            sampler.add_noise(&mut values, &mut rng);
        }
        Ok(operation.to_lanes(&values))
    }

    /// With a trainer that does something to gradients.
    fn with_trainer(
        &mut self,
        call: &Call<'_>,
        trainer: &mut dyn Trainer,
        fault: Fault,
    ) -> Result<Lanes, SimulationError> {
        self.pipeline.vector(call, &mut Faulty { inner: trainer, fault })
    }
}

impl Mechanism for Broken {
    fn name(&self) -> String {
        format!("a pipeline broken on purpose ({:?})", self.mutant)
    }

    fn vector(
        &mut self,
        call: &Call<'_>,
        trainer: &mut dyn Trainer,
    ) -> Result<Lanes, SimulationError> {
        let seed = call.seed;
        let all = OperationPlan { sampling_rate: 1.0, ..call.operation.clone() };
        let everybody = Call { operation: &all, ..*call };
        let scale = call.operation.scale;
        match self.mutant {
            Mutant::ShareMissing if seed.node == 0 => {
                let operation = OperationPlan { release: None, ..call.operation.clone() };
                let bare = Call { operation: &operation, noise: None, ..*call };
                self.pipeline.vector(&bare, trainer)
            }
            Mutant::ShareMissing => self.pipeline.vector(call, trainer),
            Mutant::SharesTooSmall => {
                let honest = call.operation.release.as_ref().map_or(1, |r| r.honest_survivors);
                self.with_sigma(call, trainer, 1.0 / f64::from(honest).sqrt())
            }
            Mutant::HalfSigma => self.with_sigma(call, trainer, 0.5),
            Mutant::NoClip => self.with_trainer(call, trainer, Fault::NoClip),
            Mutant::MeanForSum => self.with_trainer(call, trainer, Fault::Mean),
            Mutant::NoiseReused => {
                let even = Seed { round: seed.round & !1, ..seed };
                self.with_noise_from(call, trainer, seed, even, false)
            }
            Mutant::NoiseFrozen => {
                self.with_noise_from(call, trainer, seed, Seed { round: 0, ..seed }, false)
            }
            Mutant::NoiseShared => {
                self.with_noise_from(call, trainer, seed, Seed { node: 0, ..seed }, false)
            }
            Mutant::NoiseRepeated => self.with_noise_from(call, trainer, seed, seed, true),
            Mutant::SampleReused => {
                self.with_noise_from(call, trainer, Seed { round: 0, ..seed }, seed, false)
            }
            Mutant::AlwaysIn => self.pipeline.vector(&everybody, trainer),
            Mutant::FixedSize => {
                let size = call.operation.sampling_rate * call.data.len() as f64;
                let key = Seed { world: seed.world + 99, ..seed }.key();
                let fault = Fault::Draw(size.round() as usize, key);
                self.with_trainer(&everybody, trainer, fault)
            }
            Mutant::RoundingDown => {
                self.with_trainer(call, trainer, Fault::Round(scale, f64::floor))
            }
            Mutant::RoundingToNearest => {
                self.with_trainer(call, trainer, Fault::Round(scale, f64::round))
            }
        }
    }
}

fn settings(error: DpError) -> SimulationError {
    SimulationError::Settings(error.to_string())
}

/// What a faulty trainer does.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Clips at a norm that nothing reaches.
    NoClip,
    /// Divides by the batch it was given, and multiplies by what is usual.
    Mean,
    /// Takes so many of the records, drawn with a seed.
    Draw(usize, [u8; 32]),
    /// Rounds the scaled sum.
    Round(f64, fn(f64) -> f64),
}

/// A trainer with a fault. It sees batches of any size whole.
struct Faulty<'a> {
    inner: &'a mut dyn Trainer,
    fault: Fault,
}

impl Trainer for Faulty<'_> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn dimension(&self) -> usize {
        self.inner.dimension()
    }

    fn outputs(&self) -> usize {
        self.inner.outputs()
    }

    fn clipped_gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
        clip_norm: f64,
    ) -> Result<ClippedSum, TrainerError> {
        match self.fault {
            Fault::NoClip => self.inner.clipped_gradient_sum(parameters, batch, 1e30),
            Fault::Mean => {
                let mut clipped = self.inner.clipped_gradient_sum(parameters, batch, clip_norm)?;
                let factor = COMPANY as f64 / batch.len().max(1) as f64;
                clipped.sum.iter_mut().for_each(|s| *s *= factor);
                Ok(clipped)
            }
            Fault::Draw(size, seed) => {
                let (features, labels) = drawn(batch, size, seed);
                let rows = Rows::new(&features, batch.rows().width())?;
                self.inner.clipped_gradient_sum(parameters, &Batch::new(rows, &labels)?, clip_norm)
            }
            Fault::Round(scale, round) => {
                let mut clipped = self.inner.clipped_gradient_sum(parameters, batch, clip_norm)?;
                clipped.sum.iter_mut().for_each(|s| *s = round(*s * scale) / scale);
                Ok(clipped)
            }
        }
    }

    fn gradient_sum(&mut self, p: &[f32], b: &Batch<'_>) -> Result<Vec<f64>, TrainerError> {
        self.inner.gradient_sum(p, b)
    }

    fn predict(&mut self, p: &[f32], f: Rows<'_>) -> Result<Vec<f32>, TrainerError> {
        self.inner.predict(p, f)
    }
}

/// So many records without replacement.
fn drawn(batch: &Batch<'_>, size: usize, seed: [u8; 32]) -> (Vec<f32>, Vec<f32>) {
    let mut rng = SecretRng::danger_deterministic(seed);
    let width = batch.rows().width();
    let mut order: Vec<usize> = (0..batch.len()).collect();
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..size.min(batch.len()) {
        let row = order.swap_remove((rng.next_u64() % order.len() as u64) as usize);
        features.extend_from_slice(&batch.rows().values()[row * width..(row + 1) * width]);
        labels.push(batch.labels()[row]);
    }
    (features, labels)
}
