//! The manifest of a folder: SHA-256 of every file, in the format of `sha256sum -c`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::support::digest::sha256_file;

/// Name of the manifest in its folder.
pub const NAME: &str = "MANIFEST";

/// Writes the manifest of everything below `dir` and returns its text; files in order of path.
pub fn write(dir: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(dir, dir, &mut files)?;
    files.sort();
    let mut text = String::new();
    for file in files.iter().filter(|file| *file != Path::new(NAME)) {
        text.push_str(&format!("{}  {}\n", sha256_file(&dir.join(file))?, file.display()));
    }
    let path = dir.join(NAME);
    fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(text)
}

/// Whether every file that the manifest names is there with its digest. An empty or missing
/// manifest fits nothing.
pub fn fits(dir: &Path) -> bool {
    let text = fs::read_to_string(dir.join(NAME)).unwrap_or_default();
    let line_fits = |line: &str| {
        let Some((digest, file)) = line.split_once("  ") else { return false };
        sha256_file(&dir.join(file)).is_ok_and(|found| found == digest)
    };
    !text.is_empty() && text.lines().all(line_fits)
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            files.push(relative.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_changed_and_missing_files() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!fits(dir.path()));
        fs::create_dir(dir.path().join("ua")).unwrap();
        fs::write(dir.path().join("ua/train.csv"), "a").unwrap();
        fs::write(dir.path().join("test.csv"), "b").unwrap();
        let text = write(dir.path()).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().next().unwrap().ends_with("  test.csv"));
        assert!(fits(dir.path()));
        assert_eq!(write(dir.path()).unwrap(), text);
        fs::write(dir.path().join("ua/train.csv"), "x").unwrap();
        assert!(!fits(dir.path()));
        fs::remove_file(dir.path().join("ua/train.csv")).unwrap();
        assert!(!fits(dir.path()));
    }
}
