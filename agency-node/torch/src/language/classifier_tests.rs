//! Adapters on a made-up base: from the file to sums, and every base that does not fit.

use std::collections::HashMap;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tch::Kind;
use tributary_job::ParameterLayout;
use tributary_job::spec::{LoraSpec, LoraTarget, ModelSpec};
use tributary_training::assets::file_sha256;
use tributary_training::{Assets, Batch, PADDING, Rows, Trainer};

use super::ClassifierTrainer;
use crate::private::Parameters;
use crate::private::encoder::{Encoder, EncoderOptions};

const CONTEXT: usize = 6;
const TOKENS: usize = 13;

/// Writes a base into the folder, changed by `change`, and returns the model that names it.
fn base(
    folder: &std::path::Path,
    change: impl Fn(&str, &mut Vec<usize>, &mut Vec<f32>) -> bool,
) -> ModelSpec {
    let mut p = Parameters::new(Kind::Float, 4);
    let options =
        EncoderOptions { tokens: 13, positions: 7, layers: 2, width: 8, heads: 2, hidden: 12 };
    Encoder::new(&mut p, options).unwrap();
    let mut tensors = Vec::new();
    for (_, name, value) in p.all() {
        let mut shape: Vec<usize> = value.size().iter().map(|n| *n as usize).collect();
        let mut values = crate::network::to_f32(value).unwrap();
        if change(name, &mut shape, &mut values) {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            tensors.push((format!("bert.{name}"), shape, bytes));
        }
    }
    let views: HashMap<_, _> = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        })
        .collect();
    let path = folder.join("base.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    ModelSpec::Encoder {
        base: file_sha256(&path).unwrap(),
        layers: 2,
        width: 8,
        heads: 2,
        hidden: 12,
        vocabulary: 13,
        positions: 7,
        lora: LoraSpec { rank: 2, alpha: 4.0, targets: vec![LoraTarget::Query, LoraTarget::Down] },
        microbatch: 4,
    }
}

fn rows(count: usize) -> Vec<f32> {
    let token = |row: usize, i: usize| match i < CONTEXT - row % CONTEXT {
        true => ((row * 31 + i * i * 7 + i) % TOKENS) as f32,
        false => PADDING,
    };
    (0..count).flat_map(|row| (0..CONTEXT).map(move |i| token(row, i))).collect()
}

#[test]
fn adapters_learn_and_are_clipped_by_text_and_by_person() {
    let folder = tempfile::tempdir().unwrap();
    let model = base(folder.path(), |_, _, _| true);
    let assets = Assets::new(folder.path());
    let mut trainer = ClassifierTrainer::new(&model, CONTEXT, 1, &assets).unwrap();
    let layout = ParameterLayout::of(&model, CONTEXT, 1);
    assert_eq!(trainer.dimension(), layout.total());
    assert_eq!(model.parameters(CONTEXT, 1), Some(layout.total() as u64));
    // Long texts against short ones.
    let labels: Vec<f32> = (0..12).map(|row| f32::from(u8::from(row % CONTEXT < 3))).collect();
    let values = rows(12);
    let view = || Rows::new(&values, CONTEXT).unwrap();
    let batch = Batch::new(view(), &labels).unwrap();
    let mut parameters = layout.initial_parameters(2);
    let before = trainer.predict(&parameters, view()).unwrap();
    assert!(before.iter().all(|p| *p == 0.5), "the head begins at zero");
    let mut early = parameters.clone();
    for step in 0..600 {
        let gradient = trainer.gradient_sum(&parameters, &batch).unwrap();
        parameters.iter_mut().zip(&gradient).for_each(|(p, g)| *p -= 0.03 * *g as f32);
        if step == 30 {
            early.clone_from(&parameters);
        }
    }
    let after = trainer.predict(&parameters, view()).unwrap();
    let right = after.iter().zip(&labels).filter(|(p, y)| (**p > 0.5) == (**y > 0.5)).count();
    assert!(right >= 10, "{after:?}");
    // Clipped sums against single gradients, for texts and for persons, while there is much to learn.
    let learned = std::mem::replace(&mut parameters, early);
    let clip = 0.05;
    let norm = |g: &[f64]| g.iter().map(|v| v * v).sum::<f64>().sqrt();
    for units in [vec![1u32; 12], vec![3, 1, 5, 2, 1]] {
        let (mut wanted, mut start) = (vec![0.0; layout.total()], 0);
        for length in &units {
            let end = start + *length as usize;
            let part = Rows::new(&values[start * CONTEXT..end * CONTEXT], CONTEXT).unwrap();
            let part = Batch::new(part, &labels[start..end]).unwrap();
            let gradient = trainer.gradient_sum(&parameters, &part).unwrap();
            let factor = (clip / norm(&gradient)).min(1.0);
            wanted.iter_mut().zip(&gradient).for_each(|(w, g)| *w += factor * g);
            start = end;
        }
        let persons = units.iter().any(|n| *n > 1);
        let batch = match persons {
            true => Batch::with_units(view(), &labels, &units).unwrap(),
            false => batch,
        };
        let found = trainer.clipped_gradient_sum(&parameters, &batch, clip).unwrap();
        let off: Vec<f64> = found.sum.iter().zip(&wanted).map(|(a, b)| a - b).collect();
        assert!(norm(&off) < 0.02 * norm(&wanted), "{units:?}: {}", norm(&off) / norm(&wanted));
    }
    // A second trainer shares the base.
    let mut again = ClassifierTrainer::new(&model, CONTEXT, 1, &assets).unwrap();
    assert_eq!(again.predict(&learned, view()).unwrap(), after);
}

