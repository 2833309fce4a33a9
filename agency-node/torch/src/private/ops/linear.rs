//! A linear map over the last dimension: `y = x W^T + b`.
//!
//! The gradient of a row by W is the sum over positions of `g_t x_t^T`, by b that of `g_t`.

use tch::Tensor;

use super::{Form, positions, sum_positions};
use crate::private::PrivateError;

/// Input `[B, ..., in]`, weight `[out, in]`.
pub(crate) fn forward(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor, PrivateError> {
    Ok(input.f_linear(weight, bias)?)
}

pub(crate) fn forms(
    input: &Tensor,
    gradient: &Tensor,
    (weight, bias): (bool, bool),
) -> Result<(Option<Form>, Option<Form>), PrivateError> {
    let left = positions(gradient)?;
    let bias = match bias {
        true => Some(Form::Vector { values: sum_positions(&left)? }),
        false => None,
    };
    let weight = match weight {
        true => Some(Form::Outer { right: positions(input)?, left }),
        false => None,
    };
    Ok((weight, bias))
}
