//! Does this machine's matrix library treat every row of a microbatch alike?
//!
//! Matrix kernels know a product's shape and the processor but not its values, so a few rows tried
//! in every place tell for all. Without this a record that joins a batch could shift the others to
//! places where their gradients round differently, and no sensitivity bound would hold.

use tch::{Kind, TchError, Tensor};
use tributary_training::MICROBATCH;

use crate::linear::padded_width;
use crate::network::Network;

/// Rows tried in every place.
const TRIED: usize = 4;

/// Whether each of a few rows gives the same bits, forward and backward, in every slot of a
/// microbatch and among other rows.
pub(crate) fn rows_are_independent(network: &Network, inputs: usize) -> Result<bool, TchError> {
    let labels: Vec<f32> = (0..MICROBATCH).map(|i| (i % 2) as f32).collect();
    let mixed = rows(inputs, |slot| slot)?;
    let company = network.record(&mixed, &labels)?.values()?;
    for tried in 0..TRIED {
        // Spread over the microbatch, so that the rows stand among others in different places.
        let place = tried * (MICROBATCH / TRIED) + 3 * tried;
        let copies = rows(inputs, |_| place)?;
        let alone = network.record(&copies, &[labels[place]; MICROBATCH])?.values()?;
        let expected = company.f_narrow(0, place as i64, 1)?;
        if !same_bits(&alone, &expected.f_expand_as(&alone)?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A microbatch whose row in each slot is number `which(slot)` of a fixed sequence of unlike rows.
fn rows(inputs: usize, which: impl Fn(usize) -> usize) -> Result<Tensor, TchError> {
    let stride = padded_width(inputs);
    let mut values = vec![0.0f32; MICROBATCH * stride];
    for (slot, row) in values.chunks_exact_mut(stride).enumerate() {
        for (i, value) in row[..inputs].iter_mut().enumerate() {
            // Low-discrepancy values in [-2, 2) with full mantissas.
            let step = (which(slot) * inputs + i + 1) as f64 * 0.618_033_988_749_894_9;
            *value = (step.fract() * 4.0 - 2.0) as f32;
        }
    }
    Tensor::f_from_slice(&values)?.f_view([MICROBATCH as i64, stride as i64])
}

/// Compared as integers: no tolerance, and NaN is not an excuse.
fn same_bits(a: &Tensor, b: &Tensor) -> Result<bool, TchError> {
    let (a, b) = (a.f_contiguous()?, b.f_contiguous()?);
    let bits = |t: &Tensor| t.f_view_dtype(Kind::Int);
    bits(&a)?.f_equal(&bits(&b)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Layer;
    use crate::linear::Linear;
    use tributary_job::spec::ModelSpec;
    use tributary_training::mlp::MlpShape;

    /// A linear layer that moves the last bit of the outputs in one slot.
    struct Uneven(Linear, Option<i64>);

    impl Layer for Uneven {
        fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
            let out = self.0.forward(input)?;
            if let Some(slot) = self.1 {
                let mut row = out.f_narrow(0, slot, 1)?;
                let _ = row.f_mul_scalar_(f64::from(1.0 + f32::EPSILON))?;
            }
            Ok(out)
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
    fn a_layer_that_treats_one_slot_differently_is_noticed() {
        let cases = [(None, true), (Some(0), false), (Some(255), false)];
        for ((slot, expected), outputs) in cases.into_iter().flat_map(|c| [(c, 1), (c, 3)]) {
            let shape = MlpShape::of(&ModelSpec::Mlp { hidden: vec![4] }, 3, outputs);
            let parameters: Vec<f32> = (0..shape.dimension()).map(|i| (i as f32).sin()).collect();
            let layers = shape.layers().iter().map(|layer| {
                let linear = Linear::new(layer, &parameters).unwrap();
                Box::new(Uneven(linear, slot)) as Box<dyn Layer>
            });
            let network = Network::of_layers(layers.collect(), outputs);
            assert_eq!(rows_are_independent(&network, 3).unwrap(), expected, "{slot:?}");
        }
    }

    #[test]
    fn a_single_bit_is_noticed() {
        let a = Tensor::from_slice(&[1.0f32, -0.5, f32::NAN]);
        assert!(same_bits(&a, &a.copy()).unwrap());
        for (at, other) in [(0, 1.0 + f32::EPSILON), (1, 0.5), (2, 0.0)] {
            let mut values = [1.0f32, -0.5, f32::NAN];
            values[at] = other;
            assert!(!same_bits(&a, &Tensor::from_slice(&values)).unwrap());
        }
        assert!(
            !same_bits(&Tensor::from_slice(&[0.0f32]), &Tensor::from_slice(&[-0.0f32])).unwrap()
        );
    }
}
