//! The node's audit record: who did what, when, with what outcome. Append-only, hash-chained, signed
//! with the node's key, kept beside the budget book.
//!
//! Here is what an entry says and how a record is checked; the database appends
//! (`storage/audit.rs`), and [`head`] is its head outside. Entries hold
//! public things, names of people who decided, and this node's own words for the operator; never a
//! cell, a count of a table, a key or a passphrase.

pub mod event;
pub mod head;

use tributary_ledger::{Entry, Head};
use tributary_secagg::VerifyingKey;

pub use event::Event;
pub use tributary_transport::process::operator;

/// What a whole record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Its head.
    pub head: Head,
    /// Entries that say that earlier ones were lost.
    pub gaps: u64,
}

/// Why a record is not believed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The chain or a signature.
    #[error("audit {0}")]
    Ledger(#[from] tributary_ledger::LedgerError),
    /// It chains, but an entry is none of this record.
    #[error("audit record, line {line}: {problem}")]
    Entry {
        /// The line.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// It does not contain a head that was kept elsewhere.
    #[error(
        "the audit record has {found} entries and does not contain the head {kept}: entries at its end \
         are missing, or it was rewritten"
    )]
    Head {
        /// The head that should be in it.
        kept: String,
        /// Entries that it has.
        found: u64,
    },
}

/// Checks a record's lines against the node's signing key and a head that was kept outside.
///
/// # Errors
/// At the first entry that was changed, is missing or stands elsewhere; for an end that is missing.
pub fn check(
    lines: &[String],
    key: &VerifyingKey,
    kept: Option<&Head>,
) -> Result<Checked, AuditError> {
    let (mut gaps, mut bad, mut found) = (0, None, false);
    let head = tributary_ledger::verify_lines(lines.join("\n").as_bytes(), &key.0, |entry| {
        gaps += u64::from(entry.kind == event::GAP);
        let is_event = Event::from_body(&entry.body).and_then(|event| match event.kind() {
            kind if kind == entry.kind => Ok(()),
            kind => Err(format!("an entry {} whose content is a {kind}", entry.kind)),
        });
        if let (Err(problem), None) = (is_event, &bad) {
            bad = Some(AuditError::Entry { line: entry.sequence + 1, problem });
        }
        found |= kept.is_some_and(|kept| is_head(entry, kept));
    })?;
    if let Some(bad) = bad {
        return Err(bad);
    }
    match kept {
        Some(kept) if !found && *kept != Head::default() => Err(AuditError::Head {
            kept: format!("{}:{}", kept.length, kept.hash),
            found: head.length,
        }),
        _ => Ok(Checked { head, gaps }),
    }
}

/// Whether a record that ends with this entry has this head.
fn is_head(entry: &Entry, head: &Head) -> bool {
    entry.sequence + 1 == head.length && entry.hash == head.hash
}

#[cfg(test)]
mod tests;
