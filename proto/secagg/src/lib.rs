//! Secure aggregation as IO-free state machines.
//!
//! Nodes hold vectors of lanes modulo `2^b`; the aggregator learns the sum over the
//! survivors of a round and nothing else, even if it and up to `C` nodes are
//! malicious. `PROTOCOL.md` beside this crate is the protocol in words.
//!
//! ```text
//! epoch   NodeEpochHello -> NodeEpochPeers -> NodeEpochKem -> NodeEpoch     ServerEpoch
//! round   NodeRound::open -> handle / provide_vector / release_upload / acknowledge_result
//!                                                            ServerRound::open -> handle / deadline / ...
//! ```
//!
//! The crate knows no network, clock, file, data base, model or privacy
//! accounting. Messages go in, messages and requests to the caller come out.
//! Randomness that the protocol draws itself (seeds, coefficients, coins)
//! is passed in; key pairs and encapsulations come from the generator
//! of the cryptographic library.

mod agreement;
mod codec;
mod context;
mod dealing;
mod digest;
mod evidence;
mod fault;
mod graph;
mod identity;
mod ids;
mod keys;
mod lanes;
pub mod mask;
pub mod messages;
mod node;
mod packing;
mod params;
mod roster;
mod secret;
mod server;
pub mod shamir;
mod vector;
mod workers;

pub use codec::{DecodeError, Limits};
pub use context::{RoundView, context};
pub use digest::{Digest, HexError, hash};
pub use evidence::{Evidence, EvidenceError};
pub use fault::Fault;
pub use graph::Graph;
pub use identity::{Identity, IdentityError, Signature, VerifyingKey};
pub use ids::{NodeIndex, NodeSet, Party};
pub use lanes::{LaneBits, Lanes};
pub use messages::{
    Abort, AbortReason, EpochStart, MAX_EPOCHS, MAX_RESTARTS, NodeMessage, ResultQc, RoundStart,
    ServerMessage,
};
pub use node::{
    MAX_STEPS_AHEAD, NodeEpoch, NodeEpochHello, NodeEpochKem, NodeEpochPeers, NodeOutput,
    NodePhase, NodeRound, NodeSeat, Upload,
};
pub use params::{MAX_COMPLETE_GRAPH, MAX_ROSTER, ParameterError, Thresholds};
pub use roster::Roster;
pub use server::{
    DEFAULT_UPLOADS, EpochFacts, ServerEpoch, ServerOutput, ServerPhase, ServerRound, ServerSeat,
};
pub use vector::{Shape, VectorKind, vector_root};

/// Version of the protocol and of its byte format. It stands in every frame and
/// under every signature.
pub const PROTOCOL_VERSION: u16 = 3;

/// Lanes in one `MaskedChunk` or `SumChunk` (the last one of a vector may
/// be shorter).
pub const CHUNK_LANES: usize = 65_536;
