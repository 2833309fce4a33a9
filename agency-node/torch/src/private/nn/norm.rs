//! Normalisation over the last dimension, of both kinds that transformers use.

use tch::Tensor;

use crate::private::{Init, ParameterId, Parameters, PrivateError, Tape};

/// Layer or root-mean-square normalisation.
#[derive(Debug, Clone)]
pub enum Norm {
    /// Zero mean and unit variance, scale and shift.
    Layer {
        /// Scale `[width]`.
        weight: ParameterId,
        /// Shift `[width]`.
        bias: ParameterId,
        /// Added to the variance.
        eps: f64,
    },
    /// Unit root mean square, scale.
    Rms {
        /// Scale `[width]`.
        weight: ParameterId,
        /// Added to the mean square.
        eps: f64,
    },
}

impl Norm {
    /// Adds `NAME.weight` (ones) and `NAME.bias` (zeros).
    ///
    /// # Errors
    /// Names that are there already, or a failure of libtorch.
    pub fn layer(
        parameters: &mut Parameters,
        name: &str,
        width: i64,
        eps: f64,
    ) -> Result<Self, PrivateError> {
        let weight = parameters.add(&format!("{name}.weight"), &[width], Init::Ones)?;
        let bias = parameters.add(&format!("{name}.bias"), &[width], Init::Zeros)?;
        Ok(Self::Layer { weight, bias, eps })
    }

    /// Adds `NAME.weight` (ones).
    ///
    /// # Errors
    /// A name that is there already, or a failure of libtorch.
    pub fn rms(
        parameters: &mut Parameters,
        name: &str,
        width: i64,
        eps: f64,
    ) -> Result<Self, PrivateError> {
        let weight = parameters.add(&format!("{name}.weight"), &[width], Init::Ones)?;
        Ok(Self::Rms { weight, eps })
    }

    /// `[B, ..., width]`, same shape out.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of libtorch.
    pub fn forward(&self, tape: &mut Tape<'_>, input: &Tensor) -> Result<Tensor, PrivateError> {
        match *self {
            Self::Layer { weight, bias, eps } => tape.layer_norm(input, weight, Some(bias), eps),
            Self::Rms { weight, eps } => tape.rms_norm(input, weight, eps),
        }
    }
}
