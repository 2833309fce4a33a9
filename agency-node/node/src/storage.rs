//! Durable state of a node: one SQLite file in WAL mode, every commit synced, and the heads of the
//! budget book and of the audit record in files beside it.
//!
//! Opaque to meaning: it keeps lines and bytes. A write that fails (disk full, read-only) is an
//! error that stops the node before anything is sent.

mod audit;
mod checkpoints;
mod consent;
mod source;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use tributary_ledger::Entry;
use tributary_secagg::Identity;

use crate::anchor::{self, Anchor, AnchorError};
use crate::audit::Event;
use crate::audit::head::{HeadError, HeadFile};
use crate::engine::{Kept, Record, StoredJob};

pub use consent::Change;

pub use source::Source;

/// The database file inside a node's data directory.
pub const FILE: &str = "node.db";

/// Durable state.
#[derive(Debug, Clone)]
pub struct Storage {
    pool: SqlitePool,
    anchor: Anchor,
    audit_head: HeadFile,
    /// Signs entries of the audit record.
    signer: Option<Arc<Identity>>,
}

/// Where records become durable.
pub trait Durable {
    /// Makes a record durable: when this returns `Ok` it survives a crash.
    ///
    /// # Errors
    /// If it cannot; then nothing that depends on it may be sent.
    fn persist(&self, record: &Record) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Appends an entry to the audit record, durably.
    ///
    /// # Errors
    /// If it cannot; then nothing that depends on it may be done.
    fn note(
        &self,
        at: &str,
        event: &Event,
    ) -> impl Future<Output = Result<(), StorageError>> + Send;
}

/// A registered dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetRow {
    /// Its name.
    pub name: String,
    /// The file.
    pub path: String,
    /// The public constant N_i.
    pub declared_records: u64,
    /// Hash of the file's bytes at registration, hex; `None` if version 0.1 registered it. Never
    /// leaves the agency.
    pub content: Option<String>,
    /// How its records are read.
    pub source: Source,
}

/// The database refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database.
    #[error(
        "state database: {0}; nothing was sent that is not recorded. Free disk space, fix the \
             permissions or restore a damaged file from a backup, then start the node again"
    )]
    Database(sqlx::Error),
    /// The schema is from a newer version or was tampered with.
    #[error("state database: {0}; was it written by a newer version?")]
    Migration(sqlx::migrate::MigrateError),
    /// A stored value is not what this software writes.
    #[error("state database: corrupt {0}; restore it from a backup")]
    Corrupt(String),
    /// The budget book is not the newest, or its head cannot be written down.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The audit record is not the newest, or its head cannot be written down.
    #[error(transparent)]
    AuditHead(#[from] HeadError),
    /// A gap where there is none.
    #[error("the audit record is whole: there is nothing to recover")]
    AuditWhole,
    /// An entry of the audit record without the node's signing key.
    #[error("an entry of the audit record needs the node's signing key, and it cannot be read")]
    NoSigner,
}

// Said in full by the message: a source beside it would be said a second time.
impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<sqlx::migrate::MigrateError> for StorageError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migration(error)
    }
}

