//! Stewards, requests, decisions, pinned keys and the highest time: rows in, rows out.
//!
//! Opaque to meaning like the rest of the storage: whether an approval holds is
//! [`judge`](crate::consent::judge)'s to say.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tributary_secagg::VerifyingKey;

use super::{Storage, StorageError};
use crate::consent::{Consent, Decision, MAX_WAITING, PeerRow, RequestRow, StewardRow};

/// What is changed together with an entry of the audit record.
#[derive(Debug)]
pub enum Change<'a> {
    /// Nothing.
    None,
    /// A steward is registered.
    AddSteward(&'a StewardRow),
    /// A steward is removed.
    RemoveSteward(&'a str),
    /// A peer's key is pinned.
    Pin(&'a PeerRow),
    /// A peer's key is not pinned any more.
    Unpin(&'a str),
    /// Somebody decided about a job.
    Decide {
        /// The job's hash, hex.
        job: &'a str,
        /// What.
        decision: &'a Decision,
    },
}

pub(super) async fn apply(
    to: &mut SqliteConnection,
    change: Change<'_>,
) -> Result<(), StorageError> {
    let query = match change {
        Change::None => return Ok(()),
        Change::AddSteward(row) => {
            sqlx::query("INSERT INTO steward (name, key, added) VALUES (?, ?, ?)")
                .bind(&row.name)
                .bind(row.key.to_string())
                .bind(&row.added)
        }
        Change::RemoveSteward(name) => sqlx::query("DELETE FROM steward WHERE name = ?").bind(name),
        Change::Pin(row) => {
            sqlx::query("INSERT INTO peer (agency, fingerprint, how, added) VALUES (?, ?, ?, ?)")
                .bind(&row.agency)
                .bind(&row.fingerprint)
                .bind(&row.how)
                .bind(&row.added)
        }
        Change::Unpin(agency) => sqlx::query("DELETE FROM peer WHERE agency = ?").bind(agency),
        Change::Decide { job, decision } => {
            let text = serde_json::to_string(decision);
            let text = text.map_err(|e| StorageError::Corrupt(e.to_string()))?;
            sqlx::query("INSERT INTO decision (job, decision) VALUES (?, ?)").bind(job).bind(text)
        }
    };
    query.execute(to).await?;
    Ok(())
}

/// Notes a time that was seen; an earlier one changes nothing.
pub(super) async fn saw(to: &mut SqliteConnection, at: &str) -> Result<(), StorageError> {
    let insert = "INSERT INTO clock (id, highest) VALUES (1, ?) \
                  ON CONFLICT (id) DO UPDATE SET highest = max(highest, excluded.highest)";
    sqlx::query(insert).bind(at).execute(to).await?;
    Ok(())
}

impl Storage {
    /// Everything that was decided so far.
    ///
    /// # Errors
    /// From the database, or if a row is none of this software.
    pub async fn consent(&self) -> Result<Consent, StorageError> {
        let select = "SELECT job, decision FROM decision WHERE sequence IN \
                      (SELECT max(sequence) FROM decision GROUP BY job)";
        let rows = sqlx::query(select).fetch_all(&self.pool).await?;
        let decision = |row: &SqliteRow| {
            let (job, text): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let parsed = serde_json::from_str(&text);
            let parsed = parsed.map_err(|e| StorageError::Corrupt(format!("decision: {e}")))?;
            Ok::<_, StorageError>((job, parsed))
        };
        let stewards = self.stewards().await?.into_iter().map(|row| (row.name, row.key));
        let peers = self.peers().await?.into_iter().map(|row| (row.agency, row.fingerprint));
        Ok(Consent {
            stewards: stewards.collect(),
            decisions: rows.iter().map(decision).collect::<Result<_, _>>()?,
            peers: peers.collect(),
        })
    }

    /// A number that changes when another process has changed the database.
    ///
    /// # Errors
    /// From the database.
    pub async fn data_version(&self) -> Result<i64, StorageError> {
        let row = sqlx::query("PRAGMA data_version").fetch_one(&self.pool).await?;
        Ok(row.try_get(0)?)
    }

    /// Registered data stewards by name.
    ///
    /// # Errors
    /// From the database, or if a key is none.
    pub async fn stewards(&self) -> Result<Vec<StewardRow>, StorageError> {
        let select = "SELECT name, key, added FROM steward ORDER BY name";
        let rows = sqlx::query(select).fetch_all(&self.pool).await?;
        let steward = |row: &SqliteRow| {
            let key: String = row.try_get(1)?;
            let key = VerifyingKey::from_hex(&key);
            let key = key.map_err(|_| StorageError::Corrupt("key of a steward".into()))?;
            Ok(StewardRow { name: row.try_get(0)?, key, added: row.try_get(2)? })
        };
        rows.iter().map(steward).collect()
    }

    /// Pinned keys by agency.
    ///
    /// # Errors
    /// From the database.
    pub async fn peers(&self) -> Result<Vec<PeerRow>, StorageError> {
        let select = "SELECT agency, fingerprint, how, added FROM peer ORDER BY agency";
        let rows = sqlx::query(select).fetch_all(&self.pool).await?;
        let peer = |row: &SqliteRow| {
            Ok(PeerRow {
                agency: row.try_get(0)?,
                fingerprint: row.try_get(1)?,
                how: row.try_get(2)?,
                added: row.try_get(3)?,
            })
        };
        rows.iter().map(peer).collect()
    }

    /// Jobs that were offered and waited for somebody's word, the oldest first.
    ///
    /// # Errors
    /// From the database.
    pub async fn requests(&self) -> Result<Vec<RequestRow>, StorageError> {
        let select =
            "SELECT job, manifest, first_seen, outcome FROM request ORDER BY first_seen, job";
        let rows = sqlx::query(select).fetch_all(&self.pool).await?;
        let request = |row: &SqliteRow| {
            Ok(RequestRow {
                job: row.try_get(0)?,
                manifest: row.try_get(1)?,
                first_seen: row.try_get(2)?,
                outcome: row.try_get(3)?,
            })
        };
        rows.iter().map(request).collect()
    }

    /// Stores a request; one that is known changes nothing. Where too many wait, the oldest of them is
    /// closed: it comes back if it is offered again.
    pub(super) async fn open_request(
        &self,
        (job, manifest): (&str, &str),
        at: &str,
    ) -> Result<(), StorageError> {
        let mut both = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let insert = "INSERT INTO request (job, manifest, first_seen) VALUES (?, ?, ?) \
                      ON CONFLICT (job) DO UPDATE SET outcome = NULL";
        sqlx::query(insert).bind(job).bind(manifest).bind(at).execute(&mut *both).await?;
        // Without a decision nothing hangs on it.
        let delete = "DELETE FROM request WHERE job IN (SELECT job FROM request WHERE job <> ? AND \
                      job NOT IN (SELECT job FROM decision) ORDER BY first_seen DESC, job \
                      LIMIT -1 OFFSET ?)";
        let keep = i64::try_from(MAX_WAITING - 1).unwrap_or(i64::MAX);
        sqlx::query(delete).bind(job).bind(keep).execute(&mut *both).await?;
        both.commit().await?;
        Ok(())
    }

    pub(super) async fn close_request(&self, job: &str, outcome: &str) -> Result<(), StorageError> {
        sqlx::query("UPDATE request SET outcome = ? WHERE job = ?")
            .bind(outcome)
            .bind(job)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(super) async fn pin_first_use(&self, row: &PeerRow) -> Result<(), StorageError> {
        // What the operator pinned meanwhile stays.
        let insert =
            "INSERT OR IGNORE INTO peer (agency, fingerprint, how, added) VALUES (?, ?, ?, ?)";
        sqlx::query(insert)
            .bind(&row.agency)
            .bind(&row.fingerprint)
            .bind(&row.how)
            .bind(&row.added)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The highest time that this node has seen, RFC 3339.
    ///
    /// # Errors
    /// From the database.
    pub async fn highest_time(&self) -> Result<Option<String>, StorageError> {
        let row = sqlx::query("SELECT highest FROM clock").fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Notes a time that was seen; an earlier one changes nothing.
    ///
    /// # Errors
    /// From the database.
    pub async fn saw_time(&self, at: &str) -> Result<(), StorageError> {
        let mut connection = self.pool.acquire().await?;
        saw(&mut connection, at).await
    }

    /// Forgets the highest time and takes this one: for an operator who knows that it was wrong.
    ///
    /// # Errors
    /// From the database.
    pub async fn set_time(&self, at: &str) -> Result<(), StorageError> {
        sqlx::query("UPDATE clock SET highest = ?").bind(at).execute(&self.pool).await?;
        Ok(())
    }

    /// What versions of datasets hang on besides their bytes. Never leaves.
    ///
    /// # Errors
    /// From the database.
    pub async fn salt(&self) -> Result<Vec<u8>, StorageError> {
        let row = sqlx::query("SELECT bytes FROM salt").fetch_one(&self.pool).await?;
        Ok(row.try_get(0)?)
    }
}
