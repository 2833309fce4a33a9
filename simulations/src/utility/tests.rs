//! Small raw files made here, from end to end; and the public files, where they are.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// Writes raw files in the public formats: a few patients, a few digits of 20 writers.
fn raw(dir: &Path) {
    let heart = dir.join("heart_disease");
    std::fs::create_dir_all(&heart).unwrap();
    let mut split = "center,line,set\n".to_owned();
    for (h, name) in heart::HOSPITALS.iter().enumerate() {
        let mut text = String::new();
        for i in 0..30 {
            let sick = (i + h) % 2;
            let rate = 150 - 30 * sick;
            text += &format!(
                "{},{sick},{}.0,130,220,0,1,{rate},{sick},{sick}.5,?,?,?,{sick}\n",
                40 + i,
                2 + 2 * sick
            );
            let set = if i % 3 == 2 { "test" } else { "train" };
            split += &format!("{name},{i},{set}\n");
        }
        std::fs::write(heart.join(format!("processed.{name}.data")), text).unwrap();
    }
    std::fs::write(heart.join("flamby_split.csv"), split).unwrap();
    let income = dir.join("acs_income_states");
    std::fs::create_dir_all(&income).unwrap();
    for (s, state) in income::STATES.iter().enumerate() {
        let mut text = "AGEP,COW,SCHL,MAR,OCCP,POBP,RELP,WKHP,SEX,RAC1P,PINCP\n".to_owned();
        for i in 0..60 {
            let rich = (i / 2 + s) % 2;
            let label = if rich == 1 { "True" } else { "False" };
            text += &format!(
                "{}.0,1.0,{}.0,1.0,10.0,8.0,0.0,40.0,1.0,1.0,{label}\n",
                30 + i % 9,
                16 + 6 * rich
            );
        }
        std::fs::write(income.join(format!("{}.csv", state.to_uppercase())), text).unwrap();
    }
    let digits = dir.join("mnist_by_writer");
    std::fs::create_dir_all(&digits).unwrap();
    let count = 200u32;
    let size = count.to_be_bytes();
    let (mut pictures, mut labels, mut writers) =
        (vec![0, 0, 8, 3], vec![0, 0, 8, 1], String::new());
    for part in [size, 28u32.to_be_bytes(), 28u32.to_be_bytes()] {
        pictures.extend(part);
    }
    labels.extend(size);
    for i in 0..count {
        let digit = (i % 10) as u8;
        // A bar whose height is the digit.
        pictures.extend((0..784).map(|p| if p / 78 == u32::from(digit) { 250u8 } else { 0 }));
        labels.push(digit);
        writers += &format!("{digit}\t4\t{}\t0\t0\t{i}\t0\t0\n", i / 10);
    }
    zip(&digits.join("t10k-images-idx3-ubyte.gz"), &pictures);
    zip(&digits.join("t10k-labels-idx1-ubyte.gz"), &labels);
    std::fs::write(digits.join("qmnist_labels_first10000.tsv"), writers).unwrap();
}

