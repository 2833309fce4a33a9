//! `agency-node dataset`: what jobs may ask for, and what it may cost.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use tributary_job::JobSpec;
use tributary_training::Dataset as Table;
use tributary_wire::DatasetName;

use super::Dir;
use crate::book::{Book, BudgetLimit, MIN_DELTA};
use crate::data_dir::DataDir;
use crate::session::timestamp;
use crate::storage::DatasetRow;

/// Register and list the datasets that jobs may ask for.
#[derive(Debug, Subcommand)]
pub enum Dataset {
    /// Register a CSV file under a name and open its privacy budget. The terms are for good.
    ///
    /// The file must be a table: a header in UTF-8, at least one row, every row as long as the
    /// header, at most 1,048,576 rows. What its cells mean is a job's to say; see `dataset check`.
    /// The daemon must not run meanwhile.
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
    },
    /// Check a registered file against a job file, cell by cell. Nothing is sent.
    ///
    /// Says line and column of the first thing that is wrong: malformed CSV, text that is not
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
                let limit = terms(epsilon_limit, delta)?;
                let dir = DataDir::open(&dir.data_dir)?;
                let _lock = dir.lock("dataset add")?;
                let path = std::fs::canonicalize(&path)
                    .with_context(|| format!("dataset file {}", path.display()))?;
                let rows = tributary_training::check_structure(&path)
                    .with_context(|| format!("{} is not registered", path.display()))?;
                let declared = declared_records.unwrap_or(rounded(rows));
                if declared == 0 {
                    bail!("--declared-records must be at least 1");
                }
                add(&dir, name.as_str(), &path, declared, limit).await?;
                if declared_records.is_none() {
                    println!(
                        "{name}: the number {declared} is derived from the table and is told to \
                         others; --declared-records sets one that is not"
                    );
                }
                Ok(())
            }
            Self::Check { dir, name, job } => {
                let storage = DataDir::open(&dir.data_dir)?.storage().await?;
                check(&storage.datasets().await?, &name, &job)
            }
            Self::List { dir } => {
                let storage = DataDir::open(&dir.data_dir)?.storage().await?;
                for row in storage.datasets().await? {
                    println!(
                        "{:<24} {:>12} declared  {}",
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
    let known = storage.datasets().await?;
    if let Some(old) = known.iter().find(|d| d.name == name) {
        if *old != row || book.datasets().get(name).is_none_or(|d| d.limit != limit) {
            bail!(
                "a dataset {name} is registered already, with another file, count or budget; its \
                 terms are for good"
            );
        }
        println!("{name} was registered before, with the same terms");
        return Ok(());
    }
    // The same records under two names would have two budgets. (A copy of the file is not seen.)
    if let Some(other) = known.iter().find(|d| d.path == row.path) {
        bail!("{} is registered already, as {}: one table has one budget", row.path, other.name);
    }
    let entry = book.register(name, limit, &timestamp(), &dir.identity()?)?;
    storage.add_dataset(&row, &entry).await?;
    println!(
        "{name}: {} records declared to others; budget epsilon {} at delta {:e} per record, over all jobs",
        row.declared_records, limit.epsilon, limit.delta
    );
    Ok(())
}

/// Reads the table strictly, as the job describes it.
fn check(datasets: &[DatasetRow], name: &str, job: &Path) -> anyhow::Result<()> {
    let row = datasets
        .iter()
        .find(|d| d.name == name)
        .with_context(|| format!("no dataset {name} is registered; see `dataset list`"))?;
    let text = std::fs::read_to_string(job)
        .with_context(|| format!("reading the job file {}", job.display()))?;
    let spec = JobSpec::from_toml(&text)?;
    if spec.dataset != name {
        bail!("job {} asks for dataset {}, not {name}", spec.name, spec.dataset);
    }
    // The cap first: the strict reader's own is the trainer's, which is higher.
    let wrong = || format!("{}, read as job {} describes it", row.path, spec.name);
    tributary_training::check_structure(Path::new(&row.path)).with_context(wrong)?;
    let data = Table::load_csv(Path::new(&row.path), &spec.data).with_context(wrong)?;
    println!("{name} fits job {}: {} rows, none left out", spec.name, data.len());
    Ok(())
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
    use super::*;

    #[test]
    fn declared_counts_have_two_significant_digits() {
        let cases = [(0, 0), (7, 7), (99, 99), (101, 100), (46_849, 47_000), (99_600, 100_000)];
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

    #[test]
    fn a_check_says_line_and_column_of_what_the_daemon_would_leave_out() {
        let dir = tempfile::tempdir().unwrap();
        let (table, job) = (dir.path().join("t.csv"), dir.path().join("job.toml"));
        std::fs::write(&job, crate::fixtures::JOB).unwrap();
        let rows = [DatasetRow {
            name: "d".into(),
            path: table.to_str().unwrap().into(),
            declared_records: 10,
        }];
        let verdict = |text: &str| {
            std::fs::write(&table, text).unwrap();
            check(&rows, "d", &job).map_err(|e| format!("{e:#}"))
        };
        verdict("x,y\n1,0\n2,1\n").unwrap();
        for (text, words) in [
            ("x,y\n1,0\nNaN,1\n", ["line 3", "\"x\""]),
            ("x,y\n1,0\n2,maybe\n", ["line 3", "\"y\""]),
            ("x,y\n1,0\n2\n", ["line 3", "1 cells"]),
            ("z,y\n1,0\n", ["no column", "\"x\""]),
        ] {
            let error = verdict(text).unwrap_err();
            assert!(words.iter().all(|w| error.contains(w)), "{error}");
        }
        assert!(check(&rows, "e", &job).is_err());
    }

    #[tokio::test]
    async fn one_file_has_one_name_and_its_terms_are_for_good() {
        let (root, dir) = crate::fixtures::enrolled();
        let table = root.path().join("t.csv");
        std::fs::write(&table, "x,y\n1,0\n").unwrap();
        let limit = terms(2.0, 1e-6).unwrap();
        add(&dir, "a", &table, 10, limit).await.unwrap();
        add(&dir, "a", &table, 10, limit).await.unwrap();
        let other = add(&dir, "b", &table, 10, limit).await.unwrap_err().to_string();
        assert!(other.contains("as a: one table has one budget"), "{other}");
        for (count, limit) in [(11, limit), (10, terms(3.0, 1e-6).unwrap())] {
            assert!(add(&dir, "a", &table, count, limit).await.is_err());
        }
        let storage = dir.storage().await.unwrap();
        assert_eq!(storage.datasets().await.unwrap().len(), 1);
        assert_eq!(storage.book().await.unwrap().len(), 1);
    }
}
