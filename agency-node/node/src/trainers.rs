//! Which trainer a node uses, by name.

use tributary_job::spec::ModelSpec;
use tributary_training::Assets;
#[cfg(feature = "torch")]
use tributary_training::TrainerError;
use tributary_training::reference::ReferenceTrainer;

use crate::config::TrainerKind;
use crate::engine::TrainerFactory;

/// A factory for the trainer; base models that jobs name are looked for among the assets.
pub fn factory(kind: TrainerKind, assets: Assets) -> TrainerFactory {
    match kind {
        TrainerKind::Reference => Box::new(|model, inputs, outputs| match model {
            ModelSpec::Mlp { .. } => Ok(Box::new(ReferenceTrainer::new(model, inputs, outputs))),
            ModelSpec::Decoder { .. } | ModelSpec::Encoder { .. } => Err(format!(
                "the reference trainer knows no model of the family {:?}; set trainer = \"torch\"",
                model.family()
            )),
        }),
        #[cfg(feature = "torch")]
        TrainerKind::Torch => Box::new(move |model, inputs, outputs| {
            match tributary_torch::trainer(model, inputs, outputs, &assets) {
                Ok(trainer) => Ok(trainer),
                // On this machine libtorch's kernels would let one record's bits depend on its
                // neighbours; privacy counts on them not to. The reference trainer never does.
                Err(error @ TrainerError::PlaceDependent { .. }) => {
                    tracing::warn!("{error}; training with the reference trainer instead");
                    Ok(Box::new(ReferenceTrainer::new(model, inputs, outputs)))
                }
                Err(error) => Err(error.to_string()),
            }
        }),
        #[cfg(not(feature = "torch"))]
        TrainerKind::Torch => {
            let _ = assets;
            Box::new(|_, _, _| Err("this binary was built without libtorch".to_owned()))
        }
    }
}