fn zip(path: &Path, bytes: &[u8]) {
    let mut encoder = GzEncoder::new(std::fs::File::create(path).unwrap(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap();
}

fn quick(data: &Path, out: &Path) -> Options {
    Options {
        choice: Choice::All,
        data: data.to_owned(),
        out: out.to_owned(),
        seeds: 3,
        quick: true,
        split: Split::Test,
        trainer: TrainerKind::Reference,
    }
}

/// The public files beside the repository; says so where there are none.
fn public() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let there = dir.join("heart_disease").is_dir() && dir.join("mnist_by_writer").is_dir();
    if !there {
        println!("skipped: no public files in {}", dir.display());
    }
    there.then_some(dir)
}

#[test]
fn from_raw_files_to_table_and_picture() {
    let dir = tempfile::tempdir().unwrap();
    raw(dir.path());
    let out = dir.path().join("out");
    let mut steps = Vec::new();
    let options = quick(dir.path(), &out);
    let document = run(&options, &mut |step| steps.push(step.to_owned())).unwrap();
    assert!(steps.iter().any(|step| step.contains("flights-v1 is not there")), "{steps:?}");
    let rows: Vec<_> =
        document.rows.iter().map(|row| (row.problem.as_str(), row.label(), row.target)).collect();
    let of = |problem| {
        vec![
            (problem, "pooled, no privacy", None),
            (problem, "each alone, no privacy", None),
            (problem, "none", None),
            (problem, "central", Some(1.0)),
            (problem, "record", Some(1.0)),
            (problem, "record-local", Some(1.0)),
        ]
    };
    let mut expected = of("heart");
    let algorithms = algorithms::Algorithm::LOCAL.map(|a| ("heart", a.name(), None));
    expected.splice(3..3, algorithms);
    expected.insert(2, ("heart", "cyclic, no privacy", None));
    expected.extend(of("digits"));
    expected.push(("digits", "person", Some(1.0)));
    expected.extend([
        ("income", "pooled, no privacy", None),
        ("income", "each alone, no privacy", None),
        ("income", "cyclic, no privacy", None),
        ("income", "none", None),
        ("income", "fedavg", None),
        ("income", "record", Some(1.0)),
        ("income", "record-local", Some(1.0)),
    ]);
    assert_eq!(rows, expected);
    for row in &document.rows {
        assert!((0.0..=1.0).contains(&row.accuracy.0), "{row:?}");
        assert!(row.epsilon.is_none_or(|e| e > 0.5 && e <= 1.0), "{row:?}");
        assert_eq!(row.sites.is_some(), matches!(row.problem.as_str(), "heart" | "income"));
    }
    // The made-up patients are told apart by one column.
    assert!(document.rows[3].accuracy.0 > 0.9 && document.rows[0].accuracy.0 > 0.9);
    let table = std::fs::read_to_string(out.join(TABLE)).unwrap();
    assert!(table.contains("| record-local | 1 | 1e-5 |"), "{table}");
    assert!(table.contains("| switzerland | ") && table.contains("| ut | "), "{table}");
    for problem in ["heart", "digits"] {
        let svg = std::fs::read_to_string(out.join(format!("utility-{problem}.svg"))).unwrap();
        assert!(svg.starts_with("<svg xmlns") && svg.contains("record-local"), "{svg}");
    }
    // The second time everything is found again, and is the same.
    let mut steps = 0;
    let again = run(&options, &mut |step| steps += usize::from(step.contains("record"))).unwrap();
    assert_eq!((steps, &again), (0, &document));
    let json = std::fs::read_to_string(out.join(JSON)).unwrap();
    assert_eq!(serde_json::from_str::<Document>(&json).unwrap(), document);
}

#[test]
fn validation_leaves_the_held_out_records_alone() {
    let dir = tempfile::tempdir().unwrap();
    raw(dir.path());
    let folder = dir.path().join("heart_disease");
    assert_eq!(heart::read(&folder, Split::Test).unwrap().sizes(), [(20, 10); 4]);
    assert_eq!(heart::read(&folder, Split::Validation).unwrap().sizes(), [(16, 4); 4]);
}

#[test]
fn files_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |choice| {
        let options = Options { choice, ..quick(dir.path(), &dir.path().join("out")) };
        run(&options, &mut |_| ()).unwrap_err().to_string()
    };
    assert!(refused(Choice::All).contains("utility.md"));
    assert!(refused(Choice::Heart).contains("heart_disease"));
    raw(dir.path());
    let writers = dir.path().join("mnist_by_writer/qmnist_labels_first10000.tsv");
    let text = std::fs::read_to_string(&writers).unwrap();
    std::fs::write(&writers, text.replacen("0\t4\t0", "7\t4\t0", 1)).unwrap();
    assert!(refused(Choice::Digits).contains("line 1 has another digit"));
    std::fs::write(&writers, "0\t4\t0\n").unwrap();
    assert!(refused(Choice::Digits).contains("do not fit together"));
    let split = dir.path().join("heart_disease/flamby_split.csv");
    std::fs::write(&split, "center,line,set\nva,99,train\n").unwrap();
    assert!(refused(Choice::Heart).contains("line 2"));
}

