//! The toy scenario from end to end: a lost and returned agency, determinism, results, and evidence
//! that has been tampered with.

#![allow(clippy::unwrap_used, reason = "a failing unwrap in a test is a failing test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tributary_dp::Compact;
use tributary_job::evaluation::EvaluationSpec;
use tributary_job::spec::{AdaptiveClip, LocalSpec, OptimiserKind, PrivacyMode};
use tributary_simulations::evidence::RunDir;
use tributary_simulations::federation::{self, Setup};
use tributary_simulations::finish::{Finish, finish};
use tributary_simulations::replay::replay;
use tributary_simulations::scenario::{Fault, Scenario};
use tributary_simulations::summary::Summary;
use tributary_simulations::trainers::TrainerKind;
use tributary_simulations::verify::verify;
use tributary_simulations::{SimulationError, report};

/// Results of one run, shared by the tests that only read.
static RESULTS: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), |_| ());
    dir
});

fn run(out: &Path, change: impl FnOnce(&mut Scenario)) -> Summary {
    try_run(out, change).unwrap()
}

fn try_run(out: &Path, change: impl FnOnce(&mut Scenario)) -> Result<Summary, SimulationError> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/toy.toml");
    let mut scenario = Scenario::load(&file).unwrap();
    change(&mut scenario);
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
    let outcome = federation::run(&setup, &mut |_| ())?;
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
    finish(&task, &mut |_| ())
}

fn summary() -> Summary {
    Summary::read(&RESULTS.path().join("summary.json")).unwrap()
}

/// A copy of the results that a test may damage.
fn copy() -> tempfile::TempDir {
    fn copy_tree(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => copy_tree(&entry.path(), &target),
                false => drop(std::fs::copy(entry.path(), target).unwrap()),
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    copy_tree(RESULTS.path(), dir.path());
    dir
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    let before = std::fs::read_to_string(path).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after, "the test changes nothing");
    std::fs::write(path, after).unwrap();
}

fn refusal(dir: &Path) -> String {
    let error = verify(dir, None).unwrap_err();
    assert!(error.is_refusal(), "{error}");
    error.to_string()
}

#[test]
fn a_lost_agency_is_named_and_comes_back() {
    let summary = summary();
    assert_eq!(summary.rounds, 41);
    assert_eq!(summary.dropped, BTreeMap::from([(8, vec!["west".to_owned()])]));
    for (round, survivors) in summary.survivors.iter().enumerate() {
        let expected = if (8..14).contains(&round) { 4 } else { 5 };
        assert_eq!(survivors.len(), expected, "round {round}: {survivors:?}");
    }
    assert_eq!(summary.rounds_survived("west"), 35);
    assert_eq!(summary.attempts, 41, "no attempt was lost");
}

#[test]
fn the_federation_learns_with_privacy() {
    let summary = summary();
    let best = summary.best_silo().unwrap().1;
    assert!(summary.quality() > best, "{} against {best}", summary.quality());
    assert!(summary.quality() > summary.pooled_quality() - 0.05, "{}", summary.pooled_quality());
    // The claim is for all that was reserved; the record shows less.
    let (spent, planned) = (summary.epsilon.unwrap(), summary.planned_epsilon.unwrap());
    assert!(spent == planned && planned <= 2.0, "{spent} {planned}");
    assert!(*summary.epsilon_by_round.last().unwrap() < planned);
    let against: Vec<_> = summary.epsilon_against.iter().map(|a| a.epsilon.unwrap()).collect();
    assert_eq!(against.len(), 4);
    assert_eq!(against[2], spent);
    assert!(summary.learning_curve.len() >= 20);
    assert_eq!(summary.learning_curve.last().unwrap().test_auc, summary.test_auc);
    assert!(summary.bytes_up_per_parameter > 4.0);
    assert!(summary.simulated);
}

