//! The last check before a masked vector leaves: is its charge durable?
//!
//! The engine gives out a charge before its upload, and the driver carries outputs out in order. This
//! gate does not trust either: it lets an upload pass only if a charge of that very attempt was made
//! durable before. Knows records and uploads, and no arithmetic of budgets.

use std::collections::BTreeSet;

use tributary_secagg::Upload;

use crate::book::entry::CHARGED;
use crate::engine::Record;

/// Attempts whose charge is durable.
#[derive(Debug, Default)]
pub struct Gate {
    /// Their contexts, hex.
    charged: BTreeSet<String>,
}

/// An upload that nobody paid for: a defect of this software.
#[derive(Debug, thiserror::Error)]
#[error(
    "a vector was about to leave whose charge is not in the budget book (context {0}); it was \
     stopped, and so is the node. This is a defect: keep the logs and report it"
)]
pub struct NotCharged(String);

impl Gate {
    /// Notes what has just become durable.
    pub fn durable(&mut self, record: &Record) {
        let Record::Book(entry) = record else { return };
        let context = entry.body.get("charge").and_then(|charge| charge.get("ctx"));
        if let Some(context) = context.and_then(|c| c.as_str()).filter(|_| entry.kind == CHARGED) {
            self.charged.insert(context.to_owned());
        }
    }

    /// Whether an upload may leave. The same bytes may leave again.
    ///
    /// # Errors
    /// If no charge of that attempt was made durable.
    pub fn check(&self, upload: &Upload) -> Result<(), NotCharged> {
        let context = upload.context().to_string();
        if self.charged.contains(&context) { Ok(()) } else { Err(NotCharged(context)) }
    }
}
