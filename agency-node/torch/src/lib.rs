//! The trainers on libtorch: per-record clipping without per-record gradients.
//!
//! The only crate that links libtorch. It computes what `tributary-training` defines, passes the
//! same conformance suite, and must not know noise, budgets, files or peers. It draws no random
//! number.

pub mod language;
mod layer;
mod linear;
mod network;
pub mod private;
mod probe;
mod trainer;

pub use language::LanguageTrainer;
pub use trainer::TorchTrainer;

use tributary_job::spec::ModelSpec;
use tributary_training::{Trainer, TrainerError};

/// The trainer for a model from `inputs` features to `outputs` logits.
///
/// # Errors
/// As [`TorchTrainer::new`] and [`LanguageTrainer::new`].
pub fn trainer(
    model: &ModelSpec,
    inputs: usize,
    outputs: usize,
) -> Result<Box<dyn Trainer>, TrainerError> {
    Ok(match model {
        ModelSpec::Mlp { .. } => Box::new(TorchTrainer::new(model, inputs, outputs)?),
        ModelSpec::Decoder { .. } => Box::new(LanguageTrainer::new(model, inputs, outputs)?),
    })
}

/// The first trainer made sets libtorch to one thread for the whole process: its OpenMP workers spin
/// when threads outnumber cores, so parallelism comes from many trainers and not from within one.
fn one_thread() {
    static ONE_THREAD: std::sync::Once = std::sync::Once::new();
    ONE_THREAD.call_once(|| tch::set_num_threads(1));
}
