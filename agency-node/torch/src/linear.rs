//! A linear layer over rows: `y = x W^T + b`.
//!
//! A record's gradient by W is the outer product of its output gradient g and its input a, so its
//! squared norm is `|g|^2 |a|^2`, and the bias adds `|g|^2` (Goodfellow 2015, "Efficient
//! per-example gradient computations"). The weighted sum is one product of matrices
//! ("book-keeping", Bu et al. 2023), in f64. The norm of a sum over several records comes from the
//! inner products of pairs of them.

use std::ops::Range;

use tch::{Kind, TchError, Tensor};
use tributary_training::mlp::LinearShape;
use tributary_training::units::{LayerRows, squared_linear_sum};

use crate::layer::Layer;
use crate::network::to_f32;

/// Widths are padded with zeros to multiples of this many f32, one cache line. Small and odd widths
/// go through matrix kernels that treat neighbouring rows differently (measured with MKL: 5 to 10
/// inputs or outputs, odd and even rows differ in the last bit); with whole cache lines every row
/// is aligned alike and takes the same path. `probe` checks it on the machine at hand.
const WIDTH_UNIT: usize = 16;

/// Weight `[out, in]` and bias `[out]`, padded with zeros, without `requires_grad`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
    inputs: i64,
    outputs: i64,
}

/// The width that a layer's rows have in memory.
pub(crate) fn padded_width(width: usize) -> usize {
    width.next_multiple_of(WIDTH_UNIT)
}

/// Copies rows of `width` values into `rows` zeroed rows of [`padded_width`].
pub(crate) fn padded_rows(values: &[f32], width: usize, rows: usize) -> Vec<f32> {
    let stride = padded_width(width);
    let mut out = vec![0.0; rows * stride];
    for (to, from) in out.chunks_exact_mut(stride).zip(values.chunks_exact(width)) {
        to[..width].copy_from_slice(from);
    }
    out
}

impl Linear {
    /// Copies the layer out of the flat parameters.
    pub(crate) fn new(shape: &LinearShape, parameters: &[f32]) -> Result<Self, TchError> {
        let (inputs, outputs) = (padded_width(shape.inputs), padded_width(shape.outputs));
        let weight = padded_rows(&parameters[shape.weight.clone()], shape.inputs, outputs);
        let bias = padded_rows(&parameters[shape.bias.clone()], shape.outputs, 1);
        Ok(Self {
            weight: Tensor::f_from_slice(&weight)?.f_view([outputs as i64, inputs as i64])?,
            bias: Tensor::f_from_slice(&bias)?,
            inputs: shape.inputs as i64,
            outputs: shape.outputs as i64,
        })
    }
}

impl Layer for Linear {
    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        input.f_linear(&self.weight, Some(&self.bias))
    }

    fn squared_norms(&self, input: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
        squared_rows(input)?.f_add_scalar(1.0)?.f_mul(&squared_rows(gradient)?)
    }

    fn squared_sum(
        &self,
        input: &Tensor,
        gradient: &Tensor,
        unit: &Range<usize>,
    ) -> Result<f64, TchError> {
        let rows =
            |values: &Tensor| to_f32(&values.f_narrow(0, unit.start as i64, unit.len() as i64)?);
        let (input, gradient) = (rows(input)?, rows(gradient)?);
        Ok(squared_linear_sum(
            layer_rows(&input, self.inputs),
            layer_rows(&gradient, self.outputs),
            0..unit.len(),
        ))
    }

    fn weighted_sums(
        &self,
        input: &Tensor,
        gradient: &Tensor,
        weights: &Tensor,
    ) -> Result<Vec<Tensor>, TchError> {
        let weighted = gradient.f_to_kind(Kind::Double)?.f_mul(&weights.f_unsqueeze(1)?)?;
        let weight = weighted.f_tr()?.f_matmul(&input.f_to_kind(Kind::Double)?)?;
        let bias = weighted.f_sum_dim_intlist(0, false, Kind::Double)?;
        // Padding has no gradient: its inputs are zero and nothing depends on its outputs.
        let weight = weight.f_narrow(0, 0, self.outputs)?.f_narrow(1, 0, self.inputs)?;
        Ok(vec![weight, bias.f_narrow(0, 0, self.outputs)?])
    }
}

/// Rows as [`padded_rows`] lays them out, without their padding.
fn layer_rows(values: &[f32], width: i64) -> LayerRows<'_> {
    let width = usize::try_from(width).unwrap_or_default();
    LayerRows { values, stride: padded_width(width), width }
}

/// Sum of squares of each row in f64: `[B, width]` to `[B]`.
fn squared_rows(values: &Tensor) -> Result<Tensor, TchError> {
    values.f_to_kind(Kind::Double)?.f_square()?.f_sum_dim_intlist(1, false, Kind::Double)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_job::spec::ModelSpec;
    use tributary_training::mlp::MlpShape;

    /// The layer with the trait's own norm of a sum.
    struct Direct(Linear);

    impl Layer for Direct {
        fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
            self.0.forward(input)
        }

        fn squared_norms(&self, input: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
            self.0.squared_norms(input, gradient)
        }

        fn weighted_sums(
            &self,
            input: &Tensor,
            gradient: &Tensor,
            weights: &Tensor,
        ) -> Result<Vec<Tensor>, TchError> {
            self.0.weighted_sums(input, gradient, weights)
        }
    }

    #[test]
    fn pairs_of_records_give_the_norm_of_their_sum() {
        let shape = MlpShape::of(&ModelSpec::Mlp { hidden: vec![] }, 19, 5);
        let parameters = vec![0.5; shape.dimension()];
        let layer = || Linear::new(&shape.layers()[0], &parameters).unwrap();
        let values = |width: usize, salt: f32| {
            let values: Vec<f32> =
                (0..8 * width).map(|i| ((i as f32 + salt) * 0.7).sin() * 3.0).collect();
            let padded = padded_rows(&values, width, 8);
            Tensor::from_slice(&padded).view([8, padded_width(width) as i64])
        };
        let (input, gradient) = (values(19, 0.0), values(5, 100.0));
        for unit in [0..8, 2..3, 3..7] {
            let pairs = layer().squared_sum(&input, &gradient, &unit).unwrap();
            let direct = Direct(layer()).squared_sum(&input, &gradient, &unit).unwrap();
            assert!((pairs - direct).abs() <= 1e-12 * direct, "{pairs} {direct}");
        }
    }
}