#[test]
fn the_summary_has_every_key() {
    let text = std::fs::read_to_string(RESULTS.path().join("summary.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in [
        "agencies",
        "rounds",
        "survivors",
        "test_auc",
        "test_accuracy",
        "pooled_test_auc",
        "silo_test_auc",
        "epsilon",
        "delta",
        "mode",
        "bytes_up_per_parameter",
        "seconds",
        "dropped",
        "parameters",
        "round_millis",
        "trainer",
        "job",
        "software_version",
    ] {
        assert!(!value[key].is_null(), "{key}");
    }
    assert!(value["seconds"]["total"].as_f64().unwrap() > 0.0);
    assert!(value["silo_test_auc"]["west"].is_number());
    assert!(value["round_millis"]["p95"].is_number());
    assert_eq!(value["survivors"].as_array().unwrap().len(), 41);
}

#[test]
fn the_model_is_whole_and_everything_verifies() {
    let bytes = std::fs::read(RESULTS.path().join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("layers.0.weight").unwrap().shape(), [8, 7]);
    let verdict = verify(RESULTS.path(), None).unwrap().to_string();
    for words in ["A SIMULATION", "41 of 41 certified", "is that last state", "recomputed, epsilon"]
    {
        assert!(verdict.contains(words), "{words} in\n{verdict}");
    }
    let alone = verify(&RESULTS.path().join("run"), None).unwrap().to_string();
    assert!(alone.contains("none given"), "{alone}");
}

#[test]
fn one_seed_gives_one_model_and_another_seed_another() {
    let model = |seed: Option<u64>| {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), |scenario| {
            scenario.job.training.rounds = 12;
            scenario.seed = seed.unwrap_or(scenario.seed);
        });
        std::fs::read(dir.path().join("model.safetensors")).unwrap()
    };
    let first = model(None);
    assert_eq!(first, model(None));
    assert_ne!(first, model(Some(5)));
}

#[test]
fn without_noise_and_with_a_loss_in_the_first_round_the_run_still_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let summary = run(dir.path(), |scenario| {
        scenario.job.training.rounds = 6;
        scenario.job.privacy.mode = PrivacyMode::None;
        scenario.job.privacy.epsilon = None;
        let fault = |agency: &str, from_round, to_round| Fault {
            agency: agency.into(),
            from_round,
            to_round: Some(to_round),
        };
        scenario.faults = vec![fault("isle", 0, 1), fault("north", 5, 6)];
    });
    let lost = |name: &str| vec![name.to_owned()];
    assert_eq!(summary.dropped, BTreeMap::from([(0, lost("isle")), (5, lost("north"))]));
    assert_eq!(summary.survivors[1].len(), 5);
    assert_eq!((summary.epsilon, summary.mode.as_str()), (None, "none"));
    let verdict = verify(dir.path(), None).unwrap().to_string();
    assert!(verdict.contains("no differential privacy"), "{verdict}");
}

/// Nodes die in rounds of SCAFFOLD and come back: the run goes on, and an auditor computes the shared
/// control variate again from the published sums and who survived.
#[test]
fn scaffold_goes_on_through_losses_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let summary = run(dir.path(), |scenario| {
        let job = &mut scenario.job;
        job.training.rounds = 10;
        (job.training.learning_rate, job.training.final_learning_rate) = (1.0, None);
        job.training.momentum = 0.0;
        job.training.local = Some(LocalSpec {
            epochs: 2,
            batch_size: 64,
            learning_rate: 0.2,
            momentum: 0.0,
            proximal: 0.0,
            optimiser: OptimiserKind::Sgd,
            decay: 0.9,
            scaffold: true,
        });
        job.privacy.mode = PrivacyMode::None;
        (job.privacy.epsilon, job.privacy.clip_norm) = (None, 10.0);
        job.privacy.sampling_rate = 1.0;
        job.validate().unwrap();
        let fault = |agency: &str, from_round, to_round| Fault {
            agency: agency.into(),
            from_round,
            to_round: Some(to_round),
        };
        scenario.faults = vec![fault("isle", 3, 4), fault("north", 6, 7)];
    });
    let lost = |name: &str| vec![name.to_owned()];
    assert_eq!(summary.dropped, BTreeMap::from([(3, lost("isle")), (6, lost("north"))]));
    assert_eq!(summary.survivors.last().map(Vec::len), Some(5));
    let verdict = verify(dir.path(), None).unwrap().to_string();
    assert!(verdict.contains("11 of 11 certified"), "{verdict}");
    let state = replay(&RunDir::find(dir.path()).unwrap(), |_, _| Ok(())).unwrap().state;
    let control = state.control.unwrap();
    assert!(control.iter().any(|c| *c != 0.0) && control.iter().all(|c| c.abs() < 1.0));
    let (quality, best) = (summary.quality(), summary.best_silo().unwrap().1);
    assert!(quality > best - 0.05, "{quality} against {best}");
}

