//! Building our measuring program, and where cargo put it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::support::command::{cargo, describe, executable};
use crate::support::interrupt;
use crate::support::repo::Repo;

const PACKAGE: &str = "tributary-tests";
const PROGRAM: &str = "secagg-bench";

/// The variable and value that the service units set for the daemons: glibc keeps the memory of
/// vectors and asks for huge pages. What is measured runs as what is installed.
pub const ALLOCATOR: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:\
     glibc.malloc.trim_threshold=268435456",
);

/// Builds `secagg-bench` in the release profile, with cargo's progress on the terminal.
pub fn secagg_bench(repo: &Repo) -> Result<PathBuf> {
    program(build_command(repo), PROGRAM)
}

/// Builds the aggregator and `load-bench` in the release profile: the folder of both, and the latter.
pub fn load_bench(repo: &Repo) -> Result<(PathBuf, PathBuf)> {
    let message = "--message-format=json-render-diagnostics";
    let build = |package: &str, name: &str| {
        let args = ["build", "--locked", "--release", "-p", package, "--bin", name, message];
        program(cargo(repo, args), name)
    };
    let aggregator = build("tributary-server", "aggregator")?;
    let folder = aggregator.parent().context("the aggregator lies nowhere")?.to_owned();
    Ok((folder, build(PACKAGE, "load-bench")?))
}

/// Runs a build that reports in JSON, with cargo's progress on the terminal, and finds its program.
pub fn program(mut command: Command, name: &str) -> Result<PathBuf> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", describe(&command)))?;
    interrupt::check()?;
    if !output.status.success() {
        bail!("the build failed; to repeat it: {}", describe(&command));
    }
    executable(&String::from_utf8_lossy(&output.stdout), name)
}

fn build_command(repo: &Repo) -> Command {
    let message = "--message-format=json-render-diagnostics";
    cargo(repo, ["build", "--locked", "--release", "-p", PACKAGE, "--bin", PROGRAM, message])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_units_set_what_is_measured() {
        let line = format!("Environment={}={}", ALLOCATOR.0, ALLOCATOR.1);
        let agency = include_str!("../../../systemd/agency-node.service");
        let aggregator = include_str!("../../../systemd/aggregator.service");
        for unit in [agency, aggregator] {
            assert!(unit.lines().any(|l| l == line), "a unit lacks {line}");
        }
    }

    #[test]
    fn figures_come_from_the_release_profile() {
        let line = describe(&build_command(&Repo::at("/r".as_ref(), "/c".as_ref())));
        assert!(line.contains("--release -p tributary-tests --bin secagg-bench"), "{line}");
    }
}
