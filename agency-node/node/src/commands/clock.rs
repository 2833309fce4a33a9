//! `agency-node clock`: the time that the node goes by.

use clap::Subcommand;

use super::{Dir, desk};
use crate::audit::{self, Event};
use crate::data_dir::DataDir;
use crate::session::timestamp;
use crate::storage::Change;

/// The time that the node goes by.
#[derive(Debug, Subcommand)]
pub enum Clock {
    /// Show the system's time and the highest time that this node has seen.
    Show {
        #[command(flatten)]
        dir: Dir,
    },
    /// Take the system's time although the node has seen a later one: where the clock had been wrong.
    /// The daemon must not run meanwhile. Approvals that have ended in that wrong time are valid again.
    Accept {
        #[command(flatten)]
        dir: Dir,
    },
}

impl Clock {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Show { dir } => {
                let storage = DataDir::open(&dir.data_dir)?.storage_as_it_is().await?;
                println!("the system's clock: {}", timestamp());
                println!("this node goes by:  {}", desk::now(&storage).await?.0);
                Ok(())
            }
            Self::Accept { dir } => {
                let dir = DataDir::open(&dir.data_dir)?;
                let _lock = dir.lock("clock accept")?;
                let storage = dir.storage_as_it_is().await?;
                let before = storage.highest_time().await?.unwrap_or_default();
                let at = timestamp();
                // Recorded under the later time first: the record's own times never go back unseen.
                let event = Event::Operator {
                    command: "clock accept".into(),
                    outcome: format!("the highest time was {before}, from here on it is {at}"),
                    by: audit::operator(),
                };
                storage.record(&at, &event, Change::None).await?;
                storage.set_time(&at).await?;
                println!("this node goes by {at} (it had seen {before})");
                Ok(())
            }
        }
    }
}
