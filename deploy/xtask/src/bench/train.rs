//! `cargo xtask bench train`: tokens a second of decoders, private and not, beside PyTorch and Opacus.
//!
//! Starts `lm_step` of the torch crate and `lm_peer.py` and reads the JSON lines that they print.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use super::build::{self, ALLOCATOR};
use super::machine::{self, Machine};
use super::{FOLDER, child, peers, report, training};
use crate::support::command::cargo;
use crate::support::repo::Repo;
use crate::support::ui;

const PROGRAM: &str = "lm_step";
const SCRIPT: &str = "lm_peer.py";
/// The decoders that both sides measure.
const MODELS: [&str; 2] = ["1m", "25m"];
/// Longer than any measurement takes on a slow machine: beyond it, it hangs.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// Options of `cargo xtask bench train`.
#[derive(Debug, Args)]
#[command(
    after_help = "Takes about two minutes after the build, and five more with --peers. Leave the machine \
        idle meanwhile.\n\n\
        Results: target/bench/train.json, maps by model: `tokens_per_second` without privacy,\n\
        `private_tokens_per_second` with every window clipped, and with --peers\n\
        `pytorch_tokens_per_second` and `opacus_tokens_per_second`."
)]
pub struct TrainArgs {
    /// Measure PyTorch and Opacus beside us. They come from PyPI: some gigabytes, once.
    #[arg(long)]
    peers: bool,
    /// Timed steps of each.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(3..=100))]
    repeats: u32,
    /// Only this decoder: 1m or 25m.
    #[arg(long, value_name = "MODEL", value_parser = MODELS)]
    model: Option<String>,
}

/// Builds, measures and writes `train.json`.
pub fn run(repo: &Repo, args: &TrainArgs) -> Result<()> {
    let out = repo.root().join(FOLDER);
    let logs = out.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    ui::heading("Build");
    let message = "--message-format=json-render-diagnostics";
    let package = ["build", "--locked", "--release", "-p", "tributary-torch", "--example"];
    let command = cargo(repo, package.into_iter().chain([PROGRAM, message]));
    let program = build::program(command, PROGRAM)?;
    let python = if args.peers { Some(training::prepare(repo, &out)?) } else { None };
    ui::heading("Measure");
    let machine = Machine::describe();
    println!("  {}, {} cores; leave it idle", machine.cpu_model, machine.cores);
    let measure = |command: &mut Command, name: &str| {
        command.arg(args.repeats.to_string()).args(args.model.iter());
        parse(&child::run(command, &logs, name, LIMIT)?)
    };
    let mut lines = measure(Command::new(&program).env(ALLOCATOR.0, ALLOCATOR.1), PROGRAM)?;
    if let Some(python) = python {
        let mut theirs = Command::new(python);
        theirs.arg(peers::scripts(repo).join(SCRIPT)).env("PYTHONDONTWRITEBYTECODE", "1");
        lines.extend(measure(&mut theirs, "lm_peer")?);
    }
    let mut file = Map::new();
    file.insert("version".into(), json!(1));
    file.insert("machine".into(), serde_json::to_value(&machine)?);
    file.insert("commit".into(), json!(machine::commit(repo)));
    file.extend(figures(&lines));
    file.insert("lines".into(), lines.into());
    let path = out.join("train.json");
    report::write(&path, &file)?;
    ui::heading("Results");
    table(&file).iter().for_each(|line| println!("  {line}"));
    println!("\n  all figures: {}", path.display());
    Ok(())
}

fn parse(output: &str) -> Result<Vec<Value>> {
    let lines = output.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(!lines.is_empty(), "a program printed no result");
    Ok(lines)
}

/// Keys of the file, with the bench and the field that they come from.
const FIGURES: [(&str, &str, &str); 4] = [
    ("tokens_per_second", "lm_step", "plain_tokens_per_second"),
    ("private_tokens_per_second", "lm_step", "private_tokens_per_second"),
    ("pytorch_tokens_per_second", "lm_peer", "pytorch_tokens_per_second"),
    ("opacus_tokens_per_second", "lm_peer", "opacus_tokens_per_second"),
];

/// Maps by model, of what was measured.
fn figures(lines: &[Value]) -> Map<String, Value> {
    let mut all = Map::new();
    for (key, bench, field) in FIGURES {
        let of = lines.iter().filter(|line| line["bench"] == bench);
        let by_model: Map<String, Value> = of
            .filter_map(|line| Some((line["model"].as_str()?.to_owned(), line.get(field)?.clone())))
            .collect();
        if !by_model.is_empty() {
            all.insert(key.into(), by_model.into());
        }
    }
    all
}

/// A line for each model.
fn table(file: &Map<String, Value>) -> Vec<String> {
    let value = |key: &str, model: &str| file.get(key)?.get(model)?.as_f64();
    let line = |model: &&str| {
        let cell = |name: &str, key: &str| {
            value(key, model).map_or(String::new(), |v| format!("  {name} {v:>9.0}"))
        };
        let cells = [
            ("ours", "tokens_per_second"),
            ("PyTorch", "pytorch_tokens_per_second"),
            ("ours, private", "private_tokens_per_second"),
            ("Opacus", "opacus_tokens_per_second"),
        ];
        let cells: String = cells.iter().map(|(name, key)| cell(name, key)).collect();
        (!cells.is_empty()).then(|| format!("{model:>4}{cells}  tokens a second"))
    };
    MODELS.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_maps_by_model_and_a_table() {
        let output = "noise\n\
            {\"bench\":\"lm_step\",\"model\":\"1m\",\"plain_tokens_per_second\":9.0,\"private_tokens_per_second\":5.0}\n\
            {\"bench\":\"lm_peer\",\"model\":\"1m\",\"pytorch_tokens_per_second\":8.0,\"opacus_tokens_per_second\":1.5}\n";
        let figures = figures(&parse(output).unwrap());
        assert_eq!(figures["tokens_per_second"], json!({"1m": 9.0}));
        assert_eq!(figures["opacus_tokens_per_second"]["1m"], 1.5);
        let table = table(&figures);
        assert!(table.len() == 1 && table[0].contains("PyTorch         8"), "{table:?}");
        assert!(parse("nothing").is_err());
        assert!(super::figures(&[]).is_empty());
    }
}
