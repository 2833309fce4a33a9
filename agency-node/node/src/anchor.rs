//! The book's head in a file of its own, so that a database from yesterday is noticed.
//!
//! A chain shows a changed, missing or reordered entry, but a chain that was cut off at its end is
//! whole in itself. So its head is written down outside the database too, after every entry and
//! before anything that depends on the entry is sent: `book.head`, which only ever moves forward.
//! What nobody can notice is a whole directory that was put back, this file with it; against that
//! the operator keeps heads off the machine (`agency-node budget show`).
//!
//! Knows heads and one file; no database and no budget.

use std::path::{Path, PathBuf};

use tributary_ledger::{Entry, Head};
use tributary_transport::files;

/// Its name in a node's data directory.
pub const FILE: &str = "book.head";

/// First line of the file.
const TITLE: &str = "tributary budget book head, version 1";

/// The file.
#[derive(Debug, Clone)]
pub struct Anchor {
    path: PathBuf,
}

/// Why the file and the database do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// Entries are missing at the end.
    #[error(
        "the budget book has {found} entries, {path} says that it had {}: newer charges are \
         missing (an older database was put back, or its end was cut off), and nothing will be \
         released. Put the newest {database} back, or bring the book forward from its newest \
         export with `agency-node budget recover --export FILE`; only if those entries are lost \
         for good, give the budgets up with `agency-node budget recover --write-off`",
        head.length,
        path = path.display(),
        database = crate::storage::FILE
    )]
    Behind {
        /// The file.
        path: PathBuf,
        /// What it says.
        head: Head,
        /// Entries in the database.
        found: u64,
    },
    /// Another history.
    #[error(
        "entry {} of the budget book is not the one that {path} names ({}): this is another book, \
         or it was rewritten. Nothing will be released until the right {database} and {path} are \
         put back together",
        head.length.saturating_sub(1),
        head.hash,
        path = path.display(),
        database = crate::storage::FILE
    )]
    Forked {
        /// The file.
        path: PathBuf,
        /// What it says.
        head: Head,
    },
    /// The file is gone.
    #[error(
        "{path} is missing, and without it nobody can tell whether the budget book is the newest: \
         put the file back. If it is lost, compare `agency-node budget show` with a head or an \
         export that was kept off this machine, and if the book is the newest, accept it with \
         `agency-node budget recover --accept-head LENGTH:HASH`",
        path = path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is no head.
    #[error(
        "{path} is not readable as a book's head; treat it as lost: move it away and start again",
        path = path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The file system.
    #[error(
        "state database, the book's head: {0}; nothing was sent that is not recorded. Free disk \
         space or fix the permissions, then start the node again"
    )]
    File(#[from] files::FileError),
}

