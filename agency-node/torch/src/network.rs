//! A network with the tape that ghost norms need.
//!
//! tch offers no hooks. So the parameters carry no `requires_grad`, the first pre-activation is the
//! leaf, every layer records its input and pre-activation, and one backward pass of the summed loss
//! towards the pre-activations gives all that norms and clipped sums are made of.

use std::ops::Range;

use tch::{Kind, Reduction, TchError, Tensor};
use tributary_training::mlp::MlpShape;
use tributary_training::softmax;

use crate::layer::Layer;
use crate::linear::Linear;

/// One step of the forward pass.
enum Stage {
    /// With parameters: recorded.
    Layer(Box<dyn Layer>),
    /// Without parameters.
    Relu,
}

/// Layers in order, holding one set of parameters.
pub(crate) struct Network {
    stages: Vec<Stage>,
    outputs: usize,
}

/// A layer with what it saw and the gradient of the summed loss by its output.
pub(crate) struct Recorded<'a> {
    layer: &'a dyn Layer,
    input: Tensor,
    gradient: Tensor,
}

/// Every recorded layer of one microbatch, first to last.
pub(crate) struct Tape<'a>(Vec<Recorded<'a>>);

impl Network {
    /// The network with these flat parameters, whose length the caller has checked.
    pub(crate) fn new(shape: &MlpShape, parameters: &[f32]) -> Result<Self, TchError> {
        let mut stages = Vec::new();
        for (i, layer) in shape.layers().iter().enumerate() {
            if i > 0 {
                stages.push(Stage::Relu);
            }
            let linear = Linear::new(layer, parameters)?;
            stages.push(Stage::Layer(Box::new(linear)));
        }
        Ok(Self { stages, outputs: shape.outputs() })
    }

    /// A network of any layers that ends in `outputs` logits, to try checks on.
    #[cfg(test)]
    pub(crate) fn of_layers(layers: Vec<Box<dyn Layer>>, outputs: usize) -> Self {
        Self { stages: layers.into_iter().map(Stage::Layer).collect(), outputs }
    }

    /// Logits `[B, outputs]` of inputs `[B, padded width]`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let mut value = input.shallow_clone();
        for stage in &self.stages {
            value = match stage {
                Stage::Layer(layer) => layer.forward(&value)?,
                Stage::Relu => value.f_relu()?,
            };
        }
        value.f_narrow(1, 0, self.outputs as i64)
    }

    /// Forward and one backward pass; one label per row.
    pub(crate) fn record(&self, input: &Tensor, labels: &[f32]) -> Result<Tape<'_>, TchError> {
        let mut seen: Vec<(&dyn Layer, Tensor)> = Vec::new();
        let mut outputs = Vec::new();
        let mut value = input.shallow_clone();
        for stage in &self.stages {
            value = match stage {
                Stage::Relu => value.f_relu()?,
                Stage::Layer(layer) => {
                    seen.push((layer.as_ref(), value.f_detach()?));
                    let output = layer.forward(&value)?;
                    if outputs.is_empty() {
                        // The leaf; everything after it is part of the graph.
                        let _ = output.f_set_requires_grad(true)?;
                    }
                    outputs.push(output.shallow_clone());
                    output
                }
            };
        }
        let logits = value.f_narrow(1, 0, self.outputs as i64)?;
        let loss = if self.outputs == 1 {
            binary_loss(&logits, labels)?
        } else {
            class_loss(&logits, labels)?
        };
        let gradients = Tensor::f_run_backward(&[loss], &outputs, false, false)?;
        let recorded = seen.into_iter().zip(gradients);
        let recorded =
            recorded.map(|((layer, input), gradient)| Recorded { layer, input, gradient });
        Ok(Tape(recorded.collect()))
    }
}

/// Summed binary cross-entropy.
fn binary_loss(logits: &Tensor, labels: &[f32]) -> Result<Tensor, TchError> {
    let (labels, none) = (Tensor::f_from_slice(labels)?.f_unsqueeze(1)?, None::<Tensor>);
    logits.f_binary_cross_entropy_with_logits(&labels, none.as_ref(), none.as_ref(), Reduction::Sum)
}

