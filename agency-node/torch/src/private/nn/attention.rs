//! Multi-head self-attention (Vaswani et al. 2017), on wish causal and with rotary positions.

use tch::{Device, Kind, Tensor};

use super::Linear;
use crate::private::{Parameters, PrivateError, Tape};

/// Shape of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionOptions {
    /// Width of the sequence; a multiple of `heads`.
    pub width: i64,
    /// Heads.
    pub heads: i64,
    /// Whether a position sees only itself and earlier ones.
    pub causal: bool,
    /// Whether the projections have a bias.
    pub bias: bool,
    /// Base of rotary positions (usually 10000), if there are any.
    pub rotary_base: Option<f64>,
}

/// Self-attention: four projections and nothing else with parameters.
#[derive(Debug, Clone)]
pub struct Attention {
    /// Query projection.
    pub query: Linear,
    /// Key projection.
    pub key: Linear,
    /// Value projection.
    pub value: Linear,
    /// Output projection.
    pub output: Linear,
    options: AttentionOptions,
}

/// Rotary positions (Su et al. 2021, section 3.2.2), halves paired as in Hugging Face's models.
#[derive(Debug)]
pub struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// For `positions` positions and heads of `width` (even).
    ///
    /// # Errors
    /// An odd width, or a failure of libtorch.
    pub fn new(positions: i64, width: i64, base: f64, kind: Kind) -> Result<Self, PrivateError> {
        if width % 2 != 0 {
            let message = format!("rotary positions need heads of even width, not {width}");
            return Err(PrivateError::Network(message));
        }
        let options = (Kind::Double, Device::Cpu);
        let steps = Tensor::f_arange(width / 2, options)?.f_mul_scalar(2.0 / width as f64)?;
        let frequencies = steps.f_mul_scalar(-base.ln())?.f_exp()?;
        let angles = Tensor::f_arange(positions, options)?.f_outer(&frequencies)?;
        let angles = Tensor::f_cat(&[&angles, &angles], 1)?;
        Ok(Self { cos: angles.f_cos()?.f_to_kind(kind)?, sin: angles.f_sin()?.f_to_kind(kind)? })
    }

    /// Turns `[B, heads, T, width]`.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of libtorch.
    pub fn turn(&self, values: &Tensor) -> Result<Tensor, PrivateError> {
        let halves = values.f_chunk(2, -1)?;
        let [first, second] = &halves[..] else {
            return Err(PrivateError::Network("a head without two halves".into()));
        };
        let turned = Tensor::f_cat(&[&second.f_neg()?, first], -1)?;
        Ok(values.f_mul(&self.cos)?.f_add(&turned.f_mul(&self.sin)?)?)
    }
}

impl Attention {
    /// Adds `NAME.q_proj`, `k_proj`, `v_proj` and `o_proj`.
    ///
    /// # Errors
    /// A width that is not a multiple of the heads, names that are there already, or a failure of
    /// libtorch.
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        options: AttentionOptions,
    ) -> Result<Self, PrivateError> {
        let AttentionOptions { width, heads, bias, .. } = options;
        if heads < 1 || width % heads != 0 {
            return Err(PrivateError::Network(format!("{heads} heads over a width of {width}")));
        }
        let mut projection =
            |part: &str| Linear::new(parameters, &format!("{name}.{part}"), width, width, bias);
        Ok(Self {
            query: projection("q_proj")?,
            key: projection("k_proj")?,
            value: projection("v_proj")?,
            output: projection("o_proj")?,
            options,
        })
    }

    /// Of query, key, value and output projections that are there already.
    ///
    /// # Errors
    /// A width that is not a multiple of the heads.
    pub fn of(
        [query, key, value, output]: [Linear; 4],
        options: AttentionOptions,
    ) -> Result<Self, PrivateError> {
        let AttentionOptions { width, heads, .. } = options;
        if heads < 1 || width % heads != 0 {
            return Err(PrivateError::Network(format!("{heads} heads over a width of {width}")));
        }
        Ok(Self { query, key, value, output, options })
    }

    /// `[B, T, width]`, same shape out. `mask` `[B, 1, 1, T]` (bool, true where a position may be
    /// seen) hides padding; it does not go with `causal`.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of libtorch.
    pub fn forward(
        &self,
        tape: &mut Tape<'_>,
        input: &Tensor,
        mask: Option<&Tensor>,
    ) -> Result<Tensor, PrivateError> {
        let AttentionOptions { width, heads, causal, rotary_base, .. } = self.options;
        if causal && mask.is_some() {
            let message = "causal attention takes no mask: pad at the end of the sequence";
            return Err(PrivateError::Network(message.into()));
        }
        let &[rows, positions, _] = &input.size()[..] else {
            let message = format!("attention was given the shape {:?}", input.size());
            return Err(PrivateError::Network(message));
        };
        let split = |values: Tensor| {
            values.f_view([rows, positions, heads, width / heads])?.f_transpose(1, 2)
        };
        let mut query = split(self.query.forward(tape, input)?)?;
        let mut key = split(self.key.forward(tape, input)?)?;
        let value = split(self.value.forward(tape, input)?)?;
        if let Some(base) = rotary_base {
            let rotary = Rotary::new(positions, width / heads, base, input.kind())?;
            (query, key) = (rotary.turn(&query)?, rotary.turn(&key)?);
        }
        let seen = Tensor::f_scaled_dot_product_attention(
            &query, &key, &value, mask, 0.0, causal, None, false,
        )?;
        let joined = seen.f_transpose(1, 2)?.f_reshape([rows, positions, width])?;
        self.output.forward(tape, &joined)
    }
}
