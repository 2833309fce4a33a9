//! The aggregator's signed checkpoints, as they came: also those that contradict earlier ones, and
//! those of jobs that are over.

use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::{Storage, StorageError};
use crate::engine::Kept;

/// Keeps one. The same one again changes nothing.
pub(super) async fn keep(pool: &SqlitePool, job: &str, kept: &Kept) -> Result<(), StorageError> {
    let length = i64::try_from(kept.length)
        .map_err(|_| StorageError::Corrupt("length of a checkpoint".into()))?;
    sqlx::query(
        "INSERT OR IGNORE INTO checkpoint (job, length, head, signature, conflict) \
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(job)
    .bind(length)
    .bind(kept.head.as_slice())
    .bind(kept.signature.as_slice())
    .bind(&kept.conflict)
    .execute(pool)
    .await?;
    Ok(())
}

impl Storage {
    /// The checkpoints of a job (its hash, hex), shortest record first.
    ///
    /// # Errors
    /// From the database.
    pub async fn checkpoints(&self, job: &str) -> Result<Vec<Kept>, StorageError> {
        let rows = sqlx::query(
            "SELECT length, head, signature, conflict FROM checkpoint WHERE job = ? \
             ORDER BY length, rowid",
        )
        .bind(job)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(kept).collect()
    }

    /// Hashes of the jobs of which there are checkpoints.
    ///
    /// # Errors
    /// From the database.
    pub async fn checkpointed_jobs(&self) -> Result<Vec<String>, StorageError> {
        let rows = sqlx::query("SELECT job FROM checkpoint GROUP BY job ORDER BY min(rowid)")
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }
}

fn kept(row: &SqliteRow) -> Result<Kept, StorageError> {
    let corrupt = || StorageError::Corrupt("checkpoint".into());
    let (head, signature): (Vec<u8>, Vec<u8>) = (row.try_get(1)?, row.try_get(2)?);
    Ok(Kept {
        length: u64::try_from(row.try_get::<i64, _>(0)?).map_err(|_| corrupt())?,
        head: head.try_into().map_err(|_| corrupt())?,
        signature: signature.try_into().map_err(|_| corrupt())?,
        conflict: row.try_get(3)?,
    })
}