impl Anchor {
    /// The file in a data directory.
    pub fn in_dir(dir: &Path) -> Self {
        Self { path: dir.join(FILE) }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says; `None` if there is no file.
    ///
    /// # Errors
    /// If it cannot be read or is no head.
    pub fn read(&self) -> Result<Option<Head>, AnchorError> {
        if !self.path.exists() {
            return Ok(None);
        }
        let text = files::read_text(&self.path)?;
        let malformed = || AnchorError::Malformed { path: self.path.clone() };
        parse(&text).map(Some).ok_or_else(malformed)
    }

    /// Moves it forward to a head, durably.
    ///
    /// # Errors
    /// [`AnchorError::Behind`] if it is further already; from the file system.
    pub fn advance(&self, head: &Head) -> Result<(), AnchorError> {
        if let Some(newest) = self.read()?.filter(|newest| newest.length > head.length) {
            let path = self.path.clone();
            return Err(AnchorError::Behind { path, head: newest, found: head.length });
        }
        self.set(head)
    }

    /// Sets it to a head, wherever it was: for an operator who has decided.
    ///
    /// # Errors
    /// From the file system.
    pub fn set(&self, head: &Head) -> Result<(), AnchorError> {
        let text = format!("{TITLE}\n{}:{}\n", head.length, head.hash);
        Ok(files::save(&self.path, text.as_bytes(), false)?)
    }

    /// Whether a book is the newest. `head` is what the file says, read before the book was (a
    /// daemon may go on meanwhile). `since` is the first entry whose head was written to the file;
    /// `None` if that never happened.
    ///
    /// A book may be longer than the file says: a crash after the database and before the file. What
    /// depends on such an entry has not been sent.
    ///
    /// # Errors
    /// What is wrong, with what to do.
    pub fn check(
        &self,
        head: Option<Head>,
        book: &[Entry],
        since: Option<u64>,
    ) -> Result<(), AnchorError> {
        let (path, found) = (self.path.clone(), book.len() as u64);
        let Some(head) = head else {
            // Also where a crash came between the first such entry and the file.
            let crashed = |since: u64| found <= since.saturating_add(1);
            return match since {
                Some(since) if !crashed(since) => Err(AnchorError::Missing { path }),
                _ => Ok(()),
            };
        };
        if found < head.length {
            return Err(AnchorError::Behind { path, head, found });
        }
        let at = usize::try_from(head.length).ok().and_then(|length| length.checked_sub(1));
        match at.map(|at| book.get(at)) {
            Some(Some(entry)) if entry.hash == head.hash => Ok(()),
            None if head == Head::default() => Ok(()),
            _ => Err(AnchorError::Forked { path, head }),
        }
    }
}

/// The head after an entry.
pub fn head_after(entry: &Entry) -> Head {
    Head { length: entry.sequence + 1, hash: entry.hash.clone() }
}

fn parse(text: &str) -> Option<Head> {
    let mut lines = text.lines();
    let title = lines.next()?;
    let head = Head::parse(lines.next()?)?;
    (title == TITLE && lines.next().is_none()).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_ledger::Chain;

    fn book(n: u64, start: &str) -> Vec<Entry> {
        let mut chain = Chain::new();
        let body = |i| serde_json::json!({ "i": i, "start": start });
        (0..n).map(|i| chain.append("t", "k", body(i), |_| [0; 64]).unwrap()).collect()
    }

    #[test]
    fn a_cut_or_older_book_is_behind_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let anchor = Anchor::in_dir(dir.path());
        let entries = book(4, "a");
        anchor.advance(&head_after(&entries[2])).unwrap();
        let check = |book: &[Entry]| anchor.check(anchor.read().unwrap(), book, Some(0));
        check(&entries).unwrap();
        check(&entries[..3]).unwrap();
        for shorter in 0..3 {
            let error = check(&entries[..shorter]).unwrap_err();
            assert!(matches!(error, AnchorError::Behind { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("says that it had 3"), "{text}");
            assert!(text.contains("budget recover --export"), "{text}");
        }
        let other = check(&book(4, "b")).unwrap_err();
        assert!(matches!(other, AnchorError::Forked { .. }), "{other}");
    }

    #[test]
    fn it_only_moves_forward() {
        let dir = tempfile::tempdir().unwrap();
        let anchor = Anchor::in_dir(dir.path());
        let entries = book(3, "a");
        anchor.advance(&head_after(&entries[1])).unwrap();
        anchor.advance(&head_after(&entries[1])).unwrap();
        let back = anchor.advance(&head_after(&entries[0])).unwrap_err();
        assert!(matches!(back, AnchorError::Behind { found: 1, .. }), "{back}");
        assert_eq!(anchor.read().unwrap(), Some(head_after(&entries[1])));
    }

    #[test]
    fn a_missing_or_unreadable_file_is_no_permission() {
        let dir = tempfile::tempdir().unwrap();
        let anchor = Anchor::in_dir(dir.path());
        let entries = book(3, "a");
        // Never written, or a crash before it was written for the first time.
        assert_eq!(anchor.read().unwrap(), None);
        anchor.check(None, &entries, None).unwrap();
        anchor.check(None, &entries, Some(2)).unwrap();
        let missing = anchor.check(None, &entries, Some(1)).unwrap_err().to_string();
        assert!(missing.contains("budget recover --accept-head"), "{missing}");
        for text in ["", "3:00\n", &format!("{TITLE}\n3:{}\nmore\n", "0".repeat(64))] {
            std::fs::write(anchor.path(), text).unwrap();
            let error = anchor.read().unwrap_err();
            assert!(matches!(error, AnchorError::Malformed { .. }), "{error}");
        }
    }
}
