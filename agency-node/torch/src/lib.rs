//! The trainers on libtorch: per-record clipping without per-record gradients.
//!
//! The only crate that links libtorch. It computes what `tributary-training` defines, passes the
//! same conformance suite, and must not know noise, budgets, files or peers. It draws no random
//! number.

pub mod language;
mod layer;
mod linear;
mod network;
pub mod pictures;
pub mod private;
mod probe;
mod trainer;
mod unit_sums;

pub use language::{ClassifierTrainer, LanguageTrainer};
pub use pictures::PictureTrainer;
pub use trainer::TorchTrainer;

use private::PrivateError;
use tributary_job::spec::ModelSpec;
use tributary_training::{Assets, CoxTrainer, Trainer, TrainerError};

const NAME: &str = "torch";

/// The trainer for a model from `inputs` features to `outputs` logits; a base that the model names is
/// looked for among the assets.
///
/// # Errors
/// As [`TorchTrainer::new`], [`LanguageTrainer::new`], [`ClassifierTrainer::new`],
/// [`PictureTrainer::new`] and [`CoxTrainer::new`].
pub fn trainer(
    model: &ModelSpec,
    inputs: usize,
    outputs: usize,
    assets: &Assets,
) -> Result<Box<dyn Trainer>, TrainerError> {
    Ok(match model {
        ModelSpec::Mlp { .. } => Box::new(TorchTrainer::new(model, inputs, outputs)?),
        ModelSpec::Decoder { .. } => Box::new(LanguageTrainer::new(model, inputs, outputs)?),
        ModelSpec::Encoder { .. } => {
            Box::new(ClassifierTrainer::new(model, inputs, outputs, assets)?)
        }
        ModelSpec::Cnn { .. } => Box::new(PictureTrainer::new(model, inputs, outputs)?),
        // A dozen parameters need no tensors.
        ModelSpec::Cox { .. } => Box::new(CoxTrainer::new(model, inputs)?),
    })
}

/// The first trainer made sets libtorch to one thread for the whole process: its OpenMP workers spin
/// when threads outnumber cores, so parallelism comes from many trainers and not from within one.
fn one_thread() {
    static ONE_THREAD: std::sync::Once = std::sync::Once::new();
    ONE_THREAD.call_once(|| tch::set_num_threads(1));
}

fn failed(error: PrivateError) -> TrainerError {
    match error {
        PrivateError::Clip(error) => error,
        other => TrainerError::Backend { trainer: NAME, message: other.to_string() },
    }
}
