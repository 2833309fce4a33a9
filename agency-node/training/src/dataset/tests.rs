//! Inputs, statistics and persons of small tables; a wide table of pixels.

use super::*;
use proptest::prelude::*;
use tributary_job::spec::{LabelSpec, Transform};

fn spec() -> DataSpec {
    let numeric = |column: &str| FeatureSpec::numeric(column, -10.0, 10.0, Transform::Identity);
    DataSpec::new(
        LabelSpec::binary("y", "1", "0"),
        vec![
            numeric("a"),
            FeatureSpec::Category {
                column: "c".into(),
                values: vec!["r".into(), "g".into(), "b".into()],
            },
            numeric("b"),
        ],
    )
}

fn dataset(text: &str) -> Dataset {
    Dataset::read_csv(text.as_bytes(), &spec()).unwrap()
}

#[test]
fn inputs_follow_the_specification_in_order() {
    let data = dataset("a,b,c,y\n10,,g,1\n-10,5,violet,0\n0,0,,1\n");
    let norm = Normalisation { mean: vec![0.5, 0.25], inverse_sd: vec![2.0, 100.0] };
    let mut out = vec![9.0; 3];
    data.features(&[0, 1, 2], &norm, &mut out);
    assert_eq!(out[..5], [1.0, 0.0, 1.0, 0.0, 0.0], "missing is the mean");
    assert_eq!(out[5..10], [-3.0, 0.0, 0.0, 0.0, 6.0], "clamped, unlisted is zeros");
    assert_eq!(out[10..], [-1.0, 0.0, 0.0, 0.0, -6.0]);
    assert_eq!(data.labels(&[0, 1, 2, 0]), [1.0, 0.0, 1.0, 1.0]);
    assert_eq!((data.len(), data.input_width(), data.numeric_count()), (3, 5, 2));
}

#[test]
fn statistics_count_only_present_cells() {
    let data = dataset("a,b,c,y\n10,,g,1\n-5,5,b,0\n");
    assert_eq!(data.statistics_contribution(&[0, 1]), [2.0, 0.5, 1.25, 1.0, 0.5, 0.25]);
    assert_eq!(data.statistics_contribution(&[0]), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(data.statistics_contribution(&[]), [0.0; 6]);
}

#[test]
fn missing_cells_are_told_apart_over_many_records() {
    let mut text = String::from("a,b,c,y\n");
    let is_missing = |row: u32, column: u32| (row * 7 + column * 3) % 5 < 2;
    for row in 0..200 {
        let cell = |column| if is_missing(row, column) { "" } else { "4" };
        text += &format!("{},{},r,1\n", cell(0), cell(1));
    }
    let data = dataset(&text);
    let norm = Normalisation { mean: vec![0.0; 2], inverse_sd: vec![1.0; 2] };
    let mut out = Vec::new();
    for row in 0..200 {
        data.features(&[row], &norm, &mut out);
        for (column, input) in [(0, 0), (1, 4)] {
            let expected = if is_missing(row, column) { 0.0 } else { 0.4 };
            assert_eq!(out[input], expected, "record {row}, column {column}");
        }
    }
}

#[test]
fn a_file_is_read_like_any_source_and_debug_shows_no_record() {
    let text = "a,b,c,y\n1,2,r,1\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table.csv");
    std::fs::write(&path, text).unwrap();
    let (from_file, direct) = (Dataset::load_csv(&path, &spec()).unwrap(), dataset(text));
    assert_eq!(from_file.numerics, direct.numerics);
    assert_eq!(format!("{direct:?}"), "Dataset { features: 3, input_width: 5, .. }");
}

proptest! {
    #[test]
    fn one_record_stays_within_the_statistics_clip(cells in
        proptest::collection::vec((any::<Option<f64>>(), any::<Option<f64>>()), 1..20)) {
        let show = |c: &Option<f64>| match c {
            Some(v) if v.is_finite() => v.to_string(),
            _ => String::new(),
        };
        let mut text = String::from("a,b,c,y\n");
        for (a, b) in &cells {
            text += &format!("{},{},r,0\n", show(a), show(b));
        }
        let data = dataset(&text);
        let identity = Normalisation::identity(2);
        let mut inputs = Vec::new();
        for row in 0..data.len() as u32 {
            let squared: f64 =
                data.statistics_contribution(&[row]).iter().map(|v| v * v).sum();
            prop_assert!(squared.sqrt() <= 6f64.sqrt());
            data.features(&[row], &identity, &mut inputs);
            prop_assert!(inputs.iter().all(|v| v.is_finite() && v.abs() <= 1.0));
        }
    }
}

fn persons_spec(most: u32) -> DataSpec {
    let spec = spec();
    DataSpec {
        person_column: Some("who".into()),
        max_records_per_person: Some(most),
        ..DataSpec::new(spec.label, spec.features)
    }
}

