//! The audit record's head in a file of its own, so that an end that was cut off is noticed.
//!
//! Written after every entry, under the lock under which the entry was made: the daemon and commands
//! append to one record. Knows heads and two files; no database and no entry.

use std::fs::File;
use std::path::{Path, PathBuf};

use tributary_ledger::Head;
use tributary_transport::files;

/// Name of the file.
pub const FILE: &str = "audit.head";

/// Name of the file that is locked while an entry is made.
const LOCK: &str = "audit.lock";

/// First line of the file.
const TITLE: &str = "tributary audit record head, version 1";

/// The file.
#[derive(Debug, Clone)]
pub struct HeadFile {
    dir: PathBuf,
}

/// Why the file and the record do not belong together.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// Entries are missing at the end, or it is another record.
    #[error(
        "the audit record does not contain the head {}:{} that {path} names: entries at its end are \
         missing, or it was rewritten, and nothing will be done that could not be recorded. Put the \
         newest {database} back; if the entries are lost for good, say so in the record with \
         `agency-node audit recover --reason TEXT`",
        head.length,
        head.hash,
        path = path.display(),
        database = crate::storage::FILE
    )]
    Behind {
        /// The file.
        path: PathBuf,
        /// What it says.
        head: Head,
    },
    /// The file is gone or no head.
    #[error(
        "{path} is missing or cannot be read, and without it nobody can tell whether the audit record \
         is whole. Put it back; if it is lost, say so in the record with `agency-node audit recover \
         --reason TEXT`",
        path = path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file system.
    #[error("audit record: {0}; free disk space or fix the permissions, then start again")]
    File(#[from] files::FileError),
    /// The lock.
    #[error("audit record: {path}: {source}")]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl HeadFile {
    /// In a data directory.
    pub fn in_dir(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Waits until no other process makes an entry; the lock ends when it is dropped.
    ///
    /// # Errors
    /// From the file system.
    pub fn lock(&self) -> Result<File, HeadError> {
        let path = self.dir.join(LOCK);
        let error = |source| HeadError::Lock { path: path.clone(), source };
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let file = options.open(&path).map_err(error)?;
        file.lock().map_err(error)?;
        Ok(file)
    }

    /// What the file says; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read or is no head.
    pub fn read(&self) -> Result<Option<Head>, HeadError> {
        let path = self.path();
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read_text(&path)?;
        let mut lines = text.lines();
        let titled = lines.next() == Some(TITLE);
        let head = lines.next().and_then(Head::parse).filter(|_| titled && lines.next().is_none());
        head.map(Some).ok_or(HeadError::Missing { path })
    }

    /// Sets it, durably.
    ///
    /// # Errors
    /// From the file system.
    pub fn set(&self, head: &Head) -> Result<(), HeadError> {
        let text = format!("{TITLE}\n{}:{}\n", head.length, head.hash);
        Ok(files::save(&self.path(), text.as_bytes(), false)?)
    }

    /// Whether a record of so many entries may be gone on with. `kept` is what the file says, and
    /// `hash_at` the hash of the entry that it names, if the record has that one. A record may be
    /// longer than the file says: a crash after the database and before the file.
    ///
    /// # Errors
    /// What is wrong, with what to do.
    pub fn check(
        &self,
        kept: Option<Head>,
        length: u64,
        hash_at: Option<&str>,
    ) -> Result<(), HeadError> {
        let Some(head) = kept else {
            // Also where a crash came between the first entry and the file.
            return if length <= 1 {
                Ok(())
            } else {
                Err(HeadError::Missing { path: self.path() })
            };
        };
        if head == Head::default() || hash_at == Some(head.hash.as_str()) {
            return Ok(());
        }
        Err(HeadError::Behind { path: self.path(), head })
    }
}
