//! `aggregator certificate` and `ca`: what was issued, and by which authority.

use std::time::SystemTime;

use anyhow::bail;
use clap::Subcommand;
use tributary_store::{Certificate, SqliteStore, Store};

use super::Dir;
use super::node::{revoke, serial};
use super::place::Place;
use crate::audit::{Act, Actor};
use crate::authorities::{self, Authorities};
use crate::data_dir::DataDir;
use crate::operations::utc;
use crate::unix_now;
use tributary_wire::control::Revoke;

/// Look at certificates, or revoke a single one.
#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// List the certificates that have not ended, newest first.
    List {
        #[command(flatten)]
        dir: Dir,
        /// Those that have ended, too.
        #[arg(long)]
        all: bool,
    },
    /// Refuse one certificate, and every one that was renewed from it; its live connections are
    /// closed. Its holder stays enrolled: a certificate that does not come from this one goes on
    /// working.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// Serial number, hexadecimal.
        serial: String,
    },
}

/// Replace the certificate authority while the service runs.
#[derive(Debug, Subcommand)]
pub enum Ca {
    /// Show the authorities, and which members do not trust or use the newest yet.
    Status {
        #[command(flatten)]
        dir: Dir,
    },
    /// Make the authority that is to replace the present one. Both are trusted until `retire`.
    Rotate {
        #[command(flatten)]
        dir: Dir,
        /// Name of the authority, shown in certificates.
        #[arg(long, default_value = "tributary")]
        name: String,
    },
    /// Trust the newest authority alone, and delete the old one's key.
    Retire {
        #[command(flatten)]
        dir: Dir,
        /// Even if agencies do not know the newest yet: they will need a new token. For an
        /// authority whose key may have been seen.
        #[arg(long)]
        force: bool,
    },
}

impl CertificateCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { dir, all } => {
                let store = DataDir::open(&dir.data_dir)?.store().await?;
                let now = unix_now();
                for c in store.certificates().await? {
                    if all || c.certificate.ends_at >= now {
                        println!("{}", line(&c, now));
                    }
                }
                Ok(())
            }
            Self::Revoke { place, serial: text } => {
                revoke(&place, Revoke::Certificate(serial(&text)?)).await
            }
        }
    }
}

fn line(c: &Certificate, now: i64) -> String {
    let state = match c.revoked_at {
        Some(_) => "revoked",
        None if c.certificate.ends_at < now => "ended",
        None => "valid",
    };
    let of = &c.certificate;
    let from = of.renewed_from.as_ref().map_or(String::new(), |s| format!("  renewed from {s}"));
    let issuer = of.issuer.get(..16).unwrap_or(&of.issuer);
    let until = utc(u64::try_from(of.ends_at).unwrap_or(0));
    format!("{:<40} {state:<8} {:<24} until {until}  by {issuer}{from}", of.serial, of.member)
}

impl Ca {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Status { dir } => status(&DataDir::open(&dir.data_dir)?).await,
            Self::Rotate { dir, name } => {
                let dir = DataDir::open(&dir.data_dir)?;
                let next = authorities::rotate(&dir, &name, SystemTime::now())?;
                let event = Act::AuthorityRotated { authority: next.to_string() };
                Actor::local(&dir)?.note(&dir.store().await?, event).await?;
                println!("authority {next} issues certificates from now on; both are trusted");
                println!("members take it over by themselves; see `aggregator ca status`");
                Ok(())
            }
            Self::Retire { dir, force } => {
                let dir = DataDir::open(&dir.data_dir)?;
                let store = dir.store().await?;
                let loaded = Authorities::load(&dir)?;
                let behind = match loaded.next() {
                    Some(next) => behind(&store, &next.fingerprint().to_string()).await?,
                    None => Vec::new(),
                };
                let agencies: Vec<&str> = behind
                    .iter()
                    .filter(|(member, _)| !member.contains('/'))
                    .map(|(member, _)| member.as_str())
                    .collect();
                if !agencies.is_empty() && !force {
                    bail!(
                        "these agencies are not ready for the newest authority: {}; see \
                         `aggregator ca status`, wait for them, or use --force and give them new \
                         tokens",
                        agencies.join(", ")
                    );
                }
                let now = authorities::retire(&dir)?;
                let event = Act::AuthorityRetired { authority: now.to_string() };
                Actor::local(&dir)?.note(&store, event).await?;
                println!("authority {now} is the only one from now on");
                if !behind.is_empty() {
                    let names: Vec<_> = behind.iter().map(|(member, _)| member.as_str()).collect();
                    println!("these members need a new token: {}", names.join(", "));
                }
                Ok(())
            }
        }
    }
}

async fn status(dir: &DataDir) -> anyhow::Result<()> {
    let loaded = Authorities::load(dir)?;
    let end = |ca: &tributary_transport::CertificateAuthority| {
        tributary_transport::certificate::utc(ca.not_after())
    };
    let serving = loaded.serving();
    println!("authority {}, until {}", serving.fingerprint(), end(serving));
    let Some(next) = loaded.next() else {
        println!("no other; `aggregator ca rotate` makes one");
        return Ok(());
    };
    println!("next authority {}, until {}; it issues", next.fingerprint(), end(next));
    let behind = behind(&dir.store().await?, &next.fingerprint().to_string()).await?;
    for (member, why) in &behind {
        println!("not ready: {member}: {why}");
    }
    if behind.iter().all(|(member, _)| member.contains('/')) {
        println!("every agency is ready; `aggregator ca retire` ends the rotation");
    }
    Ok(())
}

/// Members that would be locked out if only this authority were trusted, and why.
async fn behind(store: &SqliteStore, next: &str) -> anyhow::Result<Vec<(String, &'static str)>> {
    let (certificates, trusting) = (store.certificates().await?, store.trusting().await?);
    let now = unix_now();
    let mut members: Vec<String> = Vec::new();
    let agencies = store.agencies().await?;
    members.extend(agencies.into_iter().filter(|a| a.revoked_at.is_none()).map(|a| a.name));
    let persons = store.persons().await?;
    members.extend(persons.into_iter().filter(|p| p.revoked_at.is_none()).map(|p| p.member));
    let check = |member: String| {
        let valid = |c: &&Certificate| {
            c.certificate.member == member && c.revoked_at.is_none() && c.certificate.ends_at >= now
        };
        let newest = certificates.iter().find(valid).map(|c| c.certificate.issuer.as_str());
        let knows = trusting
            .iter()
            .any(|t| t.member == member && t.authorities.split(' ').any(|a| a == next));
        let why = match newest {
            None => "it has no certificate that is valid",
            Some(issuer) if issuer != next && issuer != "foreign" => {
                "its certificate is from the old authority"
            }
            Some(_) if !knows => "it has not said yet that it trusts the newest authority",
            Some(_) => return None,
        };
        Some((member, why))
    };
    Ok(members.into_iter().filter_map(check).collect())
}
