//! What must be installed before anything is built, checked up front and reported all at once.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// Oldest Python whose pip is known to do.
const PYTHON: (u32, u32) = (3, 8);

/// Checks cargo and the C and C++ compilers and, if something must be downloaded, Python with
/// pip. The error lists everything that is missing and what to install.
pub fn check(needs_pip: bool) -> Result<()> {
    let mut problems = Vec::new();
    for (program, what) in [
        ("cargo", "Rust: install the toolchain with rustup, or your distribution's cargo"),
        ("cc", "a C compiler: install gcc or clang (Debian: build-essential; RHEL: gcc)"),
        ("c++", "a C++ compiler: install g++ or clang (Debian: build-essential; RHEL: gcc-c++)"),
    ] {
        if !runs(program, &["--version"]) {
            problems.push(format!("`{program}` does not run; needed is {what}"));
        }
    }
    if needs_pip {
        problems.extend(python_problem(python_version().as_deref()));
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("something must be installed first:\n  - {}", problems.join("\n  - "))
}

/// What is wrong with the Python of this version text (`3.11`), if anything.
fn python_problem(version: Option<&str>) -> Option<String> {
    let install = "install Python 3.8 or newer with pip (Debian: python3 python3-pip; RHEL: \
                   python3 python3-pip)";
    let Some(version) = version else {
        return Some(format!("`python3` does not run; {install}"));
    };
    match parse_version(version) {
        Some(found) if found >= PYTHON => {}
        _ => return Some(format!("`python3` is version {}; {install}", version.trim())),
    }
    if runs("python3", &["-m", "pip", "--version"]) {
        return None;
    }
    Some(format!("`python3 -m pip` does not run; {install}, or `python3 -m ensurepip --user`"))
}

fn python_version() -> Option<String> {
    let script = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = Command::new("python3").args(["-c", script]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether a program can be started and exits with 0.
pub fn runs(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(parse_version("3.11\n"), Some((3, 11)));
        assert_eq!(parse_version("three"), None);
        assert!(python_problem(Some("3.7\n")).is_some_and(|p| p.contains("3.8 or newer")));
        assert!(python_problem(Some("2.7")).is_some());
        assert!(python_problem(None).is_some_and(|p| p.contains("does not run")));
    }

    #[test]
    fn a_missing_program_is_noticed() {
        assert!(runs("sh", &["-c", "exit 0"]));
        assert!(!runs("sh", &["-c", "exit 1"]));
        assert!(!runs("no-such-program-here", &[]));
    }
}
