//! Units of several records: summed, then clipped, then alone.

use super::Over;
use super::fixtures::{Case, Random, Records, cases, distance, norm};
use crate::batch::MICROBATCH;
use crate::float_error::unit_float_error;

/// Slack allowed on one unit's norm.
const NORM_SLACK: f64 = 1e-9;

/// Lengths of units that cover `count` rows.
fn lengths(count: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    let mut out = Vec::new();
    let mut left = count;
    while left > 0 {
        let length = random.pick(&[1, 1, 2, 3, 5, 16, 40]).min(left);
        out.push(length as u32);
        left -= length;
    }
    out
}

/// The sum of each unit's gradients, one record at a time.
fn unit_gradients(case: &mut Case, records: &Records, lengths: &[u32]) -> Vec<Vec<f64>> {
    let mut next = 0;
    lengths
        .iter()
        .map(|length| {
            let mut sum = vec![0.0; case.parameters.len()];
            for i in next..next + *length as usize {
                let one = case.plain(&records.select([i]));
                sum.iter_mut().zip(&one).for_each(|(s, g)| *s += g);
            }
            next += *length as usize;
            sum
        })
        .collect()
}

/// Over several microbatches against a naive loop, with some units clipped and some not.
pub(super) fn a_unit_is_clipped_by_the_norm_of_its_sum(over: &Over<'_>) {
    for mut case in cases(over) {
        let records = case.random(600, 2.0, 50);
        let lengths = lengths(records.len(), 51);
        let gradients = unit_gradients(&mut case, &records, &lengths);
        let mut norms: Vec<f64> = gradients.iter().map(|g| norm(g)).collect();
        norms.sort_by(f64::total_cmp);
        let clip = norms[norms.len() / 2];
        let mut expected = vec![0.0; case.parameters.len()];
        for gradient in &gradients {
            let factor = (clip / norm(gradient)).min(1.0);
            expected.iter_mut().zip(gradient).for_each(|(e, g)| *e += factor * g);
        }
        let found = case.clipped_units(&records, &lengths, clip);
        assert_eq!(found.non_finite, 0);
        let error = distance(&found.sum, &expected);
        assert!(error <= 1e-6 * norm(&expected), "clipped sum of units: off by {error}");
        let as_records = case.clipped(&records, clip);
        assert!(distance(&found.sum, &as_records) > 1e-3 * norm(&expected), "units matter");
    }
}

/// Single units with hostile features, whose gradients add up or cancel.
pub(super) fn no_unit_exceeds_the_clip_norm(over: &Over<'_>) {
    const CELLS: [f32; 9] = [0.0, 1e-45, 1.0, -1.0, 6.0, 1e10, -1e19, 3e38, f32::NAN];
    for mut case in cases(over) {
        let classes = case.outputs.max(2);
        let initial = case.parameters.clone();
        let mut random = Random::new(52);
        for round in 0..24 {
            let scale = random.pick(&[0.0, 1e-30, 1.0, 1.0, 1e3, 1e20]);
            case.parameters = initial.iter().map(|v| v * scale).collect();
            let length = random.pick(&[2, 3, 16, 100, MICROBATCH]);
            let clip = random.pick(&[1e-6, 0.3, 1.0, 1e5]);
            let mut records = case.random(length, random.pick(&[1.0, 1e4]), round);
            if round % 3 == 0 {
                let cells = if round % 2 == 0 { &CELLS[..] } else { &CELLS[..6] };
                records.values.iter_mut().for_each(|v| *v = random.pick(cells));
            } else {
                // The same row under every label: gradients that nearly cancel.
                for i in 1..length {
                    let first = records.select([0]);
                    records.put(i, &first, 0);
                    records.labels[i] = (i % classes) as f32;
                    records.values[i * records.width] += random.pick(&[0.0, 1e-3]);
                }
            }
            let found = norm(&case.clipped_units(&records, &[length as u32], clip).sum);
            assert!(
                found <= clip * (1.0 + NORM_SLACK),
                "a unit of {length} records contributed {found} under the clip norm {clip}"
            );
        }
    }
}

/// Adding or removing a unit, wherever it stands, costs at most `C (1 + eta)`, although all later
/// ones move to other slots and microbatches.
pub(super) fn one_unit_moves_the_sum_by_at_most_the_clip_norm(over: &Over<'_>) {
    for mut case in cases(over) {
        for (clip, scale) in [(1e-3, 2.0), (0.5, 1e3)] {
            let records = case.random(400, scale, 53);
            let lengths = lengths(records.len(), 54);
            let all = case.clipped_units(&records, &lengths, clip).sum;
            for gone in [0, 1, lengths.len() / 2, lengths.len() - 1] {
                let start: usize = lengths[..gone].iter().map(|n| *n as usize).sum();
                let own = start..start + lengths[gone] as usize;
                let rest = records.select((0..records.len()).filter(|i| !own.contains(i)));
                let others: Vec<u32> = [&lengths[..gone], &lengths[gone + 1..]].concat();
                let moved = distance(&all, &case.clipped_units(&rest, &others, clip).sum);
                let eta = unit_float_error(lengths.len(), records.len());
                let bound = clip * (1.0 + NORM_SLACK) * (1.0 + eta);
                assert!(moved <= bound, "unit {gone} moved the sum by {moved}, clip {clip}");
            }
        }
    }
}

