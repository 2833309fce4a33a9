//! The shape of a fully connected network inside the flat parameter vector.
//!
//! Knows the layout that the job fixes and no arithmetic.

use std::ops::Range;

use tributary_job::ParameterLayout;
use tributary_job::spec::ModelSpec;

/// One linear layer: `y = W x + b`, W is `[outputs, inputs]` row major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearShape {
    /// Inputs.
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
    /// Where W lies in the flat vector.
    pub weight: Range<usize>,
    /// Where b lies in the flat vector.
    pub bias: Range<usize>,
}

/// The layers of a network that ends in one logit, or one per class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlpShape {
    layers: Vec<LinearShape>,
    inputs: usize,
    outputs: usize,
    dimension: usize,
}

impl MlpShape {
    /// The layers of a model from `inputs` features to `outputs` logits.
    pub fn of(model: &ModelSpec, inputs: usize, outputs: usize) -> Self {
        let layout = ParameterLayout::of(model, inputs, outputs);
        let layers = layout.tensors().chunks_exact(2).map(|pair| LinearShape {
            inputs: pair[0].fan_in,
            outputs: pair[1].len(),
            weight: pair[0].offset..pair[0].offset + pair[0].len(),
            bias: pair[1].offset..pair[1].offset + pair[1].len(),
        });
        Self { layers: layers.collect(), inputs, outputs, dimension: layout.total() }
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[LinearShape] {
        &self.layers
    }

    /// Width of a feature row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of logits.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of parameters d.
    pub fn dimension(&self) -> usize {
        self.dimension
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_follow_the_layout_without_gaps() {
        let shape = MlpShape::of(&ModelSpec::Mlp { hidden: vec![5, 3] }, 7, 2);
        let dims: Vec<_> = shape.layers().iter().map(|l| (l.inputs, l.outputs)).collect();
        assert_eq!(dims, [(7, 5), (5, 3), (3, 2)]);
        let mut next = 0;
        for layer in shape.layers() {
            assert_eq!(layer.weight, next..next + layer.inputs * layer.outputs);
            assert_eq!(layer.bias, layer.weight.end..layer.weight.end + layer.outputs);
            next = layer.bias.end;
        }
        assert_eq!(shape.dimension(), next);
    }
}
