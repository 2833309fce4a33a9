//! Appending to the audit record: one entry and the change that it is about, both durable or neither.
//!
//! Daemon and commands write to one record, so an entry is made under a lock of the data directory, from
//! the last line in the database, and its head is written outside before the lock ends.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use tributary_ledger::{Chain, Entry, Head};

use super::consent::{Change, apply};
use super::{Storage, StorageError};
use crate::audit::Event;
use crate::audit::head::{HeadError, HeadFile};

impl Storage {
    /// Appends an entry to the audit record, and makes a change with it.
    ///
    /// # Errors
    /// If either cannot be made durable, the record is not the newest, or there is no key to sign with.
    pub async fn record(
        &self,
        at: &str,
        event: &Event,
        change: Change<'_>,
    ) -> Result<(), StorageError> {
        let signer = self.signer.clone().ok_or(StorageError::NoSigner)?;
        let _lock = locked(&self.audit_head).await?;
        let mut both = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let head = newest(&mut both, &self.audit_head).await?;
        apply(&mut both, change).await?;
        let at = later(&mut both, at).await?;
        let mut chain = Chain::resume(head);
        let body = event.to_body().map_err(StorageError::Corrupt)?;
        let entry = chain.append(&at, event.kind(), body, |bytes| signer.sign(bytes));
        let entry = entry.map_err(|e| StorageError::Corrupt(e.to_string()))?;
        insert(&mut both, &entry).await?;
        both.commit().await?;
        Ok(self.audit_head.set(chain.head())?)
    }

