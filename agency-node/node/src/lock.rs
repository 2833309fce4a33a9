//! One writer per data directory: an advisory lock that ends with its process.
//!
//! Two daemons on one directory would each keep a budget book in memory and charge against half of
//! the truth. Knows nothing of what lies in the directory.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// File inside the data directory that is locked; it holds a line about the holder.
pub const FILE: &str = "node.lock";

/// The lock, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Why the lock is not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process writes here.
    #[error(
        "{path} is in use by {holder}: stop that first (if it is the daemon, stop the daemon, run \
         this, and start it again)"
    )]
    Held {
        /// The data directory.
        path: PathBuf,
        /// Who holds it, in its own words.
        holder: String,
    },
    /// The file system.
    #[error("lock file {path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl DirLock {
    /// Takes the lock for a command, without waiting.
    ///
    /// # Errors
    /// [`LockError::Held`] names the holder.
    pub fn take(dir: &Path, command: &str) -> Result<Self, LockError> {
        let path = dir.join(FILE);
        let io = |source| LockError::Io { path: path.clone(), source };
        let mut options = File::options();
        options.create(true).truncate(false).read(true).write(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let mut file = options.open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { path: dir.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        let line = format!("`agency-node {command}` (process {})", std::process::id());
        file.write_all(line.as_bytes()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

/// What the holder wrote; some systems let nobody else read a locked file.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(200).read_to_string(&mut text) {
        Ok(length) if length > 0 => text,
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_told_who_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path(), "serve").unwrap();
        let error = DirLock::take(dir.path(), "dataset add").unwrap_err().to_string();
        let process = std::process::id().to_string();
        assert!(error.contains("agency-node serve") && error.contains(&process), "{error}");
        assert!(error.contains("stop the daemon"), "{error}");
        drop(first);
        DirLock::take(dir.path(), "job abandon").unwrap();
    }
}
