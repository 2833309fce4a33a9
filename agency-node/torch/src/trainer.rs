//! [`Trainer`] on libtorch.
//!
//! Parameters travel from the flat slice at every call, so that nothing survives between calls.

use tch::{TchError, Tensor, no_grad};
use tributary_job::ParameterLayout;
use tributary_job::spec::ModelSpec;
use tributary_training::clipping::{ClipNorm, Weighting};
use tributary_training::mlp::MlpShape;
use tributary_training::trainer::check_call;
use tributary_training::units::weights;
use tributary_training::{Batch, ClippedSum, MICROBATCH, Rows, Trainer, TrainerError, softmax};

use crate::NAME;
use crate::linear::{padded_rows, padded_width};
use crate::network::{Network, to_f32};
use crate::probe;

/// The libtorch trainer, on the CPU, with one thread.
///
/// The first one made sets libtorch to one thread for the whole process: its OpenMP workers spin
/// when threads outnumber cores, so parallelism comes from many trainers and not from within one.
#[derive(Debug, Clone)]
pub struct TorchTrainer {
    shape: MlpShape,
}

impl TorchTrainer {
    /// A trainer for a model from `inputs` features to `outputs` logits, after a check on this
    /// machine that a record's place in a microbatch does not change its bits.
    ///
    /// # Errors
    /// [`TrainerError::PlaceDependent`] if the check fails: use the reference trainer there.
    /// [`TrainerError::Backend`] if libtorch fails.
    pub fn new(model: &ModelSpec, inputs: usize, outputs: usize) -> Result<Self, TrainerError> {
        crate::one_thread();
        let shape = MlpShape::of(model, inputs, outputs);
        let parameters = ParameterLayout::of(model, inputs, outputs).initial_parameters(1);
        let network = Network::new(&shape, &parameters).map_err(failed)?;
        match probe::rows_are_independent(&network, inputs).map_err(failed)? {
            true => Ok(Self { shape }),
            false => Err(TrainerError::PlaceDependent { trainer: NAME }),
        }
    }

    fn weighted_sum(
        &self,
        parameters: &[f32],
        batch: &Batch<'_>,
        weighting: Weighting,
    ) -> Result<ClippedSum, TrainerError> {
        check_call(self.shape.dimension(), self.shape.inputs(), parameters, batch.rows())?;
        let mut total = ClippedSum::zeros(self.shape.dimension());
        let network = Network::new(&self.shape, parameters).map_err(failed)?;
        for part in batch.microbatches() {
            Self::add(&network, &part, weighting, &mut total).map_err(failed)?;
        }
        Ok(total)
    }

    fn add(
        network: &Network,
        part: &Batch<'_>,
        weighting: Weighting,
        total: &mut ClippedSum,
    ) -> Result<(), TchError> {
        let tape = network.record(&upload(part.rows())?, &part.padded_labels())?;
        let weights =
            weights(part, weighting, &tape.squared_norms()?, |unit| tape.squared_sum(&unit))?;
        total.non_finite += weights.non_finite;
        total.within += weights.within;
        tape.add_weighted_sums(&weights.rows, &mut total.sum)
    }

    fn probabilities(&self, network: &Network, rows: Rows<'_>) -> Result<Vec<f32>, TchError> {
        let outputs = self.shape.outputs();
        let logits = no_grad(|| network.forward(&upload(rows)?))?;
        let mut out = if outputs == 1 {
            to_f32(&logits.f_sigmoid()?)?
        } else {
            let mut values = to_f32(&logits)?;
            values.chunks_exact_mut(outputs).for_each(softmax::softmax);
            values
        };
        out.truncate(rows.len() * outputs);
        Ok(out)
    }
}

impl Trainer for TorchTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn dimension(&self) -> usize {
        self.shape.dimension()
    }

    fn outputs(&self) -> usize {
        self.shape.outputs()
    }

    fn clipped_gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
        clip_norm: f64,
    ) -> Result<ClippedSum, TrainerError> {
        self.weighted_sum(parameters, batch, Weighting::Clip(ClipNorm::new(clip_norm)?))
    }

    fn gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
    ) -> Result<Vec<f64>, TrainerError> {
        let total = self.weighted_sum(parameters, batch, Weighting::Plain)?;
        if total.non_finite > 0 {
            return Err(TrainerError::NonFinite);
        }
        Ok(total.sum)
    }

    fn predict(
        &mut self,
        parameters: &[f32],
        features: Rows<'_>,
    ) -> Result<Vec<f32>, TrainerError> {
        check_call(self.shape.dimension(), self.shape.inputs(), parameters, features)?;
        let network = Network::new(&self.shape, parameters).map_err(failed)?;
        let mut out = Vec::with_capacity(features.len() * self.shape.outputs());
        for part in features.microbatches() {
            out.extend(self.probabilities(&network, part).map_err(failed)?);
        }
        Ok(out)
    }
}

/// One microbatch as a tensor of the fixed shape `[MICROBATCH, padded width]`.
pub(crate) fn upload(rows: Rows<'_>) -> Result<Tensor, TchError> {
    let values = padded_rows(rows.values(), rows.width(), MICROBATCH);
    Tensor::f_from_slice(&values)?.f_view([MICROBATCH as i64, padded_width(rows.width()) as i64])
}

fn failed(error: TchError) -> TrainerError {
    TrainerError::Backend { trainer: NAME, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        tributary_training::conformance::suite(&|model, inputs, outputs| {
            Box::new(TorchTrainer::new(model, inputs, outputs).unwrap())
        });
    }
}
