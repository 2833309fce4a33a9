//! Ready networks: those that the benchmark compares, and a small decoder.
//!
//! Each is a function that adds parameters and returns the network. Inputs are the rows and, last,
//! the labels.

use tch::{Kind, Tensor};

use super::nn::{Block, BlockOptions, Linear, Norm, cross_entropy};
use super::ops::conv::Geometry;
use super::{Init, Network, ParameterId, Parameters, PrivateError, Tape};

/// A small convolutional network for images `[B, 1, 28, 28]` in ten classes, 26 010 parameters
/// (Tramèr and Boneh 2021, table 7).
#[derive(Debug)]
pub struct Cnn {
    convolutions: [(ParameterId, ParameterId, Geometry); 2],
    linear: [Linear; 2],
}

/// Fully connected layers with ReLU between them.
#[derive(Debug)]
pub struct Mlp(Vec<Linear>);

/// An embedding of tokens `[B, T]`, normalisation, a feed-forward part, and the mean over positions,
/// classified.
#[derive(Debug)]
pub struct Emb {
    table: ParameterId,
    norms: [Norm; 2],
    linear: [Linear; 3],
}

/// A decoder of pre-norm blocks with tied embeddings: token and target indices `[B, T]`.
#[derive(Debug)]
pub struct Decoder {
    /// Token embedding, which is also the output map.
    pub table: ParameterId,
    /// Its blocks.
    pub blocks: Vec<Block>,
    norm: Norm,
}

/// The network of the benchmark.
///
/// # Errors
/// Names that are there already, or a failure of libtorch.
pub fn cnn(parameters: &mut Parameters) -> Result<Cnn, PrivateError> {
    let mut convolution = |name: &str, inputs: i64, outputs: i64, kernel: i64, geometry| {
        let init = Init::Uniform(1.0 / ((inputs * kernel * kernel) as f64).sqrt());
        let shape = [outputs, inputs, kernel, kernel];
        let weight = parameters.add(&format!("{name}.weight"), &shape, init)?;
        let bias = parameters.add(&format!("{name}.bias"), &[outputs], init)?;
        Ok::<_, PrivateError>((weight, bias, geometry))
    };
    let first = convolution("conv1", 1, 16, 8, Geometry { stride: 2, padding: 3 })?;
    let second = convolution("conv2", 16, 32, 4, Geometry { stride: 2, padding: 0 })?;
    let linear = [
        Linear::new(parameters, "fc1", 512, 32, true)?,
        Linear::new(parameters, "fc2", 32, 10, true)?,
    ];
    Ok(Cnn { convolutions: [first, second], linear })
}

/// Layers of these widths, inputs first and classes last; the benchmark's are 784, 1024, 1024, 10.
///
/// # Errors
/// Names that are there already, or a failure of libtorch.
pub fn mlp(parameters: &mut Parameters, widths: &[i64]) -> Result<Mlp, PrivateError> {
    let layer = |(i, pair): (usize, &[i64])| match *pair {
        [inputs, outputs] => {
            Linear::new(parameters, &format!("fc{}", i + 1), inputs, outputs, true)
        }
        _ => Err(PrivateError::Network("a layer has two widths".into())),
    };
    Ok(Mlp(widths.windows(2).enumerate().map(layer).collect::<Result<_, _>>()?))
}

/// `tokens` vectors of `width`, `hidden` in the feed-forward part; the benchmark's are 10000, 128,
/// 512 and ten classes.
///
/// # Errors
/// Names that are there already, or a failure of libtorch.
pub fn emb(
    parameters: &mut Parameters,
    tokens: i64,
    width: i64,
    hidden: i64,
    classes: i64,
) -> Result<Emb, PrivateError> {
    let table = parameters.add("embedding.weight", &[tokens, width], Init::Uniform(1.0))?;
    let first = Norm::layer(parameters, "norm1", width, 1e-5)?;
    let up = Linear::new(parameters, "up", width, hidden, true)?;
    let down = Linear::new(parameters, "down", hidden, width, true)?;
    let second = Norm::layer(parameters, "norm2", width, 1e-5)?;
    let head = Linear::new(parameters, "head", width, classes, true)?;
    Ok(Emb { table, norms: [first, second], linear: [up, down, head] })
}

