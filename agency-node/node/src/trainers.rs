//! Which trainer a node uses, by name.

use tributary_training::reference::ReferenceTrainer;

use crate::config::TrainerKind;
use crate::engine::TrainerFactory;

/// A factory for the trainer.
pub fn factory(kind: TrainerKind) -> TrainerFactory {
    match kind {
        TrainerKind::Reference => {
            Box::new(|model, inputs| Ok(Box::new(ReferenceTrainer::new(model, inputs))))
        }
        #[cfg(feature = "torch")]
        TrainerKind::Torch => Box::new(|model, inputs| {
            let trainer = tributary_torch::TorchTrainer::new(model, inputs);
            Ok(Box::new(trainer.map_err(|e| e.to_string())?))
        }),
        #[cfg(not(feature = "torch"))]
        TrainerKind::Torch => {
            Box::new(|_, _| Err("this binary was built without libtorch".to_owned()))
        }
    }
}
