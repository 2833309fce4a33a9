//! The trainer on libtorch: per-record clipping without per-record gradients.
//!
//! The only crate that links libtorch. It computes what `tributary-training` defines, passes the
//! same conformance suite, and must not know noise, budgets, files or peers. It draws no random
//! number.

mod layer;
mod linear;
mod network;
pub mod private;
mod probe;
mod trainer;

pub use trainer::TorchTrainer;