/// Every mode runs through the same rounds, states itself and verifies.
#[test]
fn every_privacy_mode_runs_and_verifies() {
    let of = |mode: PrivacyMode| {
        let dir = tempfile::tempdir().unwrap();
        let summary = run(dir.path(), |scenario| {
            let job = &mut scenario.job;
            job.training.rounds = 6;
            job.privacy.mode = mode;
            scenario.faults.clear();
            match mode {
                PrivacyMode::Person => {
                    job.data.features.pop();
                    job.data.person_column = Some("kind".into());
                }
                PrivacyMode::Silo => {
                    job.privacy.sampling_rate = 1.0;
                    job.training.momentum = 0.0;
                    job.training.local = Some(LocalSpec {
                        epochs: 2,
                        batch_size: 64,
                        learning_rate: 0.2,
                        momentum: 0.0,
                        proximal: 0.0,
                        optimiser: OptimiserKind::Sgd,
                        decay: 1.0,
                        scaffold: false,
                    });
                }
                _ => {}
            }
            job.validate().unwrap();
        });
        let verdict = verify(dir.path(), None).unwrap().to_string();
        let text = std::fs::read_to_string(dir.path().join("privacy-statement.json")).unwrap();
        let statement: tributary_dp::PrivacyStatement = serde_json::from_str(&text).unwrap();
        statement.verify().unwrap();
        assert_eq!(summary.mode, mode.name(), "{verdict}");
        assert!(summary.epsilon.unwrap() <= 2.0 + 1e-9);
        (statement, summary)
    };
    let honest = |statement: &tributary_dp::PrivacyStatement| {
        statement.claims.as_ref().unwrap().releases.last().unwrap().release.honest_survivors
    };
    let noise = |statement: &tributary_dp::PrivacyStatement| {
        let release = &statement.claims.as_ref().unwrap().releases.last().unwrap().release;
        release.sigma_local * f64::from(release.parameters.cohort).sqrt() / release.scale
    };
    let (record, _) = of(PrivacyMode::Record);
    let (local, _) = of(PrivacyMode::RecordLocal);
    let (central, _) = of(PrivacyMode::Central);
    assert_eq!([honest(&record), honest(&local), honest(&central)], [3, 1, 5]);
    // What it costs to trust nobody, and what it costs not to trust the aggregator.
    assert!(noise(&local) > 1.7 * noise(&record) && noise(&record) > 1.2 * noise(&central));
    assert_eq!(of(PrivacyMode::Person).0.about.unit, tributary_dp::Unit::Person);
    assert_eq!(of(PrivacyMode::Silo).0.about.unit, tributary_dp::Unit::Silo);
}

/// A clip norm that is far too wide is brought down by what the rounds themselves release.
#[test]
fn adaptive_clipping_finds_its_norm_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let summary = run(dir.path(), |scenario| {
        let privacy = &mut scenario.job.privacy;
        privacy.clip_norm = 100.0;
        privacy.epsilon = Some(8.0);
        privacy.adaptive_clip =
            Some(AdaptiveClip { quantile: 0.5, learning_rate: 0.8, count_noise: None });
        scenario.job.validate().unwrap();
    });
    assert!(summary.epsilon.unwrap() <= 8.0 + 1e-9);
    let verdict = verify(dir.path(), None).unwrap().to_string();
    let run = RunDir::find(dir.path()).unwrap();
    let state = replay(&run, |_, _| Ok(())).unwrap().state;
    let clip = 100.0 * state.clip_factor();
    assert!(clip < 3.0, "{clip}: {verdict}");
    // Whoever was away got the moved clip norm with the state, and takes part again.
    assert_eq!(summary.survivors.last().map(Vec::len), Some(5));
    let fixed = Summary::read(&RESULTS.path().join("summary.json")).unwrap().test_auc.unwrap();
    let found = summary.test_auc.unwrap();
    assert!(found > fixed - 0.1, "{found}, with a fixed norm {fixed}");
}

