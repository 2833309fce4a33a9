//! `node.toml`: where the aggregator is and how this node runs. Unknown fields are refused.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tributary_transport::Proxy;

/// File name inside the data directory.
pub const FILE: &str = "node.toml";

/// `node.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The aggregator, `https://host:port`. The node only ever connects outwards.
    pub aggregator: String,
    /// This agency's name, as enrolled.
    pub agency: String,
    /// The aggregator's signing key, pinned at enrolment, hex.
    pub aggregator_key: String,
    /// Which trainer computes gradients: `torch` or `reference`.
    #[serde(default)]
    pub trainer: TrainerKind,
    /// Policy file, relative to this file.
    #[serde(default = "default_policy")]
    pub policy: PathBuf,
    /// Log lines as JSON.
    #[serde(default)]
    pub log_json: bool,
    /// Longest pause between attempts to reach the aggregator, seconds.
    #[serde(default = "default_backoff")]
    pub max_backoff_seconds: u64,
    /// Seconds between signs of life on an idle session.
    #[serde(default = "default_heartbeat")]
    pub heartbeat_seconds: u64,
    /// Seconds between looks whether the certificate is to be renewed and the authorities are still
    /// those.
    #[serde(default = "default_check")]
    pub renewal_check_seconds: u64,
    /// Address of the listener for metrics and health; there is none if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// The way to the aggregator: `http://host:port` of a proxy, or `none` to go directly whatever
    /// the environment says. Left out: `HTTPS_PROXY` and `NO_PROXY` decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Seconds for the running attempt to come to its end when the daemon is asked to stop.
    #[serde(default = "default_drain")]
    pub drain_seconds: u64,
    /// Threads that mask and hash a vector; as many as there are cores if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<NonZeroUsize>,
    /// A certificate of the agency's own authority; without it the aggregator's authority issues
    /// one, and the node renews it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<OwnTls>,
}

/// Where a certificate of the agency's own authority lies. Paths are relative to the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnTls {
    /// The certificate and what links it to its authority, leaf first, PEM.
    pub certificate: PathBuf,
    /// Its private key, PKCS#8 PEM, readable by this node's user alone.
    pub key: PathBuf,
}

/// Which trainer computes gradients.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TrainerKind {
    /// libtorch.
    Torch,
    /// Pure Rust, no libtorch.
    Reference,
}

impl Default for TrainerKind {
    fn default() -> Self {
        if cfg!(feature = "torch") { Self::Torch } else { Self::Reference }
    }
}

fn default_policy() -> PathBuf {
    "policy.toml".into()
}
fn default_backoff() -> u64 {
    30
}
fn default_check() -> u64 {
    3600
}
fn default_drain() -> u64 {
    10
}
fn default_heartbeat() -> u64 {
    15
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[error("configuration {path}: {problem}")]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong and what to do.
    pub problem: String,
}

impl Config {
    /// Threads to use on this machine.
    pub fn threads(&self) -> NonZeroUsize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.threads.unwrap_or_else(cores)
    }

    /// Reads and checks `node.toml` in the data directory.
    ///
    /// # Errors
    /// If it is missing, has unknown fields or impossible values.
    pub fn load(data_dir: &Path) -> Result<Self, ConfigError> {
        let path = data_dir.join(FILE);
        let error = |problem: String| ConfigError { path: path.clone(), problem };
        let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                error("there is none; `agency-node enrol` makes it".into())
            }
            _ => error(e.to_string()),
        })?;
        let config = Self::parse(&text).map_err(error)?;
        Ok(config)
    }

    /// Parses and checks the text.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| e.to_string().trim().to_owned())?;
        if !config.aggregator.starts_with("https://") {
            return Err("aggregator must be https://host:port".into());
        }
        Proxy::choose(config.proxy.as_deref(), &config.aggregator, |_| None)
            .map_err(|e| e.to_string())?;
        tributary_secagg::VerifyingKey::from_hex(&config.aggregator_key)
            .map_err(|_| "aggregator_key must be 64 hex digits".to_owned())?;
        if config.max_backoff_seconds == 0 || config.heartbeat_seconds == 0 {
            return Err("max_backoff_seconds and heartbeat_seconds must be at least 1".into());
        }
        if config.renewal_check_seconds == 0 {
            return Err("renewal_check_seconds must be at least 1".into());
        }
        if config.trainer == TrainerKind::Torch && !cfg!(feature = "torch") {
            return Err("trainer = \"torch\", but this binary was built without libtorch".into());
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_parses_and_mistakes_are_named() {
        let sample = include_str!("../../../deploy/config/node.toml");
        let sample = sample.replace("\"torch\"", "\"reference\"");
        Config::parse(&sample).unwrap();
        let extra = format!("{sample}\nagregator = \"x\"\n");
        assert!(Config::parse(&extra).unwrap_err().contains("agregator"));
        // What stands in comments works, too.
        let own: String =
            sample.lines().map(|l| format!("{}\n", l.trim_start_matches("#= "))).collect();
        assert!(
            Config::parse(&own).unwrap().tls.is_some()
                && Config::parse(&sample).unwrap().tls.is_none()
        );
        let watched = sample.replace("# metrics =", "metrics =").replace("# proxy =", "proxy =");
        let watched = Config::parse(&watched).unwrap();
        assert!(watched.metrics.is_some_and(|address| address.ip().is_loopback()));
        assert_eq!(watched.proxy.as_deref(), Some("http://proxy.example.gov:3128"));
        let wrong = sample.replace("# proxy = \"http://", "proxy = \"socks5://");
        assert!(Config::parse(&wrong).unwrap_err().contains("http://"));
        let plain = sample.replace("https://", "http://");
        assert!(Config::parse(&plain).unwrap_err().contains("https"));
    }
}
