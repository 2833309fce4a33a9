//! The tape: operations with parameters, and what they saw.
//!
//! Layers and networks are written against the methods here and in [`super::nn`]; operations
//! without parameters are plain tensor operations. Knows nothing of norms or units.

use tch::Tensor;

use super::ops::{Op, affine, conv, embedding, linear};
use super::{ParameterId, Parameters, PrivateError};

/// A network as private training sees it.
pub trait Network {
    /// The loss of each row, `[B]`, without any mean or sum over rows. The values of a row must
    /// depend on that row of the inputs alone.
    ///
    /// # Errors
    /// Inputs that do not fit, or a failure of libtorch.
    fn losses(&self, tape: &mut Tape<'_>, inputs: &[Tensor]) -> Result<Tensor, PrivateError>;
}

/// What a forward pass is for.
enum Mode {
    /// Values only.
    Plain,
    /// Ordinary gradients: a leaf for each parameter.
    Differentiable(Vec<Tensor>),
    /// Private gradients: operations are recorded.
    Recording,
}

/// A recorded operation: what it was, what it saw, and its pre-activation.
pub(crate) struct Record {
    pub(crate) op: Op,
    pub(crate) weight: Option<ParameterId>,
    pub(crate) bias: Option<ParameterId>,
    pub(crate) input: Tensor,
    pub(crate) output: Tensor,
}

/// One forward pass over B rows.
pub struct Tape<'a> {
    parameters: &'a Parameters,
    rows: i64,
    mode: Mode,
    records: Vec<Record>,
}

impl<'a> Tape<'a> {
    /// A pass that computes values only, for predictions.
    pub fn plain(parameters: &'a Parameters) -> Self {
        Self { parameters, rows: 0, mode: Mode::Plain, records: Vec::new() }
    }

    /// A pass whose ordinary gradients by the trainable parameters are wanted.
    pub(crate) fn differentiable(parameters: &'a Parameters) -> Result<Self, PrivateError> {
        let leaf = |(id, _, value): (ParameterId, &str, &Tensor)| {
            let leaf = value.f_detach()?;
            leaf.f_set_requires_grad(parameters.is_trainable(id))
        };
        let leaves = parameters.all().map(leaf).collect::<Result<_, _>>()?;
        Ok(Self { mode: Mode::Differentiable(leaves), ..Self::plain(parameters) })
    }

    /// A pass over `rows` rows whose operations are recorded.
    pub(crate) fn recording(parameters: &'a Parameters, rows: i64) -> Self {
        Self { parameters, rows, mode: Mode::Recording, records: Vec::new() }
    }

