//! What the engine refuses, keeps and never says, against an aggregator that does not play fair.

mod consent;
mod crash;
mod disk;
mod keys;
mod offers;
mod paths;
mod scaffold;
mod stopping;
mod sums;