impl Storage {
    /// Opens the file in the data directory, makes it if absent, and brings its schema up to date.
    /// Whether its book is the newest is [`Storage::check_anchor`]'s to say.
    ///
    /// # Errors
    /// If it cannot be opened or written, or its schema is newer than this software.
    pub async fn open(data_dir: &Path) -> Result<Self, StorageError> {
        let path = data_dir.join(FILE);
        restrict(&path).map_err(|e| StorageError::Database(sqlx::Error::Io(e)))?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(20));
        // One connection for good: `data_version` compares what one and the same connection has seen.
        let pool =
            SqlitePoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        let pool = pool.connect_with(options).await?;
        sqlx::migrate!().run(&pool).await?;
        let (anchor, audit_head) = (Anchor::in_dir(data_dir), HeadFile::in_dir(data_dir));
        Ok(Self { pool, anchor, audit_head, signer: None })
    }

    /// With the key that signs entries of the audit record.
    #[must_use]
    pub fn with_signer(self, signer: Option<Arc<Identity>>) -> Self {
        Self { signer, ..self }
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Appends an entry of the budget book; an existing sequence number is an error.
    ///
    /// # Errors
    /// From the database.
    pub async fn append_book(&self, entry: &Entry) -> Result<(), StorageError> {
        let mut both = self.pool.begin().await?;
        insert_entry(&mut both, entry).await?;
        both.commit().await?;
        self.advance(Some(entry))
    }

    /// Whether the budget book is the newest, as far as its head outside the database can tell.
    ///
    /// # Errors
    /// [`StorageError::Anchor`] says what to do.
    pub async fn check_anchor(&self) -> Result<(), StorageError> {
        let head = self.anchor.read()?;
        let since = sqlx::query("SELECT since FROM anchor").fetch_optional(&self.pool).await?;
        let since = since.map(|row| row.try_get::<i64, _>(0)).transpose()?;
        let since = since.map(u64::try_from).transpose();
        let since = since.map_err(|_| StorageError::Corrupt("anchor".into()))?;
        Ok(self.anchor.check(head, &self.book().await?, since)?)
    }

    /// The book's head outside the database.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// After the database, before anything that depends on the entry.
    fn advance(&self, entry: Option<&Entry>) -> Result<(), StorageError> {
        match entry {
            Some(entry) => Ok(self.anchor.advance(&anchor::head_after(entry))?),
            None => Ok(()),
        }
    }

    /// Appends entries, all or none, and sets the book's head outside the database to the last one:
    /// for an operator who mends a book.
    ///
    /// # Errors
    /// From the database or the file system.
    pub async fn append_all(&self, entries: &[Entry]) -> Result<(), StorageError> {
        let mut all = self.pool.begin().await?;
        for entry in entries {
            insert_entry(&mut all, entry).await?;
        }
        all.commit().await?;
        match entries.last() {
            Some(last) => Ok(self.anchor.set(&anchor::head_after(last))?),
            None => Ok(()),
        }
    }

    /// Registers a dataset with its account: both, or neither. Without an entry if the book has one
    /// already.
    ///
    /// # Errors
    /// From the database, also if the name is taken.
    pub async fn add_dataset(
        &self,
        row: &DatasetRow,
        entry: Option<&Entry>,
    ) -> Result<(), StorageError> {
        let declared = i64::try_from(row.declared_records)
            .map_err(|_| StorageError::Corrupt("declared records".into()))?;
        let mut both = self.pool.begin().await?;
        let insert = "INSERT INTO dataset (name, path, declared_records, content, source, mapping) \
                      VALUES (?, ?, ?, ?, ?, ?)";
        sqlx::query(insert)
            .bind(&row.name)
            .bind(&row.path)
            .bind(declared)
            .bind(&row.content)
            .bind(&row.source.kind)
            .bind(&row.source.mapping)
            .execute(&mut *both)
            .await?;
        if let Some(entry) = entry {
            insert_entry(&mut both, entry).await?;
        }
        both.commit().await?;
        self.advance(entry)
    }

    /// The budget book's lines in order.
    ///
    /// # Errors
    /// From the database.
    pub async fn book_lines(&self) -> Result<Vec<String>, StorageError> {
        let rows =
            sqlx::query("SELECT line FROM book ORDER BY sequence").fetch_all(&self.pool).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// The budget book's entries in order.
    ///
    /// # Errors
    /// From the database, or if a line is not an entry.
    pub async fn book(&self) -> Result<Vec<Entry>, StorageError> {
        let lines = self.book_lines().await?;
        let parse = |(i, line): (usize, &String)| {
            serde_json::from_str(line)
                .map_err(|e| StorageError::Corrupt(format!("budget book entry {i}: {e}")))
        };
        lines.iter().enumerate().map(parse).collect()
    }

    /// Registered datasets by name.
    ///
    /// # Errors
    /// From the database.
    pub async fn datasets(&self) -> Result<Vec<DatasetRow>, StorageError> {
        let select = "SELECT name, path, declared_records, content, source, mapping FROM dataset \
                      ORDER BY name";
        let rows = sqlx::query(select).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                Ok(DatasetRow {
                    name: row.try_get(0)?,
                    path: row.try_get(1)?,
                    declared_records: u64::try_from(row.try_get::<i64, _>(2)?)
                        .map_err(|_| StorageError::Corrupt("declared records".into()))?,
                    content: row.try_get(3)?,
                    source: Source { kind: row.try_get(4)?, mapping: row.try_get(5)? },
                })
            })
            .collect()
    }

    /// The job in progress, if any.
    ///
    /// # Errors
    /// From the database.
    pub async fn open_job(&self) -> Result<Option<StoredJob>, StorageError> {
        let row = sqlx::query(
            "SELECT manifest, epoch, state, certificate, answered_epoch, answered_restart, control \
             FROM job WHERE outcome IS NULL LIMIT 1",
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let state: Option<Vec<u8>> = row.try_get(2)?;
        let certificate: Option<Vec<u8>> = row.try_get(3)?;
        let (epoch, restart): (Option<i64>, Option<i64>) = (row.try_get(4)?, row.try_get(5)?);
        let answered = match (epoch.map(u32::try_from), restart.map(u8::try_from)) {
            (Some(Ok(epoch)), Some(Ok(restart))) => Some((epoch, restart)),
            (None, None) => None,
            _ => return Err(StorageError::Corrupt("answered epoch".into())),
        };
        Ok(Some(StoredJob {
            manifest: row.try_get(0)?,
            epoch: row.try_get(1)?,
            state: state.zip(certificate),
            answered,
            control: row.try_get(6)?,
        }))
    }
}

