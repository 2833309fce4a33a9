//! The units' gradients by one parameter: their squared norms, and what a weighted sum needs.
//!
//! Several forms by the same parameter (shared weights) are summed before the norm. Knows nothing
//! of clip factors.
//!
//! # Bounds
//! Products of a Gram matrix may cancel, so its squared norm may come out too small, by at most
//! `gamma_k * M^2` where `M = sum_t |left_t| |right_t|` (Higham, *Accuracy and Stability of
//! Numerical Algorithms*, section 3.1; each entry errs by gamma times the product of the norms that
//! bounds it, by Cauchy and Schwarz). This amount is added. M, the *magnitude*, also bounds what a
//! unit's terms may add to the rounding of a fused sum over many units.

use tch::{Kind, Tensor};

use super::PrivateError;
use super::ops::{Form, by_gram};
use super::sums::{kept, pieces};

/// Gradients of U units by one parameter.
#[derive(Debug)]
pub(crate) struct Contribution {
    pub(crate) parts: Vec<Part>,
    /// Squared L2 norm, not below the true one of the recorded values; f64 `[U]`. Not finite where
    /// any value of the unit's gradient is not.
    pub(crate) squared: Tensor,
    /// Bound of the sum of absolute terms, f64 `[U]`; `None` where the terms are the gradient
    /// itself.
    pub(crate) magnitude: Option<Tensor>,
}

/// What a weighted sum is made of.
#[derive(Debug)]
pub(crate) enum Part {
    /// `[U, T, d]` and `[U, T, p]`.
    Outer { left: Tensor, right: Tensor },
    /// `[U, T]` and `[U, T, d]`.
    Table { indices: Tensor, values: Tensor },
    /// The gradients themselves: `[U, n]`.
    Dense { values: Tensor },
}

/// Merges forms by one parameter, at least one, whose tensor has `rows` rows (its first size).
pub(crate) fn merge(forms: Vec<Form>, rows: i64) -> Result<Contribution, PrivateError> {
    let (mut lefts, mut rights) = (Vec::new(), Vec::new());
    let (mut indices, mut values) = (Vec::new(), Vec::new());
    let mut vectors: Option<Tensor> = None;
    for form in forms {
        match form {
            Form::Outer { left, right } => {
                lefts.push(left);
                rights.push(right);
            }
            Form::Table { indices: i, values: v } => {
                indices.push(i);
                values.push(v);
            }
            Form::Vector { values } => {
                vectors = Some(match vectors {
                    Some(sum) => sum.f_add(&values)?,
                    None => values,
                });
            }
        }
    }
    let outer = match lefts.is_empty() {
        true => None,
        false => Some((joined(lefts)?, joined(rights)?)),
    };
    let table = match indices.is_empty() {
        true => None,
        false => Some((joined(indices)?, joined(values)?)),
    };
    match (outer, table, vectors) {
        (None, None, Some(values)) => Ok(dense(values)?),
        (Some((left, right)), None, None) => of_outer(left, right),
        (None, Some((indices, values)), None) => of_table(indices, values, rows),
        (Some(outer), Some(table), None) => mixed(outer, table, rows),
        _ => {
            Err(PrivateError::Network("a parameter is used in ways that do not go together".into()))
        }
    }
}

/// Terms of several uses, one after the other.
fn joined(parts: Vec<Tensor>) -> Result<Tensor, PrivateError> {
    match <[Tensor; 1]>::try_from(parts) {
        Ok([one]) => Ok(one),
        Err(parts) => Ok(Tensor::f_cat(&parts, 1)?),
    }
}

fn dense(values: Tensor) -> Result<Contribution, PrivateError> {
    let squared = values.f_square()?.f_sum_dim_intlist(1, false, Kind::Double)?;
    Ok(Contribution { parts: vec![Part::Dense { values }], squared, magnitude: None })
}

fn of_outer(left: Tensor, right: Tensor) -> Result<Contribution, PrivateError> {
    let (terms, d, p) = (left.size()[1], left.size()[2], right.size()[2]);
    if terms == 1 {
        let (left, right) = (kept(left)?, kept(right)?);
        let squared = squared_rows(&left)?.f_mul(&squared_rows(&right)?)?;
        let parts = vec![Part::Outer { left, right }];
        return Ok(Contribution { parts, squared, magnitude: None });
    }
    if !by_gram(terms, d, p) {
        // Positions of several rows, or of several uses, may be in f64 on one side.
        let left = left.f_to_kind(right.kind())?;
        let values = left.f_transpose(1, 2)?.f_bmm(&right)?.f_flatten(1, -1)?;
        return dense(values.f_to_kind(Kind::Double)?);
    }
    let (left, right) = (kept(left)?, kept(right)?);
    let (squared, magnitude) = gram(&left, &right)?;
    let parts = vec![Part::Outer { left, right }];
    Ok(Contribution { parts, squared, magnitude: Some(magnitude) })
}

