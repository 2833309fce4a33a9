//! `agency-node peers`: which signing keys the other agencies have, by this agency's own list.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use tributary_wire::AgencyName;

use super::Dir;
use super::desk::Desk;
use crate::audit::{self, Event};
use crate::consent::PeerRow;
use crate::consent::pins::parse_fingerprint;
use crate::data_dir::DataDir;
use crate::storage::Change;

/// Which signing keys the other agencies have, by this agency's own list.
#[derive(Debug, Subcommand)]
pub enum Peers {
    /// List the pinned keys.
    List {
        #[command(flatten)]
        dir: Dir,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print this agency's name and fingerprint, as one line for the others' `peers import`.
    Fingerprint {
        #[command(flatten)]
        dir: Dir,
    },
    /// Pin an agency's signing key, by its fingerprint as that agency itself has told it.
    Add {
        #[command(flatten)]
        dir: Dir,
        /// The agency.
        agency: String,
        /// The fingerprint, or the key in hex.
        fingerprint: String,
    },
    /// Pin the agencies of a file: a name and a fingerprint in each line, as `peers fingerprint` prints
    /// them. Lines that begin with # are left out, and so is this agency's own.
    Import {
        #[command(flatten)]
        dir: Dir,
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Unpin an agency: before its key is replaced, or where it has left.
    Remove {
        #[command(flatten)]
        dir: Dir,
        /// The agency.
        agency: String,
    },
}

impl Peers {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { dir, json } => list(&Desk::open(&dir).await?, json).await,
            Self::Fingerprint { dir } => {
                let dir = DataDir::open(&dir.data_dir)?;
                let key = dir.identity()?.verifying_key();
                println!("{} {}", dir.config()?.agency, key.fingerprint());
                Ok(())
            }
            Self::Add { dir, agency, fingerprint } => {
                let fingerprint = parse_fingerprint(&fingerprint).map_err(anyhow::Error::msg)?;
                pin(&Desk::open(&dir).await?, &[(agency, fingerprint)]).await
            }
            Self::Import { dir, file } => {
                let text = std::fs::read_to_string(&file)
                    .with_context(|| format!("reading {}", file.display()))?;
                let desk = Desk::open(&dir).await?;
                let named = || format!("{}, nothing was changed", file.display());
                let pairs = parse(&text, &desk.config.agency).with_context(named)?;
                pin(&desk, &pairs).await.with_context(named)
            }
            Self::Remove { dir, agency } => remove(&Desk::open(&dir).await?, &agency).await,
        }
    }
}

/// Agencies and fingerprints, without one's own.
fn parse(text: &str, own: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(agency), Some(fingerprint), None) = (words.next(), words.next(), words.next())
        else {
            bail!("line {}: expected an agency and a fingerprint", i + 1);
        };
        let fingerprint =
            parse_fingerprint(fingerprint).map_err(|e| anyhow::anyhow!("line {}: {e}", i + 1))?;
        if agency != own {
            pairs.push((agency.to_owned(), fingerprint));
        }
    }
    Ok(pairs)
}

/// All of them are checked before the first is pinned.
async fn pin(desk: &Desk, pairs: &[(String, String)]) -> anyhow::Result<()> {
    let mut known = desk.consent.peers.clone();
    for (agency, fingerprint) in pairs {
        AgencyName::new(agency.as_str())?;
        if *agency == desk.config.agency {
            bail!("{agency} is this agency itself; its key is in its own directory");
        }
        match known.insert(agency.clone(), fingerprint.clone()) {
            Some(pinned) if pinned != *fingerprint => bail!(
                "{agency} is pinned to {pinned}, not {fingerprint}. If its key was replaced and that \
                 agency itself says so: `agency-node peers remove {agency}`, then add it again"
            ),
            _ => {}
        }
    }
    for (agency, fingerprint) in pairs {
        if desk.consent.peers.contains_key(agency) {
            println!("{agency} was pinned before, to the same key");
            continue;
        }
        let row = PeerRow {
            agency: agency.clone(),
            fingerprint: fingerprint.clone(),
            how: "operator".into(),
            added: desk.now.0.clone(),
        };
        desk.record(&event("pinned", agency, fingerprint), Change::Pin(&row)).await?;
        println!("{agency} is pinned to {fingerprint}");
    }
    Ok(())
}

async fn list(desk: &Desk, json: bool) -> anyhow::Result<()> {
    let rows = desk.storage.peers().await?;
    if json {
        let row = |row: &PeerRow| {
            serde_json::json!({ "agency": row.agency, "fingerprint": row.fingerprint,
                "how": row.how, "added": row.added })
        };
        println!("{}", serde_json::to_string_pretty(&rows.iter().map(row).collect::<Vec<_>>())?);
        return Ok(());
    }
    println!("roster = {:?} in the policy", desk.policy.roster.name());
    for row in &rows {
        println!("{:<20} {}  {} ({})", row.agency, row.fingerprint, row.added, row.how);
    }
    if rows.is_empty() {
        println!(
            "no key is pinned; ask each agency for what `agency-node peers fingerprint` prints"
        );
    }
    Ok(())
}

async fn remove(desk: &Desk, agency: &str) -> anyhow::Result<()> {
    let Some(fingerprint) = desk.consent.peers.get(agency) else {
        bail!("no key of {agency} is pinned; see `agency-node peers list`");
    };
    desk.record(&event("removed", agency, fingerprint), Change::Unpin(agency)).await?;
    println!("the key of {agency} is not pinned any more");
    Ok(())
}

fn event(what: &str, agency: &str, fingerprint: &str) -> Event {
    let (what, agency, fingerprint) = (what.to_owned(), agency.to_owned(), fingerprint.to_owned());
    Event::Peer { what, agency, fingerprint, by: audit::operator() }
}
