//! The operations with parameters: how each is computed, and what its gradient is made of.
//!
//! One file per kind. Whatever the kind, the gradient of a row is a sum over positions of outer
//! products, of table rows, or of vectors ([`Form`]); clipping knows only these.

pub(crate) mod affine;
pub mod conv;
pub(crate) mod embedding;
pub(crate) mod linear;

use tch::{Kind, Tensor};

use super::PrivateError;
use super::tape::Record;

/// The kind of a recorded operation.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// Outer products of output gradients and inputs.
    Linear,
    /// The same with unfolded inputs.
    Conv { geometry: conv::Geometry, kernel: Vec<i64> },
    /// Rows of a table.
    Embedding,
    /// Normalised inputs times a scale, plus a shift.
    LayerNorm { eps: f64 },
    /// Normalised inputs times a scale.
    RmsNorm { eps: f64 },
}

/// The gradients of R rows by one parameter, each a sum over T positions. In the kind of the
/// network or f64; [`Form::Vector`] is f64.
#[derive(Debug)]
pub(crate) enum Form {
    /// `sum_t left_t right_t^T`: left `[R, T, d]`, right `[R, T, p]`.
    Outer { left: Tensor, right: Tensor },
    /// `sum_t e_(index_t) value_t^T`: indices `[R, T]`, values `[R, T, d]`.
    Table { indices: Tensor, values: Tensor },
    /// The sum itself: `[R, n]`.
    Vector { values: Tensor },
}

/// Whether squared norms of sums of `terms` outer products of `d` and `p` values cost less by Gram
/// matrices than directly (Li et al. 2022, section 4).
pub(crate) fn by_gram(terms: i64, d: i64, p: i64) -> bool {
    2 * terms * terms <= d * p
}

/// The forms of the weight's and the bias's gradient, for those that are trained; `gradient` is
/// that of the summed loss by the record's output.
pub(crate) fn forms(
    record: &Record,
    gradient: &Tensor,
) -> Result<(Option<Form>, Option<Form>), PrivateError> {
    let wants = (record.weight.is_some(), record.bias.is_some());
    let input = &record.input;
    match &record.op {
        Op::Linear => linear::forms(input, gradient, wants),
        Op::Conv { geometry, kernel } => {
            let right = conv::unfold(input, kernel, *geometry)?;
            linear::forms(&right, &conv::as_positions(gradient)?, wants)
        }
        Op::Embedding => Ok((Some(embedding::form(input, gradient)?), None)),
        Op::LayerNorm { eps } => {
            let normed = affine::layer_norm(input, None, None, *eps)?;
            affine::forms(&normed, gradient, wants)
        }
        Op::RmsNorm { eps } => affine::forms(&affine::rms_norm(input, *eps)?, gradient, wants),
    }
}

/// `[B, ..., n]` as `[B, T, n]`; T is 1 if there is nothing between.
pub(crate) fn positions(values: &Tensor) -> Result<Tensor, PrivateError> {
    let size = values.size();
    match size[..] {
        [_, _, _] => Ok(values.shallow_clone()),
        [rows, width] => Ok(values.f_view([rows, 1, width])?),
        [rows, .., width] => Ok(values.f_reshape([rows, -1, width])?),
        _ => Err(PrivateError::Network(format!("a recorded value has the shape {size:?}"))),
    }
}

/// Sums over the positions in f64: `[B, T, n]` to `[B, n]`. In pieces that stay in the cache, so
/// that no f64 copy of the whole is made.
pub(crate) fn sum_positions(values: &Tensor) -> Result<Tensor, PrivateError> {
    let size = values.size();
    if size.get(1) == Some(&1) {
        return Ok(values.f_squeeze_dim(1)?.f_to_kind(Kind::Double)?);
    }
    let mut sums = Vec::new();
    for (start, length) in super::sums::pieces(size[0], size[1..].iter().product()) {
        let piece = values.f_narrow(0, start, length)?.f_to_kind(Kind::Double)?;
        sums.push(piece.f_sum_dim_intlist(1, false, Kind::Double)?);
    }
    Ok(Tensor::f_cat(&sums, 0)?)
}
