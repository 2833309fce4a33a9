//! The embedded default: one SQLite file in WAL mode, every commit synced.
//!
//! The daemon and the operator's command line open the same file at the same time; SQLite's own
//! locks order them.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Row, Sqlite, Transaction};

use crate::Store;
use crate::identity;
use crate::model::{
    Agency, Certificate, CertificateRefusal, CertifiedState, Commit, Job, JobHead, JobState,
    NewCertificate, Person, Refused, StoreError, TokenRefusal, Trusting,
};

/// Valid certificates that one member may have at a time.
pub const MAX_VALID: i64 = 16;

/// [`Store`] on a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, makes it if absent, and brings its schema up to date.
    ///
    /// # Errors
    /// If the file cannot be opened or its schema is newer than this software.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(20));
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        sqlx::migrate!().run(&pool).await?;
        Ok(Self { pool })
    }

    /// Closes the file, checkpointing the log.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Writes a consistent copy of the whole state into a new file, whatever goes on meanwhile, and
    /// checks it.
    ///
    /// # Errors
    /// If there is such a file already, or it cannot be written.
    pub async fn snapshot(&self, path: &Path) -> Result<(), StoreError> {
        let text = path.to_str().ok_or(StoreError::Corrupt("path of the copy: not UTF-8"))?;
        sqlx::query("VACUUM INTO ?").bind(text).execute(&self.pool).await?;
        let copy = SqliteConnectOptions::new().filename(path).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(copy).await?;
        let row = sqlx::query("PRAGMA integrity_check").fetch_one(&pool).await?;
        let found: String = row.try_get(0)?;
        pool.close().await;
        if found == "ok" { Ok(()) } else { Err(StoreError::Corrupt("the copy that was made")) }
    }

    /// A write transaction takes the write lock at once, so that it cannot fail halfway for it.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

