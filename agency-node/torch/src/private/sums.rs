//! Weighted sums of units' gradients in f64: one product of matrices for each parameter.
//!
//! Knows nothing of norms; weights come from outside.

use tch::{Device, Kind, Tensor};

use super::contribution::Part;
use super::{Parameters, PrivateError};

/// Values of an f64 copy made at a time: what stays in the cache.
const PIECE: i64 = 1 << 20;
/// Values of an f64 copy that is kept from the norms to the sums: below what the allocator gives
/// back to the system at every turn.
const KEPT: usize = 1 << 21;

/// Splits `count` items of `size` values into about equal (start, length) pieces of at most
/// [`PIECE`] values, or one item.
pub(crate) fn pieces(count: i64, size: i64) -> impl Iterator<Item = (i64, i64)> {
    let most = (PIECE / size.max(1)).max(1);
    let step = count.div_euclid((count + most - 1).div_euclid(most).max(1)).max(1);
    (0..count).step_by(step as usize).map(move |start| (start, step.min(count - start)))
}

/// An f64 copy of values that norms and sums both need, or the values themselves where that would
/// take much memory: they are then converted in pieces, twice.
pub(crate) fn kept(values: Tensor) -> Result<Tensor, PrivateError> {
    match values.numel() <= KEPT {
        true => Ok(values.f_to_kind(Kind::Double)?),
        false => Ok(values),
    }
}

/// Sums by every trainable parameter, f64.
#[derive(Debug)]
pub(crate) struct Sums(Vec<Sum>);

#[derive(Debug)]
struct Sum {
    /// Two dimensions, the first as the parameter's; nothing was added yet where there is none.
    matrix: Option<Tensor>,
    shape: Vec<i64>,
}

impl Sum {
    fn matrix(&mut self) -> Result<&mut Tensor, PrivateError> {
        let matrix = match self.matrix.take() {
            Some(matrix) => matrix,
            None => {
                let rows = self.shape.first().copied().unwrap_or(1);
                let columns = self.shape.iter().skip(1).product::<i64>();
                Tensor::f_zeros([rows, columns], (Kind::Double, Device::Cpu))?
            }
        };
        Ok(self.matrix.insert(matrix))
    }

    /// Adds `left^T right`.
    fn add_product(&mut self, left: &Tensor, right: &Tensor) -> Result<(), PrivateError> {
        match &mut self.matrix {
            Some(matrix) => {
                let _ = matrix.f_addmm_(&left.f_tr()?, right)?;
            }
            none => *none = Some(left.f_tr()?.f_mm(right)?),
        }
        Ok(())
    }
}

impl Sums {
    pub(crate) fn zeros(parameters: &Parameters) -> Self {
        let sum = |value: &Tensor| Sum { matrix: None, shape: value.size() };
        Self(parameters.trainable().map(|(_, _, value)| sum(value)).collect())
    }

    /// The sums in the parameters' shapes.
    pub(crate) fn into_tensors(self) -> Result<Vec<Tensor>, PrivateError> {
        let shaped = |mut sum: Sum| {
            let shape = sum.shape.clone();
            Ok(sum.matrix()?.f_view(&shape[..])?)
        };
        self.0.into_iter().map(shaped).collect()
    }

    /// Adds `sum_u weights_u * gradient_u` for trainable parameter number `place`. Weights f64
    /// `[U]`; `dropped` `[U]` marks units whose values are cleared before any product, for zero
    /// times NaN is NaN.
    pub(crate) fn add(
        &mut self,
        place: usize,
        part: &Part,
        weights: &Tensor,
        dropped: Option<&Tensor>,
    ) -> Result<(), PrivateError> {
        let Some(sum) = self.0.get_mut(place) else {
            return Err(PrivateError::Network("a sum without a parameter".into()));
        };
        // f64, cleared, for the given units.
        let wide = |values: &Tensor, (start, length): (i64, i64)| -> Result<Tensor, PrivateError> {
            let values = values.f_narrow(0, start, length)?.f_to_kind(Kind::Double)?;
            let Some(dropped) = dropped else { return Ok(values) };
            let mut shape = vec![1; values.dim()];
            shape[0] = length;
            Ok(values
                .f_masked_fill(&dropped.f_narrow(0, start, length)?.f_view(&shape[..])?, 0.0)?)
        };
        let weighted = |values: &Tensor, piece: (i64, i64)| -> Result<Tensor, PrivateError> {
            let factors = weights.f_narrow(0, piece.0, piece.1)?.f_view([-1, 1, 1])?;
            Ok(wide(values, piece)?.f_mul(&factors)?.f_flatten(0, 1)?)
        };
        match part {
            Part::Outer { left, right } => {
                let per_unit = left.size()[1] * (left.size()[2] + right.size()[2]);
                // A single term a unit: small pieces would only read the sum more often.
                let per_unit =
                    if left.size()[1] == 1 { per_unit.min(PIECE / 512) } else { per_unit };
                // Either side may carry the weights: the narrower one costs less.
                let on_left = left.size()[2] <= right.size()[2];
                for piece in pieces(left.size()[0], per_unit) {
                    let (left, right) = match on_left {
                        true => (weighted(left, piece)?, wide(right, piece)?.f_flatten(0, 1)?),
                        false => (wide(left, piece)?.f_flatten(0, 1)?, weighted(right, piece)?),
                    };
                    sum.add_product(&left, &right)?;
                }
            }
            Part::Table { indices, values } => {
                let flat = weighted(values, (0, values.size()[0]))?;
                let _ = sum.matrix()?.f_index_add_(0, &indices.f_flatten(0, -1)?, &flat)?;
            }
            Part::Dense { values } => {
                let values = wide(values, (0, values.size()[0]))?;
                let _ = sum.matrix()?.f_view([-1])?.f_addmv_(&values.f_tr()?, weights)?;
            }
        }
        Ok(())
    }
}
