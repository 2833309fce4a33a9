//! The contract between a node and whatever computes its gradients.
//!
//! A trainer holds no parameters, no data and no randomness between calls: every call is a pure
//! function of its arguments. It must not know noise, budgets or peers.

use crate::batch::{Batch, Rows};

/// Most records of one call, and of one dataset: [`float_error`](crate::float_error()) stays below
/// 3e-4.
pub const MAX_RECORDS: usize = 1 << 24;

/// Computes gradients and predictions of one model family over flat parameters.
///
/// # Contract
/// * The model is what `tributary_job::ParameterLayout` lays out. A fully connected network has ReLU
///   between the layers; one logit with binary cross-entropy as the loss, or K logits with softmax
///   cross-entropy. A decoder's row is a window of tokens and the one that follows, its loss the sum
///   of the positions' cross-entropy over the context's length, and labels mean nothing. A network of
///   convolutions reads a row as a picture. With times to an event the loss is that of
///   [`crate::cox`].
/// * What is clipped is a unit (see [`Batch`]): the sum of the gradients of its records.
/// * The bits of a record's gradient and of its unit's clip factor depend on that unit and the
///   parameters alone: neither on the other units of the batch nor on its place among them.
///   Sensitivity counts on it. (In which order a unit's records are added may depend on its place;
///   [`unit_float_error`](crate::unit_float_error()) holds for any order.)
/// * A unit with a record whose gradient is not finite contributes exact zeros as a whole. So does
///   one with a label that is no class.
/// * Sums are made as [`float_error`](crate::float_error()) assumes: in f64, per
///   [`crate::MICROBATCH`], then over microbatches.
///
/// [`crate::conformance::suite`] tests all of it.
pub trait Trainer: Send {
    /// Which implementation this is: `"torch"`, `"reference"` or `"cox"`.
    fn name(&self) -> &'static str;

    /// Number of parameters d.
    fn dimension(&self) -> usize;

    /// Number of logits: 1 for a binary model, otherwise the number of classes.
    fn outputs(&self) -> usize;

    /// Sum over the batch of the units' gradients, each clipped to `clip_norm` in L2 (Abadi et
    /// al. 2016, Algorithm 1, before the noise). Length d; exact zeros for an empty batch.
    ///
    /// # Errors
    /// Parameters or features of another length, a clip norm that is not within `1e-30..=1e30`,
    /// more than [`MAX_RECORDS`] records, or a failure of the tensor library.
    fn clipped_gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
        clip_norm: f64,
    ) -> Result<ClippedSum, TrainerError>;

    /// Sum over the batch of the records' gradients without clipping, for baselines without
    /// privacy and the mode `none`. Length d.
    ///
    /// # Errors
    /// As [`Trainer::clipped_gradient_sum`], and [`TrainerError::NonFinite`] if any record has a
    /// gradient that is not finite: without clipping that is a diverged model, not a bad record.
    fn gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
    ) -> Result<Vec<f64>, TrainerError>;

    /// Probability of the positive class (of an event by the end of the last interval) per row, or of every class, row major
    /// (`[rows, outputs]`), in `[0, 1]`; NaN where the model is not finite.
    ///
    /// # Errors
    /// Parameters or features of another length, or a failure of the tensor library.
    fn predict(&mut self, parameters: &[f32], features: Rows<'_>)
    -> Result<Vec<f32>, TrainerError>;

    /// What a language model loses on windows of tokens.
    ///
    /// # Errors
    /// As [`Trainer::predict`], and [`TrainerError::Unsupported`] if the model is none.
    fn token_losses(
        &mut self,
        _parameters: &[f32],
        _windows: Rows<'_>,
    ) -> Result<TokenLosses, TrainerError> {
        let what = "measure a language model's losses";
        Err(TrainerError::Unsupported { trainer: self.name(), what })
    }

    /// What a model of times to an event loses on records, whose labels are as in
    /// [`Dataset::labels`](crate::Dataset::labels). Units mean nothing here.
    ///
    /// # Errors
    /// As [`Trainer::predict`], and [`TrainerError::Unsupported`] if the model is none.
    fn event_losses(
        &mut self,
        _parameters: &[f32],
        _batch: &Batch<'_>,
    ) -> Result<EventLosses, TrainerError> {
        let what = "measure losses of times to an event";
        Err(TrainerError::Unsupported { trainer: self.name(), what })
    }
}

