//! The model families that a job can select, with their sizes.
//!
//! Sizes and their bounds only: which tensors follow from them is [`crate::layout`]'s business, what
//! they compute is a trainer's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cnn::{self, CnnShape, DEFAULT_PICTURES, ImageShape};
use super::cox;
use super::data::DataSpec;
use super::text::{MAX_CONTEXT, MAX_VOCABULARY, TokenizerSpec, check_sha256};
use super::{LabelValues, SpecError};

/// Windows computed at a time, if the job does not say.
const DEFAULT_MICROBATCH: u32 = 16;

/// Most positions of a microbatch, windows times context.
const MAX_MICROBATCH_POSITIONS: u64 = 1 << 16;

/// Most logits of a microbatch: a gigabyte in f32.
const MAX_MICROBATCH_LOGITS: u64 = 1 << 28;

/// Model family with its size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Adapters and a linear head on a frozen encoder (BERT, Devlin et al. 2019), for texts with a
    /// label. The head reads the mean over a text's tokens. Only adapters and head are trained and
    /// travel; every node must have the base.
    Encoder {
        /// SHA-256 of the base's `model.safetensors`, hex.
        base: String,
        /// Blocks of the base.
        layers: u32,
        /// Width of the base.
        width: u32,
        /// Heads of attention of the base.
        heads: u32,
        /// Inner width of the base's feed-forward part.
        hidden: u32,
        /// Tokens that the base has vectors for.
        vocabulary: u32,
        /// Positions that the base has vectors for.
        positions: u32,
        /// The adapters.
        lora: LoraSpec,
        /// Texts that a node computes at a time: bounds its memory, whatever the batch.
        #[serde(default = "default_microbatch", skip_serializing_if = "is_default_microbatch")]
        microbatch: u32,
    },
    /// A convolutional network over pictures whose points are the features, row by row, the channels
    /// of a point together. Blocks of a convolution (stride 1, no padding), ReLU and max-pooling, then
    /// one linear head (LeCun et al. 1998). Tensors are named and shaped as in PyTorch: `conv1.weight`
    /// `[filters, channels, kernel, kernel]`, `conv1.bias`, ..., `fc.weight`, `fc.bias`. Needs libtorch
    /// at every node.
    Cnn {
        /// Height, width and channels of a picture; their product is the number of features.
        image: ImageShape,
        /// Filters of each block.
        channels: Vec<u32>,
        /// Side of the filters, the same in every block.
        kernel: u32,
        /// Side of the squares of which pooling keeps the largest value.
        #[serde(default = "default_pool", skip_serializing_if = "is_default_pool")]
        pool: u32,
        /// Pictures that a node computes at a time: bounds its memory, whatever the batch.
        #[serde(default = "default_pictures", skip_serializing_if = "is_default_pictures")]
        microbatch: u32,
    },
    /// Proportional hazards (Cox 1972) for times to an event, in the piecewise-exponential form
    /// (Holford 1980; Friedman 1982): the baseline hazard is constant within each interval, and one
    /// record's loss is a Poisson loss that depends on that record alone. Its coefficients approximate
    /// those of Cox's partial likelihood, the better the finer the intervals. Needs
    /// `data.label.duration`. Tensors: `coefficients.weight` `[1, features]`, log hazard ratios;
    /// `baseline.log_hazard` `[intervals]`, log of the baseline's cumulative hazard over each interval.
    Cox {
        /// Ends of the intervals, rising, in the unit of the durations; the first interval begins at
        /// 0. A record is followed up to the last end at most.
        intervals: Vec<f64>,
    },
}

/// Low-rank adapters (Hu et al. 2022, "LoRA"): `y = W x + (alpha / rank) B A x` with W frozen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoraSpec {
    /// Rank of A and B.
    pub rank: u32,
    /// Scale of the adapter, over the rank.
    pub alpha: f64,
    /// The maps of every block that have an adapter, each once.
    pub targets: Vec<LoraTarget>,
}

/// A map of an encoder's block.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LoraTarget {
    /// Query projection of attention.
    Query,
    /// Key projection.
    Key,
    /// Value projection.
    Value,
    /// Output projection.
    Output,
    /// First map of the feed-forward part.
    Up,
    /// Second map of the feed-forward part.
    Down,
}

/// Normalisation of a transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
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

fn default_pool() -> u32 {
    2
}

fn is_default_pool(side: &u32) -> bool {
    *side == default_pool()
}

fn default_pictures() -> u32 {
    DEFAULT_PICTURES
}

fn is_default_pictures(rows: &u32) -> bool {
    *rows == DEFAULT_PICTURES
}

