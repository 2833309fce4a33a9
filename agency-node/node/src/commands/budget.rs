//! `agency-node budget`: what each dataset's records have cost so far, and the evidence for it.

use std::path::PathBuf;

use clap::Subcommand;

use super::plan::PlanArgs;
use super::{Dir, book, desk};
use crate::audit::{self, Event};
use crate::data_dir::DataDir;

/// Look at what has been spent of each dataset's privacy budget.
#[derive(Debug, Subcommand)]
pub enum Budget {
    /// Spent, reserved and left, per dataset, and the head of the book.
    Show {
        #[command(flatten)]
        dir: Dir,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say whether a job would fit into what is left, and what would. Changes nothing.
    Plan(PlanArgs),
    /// Print the hash-chained book as JSON lines, for an auditor and for the safe.
    Export {
        #[command(flatten)]
        dir: Dir,
    },
    /// Check the book's chain, signatures and sums, and that it is the newest.
    Verify {
        #[command(flatten)]
        dir: Dir,
        /// Check also that this earlier export is the beginning of the book.
        #[arg(long, value_name = "BOOK.jsonl")]
        export: Option<PathBuf>,
        /// Check also that the book contains this head, as `budget show` prints it.
        #[arg(long, value_name = "LENGTH:HASH")]
        head: Option<String>,
    },
    /// Check an exported book with an agency's signing key alone, and show what it adds up to.
    Audit {
        /// The export.
        #[arg(value_name = "BOOK.jsonl")]
        file: PathBuf,
        /// The agency's signing key, hex.
        #[arg(long)]
        key: String,
    },
    /// Mend a book that is behind its head file, after an older database was put back. The daemon
    /// must not run meanwhile; a job in progress is ended here.
    Recover {
        #[command(flatten)]
        dir: Dir,
        #[command(flatten)]
        how: Recover,
    },
}

/// How to mend it.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Recover {
    /// Put the missing entries back from the newest export.
    #[arg(long, value_name = "BOOK.jsonl")]
    export: Option<PathBuf>,
    /// The missing entries are lost for good: let every budget count as spent.
    #[arg(long)]
    write_off: bool,
    /// The head file is lost: the book is the newest if its head is this one, which was kept
    /// elsewhere.
    #[arg(long, value_name = "LENGTH:HASH")]
    accept_head: Option<String>,
}

impl Budget {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Show { dir, json } => book::show(&DataDir::open(&dir.data_dir)?, json).await,
            Self::Plan(args) => args.run().await,
            Self::Export { dir } => book::export(&DataDir::open(&dir.data_dir)?).await,
            Self::Verify { dir, export, head } => {
                let dir = DataDir::open(&dir.data_dir)?;
                book::verify(&dir, export.as_deref(), head.as_deref()).await
            }
            Self::Audit { file, key } => book::audit(&file, &key),
            Self::Recover { dir, how } => {
                let dir = DataDir::open(&dir.data_dir)?;
                let _lock = dir.lock("budget recover")?;
                let what = match how {
                    Recover { export: Some(file), .. } => {
                        book::recover_from(&dir, &file).await?;
                        "entries were put back from an export"
                    }
                    Recover { accept_head: Some(head), .. } => {
                        book::accept_head(&dir, &head).await?;
                        "the book's head was accepted anew"
                    }
                    Recover { .. } => {
                        book::write_off(&dir).await?;
                        "every budget counts as spent"
                    }
                };
                let (command, outcome) = ("budget recover".to_owned(), what.to_owned());
                let event = Event::Operator { command, outcome, by: audit::operator() };
                desk::note(&dir.storage_as_it_is().await?, &event).await
            }
        }
    }
}
