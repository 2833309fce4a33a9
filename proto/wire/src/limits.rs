//! Bounds on everything a peer may send.
//!
//! The parsers of this crate enforce them on receipt; senders must stay within them, since a frame
//! past a bound is refused at the other end.

/// Largest gRPC message that either side decodes, bytes. Larger things travel in chunks.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Longest text, characters.
pub const MAX_TEXT_CHARS: usize = 256;
/// Longest agency or dataset name, characters.
pub const MAX_NAME_CHARS: usize = 63;
/// Datasets a node may offer.
pub const MAX_DATASETS: usize = 64;
/// Largest manifest, bytes of canonical JSON.
pub const MAX_MANIFEST_BYTES: usize = 3 * 1024 * 1024;
/// Largest secure-aggregation frame, bytes; leaves room for the envelope.
pub const MAX_SECAGG_BYTES: usize = MAX_MESSAGE_BYTES - 64 * 1024;
/// Largest piece of a state, bytes.
pub const MAX_STATE_CHUNK_BYTES: usize = 1024 * 1024;
/// Most pieces of a state: with full pieces, 8 GiB.
pub const MAX_STATE_CHUNKS: u32 = 8192;
/// Largest result certificate, bytes: a thousand signatures with their signers fit.
pub const MAX_CERTIFICATE_BYTES: usize = 256 * 1024;
/// Longest enrolment token, characters.
pub const MAX_TOKEN_CHARS: usize = 1024;
/// Largest PKCS#10 request, bytes.
pub const MAX_CSR_BYTES: usize = 16 * 1024;
/// Longest PEM text (chain or CA), bytes.
pub const MAX_PEM_BYTES: usize = 64 * 1024;
/// Authorities that a member may trust at a time.
pub const MAX_AUTHORITIES: usize = 8;
/// Largest job file, bytes.
pub const MAX_JOB_BYTES: usize = 1024 * 1024;
/// Longest identifier of a job, characters.
pub const MAX_JOB_NAME_CHARS: usize = 160;
/// Remarks beside a submitted job.
pub const MAX_NOTES: usize = 8;
/// Longest validity of a token, hours: a year.
pub const MAX_TOKEN_HOURS: u32 = 366 * 24;
/// Longest path of a fetched file, characters.
pub const MAX_PATH_CHARS: usize = 128;
/// Largest piece of a fetched file, bytes.
pub const MAX_FILE_CHUNK_BYTES: usize = 1024 * 1024;