impl ModelSpec {
    /// The family's name, as in a job file and in a node's policy.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Mlp { .. } => "mlp",
            Self::Decoder { .. } => "decoder",
            Self::Encoder { .. } => "encoder",
            Self::Cnn { .. } => "cnn",
            Self::Cox { .. } => "cox",
        }
    }

    /// Number of parameters from `inputs` features to `outputs` logits, computed without laying
    /// anything out; `None` if it is beyond u64, or the sizes do not fit together.
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
            Self::Encoder { layers, width, hidden, lora, .. } => {
                let sides = lora.targets.iter().map(|target| {
                    let (_, inputs, outputs) = target.map(*width as usize, *hidden as usize);
                    (inputs + outputs) as u64
                });
                let sides = sides.fold(0u64, u64::saturating_add);
                let adapters = u64::from(lora.rank).checked_mul(sides)?;
                let adapters = adapters.checked_mul(u64::from(*layers))?;
                outputs.checked_mul(u64::from(*width) + 1)?.checked_add(adapters)
            }
            Self::Cnn { image, channels, kernel, pool, .. } => {
                CnnShape::of(*image, channels, *kernel, *pool).ok()?.parameters(*kernel, outputs)
            }
            Self::Cox { intervals } => inputs.checked_add(intervals.len() as u64),
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
            Self::Encoder {
                base,
                layers,
                width,
                heads,
                hidden,
                vocabulary,
                positions,
                lora,
                microbatch,
            } => {
                check_sha256("model.base", base)?;
                bounded("model.layers", *layers, 96)?;
                bounded("model.width", *width, 16_384)?;
                bounded("model.heads", *heads, 256)?;
                bounded("model.hidden", *hidden, 65_536)?;
                bounded("model.vocabulary", *vocabulary, MAX_VOCABULARY)?;
                bounded("model.positions", *positions, MAX_CONTEXT)?;
                bounded("model.microbatch", *microbatch, 256)?;
                if !width.is_multiple_of(*heads) {
                    let problem = format!("a width of {width} over {heads} heads");
                    return Err(SpecError::new("model.heads", problem));
                }
                lora.validate()
            }
            Self::Cnn { image, channels, kernel, pool, microbatch } => {
                CnnShape::of(*image, channels, *kernel, *pool)?.check_memory(*kernel, *microbatch)
            }
            Self::Cox { intervals } => cox::validate(intervals),
        }
    }

    /// Whether the data are what this family reads.
    pub(super) fn validate_for(&self, data: &DataSpec) -> Result<(), SpecError> {
        let refuse = |field: &str, problem: String| Err(SpecError::new(field, problem));
        if data.label.duration.is_some() && !matches!(self, Self::Cox { .. }) {
            let problem = format!("family {:?} learns no times; \"cox\" does", self.family());
            return refuse("data.label.duration", problem);
        }
        match (self, &data.text) {
            (Self::Cnn { image, .. }, _) => cnn::validate_for(*image, data),
            (Self::Cox { .. }, _) => cox::validate_for(data),
            (Self::Mlp { .. }, None) => Ok(()),
            (Self::Mlp { .. }, Some(_)) => {
                let problem = "\"mlp\" reads columns; text needs \"decoder\" or \"encoder\"";
                refuse("model.family", problem.into())
            }
            (Self::Encoder { .. }, None) => {
                refuse("data.text", "an encoder reads text: say which column".into())
            }
            (Self::Encoder { vocabulary, positions, microbatch, .. }, Some(text)) => {
                if data.label.values == LabelValues::NextToken {
                    return refuse("data.label", "an encoder's texts need a label".into());
                }
                let TokenizerSpec::File { vocabulary: tokens, .. } = &text.tokenizer else {
                    let problem = "the base was made with a tokenizer of its own: kind = \"file\"";
                    return refuse("data.text.tokenizer", problem.into());
                };
                if tokens > vocabulary {
                    let problem = format!("{tokens} tokens, the base has vectors for {vocabulary}");
                    return refuse("data.text.tokenizer.vocabulary", problem);
                }
                if text.context > *positions {
                    let problem = format!("{}: the base has {positions} positions", text.context);
                    return refuse("data.text.context", problem);
                }
                check_memory(*microbatch, text.context, 1)
            }
            (Self::Decoder { .. }, None) => {
                refuse("data.text", "a language model reads text: say which column".into())
            }
            (Self::Decoder { microbatch, .. }, Some(text)) => {
                if matches!(text.tokenizer, TokenizerSpec::File { .. }) {
                    let problem = "a decoder reads bytes or listed characters";
                    return refuse("data.text.tokenizer", problem.into());
                }
                if data.label.values != LabelValues::NextToken {
                    let problem = "a decoder is trained to say the next token; leave the label out";
                    return refuse("data.label", problem.into());
                }
                check_memory(*microbatch, text.context, text.tokenizer.vocabulary())
            }
        }
    }
}

/// What a microbatch takes of a node's memory is bounded before anything is made.
fn check_memory(microbatch: u32, context: u32, logits: u32) -> Result<(), SpecError> {
    let positions = u64::from(microbatch) * u64::from(context);
    let problem = if positions > MAX_MICROBATCH_POSITIONS {
        format!(
            "{microbatch} windows of {context} tokens are more than {MAX_MICROBATCH_POSITIONS} \
             positions"
        )
    } else if positions * u64::from(logits) > MAX_MICROBATCH_LOGITS {
        format!(
            "{positions} positions with {logits} logits each are more than \
             {MAX_MICROBATCH_LOGITS} values"
        )
    } else {
        return Ok(());
    };
    Err(SpecError::new("model.microbatch", problem))
}

impl LoraSpec {
    fn validate(&self) -> Result<(), SpecError> {
        bounded("model.lora.rank", self.rank, 1024)?;
        if !(self.alpha > 0.0 && self.alpha <= 1e4) {
            return Err(SpecError::new("model.lora.alpha", "must be positive and at most 10,000"));
        }
        let distinct: std::collections::BTreeSet<_> = self.targets.iter().collect();
        if distinct.is_empty() || distinct.len() != self.targets.len() {
            return Err(SpecError::new("model.lora.targets", "at least one, each once"));
        }
        Ok(())
    }
}

pub(super) fn bounded(field: &str, value: u32, most: u32) -> Result<(), SpecError> {
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
    fn a_microbatch_has_bounded_memory() {
        assert!(check_memory(16, 128, 256).is_ok());
        assert!(check_memory(256, 257, 2).unwrap_err().problem.contains("positions"));
        assert!(check_memory(16, 129, 1 << 20).unwrap_err().problem.contains("logits"));
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
