//! Softmax cross-entropy over the classes, row by row in f32.
//!
//! Shared by the trainers: each row is a loop of its own in a fixed order, so its bits depend on the
//! row alone, and values beyond the classes (a tensor library's padding) never enter.

/// Replaces a row of logits with probabilities that add up to 1; all NaN if any logit is NaN or
/// positive infinity.
pub fn softmax(row: &mut [f32]) {
    // `max` passes over NaN; the exponentials below do not.
    let largest = row.iter().fold(f32::NEG_INFINITY, |m, z| m.max(*z));
    let mut sum = 0.0f32;
    for z in row.iter_mut() {
        *z = (*z - largest).exp();
        sum += *z;
    }
    for z in row {
        *z /= sum;
    }
}

/// Replaces a row of logits with the gradient of the record's cross-entropy by them: probabilities
/// minus 1 at the class. All NaN if the label is not the index of a class.
pub fn gradient(row: &mut [f32], label: f32) {
    softmax(row);
    match class(label, row.len()) {
        Some(class) => row[class] -= 1.0,
        None => row.fill(f32::NAN),
    }
}

/// The class that a label names, if it names one of `classes`.
pub fn class(label: f32, classes: usize) -> Option<usize> {
    let index = label as usize;
    (index < classes && index as f32 == label).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_values() {
        let mut row = [0.0, (2.0f32).ln(), (5.0f32).ln()];
        softmax(&mut row);
        for (p, expected) in row.iter().zip([0.125, 0.25, 0.625]) {
            assert!((p - expected).abs() < 1e-6);
        }
        let mut row = [1e30, -1e30, f32::NEG_INFINITY];
        gradient(&mut row, 1.0);
        assert_eq!(row, [1.0, -1.0, 0.0]);
    }

    #[test]
    fn what_is_not_a_class_or_not_finite_is_visible() {
        for label in [-1.0, 0.5, 3.0, 1e9, f32::NAN, f32::INFINITY] {
            let mut row = [0.0; 3];
            gradient(&mut row, label);
            assert!(row.iter().all(|v| v.is_nan()), "{label}");
        }
        for logit in [f32::NAN, f32::INFINITY] {
            let mut row = [0.0, logit, 0.0];
            gradient(&mut row, 0.0);
            assert!(row.iter().any(|v| v.is_nan()), "{logit}");
        }
    }
}
