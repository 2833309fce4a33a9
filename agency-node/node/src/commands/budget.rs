//! `agency-node budget`: what each dataset's records have cost so far, and the evidence for it.

use clap::Subcommand;

use super::Dir;
use super::plan::PlanArgs;
use crate::book::Book;
use crate::data_dir::DataDir;

/// Look at what has been spent of each dataset's privacy budget.
#[derive(Debug, Subcommand)]
pub enum Budget {
    /// Spent, reserved and left, per dataset.
    Show {
        #[command(flatten)]
        dir: Dir,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say whether a job would fit into what is left, and what would. Changes nothing.
    Plan(PlanArgs),
    /// Print the hash-chained book as JSON lines, for an auditor.
    Export {
        #[command(flatten)]
        dir: Dir,
    },
    /// Check the book's chain, signatures and sums.
    Verify {
        #[command(flatten)]
        dir: Dir,
    },
}

impl Budget {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Show { dir, json } => {
                let storage = DataDir::open(&dir.data_dir)?.storage().await?;
                show(&Book::replay(&storage.book().await?)?, json)
            }
            Self::Plan(args) => args.run().await,
            Self::Export { dir } => {
                let storage = DataDir::open(&dir.data_dir)?.storage().await?;
                storage.book_lines().await?.iter().for_each(|line| println!("{line}"));
                Ok(())
            }
            Self::Verify { dir } => {
                let dir = DataDir::open(&dir.data_dir)?;
                let storage = dir.storage().await?;
                let text = storage.book_lines().await?.join("\n");
                let key = dir.identity()?.verifying_key().0;
                let head = tributary_ledger::verify_lines(text.as_bytes(), &key, |_| {})?;
                Book::replay(&storage.book().await?)?;
                println!("the budget book holds: {} entries, head {}", head.length, head.hash);
                Ok(())
            }
        }
    }
}

fn show(book: &Book, json: bool) -> anyhow::Result<()> {
    if json {
        let all: std::collections::BTreeMap<_, _> =
            book.datasets().keys().filter_map(|name| Some((name, book.status(name)?))).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    for (name, account) in book.datasets() {
        let Some(s) = book.status(name) else { continue };
        println!(
            "{name}: epsilon {:.3} spent, {:.3} with reservations, of {} (delta {:e}, unit: one \
             record, add/remove; {:.0} % of the budget; {} open jobs)",
            s.spent,
            s.committed,
            s.limit,
            s.delta,
            s.share * 100.0,
            account.open.len()
        );
        if s.unprotected {
            println!("{name}: no bound: exact sums have left (mode none)");
        }
    }
    Ok(())
}
