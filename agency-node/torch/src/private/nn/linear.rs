//! A linear map, on wish with a low-rank adapter.

use tch::Tensor;

use crate::private::{Init, ParameterId, Parameters, PrivateError, Tape};

/// `y = x W^T + b`, plus `scale * (x A^T) B^T` with an adapter (Hu et al. 2022, "LoRA").
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: ParameterId,
    /// `[out]`.
    pub bias: Option<ParameterId>,
    /// The adapter.
    pub lora: Option<Lora>,
}

/// A low-rank adapter.
#[derive(Debug, Clone)]
pub struct Lora {
    /// `[rank, in]`.
    pub a: ParameterId,
    /// `[out, rank]`, zero at first.
    pub b: ParameterId,
    /// `alpha / rank`.
    pub scale: f64,
}

impl Linear {
    /// Adds `NAME.weight` and, if wished, `NAME.bias`, uniform within `1 / sqrt(inputs)`.
    ///
    /// # Errors
    /// Names that are there already, or a failure of libtorch.
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        inputs: i64,
        outputs: i64,
        bias: bool,
    ) -> Result<Self, PrivateError> {
        let init = Init::Uniform(1.0 / (inputs.max(1) as f64).sqrt());
        let weight = parameters.add(&format!("{name}.weight"), &[outputs, inputs], init)?;
        let bias = match bias {
            true => Some(parameters.add(&format!("{name}.bias"), &[outputs], init)?),
            false => None,
        };
        Ok(Self { weight, bias, lora: None })
    }

    /// Adds an adapter as `NAME.lora_A.weight` and `NAME.lora_B.weight` and freezes the rest.
    ///
    /// # Errors
    /// A rank below 1, names that are there already, or a failure of libtorch.
    pub fn adapt(
        &mut self,
        parameters: &mut Parameters,
        name: &str,
        rank: i64,
        alpha: f64,
    ) -> Result<(), PrivateError> {
        let size = parameters.value(self.weight)?.size();
        let &[outputs, inputs] = &size[..] else {
            return Err(PrivateError::Network(format!("{name} has the shape {size:?}")));
        };
        let init = Init::Uniform(1.0 / (inputs as f64).sqrt());
        let a = parameters.add(&format!("{name}.lora_A.weight"), &[rank, inputs], init)?;
        let b = parameters.add(&format!("{name}.lora_B.weight"), &[outputs, rank], Init::Zeros)?;
        parameters.freeze(self.weight);
        self.bias.into_iter().for_each(|bias| parameters.freeze(bias));
        self.lora = Some(Lora { a, b, scale: alpha / rank as f64 });
        Ok(())
    }

    /// `[B, ..., in]` to `[B, ..., out]`.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of libtorch.
    pub fn forward(&self, tape: &mut Tape<'_>, input: &Tensor) -> Result<Tensor, PrivateError> {
        let output = tape.linear(input, self.weight, self.bias)?;
        let Some(Lora { a, b, scale }) = self.lora else { return Ok(output) };
        let inner = tape.linear(input, a, None)?;
        let adapted = tape.linear(&inner, b, None)?;
        Ok(output.f_add(&adapted.f_mul_scalar(scale)?)?)
    }
}