impl Durable for Storage {
    async fn persist(&self, record: &Record) -> Result<(), StorageError> {
        match record {
            Record::Book(entry) => self.append_book(entry).await?,
            Record::Accepted { entry, job, manifest } => {
                let mut both = self.pool.begin().await?;
                if let Some(entry) = entry {
                    insert_entry(&mut both, entry).await?;
                }
                // A job that is known already is an error: one that ended must not come back.
                sqlx::query("INSERT INTO job (hash, manifest) VALUES (?, ?)")
                    .bind(job)
                    .bind(manifest)
                    .execute(&mut *both)
                    .await?;
                both.commit().await?;
                self.advance(entry.as_ref())?;
            }
            Record::Epoch { job, secret } => {
                sqlx::query("UPDATE job SET epoch = ? WHERE hash = ?")
                    .bind(secret.0.as_slice())
                    .bind(job)
                    .execute(&self.pool)
                    .await?;
            }
            Record::Answered { job, number: (epoch, restart) } => {
                sqlx::query(
                    "UPDATE job SET answered_epoch = ?, answered_restart = ? WHERE hash = ?",
                )
                .bind(i64::from(*epoch))
                .bind(i64::from(*restart))
                .bind(job)
                .execute(&self.pool)
                .await?;
            }
            Record::State { job, state, certificate, control } => {
                // One statement: state and control variate are of the same round, or neither moves.
                sqlx::query(
                    "UPDATE job SET state = ?, certificate = ?, control = COALESCE(?, control) \
                     WHERE hash = ?",
                )
                .bind(state)
                .bind(certificate)
                .bind(control.as_ref().map(|control| control.0.as_slice()))
                .bind(job)
                .execute(&self.pool)
                .await?;
            }
            Record::Control { job, control } => {
                sqlx::query("UPDATE job SET control = ? WHERE hash = ?")
                    .bind(control.0.as_slice())
                    .bind(job)
                    .execute(&self.pool)
                    .await?;
            }
            Record::Checkpoint { job, length, head, signature, conflict } => {
                let kept = Kept {
                    length: *length,
                    head: *head,
                    signature: *signature,
                    conflict: conflict.clone(),
                };
                checkpoints::keep(&self.pool, job, &kept).await?;
            }
            Record::Ended { entry, job, outcome } => {
                let mut both = self.pool.begin().await?;
                if let Some(entry) = entry {
                    insert_entry(&mut both, entry).await?;
                }
                // The keys of a job that is over are of no further use to anybody honest, nor is what
                // it derived from records.
                let over =
                    "UPDATE job SET outcome = ?, epoch = NULL, control = NULL WHERE hash = ?";
                sqlx::query(over).bind(outcome).bind(job).execute(&mut *both).await?;
                both.commit().await?;
                self.advance(entry.as_ref())?;
                self.close_request(job, outcome).await?;
            }
            Record::Requested { job, manifest, at } => {
                self.open_request((job, manifest), at).await?
            }
            Record::RequestClosed { job, outcome } => self.close_request(job, outcome).await?,
            Record::Pinned(row) => self.pin_first_use(row).await?,
        }
        Ok(())
    }

