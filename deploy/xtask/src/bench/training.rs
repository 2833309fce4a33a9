//! One private training step beside Opacus: `dp_step` of the torch crate and `opacus_peer.py`.
//!
//! Starts programs and reads the JSON lines that they print. The peer gets a virtual environment of
//! its own, for PyTorch's packages are large and Flower's benchmark needs none of them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use super::build::{self, ALLOCATOR};
use super::child;
use super::lines::Line;
use super::peers;
use crate::support::command::{capture, cargo, describe};
use crate::support::interrupt::Interrupted;
use crate::support::repo::Repo;

/// The networks that both sides measure.
const MODELS: [&str; 3] = ["cnn", "mlp", "embedding"];
const PACKAGE: &str = "tributary-torch";
const PROGRAM: &str = "dp_step";
const SCRIPT: &str = "opacus_peer.py";
const REQUIREMENTS: &str = "opacus-requirements.txt";
/// Holds the requirements that were installed, once all of them are.
const STAMP: &str = "installed-requirements.txt";
/// PyTorch and its libraries are some gigabytes.
const INSTALL_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Longer than any measurement takes on a slow machine: beyond it, it hangs.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Builds and measures; `out` is the folder of results, with `logs` in it. Returns
/// `dp_step_ms`, `plain_step_ms` and, with peers, `opacus_ghost_ms`, `opacus_hooks_ms`,
/// `opacus_plain_ms` (medians in milliseconds, maps by network), and the programs' own lines below
/// `training_lines`.
pub fn measure(repo: &Repo, out: &Path, peers: bool) -> Result<Map<String, Value>> {
    let logs = out.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let program = build(repo)?;
    let python = if peers { Some(prepare(repo, out)?) } else { None };

    let mut ours = Command::new(&program);
    ours.env(ALLOCATOR.0, ALLOCATOR.1);
    let mut lines = run(&mut ours, &logs, PROGRAM)?;
    if let Some(python) = python {
        // Without our service units' allocator setting: as its users run it.
        let mut theirs = Command::new(python);
        theirs.arg(peers::scripts(repo).join(SCRIPT)).env("PYTHONDONTWRITEBYTECODE", "1");
        lines.extend(run(&mut theirs, &logs, "opacus")?);
    }
    figures(&lines, peers)
}

/// Medians by network, from the programs' lines.
fn figures(lines: &[Line], peers: bool) -> Result<Map<String, Value>> {
    let ours = [("dp_step_ms", "private_ms"), ("plain_step_ms", "plain_ms")];
    let theirs = [
        ("opacus_ghost_ms", "ghost_ms"),
        ("opacus_hooks_ms", "hooks_ms"),
        ("opacus_plain_ms", "plain_ms"),
    ];
    let mut figures = Map::new();
    let mut add = |bench: &str, names: &[(&str, &str)]| -> Result<()> {
        for &(name, field) in names {
            let mut by_model = Map::new();
            for model in MODELS {
                let line = lines.iter().find(|line| line.is(bench) && is_of(line, model));
                let time = line.and_then(|line| line.seconds(field));
                let time = time
                    .with_context(|| format!("no time {field} of {model} in lines of {bench}"))?;
                by_model.insert(model.into(), time.into());
            }
            figures.insert(name.into(), by_model.into());
        }
        Ok(())
    };
    add("dp_step", &ours)?;
    if peers {
        add("opacus_step", &theirs)?;
    }
    figures.insert("training_lines".into(), serde_json::to_value(lines)?);
    Ok(figures)
}

fn is_of(line: &Line, model: &str) -> bool {
    serde_json::to_value(line).is_ok_and(|line| line.get("model") == Some(&Value::from(model)))
}

fn run(command: &mut Command, logs: &Path, name: &str) -> Result<Vec<Line>> {
    println!("  {name}: about a minute");
    let lines = Line::parse_all(&child::run(command, logs, name, LIMIT)?)?;
    ensure!(!lines.is_empty(), "`{}` printed no result", describe(command));
    Ok(lines)
}

fn build(repo: &Repo) -> Result<PathBuf> {
    build::program(build_command(repo), PROGRAM)
}

fn build_command(repo: &Repo) -> Command {
    let message = "--message-format=json-render-diagnostics";
    cargo(repo, ["build", "--locked", "--release", "-p", PACKAGE, "--example", PROGRAM, message])
}