#[test]
fn the_public_files_give_the_published_numbers_of_records() {
    let Some(dir) = public() else { return };
    let hearts = heart::read(&dir.join("heart_disease"), Split::Test).unwrap().sizes();
    assert_eq!(hearts, [(199, 104), (172, 89), (30, 16), (85, 45)]);
    let digits = digits::read(&dir.join("mnist_by_writer"), Split::Test).unwrap().sizes();
    assert_eq!(digits.len(), 10);
    assert_eq!(digits.iter().map(|(train, test)| train + test).sum::<usize>(), 10_000);
    for (train, test) in digits {
        assert!((900..=1100).contains(&(train + test)), "{train} {test}");
    }
    let text = std::fs::read_to_string(dir.join("mnist_by_writer/qmnist_labels_first10000.tsv"));
    assert_eq!(digits::count_writers(&text.unwrap()), 297);
}

/// On 1600 digits of other writers than those that measure, both trained alike without privacy: fewer
/// than three quarters of the mistakes.
#[cfg(feature = "torch")]
#[test]
fn a_few_digits_are_told_apart_better_by_convolutions_than_by_softmax_regression() {
    use crate::data::all_rows;
    use tributary_job::ParameterLayout;
    use tributary_job::spec::{ImageShape, JobSpec, ModelSpec};
    use tributary_training::evaluate;
    use tributary_training::local::{LocalTraining, Optimiser, Source, train};

    let Some(dir) = public() else { return };
    let out = tempfile::tempdir().unwrap();
    let tables = digits::read(&dir.join("mnist_by_writer"), Split::Test).unwrap();
    let data = tables.write(out.path()).unwrap();
    let job = JobSpec::from_toml(include_str!("digits.toml")).unwrap();
    let tables = data.load(&job.agencies[..2], &job.data).unwrap();
    let silos: Vec<_> = tables.silos.iter().map(|(_, data)| (data, all_rows(data))).collect();
    let sources: Vec<_> = silos.iter().map(|(dataset, rows)| Source { dataset, rows }).collect();
    let norm = tributary_job::Normalisation::identity(0);
    let mistakes = |model: ModelSpec| {
        let mut trainer = TrainerKind::Torch.make(&model, digits::INPUTS, 10).unwrap();
        let initial = ParameterLayout::of(&model, digits::INPUTS, 10).initial_parameters(1);
        let optimiser = Optimiser::Adam { learning_rate: 0.005 };
        let settings =
            LocalTraining { epochs: 12, batch_size: 64, optimiser, seed: 1, proximal: 0.0 };
        let trained = train(trainer.as_mut(), &sources, &norm, initial, &settings).unwrap();
        let rows = all_rows(&tables.test);
        let measured = evaluate(trainer.as_mut(), &trained, &tables.test, &rows, &norm).unwrap();
        1.0 - measured.accuracy.unwrap()
    };
    let softmax = mistakes(ModelSpec::Mlp { hidden: vec![] });
    let image = ImageShape { height: 14, width: 14, channels: 1 };
    let channels = vec![8, 16];
    let cnn = mistakes(ModelSpec::Cnn { image, channels, kernel: 3, pool: 2, microbatch: 64 });
    println!("mistakes: softmax regression {softmax:.4}, convolutions {cnn:.4}");
    assert!(cnn < 0.75 * softmax && cnn < 0.10, "{cnn} against {softmax}");
}

/// Minutes in a release build: `cargo test --release -p simulate --lib utility -- --ignored`. The
/// command `simulate utility all --check` does the same.
#[test]
#[ignore = "minutes; see the comment"]
fn the_targets_are_met() {
    let Some(dir) = public() else { return };
    let out = tempfile::tempdir().unwrap();
    let options = Options { quick: false, ..quick(&dir, out.path()) };
    let document = run(&options, &mut |_| ()).unwrap();
    assert_eq!(document.targets.len(), 9);
    for target in &document.targets {
        assert!(target.met(), "{target:?}");
    }
}