/// `tokens` vectors and `blocks` blocks.
///
/// # Errors
/// As [`Block::new`].
pub fn decoder(
    parameters: &mut Parameters,
    tokens: i64,
    blocks: usize,
    options: BlockOptions,
) -> Result<Decoder, PrivateError> {
    let width = options.attention.width;
    let init = Init::Uniform(1.0 / (width.max(1) as f64).sqrt());
    let table = parameters.add("model.embed_tokens.weight", &[tokens, width], init)?;
    let blocks = (0..blocks)
        .map(|i| Block::new(parameters, &format!("model.layers.{i}"), options))
        .collect::<Result<_, _>>()?;
    let norm = match options.rms {
        true => Norm::rms(parameters, "model.norm", width, options.eps)?,
        false => Norm::layer(parameters, "model.norm", width, options.eps)?,
    };
    Ok(Decoder { table, blocks, norm })
}

impl Network for Cnn {
    fn losses(&self, tape: &mut Tape<'_>, inputs: &[Tensor]) -> Result<Tensor, PrivateError> {
        let (input, labels) = rows_and_labels(inputs)?;
        let mut value = input.shallow_clone();
        for &(weight, bias, geometry) in &self.convolutions {
            value = tape.conv2d(&value, weight, Some(bias), geometry)?;
            value = value.f_relu()?.f_max_pool2d([2, 2], [1, 1], [0, 0], [1, 1], false)?;
        }
        let [first, second] = &self.linear;
        let hidden = first.forward(tape, &value.f_flatten(1, -1)?)?.f_relu()?;
        cross_entropy(&second.forward(tape, &hidden)?, labels)
    }
}

impl Network for Mlp {
    fn losses(&self, tape: &mut Tape<'_>, inputs: &[Tensor]) -> Result<Tensor, PrivateError> {
        let (input, labels) = rows_and_labels(inputs)?;
        let mut value = input.shallow_clone();
        for (i, layer) in self.0.iter().enumerate() {
            if i > 0 {
                value = value.f_relu()?;
            }
            value = layer.forward(tape, &value)?;
        }
        cross_entropy(&value, labels)
    }
}

impl Network for Emb {
    fn losses(&self, tape: &mut Tape<'_>, inputs: &[Tensor]) -> Result<Tensor, PrivateError> {
        let (input, labels) = rows_and_labels(inputs)?;
        let [up, down, head] = &self.linear;
        let embedded = tape.embedding(input, self.table)?;
        let normed = self.norms[0].forward(tape, &embedded)?;
        let hidden = up.forward(tape, &normed)?.f_relu()?;
        let hidden = down.forward(tape, &hidden)?;
        let normed = self.norms[1].forward(tape, &hidden)?;
        let mean = normed.f_mean_dim(1, false, None::<Kind>)?;
        cross_entropy(&head.forward(tape, &mean)?, labels)
    }
}

impl Decoder {
    /// Tokens `[B, T]` to logits `[B, T, tokens]`.
    ///
    /// # Errors
    /// A token that the table does not have, or a failure of libtorch.
    pub fn logits(&self, tape: &mut Tape<'_>, tokens: &Tensor) -> Result<Tensor, PrivateError> {
        let mut value = tape.embedding(tokens, self.table)?;
        for block in &self.blocks {
            value = block.forward(tape, &value, None)?;
        }
        let value = self.norm.forward(tape, &value)?;
        tape.linear(&value, self.table, None)
    }
}

impl Network for Decoder {
    fn losses(&self, tape: &mut Tape<'_>, inputs: &[Tensor]) -> Result<Tensor, PrivateError> {
        let (input, targets) = rows_and_labels(inputs)?;
        cross_entropy(&self.logits(tape, input)?, targets)
    }
}

fn rows_and_labels(inputs: &[Tensor]) -> Result<(&Tensor, &Tensor), PrivateError> {
    match inputs {
        [rows, labels] => Ok((rows, labels)),
        _ => Err(PrivateError::Examples(format!("{} inputs, not rows and labels", inputs.len()))),
    }
}
