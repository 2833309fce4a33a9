//! The released model: one safetensors file that says where it comes from.
//!
//! Both sides write it (the aggregator releases, the simulator and agencies read), so it lives with
//! what two parties must agree on. Knows layouts and files; no training, no rounds.

pub mod card;
pub mod description;
pub mod export;
pub mod hugging_face;

pub use card::ModelCard;
pub use description::ModelDescription;
pub use export::{ExportError, ModelFile};
