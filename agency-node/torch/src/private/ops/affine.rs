//! Normalisation over the last dimension, with scale and shift.
//!
//! The gradient of a row by the scale is `sum_t g_t * n_t` with the normalised input n, by the
//! shift `sum_t g_t`.

use tch::{Kind, Tensor};

use super::{Form, positions, sum_positions};
use crate::private::PrivateError;

/// Zero mean, unit variance (Ba et al. 2016), then scale and shift if given.
pub(crate) fn layer_norm(
    input: &Tensor,
    scale: Option<&Tensor>,
    shift: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor, PrivateError> {
    let width = input.size().last().copied().unwrap_or(0);
    Ok(input.f_layer_norm([width], scale, shift, eps, false)?)
}

/// Unit root mean square (Zhang and Sennrich 2019).
pub(crate) fn rms_norm(input: &Tensor, eps: f64) -> Result<Tensor, PrivateError> {
    let mean = input.f_square()?.f_mean_dim(-1, true, None::<Kind>)?;
    Ok(input.f_mul(&mean.f_add_scalar(eps)?.f_rsqrt()?)?)
}

pub(crate) fn forms(
    normed: &Tensor,
    gradient: &Tensor,
    (scale, shift): (bool, bool),
) -> Result<(Option<Form>, Option<Form>), PrivateError> {
    let summed = |values: &Tensor| -> Result<Form, PrivateError> {
        Ok(Form::Vector { values: sum_positions(&positions(values)?)? })
    };
    let scale = if scale { Some(summed(&normed.f_mul(gradient)?)?) } else { None };
    let shift = if shift { Some(summed(gradient)?) } else { None };
    Ok((scale, shift))
}
