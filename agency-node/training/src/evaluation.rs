//! A model's quality on records at hand.
//!
//! Ties trainer, dataset and metrics together. On an agency's records the result is data: whoever
//! sends it away must treat it as a release.

use tributary_job::Normalisation;

use crate::batch::Rows;
use crate::dataset::Dataset;
use crate::metrics;
use crate::trainer::{Trainer, TrainerError};

/// Quality on a set of records; `None` where it is not defined (see [`crate::metrics`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Number of records.
    pub records: usize,
    /// Area under the ROC curve; of a binary model only.
    pub auc: Option<f64>,
    /// Fraction right: at 0.5, or with the most probable class.
    pub accuracy: Option<f64>,
    /// Mean cross-entropy in nats.
    pub log_loss: Option<f64>,
}

/// Rows that are turned into inputs at a time.
const CHUNK: usize = 4096;

/// Predicts the given records and measures.
///
/// # Errors
/// As [`Trainer::predict`].
pub fn evaluate(
    trainer: &mut dyn Trainer,
    parameters: &[f32],
    dataset: &Dataset,
    rows: &[u32],
    norm: &Normalisation,
) -> Result<Evaluation, TrainerError> {
    let mut probabilities = Vec::with_capacity(rows.len());
    let mut inputs = Vec::new();
    for chunk in rows.chunks(CHUNK) {
        dataset.features(chunk, norm, &mut inputs);
        let view = Rows::new(&inputs, dataset.input_width())?;
        probabilities.extend(trainer.predict(parameters, view)?);
    }
    let labels = dataset.labels(rows);
    let classes = trainer.outputs();
    if classes > 1 {
        return Ok(Evaluation {
            records: rows.len(),
            auc: None,
            accuracy: metrics::class_accuracy(&probabilities, classes, &labels),
            log_loss: metrics::class_log_loss(&probabilities, classes, &labels),
        });
    }
    Ok(Evaluation {
        records: rows.len(),
        auc: metrics::auc(&probabilities, &labels),
        accuracy: metrics::accuracy(&probabilities, &labels),
        log_loss: metrics::log_loss(&probabilities, &labels),
    })
}
