//! `aggregator audit`: the aggregator's own record of who did what and when.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Subcommand;
use tributary_ledger::Head;
use tributary_secagg::VerifyingKey;
use tributary_store::Store;

use super::Dir;
use crate::audit;
use crate::data_dir::DataDir;

/// The aggregator's own record of who did what and when. What rounds did is in each job's evidence.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Print the hash-chained record as JSON lines.
    Export {
        #[command(flatten)]
        dir: Dir,
    },
    /// Check chain and signatures of the record, or of an export of it.
    Verify {
        /// The data directory; may be left out for a file with --key.
        #[arg(
            long,
            env = "TRIBUTARY_AGGREGATOR_DIR",
            value_name = "DIR",
            required_unless_present = "key"
        )]
        data_dir: Option<PathBuf>,
        /// Check this export instead of the record itself.
        #[arg(value_name = "AUDIT.jsonl")]
        file: Option<PathBuf>,
        /// The aggregator's signing key, hex, as agencies have pinned it: for an auditor who has no
        /// data directory.
        #[arg(long, value_name = "HEX", requires = "file")]
        key: Option<String>,
        /// Check also that the record contains this head, as it was printed earlier: only that shows
        /// that its end is there.
        #[arg(long, value_name = "LENGTH:HASH")]
        head: Option<String>,
    },
}

impl Audit {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Export { dir } => {
                let store = DataDir::open(&dir.data_dir)?.store().await?;
                store.own_record().await?.iter().for_each(|line| println!("{line}"));
                Ok(())
            }
            Self::Verify { data_dir, file, key, head } => {
                let kept = head.map(|text| Head::parse(&text).context("--head: LENGTH:HASH"));
                let kept = kept.transpose()?;
                let dir = data_dir.as_deref().map(DataDir::open).transpose()?;
                let key = match (key, &dir) {
                    (Some(key), _) => {
                        VerifyingKey::from_hex(&key).context("--key: 64 hex digits")?
                    }
                    (None, Some(dir)) => dir.identity()?.verifying_key(),
                    (None, None) => anyhow::bail!("give --data-dir, or a file and --key"),
                };
                let here = match &dir {
                    Some(dir) => dir.store().await?.own_record().await?,
                    None => Vec::new(),
                };
                let lines = match &file {
                    Some(file) => {
                        let text = std::fs::read_to_string(file)
                            .with_context(|| format!("reading {}", file.display()))?;
                        text.lines().map(str::to_owned).collect()
                    }
                    None => here.clone(),
                };
                let head = audit::check(&lines, &key, kept.as_ref())?;
                println!(
                    "the record holds: {} entries, head {}:{}",
                    head.length, head.length, head.hash
                );
                if file.is_some() && dir.is_some() {
                    ensure!(
                        here.starts_with(&lines),
                        "what is in the file is not the beginning of this aggregator's record"
                    );
                    println!("it is the beginning of this aggregator's record of {}", here.len());
                }
                if kept.is_none() {
                    println!("keep a note of the head off this machine; --head checks against it");
                }
                Ok(())
            }
        }
    }
}
