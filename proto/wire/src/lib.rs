//! What travels between a node and the aggregator: protobuf messages with their generated code, and
//! the validated domain types everything else works with.
//!
//! This is the only crate that knows prost. It knows no sockets, certificates or files, and treats
//! secure-aggregation frames, manifests and certificates as opaque bytes. Parse once here
//! ([`session::FromNode`], [`session::ToNode`], [`enrolment`], [`renewal`], [`control`]); past this crate an invalid value
//! cannot exist.

pub mod control;
mod convert;
pub mod enrolment;
mod error;
pub mod limits;
pub mod members;
pub mod names;
pub mod renewal;
pub mod session;
pub mod text;

pub use error::WireError;
pub use members::{Member, Role};
pub use names::{AgencyName, DatasetName, PersonName};
pub use text::Text;

/// Version of the session protocol that this software speaks: that of the secure-aggregation frames it
/// carries, raised with them. A peer with another one is refused with a message that names both.
pub const PROTOCOL_VERSION: u32 = 3;

/// Generated from `proto/tributary.proto` by `tests/generate.rs`; never edited by hand.
#[allow(missing_docs, unused_qualifications, clippy::all)]
pub mod v1 {
    include!("gen/tributary.v1.rs");
}
