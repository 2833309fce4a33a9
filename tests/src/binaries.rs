//! Where the programs are; builds one that is missing or older than its sources.
//!
//! A test of the real binaries must never pass because of an old one. Cargo's dep-info beside a
//! binary names every source file of the workspace that went into it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// A folder with programs to test instead of those of this build, for example of a release. They
/// are taken as they are.
pub const OVERRIDE: &str = "TRIBUTARY_TEST_BINARIES";

/// A program of the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// The central service.
    Aggregator,
    /// The agencies' daemon.
    AgencyNode,
    /// The researchers' tool.
    Simulate,
    /// `cargo xtask`.
    Xtask,
}

impl Program {
    /// Name of the executable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aggregator => "aggregator",
            Self::AgencyNode => "agency-node",
            Self::Simulate => "simulate",
            Self::Xtask => "xtask",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Aggregator => "tributary-server",
            Self::AgencyNode => "tributary-node",
            Self::Simulate => "simulate",
            Self::Xtask => "xtask",
        }
    }

    fn can_link_libtorch(self) -> bool {
        matches!(self, Self::AgencyNode | Self::Simulate)
    }
}

/// Path of a program that is up to date.
///
/// # Panics
/// If it cannot be built.
pub fn path(program: Program) -> PathBuf {
    if let Some(folder) = std::env::var_os(OVERRIDE) {
        return Path::new(&folder).join(program.name());
    }
    static CHECKED: Mutex<BTreeMap<Program, PathBuf>> = Mutex::new(BTreeMap::new());
    // A panic of another test says nothing about the map.
    let mut checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    checked.entry(program).or_insert_with(|| up_to_date(program)).clone()
}

/// `target/debug` or `target/release`: two above this test's own executable.
///
/// # Panics
/// If the test was not started from a cargo target folder.
pub fn target_folder() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    own.ancestors().nth(2).expect("this test runs from a cargo target folder").to_owned()
}

fn up_to_date(program: Program) -> PathBuf {
    let folder = target_folder();
    let path = folder.join(program.name());
    let dep_info = folder.join(format!("{}.d", program.name()));
    if !is_current(&path, &dep_info) {
        build(program, &folder);
    }
    assert!(path.is_file(), "cargo built no {}", path.display());
    path
}

fn build(program: Program, folder: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(crate::root()).args(["build", "--quiet", "-p", program.package()]);
    command.args(["--bin", program.name()]);
    command.arg("--target-dir").arg(folder.parent().expect("a target folder"));
    if folder.ends_with("release") {
        command.arg("--release");
    }
    if program.can_link_libtorch() && !libtorch_is_there() {
        command.arg("--no-default-features");
    }
    let output = command.output().expect("cargo starts");
    assert!(
        output.status.success(),
        "building {} failed; to repeat it: cargo build -p {}\n{}",
        program.name(),
        program.package(),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `.cargo/config.toml` sets `LIBTORCH` whether it is installed or not.
fn libtorch_is_there() -> bool {
    let folder = std::env::var_os("LIBTORCH").map(PathBuf::from);
    folder.is_some_and(|f| crate::root().join(f).join("lib").is_dir())
}

/// Whether a binary is there and not older than any source that its dep-info names.
fn is_current(binary: &Path, dep_info: &Path) -> bool {
    let (Some(made), Ok(text)) = (modified(binary), std::fs::read_to_string(dep_info)) else {
        return false;
    };
    sources(&text).iter().all(|source| modified(source).is_some_and(|m| m <= made))
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

/// The sources in a dep-info file, `target: source source`, with `\ ` for a space in a name.
fn sources(dep_info: &str) -> Vec<PathBuf> {
    let Some((_, list)) = dep_info.lines().next().and_then(|line| line.split_once(": ")) else {
        return Vec::new();
    };
    let hidden = list.replace("\\ ", "\0");
    hidden.split_whitespace().map(|name| name.replace('\0', " ").into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    #[test]
    fn dep_info_is_read() {
        let text = "/t/debug/x: /a/b.rs /with\\ space/c.rs\n\n/a/b.rs:\n";
        assert_eq!(sources(text), [Path::new("/a/b.rs"), Path::new("/with space/c.rs")]);
    }

    #[test]
    fn a_changed_or_missing_source_makes_a_binary_old() {
        let dir = tempfile::tempdir().unwrap();
        let (source, binary) = (dir.path().join("a.rs"), dir.path().join("a"));
        let dep_info = dir.path().join("a.d");
        fs::write(&source, "").unwrap();
        assert!(!is_current(&binary, &dep_info), "nothing there");
        fs::write(&binary, "").unwrap();
        fs::write(&dep_info, format!("{}: {}", binary.display(), source.display())).unwrap();
        assert!(is_current(&binary, &dep_info));
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::open(&source).unwrap().set_modified(later).unwrap();
        assert!(!is_current(&binary, &dep_info), "changed");
        fs::remove_file(&source).unwrap();
        assert!(!is_current(&binary, &dep_info), "removed");
    }
}