/// Squared norms by Gram matrices, with their error added, and magnitudes.
fn gram(left: &Tensor, right: &Tensor) -> Result<(Tensor, Tensor), PrivateError> {
    let (terms, d, p) = (left.size()[1], left.size()[2], right.size()[2]);
    let (mut squares, mut magnitudes) = (Vec::new(), Vec::new());
    for (start, length) in pieces(left.size()[0], terms * (d + p)) {
        let products = |values: &Tensor| -> Result<Tensor, PrivateError> {
            let values = values.f_narrow(0, start, length)?.f_to_kind(Kind::Double)?;
            Ok(values.f_bmm(&values.f_transpose(1, 2)?)?)
        };
        let (l, r) = (products(left)?, products(right)?);
        let lengths = l.f_diagonal(0, 1, 2)?.f_mul(&r.f_diagonal(0, 1, 2)?)?.f_sqrt()?;
        magnitudes.push(lengths.f_sum_dim_intlist(1, false, Kind::Double)?);
        squares.push(l.f_mul(&r)?.f_sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double)?);
    }
    let magnitude = Tensor::f_cat(&magnitudes, 0)?;
    let bound = gamma(d + p + terms * terms);
    let squared = Tensor::f_cat(&squares, 0)?.f_add(&magnitude.f_square()?.f_mul_scalar(bound)?)?;
    Ok((squared.f_clamp_min(0.0)?, magnitude))
}

fn of_table(indices: Tensor, values: Tensor, rows: i64) -> Result<Contribution, PrivateError> {
    let (squared, magnitude) = table(&indices, &values, rows)?;
    let parts = vec![Part::Table { indices, values }];
    Ok(Contribution { parts, squared, magnitude: Some(magnitude) })
}

/// Squared norms of summed table rows, directly: positions of a unit with the same index are added,
/// then squared. Their error relative to the magnitude is added as for Gram matrices.
fn table(indices: &Tensor, values: &Tensor, rows: i64) -> Result<(Tensor, Tensor), PrivateError> {
    let (units, terms, width) = (values.size()[0], values.size()[1], values.size()[2]);
    let options = (Kind::Int64, values.device());
    let offsets = Tensor::f_arange(units, options)?.f_mul_scalar(rows)?.f_unsqueeze(1)?;
    let (keys, slots, _) =
        indices.f_add(&offsets)?.f_flatten(0, -1)?.f_internal_unique2(true, true, false)?;
    let flat = values.f_reshape([-1, width])?.f_to_kind(Kind::Double)?;
    let lengths = flat.f_square()?.f_sum_dim_intlist(1, false, Kind::Double)?;
    let magnitude = lengths.f_sqrt()?.f_view([units, terms])?;
    let magnitude = magnitude.f_sum_dim_intlist(1, false, Kind::Double)?;
    let options = (Kind::Double, values.device());
    let mut sums = Tensor::f_zeros([keys.size()[0], width], options)?;
    let _ = sums.f_index_add_(0, &slots, &flat)?;
    let mut squared = Tensor::f_zeros([units], options)?;
    let owner = keys.f_divide_scalar_mode(rows, "floor")?;
    let squares = sums.f_square()?.f_sum_dim_intlist(1, false, Kind::Double)?;
    let _ = squared.f_index_add_(0, &owner, &squares)?;
    let error = magnitude.f_square()?.f_mul_scalar(gamma(2 * terms + width))?;
    Ok((squared.f_add(&error)?, magnitude))
}

/// A table that is also a linear map (tied embeddings): with `sum_r left_r right_r^T` and
/// `sum_t e_i(t) value_t^T` the cross term is `2 sum_(r,t) left_r[i(t)] (right_r . value_t)`.
fn mixed(
    (left, right): (Tensor, Tensor),
    (indices, values): (Tensor, Tensor),
    rows: i64,
) -> Result<Contribution, PrivateError> {
    let (square_l, magnitude_l) = gram(&left, &right)?;
    let (square_t, magnitude_t) = table(&indices, &values, rows)?;
    let positions = right.size()[1];
    let (d, p) = (left.size()[2], right.size()[2]);
    let picks = indices.f_unsqueeze(1)?.f_expand([-1, positions, -1], false)?;
    let picked = left.f_gather(2, &picks, false)?.f_to_kind(Kind::Double)?;
    let wide = |values: &Tensor| values.f_to_kind(Kind::Double);
    let inner = wide(&right)?.f_bmm(&wide(&values)?.f_transpose(1, 2)?)?;
    let cross =
        picked.f_mul(&inner)?.f_sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double)?;
    let magnitude = magnitude_l.f_add(&magnitude_t)?;
    let terms = positions + indices.size()[1];
    let error = magnitude.f_square()?.f_mul_scalar(gamma(d + p + terms * terms))?;
    let squared = square_l.f_add(&square_t)?.f_add(&cross.f_mul_scalar(2.0)?)?.f_add(&error)?;
    let squared = squared.f_clamp_min(0.0)?;
    let parts = vec![Part::Outer { left, right }, Part::Table { indices, values }];
    Ok(Contribution { parts, squared, magnitude: Some(magnitude) })
}

/// `[U, 1, n]` to the sums of squares `[U]` in f64.
fn squared_rows(values: &Tensor) -> Result<Tensor, PrivateError> {
    let values = values.f_squeeze_dim(1)?.f_to_kind(Kind::Double)?;
    Ok(values.f_square()?.f_sum_dim_intlist(1, false, Kind::Double)?)
}

/// Relative error of a sum of products in f64 with this many roundings, times two for safety.
fn gamma(roundings: i64) -> f64 {
    2.0 * (roundings + 16) as f64 * f64::EPSILON
}
