//! Which rows of a microbatch belong to which unit.
//!
//! A unit of several rows becomes one longer sequence: its rows' positions stand one after the
//! other, padded with zeros to a length that settings fix, so that the shape, and with it the
//! kernels that compute a unit's norm, do not depend on the other units. Knows nothing of
//! gradients.

use tch::{Kind, Tensor};

use super::PrivateError;
use super::ops::Form;

/// The units of one microbatch of R rows, of which the last may be padding.
#[derive(Debug)]
pub(crate) struct Grouping {
    units: i64,
    max_rows: i64,
    /// For several rows a unit: the rows of each, `[units * max_rows]`, R where there is none.
    places: Option<Tensor>,
}

impl Grouping {
    /// Each of the first `units` rows is a unit.
    pub(crate) fn single_rows(units: usize) -> Self {
        Self { units: units as i64, max_rows: 1, places: None }
    }

    /// Unit number u has `lengths[u]` consecutive rows, at most `max_rows`, in a microbatch of
    /// `rows` rows. The caller has checked the lengths.
    pub(crate) fn of_lengths(
        lengths: &[usize],
        max_rows: usize,
        rows: usize,
    ) -> Result<Self, PrivateError> {
        if max_rows == 1 {
            return Ok(Self::single_rows(lengths.len()));
        }
        let mut places = Vec::with_capacity(lengths.len() * max_rows);
        let mut start = 0;
        for &length in lengths {
            places.extend((start..start + length).map(|row| row as i64));
            places.extend(std::iter::repeat_n(rows as i64, max_rows - length));
            start += length;
        }
        let places = Some(Tensor::f_from_slice(&places)?);
        Ok(Self { units: lengths.len() as i64, max_rows: max_rows as i64, places })
    }

    /// Units of the microbatch.
    pub(crate) fn units(&self) -> usize {
        self.units as usize
    }

    /// A form by rows as a form by units.
    pub(crate) fn group(&self, form: Form) -> Result<Form, PrivateError> {
        Ok(match form {
            Form::Outer { left, right } => {
                Form::Outer { left: self.sequences(&left)?, right: self.sequences(&right)? }
            }
            Form::Table { indices, values } => {
                Form::Table { indices: self.sequences(&indices)?, values: self.sequences(&values)? }
            }
            Form::Vector { values } => {
                let values = self.sequences(&values.f_unsqueeze(1)?)?;
                Form::Vector { values: values.f_sum_dim_intlist(1, false, Kind::Double)? }
            }
        })
    }

    /// `[R, T, ...]` as `[units, max_rows * T, ...]`.
    fn sequences(&self, values: &Tensor) -> Result<Tensor, PrivateError> {
        let Some(places) = &self.places else {
            return Ok(values.f_narrow(0, 0, self.units)?);
        };
        let mut size = values.size();
        size[0] = 1;
        let zeros = Tensor::f_zeros(&size[..], (values.kind(), values.device()))?;
        let padded = Tensor::f_cat(&[values, &zeros], 0)?.f_index_select(0, places)?;
        size[0] = self.units;
        size[1] *= self.max_rows;
        Ok(padded.f_reshape(&size[..])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_unit_become_one_sequence_padded_with_zeros() {
        let values = Tensor::arange(12, (Kind::Float, tch::Device::Cpu)).view([6, 2, 1]);
        let grouping = Grouping::of_lengths(&[2, 1, 1], 2, 6).unwrap();
        let grouped = grouping.sequences(&values).unwrap();
        assert_eq!(grouped.size(), [3, 4, 1]);
        let wanted = [0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 6.0, 7.0, 0.0, 0.0];
        assert!(grouped.flatten(0, -1).equal(&Tensor::from_slice(&wanted)));
        assert_eq!(grouping.units(), 3);
        let single = Grouping::single_rows(4).sequences(&values).unwrap();
        assert_eq!(single.size(), [4, 2, 1]);
    }
}
