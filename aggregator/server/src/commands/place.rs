//! Where a command works: on the data directory of this machine, or at an aggregator elsewhere.

use std::path::PathBuf;

use anyhow::bail;

use crate::data_dir::DataDir;
use crate::remote::Remote;

/// On this machine, or elsewhere.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Directory with keys, state and configuration, made by `aggregator init`: works on this
    /// machine.
    #[arg(long, env = "TRIBUTARY_AGGREGATOR_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder with a role's certificate, made by `aggregator connect`: works at the aggregator that
    /// issued it, over the network. It wins over a data directory.
    #[arg(long, value_name = "DIR")]
    identity: Option<PathBuf>,
}

/// An opened [`Place`].
pub(super) enum Desk {
    /// The data directory.
    Local(DataDir),
    /// Another machine.
    Remote(Box<Remote>),
}

impl Place {
    pub(super) async fn open(&self) -> anyhow::Result<Desk> {
        match (&self.identity, &self.data_dir) {
            (Some(folder), _) => Ok(Desk::Remote(Box::new(Remote::open(folder).await?))),
            (None, Some(dir)) => Ok(Desk::Local(DataDir::open(dir)?)),
            (None, None) => bail!(
                "give --data-dir DIR on the aggregator's machine, or --identity DIR elsewhere \
                 (`aggregator connect` makes one)"
            ),
        }
    }
}