/// A last round measures on records that no round trained on, for a price that the statement names.
#[test]
fn an_evaluation_round_says_what_the_test_table_says() {
    for mode in [PrivacyMode::None, PrivacyMode::Record] {
        let dir = tempfile::tempdir().unwrap();
        let summary = run(dir.path(), |scenario| {
            let job = &mut scenario.job;
            job.evaluation = Some(EvaluationSpec {
                holdout: 0.3,
                bins: 20,
                noise_multiplier: 6.0,
                every: None,
                keep: None,
                stopping: None,
            });
            job.privacy.mode = mode;
            job.privacy.epsilon = (mode == PrivacyMode::Record).then_some(4.0);
            if mode == PrivacyMode::None {
                // Exact sums are given for the whole roster only.
                scenario.faults.clear();
            }
            job.validate().unwrap();
        });
        verify(dir.path(), None).unwrap();
        assert_eq!((summary.rounds, summary.training_rounds), (42, 40), "{mode:?}");
        let text = std::fs::read_to_string(dir.path().join("privacy-statement.json")).unwrap();
        let statement: tributary_dp::PrivacyStatement = serde_json::from_str(&text).unwrap();
        statement.verify().unwrap();
        let held_out = summary.held_out.as_ref().unwrap();
        let records: u64 = summary.declared_records.values().sum();
        let share = held_out.records / records as f64;
        assert!((share - 0.3).abs() < 0.1, "{share}");
        // The agencies' records and the test table are not alike; the model is the same.
        assert!((held_out.auc.unwrap() - summary.test_auc.unwrap()).abs() < 0.15, "{held_out:?}");
        assert!(held_out.accuracy_within > 0.0 && held_out.accuracy_within < 0.2);
        let charged = |kind| {
            let claims = statement.claims.as_ref()?;
            claims.releases.iter().find(|r| r.kind == kind).map(|r| r.count)
        };
        let evaluations = charged(tributary_dp::ReleaseKind::Evaluation);
        assert_eq!(evaluations, (mode == PrivacyMode::Record).then_some(3));
    }
}

/// Compact encoding is a matter of the wire: the same privacy, about the same model, fewer bytes; with
/// a count in the last coordinate, too.
#[test]
fn compact_encoding_trains_as_well_on_fewer_bytes() {
    let wide = Summary::read(&RESULTS.path().join("summary.json")).unwrap();
    for adaptive in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let compact = run(dir.path(), |scenario| {
            let privacy = &mut scenario.job.privacy;
            privacy.compact = Some(Compact { resolution: 4.0 });
            if adaptive {
                privacy.adaptive_clip =
                    Some(AdaptiveClip { quantile: 0.5, learning_rate: 0.1, count_noise: None });
            }
            scenario.job.validate().unwrap();
        });
        verify(dir.path(), None).unwrap();
        let text = std::fs::read_to_string(dir.path().join("privacy-statement.json")).unwrap();
        let statement: tributary_dp::PrivacyStatement = serde_json::from_str(&text).unwrap();
        statement.verify().unwrap();
        let claims = statement.claims.as_ref().unwrap();
        assert!(claims.mechanism.contains("Hadamard"), "{}", claims.mechanism);
        let claim = claims.adversaries[2].guarantee.as_ref().unwrap();
        let release = claims.releases.last().unwrap();
        assert_eq!(claim.delta_terms.rounding, f64::from(release.count) * 1e-15);
        assert!(compact.epsilon.unwrap() <= 2.0 + 1e-9);
        let (found, expected) = (compact.test_auc.unwrap(), wide.test_auc.unwrap());
        assert!(found > expected - 0.1, "{found}, in wide encoding {expected}");
        let size = |dir: &Path| std::fs::metadata(RunDir::find(dir).unwrap().sum(5)).unwrap().len();
        assert!(size(dir.path()) * 10 < size(RESULTS.path()) * 9);
    }
}

#[test]
fn too_few_agencies_stop_the_job_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let error = try_run(dir.path(), |scenario| {
        let fault = |agency: &str| Fault { agency: agency.into(), from_round: 3, to_round: None };
        scenario.faults = vec![fault("west"), fault("isle")];
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("west, isle"), "{error}");
}

#[test]
fn a_changed_record_is_refused() {
    let dir = copy();
    let record = dir.path().join("run/rounds.jsonl");
    edit(&record, |text| text.replacen("\"dropped\":[\"west\"]", "\"dropped\":[]", 1));
    let message = refusal(dir.path());
    assert!(message.contains("content does not match its hash"), "{message}");

    let dir = copy();
    let record = dir.path().join("run/rounds.jsonl");
    edit(&record, |text| {
        let lines: Vec<_> = text.lines().enumerate().filter(|(i, _)| *i != 9).collect();
        lines.into_iter().map(|(_, line)| format!("{line}\n")).collect()
    });
    let message = refusal(dir.path());
    assert!(message.contains("line 10: does not follow"), "{message}");
}