#[test]
fn what_is_no_text_contributes_zeros_and_several_classes_have_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let model = base(folder.path(), |_, _, _| true);
    let mut trainer =
        ClassifierTrainer::new(&model, CONTEXT, 3, &Assets::new(folder.path())).unwrap();
    let parameters = ParameterLayout::of(&model, CONTEXT, 3).initial_parameters(2);
    let (mut values, labels) = (rows(4), [0.0, 2.0, 1.0, 3.0]);
    values[CONTEXT] = f32::NAN;
    let view = Rows::new(&values, CONTEXT).unwrap();
    let found = trainer
        .clipped_gradient_sum(&parameters, &Batch::new(view, &labels).unwrap(), 1.0)
        .unwrap();
    assert_eq!(found.non_finite, 2, "a token that is none, a class that is none");
    let probabilities = trainer.predict(&parameters, view).unwrap();
    assert_eq!(probabilities.len(), 12);
    assert!(probabilities.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-6));
}

#[test]
fn a_base_that_does_not_fit_is_refused_and_named() {
    type Change<'a> = &'a dyn Fn(&str, &mut Vec<usize>, &mut Vec<f32>) -> bool;
    let refused = |change: Change<'_>| {
        let folder = tempfile::tempdir().unwrap();
        let model = base(folder.path(), change);
        let assets = Assets::new(folder.path());
        ClassifierTrainer::new(&model, CONTEXT, 1, &assets).unwrap_err().to_string()
    };
    let dense = "encoder.layer.1.output.dense.weight";
    let missing = refused(&|name, _, _| name != dense);
    assert!(missing.contains(&format!("has no tensor {dense}")), "{missing}");
    let shape = refused(&|name, shape, _| {
        if name == dense {
            shape.reverse();
        }
        true
    });
    assert!(shape.contains(dense) && shape.contains("the job needs F32 of [8, 12]"), "{shape}");
    let broken = refused(&|name, _, values| {
        if name == dense {
            values[3] = f32::INFINITY;
        }
        true
    });
    assert!(broken.contains("not finite"), "{broken}");
    let folder = tempfile::tempdir().unwrap();
    let model = base(folder.path(), |_, _, _| true);
    let none = ClassifierTrainer::new(&model, CONTEXT, 1, &Assets::none()).unwrap_err();
    assert!(none.to_string().contains("no folder of public files"), "{none}");
    std::fs::write(folder.path().join("base.safetensors"), b"changed").unwrap();
    let gone = ClassifierTrainer::new(&model, CONTEXT, 1, &Assets::new(folder.path()));
    assert!(gone.unwrap_err().to_string().contains("put it there"));
}
