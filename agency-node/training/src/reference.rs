//! The reference trainer: the network in plain Rust over `ndarray`, one screen of arithmetic.
//!
//! It defines what other trainers must compute and serves where no tensor library is installed.
//! Forward and backward run in f32, the sums over records in f64. The matrix kernel always works on
//! full register tiles with one order over the inner dimension, so a row's bits do not depend on
//! its place or its neighbours; the conformance suite checks that on the machine it runs on.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, CowArray, Ix2};
use tributary_job::spec::ModelSpec;

use crate::batch::{Batch, MICROBATCH, Rows};
use crate::clipping::{ClipNorm, Weighting};
use crate::mlp::{LinearShape, MlpShape};
use crate::softmax;
use crate::trainer::{ClippedSum, Trainer, TrainerError, check_call};
use crate::units::{LayerRows, Weights, squared_linear_sum, weights};

const NAME: &str = "reference";

/// The pure-Rust trainer.
#[derive(Debug, Clone)]
pub struct ReferenceTrainer {
    shape: MlpShape,
}

impl ReferenceTrainer {
    /// A trainer for a model from `inputs` features to `outputs` logits.
    pub fn new(model: &ModelSpec, inputs: usize, outputs: usize) -> Self {
        Self { shape: MlpShape::of(model, inputs, outputs) }
    }

    fn weighted_sum(
        &self,
        parameters: &[f32],
        batch: &Batch<'_>,
        weighting: Weighting,
    ) -> Result<ClippedSum, TrainerError> {
        check_call(self.shape.dimension(), self.shape.inputs(), parameters, batch.rows())?;
        let mut total = ClippedSum::zeros(self.shape.dimension());
        for part in batch.microbatches() {
            let activations = self.forward(parameters, part.rows())?;
            let gradients = self.backward(parameters, &activations, &part.padded_labels())?;
            let weights = weigh(&part, &activations, &gradients, weighting)?;
            self.add(&activations, &gradients, &weights, &mut total);
        }
        Ok(total)
    }

    /// The input of every layer, then the logits; each `[MICROBATCH, width]`.
    fn forward(
        &self,
        parameters: &[f32],
        rows: Rows<'_>,
    ) -> Result<Vec<Array2<f32>>, TrainerError> {
        let input = Array2::from_shape_vec((MICROBATCH, rows.width()), rows.padded());
        let mut values = vec![input.map_err(shape_error)?];
        for (i, layer) in self.shape.layers().iter().enumerate() {
            let (weight, bias) = tensors(parameters, layer)?;
            let mut out = values[i].dot(&weight.t());
            out += &bias;
            if i + 1 < self.shape.layers().len() {
                // Written so that NaN passes: a broken record must stay visible.
                out.mapv_inplace(|v| if v <= 0.0 { 0.0 } else { v });
            }
            values.push(out);
        }
        Ok(values)
    }

    /// Gradient of each record's loss by every layer's output, in layer order.
    fn backward(
        &self,
        parameters: &[f32],
        activations: &[Array2<f32>],
        labels: &[f32],
    ) -> Result<Vec<Array2<f32>>, TrainerError> {
        let count = self.shape.layers().len();
        let mut gradient = if self.shape.outputs() == 1 {
            let labels = ArrayView2::from_shape((MICROBATCH, 1), labels).map_err(shape_error)?;
            activations[count].mapv(sigmoid) - labels
        } else {
            class_gradients(&activations[count], labels)?
        };
        let mut out = Vec::with_capacity(count);
        for i in (1..count).rev() {
            let (weight, _) = tensors(parameters, &self.shape.layers()[i])?;
            let mut below = gradient.dot(&weight);
            // The layer's input is its predecessor's output after ReLU: zero where it was cut.
            below.zip_mut_with(&activations[i], |g, a| {
                if *a == 0.0 {
                    *g = 0.0;
                }
            });
            out.push(std::mem::replace(&mut gradient, below));
        }
        out.push(gradient);
        out.reverse();
        Ok(out)
    }

    /// Adds `sum_i weight_i * gradient_i`, without any per-record gradient in memory.
    fn add(
        &self,
        activations: &[Array2<f32>],
        gradients: &[Array2<f32>],
        weights: &Weights,
        total: &mut ClippedSum,
    ) {
        total.non_finite += weights.non_finite;
        total.within += weights.within;
        for ((a, g), layer) in activations.iter().zip(gradients).zip(self.shape.layers()) {
            let (mut a, mut g) = (a.mapv(f64::from), g.mapv(f64::from));
            for (i, factor) in weights.rows.iter().enumerate() {
                match factor {
                    Some(f) => g.row_mut(i).mapv_inplace(|v| v * f),
                    None => {
                        // Zero times NaN is NaN: clear both sides before any product.
                        g.row_mut(i).fill(0.0);
                        a.row_mut(i).fill(0.0);
                    }
                }
            }
            let mut weight = Array2::<f64>::zeros((layer.outputs, layer.inputs));
            general_mat_mul(1.0, &g.t(), &a, 0.0, &mut weight);
            accumulate(&mut total.sum[layer.weight.clone()], weight.iter());
            accumulate(&mut total.sum[layer.bias.clone()], g.sum_axis(Axis(0)).iter());
        }
    }
}

