//! Padding, order, empty batches, wrong shapes, purity.

use super::Over;
use super::fixtures::{Records, cases, distance, norm};
use crate::batch::{MICROBATCH, Rows};
use crate::trainer::TrainerError;

/// Around a full microbatch: the sum is that of the single records, in any order.
pub(super) fn padding_and_order_are_harmless(over: &Over<'_>) {
    for mut case in cases(over) {
        let records = case.random(MICROBATCH + 1, 2.0, 20);
        let clip = 0.4;
        let singles: Vec<Vec<f64>> =
            (0..records.len()).map(|i| case.clipped(&records.select([i]), clip)).collect();
        for count in [1, 2, MICROBATCH - 1, MICROBATCH, MICROBATCH + 1] {
            let mut expected = vec![0.0; case.parameters.len()];
            for single in &singles[..count] {
                expected.iter_mut().zip(single).for_each(|(e, s)| *e += s);
            }
            for order in [records.select(0..count), records.select((0..count).rev())] {
                let found = case.clipped(&order, clip);
                let error = distance(&found, &expected);
                assert!(error <= 1e-12 * (1.0 + norm(&expected)), "{count} records: {error}");
            }
        }
    }
}

/// No records, no sum.
pub(super) fn an_empty_batch_is_exact_zeros(over: &Over<'_>) {
    for mut case in cases(over) {
        let none = case.random(0, 1.0, 0);
        assert!(case.clipped(&none, 1.0).iter().all(|v| *v == 0.0));
        assert_eq!(case.clipped(&none, 1.0).len(), case.parameters.len());
        assert!(case.plain(&none).iter().all(|v| *v == 0.0));
        assert!(case.predict(&none).is_empty());
    }
}

/// Parameters, features or clip norms that do not fit are errors, not garbage.
pub(super) fn wrong_shapes_are_refused(over: &Over<'_>) {
    for mut case in cases(over) {
        let records = case.random(5, 1.0, 30);
        let wide = case.random_of(5, case.inputs + 1, 1.0, 31);
        let (trainer, parameters) = (&mut case.trainer, &case.parameters);
        let longer: Vec<f32> = parameters.iter().copied().chain([0.0]).collect();
        for wrong in [&parameters[1..], &longer[..], &[]] {
            let batch = records.batch();
            let refused = |e| matches!(e, TrainerError::ParameterLength { .. });
            assert!(trainer.clipped_gradient_sum(wrong, &batch, 1.0).is_err_and(refused));
            assert!(trainer.gradient_sum(wrong, &batch).is_err_and(refused));
            assert!(trainer.predict(wrong, batch.rows()).is_err_and(refused));
        }
        let refused = |e| matches!(e, TrainerError::FeatureWidth { .. });
        assert!(trainer.clipped_gradient_sum(parameters, &wide.batch(), 1.0).is_err_and(refused));
        assert!(trainer.gradient_sum(parameters, &wide.batch()).is_err_and(refused));
        assert!(trainer.predict(parameters, wide.batch().rows()).is_err_and(refused));
        let empty = Rows::new(&[], case.inputs + 1).expect("no rows");
        assert!(trainer.predict(parameters, empty).is_err_and(refused));
        for clip in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let refused = |e| matches!(e, TrainerError::ClipNorm { .. });
            let sum = trainer.clipped_gradient_sum(parameters, &records.batch(), clip);
            assert!(sum.is_err_and(refused), "clip norm {clip}");
        }
    }
}

/// The same call gives the same bits, whatever was called before, in any instance.
pub(super) fn calls_are_pure(over: &Over<'_>) {
    for (mut case, mut other) in cases(over).into_iter().zip(cases(over)) {
        let records = case.random(300, 2.0, 40);
        let first = (case.clipped(&records, 0.3), case.plain(&records), case.predict(&records));
        let broken = Records::constant(9, case.inputs, f32::NAN);
        case.clipped(&broken, 2.0);
        let kept = case.parameters.clone();
        case.parameters.iter_mut().for_each(|p| *p *= -2.0);
        assert_ne!(case.predict(&records), first.2, "parameters have an effect");
        case.parameters = kept;
        for case in [&mut case, &mut other] {
            assert_eq!(case.clipped(&records, 0.3), first.0);
            assert_eq!(case.plain(&records), first.1);
            assert_eq!(case.predict(&records), first.2);
        }
    }
}
