//! [`Trainer`] for pictures on libtorch: convolutional networks over the points of a table's rows.
//!
//! Parameters travel from the flat slice at every call; nothing survives between calls. Memory depends
//! on the job's `microbatch` and not on the batch.

mod points;

use tch::{Kind, Tensor, no_grad};
use tributary_job::ParameterLayout;
use tributary_job::plan::MAX_RECORDS_PER_NODE;
use tributary_job::spec::{CnnShape, ModelSpec};
use tributary_training::trainer::check_call;
use tributary_training::{Batch, ClippedSum, Rows, Trainer, TrainerError};

use crate::private::convolutional::{Convolutional, ConvolutionalOptions};
use crate::private::{Parameters, PrivateError, Tape, by_gram};
use crate::unit_sums::Core;
use crate::{NAME, failed};
use points::{Points, padded, unlike};

/// Trains convolutional networks, on the CPU, with one thread.
#[derive(Debug)]
pub struct PictureTrainer {
    core: Core<Convolutional>,
    inputs: usize,
    outputs: usize,
}

impl PictureTrainer {
    /// A trainer for a network over pictures of `inputs` values with `outputs` logits.
    ///
    /// # Errors
    /// Another family of models, pictures of another size, or a failure of libtorch.
    pub fn new(model: &ModelSpec, inputs: usize, outputs: usize) -> Result<Self, TrainerError> {
        crate::one_thread();
        let ModelSpec::Cnn { image, channels, kernel, pool, microbatch } = model else {
            let what = "learn from pictures";
            return Err(TrainerError::Unsupported { trainer: NAME, what });
        };
        if image.values() != inputs as u64 {
            let expected = usize::try_from(image.values()).unwrap_or(usize::MAX);
            return Err(TrainerError::FeatureWidth { expected, found: inputs });
        }
        let shape = CnnShape::of(*image, channels, *kernel, *pool)
            .map_err(|e| TrainerError::Backend { trainer: NAME, message: e.to_string() })?;
        let options = ConvolutionalOptions {
            image: [image.height, image.width, image.channels].map(i64::from),
            kernel: i64::from(*kernel),
            pool: i64::from(*pool),
            outputs: outputs as i64,
        };
        let mut parameters = Parameters::new(Kind::Float, 0);
        let network = Convolutional::new(&mut parameters, &shape, options).map_err(failed)?;
        let core = Core {
            network,
            parameters,
            microbatch: *microbatch as usize,
            shape: format!("{model:?} {inputs} {outputs}"),
            terms: terms(&shape, *kernel),
            most_units: MAX_RECORDS_PER_NODE,
        };
        core.check_layout(&ParameterLayout::of(model, inputs, outputs))?;
        Ok(Self { core, inputs, outputs })
    }

    /// Checks a call and takes its parameters over.
    fn begin(&mut self, parameters: &[f32], rows: Rows<'_>) -> Result<(), TrainerError> {
        check_call(self.core.parameters.dimension(), self.inputs, parameters, rows)?;
        self.core.parameters.set_flat(parameters).map_err(failed)
    }

    /// Probabilities of some rows, filled up to the one shape that every call has, so that no kernel
    /// sees how many there are.
    fn probabilities(&self, rows: &[f32]) -> Result<Vec<f32>, PrivateError> {
        let rows = padded(rows.to_vec(), self.inputs, self.core.microbatch)?;
        let mut tape = Tape::plain(&self.core.parameters);
        let probabilities = no_grad(|| -> Result<Tensor, PrivateError> {
            let logits = self.core.network.logits(&mut tape, &rows)?;
            Ok(match self.outputs {
                1 => logits.f_sigmoid()?,
                _ => logits.f_softmax(-1, Kind::Float)?,
            })
        })?;
        Ok(crate::network::to_f32(&probabilities)?)
    }
}

/// Terms that an entry of a picture's gradient is summed from in the sum over pictures: the positions of
/// a convolution whose gradients are never made by themselves, one where they are.
fn terms(shape: &CnnShape, kernel: u32) -> usize {
    let by_gram = shape.blocks.iter().filter(|block| {
        let (positions, patch) = (block.positions() as i64, block.patch(kernel) as i64);
        by_gram(positions, block.filters as i64, patch)
    });
    by_gram.map(|block| block.positions() as usize).max().unwrap_or(1)
}

impl Trainer for PictureTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn dimension(&self) -> usize {
        self.core.parameters.dimension()
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn clipped_gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
        clip_norm: f64,
    ) -> Result<ClippedSum, TrainerError> {
        self.begin(parameters, batch.rows())?;
        let probe = || unlike(self.inputs, self.outputs);
        self.core.clipped(&Points::of(batch, self.outputs), clip_norm, probe)
    }

    fn gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
    ) -> Result<Vec<f64>, TrainerError> {
        self.begin(parameters, batch.rows())?;
        self.core.plain(&Points::of(batch, self.outputs))
    }

    fn predict(
        &mut self,
        parameters: &[f32],
        features: Rows<'_>,
    ) -> Result<Vec<f32>, TrainerError> {
        self.begin(parameters, features)?;
        let mut out = Vec::with_capacity(features.len() * self.outputs);
        for rows in features.values().chunks(self.core.microbatch * self.inputs) {
            let mut part = self.probabilities(rows).map_err(failed)?;
            part.truncate(rows.len() / self.inputs * self.outputs);
            out.extend(part);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
