//! How good a classifier is: accuracy and log-loss, and AUC of a binary one.
//!
//! Knows scores and labels only. On real records each of these is a release like any other; the
//! caller decides who may see it.

use crate::softmax;

/// Area under the ROC curve: the probability that a positive scores above a negative, ties counting
/// one half (Mann-Whitney U, exact, with averaged ranks). `None` if either class is absent, the
/// lengths differ, or a score is NaN. Labels above 0.5 are positive.
pub fn auc(scores: &[f32], labels: &[f32]) -> Option<f64> {
    if scores.len() != labels.len() || scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    let mut pairs: Vec<(f32, bool)> =
        scores.iter().zip(labels).map(|(s, y)| (*s, *y > 0.5)).collect();
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let positives = pairs.iter().filter(|(_, y)| *y).count() as u64;
    let negatives = pairs.len() as u64 - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    // Twice U, in integers: each positive counts 2 per negative below it and 1 per tied one.
    let (mut twice_u, mut below) = (0u128, 0u64);
    for tied in pairs.chunk_by(|a, b| a.0 == b.0) {
        let here = tied.iter().filter(|(_, y)| *y).count() as u64;
        let others = tied.len() as u64 - here;
        twice_u += u128::from(here) * u128::from(2 * below + others);
        below += others;
    }
    Some(twice_u as f64 / (2.0 * positives as f64 * negatives as f64))
}

/// Fraction of records whose probability lies on the label's side of 0.5 (0.5 itself counts as
/// positive). `None` for no records or differing lengths. NaN is never right.
pub fn accuracy(probabilities: &[f32], labels: &[f32]) -> Option<f64> {
    if probabilities.len() != labels.len() || labels.is_empty() {
        return None;
    }
    let right = |(p, y): &(&f32, &f32)| !p.is_nan() && (**p >= 0.5) == (**y > 0.5);
    let count = probabilities.iter().zip(labels).filter(right).count();
    Some(count as f64 / labels.len() as f64)
}

/// Mean binary cross-entropy in nats, probabilities kept within `[1e-7, 1 - 1e-7]`. `None` for no
/// records, differing lengths, or a NaN.
pub fn log_loss(probabilities: &[f32], labels: &[f32]) -> Option<f64> {
    if probabilities.len() != labels.len() || labels.is_empty() {
        return None;
    }
    let loss = |(p, y): (&f32, &f32)| {
        let (p, y) = (f64::from(*p).clamp(1e-7, 1.0 - 1e-7), f64::from(*y));
        -(y * p.ln() + (1.0 - y) * (1.0 - p).ln())
    };
    let mean = probabilities.iter().zip(labels).map(loss).sum::<f64>() / labels.len() as f64;
    (!mean.is_nan()).then_some(mean)
}

/// Fraction of records whose class has the largest probability (the first of equal ones), from one
/// row of `classes` probabilities per record. `None` for no records or lengths that do not fit. A row
/// with a NaN, or a label that is no class, is never right.
pub fn class_accuracy(probabilities: &[f32], classes: usize, labels: &[f32]) -> Option<f64> {
    let right = |(row, y): (&[f32], &f32)| {
        let best = row.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1));
        let sound = row.iter().all(|p| !p.is_nan());
        sound && best.is_some_and(|(i, _)| softmax::class(*y, classes) == Some(i))
    };
    let count = rows_of(probabilities, classes, labels)?.filter(|pair| right(*pair)).count();
    Some(count as f64 / labels.len() as f64)
}

/// Mean cross-entropy in nats of rows of `classes` probabilities, each kept at 1e-7 or above. `None`
/// for no records, lengths that do not fit, a label that is no class, or a NaN.
pub fn class_log_loss(probabilities: &[f32], classes: usize, labels: &[f32]) -> Option<f64> {
    let mut total = 0.0;
    for (row, y) in rows_of(probabilities, classes, labels)? {
        let p = f64::from(row[softmax::class(*y, classes)?]);
        total -= if p.is_nan() { p } else { p.max(1e-7).ln() };
    }
    let mean = total / labels.len() as f64;
    (!mean.is_nan()).then_some(mean)
}

