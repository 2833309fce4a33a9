//! The rows about who may connect: members, tokens, certificates. Used by [`crate::sqlite`] alone.
//!
//! A certificate is known by its key: one key, one certificate, so that revoking either is the same.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, SqlitePool, Transaction};

use crate::model::{
    Certificate, CertificateRefusal, NewCertificate, Person, Refused, StoreError, TokenRefusal,
    Trusting,
};
use crate::sqlite::MAX_VALID;

type Tx = Transaction<'static, Sqlite>;

const INSERT: &str = "INSERT INTO certificate
     (key, serial, member, issuer, renewed_from, issued_at, ends_at) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (key) DO NOTHING";

pub(crate) async fn enrol(
    tx: &mut Tx,
    secret_hash: &[u8; 32],
    signing_key: Option<&[u8; 32]>,
    certificate: &NewCertificate,
    now: i64,
) -> Result<Result<String, TokenRefusal>, StoreError> {
    let row = sqlx::query("SELECT agency, expires_at, used_at FROM token WHERE secret_hash = ?")
        .bind(secret_hash.as_slice())
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Ok(Err(TokenRefusal::Unknown)) };
    let member: String = row.try_get(0)?;
    if row.try_get::<Option<i64>, _>(2)?.is_some() {
        return Ok(Err(TokenRefusal::Used));
    }
    if row.try_get::<i64, _>(1)? < now {
        return Ok(Err(TokenRefusal::Expired));
    }
    if let Some(key) = signing_key {
        let taken = sqlx::query("SELECT 1 FROM agency WHERE signing_key = ? AND name <> ?")
            .bind(key.as_slice())
            .bind(&member)
            .fetch_optional(&mut **tx)
            .await?;
        if taken.is_some() {
            return Ok(Err(TokenRefusal::KeyTaken));
        }
    }
    // Whoever has one of them may have been somebody else.
    sqlx::query("UPDATE certificate SET revoked_at = ? WHERE member = ? AND revoked_at IS NULL")
        .bind(now)
        .bind(&member)
        .execute(&mut **tx)
        .await?;
    if bound(certificate, now).execute(&mut **tx).await?.rows_affected() == 0 {
        return Ok(Err(TokenRefusal::KeyUsed));
    }
    sqlx::query("UPDATE token SET used_at = ? WHERE secret_hash = ?")
        .bind(now)
        .bind(secret_hash.as_slice())
        .execute(&mut **tx)
        .await?;
    match signing_key {
        Some(key) => {
            sqlx::query(
                "INSERT INTO agency (name, signing_key, enrolled_at) VALUES (?, ?, ?)
                 ON CONFLICT (name) DO UPDATE SET signing_key = excluded.signing_key,
                     enrolled_at = excluded.enrolled_at, revoked_at = NULL",
            )
            .bind(&member)
            .bind(key.as_slice())
            .bind(now)
            .execute(&mut **tx)
            .await?;
        }
        None => {
            sqlx::query(
                "INSERT INTO person (member, enrolled_at) VALUES (?, ?)
                 ON CONFLICT (member) DO UPDATE SET enrolled_at = excluded.enrolled_at,
                     revoked_at = NULL",
            )
            .bind(&member)
            .bind(now)
            .execute(&mut **tx)
            .await?;
        }
    }
    Ok(Ok(member))
}

pub(crate) async fn renew(
    tx: &mut Tx,
    certificate: &NewCertificate,
    now: i64,
) -> Result<Result<(), CertificateRefusal>, StoreError> {
    let enrolled = sqlx::query(
        "SELECT 1 FROM agency WHERE name = ?1 AND revoked_at IS NULL
         UNION ALL SELECT 1 FROM person WHERE member = ?1 AND revoked_at IS NULL",
    )
    .bind(&certificate.member)
    .fetch_optional(&mut **tx)
    .await?;
    if enrolled.is_none() {
        return Ok(Err(CertificateRefusal::NotEnrolled));
    }
    let parent = sqlx::query(
        "SELECT 1 FROM certificate WHERE serial = ? AND member = ? AND revoked_at IS NOT NULL",
    )
    .bind(&certificate.renewed_from)
    .bind(&certificate.member)
    .fetch_optional(&mut **tx)
    .await?;
    if parent.is_some() {
        return Ok(Err(CertificateRefusal::Revoked));
    }
    let valid: i64 = sqlx::query(
        "SELECT count(*) FROM certificate
         WHERE member = ? AND revoked_at IS NULL AND ends_at > ?",
    )
    .bind(&certificate.member)
    .bind(now)
    .fetch_one(&mut **tx)
    .await?
    .try_get(0)?;
    if valid >= MAX_VALID {
        return Ok(Err(CertificateRefusal::TooMany));
    }
    if bound(certificate, now).execute(&mut **tx).await?.rows_affected() == 0 {
        return Ok(Err(CertificateRefusal::KeyUsed));
    }
    Ok(Ok(()))
}

pub(crate) async fn insert(
    pool: &SqlitePool,
    certificate: &NewCertificate,
    now: i64,
) -> Result<(), StoreError> {
    bound(certificate, now).execute(pool).await?;
    Ok(())
}

pub(crate) async fn certificate(
    pool: &SqlitePool,
    key: &[u8; 32],
) -> Result<Option<Certificate>, StoreError> {
    let row = sqlx::query("SELECT * FROM certificate WHERE key = ?")
        .bind(key.as_slice())
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(certificate_of_row).transpose()
}

