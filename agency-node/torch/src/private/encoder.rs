//! An encoder of post-norm blocks (Devlin et al. 2019, "BERT"), its mean over a text's tokens, and a
//! linear head on that mean.
//!
//! Tensors are named and laid out as in Hugging Face's `BertModel` without its pooler. The pooling is
//! that of sentence-transformers. No dropout.

use tch::{Kind, Tensor};

use super::nn::{Attention, AttentionOptions, Linear, Norm, label_loss};
use super::{Init, Network, ParameterId, Parameters, PrivateError, Tape};

/// Added under the root of normalisations, as BERT has it.
const EPSILON: f64 = 1e-12;

/// Sizes of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderOptions {
    /// Tokens of the vocabulary.
    pub tokens: i64,
    /// Most positions.
    pub positions: i64,
    /// Blocks.
    pub layers: usize,
    /// Width; a multiple of `heads`.
    pub width: i64,
    /// Heads of attention.
    pub heads: i64,
    /// Inner width of the feed-forward part.
    pub hidden: i64,
}

/// An encoder: token indices `[B, T]`, -1 where a text has ended.
#[derive(Debug)]
pub struct Encoder {
    tables: [ParameterId; 3],
    norm: Norm,
    /// Its blocks.
    pub blocks: Vec<EncoderBlock>,
    options: EncoderOptions,
}

/// A block: `norm(x + attention(x))`, then `norm(x + down(gelu(up(x))))`.
#[derive(Debug)]
pub struct EncoderBlock {
    /// Attention.
    pub attention: Attention,
    /// First map of the feed-forward part.
    pub up: Linear,
    /// Second map of the feed-forward part.
    pub down: Linear,
    norms: [Norm; 2],
}

/// An encoder with a head: one logit (binary cross-entropy) or one for each class.
#[derive(Debug)]
pub struct Classifier {
    /// The encoder.
    pub encoder: Encoder,
    /// From the mean to logits.
    pub head: Linear,
}

impl Encoder {
    /// Adds the encoder's parameters.
    ///
    /// # Errors
    /// A width that is not a multiple of the heads, names that are there already, or a failure of
    /// libtorch.
    pub fn new(parameters: &mut Parameters, options: EncoderOptions) -> Result<Self, PrivateError> {
        let EncoderOptions { tokens, positions, layers, width, .. } = options;
        let mut table = |part: &str, rows: i64| {
            let name = format!("embeddings.{part}_embeddings.weight");
            parameters.add(&name, &[rows, width], Init::Uniform(0.05))
        };
        let tables =
            [table("word", tokens)?, table("position", positions)?, table("token_type", 2)?];
        let norm = Norm::layer(parameters, "embeddings.LayerNorm", width, EPSILON)?;
        let blocks = (0..layers)
            .map(|i| EncoderBlock::new(parameters, &format!("encoder.layer.{i}"), options))
            .collect::<Result<_, _>>()?;
        Ok(Self { tables, norm, blocks, options })
    }

    /// `[B, T]` to `[B, T, width]`, and which positions hold a token, `[B, T]` (bool).
    ///
    /// # Errors
    /// More positions than the encoder has, or a failure of libtorch.
    pub fn forward(
        &self,
        tape: &mut Tape<'_>,
        tokens: &Tensor,
    ) -> Result<(Tensor, Tensor), PrivateError> {
        let &[_, positions] = &tokens.size()[..] else {
            return Err(PrivateError::Examples(format!("tokens of shape {:?}", tokens.size())));
        };
        if positions > self.options.positions {
            let most = self.options.positions;
            let message = format!("{positions} tokens, the encoder has {most} positions");
            return Err(PrivateError::Examples(message));
        }
        let seen = tokens.f_ge(0)?;
        let tokens = tokens.f_clamp_min(0)?;
        let [word, position, kind] = self.tables;
        let places = Tensor::f_arange(positions, (Kind::Int64, tokens.device()))?;
        let places = places.f_unsqueeze(0)?.f_expand_as(&tokens)?.f_contiguous()?;
        let value = tape
            .embedding(&tokens, word)?
            .f_add(&tape.embedding(&places, position)?)?
            .f_add(&tape.embedding(&tokens.f_zeros_like()?, kind)?)?;
        let mut value = self.norm.forward(tape, &value)?;
        // A row without any token (padding of a microbatch) sees its first position, so that nothing
        // in it is undefined; its loss counts nothing.
        let first = Tensor::f_from_slice(&[0i64])?;
        let mask = seen.f_index_fill(1, &first, 1)?.f_view([-1, 1, 1, positions])?;
        for block in &self.blocks {
            value = block.forward(tape, &value, &mask)?;
        }
        Ok((value, seen))
    }