fn rows_of<'a>(
    probabilities: &'a [f32],
    classes: usize,
    labels: &'a [f32],
) -> Option<impl Iterator<Item = (&'a [f32], &'a f32)>> {
    if classes == 0 || labels.is_empty() || probabilities.len() != labels.len() * classes {
        return None;
    }
    Some(probabilities.chunks_exact(classes).zip(labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hand_values() {
        let labels = [0.0, 0.0, 1.0, 1.0];
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &labels), Some(0.75));
        assert_eq!(auc(&[0.1, 0.2, 0.3, 0.4], &labels), Some(1.0));
        assert_eq!(auc(&[0.4, 0.3, 0.2, 0.1], &labels), Some(0.0));
        assert_eq!(auc(&[0.5; 4], &labels), Some(0.5));
        assert_eq!(auc(&[0.0, -0.0, 0.0, 1.0], &labels), Some(0.75), "-0 ties with 0");
        assert_eq!(accuracy(&[0.1, 0.6, 0.5, 0.4], &labels), Some(0.5));
        let expected = -(0.9f64.ln() + 0.2f64.ln()) / 2.0;
        assert!((log_loss(&[0.1, 0.2], &[0.0, 1.0]).unwrap() - expected).abs() < 1e-7);
        assert!(log_loss(&[0.0, 1.0], &[1.0, 0.0]).unwrap() < 17.0);
    }

    #[test]
    fn hand_values_of_three_classes() {
        let p = [0.2, 0.5, 0.3, 0.4, 0.4, 0.2, 0.1, 0.1, 0.8];
        assert_eq!(class_accuracy(&p, 3, &[1.0, 0.0, 0.0]), Some(2.0 / 3.0));
        assert_eq!(class_accuracy(&p, 3, &[1.0, 1.0, 2.0]), Some(2.0 / 3.0), "the first of equals");
        let expected = -(0.5f64.ln() + 0.4f64.ln() + 0.1f64.ln()) / 3.0;
        assert!((class_log_loss(&p, 3, &[1.0, 0.0, 0.0]).unwrap() - expected).abs() < 1e-6);
        assert!(class_log_loss(&[0.0, 1.0], 2, &[0.0]).unwrap() < 17.0);
        let broken = [f32::NAN, 1.0];
        assert_eq!(class_accuracy(&broken, 2, &[1.0]), Some(0.0));
        assert_eq!(class_log_loss(&broken, 2, &[0.0]), None);
        assert_eq!(class_accuracy(&[0.5, 0.5], 2, &[2.0]), Some(0.0));
        for (p, labels) in [(&[][..], &[][..]), (&[0.1, 0.9], &[0.0, 1.0])] {
            assert_eq!(class_accuracy(p, 2, labels), None);
            assert_eq!(class_log_loss(p, 2, labels), None);
        }
        assert_eq!(class_log_loss(&[0.5, 0.5], 2, &[2.0]), None);
    }

    #[test]
    fn what_has_no_value_is_none() {
        assert_eq!(auc(&[0.1, 0.2], &[1.0, 1.0]), None);
        assert_eq!(auc(&[f32::NAN, 0.2], &[1.0, 0.0]), None);
        assert_eq!(auc(&[0.1], &[1.0, 0.0]), None);
        assert_eq!(accuracy(&[], &[]), None);
        assert_eq!(log_loss(&[], &[]), None);
        assert_eq!(log_loss(&[f32::NAN], &[1.0]), None);
        assert_eq!(accuracy(&[f32::NAN, f32::NAN], &[1.0, 0.0]), Some(0.0));
    }

    proptest! {
        #[test]
        fn auc_is_the_fraction_of_ordered_pairs(pairs in
            proptest::collection::vec((0u8..6, any::<bool>()), 2..40)) {
            let scores: Vec<f32> = pairs.iter().map(|(s, _)| f32::from(*s)).collect();
            let labels: Vec<f32> = pairs.iter().map(|(_, y)| f32::from(u8::from(*y))).collect();
            let (mut twice, mut total) = (0u32, 0u32);
            for (s, y) in &pairs {
                for (t, z) in &pairs {
                    if *y && !z {
                        total += 2;
                        twice += match s.cmp(t) {
                            std::cmp::Ordering::Greater => 2,
                            std::cmp::Ordering::Equal => 1,
                            std::cmp::Ordering::Less => 0,
                        };
                    }
                }
            }
            let expected = (total > 0).then(|| f64::from(twice) / f64::from(total));
            match (auc(&scores, &labels), expected) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-12),
                (a, b) => prop_assert_eq!(a, b),
            }
        }
    }
}
