//! Evaluations on the way, from job to release: an early end, the best model, the card, the statement, and
//! what of it cannot be forged.

#![allow(clippy::unwrap_used, reason = "a failing unwrap in a test is a failing test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use tributary_dp::{Identification, PrivacyStatement, ReleaseKind};
use tributary_job::evaluation::{Keep, Metric, StoppingSpec};
use tributary_simulations::evidence::RunDir;
use tributary_simulations::federation::{self, Setup};
use tributary_simulations::finish::{Finish, finish};
use tributary_simulations::replay::replay;
use tributary_simulations::scenario::Scenario;
use tributary_simulations::summary::Summary;
use tributary_simulations::trainers::TrainerKind;
use tributary_simulations::verify::verify;
use tributary_training::export::read_described;

const NEVER: StoppingSpec =
    StoppingSpec { metric: Metric::LogLoss, patience: 1, min_improvement: Some(8.0) };

/// Nothing gains 8 nats, so the second evaluation ends the job; shared by the tests that only read.
static STOPPED: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), Some(NEVER), Keep::Best);
    dir
});

fn run(out: &Path, stopping: Option<StoppingSpec>, keep: Keep) -> Summary {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/stopping.toml");
    let mut scenario = Scenario::load(&file).unwrap();
    let evaluation = scenario.job.evaluation.as_mut().unwrap();
    assert_eq!((evaluation.every, evaluation.keep), (Some(5), Some(Keep::Best)));
    (evaluation.stopping, evaluation.keep) = (stopping, Some(keep));
    let data = scenario.data(out).unwrap();
    let declared = data.load(&scenario.job.agencies, &scenario.job.data).unwrap().sizes();
    let setup = Setup {
        job: &scenario.job,
        data: &data,
        declared: &declared,
        trainer: TrainerKind::Reference,
        seed: scenario.seed,
        faults: &scenario.faults,
    };
    let outcome = federation::run(&setup, &mut |_| ()).unwrap();
    let task = Finish {
        run: &outcome.evidence.write(&out.join("run")).unwrap(),
        job: &scenario.job,
        job_path: &scenario.job_path,
        data: &data,
        out,
        trainer: TrainerKind::Reference,
        timings: BTreeMap::new(),
        round_millis: Some(outcome.round_millis),
    };
    finish(&task, &mut |_| ()).unwrap()
}

fn summary(dir: &Path) -> Summary {
    Summary::read(&dir.join("summary.json")).unwrap()
}

/// The results with one file changed, verified anew.
fn verified_with(name: &str, change: impl Fn(String) -> String) -> Result<(), String> {
    let from = STOPPED.path();
    let path = from.join(name);
    let dir = tempfile::tempdir().unwrap();
    let copy = |file: &str| {
        let to = dir.path().join(file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from.join(file), to).unwrap();
    };
    for file in ["model.safetensors", "model-card.json", "privacy-statement.json"] {
        copy(file);
    }
    for file in ["run/manifest.json", "run/rounds.jsonl"] {
        copy(file);
    }
    for round in 0..13 {
        copy(&format!("run/sums/{round:04}.bin"));
    }
    let changed = change(std::fs::read_to_string(&path).unwrap());
    std::fs::write(dir.path().join(name), changed).unwrap();
    verify(dir.path(), None).map(drop).map_err(|e| e.to_string())
}

#[test]
fn a_job_that_no_longer_improves_ends_early_and_anybody_can_check_it() {
    let dir = STOPPED.path();
    let s = summary(dir);
    // Statistics, and twice five rounds of training with an evaluation; the plan has 49 rounds.
    assert_eq!((s.rounds, s.training_rounds, s.evaluations.len()), (13, 10, 2));
    let released = s.released.as_ref().unwrap();
    assert!(released.stopped_early && released.best);
    let verdict = verify(dir, None).unwrap().to_string();
    for part in ["13 of 49 certified", "ended the job early", "best evaluation", "card"] {
        assert!(verdict.contains(part), "{part}: {verdict}");
    }
    let replayed = replay(&RunDir::find(dir).unwrap(), |_, _| Ok(())).unwrap();
    assert!(replayed.plan.stops(&replayed.state));
    let (_, parameters) = read_described(&dir.join("model.safetensors")).unwrap();
    assert_eq!(parameters, replayed.state.released());
    let best = replayed.state.evaluations.as_ref().unwrap().best.as_ref().unwrap();
    assert_eq!(Some(best.evaluation), released.evaluation);
    // The released model is what was measured, in the summary too.
    let point = &s.evaluations[best.evaluation as usize];
    let measured = point.measured.unwrap();
    assert!((measured.auc.unwrap().value - s.held_out.as_ref().unwrap().auc.unwrap()).abs() < 1e-9);
    let report = std::fs::read_to_string(dir.join("report.html")).unwrap();
    assert!(report.contains("id=\"evaluations\"") && report.contains("The job ended early"));
    let card = std::fs::read_to_string(dir.join("model-card.md")).unwrap();
    for part in ["A simulation", "Not for any decision", "| north | 6000 |", "Dunn 1961"] {
        assert!(card.contains(part), "{part}: {card}");
    }
}

