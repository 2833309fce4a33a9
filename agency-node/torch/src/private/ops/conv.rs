//! Convolution in two dimensions.
//!
//! Unfolded, a convolution is a linear map over the positions of the output, so its gradient has
//! the same form. Positions come before channels here, which is libtorch's channels-last layout:
//! its pooling and convolution are faster there.

use tch::Tensor;

use crate::private::PrivateError;

/// Stride and zero padding of a convolution, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Distance of neighbouring positions.
    pub stride: i64,
    /// Zeros added on each side.
    pub padding: i64,
}

/// Input `[B, C, H, W]`, weight `[out, C, kernel, kernel]`; output `[B, out, H', W']`.
pub(crate) fn forward(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: Geometry,
) -> Result<Tensor, PrivateError> {
    let Geometry { stride, padding } = geometry;
    Ok(input.f_conv2d(weight, bias, [stride; 2], [padding; 2], [1, 1], 1)?)
}

/// The inputs of each output position: `[B, L, C * kernel * kernel]`.
pub(crate) fn unfold(
    input: &Tensor,
    kernel: &[i64],
    geometry: Geometry,
) -> Result<Tensor, PrivateError> {
    let Geometry { stride, padding } = geometry;
    let input = match padding {
        0 => input.shallow_clone(),
        p => input.f_constant_pad_nd([p, p, p, p])?,
    };
    let (&[_, channels, height, width], &[rows, ..]) = (kernel, &input.size()[..]) else {
        return Err(shapes(input.size(), kernel));
    };
    let windows = input.f_unfold(2, height, stride)?.f_unfold(3, width, stride)?;
    let windows = windows.f_permute([0, 2, 3, 1, 4, 5])?;
    Ok(windows.f_reshape([rows, -1, channels * height * width])?)
}

/// Height and width of the output.
pub(crate) fn output_size(
    input: &Tensor,
    kernel: &[i64],
    geometry: Geometry,
) -> Result<[i64; 2], PrivateError> {
    let (&[_, _, height, width], &[_, _, h, w]) = (&input.size()[..], kernel) else {
        return Err(shapes(input.size(), kernel));
    };
    let length = |size: i64, k: i64| (size + 2 * geometry.padding - k) / geometry.stride + 1;
    Ok([length(height, h), length(width, w)])
}

/// The convolution of an unfolded input: `[B, L, out]`.
pub(crate) fn forward_unfolded(
    unfolded: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor, PrivateError> {
    Ok(unfolded.f_linear(&weight.f_flatten(1, -1)?, bias)?)
}

/// `[B, L, out]` as `[B, out, H, W]`, channels last in memory.
pub(crate) fn as_image(output: &Tensor, size: &[i64; 2]) -> Result<Tensor, PrivateError> {
    let &[rows, _, channels] = &output.size()[..] else {
        return Err(shapes(output.size(), size));
    };
    Ok(output.f_view([rows, size[0], size[1], channels])?.f_permute([0, 3, 1, 2])?)
}

/// `[B, out, H, W]` as `[B, L, out]`: no copy where channels are last in memory.
pub(crate) fn as_positions(gradient: &Tensor) -> Result<Tensor, PrivateError> {
    let &[rows, channels, ..] = &gradient.size()[..] else {
        return Err(shapes(gradient.size(), &[]));
    };
    Ok(gradient.f_permute([0, 2, 3, 1])?.f_reshape([rows, -1, channels])?)
}

fn shapes(input: Vec<i64>, kernel: &[i64]) -> PrivateError {
    let message = format!("a convolution by {kernel:?} was given the shape {input:?}");
    PrivateError::Network(message)
}
