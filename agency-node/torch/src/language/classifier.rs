//! [`Trainer`] for texts with labels: adapters and a head on a frozen encoder.
//!
//! The base is a file that the job names by its hash; it is read once, checked, and shared by all
//! trainers of the process. What is trained, and so what travels, is what the job's layout lists: the
//! adapters (Hu et al. 2022, "LoRA") and the head.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tch::{Kind, Tensor, no_grad};
use tributary_job::ParameterLayout;
use tributary_job::plan::MAX_WINDOWS_PER_NODE;
use tributary_job::spec::{LoraTarget, ModelSpec};
use tributary_training::trainer::check_call;
use tributary_training::{Assets, Batch, ClippedSum, Rows, Trainer, TrainerError, softmax};

use super::checkpoint;
use super::texts::{Texts, unlike};
use crate::private::encoder::{Classifier, Encoder, EncoderBlock, EncoderOptions};
use crate::private::nn::Linear;
use crate::private::{Parameters, PrivateError, Tape};
use crate::unit_sums::{Core, Inputs as _};
use crate::{NAME, failed};

/// What stands before the base's own names, as PEFT has it.
const PREFIX: &str = "base_model.model";

/// Trains adapters and a head, on the CPU, with one thread.
#[derive(Debug)]
pub struct ClassifierTrainer {
    core: Core<Classifier>,
    context: usize,
    tokens: usize,
    outputs: usize,
}

impl ClassifierTrainer {
    /// A trainer for an encoder over texts of `inputs` tokens with `outputs` logits.
    ///
    /// # Errors
    /// Another family of models, a base that is not among the assets or does not fit, or a failure of
    /// libtorch.
    pub fn new(
        model: &ModelSpec,
        inputs: usize,
        outputs: usize,
        assets: &Assets,
    ) -> Result<Self, TrainerError> {
        crate::one_thread();
        let ModelSpec::Encoder { base, microbatch, lora, .. } = model else {
            let what = "train as a classifier of texts";
            return Err(TrainerError::Unsupported { trainer: NAME, what });
        };
        let path = assets.find("base model", base).map_err(|e| backend(&e))?;
        let mut parameters = Parameters::new(Kind::Float, 0);
        let options = options(model)?;
        let mut encoder = Encoder::new(&mut parameters, options).map_err(failed)?;
        load_shared(base, &path, &mut parameters).map_err(failed)?;
        parameters.freeze_all();
        for (i, block) in encoder.blocks.iter_mut().enumerate() {
            for target in &lora.targets {
                let (map, ..) = target.map(0, 0);
                let name = format!("{PREFIX}.encoder.layer.{i}.{map}");
                let linear = adapted(block, *target);
                let rank = i64::from(lora.rank);
                linear.adapt(&mut parameters, &name, rank, lora.alpha).map_err(failed)?;
            }
        }
        let head = format!("{PREFIX}.classifier");
        let head = Linear::new(&mut parameters, &head, options.width, outputs as i64, true);
        let network = Classifier { encoder, head: head.map_err(failed)? };
        let core = Core {
            network,
            parameters,
            microbatch: *microbatch as usize,
            shape: format!("{model:?} {inputs} {outputs}"),
            terms: inputs,
            most_units: MAX_WINDOWS_PER_NODE,
        };
        core.check_layout(&ParameterLayout::of(model, inputs, outputs))?;
        Ok(Self { core, context: inputs, tokens: options.tokens as usize, outputs })
    }

    /// The mean of the encoder's outputs over each text's tokens, `[rows, width]`.
    ///
    /// # Errors
    /// As [`Trainer::predict`].
    pub fn means(&mut self, parameters: &[f32], rows: Rows<'_>) -> Result<Vec<f32>, TrainerError> {
        self.read(parameters, rows, |network, tape, tokens| network.encoder.mean(tape, tokens))
    }

    /// Checks a call and takes its parameters over.
    fn begin(&mut self, parameters: &[f32], rows: Rows<'_>) -> Result<(), TrainerError> {
        check_call(self.core.parameters.dimension(), self.context, parameters, rows)?;
        self.core.parameters.set_flat(parameters).map_err(failed)
    }

