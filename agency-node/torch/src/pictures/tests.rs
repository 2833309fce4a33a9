//! The suite, learning, and what the bound on rounding counts on.

use tributary_job::spec::ImageShape;
use tributary_training::conformance;

use super::*;

fn model(height: u32, width: u32, depth: u32, channels: &[u32], kernel: u32) -> ModelSpec {
    let image = ImageShape { height, width, channels: depth };
    ModelSpec::Cnn { image, channels: channels.to_vec(), kernel, pool: 2, microbatch: 32 }
}

#[test]
fn conforms() {
    conformance::suite_of_two_ways(
        &|model, inputs, outputs| Box::new(PictureTrainer::new(model, inputs, outputs).unwrap()),
        &[
            (model(8, 7, 1, &[3], 3), 56, 1),
            (model(6, 6, 2, &[4], 3), 72, 3),
            (model(10, 9, 1, &[3, 2], 2), 90, 2),
        ],
    );
}

#[test]
fn gradients_that_are_made_by_themselves_are_one_term() {
    let terms_of = |image, channels: &[u32], kernel| {
        terms(&CnnShape::of(image, channels, kernel, 2).unwrap(), kernel)
    };
    let digit = ImageShape { height: 28, width: 28, channels: 1 };
    assert_eq!(terms_of(digit, &[8], 5), 1);
    // The second convolution: 64 positions, 2 * 64^2 = 8192 against 16 * 200 and against 64 * 1600.
    assert_eq!(terms_of(digit, &[8, 16], 5), 1);
    assert_eq!(terms_of(digit, &[64, 64], 5), 64);
}

#[test]
fn another_family_and_other_pictures_are_refused() {
    let mlp = ModelSpec::Mlp { hidden: vec![] };
    assert!(matches!(PictureTrainer::new(&mlp, 4, 1), Err(TrainerError::Unsupported { .. })));
    let error = PictureTrainer::new(&model(8, 8, 1, &[3], 3), 63, 1).unwrap_err();
    assert_eq!(error, TrainerError::FeatureWidth { expected: 64, found: 63 });
    let error = PictureTrainer::new(&model(4, 4, 1, &[3], 5), 16, 1).unwrap_err().to_string();
    assert!(error.contains("does not fit into the 4 x 4 points"), "{error}");
}

/// Points in the order in which a folder of pictures gives them, row by row and the channels of a point
/// together: a red square on the left or on the right is told apart by clipped gradients alone.
#[test]
fn a_square_on_the_left_or_on_the_right_is_learned() {
    let picture = |i: usize| {
        let (top, side) =
            (i / 2 % 5, if i.is_multiple_of(2) { i / 10 % 2 } else { 4 + i / 10 % 2 });
        (0..64).flat_map(move |point| {
            let (y, x) = (point / 8, point % 8);
            let inside = (side..side + 3).contains(&x) && (top..top + 3).contains(&y);
            let colour = if inside { [220, 30, 20] } else { [20, 30 + 5 * (x + y), 90] };
            colour.map(|v| v as f32 / 255.0)
        })
    };
    let values: Vec<f32> = (0..48).flat_map(picture).collect();
    let labels: Vec<f32> = (0..48).map(|i| (i % 2) as f32).collect();
    let model = model(8, 8, 3, &[4], 3);
    let mut trainer = PictureTrainer::new(&model, 192, 1).unwrap();
    let mut parameters = ParameterLayout::of(&model, 192, 1).initial_parameters(3);
    let rows = Rows::new(&values, 192).unwrap();
    for units in [None, Some(vec![4u32; 12])] {
        let batch = match &units {
            None => Batch::new(rows, &labels).unwrap(),
            Some(units) => Batch::with_units(rows, &labels, units).unwrap(),
        };
        for _ in 0..150 {
            let sum = trainer.clipped_gradient_sum(&parameters, &batch, 0.5).unwrap().sum;
            parameters.iter_mut().zip(&sum).for_each(|(p, g)| *p -= 0.02 * *g as f32);
        }
        let found = trainer.predict(&parameters, rows).unwrap();
        let right = found.iter().zip(&labels).filter(|(p, y)| (**p > 0.5) == (**y > 0.5));
        assert_eq!(right.count(), 48);
    }
}
