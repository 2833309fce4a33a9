//! Secure aggregation as IO-free state machines.
//!
//! Nodes hold vectors of 32-bit lanes; the aggregator learns the sum over the
//! survivors of a round and nothing else, even if it and up to `C` nodes are
//! malicious. `PROTOCOL.md` beside this crate is the protocol in words.
//!
//! ```text
//! epoch   NodeEpochHello -> NodeEpochKem -> NodeEpoch        ServerEpoch
//! round   NodeRound::open -> handle / provide_vector / release_upload / acknowledge_result
//!                                                            ServerRound::open -> handle / deadline / ...
//! ```
//!
//! The crate knows no network, clock, file, data base, model or privacy
//! accounting. Messages go in, messages and requests to the caller come out.
//! Randomness that the protocol draws itself (seeds, coefficients, commitment
//! openings) is passed in; key pairs and encapsulations come from the generator
//! of the cryptographic library.

mod agreement;
mod codec;
mod context;
mod dealing;
mod digest;
mod fault;
mod identity;
mod ids;
mod keys;
pub mod mask;
pub mod messages;
mod node;
mod params;
mod roster;
mod secret;
mod server;
pub mod shamir;
mod vector;

pub use codec::{DecodeError, Limits};
pub use context::{RoundView, context};
pub use digest::{Digest, HexError, hash};
pub use fault::Fault;
pub use identity::{Identity, IdentityError, Signature, VerifyingKey};
pub use ids::{NodeIndex, NodeSet, Party};
pub use messages::{
    Abort, AbortReason, EpochHellos, EpochKems, EpochStart, NodeMessage, ResultQc, RoundStart,
    ServerMessage,
};
pub use node::{
    MAX_STEPS_AHEAD, NodeEpoch, NodeEpochHello, NodeEpochKem, NodeOutput, NodePhase, NodeRound,
};
pub use params::{MAX_COMPLETE_GRAPH, ParameterError, Thresholds};
pub use roster::Roster;
pub use server::{ServerEpoch, ServerOutput, ServerPhase, ServerRound};
pub use vector::{VectorKind, vector_root};

/// Version of the protocol and of its byte format. It stands in every frame and
/// under every signature.
pub const PROTOCOL_VERSION: u16 = 1;

/// 32-bit lanes in one `MaskedChunk` or `SumChunk` (the last one of a vector may
/// be shorter).
pub const CHUNK_LANES: usize = 65_536;
