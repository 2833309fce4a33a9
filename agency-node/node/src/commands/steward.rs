//! `agency-node steward`: whose signature counts as an approval.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use tributary_secagg::{Identity, VerifyingKey};

use super::Dir;
use super::desk::{Desk, Passphrase};
use crate::audit::{self, Event};
use crate::consent::{StewardKey, StewardRow, check_name};
use crate::storage::Change;

/// Whose signature counts as an approval.
#[derive(Debug, Subcommand)]
pub enum Steward {
    /// Make a key for a data steward and register its public half.
    ///
    /// The key file is the steward's: it belongs where they and nobody else can read it, not into the
    /// node's directory. What they may approve stands in the policy, under approval.stewards.
    Add {
        #[command(flatten)]
        dir: Dir,
        /// The steward's name, as in the policy.
        name: String,
        /// The key file to make.
        #[arg(
            long,
            value_name = "FILE",
            conflicts_with = "public",
            required_unless_present = "public"
        )]
        key: Option<PathBuf>,
        #[command(flatten)]
        passphrase: Passphrase,
        /// Leave the key file unsealed; it is readable by its owner alone.
        #[arg(long, conflicts_with_all = ["passphrase_file", "public"])]
        no_passphrase: bool,
        /// Register a key that was made elsewhere (`steward key`): its public half in hex.
        #[arg(long, value_name = "HEX", conflicts_with = "passphrase_file")]
        public: Option<String>,
    },
    /// Make a key file on the steward's own machine, and print its public half for `steward add
    /// --public`. Needs no data directory.
    Key {
        /// The steward's name, as in the policy.
        name: String,
        /// The key file to make.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
        /// Leave the key file unsealed; it is readable by its owner alone.
        #[arg(long, conflicts_with = "passphrase_file")]
        no_passphrase: bool,
    },
    /// List the registered stewards and what the policy lets each approve.
    List {
        #[command(flatten)]
        dir: Dir,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove a steward. Every approval that they gave is void at once.
    Remove {
        #[command(flatten)]
        dir: Dir,
        /// The steward.
        name: String,
    },
}

impl Steward {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { dir, name, key, passphrase, no_passphrase, public } => {
                check_name(&name).map_err(anyhow::Error::msg)?;
                let desk = Desk::open(&dir).await?;
                ensure!(
                    !desk.consent.stewards.contains_key(&name),
                    "a steward {name} is registered already; `agency-node steward remove {name}` \
                     first, which voids their approvals"
                );
                let public = match (public, key) {
                    (Some(public), _) => VerifyingKey::from_hex(&public)
                        .context("--public: the public half of a key, 64 hex digits")?,
                    (None, Some(path)) => make(&name, &path, &passphrase, no_passphrase)?,
                    (None, None) => bail!("give --key FILE or --public HEX"),
                };
                add(&desk, name, public).await
            }
            Self::Key { name, key, passphrase, no_passphrase } => {
                check_name(&name).map_err(anyhow::Error::msg)?;
                let public = make(&name, &key, &passphrase, no_passphrase)?;
                println!("{public}");
                Ok(())
            }
            Self::List { dir, json } => list(&Desk::open(&dir).await?, json).await,
            Self::Remove { dir, name } => remove(&Desk::open(&dir).await?, &name).await,
        }
    }
}

/// Makes a key file, never over another one.
fn make(
    name: &str,
    path: &Path,
    passphrase: &Passphrase,
    no_passphrase: bool,
) -> anyhow::Result<VerifyingKey> {
    let passphrase = passphrase.read()?;
    ensure!(
        passphrase.is_some() || no_passphrase,
        "seal the key file with --passphrase-file FILE (`-` reads standard input), or say \
         --no-passphrase: then it is readable by its owner alone and by whoever copies it"
    );
    ensure!(!path.exists(), "{} is there already; nothing was changed", path.display());
    let key = StewardKey { name: name.to_owned(), identity: Identity::generate()? };
    key.save(path, passphrase.as_deref().map(String::as_str))?;
    let sealed = if passphrase.is_some() { "sealed with the passphrase" } else { "NOT sealed" };
    eprintln!("{}: the key of {name}, {sealed}, mode 0600", path.display());
    Ok(key.identity.verifying_key())
}

async fn add(desk: &Desk, name: String, key: VerifyingKey) -> anyhow::Result<()> {
    if let Some((other, _)) = desk.consent.stewards.iter().find(|(_, known)| **known == key) {
        bail!("this key is registered already, as {other}'s");
    }
    let row = StewardRow { name: name.clone(), key, added: desk.now.0.clone() };
    desk.record(&event("added", &row.name, &key), Change::AddSteward(&row)).await?;
    println!("{name} is registered with the key {}", key.fingerprint());
    match desk.policy.approval.stewards.get(&name) {
        Some(sets) => println!("the policy lets {name} approve jobs on {}", sets.join(", ")),
        None => println!(
            "the policy does not name {name} yet: add them under approval.stewards and restart the node"
        ),
    }
    Ok(())
}

async fn list(desk: &Desk, json: bool) -> anyhow::Result<()> {
    let rows = desk.storage.stewards().await?;
    let may = |name: &str| desk.policy.approval.stewards.get(name).cloned().unwrap_or_default();
    if json {
        let row = |row: &StewardRow| {
            serde_json::json!({ "name": row.name, "fingerprint": row.key.fingerprint(),
                "key": row.key.to_string(), "added": row.added, "may_approve": may(&row.name) })
        };
        println!("{}", serde_json::to_string_pretty(&rows.iter().map(row).collect::<Vec<_>>())?);
        return Ok(());
    }
    if rows.is_empty() {
        println!("no data steward is registered; see `agency-node steward add --help`");
    }
    for row in &rows {
        let may = may(&row.name);
        let may = if may.is_empty() { "nothing, by the policy".to_owned() } else { may.join(", ") };
        println!("{:<20} {}  may approve: {may}", row.name, row.key.fingerprint());
    }
    Ok(())
}

async fn remove(desk: &Desk, name: &str) -> anyhow::Result<()> {
    let Some(key) = desk.consent.stewards.get(name) else {
        bail!("no steward {name} is registered; see `agency-node steward list`");
    };
    desk.record(&event("removed", name, key), Change::RemoveSteward(name)).await?;
    println!("{name} is removed; what they approved is void");
    Ok(())
}

fn event(what: &str, name: &str, key: &VerifyingKey) -> Event {
    let (what, steward, by) = (what.to_owned(), name.to_owned(), audit::operator());
    Event::Steward { what, steward, steward_key: key.fingerprint(), by }
}
