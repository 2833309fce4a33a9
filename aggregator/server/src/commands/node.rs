//! `aggregator enrol`, `node` and `status`: who may take part, and who is there.

use std::time::Duration;

use clap::Subcommand;
use tributary_store::Store;
use tributary_transport::Member;
use tributary_wire::AgencyName;
use tributary_wire::control::{Revoke, Serial};

use super::place::{Desk, Place};
use crate::audit::Actor;
use crate::authorities::Authorities;
use crate::data_dir::DataDir;
use crate::operations::{self, agency_line};
use crate::status::JobStatus;

/// Let agencies in.
#[derive(Debug, Subcommand)]
pub enum Enrol {
    /// Print a one-time token, as the last line, that enrols one agency.
    Token {
        #[command(flatten)]
        place: Place,
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
    /// List the agencies with the fingerprints of their signing keys and their newest certificates.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Refuse an agency from now on, with every certificate it has; its live connections are
    /// closed. A new token lets it back, with a new certificate.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// The agency's name.
        agency: String,
    },
}

impl Enrol {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Token { place, agency, valid_hours } = self;
        let member = Member::Agency(AgencyName::new(agency)?);
        token(&place, member, valid_hours).await
    }
}

/// Prints a token as the last line.
pub(super) async fn token(place: &Place, member: Member, valid_hours: u32) -> anyhow::Result<()> {
    let name = member.to_string();
    let token = match place.open().await? {
        Desk::Local(dir) => {
            let authority = Authorities::load(&dir)?.serving().fingerprint();
            let store = dir.store().await?;
            let token = operations::issue_token(
                &store,
                authority,
                &member,
                valid_hours,
                &Actor::local(&dir)?,
            )
            .await?;
            zeroize::Zeroizing::new(token.to_string())
        }
        Desk::Remote(mut remote) => remote.token(member, valid_hours).await?,
    };
    eprintln!("one-time token for {name}, valid for {valid_hours} hours; hand it over safely:");
    println!("{}", *token);
    Ok(())
}

impl Node {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { place } => {
                let agencies = match place.open().await? {
                    Desk::Local(dir) => operations::agencies(&dir.store().await?).await?,
                    Desk::Remote(mut remote) => remote.agencies().await?,
                };
                agencies.iter().for_each(|agency| println!("{}", agency_line(agency)));
                Ok(())
            }
            Self::Revoke { place, agency } => {
                let agency: AgencyName = agency.parse()?;
                revoke(&place, Revoke::Member(agency.into())).await
            }
        }
    }
}

/// Refuses a member or a certificate, and says so.
pub(super) async fn revoke(place: &Place, what: Revoke) -> anyhow::Result<()> {
    let name = match &what {
        Revoke::Member(member) => member.to_string(),
        Revoke::Certificate(serial) => format!("certificate {serial}"),
    };
    let count = match place.open().await? {
        Desk::Local(dir) => {
            operations::revoke(&dir.store().await?, &what, &Actor::local(&dir)?).await?
        }
        Desk::Remote(mut remote) => remote.revoke(what).await?,
    };
    println!("{name} is revoked; certificates refused from now on: {count}");
    Ok(())
}

/// A serial number as people copy it from elsewhere.
pub(super) fn serial(text: &str) -> anyhow::Result<Serial> {
    Serial::new(text).ok_or_else(|| {
        anyhow::anyhow!("{text:?} is no serial number; `aggregator certificate list` shows them")
    })
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