#[test]
fn a_persons_rows_stay_together_and_count_as_one_in_the_statistics() {
    let text = "a,b,c,y,who\n10,,g,1,eve\n-10,5,r,0,bob\n10,,b,1,eve\n10,,r,1,eve\n5,5,r,0,zoe\n";
    let data = Dataset::read_csv(text.as_bytes(), &persons_spec(2)).unwrap();
    let persons = data.persons().unwrap();
    assert_eq!((data.len(), persons.len()), (4, 3), "eve's third row is left out");
    assert_eq!(persons.rows_of(0), [0, 2]);
    assert_eq!(data.labels(persons.rows_of(0)), [1.0, 1.0]);
    assert!(!format!("{data:?}").contains("eve"));
    // Without a bound that matters: the sums themselves.
    let all = data.statistics_contribution_of_persons(&[0, 1, 2], 1e6).unwrap();
    assert_eq!(all, data.statistics_contribution(&[0, 1, 2, 3]));
    // eve alone: twice (1, 1, 1), brought to a length of 1.
    let eve = data.statistics_contribution_of_persons(&[0], 1.0).unwrap();
    let third = 1.0 / 3f64.sqrt();
    for (found, expected) in eve.iter().zip([third, third, third, 0.0, 0.0, 0.0]) {
        assert!((found - expected).abs() < 1e-8, "{eve:?}");
    }
    assert!(eve.iter().map(|v| v * v).sum::<f64>() <= 1.0);
    assert!(data.statistics_contribution_of_persons(&[0], f64::NAN).is_err());
    let without = dataset("a,b,c,y\n10,,g,1\n");
    assert!(without.persons().is_none());
    assert_eq!(without.statistics_contribution_of_persons(&[], 1.0).unwrap(), [0.0; 6]);
}

/// Ten classes of noisy bars in 28 x 28 pixels, in columns as a table of digits has them.
fn digits(count: usize) -> (String, DataSpec) {
    let mut text: String = (0..784).map(|i| format!("p{i},")).collect();
    text.push_str("label\n");
    let mut state = 1u64;
    for row in 0..count {
        let class = row % 10;
        for pixel in 0..784 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let noise = (state >> 57) as usize;
            let bar = pixel / 28 / 3 == class || pixel % 28 / 3 == (class + 3) % 10;
            text += &format!("{},", if bar { 128 + noise } else { noise });
        }
        text += &format!("{class}\n");
    }
    let spec = DataSpec::new(
        LabelSpec::classes("label", (0..10).map(|i| i.to_string())),
        vec![FeatureSpec::Block { prefix: "p".into(), count: 784, min: 0.0, max: 255.0 }],
    );
    (text, spec)
}

#[test]
fn a_table_of_pixels_loads_and_a_logistic_model_of_ten_classes_learns_it() {
    use crate::local::{LocalTraining, Optimiser, Source, train};
    use tributary_job::ParameterLayout;
    use tributary_job::spec::ModelSpec;

    let (text, spec) = digits(1500);
    let (data, skipped) = Dataset::read_tolerant(text.as_bytes(), &spec).unwrap();
    assert!(!skipped.any());
    assert_eq!((data.len(), data.input_width(), data.numeric_count()), (1500, 784, 0));
    assert!(data.statistics_contribution(&[0, 1]).is_empty());
    let norm = Normalisation::identity(0);
    let mut inputs = Vec::new();
    data.features(&[0, 7], &norm, &mut inputs);
    assert!(inputs.len() == 2 * 784 && inputs.iter().all(|v| (0.0..=1.0).contains(v)));
    assert_eq!(data.labels(&[0, 7, 19]), [0.0, 7.0, 9.0]);
    let model = ModelSpec::Mlp { hidden: vec![] };
    let mut trainer = crate::ReferenceTrainer::new(&model, 784, 10);
    let initial = ParameterLayout::of(&model, 784, 10).initial_parameters(1);
    let rows: Vec<u32> = (0..1500).collect();
    let (fit, held_out) = rows.split_at(1000);
    let mut measure = |p: &[f32]| crate::evaluate(&mut trainer, p, &data, held_out, &norm).unwrap();
    let before = measure(&initial);
    assert!(before.accuracy.unwrap() < 0.5 && before.auc.is_none());
    let settings = LocalTraining {
        epochs: 5,
        batch_size: 256,
        optimiser: Optimiser::Sgd { learning_rate: 0.1, momentum: 0.5 },
        seed: 1,
        proximal: 0.0,
    };
    let source = [Source { dataset: &data, rows: fit }];
    let mut trainer = crate::ReferenceTrainer::new(&model, 784, 10);
    let trained = train(&mut trainer, &source, &norm, initial, &settings).unwrap();
    let after = crate::evaluate(&mut trainer, &trained, &data, held_out, &norm).unwrap();
    assert!(after.accuracy.unwrap() > 0.95, "{after:?}");
    assert!(after.log_loss.unwrap() < before.log_loss.unwrap() / 2.0);
}

#[test]
#[ignore = "prints a duration: cargo test --release -p tributary-training -- --ignored ten_thousand"]
fn ten_thousand_rows_of_pixels() {
    let (text, spec) = digits(10_000);
    let start = std::time::Instant::now();
    let (data, _) = Dataset::read_tolerant(text.as_bytes(), &spec).unwrap();
    println!("{} MB, {} rows: {:?}", text.len() >> 20, data.len(), start.elapsed());
}
