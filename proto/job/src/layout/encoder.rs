//! The tensors of an encoder's adapters and head: all that a job with a frozen base trains and sends.
//!
//! Named as PEFT names them around a Hugging Face `BertModel`. The base has no place here: the job names
//! it by its hash. Knows names, shapes and initial scales; not what is computed.

use super::{Initial, ParameterLayout};
use crate::spec::{LoraSpec, LoraTarget};

/// What stands before the base's own names.
const PREFIX: &str = "base_model.model";

impl LoraTarget {
    /// The map's name within a block, and its inputs and outputs.
    pub fn map(self, width: usize, hidden: usize) -> (&'static str, usize, usize) {
        match self {
            Self::Query => ("attention.self.query", width, width),
            Self::Key => ("attention.self.key", width, width),
            Self::Value => ("attention.self.value", width, width),
            Self::Output => ("attention.output.dense", width, width),
            Self::Up => ("intermediate.dense", width, hidden),
            Self::Down => ("output.dense", hidden, width),
        }
    }
}

/// Of `layers` blocks with a head of `outputs` logits. Adapters start as zero maps (Hu et al. 2022,
/// section 4.1), the head too: the first step is taken from the base as it is.
pub(super) fn layout(
    layers: u32,
    width: usize,
    hidden: usize,
    lora: &LoraSpec,
    outputs: usize,
) -> ParameterLayout {
    let mut layout = ParameterLayout::empty();
    let rank = lora.rank as usize;
    for i in 0..layers {
        for target in &lora.targets {
            let (map, inputs, out) = target.map(width, hidden);
            let name = format!("{PREFIX}.encoder.layer.{i}.{map}");
            let a = vec![rank, inputs];
            layout.push(format!("{name}.lora_A.weight"), a, inputs, Initial::Uniform);
            layout.push(format!("{name}.lora_B.weight"), vec![out, rank], rank, Initial::Zeros);
        }
    }
    let head = format!("{PREFIX}.classifier");
    layout.push(format!("{head}.weight"), vec![outputs, width], width, Initial::Zeros);
    layout.push(format!("{head}.bias"), vec![outputs], width, Initial::Zeros);
    layout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_adapters_and_the_head_travel() {
        let lora =
            LoraSpec { rank: 3, alpha: 6.0, targets: vec![LoraTarget::Query, LoraTarget::Down] };
        let layout = layout(2, 8, 12, &lora, 1);
        let names: Vec<_> = layout.tensors().iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names.len(), 2 * 2 * 2 + 2);
        assert_eq!(names[0], "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight");
        assert_eq!(names[9], "base_model.model.classifier.bias");
        assert_eq!(layout.total(), 2 * (3 * 16 + 3 * 20) + 8 + 1);
        let values = layout.initial_parameters(1);
        let b = &layout.tensors()[1];
        assert!(values[b.offset..b.offset + b.len()].iter().all(|v| *v == 0.0));
        assert!(values[..24].iter().any(|v| *v != 0.0));
    }
}
