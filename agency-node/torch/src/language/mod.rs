//! [`Trainer`] for language models on libtorch.
//!
//! Two ways to a clipped sum, chosen by what a unit is:
//!
//! * **Units are windows**: ghost clipping with book-keeping over microbatches of one fixed shape
//!   ([`crate::private`]). A window's bits must not depend on the other windows of its microbatch nor
//!   on its place among them. libtorch promises neither, so this machine is tried once for every
//!   network ([`independence`]); where it does not hold, windows are computed one by one, which makes
//!   it true.
//! * **Units are persons**: each person's gradient by itself, in microbatches of that person's windows
//!   alone, so that no other person is ever in the same tensor. It is one ordinary backward pass and
//!   costs what training without privacy costs.
//!
//! Parameters travel from the flat slice at every call; nothing survives between calls. Memory depends
//! on the job's `microbatch` and not on the batch.

mod sums;
mod windows;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tch::{Kind, Tensor, no_grad};
use tributary_job::ParameterLayout;
use tributary_job::plan::{FLOAT_ERROR, MAX_WINDOWS_PER_NODE};
use tributary_job::spec::{ModelSpec, NormKind};
use tributary_training::clipping::{ClipNorm, Weighting};
use tributary_training::trainer::check_call;
use tributary_training::{Batch, ClippedSum, Rows, TokenLosses, Trainer, TrainerError};

use crate::private::models::{Decoder, decoder};
use crate::private::nn::{AttentionOptions, BlockOptions};
use crate::private::{
    Network, Parameters, PrivateError, Settings, Tape, float_error, independence,
};
use windows::Windows;

const NAME: &str = "torch";

/// Trains decoders, on the CPU, with one thread.
#[derive(Debug)]
pub struct LanguageTrainer {
    network: Scaled,
    parameters: Parameters,
    /// Names what was probed.
    shape: String,
    context: usize,
    tokens: usize,
    microbatch: usize,
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
        check_layout(&parameters, &ParameterLayout::of(model, inputs, outputs))?;
        let context = inputs.saturating_sub(1).max(1);
        Ok(Self {
            network: Scaled { decoder: network, context: context as f64 },
            parameters,
            shape: format!("{model:?} {inputs} {outputs}"),
            context,
            tokens: outputs,
            microbatch: *microbatch as usize,
        })
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
        for start in (0..windows.len()).step_by(self.microbatch) {
            let rows = windows.slice(start, self.microbatch).map_err(|e| failed(e.into()))?;
            let mut tape = Tape::plain(&self.parameters);
            let logits = no_grad(|| self.network.decoder.logits(&mut tape, &rows.tensors[0]));
            let logits = logits.map_err(failed)?;
            out.extend(crate::network::to_f32(&logits).map_err(|e| failed(e.into()))?);
        }
        Ok(out)
    }

    /// Checks a call and takes its parameters over.
    fn begin(&mut self, parameters: &[f32], rows: Rows<'_>) -> Result<(), TrainerError> {
        check_call(self.parameters.dimension(), self.context + 1, parameters, rows)?;
        self.parameters.set_flat(parameters).map_err(failed)
    }

    /// Windows computed at a time where each is a unit: the job's, or one where this machine's kernels
    /// would let windows see each other.
    fn private_microbatch(&self) -> Result<usize, TrainerError> {
        static FOUND: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(microbatch) = found.get(&self.shape) {
            return Ok(*microbatch);
        }
        let microbatch = match self.microbatch {
            1 => 1,
            many => {
                let rows = windows::unlike(self.context, self.tokens)?;
                let seen = independence(&self.network, &self.parameters, &rows, many);
                let seen = seen.map_err(failed)?;
                if seen.of_company && seen.of_place { many } else { 1 }
            }
        };
        found.insert(self.shape.clone(), microbatch);
        Ok(microbatch)
    }

    fn clip(&self, windows: &Windows, clip_norm: f64) -> Result<ClippedSum, TrainerError> {
        let weighting = Weighting::Clip(ClipNorm::new(clip_norm)?);
        if windows.units().is_some() {
            return sums::by_person(self, windows, weighting).map_err(failed);
        }
        let settings = settings(clip_norm, self.private_microbatch()?, self.context);
        sums::by_window(self, windows, weighting, &settings).map_err(failed)
    }

    fn losses(&self, windows: &Windows) -> Result<TokenLosses, PrivateError> {
        let mut total = TokenLosses::default();
        for start in (0..windows.len()).step_by(self.microbatch) {
            let rows = windows.slice(start, self.microbatch)?;
            let [tokens, targets] = &rows.tensors;
            let mut tape = Tape::plain(&self.parameters);
            let (nats, right) = no_grad(|| -> Result<_, PrivateError> {
                let logits = self.network.decoder.logits(&mut tape, tokens)?;
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

/// With the least slack that keeps the rounding of sums within what every plan allows for: a window's
/// gradient is summed from `2 context` terms an entry (the embedding is used twice).
fn settings(clip_norm: f64, microbatch: usize, context: usize) -> Settings {
    let whole = Settings { magnitude_slack: 1.0, ..Settings::rows(clip_norm, microbatch) };
    let error = float_error(MAX_WINDOWS_PER_NODE as usize, 2 * context, &whole);
    let slack = (error / FLOAT_ERROR * (1.0 + 1e-9)).max(Settings::MAGNITUDE_SLACK);
    Settings { magnitude_slack: slack, ..whole }
}

/// The network's parameters must be those that the job lays out, in that order.
fn check_layout(parameters: &Parameters, layout: &ParameterLayout) -> Result<(), TrainerError> {
    let ours = parameters.trainable().map(|(_, name, value)| (name, value.size()));
    let theirs = layout.tensors().iter().map(|tensor| {
        let shape = tensor.shape.iter().map(|size| *size as i64).collect();
        (tensor.name.as_str(), shape)
    });
    if ours.eq(theirs) {
        return Ok(());
    }
    let message = "the network's tensors are not those of the job's layout".into();
    Err(TrainerError::Backend { trainer: NAME, message })
}

impl Trainer for LanguageTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn dimension(&self) -> usize {
        self.parameters.dimension()
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
        self.clip(&windows, clip_norm)
    }

    fn gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
    ) -> Result<Vec<f64>, TrainerError> {
        self.begin(parameters, batch.rows())?;
        let windows = Windows::of(batch, self.tokens);
        let sum = sums::plain(self, &windows).map_err(failed)?;
        match sum.iter().all(|v| v.is_finite()) && !windows.any_bad() {
            true => Ok(sum),
            false => Err(TrainerError::NonFinite),
        }
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

fn failed(error: PrivateError) -> TrainerError {
    match error {
        PrivateError::Clip(error) => error,
        other => TrainerError::Backend { trainer: NAME, message: other.to_string() },
    }
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
