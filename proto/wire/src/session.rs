//! One node's session as the rest of the system sees it: frames that are already parsed and
//! bounded.
//!
//! No prost type appears here, so that crates without IO can use these types. Hashes are 32 raw
//! bytes; what other crates define (manifest, certificate, secure-aggregation frame) is bytes.

mod codes;
mod node;
mod server;

pub use codes::{JobOutcome, RefusalCode, ReportCode, SessionRefusalCode};
pub use node::{Dataset, FromNode, Hello, JobAnswer, JobReply, Report, Resume};
pub use server::{Checkpoint, JobEnd, JobOffer, Refused, StateChunk, ToNode, Welcome};

use std::fmt;

/// One frame of the secure-aggregation protocol, for the state machines of a job. The same in both
/// directions.
#[derive(Clone, PartialEq, Eq)]
pub struct Secagg {
    /// The job.
    pub job: [u8; 32],
    /// The frame, at most [`crate::limits::MAX_SECAGG_BYTES`], never empty.
    pub frame: bytes::Bytes,
}

impl fmt::Debug for Secagg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secagg({}, {} bytes)", short_hash(&self.job), self.frame.len())
    }
}

/// The first six bytes in hexadecimal: enough to tell jobs apart in a log.
pub(crate) fn short_hash(hash: &[u8; 32]) -> String {
    hash.iter().take(6).map(|b| format!("{b:02x}")).collect()
}
