//! `agency-node audit`: the node's own record of what was done here, by whom and when.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Subcommand;
use tributary_ledger::Head;
use tributary_secagg::VerifyingKey;

use super::{Dir, desk};
use crate::audit::{self, Checked};
use crate::data_dir::DataDir;

/// The node's own record of what was done here, by whom and when.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Print the hash-chained record as JSON lines, for an auditor and for the safe.
    Export {
        #[command(flatten)]
        dir: Dir,
    },
    /// Check the record: chain, signatures, and that its end is there.
    Verify {
        /// The data directory; may be left out for a file with --key.
        #[arg(
            long,
            env = "TRIBUTARY_NODE_DIR",
            value_name = "DIR",
            required_unless_present = "key"
        )]
        data_dir: Option<PathBuf>,
        /// Check this export instead of the record itself.
        #[arg(value_name = "AUDIT.jsonl")]
        file: Option<PathBuf>,
        /// The agency's signing key, hex: for an auditor who has no data directory.
        #[arg(long, value_name = "HEX", requires = "file")]
        key: Option<String>,
        /// Check also that the record contains this head, as it was printed earlier.
        #[arg(long, value_name = "LENGTH:HASH")]
        head: Option<String>,
    },
    /// Go on with a record of which entries are lost for good, and say so in it. The daemon must not
    /// run meanwhile.
    Recover {
        #[command(flatten)]
        dir: Dir,
        /// What happened.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

impl Audit {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Export { dir } => {
                let storage = DataDir::open(&dir.data_dir)?.storage_as_it_is().await?;
                if let Err(error) = storage.check_audit().await {
                    eprintln!("warning: {error}");
                }
                storage.audit_lines().await?.iter().for_each(|line| println!("{line}"));
                Ok(())
            }
            Self::Verify { data_dir, file, key, head } => {
                verify(data_dir.as_deref(), file.as_deref(), key.as_deref(), head.as_deref()).await
            }
            Self::Recover { dir, reason } => {
                ensure!(!reason.trim().is_empty(), "--reason: say what happened");
                let dir = DataDir::open(&dir.data_dir)?;
                let _lock = dir.lock("audit recover")?;
                let storage = dir.storage_as_it_is().await?;
                let at = desk::now(&storage).await?.0;
                let lost = storage.record_gap(&at, &reason, &audit::operator()).await?;
                println!(
                    "the record goes on; it says that entries up to {}:{} were lost",
                    lost.length, lost.hash
                );
                Ok(())
            }
        }
    }
}

async fn verify(
    dir: Option<&Path>,
    file: Option<&Path>,
    key: Option<&str>,
    head: Option<&str>,
) -> anyhow::Result<()> {
    let kept = head.map(|h| Head::parse(h).context("--head: expected LENGTH:HASH")).transpose()?;
    let dir = match (dir, key) {
        (Some(dir), None) => Some(DataDir::open(dir)?),
        _ => None,
    };
    let key = match (key, &dir) {
        (Some(key), _) => VerifyingKey::from_hex(key).context("--key: 64 hex digits")?,
        (None, Some(dir)) => dir.identity()?.verifying_key(),
        (None, None) => anyhow::bail!("give --data-dir, or a file and --key"),
    };
    let (lines, what) = match (file, &dir) {
        (Some(file), _) => {
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| format!("reading {}", file.display()))?;
            (text.lines().map(str::to_owned).collect(), file.display().to_string())
        }
        (None, Some(dir)) => {
            let storage = dir.storage_as_it_is().await?;
            storage.check_audit().await?;
            (storage.audit_lines().await?, "the audit record".to_owned())
        }
        (None, None) => anyhow::bail!("give --data-dir, or a file and --key"),
    };
    let Checked { head, gaps } = audit::check(&lines, &key, kept.as_ref())?;
    println!("{what} holds: {} entries, head {}:{}", head.length, head.length, head.hash);
    if gaps > 0 {
        println!("{gaps} times it says itself that earlier entries were lost (record-gap)");
    }
    if let (Some(_), Some(dir)) = (file, &dir) {
        // An export must be the beginning of what is here.
        let here = dir.storage_as_it_is().await?.audit_lines().await?;
        ensure!(
            lines.len() <= here.len() && lines.iter().zip(&here).all(|(a, b)| a == b),
            "{what} is not the beginning of this node's record"
        );
        println!("it is the beginning of this node's record, which has {} entries", here.len());
    }
    if kept.is_none() {
        println!("keep a note of the head off this machine; --head checks against it");
    }
    Ok(())
}
