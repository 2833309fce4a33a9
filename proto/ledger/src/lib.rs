//! An append-only record that anybody can check: JSON lines, each carrying the hash of the one
//! before and a signature.
//!
//! The aggregator keeps one per job (the round record), every node keeps one of its own. A changed,
//! missing or reordered line breaks the chain; a forged one breaks a signature. What is *not* here:
//! files, databases, clocks, and what the entries mean.

pub mod canonical;
pub mod chain;
pub mod verify;

pub use canonical::canonical_json;
pub use chain::{Chain, Entry, Head};
pub use verify::{LedgerError, verify_lines};
