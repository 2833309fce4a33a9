//! Durable state of the aggregator behind one trait.
//!
//! SQLite is the embedded default; PostgreSQL joins as a second implementation of [`Store`] that
//! passes the same [`conformance`] suite. The store keeps opaque bytes and text: it never sees what
//! a round, a manifest or a record means.

pub mod conformance;
pub mod model;
pub mod sqlite;

use std::future::Future;

pub use model::{Agency, CertifiedState, Commit, Job, JobHead, JobState, StoreError, TokenRefusal};
pub use sqlite::SqliteStore;

/// Everything the aggregator must not forget. Each call is one transaction: durable when it returns
/// `Ok`, without effect when it returns `Err`.
pub trait Store: Send + Sync + 'static {
    /// Remembers a one-time token by the hash of its secret.
    fn put_token(
        &self,
        secret_hash: &[u8; 32],
        agency: &str,
        expires_at: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Uses a token up and enrols its agency with this signing key; exactly one caller wins.
    /// An agency that enrols again with a fresh token gets its new key.
    fn enrol(
        &self,
        secret_hash: &[u8; 32],
        signing_key: &[u8; 32],
        now: i64,
    ) -> impl Future<Output = Result<Result<String, TokenRefusal>, StoreError>> + Send;

    /// All agencies by name.
    fn agencies(&self) -> impl Future<Output = Result<Vec<Agency>, StoreError>> + Send;

    /// Revokes an agency; false if there is none of that name.
    fn revoke(
        &self,
        agency: &str,
        now: i64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Queues a job.
    fn submit(
        &self,
        id: &str,
        name: &str,
        specification: &str,
        now: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// All jobs, oldest first.
    fn jobs(&self) -> impl Future<Output = Result<Vec<Job>, StoreError>> + Send;

    /// Jobs that wait or train, oldest first, without what is large about them: cheap enough to
    /// ask all the time.
    fn open_jobs(&self) -> impl Future<Output = Result<Vec<JobHead>, StoreError>> + Send;

    /// Where a job stands, and why; `None` if there is no such job. As cheap as
    /// [`Store::open_jobs`].
    fn job_state(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<Option<(JobState, String)>, StoreError>> + Send;

    /// One job.
    fn job(&self, id: &str) -> impl Future<Output = Result<Option<Job>, StoreError>> + Send;

    /// Everything one step of a job changes, at once.
    fn commit(
        &self,
        job: &str,
        commit: &Commit,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The record's lines in order.
    fn record(&self, job: &str) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;

    /// The published sums by round.
    fn sums(
        &self,
        job: &str,
    ) -> impl Future<Output = Result<Vec<(u32, Vec<u8>)>, StoreError>> + Send;

    /// The newest certified state.
    fn state(
        &self,
        job: &str,
    ) -> impl Future<Output = Result<Option<CertifiedState>, StoreError>> + Send;
}
