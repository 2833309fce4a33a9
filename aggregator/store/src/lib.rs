//! Durable state of the aggregator behind one trait.
//!
//! SQLite is the embedded default; PostgreSQL joins as a second implementation of [`Store`] that
//! passes the same [`conformance`] suite. The store keeps opaque bytes and text: it never sees what
//! a round, a manifest or a record means.

pub mod conformance;
mod identity;
pub mod model;
pub mod sqlite;

use std::future::Future;

pub use model::{
    Agency, Certificate, CertificateRefusal, CertifiedState, Commit, Job, JobHead, JobState,
    NewCertificate, Person, Refused, StoreError, TokenRefusal, Trusting,
};
pub use sqlite::SqliteStore;

/// Everything the aggregator must not forget. Each call is one transaction: durable when it returns
/// `Ok`, without effect when it returns `Err`.
pub trait Store: Send + Sync + 'static {
    /// Remembers a one-time token for a member by the hash of its secret.
    fn put_token(
        &self,
        secret_hash: &[u8; 32],
        member: &str,
        expires_at: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Uses a token up and enrols its member: an agency with a signing key, a person without;
    /// exactly one caller wins. Who enrols again with a fresh token is let in again with the new
    /// keys, and every certificate from before is refused for good.
    fn enrol(
        &self,
        secret_hash: &[u8; 32],
        signing_key: Option<&[u8; 32]>,
        certificate: &NewCertificate,
        now: i64,
    ) -> impl Future<Output = Result<Result<String, TokenRefusal>, StoreError>> + Send;

    /// Remembers a certificate that was renewed from another, before it is handed out.
    fn renewed(
        &self,
        certificate: &NewCertificate,
        now: i64,
    ) -> impl Future<Output = Result<Result<(), CertificateRefusal>, StoreError>> + Send;

    /// Remembers a certificate of an agency's own authority when it is seen first.
    fn seen(
        &self,
        certificate: &NewCertificate,
        now: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The certificate with a key.
    fn certificate(
        &self,
        key: &[u8; 32],
    ) -> impl Future<Output = Result<Option<Certificate>, StoreError>> + Send;

    /// All certificates, newest first.
    fn certificates(&self) -> impl Future<Output = Result<Vec<Certificate>, StoreError>> + Send;

    /// Remembers which authorities a member says it trusts.
    fn trusts(
        &self,
        member: &str,
        authorities: &str,
        now: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What each member said last that it trusts.
    fn trusting(&self) -> impl Future<Output = Result<Vec<Trusting>, StoreError>> + Send;

    /// All people with a role, by name.
    fn persons(&self) -> impl Future<Output = Result<Vec<Person>, StoreError>> + Send;

    /// What is refused at `now`.
    fn refused(&self, now: i64) -> impl Future<Output = Result<Refused, StoreError>> + Send;

    /// All agencies by name.
    fn agencies(&self) -> impl Future<Output = Result<Vec<Agency>, StoreError>> + Send;

    /// Revokes a member with every certificate; false if there is none of that name.
    fn revoke(
        &self,
        member: &str,
        now: i64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Revokes one certificate and those that were renewed from it, whoever did that; returns how
    /// many there are, none if the serial number is unknown.
    fn revoke_certificate(
        &self,
        serial: &str,
        now: i64,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Queues a job that somebody has submitted.
    fn submit(
        &self,
        id: &str,
        name: &str,
        specification: &str,
        submitter: &str,
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

    /// Appends a line to the aggregator's own record: `make` gets the newest line and returns the
    /// next one with its number. Nobody else appends meanwhile.
    fn append_own<F>(&self, make: F) -> impl Future<Output = Result<(), StoreError>> + Send
    where
        F: FnOnce(Option<&str>) -> Result<(u64, String), StoreError> + Send;

    /// The lines of the aggregator's own record in order.
    fn own_record(&self) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;

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
