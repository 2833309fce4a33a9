//! One block of a transformer: attention and a feed-forward part, each after a normalisation and
//! added to what it was given (pre-norm).

use tch::Tensor;

use super::{Attention, AttentionOptions, Linear, Norm};
use crate::private::{Parameters, PrivateError, Tape};

/// Shape of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockOptions {
    /// Its attention.
    pub attention: AttentionOptions,
    /// Inner width of the feed-forward part.
    pub hidden: i64,
    /// Whether the feed-forward part is gated: `down(silu(gate(x)) * up(x))` (SwiGLU, Shazeer 2020)
    /// instead of `down(gelu(up(x)))`.
    pub gated: bool,
    /// Root-mean-square normalisation instead of layer normalisation.
    pub rms: bool,
    /// Added under the root of normalisations.
    pub eps: f64,
}

/// A block: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`.
#[derive(Debug, Clone)]
pub struct Block {
    /// Attention.
    pub attention: Attention,
    /// Gate of the feed-forward part, if it has one.
    pub gate: Option<Linear>,
    /// First map of the feed-forward part.
    pub up: Linear,
    /// Second map of the feed-forward part.
    pub down: Linear,
    norms: [Norm; 2],
}

impl Block {
    /// Adds the block's parameters below `NAME`.
    ///
    /// # Errors
    /// As [`Attention::new`].
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        options: BlockOptions,
    ) -> Result<Self, PrivateError> {
        let BlockOptions { attention, hidden, gated, rms, eps } = options;
        let width = attention.width;
        let norm = |parameters: &mut Parameters, part: &str| match rms {
            true => Norm::rms(parameters, &format!("{name}.{part}"), width, eps),
            false => Norm::layer(parameters, &format!("{name}.{part}"), width, eps),
        };
        let first = norm(parameters, "input_layernorm")?;
        let bias = attention.bias;
        let attention = Attention::new(parameters, &format!("{name}.self_attn"), attention)?;
        let second = norm(parameters, "post_attention_layernorm")?;
        let gate = match gated {
            true => {
                let name = format!("{name}.mlp.gate_proj");
                Some(Linear::new(parameters, &name, width, hidden, bias)?)
            }
            false => None,
        };
        let up = Linear::new(parameters, &format!("{name}.mlp.up_proj"), width, hidden, bias)?;
        let down = Linear::new(parameters, &format!("{name}.mlp.down_proj"), hidden, width, bias)?;
        Ok(Self { attention, gate, up, down, norms: [first, second] })
    }

    /// `[B, T, width]`, same shape out; `mask` as [`Attention::forward`].
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of libtorch.
    pub fn forward(
        &self,
        tape: &mut Tape<'_>,
        input: &Tensor,
        mask: Option<&Tensor>,
    ) -> Result<Tensor, PrivateError> {
        let [first, second] = &self.norms;
        let normed = first.forward(tape, input)?;
        let value = input.f_add(&self.attention.forward(tape, &normed, mask)?)?;
        let normed = second.forward(tape, &value)?;
        let hidden = match &self.gate {
            Some(gate) => {
                let gate = gate.forward(tape, &normed)?.f_silu()?;
                gate.f_mul(&self.up.forward(tape, &normed)?)?
            }
            None => self.up.forward(tape, &normed)?.f_gelu("none")?,
        };
        Ok(value.f_add(&self.down.forward(tape, &hidden)?)?)
    }
}
