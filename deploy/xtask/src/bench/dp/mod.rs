//! `cargo xtask bench dp`: differential privacy at work, in independent parts that share one file.
//!
//! A part is a function from [`Run`] to the keys that it adds to the result. It knows nothing of the
//! other parts; here their results are merged, written and printed. A part that fails is named in the
//! file and the others run all the same.

mod samplers;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::machine::{self, Machine};
use super::run::Failure;
use super::{FOLDER, report, training};
use crate::support::interrupt::Interrupted;
use crate::support::repo::Repo;
use crate::support::ui;

/// Options of `cargo xtask bench dp`.
#[derive(Debug, Args)]
#[command(
    after_help = "Takes about three minutes after the build, and five more with --peers. Leave the machine idle meanwhile.\n\n\
        Results: target/bench/dp.json. Logs of the programs: target/bench/logs.\n\n\
        Examples:\n  \
        cargo xtask bench dp --quick\n  \
        cargo xtask bench dp --peers"
)]
pub struct DpArgs {
    /// Also what peers' users call: opendp's whole measurement beside its bare sampler, and Opacus's
    /// steps beside ours. Opacus comes from PyPI with PyTorch: some gigabytes, once.
    #[arg(long)]
    peers: bool,
    /// Fewer samples and repeats.
    #[arg(long)]
    quick: bool,
}

/// What a part is given.
pub struct Run<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// Whether to measure less.
    pub quick: bool,
    /// Whether peers are measured beside us as their users call them.
    pub peers: bool,
    /// Folder for the programs' output.
    pub logs: PathBuf,
}

/// The keys that a part adds to the result file.
pub type Figures = Map<String, Value>;

/// A part's name and its measurement.
type Part = (&'static str, fn(&Run<'_>) -> Result<Figures>);

/// What is measured, in this order.
const PARTS: &[Part] = &[("samplers", samplers::measure), ("training steps", training_steps)];

fn training_steps(run: &Run<'_>) -> Result<Figures> {
    training::measure(run.repo, &run.repo.root().join(FOLDER), run.peers)
}

/// Measures everything and writes `dp.json`.
pub fn run(repo: &Repo, args: &DpArgs) -> Result<()> {
    let out = repo.root().join(FOLDER);
    let logs = out.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let path = out.join("dp.json");
    let run = Run { repo, quick: args.quick, peers: args.peers, logs };
    let machine = Machine::describe();
    println!("  {}, {} cores; leave it idle", machine.cpu_model, machine.cores);
    let (figures, failed) = measure(&run, PARTS)?;
    conclude(&path, header(&machine, machine::commit(repo), args)?, figures, &failed)
}

/// Runs the parts one after the other. Only Ctrl-C ends the whole.
fn measure(run: &Run<'_>, parts: &[Part]) -> Result<(Figures, Vec<Failure>)> {
    let (mut figures, mut failed) = (Figures::new(), Vec::new());
    for (name, part) in parts {
        ui::heading(name);
        match part(run).and_then(|more| merge(&mut figures, more)) {
            Ok(()) => {}
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                println!("  FAILED");
                failed.push(Failure { cell: (*name).into(), error: format!("{error:#}") });
            }
        }
    }
    Ok((figures, failed))
}

/// Adds a part's figures. Lists of both, as `lines`, become one; any other key has one owner.
fn merge(into: &mut Figures, more: Figures) -> Result<()> {
    let both_lists =
        |key: &str, value: &Value| value.is_array() && into.get(key).is_some_and(Value::is_array);
    if let Some((key, _)) = more.iter().find(|(k, v)| into.contains_key(*k) && !both_lists(k, v)) {
        bail!("two parts of the benchmark measure `{key}`");
    }
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(Value::Array(there)), Value::Array(new)) => there.extend(new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
    Ok(())
}

/// What the figures come from.
fn header(machine: &Machine, commit: String, args: &DpArgs) -> Result<Figures> {
    let machine = serde_json::to_value(machine).context("cannot write the results")?;
    let header = [
        ("version", json!(1)),
        ("machine", machine),
        ("commit", json!(commit)),
        ("quick", json!(args.quick)),
    ];
    Ok(header.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Writes and prints what there is; fails if a part failed.
fn conclude(path: &Path, header: Figures, figures: Figures, failed: &[Failure]) -> Result<()> {
    let mut file = header;
    merge(&mut file, figures)?;
    file.insert("failed".into(), serde_json::to_value(failed).context("cannot write the results")?);
    report::write(path, &file)?;
    ui::heading("Results");
    table::lines(&file).iter().for_each(|line| println!("  {line}"));
    println!("\n  all figures: {}", path.display());
    if failed.is_empty() {
        return Ok(());
    }
    let told: String = failed.iter().map(|f| format!("\n{}: {}", f.cell, f.error)).collect();
    bail!("{} of the parts failed\n{told}", failed.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(value: Value) -> Figures {
        value.as_object().unwrap().clone()
    }

    fn with_run<T>(dir: &Path, f: impl FnOnce(&Run<'_>) -> T) -> T {
        let repo = Repo::at(dir, dir);
        f(&Run { repo: &repo, quick: true, peers: false, logs: dir.to_owned() })
    }

    fn good(_: &Run<'_>) -> Result<Figures> {
        Ok(figures(json!({"a_ns": {"1": 2.0}, "lines": [1]})))
    }

    fn other(run: &Run<'_>) -> Result<Figures> {
        assert!(run.quick);
        Ok(figures(json!({"b_ms": {"m": 3.0}, "lines": [2]})))
    }

    fn bad(_: &Run<'_>) -> Result<Figures> {
        bail!("no compiler")
    }

    #[test]
    fn parts_share_a_file_and_one_that_fails_is_named_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let parts: &[Part] = &[("good", good), ("bad", bad), ("other", other), ("again", good)];
        let (found, failed) = with_run(dir.path(), |run| measure(run, parts)).unwrap();
        assert_eq!(
            found,
            figures(json!({"a_ns": {"1": 2.0}, "b_ms": {"m": 3.0}, "lines": [1, 2]}))
        );
        let named: Vec<_> = failed.iter().map(|f| f.cell.as_str()).collect();
        assert_eq!(named, ["bad", "again"]);
        assert!(failed[1].error.contains("two parts of the benchmark measure `a_ns`"));

        let path = dir.path().join("dp.json");
        let args = DpArgs { peers: false, quick: true };
        let header = header(&Machine::describe(), "abc".into(), &args).unwrap();
        let error = conclude(&path, header, found, &failed).unwrap_err().to_string();
        assert!(error.contains("bad: no compiler"), "{error}");
        let file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((&file["version"], &file["commit"]), (&json!(1), &json!("abc")));
        assert_eq!((&file["a_ns"]["1"], &file["b_ms"]["m"]), (&json!(2.0), &json!(3.0)));
        assert_eq!(file["failed"][0], json!({"cell": "bad", "error": "no compiler"}));
    }

    #[test]
    fn nothing_of_an_earlier_part_is_replaced() {
        let mut into = figures(json!({"lines": [1], "x": 1}));
        assert!(merge(&mut into, figures(json!({"x": [2]}))).is_err());
        assert!(merge(&mut into, figures(json!({"y": 2, "lines": "no list"}))).is_err());
        assert_eq!(into, figures(json!({"lines": [1], "x": 1})));
    }
}
