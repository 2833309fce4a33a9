//! The aggregator daemon: sessions over mutual TLS, one job at a time, everything durable before it
//! is said.
//!
//! A thin driver around `tributary-round`: this crate moves frames and persists; it decides nothing
//! about rounds.

pub mod backup;
pub mod bridge;
pub mod commands;
pub mod config;
pub mod data_dir;
pub mod export;
pub mod hub;
pub mod metrics;
pub mod serve;
mod service;
pub mod status;
