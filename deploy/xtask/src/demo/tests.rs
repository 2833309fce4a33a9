//! The orchestration against stand-ins for the three programs: scripts that keep their command
//! lines and files. Everything here is real but the programs: processes, signals, ports, logs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

use super::*;

/// Python's own path: a launcher in front of it would cost more time than the tests.
static PYTHON: LazyLock<String> = LazyLock::new(|| {
    let script = "import sys; print(sys.executable)";
    let output = Command::new("python3").args(["-c", script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
});

const STAND_IN: &str = include_str!("stand_in.py");

const JOB: &str = r#"
name = "flights"
agencies = ["ua", "b6", "ev", "dl", "aa"]
dataset = "flights"
[training]
rounds = 20
"#;

/// A federation's surroundings in a temporary folder.
struct Stage {
    dir: TempDir,
    out: Output,
    binaries: Binaries,
    job: DemoJob,
    args: DemoArgs,
}

impl Stage {
    /// `fault` is a word that makes a stand-in misbehave; empty for none.
    fn new(fault: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = STAND_IN.replace("FAULT = \"\"", &format!("FAULT = {fault:?}"));
        let source = dir.path().join("stand_in.py");
        fs::write(&source, format!("#!{} -IS\n{script}", *PYTHON)).unwrap();
        let program = |name: &str| -> PathBuf {
            // Copied by another process: a child of a parallel test that inherits the open file
            // for a moment would make it "busy", and it could not be started.
            let path = dir.path().join(name);
            let mut install = Command::new("install");
            assert!(
                install.args(["-m", "755"]).arg(&source).arg(&path).status().unwrap().success()
            );
            path
        };
        let binaries = Binaries {
            aggregator: program("aggregator"),
            agency_node: program("agency-node"),
            simulate: program("simulate"),
        };
        let job = DemoJob::new(JOB, None, None).unwrap();
        for agency in job.agencies() {
            let silo = dir.path().join("data").join(agency);
            fs::create_dir_all(&silo).unwrap();
            fs::write(silo.join("train.csv"), "late\n1\n").unwrap();
        }
        let out = Output::prepare(&dir.path().join("out")).unwrap();
        let args = DemoArgs {
            trainer: Trainer::Reference,
            out: dir.path().join("out"),
            rounds: None,
            agencies: None,
            profile: Profile::Dev,
            binaries: None,
            no_kill: false,
            keep: false,
        };
        Self { dir, out, binaries, job, args }
    }

    fn play(&self) -> Result<()> {
        let data = self.dir.path().join("data");
        let scene = Scene {
            out: &self.out,
            data: &data,
            binaries: &self.binaries,
            job: &self.job,
            args: &self.args,
        };
        scene.play(&mut Phases::start())
    }

    fn failure(&self) -> String {
        format!("{:#}", self.play().unwrap_err())
    }

    /// What the stand-ins noted, in order.
    fn notes(&self) -> String {
        fs::read_to_string(self.dir.path().join("notes")).unwrap_or_default()
    }
}

fn is_node(line: &str, what: &str) -> bool {
    line.starts_with("node ") && line.ends_with(what)
}

/// No process may be left whose command line names the stage's folder.
fn nothing_runs_below(dir: &Path) -> bool {
    let needle = dir.to_string_lossy().into_owned();
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    !processes.flatten().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&needle)
    })
}

#[test]
fn a_whole_run_enrols_trains_kills_restarts_and_reports() {
    let stage = Stage::new("");
    stage.play().unwrap();
    let notes = stage.notes();
    let count = |what: &str| notes.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!(count("token"), 5, "{notes}");
    assert_eq!(count("enrolled"), 5, "{notes}");
    assert_eq!(count("dataset flights"), 5, "{notes}");
    assert_eq!(count("pinned"), 5, "{notes}");
    // Five nodes, one of which was started twice and ended once only by SIGTERM.
    assert_eq!(notes.lines().filter(|line| is_node(line, "up")).count(), 6, "{notes}");
    assert_eq!(count("node dl up"), 2, "{notes}");
    assert_eq!(notes.lines().filter(|line| is_node(line, "down")).count(), 5, "{notes}");
    assert_eq!(count("aggregator down"), 1, "{notes}");
    let timings = fs::read_to_string(stage.out.path("timings.json")).unwrap();
    let timings: BTreeMap<String, f64> = serde_json::from_str(&timings).unwrap();
    assert!(timings.contains_key("enrol") && timings.contains_key("train"));
    for secret in ["aggregator", "nodes"] {
        assert!(!stage.out.path(secret).exists(), "{secret} is left behind");
    }
    assert!(stage.out.path("run/record").is_file());
    assert!(nothing_runs_below(stage.dir.path()));
}

#[test]
fn data_directories_are_kept_on_request_but_no_token() {
    let mut stage = Stage::new("");
    stage.args.keep = true;
    stage.args.no_kill = true;
    stage.play().unwrap();
    assert!(stage.out.path("nodes/ua/key").is_file());
    assert!(!stage.out.path("nodes/ua.token").exists());
    assert_eq!(stage.notes().lines().filter(|line| is_node(line, "up")).count(), 5);
}

#[test]
fn a_node_that_dies_is_named_with_its_log() {
    let stage = Stage::new("node dies");
    let error = stage.failure();
    assert!(error.contains("the node of ev") && error.contains("budget exhausted"), "{error}");
    assert!(nothing_runs_below(stage.dir.path()));
}

#[test]
fn a_failed_job_gives_its_reason() {
    let error = Stage::new("job fails").failure();
    assert!(error.contains("quorum lost"), "{error}");
}

#[test]
fn a_refused_token_is_reported() {
    let error = Stage::new("token refused").failure();
    assert!(error.contains("could not be set up") && error.contains("token expired"), "{error}");
}

#[test]
fn an_unclean_end_is_a_failure() {
    let error = Stage::new("unclean end").failure();
    assert!(error.contains("did not do so cleanly"), "{error}");
}

#[test]
fn missing_results_are_a_failure() {
    let error = Stage::new("no report").failure();
    assert!(error.contains("report.html"), "{error}");
}
