//! Private training of real networks: ghost clipping with book-keeping on libtorch.
//!
//! A forward pass goes through a [`Tape`], which records for each operation with parameters its
//! kind, input and pre-activation. The parameters carry no `requires_grad`; the first
//! pre-activations are the leaves. One backward pass of the summed loss towards the pre-activations
//! brings everything that per-unit norms and the clipped sum are made of (Goodfellow 2015; Li et al.
//! 2022, "ghost clipping"; Bu et al. 2023, "book-keeping"); there is no second one.
//!
//! # What holds for the result
//! * A unit is one row of the examples, or several consecutive ones summed before the norm.
//! * Parameters used several times (tied embeddings) are summed before the norm, cross terms
//!   included. Frozen parameters cost nothing; below the first trainable one nothing is recorded.
//! * A norm is an upper bound: Gram products are made in f64 and their possible cancellation is
//!   added to the norm ([`step`]). A unit with a value that is not finite contributes exact zeros.
//! * Sums are made in f64; [`float_error`] bounds what rounding adds to their sensitivity.
//! * Memory depends on the microbatch and not on the batch.
//!
//! There is no dropout and no batch normalisation: one is randomness that no seed of ours covers,
//! the other lets records see each other. This module draws no random number and must not know
//! noise, budgets, files or peers.

mod contribution;
pub mod convolutional;
pub mod encoder;
pub(crate) mod gradient;
pub mod models;
pub mod nn;
mod ops;
mod parameters;
mod probe;
pub mod step;
pub(crate) mod sums;
mod tape;
#[cfg(test)]
mod tests;
pub(crate) mod units;

pub(crate) use ops::by_gram;
pub use ops::conv::Geometry;
pub use parameters::{Init, ParameterId, Parameters};
pub use probe::{Independence, independence};
pub use step::{ClippedGradient, Examples, Settings, clipped_sum, float_error, plain_gradient};
pub use tape::{Network, Tape};

use tch::TchError;
use tributary_training::TrainerError;

/// Why a private gradient cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// The network is put together wrongly.
    #[error("network: {0}")]
    Network(String),
    /// The examples do not fit.
    #[error("examples: {0}")]
    Examples(String),
    /// The settings are not usable.
    #[error("settings: {0}")]
    Settings(String),
    /// The clip norm is not usable.
    #[error(transparent)]
    Clip(#[from] TrainerError),
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}
