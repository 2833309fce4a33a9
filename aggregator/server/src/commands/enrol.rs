//! `aggregator enrol`, `node` and `status`: who may take part, and who is there.

use std::time::{Duration, SystemTime};

use anyhow::bail;
use clap::Subcommand;
use tributary_secagg::VerifyingKey;
use tributary_store::Store;
use tributary_transport::EnrolmentToken;
use tributary_wire::AgencyName;

use super::{Dir, unix_now};
use crate::data_dir::DataDir;
use crate::status::JobStatus;

/// Let agencies in.
#[derive(Debug, Subcommand)]
pub enum Enrol {
    /// Print a one-time token, as the last line, that enrols one agency.
    Token {
        #[command(flatten)]
        dir: Dir,
        /// The agency's name: 1 to 63 of a-z, 0-9 and -.
        #[arg(long)]
        agency: String,
        /// How long the token may be used.
        #[arg(long, default_value_t = 72, value_name = "HOURS")]
        valid_hours: u32,
    },
}

/// Look at the enrolled agencies, or revoke one.
#[derive(Debug, Subcommand)]
pub enum Node {
    /// List the agencies with the fingerprints of their signing keys.
    List {
        #[command(flatten)]
        dir: Dir,
    },
    /// Refuse an agency from now on; its live connection is closed. A new token lets it back.
    Revoke {
        #[command(flatten)]
        dir: Dir,
        /// The agency's name.
        agency: String,
    },
}

impl Enrol {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Token { dir, agency, valid_hours } = self;
        let dir = DataDir::open(&dir.data_dir)?;
        let agency = AgencyName::new(agency)?;
        let fingerprint = dir.authority()?.fingerprint();
        let validity = Duration::from_secs(u64::from(valid_hours) * 3600);
        let expires = SystemTime::now() + validity;
        let token = EnrolmentToken::new(agency.clone(), fingerprint, expires)?;
        let store = dir.store().await?;
        let until = unix_now() + i64::from(valid_hours) * 3600;
        store.put_token(&token.secret_hash(), agency.as_str(), until).await?;
        eprintln!(
            "one-time token for {agency}, valid for {valid_hours} hours; hand it over safely:"
        );
        println!("{token}");
        Ok(())
    }
}

impl Node {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { dir } => {
                let store = DataDir::open(&dir.data_dir)?.store().await?;
                for agency in store.agencies().await? {
                    let state = if agency.revoked_at.is_some() { "revoked" } else { "enrolled" };
                    let key = VerifyingKey(agency.signing_key).fingerprint();
                    println!("{:<24} {state:<9} {key}", agency.name);
                }
                Ok(())
            }
            Self::Revoke { dir, agency } => {
                let store = DataDir::open(&dir.data_dir)?.store().await?;
                if !store.revoke(&agency, unix_now()).await? {
                    bail!("no agency {agency}; `aggregator node list` shows them");
                }
                println!("{agency} is revoked");
                Ok(())
            }
        }
    }
}

/// `aggregator status`.
pub(super) async fn status(dir: &DataDir, json: bool) -> anyhow::Result<()> {
    let config = dir.config()?;
    let address = crate::serve::reachable(config.listen);
    let serving =
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok();
    let store = dir.store().await?;
    let agencies = store.agencies().await?;
    let jobs: Vec<_> = store.jobs().await?.iter().map(JobStatus::of).collect();
    if json {
        let enrolled: Vec<_> = agencies
            .iter()
            .map(|a| serde_json::json!({"name": a.name, "revoked": a.revoked_at.is_some()}))
            .collect();
        let status = serde_json::json!({
            "serving": serving, "listen": config.listen, "agencies": enrolled, "jobs": jobs,
        });
        println!("{status}");
        return Ok(());
    }
    let state = if serving { "serving" } else { "not running" };
    println!("aggregator at {}: {state}", config.listen);
    println!("signing key {}", dir.identity()?.verifying_key().fingerprint());
    println!("{} agencies enrolled", agencies.iter().filter(|a| a.revoked_at.is_none()).count());
    jobs.iter().for_each(|job| println!("{}", job.to_text()));
    Ok(())
}
