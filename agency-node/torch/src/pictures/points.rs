//! Pictures with labels as tensors.
//!
//! A picture with a point that is not finite is *bad*, and so is one whose label is no class: its unit
//! contributes exact zeros. Knows nothing of networks.

use tch::{TchError, Tensor};
use tributary_training::{Batch, Rows, softmax};

use crate::unit_sums::Inputs;

/// The label of a row that counts nothing.
const IGNORED: i64 = -100;

/// The pictures of a batch.
#[derive(Debug)]
pub(super) struct Points<'a> {
    rows: Rows<'a>,
    labels: Vec<i64>,
    units: Option<Vec<usize>>,
    bad: Vec<bool>,
}

impl<'a> Points<'a> {
    /// Of a batch whose labels are the indices of classes.
    pub(super) fn of(batch: &Batch<'a>, outputs: usize) -> Self {
        let rows = batch.rows();
        let (mut labels, mut bad) =
            (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (row, label) in rows.values().chunks_exact(rows.width()).zip(batch.labels()) {
            let class = softmax::class(*label, outputs.max(2));
            let class = class.filter(|_| row.iter().all(|v| v.is_finite()));
            bad.push(class.is_none());
            labels.push(class.map_or(IGNORED, |class| class as i64));
        }
        let units = batch.units().map(|lengths| lengths.iter().map(|n| *n as usize).collect());
        Self { rows, labels, units, bad }
    }
}

impl Inputs for Points<'_> {
    fn len(&self) -> usize {
        self.bad.len()
    }

    fn units(&self) -> Option<&[usize]> {
        self.units.as_deref()
    }

    fn is_bad(&self, row: usize) -> bool {
        self.bad.get(row).copied().unwrap_or(true)
    }

    fn tensors(&self, start: usize, end: usize, rows: usize) -> Result<Vec<Tensor>, TchError> {
        let width = self.rows.width();
        let mut labels = self.labels[start..end].to_vec();
        labels.resize(rows, IGNORED);
        let mut values = self.rows.values()[start * width..end * width].to_vec();
        // A bad picture counts nothing; what it holds goes no further.
        for (row, bad) in values.chunks_exact_mut(width).zip(&self.bad[start..end]) {
            if *bad {
                row.fill(0.0);
            }
        }
        Ok(vec![padded(values, width, rows)?, Tensor::f_from_slice(&labels)?])
    }
}

/// Rows filled up with zeros to a number of rows.
pub(super) fn padded(mut values: Vec<f32>, width: usize, rows: usize) -> Result<Tensor, TchError> {
    values.resize(rows * width, 0.0);
    Tensor::f_from_slice(&values)?.f_view([rows as i64, width as i64])
}

/// A few pictures that are unlike each other, for a trial of this machine.
pub(super) fn unlike(width: usize, outputs: usize) -> Result<Vec<Tensor>, TchError> {
    const ROWS: usize = 7;
    // Low-discrepancy values in [-1, 1) with full mantissas.
    let value = |i: usize| (((i + 1) as f64 * 0.618_033_988_749_894_9).fract() * 2.0 - 1.0) as f32;
    let values: Vec<f32> = (0..ROWS * width).map(value).collect();
    let labels: Vec<i64> = (0..ROWS).map(|i| (i % outputs.max(2)) as i64).collect();
    Ok(vec![padded(values, width, ROWS)?, Tensor::f_from_slice(&labels)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_picture_or_no_class_is_bad() {
        let values = [[0.5, 1.0], [f32::NAN, 0.0], [0.0, f32::INFINITY], [0.0, 0.0], [2.0, 3.0]];
        let values = values.concat();
        let labels = [2.0, 0.0, 1.0, 3.0, 0.5];
        let batch = Batch::new(Rows::new(&values, 2).unwrap(), &labels).unwrap();
        let points = Points::of(&batch, 3);
        let bad: Vec<_> = (0..6).map(|row| points.is_bad(row)).collect();
        assert_eq!(bad, [false, true, true, true, true, true]);
        let tensors = points.tensors(0, 2, 3).unwrap();
        let all = Vec::<f32>::try_from(tensors[0].flatten(0, -1)).unwrap();
        assert_eq!(all, [0.5, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(Vec::<i64>::try_from(&tensors[1]).unwrap(), [2, -100, -100]);
        assert!(Points::of(&batch, 1).is_bad(0), "of a binary model 2 is no class");
    }
}
