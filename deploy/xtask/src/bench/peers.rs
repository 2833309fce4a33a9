//! Flower beside us: a virtual environment with the pinned version, and our scripts in it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::child;
use super::run::Program;
use crate::support::command::capture;
use crate::support::interrupt::Interrupted;
use crate::support::repo::Repo;

/// Holds the requirements that were installed, once all of them are.
const STAMP: &str = "installed-requirements.txt";
/// A slow mirror may take long for 200 MB.
const INSTALL_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The folder of the scripts and their requirements.
pub fn scripts(repo: &Repo) -> PathBuf {
    repo.root().join("deploy").join("bench")
}

/// Sets the environment up, unless it is there and complete, and returns the programs for one
/// node's computation and for whole rounds.
pub fn prepare(repo: &Repo, out: &Path) -> Result<(Program, Program)> {
    let scripts = scripts(repo);
    let venv = out.join("venv");
    let requirements = scripts.join("requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    if is_complete(&venv, &wanted) {
        println!("  {} is there and complete", venv.display());
    } else {
        println!("  installing Flower into {} (some minutes, once)", venv.display());
        install(&venv, &requirements, &wanted, &out.join("logs"))?;
    }
    let program = |script: &str| program(&venv, &scripts, script, out);
    Ok((program("flower_node.py"), program("flower_round.py")))
}

fn program(venv: &Path, scripts: &Path, script: &str, out: &Path) -> Program {
    let set = |name, value: &str| (name, OsString::from(value));
    Program {
        path: python(venv),
        before: vec![scripts.join(script).into()],
        env: vec![
            set("FLWR_TELEMETRY_ENABLED", "0"),
            set("RAY_USAGE_STATS_ENABLED", "0"),
            // One thread for each client, as for each of our nodes.
            set("OMP_NUM_THREADS", "1"),
            set("OPENBLAS_NUM_THREADS", "1"),
            // Flower's own files stay out of the person's home, Python's out of the scripts.
            ("FLWR_HOME", out.join("flower").into()),
            set("PYTHONDONTWRITEBYTECODE", "1"),
            // Ray's workers import the apps by name.
            ("PYTHONPATH", scripts.into()),
        ],
    }
}

fn python(venv: &Path) -> PathBuf {
    venv.join("bin").join("python")
}

/// Whether the requirements were installed to the end, and still work.
fn is_complete(venv: &Path, wanted: &str) -> bool {
    let installed = fs::read_to_string(venv.join(STAMP));
    installed.is_ok_and(|installed| installed == wanted)
        && capture(Command::new(python(venv)).args(["-c", "import flwr, numpy, psutil, ray"]))
            .is_ok()
}

fn install(venv: &Path, requirements: &Path, wanted: &str, logs: &Path) -> Result<()> {
    let advice = "cannot install Flower; it needs Python 3.11 or newer with `venv` (Debian: \
                  python3-venv) and a package index that pip reaches. Without --peers nothing is \
                  installed";
    let run = |name: &str, command: &mut Command| {
        child::run(command, logs, name, INSTALL_LIMIT).map(drop).map_err(|error| {
            // Ctrl-C stays what it is.
            if error.is::<Interrupted>() { error } else { error.context(advice) }
        })
    };
    run("venv", Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    let pip =
        ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--requirement"];
    run("pip", Command::new(python(venv)).args(pip).arg(requirements))?;
    let stamp = venv.join(STAMP);
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench")
    }

    #[test]
    fn every_requirement_is_pinned() {
        let text = fs::read_to_string(here().join("requirements.txt")).unwrap();
        let packages: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(packages.len(), 3, "{packages:?}");
        assert!(packages.iter().all(|line| line.contains("==")), "{packages:?}");
    }

    #[test]
    fn the_scripts_are_where_programs_look() {
        let out = Path::new("/out");
        for script in ["flower_node.py", "flower_round.py"] {
            let program = program(&out.join("venv"), &here(), script, out);
            assert!(Path::new(&program.before[0]).is_file(), "{script}");
            assert_eq!(program.path, Path::new("/out/venv/bin/python"));
            assert!(program.env.contains(&("FLWR_TELEMETRY_ENABLED", "0".into())));
        }
    }

    #[test]
    fn an_unfinished_environment_is_not_complete() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_complete(dir.path(), "flwr==1\n"));
        fs::write(dir.path().join(STAMP), "flwr==1\n").unwrap();
        // The stamp alone does not do: its Python must run.
        assert!(!is_complete(dir.path(), "flwr==1\n"));
    }
}
