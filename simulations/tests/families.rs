//! Jobs of the families `cox` and `cnn` from tables to released models, in every mode that they have.
//!
//! The example jobs under `deploy/demo` are the jobs; the tables are made up here.

#![allow(clippy::unwrap_used, reason = "a failing unwrap in a test is a failing test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use tributary_job::JobSpec;
use tributary_job::spec::{LocalSpec, OptimiserKind, PrivacyMode};
use tributary_simulations::SimulationError;
use tributary_simulations::data::DataDir;
use tributary_simulations::federation::{self, Setup};
use tributary_simulations::finish::{Finish, finish};
use tributary_simulations::summary::Summary;
use tributary_simulations::trainers::TrainerKind;
use tributary_training::export::read_described;

const SURVIVAL: &str = include_str!("../../deploy/demo/survival.toml");
const DIGITS: &str = include_str!("../../deploy/demo/digits-cnn.toml");

/// Numbers in [0, 1) without any order (Weyl's sequence, mixed).
fn unit(i: usize) -> f64 {
    let mut z = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// People whose rate falls with age and rises with years in the job; care finds work fastest.
fn claims(first: usize, count: usize) -> String {
    let mut text = "person,age,weekly_pay,tenure,branch,weeks,found_work\n".to_owned();
    for i in first..first + count {
        let draw = |k: usize| unit(i * 8 + k);
        let (age, pay, tenure) = (16.0 + 59.0 * draw(0), 5000.0 * draw(1), 40.0 * draw(2));
        let branch = ["trade", "care", "building", "other"][(draw(3) * 4.0) as usize];
        let score = -0.04 * (age - 45.0)
            + 0.03 * (tenure - 20.0)
            + if branch == "care" { 0.6 } else { 0.0 };
        let weeks = -(1.0 - draw(4)).ln() / (0.05 * score.exp());
        let until = 10.0 + 60.0 * draw(5);
        let found = u8::from(weeks <= until);
        let (person, weeks) = (i / 2, weeks.min(until));
        let _ = writeln!(text, "{person},{age},{pay},{tenure},{branch},{weeks},{found}");
    }
    text
}

/// Pictures of 6 x 6 points: digit 0 is an upright bar, digit 1 a level one, digit 2 a corner.
fn pictures(first: usize, count: usize) -> String {
    let mut text = "writer,digit".to_owned();
    for p in 0..36 {
        let _ = write!(text, ",p{p}");
    }
    text.push('\n');
    for i in first..first + count {
        let (digit, at) = (i % 3, 1 + (unit(i) * 4.0) as usize);
        let _ = write!(text, "{},{digit}", i / 2);
        for p in 0..36 {
            let (y, x) = (p / 6, p % 6);
            let on = match digit {
                0 => x == at,
                1 => y == at,
                _ => x == at && y >= 2 || y == 2 && x >= at,
            };
            let grey = 40.0 * unit(i * 36 + p) + if on { 200.0 } else { 0.0 };
            let _ = write!(text, ",{grey:.0}");
        }
        text.push('\n');
    }
    text
}

fn run(
    out: &Path,
    job: &JobSpec,
    trainer: TrainerKind,
    table: impl Fn(usize, usize) -> String,
) -> Result<Summary, SimulationError> {
    job.validate().unwrap();
    let data = DataDir::new(out.join("data"));
    for (i, agency) in job.agencies.iter().enumerate() {
        std::fs::create_dir_all(data.root().join(agency)).unwrap();
        std::fs::write(data.train(agency), table(i * 1000, 600)).unwrap();
    }
    std::fs::write(data.test(), table(1_000_000, 600)).unwrap();
    let declared = data.load(&job.agencies, &job.data)?.sizes();
    let setup = Setup { job, data: &data, declared: &declared, trainer, seed: 5, faults: &[] };
    let outcome = federation::run(&setup, &mut |_| ())?;
    let task = Finish {
        run: &outcome.evidence.write(&out.join("run")).unwrap(),
        job,
        job_path: Path::new("job.toml"),
        data: &data,
        out,
        trainer,
        timings: BTreeMap::new(),
        round_millis: Some(outcome.round_millis),
    };
    finish(&task, &mut |_| ())
}

/// The job in a mode, with so many rounds.
fn in_mode(text: &str, mode: PrivacyMode, persons: Option<&str>, rounds: u32) -> JobSpec {
    let mut job = JobSpec::from_toml(text).unwrap();
    job.training.rounds = rounds;
    job.privacy.mode = mode;
    job.data.person_column = persons.map(str::to_owned);
    job.privacy.epsilon = mode.is_private().then_some(8.0);
    job.privacy.sampling_rate = 0.3;
    job
}

fn by_local_steps(mut job: JobSpec, learning_rate: f32) -> JobSpec {
    job.privacy.sampling_rate = 1.0;
    job.training.learning_rate = 1.0;
    job.training.final_learning_rate = None;
    job.training.momentum = 0.0;
    job.privacy.clip_norm = 50.0;
    job.training.local = Some(LocalSpec {
        epochs: 2,
        batch_size: 64,
        learning_rate,
        momentum: 0.0,
        optimiser: OptimiserKind::Sgd,
        decay: 1.0,
        proximal: 0.0,
        scaffold: false,
    });
    job
}

/// Every mode, and local steps, beat a coin and say what they cost; the released file holds log hazard
/// ratios of the right sign under the names of the layout.
#[test]
fn times_to_an_event_are_learned_in_every_mode() {
    let jobs = [
        (in_mode(SURVIVAL, PrivacyMode::Record, None, 25), 0.60),
        (in_mode(SURVIVAL, PrivacyMode::Person, Some("person"), 25), 0.60),
        (in_mode(SURVIVAL, PrivacyMode::RecordLocal, None, 25), 0.55),
        (in_mode(SURVIVAL, PrivacyMode::None, None, 25), 0.65),
        (by_local_steps(in_mode(SURVIVAL, PrivacyMode::None, None, 4), 0.05), 0.65),
    ];
    for (job, least) in jobs {
        let dir = tempfile::tempdir().unwrap();
        let summary = run(dir.path(), &job, TrainerKind::Reference, claims).unwrap();
        let what = format!("{:?} {:?}", job.privacy.mode, job.training.local.is_some());
        let concordance = summary.test_auc.unwrap();
        assert!(concordance > least, "{what}: {concordance}");
        assert!(summary.pooled_test_auc.unwrap() > 0.65, "{what}: {:?}", summary.pooled_test_auc);
        assert_eq!(summary.epsilon.is_some(), job.privacy.mode.is_private(), "{what}");
        assert_eq!((summary.measure(), summary.parameters), ("concordance", 6 + 9));
        let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
        assert!(page.contains("Harrell"), "{what}");
        let (description, parameters) =
            read_described(&dir.path().join("model.safetensors")).unwrap();
        assert_eq!(description.model, job.model);
        if job.privacy.mode == PrivacyMode::None {
            // Age, pay, years, and the branches trade, care, building.
            assert!(parameters[0] < -0.3 && parameters[1].abs() < 0.2, "{what}: {parameters:?}");
            assert!(parameters[2] > 0.15 && parameters[4] > 0.2, "{what}: {parameters:?}");
        }
    }
}

/// As above with pictures, from libtorch. Chance is a third; so few rounds learn a part of it.
#[cfg(feature = "torch")]
#[test]
fn pictures_are_learned_in_every_mode() {
    use tributary_job::spec::{FeatureSpec, ImageShape, LabelSpec, ModelSpec};
    let small = |mut job: JobSpec| {
        job.agencies.truncate(5);
        job.secure_aggregation.min_survivors = 4;
        job.data.label = LabelSpec::classes("digit", ["0", "1", "2"]);
        job.data.features =
            vec![FeatureSpec::Block { prefix: "p".into(), count: 36, min: 0.0, max: 255.0 }];
        let image = ImageShape { height: 6, width: 6, channels: 1 };
        job.model = ModelSpec::Cnn { image, channels: vec![6], kernel: 3, pool: 2, microbatch: 32 };
        job
    };
    let jobs = [
        (small(in_mode(DIGITS, PrivacyMode::Record, None, 25)), 0.5),
        (small(in_mode(DIGITS, PrivacyMode::Person, Some("writer"), 25)), 0.5),
        (small(in_mode(DIGITS, PrivacyMode::RecordLocal, None, 25)), 0.5),
        (small(in_mode(DIGITS, PrivacyMode::None, None, 25)), 0.5),
        (by_local_steps(small(in_mode(DIGITS, PrivacyMode::None, None, 4)), 0.1), 0.45),
    ];
    for (job, least) in jobs {
        let dir = tempfile::tempdir().unwrap();
        let summary = run(dir.path(), &job, TrainerKind::Torch, pictures).unwrap();
        let what = format!("{:?} {:?}", job.privacy.mode, job.training.local.is_some());
        println!("{what}: {:.3}", summary.test_accuracy);
        assert!(summary.test_accuracy > least, "{what}: {}", summary.test_accuracy);
        assert_eq!(summary.epsilon.is_some(), job.privacy.mode.is_private(), "{what}");
        let (description, parameters) =
            read_described(&dir.path().join("model.safetensors")).unwrap();
        assert_eq!((description.model, parameters.len()), (job.model, 6 * 10 + 3 * (24 + 1)));
    }
}

/// What a run says where this build or this choice has no libtorch.
#[test]
fn pictures_need_libtorch_and_say_so() {
    let job = in_mode(DIGITS, PrivacyMode::None, None, 2);
    let problem = TrainerKind::Reference.make(&job.model, 784, 10).map(drop).unwrap_err();
    assert!(problem.contains("no model of the family \"cnn\""), "{problem}");
}