    async fn note(&self, at: &str, event: &Event) -> Result<(), StorageError> {
        self.record(at, event, Change::None).await
    }
}

async fn insert_entry(to: &mut SqliteConnection, entry: &Entry) -> Result<(), StorageError> {
    let corrupt = |what: &str| StorageError::Corrupt(what.to_owned());
    let sequence = i64::try_from(entry.sequence).map_err(|_| corrupt("book sequence"))?;
    let line = entry.to_line().map_err(|e| StorageError::Corrupt(e.to_string()))?;
    sqlx::query("INSERT INTO book (sequence, line) VALUES (?, ?)")
        .bind(sequence)
        .bind(line)
        .execute(&mut *to)
        .await?;
    sqlx::query("INSERT OR IGNORE INTO anchor (id, since) VALUES (1, ?)")
        .bind(sequence)
        .execute(to)
        .await?;
    Ok(())
}

/// Makes the file before SQLite does, readable by its owner alone.
fn restrict(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path).map(drop)
}

#[cfg(test)]
mod kill;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Secret;

    fn entry(sequence: u64) -> Entry {
        Entry {
            sequence,
            at: String::new(),
            kind: "test".into(),
            body: serde_json::Value::Null,
            previous: String::new(),
            hash: format!("{sequence:064x}"),
            signature: String::new(),
        }
    }

    fn accepted(sequence: u64, job: &str) -> Record {
        Record::Accepted { entry: Some(entry(sequence)), job: job.into(), manifest: "{}".into() }
    }

    #[tokio::test]
    async fn jobs_and_datasets_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path()).await.unwrap();
        let (name, path) = ("d".into(), "/x.csv".into());
        let source = Source { kind: "jsonl".into(), mapping: Some("missing = []".into()) };
        let row = DatasetRow { name, path, declared_records: 9, content: Some("0".into()), source };
        storage.add_dataset(&row, Some(&entry(0))).await.unwrap();
        assert!(storage.add_dataset(&row, Some(&entry(1))).await.is_err(), "a name is given once");
        storage.persist(&accepted(1, "j")).await.unwrap();
        let control = |byte| Some(Secret(vec![byte].into()));
        let state = |byte, control| Record::State {
            job: "j".into(),
            state: vec![byte],
            certificate: vec![2],
            control,
        };
        storage.persist(&state(8, control(3))).await.unwrap();
        storage.persist(&state(1, None)).await.unwrap();
        let open = storage.open_job().await.unwrap().unwrap();
        assert_eq!((open.state.unwrap().0, open.control), (vec![1], Some(vec![3])), "it stays");
        let ahead = Record::Control { job: "j".into(), control: control(4).unwrap() };
        storage.persist(&ahead).await.unwrap();
        assert_eq!(storage.open_job().await.unwrap().unwrap().answered, None);
        let answered = Record::Answered { job: "j".into(), number: (3, 1) };
        storage.persist(&answered).await.unwrap();
        storage.close().await;
        let storage = Storage::open(dir.path()).await.unwrap();
        assert_eq!(storage.datasets().await.unwrap(), [row]);
        let open = storage.open_job().await.unwrap().unwrap();
        assert_eq!(open.state, Some((vec![1], vec![2])));
        assert_eq!((open.answered, open.control), (Some((3, 1)), Some(vec![4])));
        let (entry, job) = (Some(entry(2)), "j".to_owned());
        let ended = Record::Ended { entry, job, outcome: "done".into() };
        storage.persist(&ended).await.unwrap();
        assert!(storage.open_job().await.unwrap().is_none());
        let left = sqlx::query("SELECT control IS NULL AND epoch IS NULL FROM job");
        let left = left.fetch_one(&storage.pool).await.unwrap();
        assert!(left.get::<bool, _>(0), "nothing of it is kept");
        assert_eq!(storage.book_lines().await.unwrap().len(), 3);
        // A job that ended does not come back, whatever asks for it.
        assert!(storage.persist(&accepted(3, "j")).await.is_err());
        assert!(storage.open_job().await.unwrap().is_none());
    }

    /// The schema of version 0.1.0, filled, opened by this version.
    #[tokio::test]
    async fn a_database_of_the_previous_schema_is_brought_up_to_date_with_everything_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(dir.path().join(FILE));
        let pool = SqlitePoolOptions::new().connect_with(options.create_if_missing(true));
        let pool = pool.await.unwrap();
        let mut previous = sqlx::migrate!();
        let old: Vec<_> = previous.migrations.iter().filter(|m| m.version <= 3).cloned().collect();
        assert_eq!(old.len(), 3);
        previous.migrations = old.into();
        previous.run(&pool).await.unwrap();
        let line = entry(0).to_line().unwrap();
        for statement in [
            &format!("INSERT INTO book VALUES (0, '{line}')"),
            "INSERT INTO dataset VALUES ('d', '/x.csv', 9, NULL)",
            "INSERT INTO job VALUES ('j', '{}', x'01', x'02', x'03', NULL, 3, 1)",
            "INSERT INTO anchor VALUES (1, 0)",
        ] {
            sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
        }
        pool.close().await;
        let storage = Storage::open(dir.path()).await.unwrap();
        assert_eq!(storage.book().await.unwrap(), [entry(0)]);
        assert_eq!(storage.datasets().await.unwrap()[0].declared_records, 9);
        let job = storage.open_job().await.unwrap().unwrap();
        assert_eq!((job.epoch, job.answered), (Some(vec![1]), Some((3, 1))));
        assert_eq!((job.state, job.control), (Some((vec![2], vec![3])), None));
        assert_eq!(storage.checkpoints("j").await.unwrap(), []);
    }

    #[tokio::test]
    async fn checkpoints_are_kept_also_those_that_contradict() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path()).await.unwrap();
        let checkpoint = |length, head, conflict: Option<&str>| Record::Checkpoint {
            job: "j".into(),
            length,
            head: [head; 32],
            signature: [7; 64],
            conflict: conflict.map(str::to_owned),
        };
        for record in [
            checkpoint(3, 1, None),
            checkpoint(3, 1, None),
            checkpoint(5, 2, None),
            checkpoint(3, 9, Some("rewritten")),
        ] {
            storage.persist(&record).await.unwrap();
        }
        let kept = storage.checkpoints("j").await.unwrap();
        let seen: Vec<_> =
            kept.iter().map(|k| (k.length, k.head[0], k.conflict.is_some())).collect();
        assert_eq!(seen, [(3, 1, false), (3, 9, true), (5, 2, false)]);
        assert_eq!(storage.checkpointed_jobs().await.unwrap(), ["j"]);
    }

    #[tokio::test]
    async fn a_job_and_its_reservation_are_durable_together_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path()).await.unwrap();
        storage.persist(&accepted(0, "j")).await.unwrap();
        // The entry's number is taken: the job must not be there without it.
        assert!(storage.persist(&accepted(0, "k")).await.is_err());
        storage.persist(&accepted(1, "k")).await.unwrap();
        // The job is there already: its second reservation must not be.
        assert!(storage.persist(&accepted(2, "k")).await.is_err());
        assert_eq!(storage.book_lines().await.unwrap().len(), 2);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_file_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let _storage = Storage::open(dir.path()).await.unwrap();
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