/// Losses over records with times to an event.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EventLosses {
    /// Sum of the negative log-likelihoods in nats, time measured in intervals; not finite where the
    /// model or a label is not.
    pub nats: f64,
    /// Records of which it is known whether the event came by the end of the last interval.
    pub known: u64,
    /// Of those, where the more probable of the two was right.
    pub right: u64,
}

/// Losses over the tokens of some windows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TokenLosses {
    /// Sum of the cross-entropies in nats; not finite where the model is not.
    pub nats: f64,
    /// Tokens that were to be said.
    pub tokens: u64,
    /// Those that were the most probable.
    pub right: u64,
}

/// A sum of clipped gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct ClippedSum {
    /// The sum, length d.
    pub sum: Vec<f64>,
    /// Units that contributed exact zeros because their gradient was not finite. It depends on
    /// the records: for the operator's eyes, it must never leave the agency.
    pub non_finite: usize,
    /// Units whose gradient was within the clip norm, broken ones not counted. As private as the sum.
    pub within: usize,
}

impl ClippedSum {
    /// The sum of nothing.
    pub fn zeros(dimension: usize) -> Self {
        Self { sum: vec![0.0; dimension], non_finite: 0, within: 0 }
    }
}

/// Why a trainer refuses a call.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainerError {
    /// The flat parameter vector has another length than the model.
    #[error("trainer: {found} parameters given, this model has {expected}")]
    ParameterLength {
        /// Parameters of the model.
        expected: usize,
        /// Parameters given.
        found: usize,
    },
    /// The rows have another width than the model's input.
    #[error("trainer: rows of {found} inputs given, this model takes {expected}")]
    FeatureWidth {
        /// Inputs of the model.
        expected: usize,
        /// Width of the rows.
        found: usize,
    },
    /// A buffer of features is not a whole number of rows.
    #[error("trainer: {values} feature values are not a whole number of rows of width {width}")]
    RaggedRows {
        /// Values in the buffer.
        values: usize,
        /// Claimed width.
        width: usize,
    },
    /// Rows and labels differ in number.
    #[error("trainer: {rows} rows with {labels} labels; every row needs one label")]
    LabelCount {
        /// Number of rows.
        rows: usize,
        /// Number of labels.
        labels: usize,
    },
    /// The units are not the rows.
    #[error(
        "trainer: {units} units do not divide {rows} rows into parts of 1 to {} rows",
        crate::batch::MICROBATCH
    )]
    Units {
        /// Number of rows.
        rows: usize,
        /// Number of units.
        units: usize,
    },
    /// The clip norm is not usable.
    #[error("trainer: clip norm {found}: must lie within 1e-30 and 1e30")]
    ClipNorm {
        /// The clip norm given.
        found: f64,
    },
    /// More records than the bound on rounding errors covers.
    #[error("trainer: {found} records in one call, at most {MAX_RECORDS} are covered")]
    TooManyRecords {
        /// Records given.
        found: usize,
    },
    /// An unclipped gradient is not finite.
    #[error("trainer: the gradient is not finite: the model has diverged, lower the learning rate")]
    NonFinite,
    /// Another kind of model than this trainer's.
    #[error("trainer {trainer}: cannot {what} with this model")]
    Unsupported {
        /// [`Trainer::name`] of the implementation.
        trainer: &'static str,
        /// What was asked.
        what: &'static str,
    },
    /// This machine's matrix kernels give one row different bits in different places.
    #[error(
        "trainer {trainer}: on this machine a record's gradient depends on its place in the batch, \
         which breaks the privacy bound; use the reference trainer"
    )]
    PlaceDependent {
        /// [`Trainer::name`] of the implementation.
        trainer: &'static str,
    },
    /// The tensor library failed.
    #[error("trainer {trainer}: {message}")]
    Backend {
        /// [`Trainer::name`] of the implementation.
        trainer: &'static str,
        /// What the library said.
        message: String,
    },
}

/// The checks that every implementation makes before it computes.
///
/// # Errors
/// [`TrainerError::ParameterLength`], [`TrainerError::FeatureWidth`] or
/// [`TrainerError::TooManyRecords`].
pub fn check_call(
    dimension: usize,
    inputs: usize,
    parameters: &[f32],
    rows: Rows<'_>,
) -> Result<(), TrainerError> {
    if parameters.len() != dimension {
        let found = parameters.len();
        return Err(TrainerError::ParameterLength { expected: dimension, found });
    }
    if rows.width() != inputs {
        return Err(TrainerError::FeatureWidth { expected: inputs, found: rows.width() });
    }
    if rows.len() > MAX_RECORDS {
        return Err(TrainerError::TooManyRecords { found: rows.len() });
    }
    Ok(())
}
