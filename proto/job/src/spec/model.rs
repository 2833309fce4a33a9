//! The model families that a job can select, with their sizes.
//!
//! Sizes and their bounds only: which tensors follow from them is [`crate::layout`]'s business, what
//! they compute is a trainer's.

use serde::{Deserialize, Serialize};

use super::data::DataSpec;
use super::{LabelValues, SpecError};

/// Windows computed at a time, if the job does not say.
const DEFAULT_MICROBATCH: u32 = 16;

/// Most positions of a microbatch, windows times context.
const MAX_MICROBATCH_POSITIONS: u64 = 1 << 16;

/// Model family with its size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelSpec {
    /// Fully connected layers with ReLU between them, ending in one logit (binary cross-entropy) or
    /// one per class (softmax cross-entropy). An empty `hidden` is logistic regression.
    Mlp {
        /// Width of each hidden layer.
        hidden: Vec<u32>,
    },
    /// A causal language model: pre-norm transformer blocks with rotary positions (Su et al. 2021),
    /// a gated feed-forward part (SwiGLU, Shazeer 2020) and embeddings that are also the output map.
    /// Tensors are named as in Hugging Face's Llama (`norm = "rms"`) or StableLM (`"layer"`). Context
    /// and vocabulary stand with the data.
    Decoder {
        /// Blocks.
        layers: u32,
        /// Width of the residual stream; a multiple of `heads`.
        width: u32,
        /// Heads of attention, each of even width.
        heads: u32,
        /// Inner width of the feed-forward part.
        hidden: u32,
        /// Normalisation.
        #[serde(default, skip_serializing_if = "NormKind::is_rms")]
        norm: NormKind,
        /// Base of the rotary positions.
        #[serde(default = "default_rotary_base", skip_serializing_if = "is_default_rotary_base")]
        rotary_base: f64,
        /// Windows that a node computes at a time: bounds its memory, whatever the batch.
        #[serde(default = "default_microbatch", skip_serializing_if = "is_default_microbatch")]
        microbatch: u32,
    },
}

/// Normalisation of a transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// Root mean square (Zhang and Sennrich 2019), scale.
    #[default]
    Rms,
    /// Mean and variance (Ba et al. 2016), scale and shift.
    Layer,
}

impl NormKind {
    /// Added under the root, for either kind.
    pub const EPSILON: f64 = 1e-5;

    fn is_rms(&self) -> bool {
        *self == Self::Rms
    }

    /// Tensors of `[width]` that one normalisation has.
    fn tensors(self) -> u64 {
        match self {
            Self::Rms => 1,
            Self::Layer => 2,
        }
    }
}

fn default_rotary_base() -> f64 {
    10_000.0
}

fn is_default_rotary_base(base: &f64) -> bool {
    *base == default_rotary_base()
}

fn default_microbatch() -> u32 {
    DEFAULT_MICROBATCH
}

fn is_default_microbatch(rows: &u32) -> bool {
    *rows == DEFAULT_MICROBATCH
}

