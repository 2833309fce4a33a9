//! Does this machine treat the rows of a microbatch alike, for a given network?
//!
//! Sensitivity counts on a unit's gradient having the same bits whoever else is in the microbatch,
//! and in every slot of it. libtorch promises neither. Its kernels choose their path by shapes and
//! the processor and not by values, so a few rows tried in several places tell for all.

use tch::{Kind, Tensor};

use super::gradient::{gradients, row_forms};
use super::ops::Form;
use super::units::Grouping;
use super::{Network, Parameters, PrivateError, Settings};

/// Slots that are tried, spread over the microbatch.
const TRIED: usize = 5;

/// What [`independence`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Independence {
    /// A row's bits do not depend on what the other rows hold. Without it no network may be
    /// trained privately.
    pub of_company: bool,
    /// A row's bits do not depend on its slot either. Without it slots must be assigned by the
    /// unit's own identity, so that a unit that joins moves no other.
    pub of_place: bool,
}

/// Compares, bit for bit, what the gradient of a row is made of, and its norm: among other rows and among copies
/// of itself, in the same and in other slots of a microbatch. `inputs` are rows like those of the
/// training, at least two and unlike each other; they are repeated to `microbatch` rows.
///
/// # Errors
/// Fewer rows, inputs that do not fit, or a failure of libtorch.
pub fn independence(
    network: &dyn Network,
    parameters: &Parameters,
    inputs: &[Tensor],
    microbatch: usize,
) -> Result<Independence, PrivateError> {
    let rows = inputs.first().and_then(|input| input.size().first().copied()).unwrap_or(0);
    if rows < 2 || microbatch < 2 {
        return Err(PrivateError::Examples("the probe needs at least two rows".into()));
    }
    let values = |which: &dyn Fn(usize) -> i64| -> Result<Vec<Tensor>, PrivateError> {
        let order: Vec<i64> = (0..microbatch).map(which).collect();
        let order = Tensor::f_from_slice(&order)?;
        let picked: Result<Vec<_>, _> =
            inputs.iter().map(|input| input.f_index_select(0, &order)).collect();
        let picked = picked?;
        let mut all = flattened(row_forms(network, parameters, &picked, microbatch)?)?;
        // What a row's clip factor is made of.
        let grouping = Grouping::single_rows(microbatch);
        let gradients = gradients(network, parameters, &picked, microbatch, &grouping)?;
        let norms = gradients.squared_norms(parameters.dimension(), Settings::MAGNITUDE_SLACK)?;
        all.push(Tensor::f_from_slice(&norms)?.f_view([-1, 1])?);
        Ok(all)
    };
    let mixed = values(&|slot| slot as i64 % rows)?;
    let mut found = Independence { of_company: true, of_place: true };
    for tried in 0..TRIED {
        let slot = tried * (microbatch - 1) / (TRIED - 1);
        let row = slot as i64 % rows;
        let copies = values(&|_| row)?;
        for (mixed, copies) in mixed.iter().zip(&copies) {
            let here = mixed.f_narrow(0, slot as i64, 1)?;
            found.of_company &= same_bits(&here, &copies.f_narrow(0, slot as i64, 1)?)?;
            found.of_place &= same_bits(&here.f_expand_as(copies)?, copies)?;
        }
    }
    Ok(found)
}

/// What every gradient is made of, one tensor `[rows, n]` for each side of each form.
fn flattened(forms: Vec<(super::ParameterId, Form)>) -> Result<Vec<Tensor>, PrivateError> {
    let mut all = Vec::new();
    for (_, form) in forms {
        let parts = match form {
            Form::Outer { left, right } => vec![left, right],
            Form::Table { values, .. } | Form::Vector { values } => vec![values],
        };
        for part in parts {
            all.push(part.f_flatten(1, -1)?);
        }
    }
    Ok(all)
}

/// Compared as integers: no tolerance, and NaN is not an excuse.
fn same_bits(a: &Tensor, b: &Tensor) -> Result<bool, PrivateError> {
    let kind = if a.kind() == Kind::Double { Kind::Int64 } else { Kind::Int };
    let bits = |t: &Tensor| t.f_contiguous()?.f_view_dtype(kind);
    Ok(bits(a)?.f_equal(&bits(b)?)?)
}
