//! The network as nested loops in f64: slow, obvious, and independent of every trainer.

use crate::mlp::MlpShape;

/// The logits of one row.
fn logits(shape: &MlpShape, parameters: &[f64], row: &[f32]) -> Vec<f64> {
    let mut values: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
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

/// The probability of the positive class, or of every class.
pub(super) fn probabilities(shape: &MlpShape, parameters: &[f64], row: &[f32]) -> Vec<f64> {
    let logits = logits(shape, parameters, row);
    if let [z] = logits[..] {
        return vec![1.0 / (1.0 + (-z).exp())];
    }
    let log_sum = log_sum_exp(&logits);
    logits.iter().map(|z| (z - log_sum).exp()).collect()
}

/// Cross-entropy of one record: binary, or over the classes.
fn loss(shape: &MlpShape, parameters: &[f64], row: &[f32], label: f32) -> f64 {
    let logits = logits(shape, parameters, row);
    if let [z] = logits[..] {
        return z.max(0.0) + (-z.abs()).exp().ln_1p() - f64::from(label) * z;
    }
    log_sum_exp(&logits) - logits[label as usize]
}

fn log_sum_exp(logits: &[f64]) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + logits.iter().map(|z| (z - largest).exp()).sum::<f64>().ln()
}

/// Central finite differences of the loss by every parameter.
pub(super) fn gradient(
    shape: &MlpShape,
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
            let above = loss(shape, &moved, row, label);
            moved[i] = parameters[i] - STEP;
            let below = loss(shape, &moved, row, label);
            moved[i] = parameters[i];
            (i, (above - below) / (2.0 * STEP))
        })
        .collect()
}
