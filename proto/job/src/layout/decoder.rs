//! The tensors of a decoder, in the order of a pass, named as in Hugging Face's Llama and StableLM.
//!
//! The output map is the embedding and has no tensor of its own. Knows names, shapes and initial
//! scales; not what is computed.

use super::{Initial, ParameterLayout};
use crate::spec::NormKind;

/// Of `layers` blocks over a vocabulary of `tokens`.
///
/// Maps back into the residual stream start smaller by `sqrt(2 layers)`, so that the stream keeps its
/// size over the blocks (Radford et al. 2019, section 2.3).
pub(super) fn layout(
    layers: u32,
    width: usize,
    hidden: usize,
    norm: NormKind,
    tokens: usize,
) -> ParameterLayout {
    let mut layout = ParameterLayout::empty();
    let deep = 2 * layers as usize;
    let map = |layout: &mut ParameterLayout, name: String, out: usize, fan_in: usize, share| {
        layout.push(format!("{name}.weight"), vec![out, fan_in], fan_in * share, Initial::Uniform);
    };
    map(&mut layout, "model.embed_tokens".into(), tokens, width, 1);
    for i in 0..layers {
        let name = |part: &str| format!("model.layers.{i}.{part}");
        normalisation(&mut layout, name("input_layernorm"), width, norm);
        for part in ["q_proj", "k_proj", "v_proj"] {
            map(&mut layout, name(&format!("self_attn.{part}")), width, width, 1);
        }
        map(&mut layout, name("self_attn.o_proj"), width, width, deep);
        normalisation(&mut layout, name("post_attention_layernorm"), width, norm);
        map(&mut layout, name("mlp.gate_proj"), hidden, width, 1);
        map(&mut layout, name("mlp.up_proj"), hidden, width, 1);
        map(&mut layout, name("mlp.down_proj"), width, hidden, deep);
    }
    normalisation(&mut layout, "model.norm".into(), width, norm);
    layout
}

fn normalisation(layout: &mut ParameterLayout, name: String, width: usize, norm: NormKind) {
    layout.push(format!("{name}.weight"), vec![width], width, Initial::Ones);
    if norm == NormKind::Layer {
        layout.push(format!("{name}.bias"), vec![width], width, Initial::Zeros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ModelSpec;

    #[test]
    fn tensors_are_those_of_the_field_and_as_many_as_the_specification_says() {
        for (norm, norms) in [(NormKind::Rms, 1), (NormKind::Layer, 2)] {
            let model = ModelSpec::Decoder {
                layers: 2,
                width: 8,
                heads: 2,
                hidden: 12,
                norm,
                rotary_base: 1e4,
                microbatch: 4,
            };
            let layout = ParameterLayout::of(&model, 17, 13);
            let names: Vec<_> = layout.tensors().iter().map(|t| t.name.as_str()).collect();
            assert_eq!(names[0], "model.embed_tokens.weight");
            assert!(names.contains(&"model.layers.1.mlp.gate_proj.weight"));
            assert!(names.contains(&"model.layers.0.self_attn.o_proj.weight"));
            assert_eq!(names.contains(&"model.norm.bias"), norm == NormKind::Layer);
            assert!(!names.contains(&"lm_head.weight"), "tied");
            let expected = 13 * 8 + 2 * (4 * 64 + 3 * 96 + 2 * norms * 8) + norms * 8;
            assert_eq!(layout.total(), expected);
            assert_eq!(model.parameters(17, 13), Some(expected as u64));
            let values = layout.initial_parameters(1);
            assert_eq!(values.len(), layout.total());
            for tensor in layout.tensors() {
                let here = &values[tensor.offset..tensor.offset + tensor.len()];
                match tensor.name.as_str() {
                    name if name.ends_with("norm.weight") => {
                        assert!(here.iter().all(|v| *v == 1.0))
                    }
                    name if name.ends_with(".bias") => assert!(here.iter().all(|v| *v == 0.0)),
                    _ => {
                        let bound = 1.0 / (tensor.fan_in as f32).sqrt();
                        let largest = here.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                        assert!(largest <= bound && largest > 0.8 * bound, "{}", tensor.name);
                    }
                }
            }
        }
    }
}
