//! `agency-node dataset`: what jobs may ask for, and what it may cost.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use tributary_wire::DatasetName;

use super::Dir;
use crate::book::{Book, BudgetLimit};
use crate::data_dir::DataDir;
use crate::session::timestamp;
use crate::storage::DatasetRow;

/// Register and list the datasets that jobs may ask for.
#[derive(Debug, Subcommand)]
pub enum Dataset {
    /// Register a CSV file under a name and open its privacy budget. The terms are for good.
    Add {
        #[command(flatten)]
        dir: Dir,
        /// The name that jobs use.
        #[arg(long)]
        name: String,
        /// The file: CSV with a header line. It is read in place and never copied.
        #[arg(long)]
        path: PathBuf,
        /// The number of records that others are told, a public constant that scales averages.
        /// Without it: the file's records rounded to two significant digits.
        #[arg(long)]
        declared_records: Option<u64>,
        /// Most epsilon that all jobs together may ever spend on this dataset.
        #[arg(long, default_value_t = 4.0)]
        epsilon_limit: f64,
        /// Delta that this limit is stated for.
        #[arg(long, default_value_t = 1e-6)]
        delta: f64,
    },
    /// List the datasets.
    List {
        #[command(flatten)]
        dir: Dir,
    },
}

impl Dataset {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { dir, name, path, declared_records, epsilon_limit, delta } => {
                let name = DatasetName::new(name)?;
                let limit = BudgetLimit::new(epsilon_limit, delta).with_context(|| {
                    format!("an epsilon limit of {epsilon_limit} at delta {delta:e} leaves nothing to spend")
                })?;
                let path = std::fs::canonicalize(&path)
                    .with_context(|| format!("dataset file {}", path.display()))?;
                let declared = match declared_records {
                    Some(n) => n,
                    None => rounded(count(&path)?),
                };
                if declared == 0 {
                    bail!("{} has no records", path.display());
                }
                let dir = DataDir::open(&dir.data_dir)?;
                add(&dir, name.as_str(), &path, declared, limit).await
            }
            Self::List { dir } => {
                let storage = DataDir::open(&dir.data_dir)?.storage().await?;
                for row in storage.datasets().await? {
                    println!("{:<24} {:>12} declared  {}", row.name, row.declared_records, row.path);
                }
                Ok(())
            }
        }
    }
}

async fn add(
    dir: &DataDir,
    name: &str,
    path: &Path,
    declared_records: u64,
    limit: BudgetLimit,
) -> anyhow::Result<()> {
    let storage = dir.storage().await?;
    let mut book = Book::replay(&storage.book().await?)?;
    let row = DatasetRow {
        name: name.to_owned(),
        path: path.to_str().context("the path is not UTF-8")?.to_owned(),
        declared_records,
    };
    if !storage.add_dataset(&row).await? {
        bail!("a dataset {name} is registered already, with another file or count");
    }
    if book.datasets().get(name).is_some_and(|d| d.limit == limit) {
        println!("{name} was registered before, with the same terms");
        return Ok(());
    }
    let entry = book.register(name, limit, &timestamp(), &dir.identity()?)?;
    storage.append_book(&entry).await?;
    println!(
        "{name}: {} records declared to others; budget epsilon {} at delta {:e} per record, over all jobs",
        row.declared_records, limit.epsilon, limit.delta
    );
    Ok(())
}

/// Data lines of a CSV file, counted as lines; a job's loading checks them properly.
fn count(path: &Path) -> anyhow::Result<u64> {
    let file = std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut lines = 0u64;
    for line in BufReader::new(file).split(b'\n') {
        lines += u64::from(!line?.is_empty());
    }
    Ok(lines.saturating_sub(1))
}

/// Two significant digits: a declared constant should not move with every record.
fn rounded(n: u64) -> u64 {
    let mut unit = 1;
    while n / unit >= 100 {
        unit *= 10;
    }
    (n + unit / 2) / unit * unit
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn declared_counts_have_two_significant_digits() {
        let cases = [(0, 0), (7, 7), (99, 99), (101, 100), (46_849, 47_000), (99_600, 100_000)];
        for (n, expected) in cases {
            assert_eq!(rounded(n), expected, "{n}");
        }
    }
}