    /// A pass over texts, a microbatch at a time; row major.
    fn read(
        &mut self,
        parameters: &[f32],
        rows: Rows<'_>,
        pass: impl Fn(&Classifier, &mut Tape<'_>, &Tensor) -> Result<Tensor, PrivateError>,
    ) -> Result<Vec<f32>, TrainerError> {
        self.begin(parameters, rows)?;
        let texts = Texts::unlabelled(rows, self.tokens);
        let (core, mut out) = (&self.core, Vec::new());
        for start in (0..texts.len()).step_by(core.microbatch) {
            let end = texts.len().min(start + core.microbatch);
            let part = || -> Result<Vec<f32>, PrivateError> {
                let tokens = texts.tokens(start, end, end - start)?;
                let mut tape = Tape::plain(&core.parameters);
                let values = no_grad(|| pass(&core.network, &mut tape, &tokens))?;
                Ok(crate::network::to_f32(&values)?)
            };
            out.extend(part().map_err(failed)?);
        }
        Ok(out)
    }
}

impl Trainer for ClassifierTrainer {
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
        let texts = Texts::of(batch, self.tokens, self.outputs);
        let probe = || unlike(self.context, self.tokens, self.outputs);
        self.core.clipped(&texts, clip_norm, probe)
    }

    fn gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
    ) -> Result<Vec<f64>, TrainerError> {
        self.begin(parameters, batch.rows())?;
        self.core.plain(&Texts::of(batch, self.tokens, self.outputs))
    }

    fn predict(
        &mut self,
        parameters: &[f32],
        features: Rows<'_>,
    ) -> Result<Vec<f32>, TrainerError> {
        let outputs = self.outputs;
        let mut logits =
            self.read(parameters, features, |network, tape, tokens| network.logits(tape, tokens))?;
        match outputs {
            1 => logits.iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp())),
            _ => logits.chunks_exact_mut(outputs).for_each(softmax::softmax),
        }
        Ok(logits)
    }
}

fn options(model: &ModelSpec) -> Result<EncoderOptions, TrainerError> {
    let ModelSpec::Encoder { layers, width, heads, hidden, vocabulary, positions, .. } = model
    else {
        let what = "train as a classifier of texts";
        return Err(TrainerError::Unsupported { trainer: NAME, what });
    };
    Ok(EncoderOptions {
        tokens: i64::from(*vocabulary),
        positions: i64::from(*positions),
        layers: *layers as usize,
        width: i64::from(*width),
        heads: i64::from(*heads),
        hidden: i64::from(*hidden),
    })
}

fn adapted(block: &mut EncoderBlock, target: LoraTarget) -> &mut Linear {
    match target {
        LoraTarget::Query => &mut block.attention.query,
        LoraTarget::Key => &mut block.attention.key,
        LoraTarget::Value => &mut block.attention.value,
        LoraTarget::Output => &mut block.attention.output,
        LoraTarget::Up => &mut block.up,
        LoraTarget::Down => &mut block.down,
    }
}

/// Sets all parameters from the checkpoint with this hash. Its tensors are kept: frozen, they are never
/// written to, and a process with many nodes holds them once.
fn load_shared(hash: &str, path: &Path, parameters: &mut Parameters) -> Result<(), PrivateError> {
    static LOADED: Mutex<BTreeMap<String, Vec<Tensor>>> = Mutex::new(BTreeMap::new());
    let shape: Vec<_> = parameters.all().map(|(_, name, value)| (name, value.size())).collect();
    let key = format!("{hash} {shape:?}");
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let ids: Vec<_> = parameters.all().map(|(id, ..)| id).collect();
    if let Some(tensors) = loaded.get(&key) {
        for (id, tensor) in ids.into_iter().zip(tensors) {
            parameters.share(id, tensor)?;
        }
        return Ok(());
    }
    checkpoint::load(path, parameters)?;
    let tensors = parameters.all().map(|(_, _, value)| value.shallow_clone()).collect();
    loaded.insert(key, tensors);
    Ok(())
}

fn backend(error: &dyn std::fmt::Display) -> TrainerError {
    TrainerError::Backend { trainer: NAME, message: error.to_string() }
}