/// A unit contributes the same alone, in every slot, and among any other units: to the last bit where
/// one of its records alone has a gradient, and otherwise up to the order in which its records are
/// added, which the bound on rounding covers.
pub(super) fn bits_do_not_depend_on_other_units(over: &Over<'_>) {
    for mut case in cases(over) {
        let broken = Records::constant(MICROBATCH + 40, case.inputs, f32::NAN);
        let certain = case.certain(MICROBATCH + 40);
        for (length, slots) in
            [(1, &[0, 5, 255][..]), (3, &[0, 1, 2, 7, 129, 253, 256]), (16, &[3, 240])]
        {
            let all = case.random(length, 2.0, 55);
            let mut one = certain.select(0..length);
            one.put(length / 2, &all, length / 2);
            for (own, exact) in [(&one, true), (&all, length == 1)] {
                for clip in [1e-2, 1e3] {
                    let expected = case.clipped_units(own, &[length as u32], clip).sum;
                    assert!(norm(&expected) > 0.0, "the unit has a gradient");
                    let allowed = if exact { 0.0 } else { 1e-12 * norm(&expected) };
                    for (others, slot) in [&broken, &certain]
                        .into_iter()
                        .flat_map(|o| slots.iter().map(move |s| (o, s)))
                    {
                        let mut company = others.clone();
                        for i in 0..length {
                            company.put(slot + i, own, i);
                        }
                        let behind = company.len() - slot - length;
                        let mut units = lengths(*slot, 56);
                        units.push(length as u32);
                        units.extend(lengths(behind, 57));
                        let found = case.clipped_units(&company, &units, clip).sum;
                        let moved = distance(&found, &expected);
                        assert!(
                            moved <= allowed,
                            "slot {slot}: other units moved a unit of {length} by {moved}"
                        );
                    }
                }
            }
        }
    }
}

/// One bad record anywhere in a unit: exact zeros, counted once, and other units untouched.
pub(super) fn a_non_finite_record_takes_its_unit_along(over: &Over<'_>) {
    for mut case in cases(over) {
        let good = case.random(20, 2.0, 58);
        let expected = case.clipped_units(&good, &[3, 1, 16], 0.5).sum;
        for place in 0..4 {
            // Behind the others, so that they keep their slots and the order of their additions.
            let mut records = good.select((0..20).chain([7, 8, 9, 10]));
            if place == 3 {
                records.labels[20 + place] = f32::NAN;
            } else {
                records.values[(20 + place) * records.width] = f32::INFINITY;
            }
            let found = case.clipped_units(&records, &[3, 1, 16, 4], 0.5);
            assert_eq!(found.non_finite, 1, "the unit is counted once");
            assert!(found.sum == expected, "a broken unit contributes exact zeros");
            let alone = case.clipped_units(&records.select(20..24), &[4], 0.5).sum;
            assert!(alone.iter().all(|v| *v == 0.0), "a broken unit alone is exact zeros");
        }
    }
}

/// Units of one record are what records without units are: bit for bit, or nearly where a trainer
/// computes units of several records in another way than records.
pub(super) fn units_of_one_record_are_records(over: &Over<'_>) {
    for mut case in cases(over) {
        let records = case.random(MICROBATCH + 30, 2.0, 59);
        let units = vec![1; records.len()];
        let (by_unit, by_record) =
            (case.clipped_units(&records, &units, 0.3).sum, case.clipped(&records, 0.3));
        let error = distance(&by_unit, &by_record);
        let allowed = if over.one_way { 0.0 } else { 1e-5 * norm(&by_record) };
        assert!(error <= allowed, "units of one record are off by {error}");
        let batch = crate::Batch::with_units(records.batch().rows(), &records.labels, &units);
        let plain = case.trainer.gradient_sum(&case.parameters, &batch.expect("units"));
        assert!(plain.expect("a valid call") == case.plain(&records));
    }
}

/// With classes, a label must be the index of one.
pub(super) fn labels_that_are_no_class_contribute_exact_zeros(over: &Over<'_>) {
    for mut case in cases(over) {
        let classes = case.outputs;
        if classes == 1 {
            continue;
        }
        for label in [-1.0, 0.5, classes as f32, 1e30] {
            let mut records = case.random(3, 2.0, 60);
            let expected = case.clipped(&records.select([0, 2]), 0.5);
            records.labels[1] = label;
            assert!(case.clipped(&records, 0.5) == expected, "label {label}");
        }
    }
}