/// A scalar with the gradient of the summed softmax cross-entropy: the inner product of the logits
/// with that gradient as a constant. The gradient is computed row by row outside the library, so
/// that neither a row's place nor the padding beyond the classes can enter.
fn class_loss(logits: &Tensor, labels: &[f32]) -> Result<Tensor, TchError> {
    let shape = logits.size();
    let mut rows = to_f32(&logits.f_detach()?)?;
    let classes = rows.len() / labels.len().max(1);
    for (row, label) in rows.chunks_exact_mut(classes.max(1)).zip(labels) {
        softmax::gradient(row, *label);
    }
    let gradient = Tensor::f_from_slice(&rows)?.f_view(shape.as_slice())?;
    logits.f_mul(&gradient)?.f_sum(Kind::Float)
}

impl Tape<'_> {
    /// Squared norm of the sum of the gradients of some consecutive records, as
    /// [`Layer::squared_sum`].
    pub(crate) fn squared_sum(&self, unit: &Range<usize>) -> Result<f64, TchError> {
        let mut total = 0.0;
        for Recorded { layer, input, gradient } in &self.0 {
            total += layer.squared_sum(input, gradient, unit)?;
        }
        Ok(total)
    }

    /// Squared L2 norm of each record's whole gradient, f64, `[B]`. Not finite if anything in the
    /// record's gradient is not.
    pub(crate) fn squared_norms(&self) -> Result<Vec<f64>, TchError> {
        let mut total: Option<Tensor> = None;
        for Recorded { layer, input, gradient } in &self.0 {
            let here = layer.squared_norms(input, gradient)?;
            total = Some(match total {
                Some(total) => total.f_add(&here)?,
                None => here,
            });
        }
        total.map_or_else(|| Ok(Vec::new()), |total| to_f64(&total))
    }

    /// Adds `sum_i weight_i * gradient_i` to flat f64 sums; a record without a weight adds exact
    /// zeros, whatever it holds.
    pub(crate) fn add_weighted_sums(
        &self,
        weights: &[Option<f64>],
        sums: &mut [f64],
    ) -> Result<(), TchError> {
        let factors: Vec<f64> = weights.iter().map(|w| w.unwrap_or(0.0)).collect();
        let factors = Tensor::f_from_slice(&factors)?;
        let dropped: Vec<bool> = weights.iter().map(Option::is_none).collect();
        let dropped = if dropped.contains(&true) {
            Some(Tensor::f_from_slice(&dropped)?.f_unsqueeze(1)?)
        } else {
            None
        };
        // Zero times NaN is NaN: clear dropped rows on both sides before any product.
        let cleared = |values: &Tensor| match &dropped {
            Some(rows) => values.f_masked_fill(rows, 0.0),
            None => Ok(values.shallow_clone()),
        };
        let mut rest = sums;
        for Recorded { layer, input, gradient } in &self.0 {
            let (input, gradient) = (cleared(input)?, cleared(gradient)?);
            for sum in layer.weighted_sums(&input, &gradient, &factors)? {
                let values = to_f64(&sum)?;
                let (here, after) = rest.split_at_mut(values.len().min(rest.len()));
                here.iter_mut().zip(&values).for_each(|(s, v)| *s += v);
                rest = after;
            }
        }
        Ok(())
    }

    /// Every value that a record's gradient is made of, f32, `[B, all widths]`.
    pub(crate) fn values(&self) -> Result<Tensor, TchError> {
        let parts: Vec<&Tensor> = self.0.iter().flat_map(|r| [&r.input, &r.gradient]).collect();
        Tensor::f_cat(&parts, 1)
    }
}

/// The values of an f32 tensor, row major.
pub(crate) fn to_f32(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let tensor = tensor.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut out = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut out, tensor.numel())?;
    Ok(out)
}

/// The values of an f64 tensor, row major.
fn to_f64(tensor: &Tensor) -> Result<Vec<f64>, TchError> {
    let tensor = tensor.f_to_kind(Kind::Double)?.f_contiguous()?;
    let mut out = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut out, tensor.numel())?;
    Ok(out)
}