    /// The audit record's lines in order.
    ///
    /// # Errors
    /// From the database.
    pub async fn audit_lines(&self) -> Result<Vec<String>, StorageError> {
        let select = "SELECT line FROM audit ORDER BY sequence";
        let rows = sqlx::query(select).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// The newest lines of the audit record, the newest last.
    ///
    /// # Errors
    /// From the database.
    pub async fn audit_tail(&self, most: u32) -> Result<Vec<String>, StorageError> {
        let select = "SELECT line FROM audit ORDER BY sequence DESC LIMIT ?";
        let rows = sqlx::query(select).bind(most).fetch_all(&self.pool).await?;
        Ok(rows.iter().rev().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// Whether the audit record is the newest, as far as its head outside the database can tell.
    ///
    /// # Errors
    /// What is wrong, with what to do.
    pub async fn check_audit(&self) -> Result<(), StorageError> {
        let _lock = locked(&self.audit_head).await?;
        let mut connection = self.pool.acquire().await?;
        newest(&mut connection, &self.audit_head).await.map(drop)
    }

    /// Goes on with a record of which entries are lost: says so in it.
    ///
    /// # Errors
    /// If the record is whole, or the entry cannot be made durable.
    pub async fn record_gap(&self, at: &str, reason: &str, by: &str) -> Result<Head, StorageError> {
        let lost = {
            let _lock = locked(&self.audit_head).await?;
            let mut connection = self.pool.acquire().await?;
            match newest(&mut connection, &self.audit_head).await {
                Ok(_) => return Err(StorageError::AuditWhole),
                Err(StorageError::AuditHead(HeadError::Behind { head, .. })) => head,
                Err(StorageError::AuditHead(HeadError::Missing { .. })) => Head::default(),
                Err(other) => return Err(other),
            }
        };
        // An empty head holds for every record: the next entry begins from what there is.
        self.audit_head.set(&Head::default())?;
        let (reason, by) = (reason.to_owned(), by.to_owned());
        let gap = Event::RecordGap { lost: lost.clone(), reason, by };
        self.record(at, &gap, Change::None).await?;
        Ok(lost)
    }

    /// The audit record's head outside the database.
    pub fn audit_head(&self) -> &HeadFile {
        &self.audit_head
    }
}

/// The lock, waited for on another thread: this one may be what its holder waits for.
async fn locked(head: &HeadFile) -> Result<std::fs::File, StorageError> {
    let head = head.clone();
    match tokio::task::spawn_blocking(move || head.lock()).await {
        Ok(lock) => Ok(lock?),
        Err(error) => Err(StorageError::Corrupt(error.to_string())),
    }
}

/// Where the record ends, if it is the newest.
async fn newest(from: &mut SqliteConnection, file: &HeadFile) -> Result<Head, StorageError> {
    let last = "SELECT line FROM audit ORDER BY sequence DESC LIMIT 1";
    let last = sqlx::query(last).fetch_optional(&mut *from).await?;
    let head = match last {
        None => Head::default(),
        Some(row) => {
            let entry = parse(&row.try_get::<String, _>(0)?)?;
            Head { length: entry.sequence + 1, hash: entry.hash }
        }
    };
    let kept = file.read()?;
    let at = match &kept {
        Some(kept) if *kept == head => Some(kept.hash.clone()),
        Some(kept) => hash_at(from, kept.length).await?,
        None => None,
    };
    file.check(kept, head.length, at.as_deref())?;
    Ok(head)
}

async fn hash_at(from: &mut SqliteConnection, length: u64) -> Result<Option<String>, StorageError> {
    let Some(sequence) = length.checked_sub(1).and_then(|at| i64::try_from(at).ok()) else {
        return Ok(None);
    };
    let select = sqlx::query("SELECT line FROM audit WHERE sequence = ?").bind(sequence);
    match select.fetch_optional(from).await? {
        Some(row) => Ok(Some(parse(&row.try_get::<String, _>(0)?)?.hash)),
        None => Ok(None),
    }
}

fn parse(line: &str) -> Result<Entry, StorageError> {
    serde_json::from_str(line).map_err(|e| StorageError::Corrupt(format!("audit record: {e}")))
}

async fn insert(to: &mut SqliteConnection, entry: &Entry) -> Result<(), StorageError> {
    let corrupt = |what: String| StorageError::Corrupt(what);
    let sequence = i64::try_from(entry.sequence).map_err(|e| corrupt(e.to_string()))?;
    let line = entry.to_line().map_err(|e| corrupt(e.to_string()))?;
    sqlx::query("INSERT INTO audit (sequence, line) VALUES (?, ?)")
        .bind(sequence)
        .bind(line)
        .execute(to)
        .await?;
    Ok(())
}

/// The later of a time and the highest that was seen; both are in one form and compare as text.
async fn later(to: &mut SqliteConnection, at: &str) -> Result<String, StorageError> {
    super::consent::saw(to, at).await?;
    let row = sqlx::query("SELECT highest FROM clock").fetch_one(to).await?;
    Ok(row.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit;
    use crate::fixtures::enrolled;

    const AT: &str = "2026-01-01T00:00:00Z";

    fn event(n: u32) -> Event {
        Event::RoundCertified { job: "ab".into(), round: n, attempt: 0, survivors: Vec::new() }
    }

    async fn delete(storage: &Storage, sequence: i64) {
        let delete = sqlx::query("DELETE FROM audit WHERE sequence = ?").bind(sequence);
        delete.execute(&storage.pool).await.unwrap();
    }

    #[tokio::test]
    async fn a_cut_end_is_noticed_stops_everything_and_can_only_be_gone_on_with_in_the_open() {
        let (_root, dir) = enrolled();
        let storage = dir.storage().await.unwrap();
        for n in 0..4 {
            storage.record(AT, &event(n), Change::None).await.unwrap();
        }
        assert!(storage.record_gap(AT, "nothing", "root").await.is_err(), "nothing is lost");
        delete(&storage, 3).await;
        let error = storage.check_audit().await.unwrap_err().to_string();
        assert!(error.contains("entries at its end are missing"), "{error}");
        assert!(storage.record(AT, &event(9), Change::None).await.is_err());
        let lost = storage.record_gap(AT, "the disk was full", "root").await.unwrap();
        assert_eq!(lost.length, 4);
        storage.record(AT, &event(5), Change::None).await.unwrap();
        storage.check_audit().await.unwrap();
        let key = dir.identity().unwrap().verifying_key();
        let lines = storage.audit_lines().await.unwrap();
        let checked = audit::check(&lines, &key, storage.audit_head().read().unwrap().as_ref());
        assert_eq!(checked.unwrap().gaps, 1);
        // A head that was noted before the cut is not in it.
        assert!(audit::check(&lines, &key, Some(&lost)).is_err());
        // Without the head file nobody can tell.
        std::fs::remove_file(storage.audit_head().path()).unwrap();
        let error = storage.check_audit().await.unwrap_err().to_string();
        assert!(error.contains("audit recover"), "{error}");
        storage.record_gap(AT, "audit.head was deleted", "root").await.unwrap();
        storage.check_audit().await.unwrap();
    }

    #[tokio::test]
    async fn a_crash_between_database_and_head_file_loses_nothing() {
        let (_root, dir) = enrolled();
        let storage = dir.storage().await.unwrap();
        storage.record(AT, &event(0), Change::None).await.unwrap();
        let before = storage.audit_head().read().unwrap().unwrap();
        storage.record(AT, &event(1), Change::None).await.unwrap();
        storage.audit_head().set(&before).unwrap();
        storage.check_audit().await.unwrap();
        storage.record(AT, &event(2), Change::None).await.unwrap();
        assert_eq!(storage.audit_head().read().unwrap().unwrap().length, 3);
    }

    #[tokio::test]
    async fn daemon_and_commands_append_to_one_chain() {
        let (_root, dir) = enrolled();
        // Enrolment makes the database, alone.
        dir.storage().await.unwrap().close().await;
        let write = |from: u32| {
            let dir = dir.clone();
            async move {
                let storage = dir.storage().await.unwrap();
                for n in from..from + 15 {
                    storage.record(AT, &event(n), Change::None).await.unwrap();
                }
            }
        };
        tokio::join!(write(0), write(100), write(200));
        let storage = dir.storage().await.unwrap();
        let lines = storage.audit_lines().await.unwrap();
        assert_eq!(lines.len(), 45);
        let key = dir.identity().unwrap().verifying_key();
        audit::check(&lines, &key, storage.audit_head().read().unwrap().as_ref()).unwrap();
    }

    #[tokio::test]
    async fn times_in_the_record_never_go_back_and_a_failed_change_leaves_no_entry() {
        let (_root, dir) = enrolled();
        let storage = dir.storage().await.unwrap();
        storage.record("2026-05-01T00:00:00Z", &event(0), Change::None).await.unwrap();
        storage.record(AT, &event(1), Change::None).await.unwrap();
        let last = storage.audit_tail(1).await.unwrap().pop().unwrap();
        assert!(last.contains("2026-05-01T00:00:00Z"), "{last}");
        let highest = storage.highest_time().await.unwrap();
        assert_eq!(highest.as_deref(), Some("2026-05-01T00:00:00Z"));
        let row = crate::consent::PeerRow {
            agency: "b".into(),
            fingerprint: "f".into(),
            how: "operator".into(),
            added: AT.into(),
        };
        storage.record(AT, &event(2), Change::Pin(&row)).await.unwrap();
        assert!(storage.record(AT, &event(3), Change::Pin(&row)).await.is_err(), "pinned twice");
        assert_eq!(storage.audit_lines().await.unwrap().len(), 3);
        storage.check_audit().await.unwrap();
    }
}