impl Store for SqliteStore {
    async fn put_token(
        &self,
        secret_hash: &[u8; 32],
        member: &str,
        expires_at: i64,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO token (secret_hash, agency, expires_at) VALUES (?, ?, ?)")
            .bind(secret_hash.as_slice())
            .bind(member)
            .bind(expires_at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn enrol(
        &self,
        secret_hash: &[u8; 32],
        signing_key: Option<&[u8; 32]>,
        certificate: &NewCertificate,
        now: i64,
    ) -> Result<Result<String, TokenRefusal>, StoreError> {
        let mut tx = self.begin().await?;
        let enrolled = identity::enrol(&mut tx, secret_hash, signing_key, certificate, now).await?;
        if enrolled.is_ok() {
            tx.commit().await?;
        }
        Ok(enrolled)
    }

    async fn renewed(
        &self,
        certificate: &NewCertificate,
        now: i64,
    ) -> Result<Result<(), CertificateRefusal>, StoreError> {
        let mut tx = self.begin().await?;
        let renewed = identity::renew(&mut tx, certificate, now).await?;
        if renewed.is_ok() {
            tx.commit().await?;
        }
        Ok(renewed)
    }

    async fn seen(&self, certificate: &NewCertificate, now: i64) -> Result<(), StoreError> {
        identity::insert(&self.pool, certificate, now).await
    }

    async fn certificate(&self, key: &[u8; 32]) -> Result<Option<Certificate>, StoreError> {
        identity::certificate(&self.pool, key).await
    }

    async fn certificates(&self) -> Result<Vec<Certificate>, StoreError> {
        identity::certificates(&self.pool).await
    }

    async fn trusts(&self, member: &str, authorities: &str, now: i64) -> Result<(), StoreError> {
        identity::trusts(&self.pool, member, authorities, now).await
    }

    async fn trusting(&self) -> Result<Vec<Trusting>, StoreError> {
        identity::trusting(&self.pool).await
    }

    async fn persons(&self) -> Result<Vec<Person>, StoreError> {
        identity::persons(&self.pool).await
    }

    async fn refused(&self, now: i64) -> Result<Refused, StoreError> {
        identity::refused(&self.pool, now).await
    }

    async fn agencies(&self) -> Result<Vec<Agency>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, signing_key, enrolled_at, revoked_at FROM agency ORDER BY name",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let key: Vec<u8> = row.try_get(1)?;
                Ok(Agency {
                    name: row.try_get(0)?,
                    signing_key: key
                        .try_into()
                        .map_err(|_| StoreError::Corrupt("agency.signing_key"))?,
                    enrolled_at: row.try_get(2)?,
                    revoked_at: row.try_get(3)?,
                })
            })
            .collect()
    }

    async fn revoke(&self, member: &str, now: i64) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let found = identity::revoke(&mut tx, member, now).await?;
        tx.commit().await?;
        Ok(found)
    }

    async fn revoke_certificate(&self, serial: &str, now: i64) -> Result<u64, StoreError> {
        identity::revoke_certificate(&self.pool, serial, now).await
    }

    async fn submit(
        &self,
        id: &str,
        name: &str,
        specification: &str,
        submitter: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO job (id, name, specification, submitter, submitted_at, state)
             VALUES (?, ?, ?, ?, ?, 'waiting')",
        )
        .bind(id)
        .bind(name)
        .bind(specification)
        .bind(submitter)
        .bind(now)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn jobs(&self) -> Result<Vec<Job>, StoreError> {
        let rows = sqlx::query("SELECT * FROM job ORDER BY submitted_at, id")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(job_of_row).collect()
    }

    async fn open_jobs(&self) -> Result<Vec<JobHead>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, state FROM job WHERE state IN ('waiting', 'training')
             ORDER BY submitted_at, id",
        )
        .fetch_all(&self.pool)
        .await?;
        let head = |row: &SqliteRow| {
            let state = row.try_get::<String, _>(1)?.parse()?;
            Ok(JobHead { id: row.try_get(0)?, state })
        };
        rows.iter().map(head).collect()
    }

    async fn job_state(&self, id: &str) -> Result<Option<(JobState, String)>, StoreError> {
        let row = sqlx::query("SELECT state, reason FROM job WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok((row.try_get::<String, _>(0)?.parse()?, row.try_get(1)?))).transpose()
    }

    async fn job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        let row = sqlx::query("SELECT * FROM job WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(job_of_row).transpose()
    }

    async fn commit(&self, job: &str, commit: &Commit) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let (state, reason) = match &commit.state {
            Some((state, reason)) => (Some(state.to_string()), Some(reason.as_str())),
            None => (None, None),
        };
        let updated = sqlx::query(
            // What is over stays over: a cancellation is not overwritten by a step in flight.
            "UPDATE job SET
                 reason = CASE WHEN state IN ('done', 'failed') THEN reason
                               ELSE coalesce(?2, reason) END,
                 state = CASE WHEN state IN ('done', 'failed') THEN state
                              ELSE coalesce(?1, state) END,
                 progress = coalesce(?3, progress), manifest = coalesce(?4, manifest),
                 snapshot = coalesce(?5, snapshot) WHERE id = ?6",
        )
        .bind(state)
        .bind(reason)
        .bind(&commit.progress)
        .bind(&commit.manifest)
        .bind(&commit.snapshot)
        .bind(job)
        .execute(&mut *tx)
        .await?;
        if updated.rows_affected() == 0 {
            return Err(StoreError::UnknownJob(job.to_owned()));
        }
        for (sequence, line) in &commit.record {
            let sequence =
                i64::try_from(*sequence).map_err(|_| StoreError::Corrupt("record.sequence"))?;
            sqlx::query("INSERT INTO record (job, sequence, line) VALUES (?, ?, ?)")
                .bind(job)
                .bind(sequence)
                .bind(line)
                .execute(&mut *tx)
                .await?;
        }
        if let Some((round, lanes)) = &commit.sum {
            sqlx::query("INSERT INTO published_sum (job, round, lanes) VALUES (?, ?, ?)")
                .bind(job)
                .bind(round)
                .bind(lanes)
                .execute(&mut *tx)
                .await?;
        }
        if let Some(CertifiedState { round, bytes, certificate }) = &commit.certified {
            sqlx::query(
                "INSERT INTO state (job, round, bytes, certificate) VALUES (?, ?, ?, ?)
                 ON CONFLICT (job) DO UPDATE SET round = excluded.round,
                     bytes = excluded.bytes, certificate = excluded.certificate",
            )
            .bind(job)
            .bind(round)
            .bind(bytes)
            .bind(certificate)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn record(&self, job: &str) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query("SELECT line FROM record WHERE job = ? ORDER BY sequence")
            .bind(job)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?)
    }

    async fn append_own<F>(&self, make: F) -> Result<(), StoreError>
    where
        F: FnOnce(Option<&str>) -> Result<(u64, String), StoreError> + Send,
    {
        let mut tx = self.begin().await?;
        let last = sqlx::query("SELECT line FROM own_record ORDER BY sequence DESC LIMIT 1")
            .fetch_optional(&mut *tx)
            .await?;
        let last: Option<String> = last.map(|row| row.try_get(0)).transpose()?;
        let (sequence, line) = make(last.as_deref())?;
        let sequence = i64::try_from(sequence).map_err(|_| StoreError::Corrupt("own_record"))?;
        sqlx::query("INSERT INTO own_record (sequence, line) VALUES (?, ?)")
            .bind(sequence)
            .bind(line)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn own_record(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query("SELECT line FROM own_record ORDER BY sequence")
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?)
    }

    async fn sums(&self, job: &str) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let rows =
            sqlx::query("SELECT round, lanes FROM published_sum WHERE job = ? ORDER BY round")
                .bind(job)
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?))).collect()
    }

    async fn state(&self, job: &str) -> Result<Option<CertifiedState>, StoreError> {
        let row = sqlx::query("SELECT round, bytes, certificate FROM state WHERE job = ?")
            .bind(job)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|r| {
            Ok(CertifiedState {
                round: r.try_get(0)?,
                bytes: r.try_get(1)?,
                certificate: r.try_get(2)?,
            })
        })
        .transpose()
    }
}

