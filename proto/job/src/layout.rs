//! The model's parameters as one flat vector: which tensor lives where, and the initial values.
//!
//! Names follow PyTorch (`layers.0.weight` is `[out, in]`, row major) and, for transformers, Hugging
//! Face's models, so that the released safetensors file means the same elsewhere. Knows nothing of
//! any tensor library.

mod cnn;
mod cox;
mod decoder;
mod encoder;

use crate::spec::{CnnShape, ModelSpec};

/// One named tensor inside the flat parameter vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in PyTorch style.
    pub name: String,
    /// Shape, row major.
    pub shape: Vec<usize>,
    /// First index in the flat vector.
    pub offset: usize,
    /// Inputs of the layer, for the initial scale.
    pub fan_in: usize,
    /// The initial values.
    pub initial: Initial,
}

/// Initial values of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// Uniform in `+-1/sqrt(fan_in)`.
    Uniform,
    /// All one.
    Ones,
    /// All zero.
    Zeros,
    /// All minus two.
    MinusTwo,
}

/// All tensors of a model, in order, without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterLayout {
    tensors: Vec<TensorSpec>,
    total: usize,
}

impl TensorSpec {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ParameterLayout {
    /// Layout of a model family from `inputs` features to `outputs` logits.
    pub fn of(model: &ModelSpec, inputs: usize, outputs: usize) -> Self {
        match model {
            ModelSpec::Mlp { hidden } => Self::mlp(hidden, inputs, outputs),
            ModelSpec::Decoder { layers, width, hidden, norm, .. } => {
                decoder::layout(*layers, *width as usize, *hidden as usize, *norm, outputs)
            }
            ModelSpec::Encoder { layers, width, hidden, lora, .. } => {
                encoder::layout(*layers, *width as usize, *hidden as usize, lora, outputs)
            }
            ModelSpec::Cnn { image, channels, kernel, pool, .. } => {
                // Sizes that do not fit together were refused long before.
                CnnShape::of(*image, channels, *kernel, *pool)
                    .map_or_else(|_| Self::empty(), |shape| cnn::layout(&shape, *kernel, outputs))
            }
            ModelSpec::Cox { intervals } => cox::layout(inputs, intervals.len()),
        }
    }

    fn mlp(hidden: &[u32], inputs: usize, outputs: usize) -> Self {
        let mut widths = vec![inputs];
        widths.extend(hidden.iter().map(|w| *w as usize));
        widths.push(outputs);
        let mut layout = Self::empty();
        for (i, pair) in widths.windows(2).enumerate() {
            let (fan_in, out) = (pair[0], pair[1]);
            for (suffix, shape) in [("weight", vec![out, fan_in]), ("bias", vec![out])] {
                layout.push(format!("layers.{i}.{suffix}"), shape, fan_in, Initial::Uniform);
            }
        }
        layout
    }

    fn empty() -> Self {
        Self { tensors: Vec::new(), total: 0 }
    }

    /// Adds the next tensor.
    fn push(&mut self, name: String, shape: Vec<usize>, fan_in: usize, initial: Initial) {
        let tensor = TensorSpec { name, shape, offset: self.total, fan_in, initial };
        self.total += tensor.len();
        self.tensors.push(tensor);
    }

    /// The tensors in order.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Number of parameters d.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Initial parameters, as [`Initial`] says: the same bits on every machine
    /// (SHA-256 in counter mode, then only exactly rounded operations).
    pub fn initial_parameters(&self, seed: u64) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.total);
        for tensor in &self.tensors {
            let constant = match tensor.initial {
                Initial::Uniform => None,
                Initial::Ones => Some(1.0),
                Initial::Zeros => Some(0.0),
                Initial::MinusTwo => Some(-2.0),
            };
            if let Some(value) = constant {
                out.resize(out.len() + tensor.len(), value);
                continue;
            }
            let bound = 1.0 / (tensor.fan_in.max(1) as f64).sqrt();
            for block in 0..tensor.len().div_ceil(8) {
                let digest = tributary_secagg::hash(
                    "tributary/init/v1",
                    &[&seed.to_le_bytes(), tensor.name.as_bytes(), &(block as u64).to_le_bytes()],
                );
                let left = tensor.len() - block * 8;
                for word in digest.0.chunks_exact(4).take(left) {
                    let bits = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                    let unit = f64::from(bits) / 2_147_483_648.0 - 1.0;
                    out.push((unit * bound) as f32);
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perceptron_has_the_expected_tensors() {
        let layout = ParameterLayout::of(&ModelSpec::Mlp { hidden: vec![4] }, 3, 1);
        let names: Vec<_> = layout.tensors().iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]);
        assert_eq!(layout.total(), 3 * 4 + 4 + 4 + 1);
        assert_eq!(layout.tensors()[2].offset, 16);
    }

    #[test]
    fn the_last_layer_has_one_row_per_logit() {
        let layout = ParameterLayout::of(&ModelSpec::Mlp { hidden: vec![] }, 784, 10);
        assert_eq!(layout.tensors()[0].shape, [10, 784]);
        assert_eq!(layout.total(), 7850);
    }

    #[test]
    fn initial_values_depend_on_the_seed_alone_and_stay_in_bounds() {
        let layout = ParameterLayout::of(&ModelSpec::Mlp { hidden: vec![5] }, 9, 1);
        let a = layout.initial_parameters(7);
        assert_eq!(a, layout.initial_parameters(7));
        assert_ne!(a, layout.initial_parameters(8));
        assert_eq!(a.len(), layout.total());
        assert!(a[..45].iter().all(|v| v.abs() <= 1.0 / 3.0));
    }
}
