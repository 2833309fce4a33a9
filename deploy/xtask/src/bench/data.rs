//! `cargo xtask bench data`: three million rows of a Parquet file through the node's reader.
//!
//! The file comes out of a pinned package of the npm registry, fetched by npm itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use flate2::read::GzDecoder;

use crate::support::command::{capture, cargo};
use crate::support::digest::sha256_file;
use crate::support::repo::Repo;

/// The package.
const PACKAGE: &str = "vega-datasets@3.2.1";

/// SHA-256 of what npm makes of it.
const PACKAGE_SHA256: &str = "6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3";

/// The file in it.
const MEMBER: &str = "package/data/flights-3m.parquet";

/// Its SHA-256.
const FILE_SHA256: &str = "dbeb920c90f59b6ccaff823dcc3d08f25a97fa1ce128d93f40be4e931f5900b0";

/// Options of `cargo xtask bench data`.
#[derive(Debug, Args)]
pub struct DataArgs {}

/// Fetches the file and runs the reader over it.
pub fn run(repo: &Repo, _: &DataArgs) -> Result<()> {
    let file = fetch(repo)?;
    // The development profile optimises reader and decoder fully: see the workspace's Cargo.toml.
    let mut command =
        cargo(repo, ["test", "--locked", "-p", "tributary-training", "--test", "three_million"]);
    command.args(["--", "--ignored", "--nocapture"]).env("TRIBUTARY_FLIGHTS_3M", &file);
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("reading failed ({status})");
    }
    Ok(())
}

fn fetch(repo: &Repo) -> Result<PathBuf> {
    let file = repo.user_cache().join("flights-3m.parquet");
    let _lock = repo.lock_user_cache()?;
    if is(&file, FILE_SHA256) {
        return Ok(file);
    }
    let work = repo.user_cache().join("vega-datasets.partial");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    println!("  downloading {PACKAGE} through npm (18 MB)");
    let mut npm = Command::new("npm");
    npm.args(["pack", PACKAGE, "--ignore-scripts", "--silent"]).current_dir(&work);
    capture(&mut npm).context("npm could not download the package; is Node.js installed?")?;
    let archive = work.join(format!("{}.tgz", PACKAGE.replace('@', "-")));
    if !is(&archive, PACKAGE_SHA256) {
        bail!(
            "{PACKAGE} does not have the pinned SHA-256 {PACKAGE_SHA256}; nothing of it was used"
        );
    }
    let partial = work.join("flights-3m.parquet");
    unpack(&archive, MEMBER, &partial)?;
    if !is(&partial, FILE_SHA256) {
        bail!("{MEMBER} of {PACKAGE} does not have the pinned SHA-256 {FILE_SHA256}");
    }
    fs::rename(&partial, &file).with_context(|| format!("cannot create {}", file.display()))?;
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    Ok(file)
}

fn is(file: &Path, digest: &str) -> bool {
    file.is_file() && sha256_file(file).is_ok_and(|found| found == digest)
}

/// Takes one member out of a gzipped tar.
fn unpack(archive: &Path, member: &str, to: &Path) -> Result<()> {
    let file = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
    let mut tar = tar::Archive::new(GzDecoder::new(file));
    for entry in tar.entries().context("the archive is damaged")? {
        let mut entry = entry.context("the archive is damaged")?;
        if entry.path().context("the archive is damaged")?.as_ref() == Path::new(member) {
            let mut out =
                File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
            std::io::copy(&mut entry, &mut out).with_context(|| format!("unpacking {member}"))?;
            return Ok(());
        }
    }
    bail!("{} has no {member}", archive.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_is_taken_out() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, out) = (dir.path().join("a.tgz"), dir.path().join("out"));
        let gzip =
            flate2::write::GzEncoder::new(File::create(&archive).unwrap(), Default::default());
        let mut tar = tar::Builder::new(gzip);
        for (name, bytes) in [("package/a", b"A"), ("package/b", b"B")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, name, &bytes[..]).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        unpack(&archive, "package/b", &out).unwrap();
        assert_eq!(fs::read(&out).unwrap(), b"B");
        assert!(
            unpack(&archive, "package/c", &out).unwrap_err().to_string().contains("no package/c")
        );
    }
}