fn job_of_row(row: &SqliteRow) -> Result<Job, StoreError> {
    Ok(Job {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        specification: row.try_get("specification")?,
        submitted_at: row.try_get("submitted_at")?,
        submitter: row.try_get("submitter")?,
        state: row.try_get::<String, _>("state")?.parse::<JobState>()?,
        reason: row.try_get("reason")?,
        progress: row.try_get("progress")?,
        manifest: row.try_get("manifest")?,
        snapshot: row.try_get("snapshot")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sqlite_passes_the_conformance_suite() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("a.db")).await.unwrap();
        crate::conformance::suite(&store).await;
    }

    #[tokio::test]
    async fn everything_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let store = SqliteStore::open(&path).await.unwrap();
        store.submit("j", "n", "spec", "local", 5).await.unwrap();
        let commit = Commit { record: vec![(0, "line".into())], ..Commit::default() };
        store.commit("j", &commit).await.unwrap();
        store.close().await;
        let again = SqliteStore::open(&path).await.unwrap();
        assert_eq!(again.record("j").await.unwrap(), ["line"]);
    }

    #[tokio::test]
    async fn a_copy_is_whole_while_others_write() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("a.db")).await.unwrap();
        store.submit("j", "n", "spec", "local", 5).await.unwrap();
        let writer = store.clone();
        let writes = tokio::spawn(async move {
            for i in 0..200_u64 {
                let record = vec![(i, format!("line {i}"))];
                writer.commit("j", &Commit { record, ..Commit::default() }).await.unwrap();
            }
        });
        let copy = dir.path().join("copy.db");
        while store.record("j").await.unwrap().len() < 20 {}
        store.snapshot(&copy).await.unwrap();
        writes.await.unwrap();
        assert!(store.snapshot(&copy).await.is_err(), "nothing is overwritten");
        let copied = SqliteStore::open(&copy).await.unwrap().record("j").await.unwrap();
        assert!((20..=200).contains(&copied.len()), "{}", copied.len());
        for (i, line) in copied.iter().enumerate() {
            assert_eq!(*line, format!("line {i}"), "a record without a gap");
        }
    }

    /// The schema of version 0.1.0, filled, opened by this version.
    #[tokio::test]
    async fn a_database_of_the_previous_schema_is_brought_up_to_date_with_everything_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
        let mut previous = sqlx::migrate!();
        let old: Vec<_> = previous.migrations.iter().filter(|m| m.version <= 1).cloned().collect();
        assert_eq!(old.len(), 1);
        previous.migrations = old.into();
        previous.run(&pool).await.unwrap();
        for statement in [
            "INSERT INTO agency VALUES ('nih', x'0101010101010101010101010101010101010101010101010101010101010101', 7, NULL)",
            "INSERT INTO job VALUES ('j', 'toy', 'name = 1', 5, 'training', '', '{}', '{}', x'02')",
            "INSERT INTO record VALUES ('j', 0, 'line 0')",
            "INSERT INTO published_sum VALUES ('j', 0, x'03')",
            "INSERT INTO state VALUES ('j', 1, x'04', x'05')",
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        pool.close().await;
        let store = SqliteStore::open(&path).await.unwrap();
        let agency = store.agencies().await.unwrap().remove(0);
        assert_eq!((agency.name.as_str(), agency.enrolled_at), ("nih", 7));
        let job = store.job("j").await.unwrap().unwrap();
        assert_eq!((job.state, job.submitter.as_str()), (JobState::Training, "local"));
        assert_eq!(store.record("j").await.unwrap(), ["line 0"]);
        assert_eq!(store.sums("j").await.unwrap(), [(0, vec![3])]);
        assert_eq!(store.state("j").await.unwrap().unwrap().certificate, [5]);
        assert_eq!(store.own_record().await.unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn a_schema_from_the_future_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let store = SqliteStore::open(&path).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'future', 1, x'00', 0)",
        )
        .execute(&store.pool)
        .await
        .unwrap();
        store.close().await;
        assert!(matches!(SqliteStore::open(&path).await, Err(StoreError::Migration(_))));
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_an_error_and_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        std::fs::write(&path, b"something of somebody's that is no database at all").unwrap();
        assert!(SqliteStore::open(&path).await.is_err());
        assert!(std::fs::read(&path).unwrap().starts_with(b"something"));
    }
}
