//! `agency-node enrol`: keys are made here and never leave; a token brings the certificate.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use tributary_secagg::{Identity, VerifyingKey};
use tributary_transport::{
    ClientOptions, Enrolment, EnrolmentToken, Member, OwnCertificate, Proxy, enrol_with, files,
};

use super::desk;
use crate::audit::{self, Event};
use crate::config::{Config, OwnTls, TrainerKind};
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
    /// A certificate of the agency's own authority (leaf first, PEM), if the central team has been
    /// told of that authority; the aggregator's issues none then.
    #[arg(long, value_name = "FILE", requires = "own_key")]
    own_certificate: Option<PathBuf>,
    /// The private key of --own-certificate, PKCS#8 PEM.
    #[arg(long, value_name = "FILE", requires = "own_certificate")]
    own_key: Option<PathBuf>,
    /// The way there: http://[USER:PASSWORD@]HOST:PORT of a proxy, or `none`. Left out: HTTPS_PROXY
    /// and NO_PROXY decide.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
}

impl Enrol {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        tributary_transport::install_provider();
        let token = EnrolmentToken::parse(&read_token(&self.token_file)?)?;
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
        let own = match (self.own_certificate, self.own_key) {
            (Some(certificate), Some(key)) => Some(OwnTls {
                certificate: std::path::absolute(certificate)?,
                key: std::path::absolute(key)?,
            }),
            _ => None,
        };
        let (way, to) = (self.proxy.as_deref(), &self.aggregator);
        let enrolment = with_token((to, way), &token, own.as_ref(), &identity).await?;
        match &own {
            None => enrolment.credentials.save(dir.path())?,
            Some(_) => {
                let ca = enrolment.credentials.ca_pem.as_bytes();
                files::save(&dir.path().join("ca.pem"), ca, false)?;
            }
        }
        let pinned = VerifyingKey(enrolment.aggregator_signing_key);
        let config = Config {
            aggregator: self.aggregator,
            agency: enrolment.member.to_string(),
            aggregator_key: pinned.to_string(),
            trainer: TrainerKind::default(),
            policy: "policy.toml".into(),
            log_json: false,
            max_backoff_seconds: 30,
            heartbeat_seconds: 15,
            renewal_check_seconds: 3600,
            metrics: None,
            proxy: self.proxy,
            drain_seconds: 10,
            threads: None,
            tls: own,
        };
        let storage = dir.storage().await?;
        let event = Event::Enrolled {
            agency: config.agency.clone(),
            aggregator: config.aggregator.clone(),
            aggregator_key: pinned.fingerprint(),
            signing_key: identity.verifying_key().fingerprint(),
            by: audit::operator(),
        };
        desk::note(&storage, &event).await?;
        storage.close().await;
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
}

/// Shows the token to the aggregator (and the way there, as configured), with a request for a certificate or one of the agency's own.
pub(super) async fn with_token(
    (aggregator, proxy): (&str, Option<&str>),
    token: &EnrolmentToken,
    own: Option<&OwnTls>,
    identity: &Identity,
) -> anyhow::Result<Enrolment> {
    if let Member::Person(..) = token.member() {
        bail!("this token is for {}, a person: use it with `aggregator connect`", token.member());
    }
    let (key, version) = (identity.verifying_key().0, env!("CARGO_PKG_VERSION"));
    let proxy = Proxy::choose(proxy, aggregator, |v| std::env::var(v).ok())?;
    let options = ClientOptions { proxy, ..ClientOptions::default() };
    let enrolment = match own {
        None => tributary_transport::enrol(aggregator, token, Some(key), version, &options).await?,
        Some(own) => {
            let own = OwnCertificate {
                chain_pem: files::read_text(&own.certificate)?,
                key_pem: files::read_secret(&own.key)?,
            };
            enrol_with(aggregator, token, own, key, version, &options).await?
        }
    };
    Ok(enrolment)
}

pub(super) fn read_token(file: &Path) -> anyhow::Result<zeroize::Zeroizing<String>> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("reading the token")?
    } else {
        std::fs::read_to_string(file).with_context(|| format!("token file {}", file.display()))?
    };
    Ok(zeroize::Zeroizing::new(text))
}
