//! The agency node: a daemon beside an agency's data.
//!
//! [`engine`] decides, without IO; [`storage`] makes its decisions durable; [`session`] carries its
//! frames over an outbound connection. [`policy`] and [`book`] bound what may ever leave,
//! [`consent`] holds whose word a job has, and [`audit`] what was done.

pub mod anchor;
pub mod audit;
pub mod book;
pub mod clock;
pub mod commands;
pub mod config;
pub mod consent;
pub mod data_dir;
pub mod engine;
#[cfg(test)]
mod fixtures;
pub mod gate;
pub mod lock;
pub mod metrics;
pub mod policy;
pub mod records;
pub mod renewal;
pub mod serve;
pub mod session;
pub mod stop;
pub mod storage;
pub mod trainers;
pub mod twins;
pub mod version;
