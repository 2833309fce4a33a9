//! The tensors of a convolutional network, as PyTorch names and shapes them.
//!
//! Knows names, shapes and initial scales; not what is computed.

use super::{Initial, ParameterLayout};
use crate::spec::CnnShape;

/// `convN.weight` `[filters, channels, kernel, kernel]` and `convN.bias` of each block, counted from 1,
/// then `fc.weight` `[outputs, values]` and `fc.bias`. The head reads channel by channel, each row by
/// row, as `torch.flatten` gives them. Initial values are PyTorch's: uniform within one over the root
/// of what a value is summed from.
pub(super) fn layout(shape: &CnnShape, kernel: u32, outputs: usize) -> ParameterLayout {
    let mut layout = ParameterLayout::empty();
    let side = kernel as usize;
    for (number, block) in (1..).zip(&shape.blocks) {
        let (filters, inputs) = (block.filters as usize, block.inputs as usize);
        let fan_in = inputs * side * side;
        let weight = vec![filters, inputs, side, side];
        layout.push(format!("conv{number}.weight"), weight, fan_in, Initial::Uniform);
        layout.push(format!("conv{number}.bias"), vec![filters], fan_in, Initial::Uniform);
    }
    let inputs = shape.head_inputs as usize;
    layout.push("fc.weight".into(), vec![outputs, inputs], inputs, Initial::Uniform);
    layout.push("fc.bias".into(), vec![outputs], inputs, Initial::Uniform);
    layout
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{ImageShape, ModelSpec};

    #[test]
    fn names_and_shapes_are_those_of_pytorch() {
        let image = ImageShape { height: 12, width: 11, channels: 3 };
        let model =
            ModelSpec::Cnn { image, channels: vec![4, 5], kernel: 3, pool: 2, microbatch: 8 };
        let layout = ParameterLayout::of(&model, 396, 10);
        let tensors: Vec<_> =
            layout.tensors().iter().map(|t| (t.name.as_str(), t.shape.clone())).collect();
        let wanted = [
            ("conv1.weight", vec![4, 3, 3, 3]),
            ("conv1.bias", vec![4]),
            ("conv2.weight", vec![5, 4, 3, 3]),
            ("conv2.bias", vec![5]),
            // 12 x 11, 10 x 9, 5 x 4, 3 x 2, 1 x 1.
            ("fc.weight", vec![10, 5]),
            ("fc.bias", vec![10]),
        ];
        assert_eq!(tensors, wanted);
        assert_eq!(model.parameters(396, 10), Some(layout.total() as u64));
        let values = layout.initial_parameters(5);
        assert!(values[..108].iter().all(|v| v.abs() <= 1.0 / 27f32.sqrt() + 1e-6));
        assert_eq!(values, layout.initial_parameters(5));
        assert_ne!(values, layout.initial_parameters(6));
    }

    #[test]
    fn sizes_that_do_not_fit_have_no_tensors_and_no_number() {
        let image = ImageShape { height: 4, width: 4, channels: 1 };
        let model = ModelSpec::Cnn { image, channels: vec![2], kernel: 5, pool: 2, microbatch: 8 };
        assert_eq!(model.parameters(16, 2), None);
        assert_eq!(ParameterLayout::of(&model, 16, 2).total(), 0);
    }
}
