//! Is it the right gradient, the right clipping, the right prediction?

use super::Over;
use super::fixtures::{cases, distance, norm};
use super::oracle;

/// Every coordinate (or a spread of a thousand) against finite differences of an f64 loss.
pub(super) fn match_finite_differences(over: &Over<'_>) {
    for mut case in cases(over) {
        let records = case.random(4, 2.0, 1);
        let parameters: Vec<f64> = case.parameters.iter().map(|v| f64::from(*v)).collect();
        let stride = parameters.len().div_ceil(1000);
        for i in 0..records.len() {
            let found = case.plain(&records.select([i]));
            let places = (0..parameters.len()).step_by(stride);
            let (row, label) = (records.row(i), records.labels[i]);
            for (at, expected) in oracle::gradient(&case.subject(), &parameters, row, label, places)
            {
                assert!(
                    (found[at] - expected).abs() <= 2e-5 * (1.0 + expected.abs()),
                    "gradient coordinate {at}: {} but finite differences say {expected}",
                    found[at]
                );
            }
        }
    }
}

/// Two microbatches against a naive loop over single records, with some clipped and some not.
pub(super) fn clipped_sum_is_the_sum_of_clipped_gradients(over: &Over<'_>) {
    for mut case in cases(over) {
        let records = case.random(300, 2.0, 2);
        let gradients: Vec<Vec<f64>> =
            (0..records.len()).map(|i| case.plain(&records.select([i]))).collect();
        let mut norms: Vec<f64> = gradients.iter().map(|g| norm(g)).collect();
        norms.sort_by(f64::total_cmp);
        let clip = norms[norms.len() / 2];
        let mut expected = vec![0.0; case.parameters.len()];
        let mut plain = expected.clone();
        for gradient in &gradients {
            let factor = (clip / norm(gradient)).min(1.0);
            for ((e, p), g) in expected.iter_mut().zip(&mut plain).zip(gradient) {
                *e += factor * g;
                *p += g;
            }
        }
        let found = case.clipped(&records, clip);
        assert!(distance(&found, &expected) <= 1e-6 * norm(&expected), "clipped sum");
        assert!(distance(&found, &plain) > 1e-3 * norm(&plain), "clipping has an effect");
        let found = case.plain(&records);
        // Where it goes another way than the clipped one, it may be an ordinary pass in f32.
        let error = if over.one_way { 1e-9 } else { 1e-6 };
        assert!(distance(&found, &plain) <= error * norm(&plain), "plain sum");
    }
}

/// Probabilities are the sigmoid or the softmax of the oracle's logits, over more than one
/// microbatch.
pub(super) fn prediction_is_the_forward_pass(over: &Over<'_>) {
    for mut case in cases(over) {
        let records = case.random(270, 3.0, 3);
        let parameters: Vec<f64> = case.parameters.iter().map(|v| f64::from(*v)).collect();
        let found = case.predict(&records);
        let outputs = case.outputs;
        assert_eq!(case.trainer.outputs(), outputs);
        assert_eq!(found.len(), records.len() * outputs, "one probability per row and class");
        for (i, row) in found.chunks_exact(outputs).enumerate() {
            let expected = oracle::probabilities(&case.subject(), &parameters, records.row(i));
            for (p, expected) in row.iter().zip(expected) {
                assert!((f64::from(*p) - expected).abs() < 1e-5, "row {i}: {p} but {expected}");
            }
        }
    }
}
