//! The agency node: a daemon beside an agency's data.
//!
//! [`engine`] decides, without IO; [`storage`] makes its decisions durable; [`session`] carries its
//! frames over an outbound connection. [`policy`] and [`book`] bound what may ever leave.

pub mod anchor;
pub mod book;
pub mod commands;
pub mod config;
pub mod data_dir;
pub mod engine;
#[cfg(test)]
mod fixtures;
pub mod gate;
pub mod lock;
pub mod policy;
pub mod records;
pub mod serve;
pub mod session;
pub mod storage;
pub mod trainers;
pub mod twins;
