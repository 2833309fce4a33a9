//! The aggregator daemon: sessions over mutual TLS, one job at a time, everything durable before it
//! is said.
//!
//! A thin driver around `tributary-round`: this crate moves frames and persists; it decides nothing
//! about rounds.

pub mod audit;
pub mod authorities;
pub mod backup;
pub mod bridge;
pub mod commands;
pub mod config;
mod control;
pub mod data_dir;
pub mod export;
pub mod hub;
pub mod lifetime;
mod membership;
pub mod metrics;
pub mod operations;
mod remote;
pub mod serve;
mod service;
pub mod status;
mod trust;

/// Unix seconds.
fn unix_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}
