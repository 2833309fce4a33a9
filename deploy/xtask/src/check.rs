//! `cargo xtask test`: everything that must hold before a change is accepted, in the order in
//! which a mistake is found fastest.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::Trainer;
use crate::setup::{self, Plan};
use crate::support::command::{cargo, describe};
use crate::support::interrupt;
use crate::support::repo::Repo;
use crate::support::ui;

/// Options of `cargo xtask test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Leave out everything that links libtorch.
    #[arg(long)]
    no_torch: bool,
}

/// One check.
struct Step {
    title: &'static str,
    command: Command,
}

/// Sets up and runs every check; stops at the first that fails.
pub fn run(repo: &Repo, args: &TestArgs) -> Result<()> {
    let trainer = if args.no_torch { Trainer::Reference } else { Trainer::Torch };
    for (tool, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !is_installed(cargo(repo, [tool, "--version"])) {
            bail!(
                "`cargo {tool}` does not run: install it with `rustup component add {component}`"
            );
        }
    }
    setup::run(repo, &Plan::for_trainer(trainer))?;
    let mut took = Vec::new();
    for mut step in steps(repo, args.no_torch) {
        took.push((step.title, timed(&mut step)?));
    }
    if is_installed(cargo(repo, ["deny", "--version"])) {
        let title = "licences and advisories";
        let mut step = Step { title, command: cargo(repo, ["deny", "check"]) };
        took.push((title, timed(&mut step)?));
    } else {
        println!("\n== licences and advisories: skipped (cargo-deny is not installed)");
    }
    println!("\nAll checks passed:");
    for (title, duration) in took {
        println!("  {title:26} {}", ui::seconds(duration));
    }
    Ok(())
}

fn steps(repo: &Repo, no_torch: bool) -> Vec<Step> {
    let step = |title, before: &[&str], after: &[&str]| {
        let scope: &[&str] = if no_torch {
            &["--workspace", "--exclude", "tributary-torch", "--no-default-features", "--locked"]
        } else {
            &["--workspace", "--locked"]
        };
        Step { title, command: cargo(repo, [before, scope, after].concat()) }
    };
    let mut doc = step("documentation", &["doc", "--no-deps"], &[]);
    doc.command.env("RUSTDOCFLAGS", "-D warnings");
    let mut tests = step("tests and doc tests", &["test"], &[]);
    // The second implementation of the protocol is in Python, which the set-up needs anyway.
    if !no_torch {
        tests.command.env("TRIBUTARY_REQUIRE_PYTHON", "1");
    }
    // opendp, the oracle of samplers and conversions, is in a workspace of its own.
    // Beside what `bench dp` builds of it: one opendp for both.
    let target = ["--target-dir", "target/oracle"];
    let what = ["test", "--locked", "--manifest-path", "dp/oracle/Cargo.toml"];
    let oracle = what.into_iter().chain(target);
    let oracle = Step { title: "samplers against opendp", command: cargo(repo, oracle) };
    // What is built without libtorch: a node as a small program, and the demo's reference trainer.
    let small = ["check", "--workspace", "--exclude", "tributary-torch", "--no-default-features"];
    let small = small.into_iter().chain(["--locked"]);
    let small = Step { title: "without libtorch", command: cargo(repo, small) };
    let mut steps = vec![
        Step { title: "format", command: cargo(repo, ["fmt", "--all", "--check"]) },
        step("lints", &["clippy", "--all-targets"], &["--", "-D", "warnings"]),
        // With the tests, whose own dependencies have a say in features: else they build all again.
        step("programs", &["build", "--bins", "--tests"], &[]),
        tests,
        doc,
    ];
    if !no_torch {
        steps.push(small);
        steps.push(oracle);
    }
    steps
}

fn timed(step: &mut Step) -> Result<std::time::Duration> {
    ui::heading(&format!("{}: {}", step.title, describe(&step.command)));
    let start = Instant::now();
    let outcome = step.command.status();
    interrupt::check()?;
    match outcome {
        Ok(status) if status.success() => {
            let took = start.elapsed();
            println!("-- {}: passed in {}", step.title, ui::seconds(took));
            Ok(took)
        }
        Ok(_) => bail!("{} failed; to repeat it:\n  {}", step.title, describe(&step.command)),
        Err(error) => bail!("cannot start `{}`: {error}", describe(&step.command)),
    }
}

fn is_installed(mut command: Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(no_torch: bool) -> Vec<String> {
        let repo = Repo::at("/r".as_ref(), "/c".as_ref());
        steps(&repo, no_torch).iter().map(|step| describe(&step.command)).collect()
    }

    #[test]
    fn the_full_run_covers_the_workspace() {
        let args: Vec<_> =
            lines(false).iter().map(|l| l.split_once("cargo ").unwrap().1.to_owned()).collect();
        assert_eq!(
            args,
            [
                "fmt --all --check",
                "clippy --all-targets --workspace --locked -- -D warnings",
                "build --bins --tests --workspace --locked",
                "test --workspace --locked",
                "doc --no-deps --workspace --locked",
                "check --workspace --exclude tributary-torch --no-default-features --locked",
                "test --locked --manifest-path dp/oracle/Cargo.toml --target-dir target/oracle",
            ]
        );
        assert!(lines(false)[4].starts_with("RUSTDOCFLAGS='-D warnings'"));
    }

    #[test]
    fn without_torch_nothing_links_it() {
        for line in lines(true).iter().skip(1) {
            assert!(line.contains("--exclude tributary-torch --no-default-features"), "{line}");
        }
    }

    #[test]
    fn a_failed_check_says_how_to_repeat_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 1"]);
        let error = timed(&mut Step { title: "lints", command }).unwrap_err().to_string();
        assert!(error.contains("lints failed") && error.contains("sh -c 'exit 1'"), "{error}");
    }
}
