//! A linear map over the last dimension: `y = x W^T + b`.
//!
//! The gradient of a row by W is the sum over positions of `g_t x_t^T`, by b that of `g_t`.

use tch::Tensor;

use super::{Form, by_gram, positions, sum_positions};
use crate::private::PrivateError;
use crate::private::sums::kept;

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
    let (mut left, right) = (positions(gradient)?, positions(input)?);
    let &[_, terms, d] = &left.size()[..] else {
        return Err(PrivateError::Network(format!("a gradient has the shape {:?}", left.size())));
    };
    let p = right.size().last().copied().unwrap_or(0);
    if weight && (terms == 1 || by_gram(terms, d, p)) {
        // Norms, sums and the bias need it in f64: once is enough.
        left = kept(left)?;
    }
    let bias = match bias {
        true => Some(Form::Vector { values: sum_positions(&left)? }),
        false => None,
    };
    Ok((weight.then_some(Form::Outer { left, right }), bias))
}
