//! The version of a dataset: a name for what its file holds now, as approvals bind to it.
//!
//! A hash of a small table would be a hash of its records: whoever holds it can try tables. So the bytes
//! are hashed with a salt that never leaves the node, and the version says nothing to anybody else.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::storage::{DatasetRow, Source};
use crate::twins;

/// Bytes of a version: enough that no two files share one by chance or on purpose.
const BYTES: usize = 16;

/// Names what a file holds; reads it again only where the system says that it was touched.
#[derive(Debug)]
pub struct Versions {
    path: PathBuf,
    salt: Vec<u8>,
    known: Mutex<Option<(Touched, String)>>,
}

/// What changes when a file is written, replaced or given another date.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Touched {
    length: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and seconds and nanoseconds of the last change of either content or dates: the
    /// last cannot be set back by the file's owner.
    system: (u64, u64, i64, i64),
}

impl Versions {
    /// Of a registered dataset: another mapping makes another version.
    pub fn of(row: &DatasetRow, salt: &[u8]) -> Self {
        Self::new(Path::new(&row.path), &salted(&row.source, salt))
    }

    /// Of a file or folder.
    pub fn new(path: &Path, salt: &[u8]) -> Self {
        Self { path: path.to_owned(), salt: salt.to_owned(), known: Mutex::new(None) }
    }

    /// The version of what the file holds now.
    ///
    /// # Errors
    /// If it cannot be read; the words name its path and stay here.
    pub fn now(&self) -> Result<String, String> {
        let failed = |e: std::io::Error| format!("{}: {e}", self.path.display());
        let touched =
            std::fs::metadata(&self.path).map(|meta| Touched::of(&meta)).map_err(failed)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A folder does not say that something within it was touched.
        let same = |then: &Touched| *then == touched && !self.path.is_dir();
        if let Some((_, version)) = known.as_ref().filter(|(then, _)| same(then)) {
            return Ok(version.clone());
        }
        let content = twins::content_hash(&self.path).map_err(failed)?;
        let version = of_content(&content, &self.salt);
        // If it was written to meanwhile, the next look reads it again.
        *known = Some((touched, version.clone()));
        Ok(version)
    }
}

/// The salt for a dataset that is read in a way of its own: its versions are others.
pub fn salted(source: &Source, salt: &[u8]) -> Vec<u8> {
    if *source == Source::default() {
        return salt.to_owned();
    }
    let mapping = source.mapping.as_deref().unwrap_or_default();
    let parts = [salt, source.kind.as_bytes(), mapping.as_bytes()];
    tributary_secagg::hash("tributary/dataset-source/v1", &parts).0.to_vec()
}

/// The version of a file with this hash.
pub fn of_content(content: &str, salt: &[u8]) -> String {
    let digest =
        tributary_secagg::hash("tributary/dataset-version/v1", &[salt, content.as_bytes()]);
    hex::encode(digest.0.get(..BYTES).unwrap_or(&digest.0))
}

impl Touched {
    fn of(meta: &Metadata) -> Self {
        Self { length: meta.len(), modified: meta.modified().ok(), system: system(meta) }
    }
}

#[cfg(unix)]
fn system(meta: &Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec())
}

#[cfg(not(unix))]
fn system(_: &Metadata) -> (u64, u64, i64, i64) {
    (0, 0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_follows_the_bytes_and_the_salt() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "x\n1\n").unwrap();
        let versions = Versions::new(&path, b"salt");
        let first = versions.now().unwrap();
        assert_eq!(versions.now().unwrap(), first);
        std::fs::write(&path, "x\n2\n").unwrap();
        let second = versions.now().unwrap();
        assert_ne!(second, first);
        // Replaced by a file of the same length, and put back.
        let other = dir.path().join("other.csv");
        std::fs::write(&other, "x\n1\n").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(versions.now().unwrap(), first);
        assert_ne!(Versions::new(&path, b"pepper").now().unwrap(), first);
        let content = twins::content_hash(&path).unwrap();
        assert!(!content.contains(&first) && !first.contains(&content[..8]));
        std::fs::remove_file(&path).unwrap();
        assert!(versions.now().unwrap_err().contains("t.csv"));
    }
}