#[test]
fn a_changed_sum_is_refused_and_named() {
    let dir = copy();
    let sum = dir.path().join("run/sums/0005.bin");
    let mut bytes = std::fs::read(&sum).unwrap();
    bytes[17] ^= 1;
    std::fs::write(&sum, &bytes).unwrap();
    let message = refusal(dir.path());
    assert!(message.contains("round 5: the sum is not the one"), "{message}");
    std::fs::write(&sum, &bytes[..bytes.len() - 4]).unwrap();
    assert!(refusal(dir.path()).contains("round 5"));
    std::fs::remove_file(&sum).unwrap();
    let missing = verify(dir.path(), None).unwrap_err().to_string();
    assert!(missing.contains("0005.bin"), "{missing}");
}

#[test]
fn a_changed_manifest_statement_or_model_is_refused() {
    let dir = copy();
    let manifest = dir.path().join("run/manifest.json");
    edit(&manifest, |text| text.replacen("\"momentum\":", "\"momentum\" :", 1));
    assert!(refusal(dir.path()).contains("canonical"));
    let dir = copy();
    let manifest = dir.path().join("run/manifest.json");
    edit(&manifest, |text| text.replacen("\"epsilon\":2.0", "\"epsilon\":1.0", 1));
    assert!(refusal(dir.path()).contains("another job"));

    let statement = |change: fn(String) -> String| {
        let dir = copy();
        edit(&dir.path().join("privacy-statement.json"), change);
        refusal(dir.path())
    };
    let fewer = statement(|text| text.replacen("\"count\": 45", "\"count\": 20", 1));
    assert!(fewer.contains("privacy-statement.json"), "{fewer}");
    let unit = statement(|text| text.replacen("\"unit\": \"record\"", "\"unit\": \"person\"", 1));
    assert!(unit.contains("mode is stated as Record"), "{unit}");
    let job = statement(|text| {
        let at = text.find("\"job_hash\": \"").unwrap() + 13;
        let digit = if &text[at..=at] == "0" { "1" } else { "0" };
        format!("{}{digit}{}", &text[..at], &text[at + 1..])
    });
    assert!(job.contains("about another job"), "{job}");

    let dir = copy();
    let model = dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    assert!(refusal(dir.path()).contains("not those that the sums lead to"));
}

#[test]
fn a_statement_that_is_consistent_but_of_fewer_attempts_is_refused() {
    let run = RunDir::find(RESULTS.path()).unwrap();
    let replayed = replay(&run, |_, _| Ok(())).unwrap();
    let mut fewer = replayed.plan.clone();
    let reserved = fewer.privacy.as_ref().unwrap().training_releases;
    fewer.privacy.as_mut().unwrap().training_releases = reserved - 1;
    // What the record shows fits into the smaller reservation: only the plan gives it away.
    let build = tributary_simulations::statement::build;
    let lie = build(&fewer, &replayed.record, true).unwrap();
    lie.verify().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("statement.json");
    std::fs::write(&path, serde_json::to_string(&lie).unwrap()).unwrap();
    let error = verify(RESULTS.path(), Some(&path)).unwrap_err().to_string();
    let expected =
        format!("counts {} training releases, the plan reserves {reserved}", reserved - 1);
    assert!(error.contains(&expected), "{error}");
    // And a plan that reserves less than the record shows has no statement at all.
    fewer.privacy.as_mut().unwrap().training_releases = 1;
    let error = build(&fewer, &replayed.record, true).unwrap_err().to_string();
    assert!(error.contains("more than the plan reserves"), "{error}");
}

#[test]
fn the_report_tells_the_story_and_can_be_drawn_again() {
    let dir = copy();
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    let lost = "west was lost during round 8; the round was finished without it. It took part \
                again from round 14 on.";
    for text in [lost, "id=\"learning-curve\"", "id=\"comparison\"", "id=\"privacy-statement\""] {
        assert!(page.contains(text), "{text}");
    }
    std::fs::remove_file(dir.path().join("report.html")).unwrap();
    report::write(dir.path()).unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("report.html")).unwrap(), page);
    edit(&dir.path().join("rounds.jsonl"), |text| {
        text.lines().take(5).map(|line| format!("{line}\n")).collect()
    });
    let error = report::write(dir.path()).unwrap_err().to_string();
    assert!(error.contains("not the record that summary.json was made from"), "{error}");
}
