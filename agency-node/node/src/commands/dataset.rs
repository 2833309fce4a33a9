//! `agency-node dataset`: what jobs may ask for, and what it may cost.

mod check;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use tributary_wire::DatasetName;

use super::{Dir, desk};
use crate::audit::{self, Event};
use crate::book::{Book, BudgetLimit, MIN_DELTA, ProtectedUnit};
use crate::data_dir::DataDir;
use crate::records::{Kind, Records};
use crate::session::timestamp;
use crate::storage::{DatasetRow, Source};
use crate::{twins, version};

/// From which account a new dataset pays.
#[derive(Debug, Clone)]
enum Terms {
    /// One of its own.
    Own(BudgetLimit),
    /// That of another dataset.
    Of(String),
}

/// Register and list the datasets that jobs may ask for.
#[derive(Debug, Subcommand)]
pub enum Dataset {
    /// Register a table under a name and open its privacy budget. The terms are for good.
    ///
    /// The file must be a table (CSV with a header in UTF-8, JSON lines, or Parquet) of at least one
    /// and, after the mapping's row filter, at most 1,048,576 rows. What its cells mean is a job's to
    /// say; see `dataset check`. The daemon must not run meanwhile.
    Add {
        #[command(flatten)]
        dir: Dir,
        /// The name that jobs use.
        #[arg(long)]
        name: String,
        /// The file. It is read in place and never copied.
        #[arg(long)]
        path: PathBuf,
        /// What the file is, if neither its name (.csv, .jsonl, .parquet) nor the mapping says.
        #[arg(long, value_parser = Kind::NAMES)]
        format: Option<String>,
        /// How its columns become those that jobs name: a TOML file, which is checked and kept here.
        /// `dataset map` replaces it later.
        #[arg(long, value_name = "MAPPING.toml")]
        mapping: Option<PathBuf>,
        /// The number of records that others are told, a public constant that scales averages.
        /// Without this flag it is derived from the table (its rows, rounded to two significant
        /// digits), and that much about the table becomes public outside any privacy budget: give
        /// a number that is known anyway if that matters.
        #[arg(long)]
        declared_records: Option<u64>,
        /// Most epsilon that all jobs together may ever spend on this dataset.
        #[arg(long, default_value_t = 4.0)]
        epsilon_limit: f64,
        /// Delta that this limit is stated for, at least 1e-9.
        #[arg(long, default_value_t = 1e-6)]
        delta: f64,
        /// Whose presence the budget hides: one record, all records of a person, or all that this
        /// agency holds. Jobs that protect less are refused.
        #[arg(long, value_enum, default_value_t)]
        unit: ProtectedUnit,
        /// Pay from the budget of this registered dataset instead: for copies, parts and extracts
        /// of it, and wherever the same people may be in both.
        #[arg(
            long,
            value_name = "NAME",
            conflicts_with_all = ["epsilon_limit", "delta", "unit"]
        )]
        shares_budget_with: Option<String>,
    },
    /// Check a registered table against a job file, cell by cell. Nothing is sent.
    ///
    /// Prints a report for your eyes alone: per column how many cells were read, missing, no numbers,
    /// out of the job's bounds or in none of its lists, and which rows would be skipped. Then says line
    /// and column of the first thing that is wrong: a row that cannot be read, text that is not
    /// UTF-8, a number that is not finite, a label that is neither value. The daemon does not stop
    /// at any of these, because its answer to a job must not depend on a record: it leaves out the
    /// row (or takes the number as missing) and says how often in its own log. So check here,
    /// before a job runs, whether the table means what the job thinks it means.
    Check {
        #[command(flatten)]
        dir: Dir,
        /// The registered name.
        #[arg(long)]
        name: String,
        /// The job file, TOML, as the central team gives it out.
        #[arg(long, value_name = "JOB.toml")]
        job: PathBuf,
        /// Try this mapping instead of the stored one.
        #[arg(long, value_name = "MAPPING.toml")]
        mapping: Option<PathBuf>,
        /// Also show cells that are in no list (codes of categories, labels and code tables).
        #[arg(long)]
        codes: bool,
    },
    /// Replace the mapping of a registered dataset. Its budget and terms stay as they are.
    ///
    /// The new mapping must fit the file; otherwise the old one stays. The daemon must not run
    /// meanwhile.
    Map {
        #[command(flatten)]
        dir: Dir,
        /// The registered name.
        #[arg(long)]
        name: String,
        /// The new mapping; without it the table is read as it is.
        #[arg(long, value_name = "MAPPING.toml")]
        mapping: Option<PathBuf>,
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
            Self::Add {
                dir,
                name,
                path,
                format,
                mapping,
                declared_records,
                epsilon_limit,
                delta,
                unit,
                shares_budget_with,
            } => {
                let name = DatasetName::new(name)?;
                let terms = match shares_budget_with {
                    Some(other) => Terms::Of(other),
                    None => Terms::Own(terms(epsilon_limit, delta)?.for_unit(unit)),
                };
                let dir = DataDir::open(&dir.data_dir)?;
                let _lock = dir.lock("dataset add")?;
                let path = std::fs::canonicalize(&path)
                    .with_context(|| format!("dataset file {}", path.display()))?;
                let mapping = mapping.as_deref().map(check::read_mapping).transpose()?;
                let source = Source { kind: format.unwrap_or_default(), mapping };
                let rows = rows(&path, &source)
                    .with_context(|| format!("{} is not registered", path.display()))?;
                let declared = declared_records.unwrap_or(rounded(rows));
                if declared == 0 {
                    bail!("--declared-records must be at least 1");
                }
                add(&dir, name.as_str(), &path, &source, declared, &terms).await?;
                if declared_records.is_none() {
                    println!(
                        "{name}: the number {declared} is derived from the table and is told to \
                         others; --declared-records sets one that is not"
                    );
                }
                Ok(())
            }
            Self::Check { dir, name, job, mapping, codes } => {
                let dir = DataDir::open(&dir.data_dir)?;
                let (storage, assets) = (dir.storage().await?, dir.assets());
                let (name, mapping) = (name.as_str(), mapping.as_deref());
                let check = check::Check { name, job: &job, mapping, codes, assets };
                check::check(&storage.datasets().await?, &check)
            }
            Self::Map { dir, name, mapping } => {
                let dir = DataDir::open(&dir.data_dir)?;
                let _lock = dir.lock("dataset map")?;
                check::map(&dir, &name, mapping.as_deref()).await
            }
            Self::List { dir } => {
                let storage = DataDir::open(&dir.data_dir)?.storage().await?;
                for row in storage.datasets().await? {
                    let how = Records::of(&row).map_or_else(|e| e, |r| r.description());
                    println!(
                        "{:<24} {:>12} declared  {} ({how})",
                        row.name, row.declared_records, row.path
                    );
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
    source: &Source,
    declared_records: u64,
    terms: &Terms,
) -> anyhow::Result<()> {
    let storage = dir.storage().await?;
    let mut book = Book::replay(&storage.book().await?)?;
    let content = twins::content_hash(path);
    let content = content.with_context(|| format!("reading {}", path.display()))?;
    let row = DatasetRow {
        name: name.to_owned(),
        path: path.to_str().context("the path is not UTF-8")?.to_owned(),
        declared_records,
        content: Some(content.clone()),
        source: source.clone(),
    };
    let known = storage.datasets().await?;
    if let Some(old) = known.iter().find(|d| d.name == name) {
        let same = (&old.path, old.declared_records) == (&row.path, row.declared_records);
        if !same || !holds(&book, name, terms) {
            bail!(
                "a dataset {name} is registered already, with another file, count or budget; its \
                 terms are for good"
            );
        }
        if old.source != *source {
            bail!(
                "{name} was registered before, with the same terms but another format or mapping: \
                 `dataset map` replaces a mapping"
            );
        }
        println!("{name} was registered before, with the same terms");
        return Ok(());
    }
    // The same records under two names must not have two budgets.
    for (other, how) in twins::twins(path, &content, &known) {
        if !shares(&book, terms, &other.name) {
            bail!(
                "{} {how}, as {}: one table has one budget. A second name for it is possible with \
                 --shares-budget-with {}",
                row.path,
                other.name,
                other.name
            );
        }
    }
    warn_of_overlaps(&book, &row, terms, &known);
    let (at, identity) = (timestamp(), dir.identity()?);
    // A book that was brought forward from an export knows datasets that the database does not.
    let entry = match terms {
        _ if holds(&book, name, terms) => None,
        Terms::Own(limit) => Some(book.register(name, *limit, &at, &identity)?),
        Terms::Of(other) => Some(book.share(name, other, &at, &identity)?),
    };
    storage.add_dataset(&row, entry.as_ref()).await?;
    let event = Event::DatasetAdded {
        dataset: name.to_owned(),
        declared_records,
        dataset_version: version::of_content(
            &content,
            &version::salted(source, &storage.salt().await?),
        ),
        by: audit::operator(),
    };
    desk::note(&storage, &event).await?;
    let account = book.account_of(name).unwrap_or(name);
    let status = book.status(name).context("the dataset has no budget")?;
    let whose = match account == name {
        true => "budget".to_owned(),
        false => format!("pays from the budget of {account}:"),
    };
    println!(
        "{name}: {} records declared to others; {whose} epsilon {} at delta {:e} per {}, over all jobs",
        row.declared_records, status.limit, status.delta, status.unit
    );
    Ok(())
}

/// Whether the book has a dataset on these terms.
fn holds(book: &Book, name: &str, terms: &Terms) -> bool {
    match terms {
        Terms::Own(limit) => book.datasets().get(name).is_some_and(|d| d.limit == *limit),
        Terms::Of(other) => {
            book.shared().contains_key(name) && book.account_of(name) == book.account_of(other)
        }
    }
}

/// Whether a dataset on these terms would pay from the account of another one.
fn shares(book: &Book, terms: &Terms, other: &str) -> bool {
    match terms {
        Terms::Own(_) => false,
        Terms::Of(with) => {
            let account = book.account_of(with);
            account.is_some() && account == book.account_of(other)
        }
    }
}

/// Tables with rows in common and budgets apart: perhaps the same people, perhaps chance.
fn warn_of_overlaps(book: &Book, row: &DatasetRow, terms: &Terms, known: &[DatasetRow]) {
    let Ok(records) = Records::of(row) else { return };
    for other in known.iter().filter(|other| !shares(book, terms, &other.name)) {
        let Ok(others) = Records::of(other) else { continue };
        let Ok(share) = twins::common_rows(&records, &others) else { continue };
        if share >= twins::NOTABLE {
            eprintln!(
                "warning: {:.0} % of the rows of the smaller table stand in {} too. If these are the \
                 same people, they now have two budgets, and nothing bounds the sum: use \
                 --shares-budget-with {}",
                share * 100.0,
                other.name,
                other.name
            );
        }
    }
}

/// Rows of a table that a job could use; refused if it is none.
fn rows(path: &Path, source: &Source) -> anyhow::Result<u64> {
    let kind = Kind::parse(&source.kind).map_err(anyhow::Error::msg)?;
    let records = Records::new(path.to_owned(), kind, source.mapping.as_deref());
    Ok(records.map_err(anyhow::Error::msg)?.check()?)
}

fn terms(epsilon: f64, delta: f64) -> anyhow::Result<BudgetLimit> {
    if delta.is_nan() || delta < MIN_DELTA {
        bail!(
            "--delta {delta:e}: must be at least {MIN_DELTA:e}; the failure probability of masking \
             and cryptography in every job counts against it"
        );
    }
    BudgetLimit::new(epsilon, delta).with_context(|| {
        format!("an epsilon limit of {epsilon} at delta {delta:e} leaves nothing to spend")
    })
}

/// Two significant digits, rounded up: a declared constant should not move with every record, and
/// clamp and lanes should fit all of them.
fn rounded(n: u64) -> u64 {
    let mut unit = 1;
    while n / unit >= 100 {
        unit *= 10;
    }
    n.div_ceil(unit) * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_counts_have_two_significant_digits() {
        let cases = [(0, 0), (7, 7), (99, 99), (101, 110), (46_849, 47_000), (99_600, 100_000)];
        for (n, expected) in cases {
            assert_eq!(rounded(n), expected, "{n}");
        }
    }

    #[test]
    fn a_delta_that_cannot_hold_the_other_terms_is_named() {
        let error = terms(2.0, 1e-10).unwrap_err().to_string();
        assert!(error.contains("at least 1e-9"), "{error}");
        assert!(terms(0.001, 1e-6).unwrap_err().to_string().contains("nothing to spend"));
        terms(2.0, 1e-6).unwrap();
    }

    #[tokio::test]
    async fn one_file_has_one_name_and_its_terms_are_for_good() {
        let (root, dir) = crate::fixtures::enrolled();
        let table = root.path().join("t.csv");
        std::fs::write(&table, "x,y\n1,0\n").unwrap();
        let limit = |epsilon| Terms::Own(terms(epsilon, 1e-6).unwrap());
        add(&dir, "a", &table, &Source::default(), 10, &limit(2.0)).await.unwrap();
        add(&dir, "a", &table, &Source::default(), 10, &limit(2.0)).await.unwrap();
        let other = add(&dir, "b", &table, &Source::default(), 10, &limit(2.0))
            .await
            .unwrap_err()
            .to_string();
        assert!(other.contains("as a: one table has one budget"), "{other}");
        let person = terms(2.0, 1e-6).unwrap().for_unit(ProtectedUnit::Person);
        for (count, terms) in [(11, limit(2.0)), (10, limit(3.0)), (10, Terms::Own(person))] {
            assert!(add(&dir, "a", &table, &Source::default(), count, &terms).await.is_err());
        }
        let storage = dir.storage().await.unwrap();
        assert_eq!(storage.datasets().await.unwrap().len(), 1);
        assert_eq!(storage.book().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_copy_gets_no_budget_of_its_own_but_may_share_one() {
        let (root, dir) = crate::fixtures::enrolled();
        let (table, copy) = (root.path().join("t.csv"), root.path().join("copy.csv"));
        std::fs::write(&table, "x,y\n1,0\n").unwrap();
        std::fs::copy(&table, &copy).unwrap();
        let own = Terms::Own(terms(2.0, 1e-6).unwrap());
        add(&dir, "a", &table, &Source::default(), 10, &own).await.unwrap();
        let refused =
            add(&dir, "b", &copy, &Source::default(), 10, &own).await.unwrap_err().to_string();
        assert!(refused.contains("is a copy of a file"), "{refused}");
        assert!(refused.contains("--shares-budget-with a"), "{refused}");
        let of = |name: &str| Terms::Of(name.into());
        assert!(add(&dir, "b", &copy, &Source::default(), 10, &of("none")).await.is_err());
        for _ in 0..2 {
            add(&dir, "b", &copy, &Source::default(), 10, &of("a")).await.unwrap();
        }
        // A name that shares leads to the same account.
        add(&dir, "c", &copy, &Source::default(), 10, &of("b")).await.unwrap();
        let storage = dir.storage().await.unwrap();
        let book = Book::replay(&storage.book().await.unwrap()).unwrap();
        assert_eq!((book.account_of("b"), book.account_of("c")), (Some("a"), Some("a")));
        assert_eq!(book.datasets().len(), 1);
        assert!(
            add(&dir, "b", &copy, &Source::default(), 10, &own).await.is_err(),
            "terms are for good"
        );
    }
}