    /// The parameters of the network.
    pub fn parameters(&self) -> &'a Parameters {
        self.parameters
    }

    /// `y = x W^T + b`: x `[B, ..., in]`, weight `[out, in]`, bias `[out]`.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of libtorch.
    pub fn linear(
        &mut self,
        input: &Tensor,
        weight: ParameterId,
        bias: Option<ParameterId>,
    ) -> Result<Tensor, PrivateError> {
        let (w, b) = (self.value(weight)?, self.optional(bias)?);
        let output = linear::forward(input, &w, b.as_ref())?;
        self.record(Op::Linear, input, &output, Some(weight), bias)?;
        Ok(output)
    }

    /// Convolution: x `[B, C, H, W]`, weight `[out, C, kernel, kernel]`, bias `[out]`.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of libtorch.
    pub fn conv2d(
        &mut self,
        input: &Tensor,
        weight: ParameterId,
        bias: Option<ParameterId>,
        geometry: conv::Geometry,
    ) -> Result<Tensor, PrivateError> {
        let (w, b) = (self.value(weight)?, self.optional(bias)?);
        if matches!(self.mode, Mode::Recording) && !input.requires_grad() {
            // Nothing flows back below: the unfolded input serves forward pass and gradient.
            let unfolded = conv::unfold(input, &w.size(), geometry)?;
            let output = conv::forward_unfolded(&unfolded, &w, b.as_ref())?;
            self.record(Op::Linear, &unfolded, &output, Some(weight), bias)?;
            return conv::as_image(&output, &conv::output_size(input, &w.size(), geometry)?);
        }
        let output = conv::forward(input, &w, b.as_ref(), geometry)?;
        let kernel = w.size();
        self.record(Op::Conv { geometry, kernel }, input, &output, Some(weight), bias)?;
        Ok(output)
    }

    /// Rows of a table: indices `[B, ...]` (i64, each below V), weight `[V, width]`; gives
    /// `[B, ..., width]`.
    ///
    /// # Errors
    /// An index that the table does not have, or a failure of libtorch.
    pub fn embedding(
        &mut self,
        indices: &Tensor,
        weight: ParameterId,
    ) -> Result<Tensor, PrivateError> {
        let output = embedding::forward(indices, &self.value(weight)?)?;
        self.record(Op::Embedding, indices, &output, Some(weight), None)?;
        Ok(output)
    }

    /// Layer normalisation over the last dimension, with scale and shift `[width]`.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of libtorch.
    pub fn layer_norm(
        &mut self,
        input: &Tensor,
        weight: ParameterId,
        bias: Option<ParameterId>,
        eps: f64,
    ) -> Result<Tensor, PrivateError> {
        let (w, b) = (self.value(weight)?, self.optional(bias)?);
        let output = affine::layer_norm(input, Some(&w), b.as_ref(), eps)?;
        self.record(Op::LayerNorm { eps }, input, &output, Some(weight), bias)?;
        Ok(output)
    }

    /// Root-mean-square normalisation over the last dimension, with scale `[width]`.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of libtorch.
    pub fn rms_norm(
        &mut self,
        input: &Tensor,
        weight: ParameterId,
        eps: f64,
    ) -> Result<Tensor, PrivateError> {
        let output = affine::rms_norm(input, eps)?.f_mul(&self.value(weight)?)?;
        self.record(Op::RmsNorm { eps }, input, &output, Some(weight), None)?;
        Ok(output)
    }

    /// What was recorded, in the order of the pass.
    pub(crate) fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// The leaves of [`Tape::differentiable`] for the trainable parameters, in their order.
    pub(crate) fn leaves(&self) -> Vec<Tensor> {
        match &self.mode {
            Mode::Differentiable(leaves) => {
                { leaves.iter().filter(|leaf| leaf.requires_grad()).map(Tensor::shallow_clone) }
                    .collect()
            }
            Mode::Plain | Mode::Recording => Vec::new(),
        }
    }

    fn value(&self, id: ParameterId) -> Result<Tensor, PrivateError> {
        let value = self.parameters.value(id)?;
        Ok(match &self.mode {
            Mode::Differentiable(leaves) => leaves.get(id.index()).unwrap_or(value),
            Mode::Plain | Mode::Recording => value,
        }
        .shallow_clone())
    }

    fn optional(&self, id: Option<ParameterId>) -> Result<Option<Tensor>, PrivateError> {
        id.map(|id| self.value(id)).transpose()
    }

    fn record(
        &mut self,
        op: Op,
        input: &Tensor,
        output: &Tensor,
        weight: Option<ParameterId>,
        bias: Option<ParameterId>,
    ) -> Result<(), PrivateError> {
        if !matches!(self.mode, Mode::Recording) {
            return Ok(());
        }
        let trained = |id: &ParameterId| self.parameters.is_trainable(*id);
        let (weight, bias) = (weight.filter(trained), bias.filter(trained));
        if weight.is_none() && bias.is_none() {
            return Ok(());
        }
        if output.size().first() != Some(&self.rows) {
            let (rows, size) = (self.rows, output.size());
            let message = format!("an operation gave the shape {size:?}, not {rows} rows first");
            return Err(PrivateError::Network(message));
        }
        if !output.requires_grad() {
            // A leaf: everything after it is part of the graph.
            let _ = output.f_set_requires_grad(true)?;
        }
        let (input, output) = (input.f_detach()?, output.shallow_clone());
        self.records.push(Record { op, weight, bias, input, output });
        Ok(())
    }
}
