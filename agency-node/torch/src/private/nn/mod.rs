//! Layers made of the tape's operations: linear maps with adapters, normalisation, attention, and
//! the block of a transformer.
//!
//! What a network of transformers needs, in the names of the field. Knows nothing of clipping.

mod attention;
mod block;
mod linear;
mod norm;

pub use attention::{Attention, AttentionOptions, Rotary};
pub use block::{Block, BlockOptions};
pub use linear::{Linear, Lora};
pub use norm::Norm;

use tch::{Kind, Tensor};

use super::PrivateError;

/// Cross-entropy of each row `[B]`, summed over its positions: logits `[B, ..., classes]`, targets
/// `[B, ...]` (i64); positions with the target -100 count nothing.
///
/// # Errors
/// Shapes that do not fit, or a failure of libtorch.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor, PrivateError> {
    let size = logits.size();
    let classes = size.last().copied().unwrap_or(0);
    let none = None::<Tensor>;
    let losses = logits.f_reshape([-1, classes])?.f_cross_entropy_loss(
        &targets.f_reshape([-1])?,
        none,
        tch::Reduction::None,
        -100,
        0.0,
    )?;
    match size.len() {
        0..=2 => Ok(losses),
        _ => {
            let rows = losses.f_view([size[0], -1])?;
            Ok(rows.f_sum_dim_intlist(1, false, None::<Kind>)?)
        }
    }
}

/// Loss of each row `[B]` by its label `[B]` (i64, -100 where a row counts nothing): binary
/// cross-entropy of one logit, or cross-entropy over several; logits `[B, outputs]`.
///
/// # Errors
/// Shapes that do not fit, or a failure of libtorch.
pub fn label_loss(logits: &Tensor, labels: &Tensor) -> Result<Tensor, PrivateError> {
    if logits.size().last().is_some_and(|outputs| *outputs > 1) {
        return cross_entropy(logits, labels);
    }
    let logit = logits.f_squeeze_dim(1)?;
    let counts = labels.f_ge(0)?.f_to_kind(logit.kind())?;
    let label = labels.f_clamp_min(0)?.f_to_kind(logit.kind())?;
    let none = None::<Tensor>;
    let loss = logit.f_binary_cross_entropy_with_logits(
        &label,
        none.as_ref(),
        none.as_ref(),
        tch::Reduction::None,
    )?;
    Ok(loss.f_mul(&counts)?)
}
