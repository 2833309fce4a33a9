//! `aggregator init`: a data directory with everything a service needs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context;
use clap::Args;
use tributary_secagg::Identity;
use tributary_transport::files;

use crate::authorities;
use crate::config::{CapacityConfig, Config, TimeoutConfig};
use crate::data_dir::DataDir;
use crate::lifetime::Lifetime;

/// Make a data directory: certificate authority, signing key, configuration.
#[derive(Debug, Args)]
pub struct Init {
    /// The directory to make.
    #[arg(long, env = "TRIBUTARY_AGGREGATOR_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// Address to listen on.
    #[arg(long, default_value = "0.0.0.0:7443")]
    listen: SocketAddr,
    /// DNS name or address under which nodes reach the service; may be given several times. The
    /// listen address is added when it is a single one.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Name of the federation, shown in its certificates.
    #[arg(long, default_value = "tributary")]
    name: String,
}

impl Init {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut hosts = self.hosts;
        let ip = self.listen.ip();
        if !ip.is_unspecified() && !hosts.contains(&ip.to_string()) {
            hosts.push(ip.to_string());
        }
        let config = Config {
            listen: self.listen,
            hosts,
            log_json: false,
            metrics: None,
            certificate_lifetime: Lifetime::DEFAULT,
            capacity: CapacityConfig::default(),
            timeouts: TimeoutConfig::default(),
            pki: Vec::new(),
        };
        let text = toml::to_string(&config)?;
        Config::parse(&text)
            .map_err(anyhow::Error::msg)
            .context("give the name under which nodes reach the service with --host")?;
        let dir = DataDir::create(&self.data_dir)?;
        let identity = Identity::generate()?;
        dir.save_identity(&identity)?;
        files::save(&dir.config_file(), text.as_bytes(), false)?;
        dir.store().await?.close().await;
        // The CA's key last: its presence is what makes the directory complete.
        authorities::create(&dir, &self.name, SystemTime::now())?;
        println!("made {}", dir.path().display());
        println!("signing key {}", identity.verifying_key().fingerprint());
        println!("next: aggregator serve --data-dir {}", dir.path().display());
        Ok(())
    }
}
