//! The results folder: cleared before a run, but only if an earlier demo made it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Marks a folder as the demo's own.
const MARKER: &str = ".tributary-demo";

/// The results folder.
#[derive(Debug)]
pub struct Output(PathBuf);

impl Output {
    /// Creates the folder, or empties one of an earlier demo. Any other folder with something in
    /// it is left alone and refused.
    pub fn prepare(root: &Path) -> Result<Self> {
        let entries = || fs::read_dir(root).map(|mut entries| entries.next().is_some());
        if root.exists() && entries().with_context(|| format!("{} is no folder", root.display()))? {
            if !root.join(MARKER).is_file() {
                bail!(
                    "{} holds something that is not an earlier demo's: name another --out, or \
                     empty it yourself",
                    root.display()
                );
            }
            fs::remove_dir_all(root).with_context(|| format!("cannot empty {}", root.display()))?;
        }
        let out = Self(root.to_owned());
        fs::create_dir_all(out.logs())
            .with_context(|| format!("cannot create {}", root.display()))?;
        out.write(MARKER, "Made by `cargo xtask demo`, which may delete this folder.\n")?;
        // One spelling of the path for every process, whatever its current folder.
        let full = root.canonicalize().with_context(|| format!("no {}", root.display()))?;
        Ok(Self(full))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Logs of the processes.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Writes a text file.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_demo_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("demo");
        let out = Output::prepare(&root).unwrap();
        out.write("summary.json", "{}").unwrap();
        let again = Output::prepare(&root).unwrap();
        assert!(!again.path("summary.json").exists());
        assert!(again.logs().is_dir());

        let mine = dir.path().join("mine");
        fs::create_dir(&mine).unwrap();
        fs::write(mine.join("thesis"), "").unwrap();
        assert!(Output::prepare(&mine).unwrap_err().to_string().contains("--out"));
        assert!(mine.join("thesis").exists());
    }
}
