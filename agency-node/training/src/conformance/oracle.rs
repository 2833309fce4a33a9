//! The models as nested loops in f64: slow, obvious, and independent of every trainer.

mod cox;
mod pictures;

use tributary_job::spec::ModelSpec;

use crate::mlp::MlpShape;

/// A model whose loss and predictions are known here.
pub(super) enum Subject {
    /// Fully connected layers.
    Perceptron(MlpShape),
    /// Convolutions and a head.
    Pictures(pictures::Pictures),
    /// Times to an event.
    Cox(cox::Cox),
}

impl Subject {
    /// The model from `inputs` features to `outputs` logits.
    pub(super) fn of(model: &ModelSpec, inputs: usize, outputs: usize) -> Self {
        match model {
            ModelSpec::Mlp { .. } => Self::Perceptron(MlpShape::of(model, inputs, outputs)),
            ModelSpec::Cnn { image, channels, kernel, pool, .. } => {
                let sides = (*kernel as usize, *pool as usize);
                Self::Pictures(pictures::Pictures::new(*image, channels, sides, outputs))
            }
            ModelSpec::Cox { intervals } => Self::Cox(cox::Cox::new(intervals, inputs)),
            ModelSpec::Decoder { .. } | ModelSpec::Encoder { .. } => {
                panic!("the suite has no oracle for {}", model.family())
            }
        }
    }

    /// The logits of one row.
    fn logits(&self, parameters: &[f64], row: &[f32]) -> Vec<f64> {
        let row: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
        match self {
            Self::Perceptron(shape) => perceptron(shape, parameters, row),
            Self::Pictures(pictures) => pictures.logits(parameters, &row),
            Self::Cox(_) => panic!("hazards are no logits"),
        }
    }

    /// Loss of one record: cross-entropy, binary or over the classes, or that of a time to an event.
    fn loss(&self, parameters: &[f64], row: &[f32], label: f32) -> f64 {
        if let Self::Cox(cox) = self {
            return cox.loss(parameters, row, label);
        }
        let logits = self.logits(parameters, row);
        if let [z] = logits[..] {
            return z.max(0.0) + (-z.abs()).exp().ln_1p() - f64::from(label) * z;
        }
        log_sum_exp(&logits) - logits[label as usize]
    }
}

/// The logits of fully connected layers.
fn perceptron(shape: &MlpShape, parameters: &[f64], mut values: Vec<f64>) -> Vec<f64> {
    let last = shape.layers().len() - 1;
    for (i, layer) in shape.layers().iter().enumerate() {
        let weights = parameters[layer.weight.clone()].chunks(layer.inputs);
        let outputs = weights.zip(&parameters[layer.bias.clone()]).map(|(weights, bias)| {
            let sum = bias + weights.iter().zip(&values).map(|(w, v)| w * v).sum::<f64>();
            if i < last { sum.max(0.0) } else { sum }
        });
        values = outputs.collect();
    }
    values
}

/// The probability of the positive class or of the event, or of every class.
pub(super) fn probabilities(subject: &Subject, parameters: &[f64], row: &[f32]) -> Vec<f64> {
    if let Subject::Cox(cox) = subject {
        return vec![cox.probability(parameters, row)];
    }
    let logits = subject.logits(parameters, row);
    if let [z] = logits[..] {
        return vec![1.0 / (1.0 + (-z).exp())];
    }
    let log_sum = log_sum_exp(&logits);
    logits.iter().map(|z| (z - log_sum).exp()).collect()
}

fn log_sum_exp(logits: &[f64]) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + logits.iter().map(|z| (z - largest).exp()).sum::<f64>().ln()
}

/// Central finite differences of the loss by every parameter.
pub(super) fn gradient(
    subject: &Subject,
    parameters: &[f64],
    row: &[f32],
    label: f32,
    coordinates: impl Iterator<Item = usize>,
) -> Vec<(usize, f64)> {
    const STEP: f64 = 1e-6;
    let mut moved = parameters.to_vec();
    coordinates
        .map(|i| {
            moved[i] = parameters[i] + STEP;
            let above = subject.loss(&moved, row, label);
            moved[i] = parameters[i] - STEP;
            let below = subject.loss(&moved, row, label);
            moved[i] = parameters[i];
            (i, (above - below) / (2.0 * STEP))
        })
        .collect()
}
