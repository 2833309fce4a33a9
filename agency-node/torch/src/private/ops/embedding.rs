//! A table of vectors, looked up by index.
//!
//! The gradient of a row is `sum_t e_(index_t) g_t^T`: positions with the same index add up.

use tch::Tensor;

use super::{Form, positions};
use crate::private::PrivateError;

/// Indices `[B, ...]`, weight `[V, width]`.
pub(crate) fn forward(indices: &Tensor, weight: &Tensor) -> Result<Tensor, PrivateError> {
    Ok(Tensor::f_embedding(weight, indices, -1, false, false)?)
}

pub(crate) fn form(indices: &Tensor, gradient: &Tensor) -> Result<Form, PrivateError> {
    let values = positions(gradient)?;
    let indices = indices.f_reshape([values.size()[0], values.size()[1]])?;
    Ok(Form::Table { indices, values })
}
