//! `aggregator role` and `connect`: people with a role, who need no account on this machine.

use std::path::PathBuf;

use clap::Subcommand;
use tributary_store::Store;
use tributary_transport::{Member, PersonName, Role};
use tributary_wire::control::Revoke;

use super::Dir;
use super::node::{revoke, token};
use super::place::Place;
use crate::data_dir::DataDir;
use crate::remote;

/// Give people a role, or take it away.
#[derive(Debug, Subcommand)]
pub enum RoleCommand {
    /// Print a one-time token, as the last line, for one person with one role: operator (lets
    /// members in and out, ends jobs), researcher (submits jobs, takes models) or auditor (looks at
    /// everything).
    Token {
        #[command(flatten)]
        place: Place,
        /// operator, researcher or auditor. Operators only from the aggregator's own machine.
        #[arg(long)]
        role: String,
        /// The person's name: 1 to 63 of a-z, 0-9 and -.
        #[arg(long)]
        name: String,
        /// How long the token may be used.
        #[arg(long, default_value_t = 72, value_name = "HOURS")]
        valid_hours: u32,
    },
    /// List the people with a role.
    List {
        #[command(flatten)]
        dir: Dir,
    },
    /// Refuse a person from now on; live connections are closed.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// Role and name, as in researcher/ada.
        member: String,
    },
}

/// Turn a one-time token into a role's certificate, on one's own machine. The key never leaves it.
#[derive(Debug, clap::Args)]
pub struct Connect {
    /// The aggregator, https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    aggregator: String,
    /// File with the one-time token from the central team; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// The folder to make; later commands take it with --identity.
    #[arg(long, value_name = "DIR")]
    identity: PathBuf,
}

impl RoleCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Token { place, role, name, valid_hours } => {
                let role: Role = role.parse()?;
                let member = Member::Person(role, PersonName::new(name)?);
                token(&place, member, valid_hours).await
            }
            Self::List { dir } => {
                let store = DataDir::open(&dir.data_dir)?.store().await?;
                for person in store.persons().await? {
                    let state = if person.revoked_at.is_some() { "revoked" } else { "enrolled" };
                    println!("{:<32} {state}", person.member);
                }
                Ok(())
            }
            Self::Revoke { place, member } => {
                let member: Member = member.parse()?;
                if member.agency().is_some() {
                    anyhow::bail!(
                        "{member} is no role and name, as in researcher/ada; for an agency: \
                         `aggregator node revoke`"
                    );
                }
                revoke(&place, Revoke::Member(member)).await
            }
        }
    }
}

impl Connect {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        tributary_transport::install_provider();
        let token = remote::read_token(&self.token_file)?;
        remote::connect(&self.identity, self.aggregator, &token).await?;
        let folder = self.identity.display();
        println!("next: aggregator job list --identity {folder}");
        Ok(())
    }
}