impl Trainer for ReferenceTrainer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn dimension(&self) -> usize {
        self.shape.dimension()
    }

    fn outputs(&self) -> usize {
        self.shape.outputs()
    }

    fn clipped_gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
        clip_norm: f64,
    ) -> Result<ClippedSum, TrainerError> {
        self.weighted_sum(parameters, batch, Weighting::Clip(ClipNorm::new(clip_norm)?))
    }

    fn gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
    ) -> Result<Vec<f64>, TrainerError> {
        let total = self.weighted_sum(parameters, batch, Weighting::Plain)?;
        if total.non_finite > 0 {
            return Err(TrainerError::NonFinite);
        }
        Ok(total.sum)
    }

    fn predict(
        &mut self,
        parameters: &[f32],
        features: Rows<'_>,
    ) -> Result<Vec<f32>, TrainerError> {
        check_call(self.shape.dimension(), self.shape.inputs(), parameters, features)?;
        let outputs = self.shape.outputs();
        let mut out = Vec::with_capacity(features.len() * outputs);
        for part in features.microbatches() {
            let mut values = self.forward(parameters, part)?;
            let logits = values.pop().into_iter().flatten();
            let first = out.len();
            out.extend(logits.take(part.len() * outputs));
            if outputs == 1 {
                out[first..].iter_mut().for_each(|z| *z = sigmoid(*z));
            } else {
                out[first..].chunks_exact_mut(outputs).for_each(softmax::softmax);
            }
        }
        Ok(out)
    }
}

fn tensors<'a>(
    parameters: &'a [f32],
    layer: &LinearShape,
) -> Result<(ArrayView2<'a, f32>, ArrayView1<'a, f32>), TrainerError> {
    let weight = &parameters[layer.weight.clone()];
    let weight = ArrayView2::from_shape((layer.outputs, layer.inputs), weight);
    Ok((weight.map_err(shape_error)?, ArrayView1::from(&parameters[layer.bias.clone()])))
}

/// The weights of a microbatch's rows. A linear layer's squared norm is `|g|^2 (|a|^2 + 1)`
/// (Goodfellow 2015); sums over a unit come from pairs of its rows.
fn weigh(
    part: &Batch<'_>,
    activations: &[Array2<f32>],
    gradients: &[Array2<f32>],
    weighting: Weighting,
) -> Result<Weights, TrainerError> {
    let mut squared = Array1::<f64>::zeros(MICROBATCH);
    for (a, g) in activations.iter().zip(gradients) {
        squared += &(squared_rows(g) * (squared_rows(a) + 1.0));
    }
    let layers = || activations.iter().zip(gradients);
    let in_order: Vec<_> = match part.units() {
        Some(_) => {
            layers().map(|(a, g)| (a.as_standard_layout(), g.as_standard_layout())).collect()
        }
        None => Vec::new(),
    };
    weights(part, weighting, &squared.to_vec(), |unit| {
        let mut total = 0.0;
        for (a, g) in &in_order {
            total += squared_linear_sum(layer_rows(a)?, layer_rows(g)?, unit.clone());
        }
        Ok(total)
    })
}

fn layer_rows<'a>(values: &'a CowArray<'_, f32, Ix2>) -> Result<LayerRows<'a>, TrainerError> {
    let width = values.ncols();
    match values.as_slice() {
        Some(values) => Ok(LayerRows { values, stride: width, width }),
        None => {
            let message = "rows are not in order".to_owned();
            Err(TrainerError::Backend { trainer: NAME, message })
        }
    }
}

/// Gradient of each record's softmax cross-entropy by its logits.
fn class_gradients(logits: &Array2<f32>, labels: &[f32]) -> Result<Array2<f32>, TrainerError> {
    let mut values: Vec<f32> = logits.iter().copied().collect();
    for (row, label) in values.chunks_exact_mut(logits.ncols()).zip(labels) {
        softmax::gradient(row, *label);
    }
    Array2::from_shape_vec(logits.raw_dim(), values).map_err(shape_error)
}

fn squared_rows(values: &Array2<f32>) -> Array1<f64> {
    values.rows().into_iter().map(|r| r.iter().map(|v| f64::from(*v).powi(2)).sum()).collect()
}

fn accumulate<'a>(sum: &mut [f64], values: impl Iterator<Item = &'a f64>) {
    for (s, v) in sum.iter_mut().zip(values) {
        *s += v;
    }
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

fn shape_error(error: ndarray::ShapeError) -> TrainerError {
    TrainerError::Backend { trainer: NAME, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        crate::conformance::suite(&|model, inputs, outputs| {
            Box::new(ReferenceTrainer::new(model, inputs, outputs))
        });
    }

    #[test]
    fn logistic_regression_by_hand() {
        // w = (1, -2), b = 0.5, x = (2, 1): z = 0.5; y = 1: gradient (sigma(0.5) - 1) * (2, 1, 1).
        let mut trainer = ReferenceTrainer::new(&ModelSpec::Mlp { hidden: vec![] }, 2, 1);
        let values = [2.0, 1.0];
        let batch = Batch::new(Rows::new(&values, 2).unwrap(), &[1.0]).unwrap();
        let g = trainer.gradient_sum(&[1.0, -2.0, 0.5], &batch).unwrap();
        let residual = 1.0 / (1.0 + (-0.5f64).exp()) - 1.0;
        for (found, x) in g.iter().zip([2.0, 1.0, 1.0]) {
            assert!((found - residual * x).abs() < 1e-6);
        }
    }
}
