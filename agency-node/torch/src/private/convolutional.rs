//! A convolutional network as jobs ask for it: blocks of a convolution, ReLU and max-pooling, then one
//! linear head.
//!
//! Inputs are pictures as rows of a table, point by point, and, last, their labels. Knows nothing of
//! clipping or files.

use tch::Tensor;
use tributary_job::spec::CnnShape;

use super::nn::{Linear, label_loss};
use super::ops::conv::Geometry;
use super::{Init, Network, ParameterId, Parameters, PrivateError, Tape};

/// No padding: what a filter sees is always points of the picture.
const GEOMETRY: Geometry = Geometry { stride: 1, padding: 0 };

/// Sizes of the pictures and of what looks at them.
#[derive(Debug, Clone, Copy)]
pub struct ConvolutionalOptions {
    /// Height, width and channels of a picture.
    pub image: [i64; 3],
    /// Side of the filters.
    pub kernel: i64,
    /// Side of the squares that are pooled.
    pub pool: i64,
    /// Logits.
    pub outputs: i64,
}

/// The network.
#[derive(Debug)]
pub struct Convolutional {
    convolutions: Vec<(ParameterId, ParameterId)>,
    head: Linear,
    options: ConvolutionalOptions,
}

impl Convolutional {
    /// Adds `convN.weight`, `convN.bias` of every block, counted from 1, then `fc.weight` and
    /// `fc.bias`.
    ///
    /// # Errors
    /// Names that are there already, or a failure of libtorch.
    pub fn new(
        parameters: &mut Parameters,
        shape: &CnnShape,
        options: ConvolutionalOptions,
    ) -> Result<Self, PrivateError> {
        let side = options.kernel;
        let mut convolutions = Vec::with_capacity(shape.blocks.len());
        for (number, block) in (1..).zip(&shape.blocks) {
            let (inputs, filters) = (block.inputs as i64, block.filters as i64);
            let init = Init::Uniform(1.0 / ((inputs * side * side) as f64).sqrt());
            let size = [filters, inputs, side, side];
            let weight = parameters.add(&format!("conv{number}.weight"), &size, init)?;
            let bias = parameters.add(&format!("conv{number}.bias"), &[filters], init)?;
            convolutions.push((weight, bias));
        }
        let inputs = shape.head_inputs as i64;
        let head = Linear::new(parameters, "fc", inputs, options.outputs, true)?;
        Ok(Self { convolutions, head, options })
    }

    /// Rows `[B, height * width * channels]`, row by row, the channels of a point together, to logits
    /// `[B, outputs]`.
    ///
    /// # Errors
    /// Rows of another width, or a failure of libtorch.
    pub fn logits(&self, tape: &mut Tape<'_>, rows: &Tensor) -> Result<Tensor, PrivateError> {
        let ConvolutionalOptions { image: [height, width, channels], pool, .. } = self.options;
        let value = rows.f_view([-1, height, width, channels])?;
        let mut value = value.f_permute([0, 3, 1, 2])?.f_contiguous()?;
        for &(weight, bias) in &self.convolutions {
            value = tape.conv2d(&value, weight, Some(bias), GEOMETRY)?.f_relu()?;
            value = value.f_max_pool2d([pool; 2], [pool; 2], [0, 0], [1, 1], false)?;
        }
        self.head.forward(tape, &value.f_flatten(1, -1)?)
    }
}

impl Network for Convolutional {
    /// Inputs are rows `[B, points]` and labels `[B]` (i64, -100 where a row counts nothing).
    fn losses(&self, tape: &mut Tape<'_>, inputs: &[Tensor]) -> Result<Tensor, PrivateError> {
        let [rows, labels] = inputs else {
            return Err(PrivateError::Examples(format!("{} inputs, not two", inputs.len())));
        };
        label_loss(&self.logits(tape, rows)?, labels)
    }
}
