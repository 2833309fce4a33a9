//! `aggregator.toml`. Unknown fields are refused.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tributary_round::{Capacity, Timeouts};
use tributary_transport::{AgencyName, ForeignName};

use crate::lifetime::Lifetime;

/// File name inside the data directory.
pub const FILE: &str = "aggregator.toml";

/// `aggregator.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The one address that nodes connect to.
    pub listen: SocketAddr,
    /// DNS names and addresses under which nodes reach it; they stand in its certificate.
    pub hosts: Vec<String>,
    /// Log lines as JSON.
    #[serde(default)]
    pub log_json: bool,
    /// Address of the listener for metrics and health; there is none if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// How long a certificate is valid: of members, who renew theirs after two thirds of it, and of
    /// this service.
    #[serde(default = "default_lifetime")]
    pub certificate_lifetime: Lifetime,
    /// How much of the machine a job may use.
    #[serde(default)]
    pub capacity: CapacityConfig,
    /// How long each wait may take.
    #[serde(default)]
    pub timeouts: TimeoutConfig,
    /// Agencies whose certificates come from an authority of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pki: Vec<PkiConfig>,
}

/// An agency with an authority of its own. Paths are relative to the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PkiConfig {
    /// The one agency that it speaks for.
    pub agency: String,
    /// Certificate of the authority, PEM.
    pub authority: PathBuf,
    /// The name that the node's certificate must carry: `URI:...` or `DNS:...`.
    pub name: String,
    /// The authority's revocation list, PEM; read again when the file changes. With a list that has
    /// expired the agency is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<PathBuf>,
}

/// How much of the machine a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CapacityConfig {
    /// Threads that unmask and hash; as many as there are cores if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<NonZeroUsize>,
    /// Nodes that upload at a time; 4 if it is left out. Each unfinished upload is kept in memory;
    /// where uploads stall, up to three times as many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploads: Option<NonZeroUsize>,
}

impl CapacityConfig {
    /// As the coordinator takes it.
    pub fn capacity(&self) -> Capacity {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Capacity {
            threads: self.threads.unwrap_or_else(cores),
            uploads: self.uploads.unwrap_or(Capacity::default().uploads),
        }
    }
}

/// Waits, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutConfig {
    /// For all agencies of a roster to accept a job.
    pub gather_seconds: u32,
    /// For one step of the protocol without training.
    pub step_seconds: u32,
    /// For training and upload; each chunk that takes an upload on renews it.
    pub train_seconds: u32,
    /// For enough agencies to come back.
    pub rejoin_seconds: u32,
    /// For the running attempt to come to its end when the service is asked to stop; 0 to stop at
    /// once.
    pub drain_seconds: u32,
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self {
            gather_seconds: 600,
            step_seconds: 30,
            train_seconds: 900,
            rejoin_seconds: 3600,
            drain_seconds: 15,
        }
    }
}

fn default_lifetime() -> Lifetime {
    Lifetime::DEFAULT
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
    /// Reads and checks `aggregator.toml` in the data directory.
    ///
    /// # Errors
    /// If it is missing, has unknown fields or impossible values.
    pub fn load(data_dir: &Path) -> Result<Self, ConfigError> {
        let path = data_dir.join(FILE);
        let error = |problem: String| ConfigError { path: path.clone(), problem };
        let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                error("there is none; `aggregator init` makes it".into())
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
        if config.hosts.is_empty() {
            return Err("hosts: at least one name or address under which nodes connect".into());
        }
        let mut agencies = BTreeSet::new();
        for pki in &config.pki {
            pki.agency.parse::<AgencyName>().map_err(|e| format!("[[pki]] agency: {e}"))?;
            pki.name.parse::<ForeignName>().map_err(|e| format!("[[pki]] name: {e}"))?;
            if !agencies.insert(&pki.agency) {
                return Err(format!("[[pki]]: {} is listed twice", pki.agency));
            }
        }
        if config.metrics == Some(config.listen) {
            return Err("metrics: another address than listen; agencies must not reach it".into());
        }
        let t = config.timeouts;
        let all = [t.gather_seconds, t.step_seconds, t.train_seconds, t.rejoin_seconds];
        if all.contains(&0) {
            return Err("timeouts: each at least 1 second".into());
        }
        Ok(config)
    }
}

impl TimeoutConfig {
    /// In the coordinator's unit.
    pub fn timeouts(&self) -> Timeouts {
        let millis = |seconds: u32| u64::from(seconds) * 1000;
        Timeouts {
            gather: millis(self.gather_seconds),
            step: millis(self.step_seconds),
            train: millis(self.train_seconds),
            rejoin: millis(self.rejoin_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_parses_and_mistakes_are_named() {
        let sample = include_str!("../../../deploy/config/aggregator.toml");
        Config::parse(sample).unwrap();
        let extra = format!("{sample}\nlisten_on = \"x\"\n");
        assert!(Config::parse(&extra).is_err());
        let metrics = sample.replace("# metrics =", "metrics =");
        assert!(Config::parse(&metrics).unwrap().metrics.unwrap().ip().is_loopback());
        let same = metrics.replace("127.0.0.1:9443", "0.0.0.0:7443");
        assert!(Config::parse(&same).unwrap_err().contains("another address"));
        assert!(Config::parse(&sample.replace("uploads = 4", "uploads = 0")).is_err());
        assert!(Config::parse(&sample.replace("step_seconds = 30", "step_seconds = 0")).is_err());
        let lifetime = sample.replace("\"30d\"", "\"30 days\"");
        assert!(Config::parse(&lifetime).unwrap_err().contains("36h"));
        // What stands in comments works, too.
        let pki: String =
            sample.lines().map(|l| format!("{}\n", l.trim_start_matches("#= "))).collect();
        assert_eq!(Config::parse(&pki).unwrap().pki.len(), 1);
        let wildcard = pki.replace("URI:spiffe://nih.example/tributary-node", "DNS:*.nih.example");
        assert!(Config::parse(&wildcard).unwrap_err().contains("URI:spiffe"));
        let twice =
            format!("{pki}\n[[pki]]\nagency = \"nih\"\nauthority = \"x\"\nname = \"DNS:x\"\n");
        assert!(Config::parse(&twice).unwrap_err().contains("twice"));
    }
}
