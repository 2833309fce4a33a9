//! `agency-node renew` and `fingerprint`.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use clap::Args;
use tributary_secagg::VerifyingKey;
use tributary_transport::{ClientOptions, EnrolmentToken, certificate, files, renew};

use super::Dir;
use super::enrol::{read_token, with_token};
use crate::config::Config;
use crate::data_dir::DataDir;

/// Renew the certificate now: with the old one while it is valid, else with a one-time token.
/// Signing key, budget book and datasets stay as they are. The daemon must be stopped.
#[derive(Debug, Args)]
pub struct Renew {
    #[command(flatten)]
    dir: Dir,
    /// File with a one-time token from the central team, for a certificate that has ended or was
    /// revoked; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Renew {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        tributary_transport::install_provider();
        let dir = DataDir::open(&self.dir.data_dir)?;
        let _lock = dir.lock("renew")?;
        let config = dir.config()?;
        match self.token_file {
            Some(file) => by_token(&dir, &config, &read_token(&file)?).await?,
            None => by_certificate(&dir, &config).await?,
        }
        let end = dir.credentials(&config)?.not_after()?;
        println!("{} is a member until {}", config.agency, certificate::utc(end));
        Ok(())
    }
}

async fn by_certificate(dir: &DataDir, config: &Config) -> anyhow::Result<()> {
    if config.tls.is_some() {
        bail!(
            "the certificate comes from the agency's own authority ([tls] in node.toml): renew it \
             there, under the same path; the daemon notices"
        );
    }
    let (credentials, options) = (dir.credentials(config)?, ClientOptions::default());
    let channel = tributary_transport::connect(&config.aggregator, &credentials, &options).await?;
    renew::renew(channel, &credentials, &options).await?.save(dir.path())?;
    Ok(())
}

async fn by_token(dir: &DataDir, config: &Config, token: &str) -> anyhow::Result<()> {
    let token = EnrolmentToken::parse(token)?;
    let expected = config.agency.parse()?;
    ensure!(
        *token.member() == expected,
        "the token is for {}, this node is {}'s",
        token.member(),
        config.agency
    );
    let identity = dir.identity()?;
    let own = config.tls.as_ref().map(|own| crate::config::OwnTls {
        certificate: dir.path().join(&own.certificate),
        key: dir.path().join(&own.key),
    });
    let done =
        with_token((&config.aggregator, config.proxy.as_deref()), &token, own.as_ref(), &identity)
            .await?;
    let key = VerifyingKey(done.aggregator_signing_key);
    ensure!(
        key == VerifyingKey::from_hex(&config.aggregator_key)?,
        "the aggregator shows another signing key ({}) than the one that is pinned here; nothing was \
         changed. Ask the central team by telephone",
        key.fingerprint()
    );
    match config.tls {
        None => done.credentials.save(dir.path())?,
        Some(_) => {
            files::save(&dir.path().join("ca.pem"), done.credentials.ca_pem.as_bytes(), false)?;
        }
    }
    Ok(())
}

/// `agency-node fingerprint`: the same strings that `aggregator node list` and `status` show.
pub(super) fn fingerprints(dir: &DataDir) -> anyhow::Result<()> {
    let config = dir.config()?;
    let own = dir.identity()?.verifying_key().fingerprint();
    let pinned = VerifyingKey::from_hex(&config.aggregator_key)?.fingerprint();
    println!("{:<24} {own}", config.agency);
    println!("{:<24} {pinned}", "the aggregator");
    Ok(())
}
