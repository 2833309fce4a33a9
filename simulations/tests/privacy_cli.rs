//! `simulate privacy` as its users call it: the calculator, verification with exit codes, the page.

#![allow(clippy::unwrap_used, reason = "a failing unwrap in a test is a failing test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tributary_dp::{
    Identification, JobPrivacy, PrivacyStatement, Release, ReleaseParameters, Unit,
};

/// Runs it: exit code, standard output, standard error.
fn simulate(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simulate"));
    let output = command.arg("privacy").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn words(line: &str) -> (i32, String, String) {
    simulate(&line.split_whitespace().collect::<Vec<_>>())
}

fn statement() -> PrivacyStatement {
    let training = Release::derive(&ReleaseParameters {
        clip_norm: 1.0,
        dimension: 1000,
        noise_multiplier: 2.0,
        sampling_rate: 0.04,
        cohort: 20,
        min_survivors: 17,
        colluders: 2,
        float_error: 1e-6,
        max_units_per_node: 10_000,
        noise: Default::default(),
        count_noise: None,
        compact: None,
    });
    let job = JobPrivacy {
        statistics: None,
        statistics_releases: 0,
        evaluation: None,
        evaluation_releases: 0,
        training: training.unwrap(),
        training_releases: 300,
        delta: 1e-6,
    };
    let about = Identification {
        unit: Unit::Record,
        job_hash: Some("<b>&".to_owned()),
        book_hash: None,
        audit_lower_bound: None,
    };
    PrivacyStatement::for_job(&job, about).unwrap().with_estimates().unwrap()
}

fn write(dir: &Path, statement: &PrivacyStatement) -> PathBuf {
    let path = dir.join("statement.json");
    std::fs::write(&path, serde_json::to_string(statement).unwrap()).unwrap();
    path
}

#[test]
fn the_calculator_answers_in_text_and_json() {
    let (code, text, _) = words("--epsilon 2 --sampling-rate 0.1 --rounds 200");
    assert_eq!(code, 0);
    assert!(text.contains("noise multiplier z   3.57") && text.contains("estimate"), "{text}");
    let line = "--noise-multiplier 2 --sampling-rate 0.04 --rounds 300 --nodes 20 \
                --min-survivors 17 --colluders 2 --dim 1e4 --json";
    let (code, text, _) = words(line);
    assert_eq!(code, 0);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["adversaries"].as_array().unwrap().len(), 4);
    assert!((answer["epsilon_bound"].as_f64().unwrap() - 1.88).abs() < 0.01);
    assert!(answer["epsilon_estimate"].as_f64() < answer["epsilon_bound"].as_f64());
    assert!(answer["lanes"]["bits"].as_u64().unwrap() >= 8);
    let (code, text, _) = words("--sampling-rate 0.1 --table --rounds 100");
    assert_eq!((code, text.lines().filter(|l| l.contains(" 100 ")).count()), (0, 5), "{text}");
}

#[test]
fn mistakes_are_refused_with_what_to_do() {
    for (line, code, part) in [
        ("", 1, "give exactly three of --epsilon"),
        ("--epsilon 1 --rounds 10", 1, "give exactly three of --epsilon"),
        ("--epsilon 1 --rounds 10 --sampling-rate 3", 1, "in (0, 1]"),
        ("--epsilon 1 --rounds 10 --sampling-rate 0.1 --delta 2", 1, "delta"),
        ("--table", 1, "--table needs --sampling-rate"),
        ("--epsilon one", 2, "--epsilon"),
        ("verify", 2, "STATEMENT.json"),
        ("verify nowhere.json", 1, "nowhere.json"),
    ] {
        let (found, _, error) = words(line);
        assert_eq!(found, code, "{line}: {error}");
        assert!(error.contains(part), "{line}: {error}");
    }
    let (code, help, _) = words("--help");
    assert!(code == 0 && help.contains("verify") && help.contains("--noise-multiplier"), "{help}");
}

#[test]
fn a_statement_that_holds_is_verified_and_one_that_does_not_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &statement());
    let file = path.to_str().unwrap();
    let (code, text, error) = simulate(&["verify", file]);
    assert_eq!(code, 0, "{error}");
    for part in ["every claim was recomputed", "Against whom", "Not covered", "estimate"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let lies: [fn(&mut PrivacyStatement); 4] = [
        |s| s.claims.as_mut().unwrap().epsilon *= 0.99,
        |s| s.claims.as_mut().unwrap().releases[0].count -= 1,
        |s| s.claims.as_mut().unwrap().adversaries[3].pld_estimate = Some(0.1),
        |s| s.trust[0] = "nobody".to_owned(),
    ];
    for (i, lie) in lies.into_iter().enumerate() {
        let mut stated = statement();
        lie(&mut stated);
        let path = write(dir.path(), &stated);
        let (code, _, error) = simulate(&["verify", path.to_str().unwrap()]);
        assert_eq!(code, 3, "{i}: {error}");
        assert!(error.contains("NOT VERIFIED"), "{i}: {error}");
    }
    std::fs::write(&path, "{}").unwrap();
    let (code, _, error) = simulate(&["verify", file]);
    assert!(code == 3 && error.contains("not a privacy statement"), "{error}");
}

#[test]
fn a_statement_is_shown_as_text_and_as_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &statement());
    let file = path.to_str().unwrap();
    let (code, text, _) = simulate(&["show", file]);
    assert!(code == 0 && text.contains("Privacy statement"), "{text}");
    let html = dir.path().join("page.html");
    let (code, _, error) = simulate(&["show", file, "--html", html.to_str().unwrap()]);
    assert!(code == 0 && error.is_empty(), "{error}");
    let page = std::fs::read_to_string(&html).unwrap();
    for part in ["the aggregator and every other agency", "estimate", "Trust", "holds.", "1.8"] {
        assert!(page.contains(part), "no {part}");
    }
    assert!(page.contains("&lt;b&gt;&amp;") && !page.contains("<b>&"), "text is escaped");
    assert!(!page.contains("<script") && !page.contains("http"), "self-contained");
    // One that does not hold is shown with a warning.
    let mut lie = statement();
    lie.claims.as_mut().unwrap().epsilon = 0.1;
    let path = write(dir.path(), &lie);
    let (code, _, error) = simulate(&["show", path.to_str().unwrap()]);
    assert!(code == 0 && error.contains("does NOT hold"), "{error}");
}