/// Sets the environment of Opacus up, unless it is there and complete; returns its Python.
pub(super) fn prepare(repo: &Repo, out: &Path) -> Result<PathBuf> {
    let requirements = peers::scripts(repo).join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let venv = out.join("venv-opacus");
    let python = venv.join("bin").join("python");
    if is_complete(&venv, &python, &wanted) {
        println!("  {} is there and complete", venv.display());
        return Ok(python);
    }
    println!("  installing Opacus into {} (some gigabytes, once)", venv.display());
    let logs = out.join("logs");
    let run = |name: &str, program: &Path, arguments: &[OsString]| {
        let mut command = Command::new(program);
        command.args(arguments);
        child::run(&mut command, &logs, name, INSTALL_LIMIT).map(drop).map_err(|error| {
            // Ctrl-C stays what it is.
            if error.is::<Interrupted>() {
                return error;
            }
            error.context(
                "cannot install Opacus; it needs Python 3.11 or newer with `venv` (Debian: \
                 python3-venv) and a package index that pip reaches. Without --peers nothing is \
                 installed",
            )
        })
    };
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let mut create = words(&["-m", "venv", "--clear"]);
    create.push(venv.clone().into());
    run("venv-opacus", Path::new("python3"), &create)?;
    let mut install = words(&[
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--requirement",
    ]);
    install.push(requirements.into());
    run("pip-opacus", &python, &install)?;
    let stamp = venv.join(STAMP);
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}

/// Whether the requirements were installed to the end, and still work.
fn is_complete(venv: &Path, python: &Path, wanted: &str) -> bool {
    let installed = fs::read_to_string(venv.join(STAMP));
    installed.is_ok_and(|installed| installed == wanted)
        && capture(Command::new(python).args(["-c", "import opacus, torch"])).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bench: &str, times: &str) -> String {
        let line = |model| format!("{{\"bench\":\"{bench}\",\"model\":\"{model}\",{times}}}\n");
        MODELS.map(line).concat()
    }

    #[test]
    fn medians_are_collected_by_network() {
        let ours = lines("dp_step", r#""private_ms":{"median":20.5},"plain_ms":{"median":9}"#);
        let theirs =
            lines("opacus_step", r#""ghost_ms":{"median":41},"hooks_ms":9e2,"plain_ms":8"#);
        let alone = figures(&Line::parse_all(&ours).unwrap(), false).unwrap();
        assert_eq!(alone["dp_step_ms"]["mlp"], Value::from(20.5));
        assert!(!alone.contains_key("opacus_ghost_ms"));
        assert!(figures(&Line::parse_all(&ours).unwrap(), true).is_err());
        let both = figures(&Line::parse_all(&(ours + &theirs)).unwrap(), true).unwrap();
        assert_eq!(both["opacus_ghost_ms"]["embedding"], Value::from(41.0));
        assert_eq!(both["opacus_hooks_ms"]["cnn"], Value::from(900.0));
        assert_eq!(both["training_lines"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn a_network_that_is_missing_is_an_error() {
        let text = lines("dp_step", r#""private_ms":1,"plain_ms":1"#).replace("\"mlp\"", "\"x\"");
        let error = figures(&Line::parse_all(&text).unwrap(), false).unwrap_err().to_string();
        assert!(error.contains("private_ms of mlp"), "{error}");
    }

    #[test]
    fn requirements_are_pinned_and_fit_libtorch() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench");
        assert!(folder.join(SCRIPT).is_file());
        let text = fs::read_to_string(folder.join(REQUIREMENTS)).unwrap();
        let packages: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(packages.iter().all(|line| line.contains("==")), "{packages:?}");
        // The same kernels on both sides.
        let torch = packages.iter().find_map(|line| line.strip_prefix("torch==")).unwrap();
        let pinned = include_str!("../setup/packages.rs");
        assert!(pinned.contains(&format!("/// PyTorch {torch}:")), "{torch}");
    }

    #[test]
    fn figures_come_from_the_release_profile() {
        let line = describe(&build_command(&Repo::at("/r".as_ref(), "/c".as_ref())));
        assert!(line.contains("--release -p tributary-torch --example dp_step"), "{line}");
    }

    #[test]
    fn an_unfinished_environment_is_not_complete() {
        let dir = tempfile::tempdir().unwrap();
        let python = dir.path().join("bin/python");
        assert!(!is_complete(dir.path(), &python, "opacus==1\n"));
        fs::write(dir.path().join(STAMP), "opacus==1\n").unwrap();
        assert!(!is_complete(dir.path(), &python, "opacus==1\n"));
    }
}
