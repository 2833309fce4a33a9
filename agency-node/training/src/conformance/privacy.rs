//! The promises that sensitivity rests on.

use super::Over;
use super::fixtures::{Random, Records, cases, distance, norm};
use crate::batch::MICROBATCH;
use crate::float_error::float_error;
use crate::trainer::TrainerError;

/// Slack allowed on one record's norm.
const NORM_SLACK: f64 = 1e-9;

/// Single records with hostile features and parameters, and batches of them.
pub(super) fn no_contribution_exceeds_the_clip_norm(over: &Over<'_>) {
    const CELLS: [f32; 12] =
        [0.0, -0.0, 1e-45, -1e-40, 1.0, -1.0, 6.0, 1e10, -1e19, 3e38, f32::NAN, f32::INFINITY];
    const MILD: [f32; 4] = [0.0, 1.0, -6.0, 1e4];
    const SCALES: [f32; 6] = [0.0, 1e-30, 1.0, 1e3, 1e20, 3e38];
    let mut random = Random::new(4);
    for mut case in cases(over) {
        let initial = case.parameters.clone();
        for (round, scale) in SCALES.iter().cycle().take(24).enumerate() {
            case.parameters = initial.iter().map(|v| v * scale).collect();
            let cells: &[f32] = if round % 2 == 0 { &CELLS } else { &MILD };
            let mut records = case.random(12, 1.0, round as u64);
            records.values.iter_mut().for_each(|v| *v = random.pick(cells));
            let clip = random.pick(&[1e-6, 0.3, 1.0, 1e5]);
            for i in 0..records.len() {
                let length = norm(&case.clipped(&records.select([i]), clip));
                assert!(
                    length <= clip * (1.0 + NORM_SLACK),
                    "a record contributed {length} under the clip norm {clip}"
                );
            }
            let bound = records.len() as f64 * clip * (1.0 + float_error(records.len()));
            assert!(norm(&case.clipped(&records, clip)) <= bound, "a batch exceeded its bound");
        }
    }
}

/// Adding or removing a record, wherever it stands, costs at most `C (1 + eta)`.
pub(super) fn one_record_moves_the_sum_by_at_most_the_clip_norm(over: &Over<'_>) {
    for mut case in cases(over) {
        for (clip, scale) in [(1e-3, 2.0), (0.5, 1e3), (1e4, 2.0)] {
            let records = case.random(270, scale, 5);
            let all = case.clipped(&records, clip);
            for gone in [0, 1, 130, 255, 256, 269] {
                let rest = records.select((0..records.len()).filter(|i| *i != gone));
                let moved = distance(&all, &case.clipped(&rest, clip));
                let bound = clip * (1.0 + NORM_SLACK) * (1.0 + float_error(records.len()));
                assert!(moved <= bound, "record {gone} moved the sum by {moved}, clip {clip}");
            }
        }
    }
}

/// A record's contribution has the same bits alone, in every slot, and among any neighbours.
///
/// Neighbours are seen apart from it because they contribute exact zeros: broken ones (NaN), and
/// finite ones that the model gets right with a probability of exactly 0 or 1.
pub(super) fn bits_do_not_depend_on_the_company(over: &Over<'_>) {
    for mut case in cases(over) {
        let width = case.inputs;
        let records = case.random(3, 2.0, 6);
        let broken = Records::constant(MICROBATCH + 40, width, f32::NAN);
        let certain = case.certain(MICROBATCH + 40);
        for i in 0..records.len() {
            let alone = records.select([i]);
            for clip in [1e-2, 1e3] {
                let expected = case.clipped(&alone, clip);
                assert!(norm(&expected) > 0.0, "the record has a gradient");
                for neighbours in [&broken, &certain] {
                    for slot in slots() {
                        let mut company = neighbours.clone();
                        company.put(slot, &records, i);
                        assert!(
                            case.clipped(&company, clip) == expected,
                            "slot {slot}: neighbours changed the bits of a record's gradient"
                        );
                    }
                }
            }
            let expected = case.predicted_bits(&alone, 0);
            let mut company = case.random(MICROBATCH, 2.0, 7);
            for slot in 0..MICROBATCH {
                company.put(slot, &records, i);
            }
            let predicted = case.predict(&company);
            let bits: Vec<u32> = predicted.iter().map(|p| p.to_bits()).collect();
            assert!(
                bits.chunks_exact(expected.len()).all(|row| row == expected),
                "a slot changed a prediction's bits"
            );
            let mut company = case.random(MICROBATCH + 40, 2.0, 8);
            company.put(77, &records, i);
            assert_eq!(case.predicted_bits(&company, 77), expected, "neighbours changed bits");
        }
    }
}

/// Slots on both sides of every likely vector and tile border, and in a second microbatch.
fn slots() -> impl Iterator<Item = usize> {
    let borders = [0, 1, 2, 3, 4, 5, 7, 8, 11, 12, 15, 16, 23, 24, 31, 32, 47, 48, 63, 64];
    borders
        .into_iter()
        .chain([95, 100, 127, 128, 191, 192, 239, 240, 250, 251, 252, 253, 254, 255])
        .chain([256, 257, 279, 295])
}

/// Broken features, labels or parameters: zeros, counted, and neighbours untouched.
pub(super) fn non_finite_records_contribute_exact_zeros(over: &Over<'_>) {
    for mut case in cases(over) {
        let width = case.inputs;
        let good = case.random(20, 2.0, 10);
        let expected = case.clipped(&good, 0.5);
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut records = good.select((0..20).chain([3, 4]));
            records.values[20 * width] = poison;
            records.labels[21] = f32::NAN;
            let parameters = &case.parameters;
            let total = case.trainer.clipped_gradient_sum(parameters, &records.batch(), 0.5);
            let total = total.expect("a valid call");
            assert_eq!(total.non_finite, 2, "broken records are counted, padding is not");
            assert!(total.sum == expected, "broken records contribute exact zeros");
            let plain = case.trainer.gradient_sum(parameters, &records.batch());
            assert_eq!(plain, Err(TrainerError::NonFinite), "without clipping it is an error");
        }
        case.parameters[0] = f32::NAN;
        let total = case.trainer.clipped_gradient_sum(&case.parameters, &good.batch(), 0.5);
        let total = total.expect("a valid call");
        assert_eq!(total.non_finite, good.len(), "a broken model breaks every record");
        assert!(total.sum.iter().all(|v| *v == 0.0), "a broken model contributes exact zeros");
    }
}
