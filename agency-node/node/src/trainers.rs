//! Which trainer a node uses, by name.

use tributary_job::spec::ModelSpec;
use tributary_training::Assets;
#[cfg(feature = "torch")]
use tributary_training::TrainerError;
use tributary_training::reference::ReferenceTrainer;
use tributary_training::{CoxTrainer, Trainer};

use crate::config::TrainerKind;
use crate::engine::TrainerFactory;

/// A factory for the trainer; base models that jobs name are looked for among the assets.
pub fn factory(kind: TrainerKind, assets: Assets) -> TrainerFactory {
    match kind {
        TrainerKind::Reference => Box::new(without_libtorch),
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

/// What can be trained in plain Rust.
fn without_libtorch(
    model: &ModelSpec,
    inputs: usize,
    outputs: usize,
) -> Result<Box<dyn Trainer>, String> {
    match model {
        ModelSpec::Mlp { .. } => Ok(Box::new(ReferenceTrainer::new(model, inputs, outputs))),
        ModelSpec::Cox { .. } => {
            let trainer = CoxTrainer::new(model, inputs).map_err(|e| e.to_string())?;
            Ok(Box::new(trainer))
        }
        ModelSpec::Decoder { .. } | ModelSpec::Encoder { .. } | ModelSpec::Cnn { .. } => {
            Err(format!(
                "the reference trainer knows no model of the family {:?}; set trainer = \"torch\", \
                 with a binary that was built with libtorch",
                model.family()
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_job::spec::ImageShape;

    fn trainer(kind: TrainerKind, model: &ModelSpec, inputs: usize) -> Result<usize, String> {
        factory(kind, Assets::none())(model, inputs, 1).map(|trainer| trainer.dimension())
    }

    #[test]
    fn a_node_without_libtorch_says_which_families_it_cannot_train() {
        let image = ImageShape { height: 6, width: 6, channels: 1 };
        let cnn = ModelSpec::Cnn { image, channels: vec![2], kernel: 3, pool: 2, microbatch: 4 };
        let refused = trainer(TrainerKind::Reference, &cnn, 36).unwrap_err();
        assert!(refused.contains("no model of the family \"cnn\""), "{refused}");
        assert!(refused.contains("built with libtorch"), "{refused}");
        let cox = ModelSpec::Cox { intervals: vec![1.0, 2.0] };
        assert_eq!(trainer(TrainerKind::Reference, &cox, 3), Ok(5));
        let with = trainer(TrainerKind::Torch, &cnn, 36);
        match cfg!(feature = "torch") {
            true => assert_eq!(with, Ok(2 * 10 + 8 + 1)),
            false => assert!(with.unwrap_err().contains("built without libtorch")),
        }
    }
}