pub(crate) async fn certificates(pool: &SqlitePool) -> Result<Vec<Certificate>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM certificate ORDER BY issued_at DESC, ends_at DESC, serial")
            .fetch_all(pool)
            .await?;
    rows.iter().map(certificate_of_row).collect()
}

pub(crate) async fn trusts(
    pool: &SqlitePool,
    member: &str,
    authorities: &str,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO trusting (member, authorities, said_at) VALUES (?, ?, ?)
         ON CONFLICT (member) DO UPDATE SET authorities = excluded.authorities,
             said_at = excluded.said_at",
    )
    .bind(member)
    .bind(authorities)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}

pub(crate) async fn trusting(pool: &SqlitePool) -> Result<Vec<Trusting>, StoreError> {
    let rows = sqlx::query("SELECT member, authorities, said_at FROM trusting ORDER BY member")
        .fetch_all(pool)
        .await?;
    let trusting = |row: &SqliteRow| {
        Ok(Trusting {
            member: row.try_get(0)?,
            authorities: row.try_get(1)?,
            said_at: row.try_get(2)?,
        })
    };
    rows.iter().map(trusting).collect()
}

pub(crate) async fn persons(pool: &SqlitePool) -> Result<Vec<Person>, StoreError> {
    let rows = sqlx::query("SELECT member, enrolled_at, revoked_at FROM person ORDER BY member")
        .fetch_all(pool)
        .await?;
    let person = |row: &SqliteRow| {
        Ok(Person {
            member: row.try_get(0)?,
            enrolled_at: row.try_get(1)?,
            revoked_at: row.try_get(2)?,
        })
    };
    rows.iter().map(person).collect()
}

pub(crate) async fn refused(pool: &SqlitePool, now: i64) -> Result<Refused, StoreError> {
    let mut refused = Refused::default();
    let members = sqlx::query(
        "SELECT name, enrolled_at, revoked_at FROM agency
         UNION ALL SELECT member, enrolled_at, revoked_at FROM person",
    )
    .fetch_all(pool)
    .await?;
    for row in &members {
        let member: String = row.try_get(0)?;
        if row.try_get::<Option<i64>, _>(2)?.is_some() {
            refused.members.push(member.clone());
        }
        refused.enrolled.push((member, row.try_get(1)?));
    }
    let keys =
        sqlx::query("SELECT key FROM certificate WHERE revoked_at IS NOT NULL AND ends_at >= ?")
            .bind(now)
            .fetch_all(pool)
            .await?;
    refused.keys = keys.iter().map(key_of_row).collect::<Result<_, _>>()?;
    Ok(refused)
}

pub(crate) async fn revoke(tx: &mut Tx, member: &str, now: i64) -> Result<bool, StoreError> {
    let mut found = 0;
    for statement in [
        "UPDATE agency SET revoked_at = ? WHERE name = ?",
        "UPDATE person SET revoked_at = ? WHERE member = ?",
    ] {
        let done = sqlx::query(statement).bind(now).bind(member).execute(&mut **tx).await?;
        found += done.rows_affected();
    }
    sqlx::query("UPDATE certificate SET revoked_at = ? WHERE member = ? AND revoked_at IS NULL")
        .bind(now)
        .bind(member)
        .execute(&mut **tx)
        .await?;
    Ok(found > 0)
}

pub(crate) async fn revoke_certificate(
    pool: &SqlitePool,
    serial: &str,
    now: i64,
) -> Result<u64, StoreError> {
    // A thief may have renewed: what came of a certificate goes with it.
    let done = sqlx::query(
        "WITH RECURSIVE line (serial, member) AS (
             SELECT serial, member FROM certificate WHERE serial = ?1
             UNION
             SELECT c.serial, c.member FROM certificate c
                 JOIN line ON c.renewed_from = line.serial AND c.member = line.member)
         UPDATE certificate SET revoked_at = coalesce(revoked_at, ?2)
         WHERE (serial, member) IN (SELECT serial, member FROM line)",
    )
    .bind(serial)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// The statement that inserts a certificate, unless its key is known.
fn bound(
    certificate: &NewCertificate,
    now: i64,
) -> sqlx::query::Query<'_, Sqlite, sqlx::sqlite::SqliteArguments> {
    sqlx::query(INSERT)
        .bind(certificate.key.as_slice())
        .bind(&certificate.serial)
        .bind(&certificate.member)
        .bind(&certificate.issuer)
        .bind(&certificate.renewed_from)
        .bind(now)
        .bind(certificate.ends_at)
}

fn certificate_of_row(row: &SqliteRow) -> Result<Certificate, StoreError> {
    Ok(Certificate {
        certificate: NewCertificate {
            member: row.try_get("member")?,
            serial: row.try_get("serial")?,
            key: key_of_row(row)?,
            issuer: row.try_get("issuer")?,
            renewed_from: row.try_get("renewed_from")?,
            ends_at: row.try_get("ends_at")?,
        },
        issued_at: row.try_get("issued_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

fn key_of_row(row: &SqliteRow) -> Result<[u8; 32], StoreError> {
    let key: Vec<u8> = row.try_get("key")?;
    key.try_into().map_err(|_| StoreError::Corrupt("certificate.key"))
}
