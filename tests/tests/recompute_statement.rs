//! Privacy statements against an accountant by other authors (dp-accounting, in Python).
//!
//! Needs `python3`, and once the network to install the library into a virtual environment that is
//! kept; without them the test says so and passes, unless `TRIBUTARY_REQUIRE_PYTHON=1` is set.

#![allow(clippy::unwrap_used, reason = "a failing unwrap in a test is a failing test")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tributary_dp::{
    Compact, Identification, JobPrivacy, PrivacyStatement, Release, ReleaseParameters, Unit,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

/// A Python that has dp-accounting; `None` if there is none and none is required.
fn python() -> Option<PathBuf> {
    match find_python() {
        Ok(path) => Some(path),
        Err(why) => {
            let required = std::env::var_os("TRIBUTARY_REQUIRE_PYTHON").is_some_and(|is| is == "1");
            assert!(!required, "TRIBUTARY_REQUIRE_PYTHON is set, but {why}");
            println!("skipped: {why}");
            None
        }
    }
}

fn find_python() -> Result<PathBuf, String> {
    let system = PathBuf::from("python3");
    if has_library(&system) {
        return Ok(system);
    }
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(temporary).map_err(|error| error.to_string())?;
    // Several test programs may come here at once.
    let lock = File::create(temporary.join("accounting-venv.lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let home = temporary.join("accounting-venv");
    let own = home.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python3" });
    if !has_library(&own) {
        let mut venv = Command::new(&system);
        succeeds(venv.args(["-m", "venv"]).arg(&home), "python3 makes no virtual environment")?;
        let mut pip = Command::new(&own);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        succeeds(pip.arg(folder().join("requirements.txt")), "pip does not install the library")?;
    }
    Ok(own)
}

fn has_library(python: &Path) -> bool {
    succeeds(Command::new(python).args(["-c", "import dp_accounting.rdp"]), "").is_ok()
}

fn succeeds(command: &mut Command, otherwise: &str) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{otherwise}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{otherwise}: {error}")),
    }
}

/// A job of 20 agencies with statistics and training, the latter perhaps in compact encoding.
fn statement(compact: Option<Compact>) -> PrivacyStatement {
    let release = |dimension, noise_multiplier, sampling_rate, compact| {
        Release::derive(&ReleaseParameters {
            clip_norm: 1.5,
            dimension,
            noise_multiplier,
            sampling_rate,
            cohort: 20,
            min_survivors: 17,
            colluders: 2,
            float_error: 1e-6,
            max_units_per_node: 10_000,
            noise: Default::default(),
            count_noise: None,
            compact,
        })
        .unwrap()
    };
    let job = JobPrivacy {
        statistics: Some(release(30, 20.0, 1.0, None)),
        statistics_releases: 3,
        evaluation: None,
        evaluation_releases: 0,
        training: release(100_000, 2.0, 0.04, compact),
        training_releases: 300,
        delta: 1e-6,
    };
    let about = Identification {
        unit: Unit::Record,
        job_hash: None,
        book_hash: None,
        audit_lower_bound: None,
    };
    PrivacyStatement::for_job(&job, about).unwrap()
}

fn recompute(python: &Path, statement: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), statement).unwrap();
    let script = folder().join("recompute_statement.py");
    Command::new(python).arg(script).arg(file.path()).output().unwrap()
}

#[test]
fn another_accountant_agrees_within_one_per_cent() {
    let Some(python) = python() else { return };
    for compact in [Some(Compact { resolution: 1.0 }), None] {
        let statement = statement(compact);
        let output = recompute(&python, &serde_json::to_string(&statement).unwrap());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}{failed}");
        assert_eq!(said.lines().filter(|line| line.ends_with(", agrees")).count(), 4, "{said}");
    }
    let statement = statement(None);

    // A number that is 2 % too good is seen, for each adversary.
    for i in 0..4 {
        let mut lie = statement.clone();
        let claim = &mut lie.claims.as_mut().unwrap().adversaries[i];
        claim.guarantee.as_mut().unwrap().epsilon.epsilon *= 0.98;
        let output = recompute(&python, &serde_json::to_string(&lie).unwrap());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{i}: {said}");
        assert!(said.contains("DISAGREES"), "{i}: {said}");
    }
}