impl ModelSpec {
    /// The family's name, as in a job file and in a node's policy.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Mlp { .. } => "mlp",
            Self::Decoder { .. } => "decoder",
        }
    }

    /// Number of parameters from `inputs` features to `outputs` logits, computed without laying
    /// anything out; `None` if it is beyond u64.
    pub fn parameters(&self, inputs: usize, outputs: usize) -> Option<u64> {
        let (inputs, outputs) = (u64::try_from(inputs).ok()?, u64::try_from(outputs).ok()?);
        match self {
            Self::Mlp { hidden } => {
                let mut fan_in = inputs;
                let mut total = 0u64;
                for out in hidden.iter().map(|w| u64::from(*w)).chain([outputs]) {
                    total = total.checked_add(fan_in.checked_add(1)?.checked_mul(out)?)?;
                    fan_in = out;
                }
                Some(total)
            }
            Self::Decoder { layers, width, hidden, norm, .. } => {
                let (layers, width) = (u64::from(*layers), u64::from(*width));
                let attention = width.checked_mul(width)?.checked_mul(4)?;
                let feed_forward = width.checked_mul(u64::from(*hidden))?.checked_mul(3)?;
                let norms = width.checked_mul(norm.tensors())?;
                let block = attention.checked_add(feed_forward)?.checked_add(2 * norms)?;
                let blocks = block.checked_mul(layers)?;
                outputs.checked_mul(width)?.checked_add(blocks)?.checked_add(norms)
            }
        }
    }

    pub(super) fn validate(&self) -> Result<(), SpecError> {
        match self {
            Self::Mlp { hidden } => {
                if hidden.len() > 8 || hidden.iter().any(|w| *w == 0 || *w > 65_536) {
                    return Err(SpecError::new(
                        "model.hidden",
                        "at most 8 layers of 1 to 65,536 units each",
                    ));
                }
                Ok(())
            }
            Self::Decoder { layers, width, heads, hidden, rotary_base, microbatch, .. } => {
                bounded("model.layers", *layers, 96)?;
                bounded("model.width", *width, 16_384)?;
                bounded("model.heads", *heads, 256)?;
                bounded("model.hidden", *hidden, 65_536)?;
                bounded("model.microbatch", *microbatch, 256)?;
                if !width.is_multiple_of(*heads) || !(width / heads).is_multiple_of(2) {
                    let problem = format!(
                        "a width of {width} over {heads} heads: each head needs the same, even width"
                    );
                    return Err(SpecError::new("model.heads", problem));
                }
                if !(100.0..=1e9).contains(rotary_base) {
                    return Err(SpecError::new("model.rotary_base", "between 100 and 1e9"));
                }
                Ok(())
            }
        }
    }

    /// Whether the data are what this family reads.
    pub(super) fn validate_for(&self, data: &DataSpec) -> Result<(), SpecError> {
        let refuse = |field: &str, problem: String| Err(SpecError::new(field, problem));
        match (self, &data.text) {
            (Self::Mlp { .. }, None) => Ok(()),
            (Self::Mlp { .. }, Some(_)) => {
                refuse("model.family", "\"mlp\" reads columns; text needs \"decoder\"".into())
            }
            (Self::Decoder { .. }, None) => {
                refuse("data.text", "a language model reads text: say which column".into())
            }
            (Self::Decoder { microbatch, .. }, Some(text)) => {
                if data.label.values != LabelValues::NextToken {
                    let problem = "a decoder is trained to say the next token; leave the label out";
                    return refuse("data.label", problem.into());
                }
                let positions = u64::from(*microbatch) * u64::from(text.context);
                if positions > MAX_MICROBATCH_POSITIONS {
                    let problem = format!(
                        "{microbatch} windows of {} tokens are more than \
                         {MAX_MICROBATCH_POSITIONS} positions",
                        text.context
                    );
                    return refuse("model.microbatch", problem);
                }
                Ok(())
            }
        }
    }
}

fn bounded(field: &str, value: u32, most: u32) -> Result<(), SpecError> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(SpecError::new(field, format!("{value}: must be between 1 and {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(width: u32, heads: u32) -> ModelSpec {
        ModelSpec::Decoder {
            layers: 2,
            width,
            heads,
            hidden: 12,
            norm: NormKind::Layer,
            rotary_base: 1e4,
            microbatch: 16,
        }
    }

    #[test]
    fn heads_must_divide_the_width_into_even_parts() {
        assert!(decoder(8, 2).validate().is_ok());
        for (width, heads, field) in [
            (8, 3, "model.heads"),
            (6, 2, "model.heads"),
            (0, 1, "model.width"),
            (8, 0, "model.heads"),
        ] {
            assert_eq!(decoder(width, heads).validate().unwrap_err().field, field);
        }
        let wild = ModelSpec::Decoder {
            layers: 1,
            width: 8,
            heads: 2,
            hidden: 4,
            norm: NormKind::Rms,
            rotary_base: f64::NAN,
            microbatch: 1,
        };
        assert_eq!(wild.validate().unwrap_err().field, "model.rotary_base");
    }

    #[test]
    fn sizes_that_overflow_have_no_number() {
        let most = ModelSpec::Decoder {
            layers: u32::MAX,
            width: u32::MAX,
            heads: 1,
            hidden: u32::MAX,
            norm: NormKind::Rms,
            rotary_base: 1e4,
            microbatch: 1,
        };
        assert_eq!(most.parameters(1, usize::MAX), None);
    }
}
