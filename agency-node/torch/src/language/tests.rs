//! Decoders against a loop over units, and what must hold whatever the batch.

use super::*;
use tributary_training::PADDING;

const INPUTS: usize = 9;
const TOKENS: usize = 11;

fn model(norm: NormKind, microbatch: u32) -> ModelSpec {
    ModelSpec::Decoder {
        layers: 2,
        width: 8,
        heads: 2,
        hidden: 12,
        norm,
        rotary_base: 1e4,
        microbatch,
    }
}

/// Windows of every length but the shortest.
fn rows(count: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for row in 0..count {
        let length = INPUTS - row % (INPUTS - 2);
        let token = |i: usize| ((row * 31 + i * i * 7 + i) % TOKENS) as f32;
        out.extend((0..INPUTS).map(|i| if i < length { token(i) } else { PADDING }));
    }
    out
}

fn batch<'a>(values: &'a [f32], labels: &'a [f32], units: Option<&'a [u32]>) -> Batch<'a> {
    let rows = Rows::new(values, INPUTS).unwrap();
    let labels = &labels[..rows.len()];
    match units {
        None => Batch::new(rows, labels).unwrap(),
        Some(units) => Batch::with_units(rows, labels, units).unwrap(),
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn initial(model: &ModelSpec) -> Vec<f32> {
    ParameterLayout::of(model, INPUTS, TOKENS).initial_parameters(5)
}

#[test]
fn clipped_sums_equal_a_loop_over_units() {
    let (values, labels) = (rows(12), [0.0; 12]);
    for kind in [NormKind::Rms, NormKind::Layer] {
        let model = model(kind, 4);
        let parameters = initial(&model);
        let mut trainer = LanguageTrainer::new(&model, INPUTS, TOKENS).unwrap();
        for units in [&[1u32; 12][..], &[3, 1, 5, 2, 1]] {
            let mut gradients = Vec::new();
            let mut start = 0;
            for length in units {
                let part = &values[start * INPUTS..(start + *length as usize) * INPUTS];
                start += *length as usize;
                let part = batch(part, &labels, None);
                gradients.push(trainer.gradient_sum(&parameters, &part).unwrap());
            }
            let mut norms: Vec<f64> = gradients.iter().map(|g| norm(g)).collect();
            norms.sort_by(f64::total_cmp);
            for clip in [norms[0] / 2.0, norms[norms.len() / 2], 2.0 * norms[norms.len() - 1]] {
                let mut wanted = vec![0.0; parameters.len()];
                for gradient in &gradients {
                    let factor = (clip / norm(gradient)).min(1.0);
                    wanted.iter_mut().zip(gradient).for_each(|(w, g)| *w += factor * g);
                }
                let persons = units.iter().any(|n| *n > 1).then_some(units);
                let part = batch(&values, &labels, persons);
                let found = trainer.clipped_gradient_sum(&parameters, &part, clip).unwrap();
                let difference: Vec<f64> =
                    found.sum.iter().zip(&wanted).map(|(a, b)| a - b).collect();
                let error = norm(&difference) / norm(&wanted);
                // Windows carry the slack for the rounding of sums, a few parts in a thousand.
                let allowed = if persons.is_some() { 1e-6 } else { 0.02 };
                assert!(error < allowed, "{kind:?} {clip} {persons:?}: {error}");
                assert_eq!(found.non_finite, 0);
                let below = norms.iter().filter(|n| **n * 1.02 < clip).count();
                let above = norms.iter().filter(|n| **n > clip).count();
                assert!((below..=units.len() - above).contains(&found.within), "{found:?}");
            }
        }
    }
}

#[test]
fn no_window_moves_a_sum_by_more_than_the_clip_norm() {
    let model = model(NormKind::Rms, 4);
    let parameters = initial(&model);
    let mut trainer = LanguageTrainer::new(&model, INPUTS, TOKENS).unwrap();
    let (values, labels) = (rows(14), [0.0; 14]);
    let clip = 0.05;
    for units in [None, Some(2u32)] {
        let step = units.map_or(1, |n| n as usize);
        let lengths = vec![step as u32; 14 / step];
        let mut sum = |values: &[f32]| {
            let lengths = &lengths[..values.len() / INPUTS / step];
            let part = batch(values, &labels, units.map(|_| lengths));
            trainer.clipped_gradient_sum(&parameters, &part, clip).unwrap().sum
        };
        let whole = sum(&values);
        for left_out in 0..14 / step {
            let size = step * INPUTS;
            let rest = [&values[..left_out * size], &values[(left_out + 1) * size..]].concat();
            let moved: Vec<f64> = whole.iter().zip(sum(&rest)).map(|(a, b)| a - b).collect();
            let moved = norm(&moved);
            assert!(moved <= clip * (1.0 + 1e-12) && moved > 0.5 * clip, "{moved}");
        }
    }
}

#[test]
fn what_is_no_text_contributes_exact_zeros_and_its_person_too() {
    let model = model(NormKind::Rms, 3);
    let parameters = initial(&model);
    let mut trainer = LanguageTrainer::new(&model, INPUTS, TOKENS).unwrap();
    let (mut values, labels) = (rows(6), [0.0; 6]);
    for (row, bad) in [(1, f32::NAN), (4, TOKENS as f32)] {
        values[row * INPUTS + 2] = bad;
    }
    let good: Vec<f32> = [0usize, 2, 3, 5]
        .iter()
        .flat_map(|row| values[row * INPUTS..(row + 1) * INPUTS].to_vec())
        .collect();
    let found = trainer.clipped_gradient_sum(&parameters, &batch(&values, &labels, None), 0.1);
    let wanted = trainer.clipped_gradient_sum(&parameters, &batch(&good, &labels, None), 0.1);
    let (found, wanted) = (found.unwrap(), wanted.unwrap());
    assert_eq!(found.non_finite, 2);
    let off: Vec<f64> = found.sum.iter().zip(&wanted.sum).map(|(a, b)| a - b).collect();
    assert!(norm(&off) < 1e-12);
    let persons = batch(&values, &labels, Some(&[2, 2, 2]));
    let found = trainer.clipped_gradient_sum(&parameters, &persons, 0.1).unwrap();
    assert_eq!(found.non_finite, 2);
    assert!(norm(&found.sum) <= 0.1);
    let refused = trainer.gradient_sum(&parameters, &batch(&values, &labels, None));
    assert_eq!(refused, Err(TrainerError::NonFinite));
    // A model that has diverged: nothing but zeros.
    let mut broken = parameters.clone();
    broken[3] = f32::NAN;
    for units in [None, Some(&[2u32, 2][..])] {
        let part = batch(&good, &labels, units);
        let found = trainer.clipped_gradient_sum(&broken, &part, 0.1).unwrap();
        assert!(found.sum.iter().all(|v| *v == 0.0));
        assert_eq!(found.non_finite, if units.is_some() { 2 } else { 4 });
    }
    // Nothing drawn: zeros of the full length.
    let none = trainer.clipped_gradient_sum(&parameters, &batch(&[], &labels, None), 0.1).unwrap();
    assert_eq!(none, ClippedSum::zeros(parameters.len()));
}

#[test]
fn a_persons_bits_do_not_depend_on_anybody_else() {
    let model = model(NormKind::Layer, 2);
    let parameters = initial(&model);
    let mut trainer = LanguageTrainer::new(&model, INPUTS, TOKENS).unwrap();
    let (values, labels) = (rows(6), [0.0; 6]);
    let mut sum = |values: &[f32], units: &[u32]| {
        trainer
            .clipped_gradient_sum(&parameters, &batch(values, &labels, Some(units)), 1e3)
            .unwrap()
            .sum
    };
    let (first, second) = values.split_at(3 * INPUTS);
    let (a, b, both) = (sum(first, &[3]), sum(second, &[3]), sum(&values, &[3, 3]));
    assert!(a.iter().zip(&b).zip(&both).all(|((a, b), both)| (a + b).to_bits() == both.to_bits()));
}

#[test]
fn losses_are_those_of_a_uniform_guess_before_training_and_fall() {
    let model = model(NormKind::Rms, 4);
    let mut parameters = initial(&model);
    let mut trainer = LanguageTrainer::new(&model, INPUTS, TOKENS).unwrap();
    let (values, labels) = (rows(10), [0.0; 10]);
    let measure = |trainer: &mut LanguageTrainer, parameters: &[f32]| {
        trainer.token_losses(parameters, Rows::new(&values, INPUTS).unwrap()).unwrap()
    };
    let tokens = values.iter().filter(|v| **v != PADDING).count() as u64 - 10;
    let before = measure(&mut trainer, &parameters);
    assert_eq!(before.tokens, tokens);
    let mean = before.nats / before.tokens as f64;
    assert!((mean - (TOKENS as f64).ln()).abs() < 0.3, "{mean}");
    // The loss is a window's sum over the context's length.
    for _ in 0..150 {
        let gradient = trainer.gradient_sum(&parameters, &batch(&values, &labels, None)).unwrap();
        parameters.iter_mut().zip(&gradient).for_each(|(p, g)| *p -= 0.1 * *g as f32);
    }
    let after = measure(&mut trainer, &parameters);
    assert!(after.nats < 0.5 * before.nats && after.right > before.right, "{after:?}");
    assert!(trainer.predict(&parameters, Rows::new(&values, INPUTS).unwrap()).is_err());
}

#[test]
fn a_gradient_is_what_differences_of_the_loss_say() {
    let model = model(NormKind::Layer, 4);
    let parameters = initial(&model);
    let mut trainer = LanguageTrainer::new(&model, INPUTS, TOKENS).unwrap();
    let (values, labels) = (rows(3), [0.0; 3]);
    let gradient = trainer.gradient_sum(&parameters, &batch(&values, &labels, None)).unwrap();
    let mut loss = |at: usize, by: f32| {
        let mut moved = parameters.clone();
        moved[at] += by;
        trainer.token_losses(&moved, Rows::new(&values, INPUTS).unwrap()).unwrap().nats
            / (INPUTS - 1) as f64
    };
    for at in (0..parameters.len()).step_by(parameters.len() / 17) {
        let difference = (loss(at, 1e-2) - loss(at, -1e-2)) / 2e-2;
        assert!((difference - gradient[at]).abs() < 2e-3 + 0.02 * gradient[at].abs(), "{at}");
    }
}

#[test]
fn another_family_and_calls_that_do_not_fit_are_refused() {
    let mlp = ModelSpec::Mlp { hidden: vec![4] };
    assert!(LanguageTrainer::new(&mlp, INPUTS, TOKENS).is_err());
    let model = model(NormKind::Rms, 4);
    let mut trainer = LanguageTrainer::new(&model, INPUTS, TOKENS).unwrap();
    let (values, labels) = (rows(2), [0.0; 2]);
    let part = batch(&values, &labels, None);
    let short = trainer.clipped_gradient_sum(&[0.0; 3], &part, 1.0).unwrap_err();
    assert!(matches!(short, TrainerError::ParameterLength { .. }));
    let parameters = initial(&model);
    let wide = Batch::new(Rows::new(&values[..14], 7).unwrap(), &labels).unwrap();
    let wide = trainer.clipped_gradient_sum(&parameters, &wide, 1.0).unwrap_err();
    assert!(matches!(wide, TrainerError::FeatureWidth { expected: INPUTS, found: 7 }));
    let clip = trainer.clipped_gradient_sum(&parameters, &part, f64::NAN).unwrap_err();
    assert!(matches!(clip, TrainerError::ClipNorm { .. }));
}

#[test]
fn logits_are_those_of_the_definitions() {
    let labels = [0.0; 3];
    for kind in [NormKind::Rms, NormKind::Layer] {
        let model = model(kind, 2);
        let layout = ParameterLayout::of(&model, INPUTS, TOKENS);
        // Large enough that every part matters, norms included.
        let parameters: Vec<f32> = layout
            .initial_parameters(9)
            .iter()
            .enumerate()
            .map(|(i, v)| v * 2.0 + 0.1 * (i as f32).sin())
            .collect();
        let oracle = reference::Reference {
            layout: &layout,
            parameters: &parameters,
            layers: 2,
            width: 8,
            heads: 2,
            base: 1e4,
        };
        let values = rows(3);
        let part = batch(&values, &labels, None);
        let mut trainer = LanguageTrainer::new(&model, INPUTS, TOKENS).unwrap();
        let found = trainer.logits(&parameters, part.rows()).unwrap();
        let context = INPUTS - 1;
        for (row, window) in values.chunks(INPUTS).enumerate() {
            let text = window[..context].iter().take_while(|v| **v != PADDING);
            let tokens: Vec<usize> = text.map(|v| *v as usize).collect();
            let wanted = oracle.logits(&tokens);
            for (t, wanted) in wanted.iter().enumerate() {
                let start = (row * context + t) * TOKENS;
                for (a, b) in found[start..start + TOKENS].iter().zip(wanted) {
                    assert!((f64::from(*a) - b).abs() < 1e-4, "{kind:?} {row} {t}: {a} {b}");
                }
            }
        }
    }
}
