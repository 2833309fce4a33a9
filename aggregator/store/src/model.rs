//! Rows and errors of the store, free of any database's types.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An enrolled agency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agency {
    /// Name.
    pub name: String,
    /// Ed25519 key of its protocol messages.
    pub signing_key: [u8; 32],
    /// When it enrolled last, Unix seconds.
    pub enrolled_at: i64,
    /// When it was revoked, if it was.
    pub revoked_at: Option<i64>,
}

/// A person with a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Role and name, `researcher/ada`.
    pub member: String,
    /// When the person enrolled last, Unix seconds.
    pub enrolled_at: i64,
    /// When the person was revoked, if so.
    pub revoked_at: Option<i64>,
}

/// A certificate that is to be handed out, or was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCertificate {
    /// Whose it is.
    pub member: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 over the public key.
    pub key: [u8; 32],
    /// Fingerprint of the authority, or the word `foreign`.
    pub issuer: String,
    /// Serial number of the certificate with which it was renewed.
    pub renewed_from: Option<String>,
    /// When it ends, Unix seconds.
    pub ends_at: i64,
}

/// A certificate as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What it is.
    pub certificate: NewCertificate,
    /// When it was handed out or seen first, Unix seconds.
    pub issued_at: i64,
    /// When it was revoked, if it was.
    pub revoked_at: Option<i64>,
}

/// Which authorities a member says it trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusting {
    /// The member.
    pub member: String,
    /// Fingerprints, separated by spaces.
    pub authorities: String,
    /// When it said so, Unix seconds.
    pub said_at: i64,
}

/// What is refused at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refused {
    /// Members that are revoked.
    pub members: Vec<String>,
    /// Keys of certificates that are revoked and have not ended.
    pub keys: Vec<[u8; 32]>,
    /// When each member enrolled last, Unix seconds.
    pub enrolled: Vec<(String, i64)>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Submitted; waits for its agencies or for an earlier job.
    Waiting,
    /// Its manifest is fixed and rounds run.
    Training,
    /// All rounds are certified.
    Done,
    /// Stopped; the reason says why.
    Failed,
}

/// A job as the store knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Identifier given at submission.
    pub id: String,
    /// The specification's name.
    pub name: String,
    /// The specification's text.
    pub specification: String,
    /// When it was submitted, Unix seconds.
    pub submitted_at: i64,
    /// Who submitted it: role and name, or the word `local`.
    pub submitter: String,
    /// Where it stands.
    pub state: JobState,
    /// Why it failed, or what is waited for.
    pub reason: String,
    /// Progress as JSON, for `status`.
    pub progress: String,
    /// The fixed manifest in canonical form.
    pub manifest: Option<String>,
    /// What the coordinator needs to go on after a restart.
    pub snapshot: Option<Vec<u8>>,
}

/// A certified state as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedState {
    /// The round it is the result of.
    pub round: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The certificate that carries its hash.
    pub certificate: Vec<u8>,
}

/// What is small about a job that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobHead {
    /// Its identifier.
    pub id: String,
    /// Waiting or training.
    pub state: JobState,
}

/// One step of a job. `None` and empty leave what is there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Commit {
    /// New state and reason.
    pub state: Option<(JobState, String)>,
    /// New progress JSON.
    pub progress: Option<String>,
    /// The manifest, once.
    pub manifest: Option<String>,
    /// The coordinator's snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// Record lines to append: sequence and line. A sequence that exists is an error.
    pub record: Vec<(u64, String)>,
    /// A published sum.
    pub sum: Option<(u32, Vec<u8>)>,
    /// The newest certified state.
    pub certified: Option<CertifiedState>,
}

/// Why a token enrols nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Never issued here.
    #[error("the token is unknown to this aggregator")]
    Unknown,
    /// Somebody enrolled with it before.
    #[error("the token has been used already; ask the operator for a new one")]
    Used,
    /// Too late.
    #[error("the token has expired; ask the operator for a new one")]
    Expired,
    /// Another agency has that signing key.
    #[error("the signing key belongs to another agency; make a new one")]
    KeyTaken,
    /// There was a certificate of that key before.
    #[error("the key of the certificate request has been used before; make a new one")]
    KeyUsed,
}

/// Why no certificate is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// The member is not enrolled, or revoked.
    #[error("this member is not enrolled any more; ask the operator for a new token")]
    NotEnrolled,
    /// The certificate in use was revoked.
    #[error("the certificate is revoked; ask the operator for a new token")]
    Revoked,
    /// There was a certificate of that key before.
    #[error("the key of the certificate request has been used before; make a new one")]
    KeyUsed,
    /// More valid certificates than anybody needs.
    #[error(
        "this member has {} valid certificates already; wait until some have ended, or have \
             them revoked",
        crate::sqlite::MAX_VALID
    )]
    TooMany,
}

/// The database refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such job.
    #[error("no job {0}; `aggregator job list` shows what there is")]
    UnknownJob(String),
    /// The database.
    #[error(
        "state database: {0}; nothing was said that is not recorded. Free disk space, fix the \
         permissions, or put a backup in place of a damaged file (`aggregator backup restore`), then \
         start the service again"
    )]
    Database(sqlx::Error),
    /// The schema is from a newer version or was tampered with.
    #[error("state database: {0}; was it written by a newer version?")]
    Migration(sqlx::migrate::MigrateError),
    /// A stored value is not what this software writes.
    #[error("state database: corrupt value in {0}")]
    Corrupt(&'static str),
}

// Said in full by the message: a source beside it would be said a second time.
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migration(error)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Training => "training",
            Self::Done => "done",
            Self::Failed => "failed",
        })
    }
}

impl std::str::FromStr for JobState {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        [Self::Waiting, Self::Training, Self::Done, Self::Failed]
            .into_iter()
            .find(|s| s.to_string() == text)
            .ok_or(StoreError::Corrupt("job.state"))
    }
}
