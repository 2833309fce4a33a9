//! What the engine refuses, keeps and never says, against an aggregator that does not play fair.

mod keys;
mod offers;
mod sums;
