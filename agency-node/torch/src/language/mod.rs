//! [`Trainer`] for text on libtorch.
//!
//! [`LanguageTrainer`] learns the next token with a decoder, [`ClassifierTrainer`] a text's label with
//! adapters on a frozen encoder; `unit_sums.rs` has what both share with pictures.
//!
//! Parameters travel from the flat slice at every call; nothing survives between calls. Memory depends
//! on the job's `microbatch` and not on the batch.

mod checkpoint;
mod classifier;
mod texts;
mod windows;

use tch::{Kind, Tensor, no_grad};
use tributary_job::ParameterLayout;
use tributary_job::plan::MAX_WINDOWS_PER_NODE;
use tributary_job::spec::{ModelSpec, NormKind};
use tributary_training::trainer::check_call;
use tributary_training::{Batch, ClippedSum, Rows, TokenLosses, Trainer, TrainerError};

use crate::private::models::{Decoder, decoder};
use crate::private::nn::{AttentionOptions, BlockOptions};
use crate::private::{Network, Parameters, PrivateError, Tape};
use crate::unit_sums::{Core, Inputs as _};
use crate::{NAME, failed};
pub use classifier::ClassifierTrainer;
use windows::Windows;

/// Trains decoders, on the CPU, with one thread.
#[derive(Debug)]
pub struct LanguageTrainer {
    core: Core<Scaled>,
    context: usize,
    tokens: usize,
}

/// A decoder whose loss is divided by the context's length, so that neither learning rates nor clip
/// norms depend on it.
#[derive(Debug)]
struct Scaled {
    decoder: Decoder,
    context: f64,
}

impl Network for Scaled {
    fn losses(&self, tape: &mut Tape<'_>, inputs: &[Tensor]) -> Result<Tensor, PrivateError> {
        Ok(self.decoder.losses(tape, inputs)?.f_div_scalar(self.context)?)
    }
}

impl LanguageTrainer {
    /// A trainer for a decoder over windows of `inputs` tokens (the last only a label) and a
    /// vocabulary of `outputs`.
    ///
    /// # Errors
    /// Another family of models, a network that does not fit the job's layout, or a failure of
    /// libtorch.
    pub fn new(model: &ModelSpec, inputs: usize, outputs: usize) -> Result<Self, TrainerError> {
        crate::one_thread();
        let ModelSpec::Decoder { layers, width, heads, hidden, norm, rotary_base, microbatch } =
            model
        else {
            let what = "train as a language model";
            return Err(TrainerError::Unsupported { trainer: NAME, what });
        };
        let attention = AttentionOptions {
            width: i64::from(*width),
            heads: i64::from(*heads),
            causal: true,
            bias: false,
            rotary_base: Some(*rotary_base),
        };
        let options = BlockOptions {
            attention,
            hidden: i64::from(*hidden),
            gated: true,
            rms: *norm == NormKind::Rms,
            eps: NormKind::EPSILON,
        };
        let mut parameters = Parameters::new(Kind::Float, 0);
        let network = decoder(&mut parameters, outputs as i64, *layers as usize, options);
        let network = network.map_err(failed)?;
        let context = inputs.saturating_sub(1).max(1);
        let core = Core {
            network: Scaled { decoder: network, context: context as f64 },
            parameters,
            microbatch: *microbatch as usize,
            shape: format!("{model:?} {inputs} {outputs}"),
            // The embedding is used twice.
            terms: 2 * context,
            most_units: MAX_WINDOWS_PER_NODE,
        };
        core.check_layout(&ParameterLayout::of(model, inputs, outputs))?;
        Ok(Self { core, context, tokens: outputs })
    }

    /// What the network says after each token: logits `[rows, context, tokens]`, row major.
    ///
    /// # Errors
    /// As [`Trainer::predict`].
    pub fn logits(&mut self, parameters: &[f32], rows: Rows<'_>) -> Result<Vec<f32>, TrainerError> {
        self.begin(parameters, rows)?;
        let labels = vec![0.0; rows.len()];
        let windows = Windows::of(&Batch::new(rows, &labels)?, self.tokens);
        let mut out = Vec::new();
        for start in (0..windows.len()).step_by(self.core.microbatch) {
            let end = windows.len().min(start + self.core.microbatch);
            let rows = windows.rows(start, end, end - start).map_err(|e| failed(e.into()))?;
            let mut tape = Tape::plain(&self.core.parameters);
            let logits = no_grad(|| self.core.network.decoder.logits(&mut tape, &rows.tensors[0]));
            let logits = logits.map_err(failed)?;
            out.extend(crate::network::to_f32(&logits).map_err(|e| failed(e.into()))?);
        }
        Ok(out)
    }

    /// Checks a call and takes its parameters over.
    fn begin(&mut self, parameters: &[f32], rows: Rows<'_>) -> Result<(), TrainerError> {
        check_call(self.core.parameters.dimension(), self.context + 1, parameters, rows)?;
        self.core.parameters.set_flat(parameters).map_err(failed)
    }

    fn losses(&self, windows: &Windows) -> Result<TokenLosses, PrivateError> {
        let mut total = TokenLosses::default();
        for start in (0..windows.len()).step_by(self.core.microbatch) {
            let end = windows.len().min(start + self.core.microbatch);
            let rows = windows.rows(start, end, end - start)?;
            let [tokens, targets] = &rows.tensors;
            let mut tape = Tape::plain(&self.core.parameters);
            let (nats, right) = no_grad(|| -> Result<_, PrivateError> {
                let logits = self.core.network.decoder.logits(&mut tape, tokens)?;
                let nats = crate::private::nn::cross_entropy(&logits, targets)?;
                let right = logits.f_argmax(-1, false)?.f_eq_tensor(targets)?;
                Ok((nats.f_sum(Kind::Double)?, right.f_sum(Kind::Int64)?))
            })?;
            total.nats += nats.f_double_value(&[])?;
            total.right += right.f_int64_value(&[])?.unsigned_abs();
            total.tokens += rows.targets as u64;
        }
        Ok(total)
    }
}

impl Trainer for LanguageTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn dimension(&self) -> usize {
        self.core.parameters.dimension()
    }

    fn outputs(&self) -> usize {
        self.tokens
    }

    fn clipped_gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
        clip_norm: f64,
    ) -> Result<ClippedSum, TrainerError> {
        self.begin(parameters, batch.rows())?;
        let windows = Windows::of(batch, self.tokens);
        let probe = || windows::unlike(self.context, self.tokens);
        self.core.clipped(&windows, clip_norm, probe)
    }

    fn gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
    ) -> Result<Vec<f64>, TrainerError> {
        self.begin(parameters, batch.rows())?;
        let windows = Windows::of(batch, self.tokens);
        self.core.plain(&windows)
    }

    fn predict(&mut self, _: &[f32], _: Rows<'_>) -> Result<Vec<f32>, TrainerError> {
        Err(TrainerError::Unsupported { trainer: NAME, what: "predict a label" })
    }

    fn token_losses(
        &mut self,
        parameters: &[f32],
        windows: Rows<'_>,
    ) -> Result<TokenLosses, TrainerError> {
        self.begin(parameters, windows)?;
        let labels = vec![0.0; windows.len()];
        let windows = Windows::of(&Batch::new(windows, &labels)?, self.tokens);
        self.losses(&windows).map_err(failed)
    }
}

#[cfg(test)]
mod classifier_tests;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
