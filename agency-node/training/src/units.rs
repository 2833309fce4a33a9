//! Factors of a microbatch's units, and the squared norm of a unit's summed gradient.
//!
//! Shared by the trainers, so that a unit's clip factor is the same computation everywhere: plain
//! loops over the unit's own rows in f64, whose bits cannot depend on where the unit stands. Knows no
//! tensor library.

use std::ops::Range;

use crate::batch::Batch;
use crate::clipping::Weighting;

/// Weights of the rows of one microbatch.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Weight of each row of the padded microbatch; a row without one must contribute exact zeros.
    pub rows: Vec<Option<f64>>,
    /// Units without a finite gradient.
    pub non_finite: usize,
    /// Units that were not clipped.
    pub within: usize,
}

/// Rows of one layer in memory: f32, row major, `stride` apart, of which `width` count.
#[derive(Debug, Clone, Copy)]
pub struct LayerRows<'a> {
    /// The values.
    pub values: &'a [f32],
    /// Distance of two rows.
    pub stride: usize,
    /// Values of a row.
    pub width: usize,
}

impl LayerRows<'_> {
    fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.stride..i * self.stride + self.width]
    }
}

/// The weights of a microbatch. `squared_norms` has the squared gradient norm of each row (padding
/// included), `squared_sum` gives that of the summed gradient of a unit of several rows.
///
/// # Errors
/// Those of `squared_sum`.
pub fn weights<E>(
    batch: &Batch<'_>,
    weighting: Weighting,
    squared_norms: &[f64],
    mut squared_sum: impl FnMut(Range<usize>) -> Result<f64, E>,
) -> Result<Weights, E> {
    let mut out = Weights { rows: vec![None; squared_norms.len()], non_finite: 0, within: 0 };
    for unit in batch.unit_ranges() {
        let norms = &squared_norms[unit.clone()];
        let factor = match norms {
            [one] => weighting.factor(*one),
            _ if norms.iter().any(|s| !s.is_finite()) => None,
            _ => weighting.factor_of_sum(squared_sum(unit.clone())?, norms),
        };
        out.non_finite += usize::from(factor.is_none());
        out.within += usize::from(factor == Some(1.0));
        out.rows[unit].fill(factor);
    }
    Ok(out)
}

/// Squared norm of a unit's summed gradient by one linear layer with bias, from the layer's inputs a
/// and output gradients g: `sum_ij (g_i . g_j)(a_i . a_j + 1)`. Rounding may leave it below zero or
/// off by what [`ClipNorm::factor_of_sum`](crate::clipping::ClipNorm::factor_of_sum) allows for.
pub fn squared_linear_sum(
    inputs: LayerRows<'_>,
    gradients: LayerRows<'_>,
    unit: Range<usize>,
) -> f64 {
    let mut total = 0.0;
    for i in unit.clone() {
        let mut others = 0.0;
        for j in unit.start..i {
            others +=
                dot(gradients.row(i), gradients.row(j)) * (dot(inputs.row(i), inputs.row(j)) + 1.0);
        }
        let own =
            dot(gradients.row(i), gradients.row(i)) * (dot(inputs.row(i), inputs.row(i)) + 1.0);
        total += 2.0 * others + own;
    }
    total
}

/// Inner product in f64, in eight sums that the compiler can keep in vector registers.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0f64; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let rest: f64 = rest.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += f64::from(*x) * f64::from(*y);
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Rows;
    use crate::clipping::ClipNorm;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pairs_give_the_norm_of_the_sum(
            values in proptest::collection::vec(-4.0f32..4.0, 5 * (11 + 3)),
            start in 0usize..4,
        ) {
            let (a, g) = values.split_at(5 * 11);
            let inputs = LayerRows { values: a, stride: 11, width: 10 };
            let gradients = LayerRows { values: g, stride: 3, width: 2 };
            let mut sum = [0.0f64; 2 * 11];
            for i in start..5 {
                for (o, g) in gradients.row(i).iter().enumerate() {
                    let row = inputs.row(i).iter().chain([&1.0]);
                    for (s, a) in sum[o * 11..].iter_mut().zip(row) {
                        *s += f64::from(*g) * f64::from(*a);
                    }
                }
            }
            let expected: f64 = sum.iter().map(|s| s * s).sum();
            let found = squared_linear_sum(inputs, gradients, start..5);
            prop_assert!((found - expected).abs() <= 1e-12 * (1.0 + expected), "{found} {expected}");
        }
    }

    #[test]
    fn a_unit_has_one_weight_and_falls_as_a_whole() {
        let (values, labels) = ([0.0; 6], [0.0; 6]);
        let rows = Rows::new(&values, 1).unwrap();
        let batch = Batch::with_units(rows, &labels, &[1, 2, 2, 1]).unwrap();
        let weighting = Weighting::Clip(ClipNorm::new(1.0).unwrap());
        let norms = [0.25, 1.0, 1.0, f64::NAN, 1.0, 16.0, 7.0, f64::NAN];
        let mut asked = Vec::new();
        let found = weights(&batch, weighting, &norms, |unit| {
            asked.push(unit);
            Ok::<_, ()>(4.0)
        })
        .unwrap();
        assert_eq!(asked, std::slice::from_ref(&(1..3)), "only where a sum is needed and finite");
        assert_eq!(found.non_finite, 1);
        assert_eq!(found.rows[0], Some(1.0));
        assert_eq!(found.rows[1], found.rows[2]);
        assert!((found.rows[1].unwrap() - 0.5).abs() < 1e-8);
        assert_eq!(found.rows[3..5], [None, None]);
        assert!((found.rows[5].unwrap() - 0.25).abs() < 1e-8);
        assert_eq!(found.rows[6..], [None, None], "padding");
        assert_eq!(weights(&batch, weighting, &norms, |_| Err(9)), Err(9));
    }
}
