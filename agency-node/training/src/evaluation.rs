//! A model's quality on records at hand.
//!
//! Ties trainer, dataset and metrics together. On an agency's records the result is data: whoever
//! sends it away must treat it as a release.

use tributary_job::Normalisation;

use crate::batch::{Batch, Rows};
use crate::concordance::concordance;
use crate::dataset::Dataset;
use crate::metrics;
use crate::trainer::{EventLosses, TokenLosses, Trainer, TrainerError};

/// Quality on a set of records; `None` where it is not defined (see [`crate::metrics`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Number of records.
    pub records: usize,
    /// Area under the ROC curve, of a binary model only; of times to an event Harrell's concordance,
    /// which generalises it.
    pub auc: Option<f64>,
    /// Fraction right: at 0.5, or with the most probable class (of a language model, of tokens). Of
    /// times to an event: whether it came by the end of the last interval, of the records of which that
    /// is known.
    pub accuracy: Option<f64>,
    /// Mean cross-entropy in nats, of a record or of a language model's token; of times to an event the
    /// mean negative log-likelihood, time measured in intervals.
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
    if dataset.is_language_model() {
        return evaluate_tokens(trainer, parameters, dataset, rows, norm);
    }
    if dataset.has_durations() {
        return evaluate_events(trainer, parameters, dataset, rows, norm);
    }
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

fn evaluate_events(
    trainer: &mut dyn Trainer,
    parameters: &[f32],
    dataset: &Dataset,
    rows: &[u32],
    norm: &Normalisation,
) -> Result<Evaluation, TrainerError> {
    let (mut total, mut risks, mut inputs) = (EventLosses::default(), Vec::new(), Vec::new());
    for chunk in rows.chunks(CHUNK) {
        dataset.features(chunk, norm, &mut inputs);
        let labels = dataset.labels(chunk);
        let batch = Batch::new(Rows::new(&inputs, dataset.input_width())?, &labels)?;
        risks.extend(trainer.predict(parameters, batch.rows())?);
        let EventLosses { nats, known, right } = trainer.event_losses(parameters, &batch)?;
        total.nats += nats;
        total.known += known;
        total.right += right;
    }
    Ok(Evaluation {
        records: rows.len(),
        auc: concordance(&risks, &dataset.labels(rows)),
        accuracy: (total.known > 0).then(|| total.right as f64 / total.known as f64),
        log_loss: (!rows.is_empty()).then(|| total.nats / rows.len() as f64),
    })
}

fn evaluate_tokens(
    trainer: &mut dyn Trainer,
    parameters: &[f32],
    dataset: &Dataset,
    rows: &[u32],
    norm: &Normalisation,
) -> Result<Evaluation, TrainerError> {
    let (mut total, mut windows) = (TokenLosses::default(), Vec::new());
    for chunk in rows.chunks(CHUNK) {
        dataset.features(chunk, norm, &mut windows);
        let view = Rows::new(&windows, dataset.input_width())?;
        let TokenLosses { nats, tokens, right } = trainer.token_losses(parameters, view)?;
        total.nats += nats;
        total.tokens += tokens;
        total.right += right;
    }
    let mean = |sum: f64| (total.tokens > 0).then(|| sum / total.tokens as f64);
    let (accuracy, log_loss) = (mean(total.right as f64), mean(total.nats));
    Ok(Evaluation { records: rows.len(), auc: None, accuracy, log_loss })
}