#[test]
fn a_card_that_says_otherwise_than_the_evidence_is_refused() {
    verified_with("model-card.json", |text| text).unwrap();
    let better = verified_with("model-card.json", |text| {
        let mut card: serde_json::Value = serde_json::from_str(&text).unwrap();
        card["quality"]["figures"][0]["interval"]["low"] = 0.99.into();
        card.to_string()
    });
    let error = better.unwrap_err();
    assert!(error.contains(".quality.figures[0].interval.low"), "{error}");
}

/// A statement that counts the evaluations that were run, and not all that were reserved, is a true
/// statement about another job.
#[test]
fn a_statement_that_leaves_evaluations_out_is_refused() {
    let replayed = replay(&RunDir::find(STOPPED.path()).unwrap(), |_, _| Ok(())).unwrap();
    let privacy = replayed.plan.privacy.clone().unwrap();
    // Eight evaluations and five spare attempts.
    assert_eq!(privacy.evaluation_releases, 13);
    let name = "privacy-statement.json";
    let text = std::fs::read_to_string(STOPPED.path().join(name)).unwrap();
    let statement: PrivacyStatement = serde_json::from_str(&text).unwrap();
    let claims = statement.claims.as_ref().unwrap();
    let counted = claims.releases.iter().find(|r| r.kind == ReleaseKind::Evaluation);
    assert_eq!(counted.map(|r| r.count), Some(13));
    assert!(claims.epsilon <= 4.0 && claims.epsilon > 3.5);
    let fewer = tributary_dp::JobPrivacy { evaluation_releases: 2, ..privacy };
    let about = Identification {
        unit: replayed.plan.training.unit,
        job_hash: Some(replayed.plan.job.to_string()),
        book_hash: None,
        audit_lower_bound: None,
    };
    let forged = PrivacyStatement::for_job(&fewer, about).unwrap();
    forged.verify().unwrap();
    let less = forged.claims.as_ref().unwrap().epsilon;
    assert!(less < claims.epsilon, "{less}");
    let forged = serde_json::to_string(&forged).unwrap();
    let error = verified_with(name, |_| forged.clone()).unwrap_err();
    assert!(error.contains("parameters are not those of the job"), "{error}");
}

/// A model of another round, such as the last one of a job that keeps the best, is not the released one.
#[test]
fn without_stopping_every_evaluation_is_made_and_best_and_last_are_told_apart() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let best = run(first.path(), None, Keep::Best);
    let last = run(second.path(), None, Keep::Last);
    for s in [&best, &last] {
        assert_eq!((s.rounds, s.training_rounds, s.evaluations.len()), (49, 40, 8));
        // `west` missed an evaluation, got it with the state, and is in every later sum.
        assert!(s.survivors.last().unwrap().contains(&"west".to_owned()));
        let auc = s.evaluations[7].measured.unwrap().auc.unwrap();
        assert!(auc.low > 0.6, "it learns: {auc:?}");
        assert!(s.evaluations.iter().map(|p| p.trained).eq((1..=8).map(|i| i * 5)));
    }
    let released = best.released.as_ref().unwrap();
    let losses = best.evaluations.iter().map(|p| p.measured.unwrap().log_loss.value);
    let lowest = losses.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
    assert_eq!(released.evaluation, Some(lowest as u32));
    assert_eq!(released.trained, (lowest as u32 + 1) * 5);
    let of = last.released.as_ref().unwrap();
    assert_eq!((of.trained, of.evaluation, of.best), (40, Some(7), false));
    verify(first.path(), None).unwrap();
    verify(second.path(), None).unwrap();
}

#[test]
fn the_example_is_a_valid_job_and_says_what_it_costs() {
    let text = include_str!("../scenarios/stopping-job.toml");
    let job = tributary_job::JobSpec::from_toml(text).unwrap();
    let declared = [6000, 4500, 3000, 1500, 600];
    let report = tributary_simulations::plan_report::PlanReport::of(&job, &declared).unwrap();
    assert_eq!((report.rounds, report.evaluations), (49, Some([8, 13])));
    assert!(report.to_string().contains("8, up to 13 attempts"), "{report}");
    // The author's file goes through the form in which jobs are submitted.
    let again = tributary_job::JobSpec::from_toml(&toml::to_string(&job).unwrap()).unwrap();
    assert_eq!(again, job);
}
