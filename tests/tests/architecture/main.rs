//! The rules that keep the parts apart, checked over `cargo metadata` and the source files. Each
//! failure says which rule is broken and why there is one.

#![allow(clippy::unwrap_used, clippy::panic)]

mod graph;
mod rules;
mod samples;
mod sources;
