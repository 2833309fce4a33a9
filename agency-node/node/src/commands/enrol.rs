//! `agency-node enrol`: keys are made here and never leave; a token brings the certificate.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tributary_secagg::{Identity, VerifyingKey};
use tributary_transport::{ClientOptions, EnrolmentToken, Proxy, files};

use crate::config::{Config, TrainerKind};
use crate::data_dir::DataDir;

/// Make keys here, and get a certificate with a one-time token. The keys never leave.
#[derive(Debug, Args)]
pub struct Enrol {
    /// The directory to make.
    #[arg(long, env = "TRIBUTARY_NODE_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// The aggregator, https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    aggregator: String,
    /// File with the one-time token from the central team; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// The way there: http://[USER:PASSWORD@]HOST:PORT of a proxy, or `none`. Left out: HTTPS_PROXY
    /// and NO_PROXY decide.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
}

impl Enrol {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        tributary_transport::install_provider();
        let token = EnrolmentToken::parse(&self.read_token()?)?;
        let dir = DataDir::create(&self.data_dir)?;
        // A signing key from an attempt that failed is used again: nobody has accepted it yet.
        let identity = match dir.signing_key().exists() {
            true => dir.identity()?,
            false => {
                let identity = Identity::generate()?;
                dir.save_identity(&identity)?;
                identity
            }
        };
        let proxy =
            Proxy::choose(self.proxy.as_deref(), &self.aggregator, |v| std::env::var(v).ok())?;
        let enrolment = tributary_transport::enrol(
            &self.aggregator,
            &token,
            identity.verifying_key().0,
            env!("CARGO_PKG_VERSION"),
            &ClientOptions { proxy, ..ClientOptions::default() },
        )
        .await?;
        enrolment.credentials.save(dir.path())?;
        let pinned = VerifyingKey(enrolment.aggregator_signing_key);
        let config = Config {
            aggregator: self.aggregator,
            agency: enrolment.agency.to_string(),
            aggregator_key: pinned.to_string(),
            trainer: TrainerKind::default(),
            policy: "policy.toml".into(),
            log_json: false,
            max_backoff_seconds: 30,
            heartbeat_seconds: 15,
            metrics: None,
            proxy: self.proxy,
            drain_seconds: 10,
            threads: None,
        };
        dir.storage().await?.close().await;
        // The configuration last: its presence is what makes the directory complete.
        files::save(&dir.config_file(), toml::to_string(&config)?.as_bytes(), false)?;
        println!("enrolled as {}", config.agency);
        println!("compare with the central team, by another way than this connection:");
        println!("  this agency's signing key    {}", identity.verifying_key().fingerprint());
        println!("  the aggregator's signing key {}", pinned.fingerprint());
        println!(
            "next: write {} (see `agency-node policy example`)",
            dir.path().join(&config.policy).display()
        );
        Ok(())
    }

    fn read_token(&self) -> anyhow::Result<zeroize::Zeroizing<String>> {
        let text = if self.token_file.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin()).context("reading the token")?
        } else {
            std::fs::read_to_string(&self.token_file)
                .with_context(|| format!("token file {}", self.token_file.display()))?
        };
        Ok(zeroize::Zeroizing::new(text))
    }
}
