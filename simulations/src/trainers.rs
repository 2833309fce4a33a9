//! Which trainer computes the gradients.
//!
//! The only place here that knows libtorch; without the feature `torch` it says so and what to do.

use tributary_job::spec::ModelSpec;
use tributary_training::{Assets, CoxTrainer, ReferenceTrainer, Trainer};

/// A trainer by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TrainerKind {
    /// libtorch on the CPU.
    Torch,
    /// Pure Rust; needs nothing installed.
    Reference,
}

impl Default for TrainerKind {
    fn default() -> Self {
        if cfg!(feature = "torch") { Self::Torch } else { Self::Reference }
    }
}

impl TrainerKind {
    /// Name as in `--trainer` and in the summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Reference => "reference",
        }
    }

    /// Makes a trainer for a model from `inputs` features to `outputs` logits.
    ///
    /// # Errors
    /// If this build has no libtorch, or libtorch cannot be used on this machine.
    pub fn make(
        self,
        model: &ModelSpec,
        inputs: usize,
        outputs: usize,
    ) -> Result<Box<dyn Trainer>, String> {
        self.make_with(model, inputs, outputs, &Assets::none())
    }

    /// As [`TrainerKind::make`], for a model whose base is among the assets.
    ///
    /// # Errors
    /// As [`TrainerKind::make`], and if the base is not there or does not fit.
    pub fn make_with(
        self,
        model: &ModelSpec,
        inputs: usize,
        outputs: usize,
        assets: &Assets,
    ) -> Result<Box<dyn Trainer>, String> {
        match self {
            Self::Reference => match model {
                ModelSpec::Mlp { .. } => {
                    Ok(Box::new(ReferenceTrainer::new(model, inputs, outputs)))
                }
                ModelSpec::Cox { .. } => {
                    Ok(Box::new(CoxTrainer::new(model, inputs).map_err(|e| e.to_string())?))
                }
                ModelSpec::Decoder { .. } | ModelSpec::Encoder { .. } | ModelSpec::Cnn { .. } => {
                    Err(format!(
                        "the reference trainer knows no model of the family {:?}: use --trainer torch",
                        model.family()
                    ))
                }
            },
            Self::Torch => torch(model, inputs, outputs, assets),
        }
    }
}

#[cfg(feature = "torch")]
fn torch(
    model: &ModelSpec,
    inputs: usize,
    outputs: usize,
    assets: &Assets,
) -> Result<Box<dyn Trainer>, String> {
    tributary_torch::trainer(model, inputs, outputs, assets).map_err(|e| e.to_string())
}

#[cfg(not(feature = "torch"))]
fn torch(_: &ModelSpec, _: usize, _: usize, _: &Assets) -> Result<Box<dyn Trainer>, String> {
    Err("this program was built without libtorch: use --trainer reference, or build it with the \
         feature `torch`"
        .into())
}