    /// The mean over a text's tokens: `[B, width]`; zeros for no tokens.
    ///
    /// # Errors
    /// As [`Encoder::forward`].
    pub fn mean(&self, tape: &mut Tape<'_>, tokens: &Tensor) -> Result<Tensor, PrivateError> {
        let (value, seen) = self.forward(tape, tokens)?;
        let weights = seen.f_to_kind(value.kind())?.f_unsqueeze(-1)?;
        let count = weights.f_sum_dim_intlist(1, false, None::<Kind>)?.f_clamp_min(1.0)?;
        let sum = value.f_mul(&weights)?.f_sum_dim_intlist(1, false, None::<Kind>)?;
        Ok(sum.f_div(&count)?)
    }
}

impl EncoderBlock {
    fn new(
        parameters: &mut Parameters,
        name: &str,
        options: EncoderOptions,
    ) -> Result<Self, PrivateError> {
        let EncoderOptions { width, heads, hidden, .. } = options;
        let mut map = |part: &str, inputs, outputs| {
            Linear::new(parameters, &format!("{name}.{part}"), inputs, outputs, true)
        };
        let query = map("attention.self.query", width, width)?;
        let key = map("attention.self.key", width, width)?;
        let value = map("attention.self.value", width, width)?;
        let output = map("attention.output.dense", width, width)?;
        let options =
            AttentionOptions { width, heads, causal: false, bias: true, rotary_base: None };
        let attention = Attention::of([query, key, value, output], options)?;
        let first =
            Norm::layer(parameters, &format!("{name}.attention.output.LayerNorm"), width, EPSILON)?;
        let mut map = |part: &str, inputs, outputs| {
            Linear::new(parameters, &format!("{name}.{part}"), inputs, outputs, true)
        };
        let up = map("intermediate.dense", width, hidden)?;
        let down = map("output.dense", hidden, width)?;
        let second = Norm::layer(parameters, &format!("{name}.output.LayerNorm"), width, EPSILON)?;
        Ok(Self { attention, up, down, norms: [first, second] })
    }

    fn forward(
        &self,
        tape: &mut Tape<'_>,
        input: &Tensor,
        mask: &Tensor,
    ) -> Result<Tensor, PrivateError> {
        let [first, second] = &self.norms;
        let attended = self.attention.forward(tape, input, Some(mask))?;
        let value = first.forward(tape, &input.f_add(&attended)?)?;
        let hidden = self.up.forward(tape, &value)?.f_gelu("none")?;
        let fed = self.down.forward(tape, &hidden)?;
        second.forward(tape, &value.f_add(&fed)?)
    }
}

impl Classifier {
    /// Logits `[B, outputs]`.
    ///
    /// # Errors
    /// As [`Encoder::forward`].
    pub fn logits(&self, tape: &mut Tape<'_>, tokens: &Tensor) -> Result<Tensor, PrivateError> {
        let mean = self.encoder.mean(tape, tokens)?;
        self.head.forward(tape, &mean)
    }
}

impl Network for Classifier {
    /// Inputs are tokens `[B, T]` and labels `[B]` (i64, -100 where a row counts nothing).
    fn losses(&self, tape: &mut Tape<'_>, inputs: &[Tensor]) -> Result<Tensor, PrivateError> {
        let [tokens, labels] = inputs else {
            return Err(PrivateError::Examples(format!("{} inputs, not two", inputs.len())));
        };
        let logits = self.logits(tape, tokens)?;
        label_loss(&logits, labels)
    }
}
