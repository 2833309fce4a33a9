//! The messages of people with a role.

use zeroize::Zeroizing;

use super::{array, bounded};
use crate::control::{
    AgencyReport, FileChunk, IssueToken, IssuedToken, JobName, Revoke, Serial, SubmitJob, Submitted,
};
use crate::error::WireError;
use crate::limits::{
    MAX_FILE_CHUNK_BYTES, MAX_JOB_BYTES, MAX_JOB_NAME_CHARS, MAX_NOTES, MAX_PATH_CHARS,
    MAX_TOKEN_CHARS, MAX_TOKEN_HOURS,
};
use crate::members::Member;
use crate::names::AgencyName;
use crate::text::Text;
use crate::v1;

impl TryFrom<v1::SubmitJobRequest> for SubmitJob {
    type Error = WireError;

    fn try_from(m: v1::SubmitJobRequest) -> Result<Self, WireError> {
        let found = m.job_toml.len();
        Ok(Self { job_toml: bounded("submit.job_toml", m.job_toml, found, 1, MAX_JOB_BYTES)? })
    }
}

impl From<SubmitJob> for v1::SubmitJobRequest {
    fn from(m: SubmitJob) -> Self {
        Self { job_toml: m.job_toml }
    }
}

impl TryFrom<v1::SubmitJobReply> for Submitted {
    type Error = WireError;

    fn try_from(m: v1::SubmitJobReply) -> Result<Self, WireError> {
        let found = m.notes.len();
        let notes = bounded("submitted.notes", m.notes, found, 0, MAX_NOTES)?;
        let notes = notes.into_iter().map(|note| Text::parse("submitted.notes", note));
        Ok(Self {
            job: JobName::parse("submitted.job", m.job)?,
            notes: notes.collect::<Result<_, _>>()?,
        })
    }
}

impl From<Submitted> for v1::SubmitJobReply {
    fn from(m: Submitted) -> Self {
        Self { job: m.job.0, notes: m.notes.into_iter().map(Text::into_string).collect() }
    }
}

impl TryFrom<v1::JobRequest> for JobName {
    type Error = WireError;

    fn try_from(m: v1::JobRequest) -> Result<Self, WireError> {
        Self::parse("job", m.job)
    }
}

impl From<JobName> for v1::JobRequest {
    fn from(m: JobName) -> Self {
        Self { job: m.0 }
    }
}

impl JobName {
    /// Checks a job's identifier.
    ///
    /// # Errors
    /// [`WireError::Length`] or [`WireError::Invalid`].
    pub fn parse(field: &'static str, job: String) -> Result<Self, WireError> {
        let found = job.len();
        let job = bounded(field, job, found, 1, MAX_JOB_NAME_CHARS)?;
        if !job.bytes().all(|b| b.is_ascii_graphic()) {
            let problem = "has white space or characters outside ASCII";
            return Err(WireError::Invalid { field, problem });
        }
        Ok(Self(job))
    }
}

impl TryFrom<v1::AgencyReport> for AgencyReport {
    type Error = WireError;

    fn try_from(m: v1::AgencyReport) -> Result<Self, WireError> {
        let serial = Some(m.serial).filter(|serial| !serial.is_empty());
        let serial = serial.map(|serial| parse_serial("agency.serial", &serial)).transpose()?;
        Ok(Self {
            agency: AgencyName::parse("agency.agency", m.agency)?,
            revoked: m.revoked,
            signing_key: array("agency.signing_key", &m.signing_key)?,
            certificate: serial.map(|serial| (serial, m.certificate_ends)),
        })
    }
}

impl From<AgencyReport> for v1::AgencyReport {
    fn from(m: AgencyReport) -> Self {
        let (serial, certificate_ends) =
            m.certificate.map_or_else(Default::default, |(serial, ends)| (serial.0, ends));
        Self {
            agency: m.agency.into(),
            revoked: m.revoked,
            signing_key: m.signing_key.to_vec(),
            serial,
            certificate_ends,
        }
    }
}

impl TryFrom<v1::IssueTokenRequest> for IssueToken {
    type Error = WireError;

    fn try_from(m: v1::IssueTokenRequest) -> Result<Self, WireError> {
        if m.valid_hours > MAX_TOKEN_HOURS {
            let problem = "is more than a year";
            return Err(WireError::Invalid { field: "token.valid_hours", problem });
        }
        Ok(Self { member: Member::parse("token.member", m.member)?, valid_hours: m.valid_hours })
    }
}

impl From<IssueToken> for v1::IssueTokenRequest {
    fn from(m: IssueToken) -> Self {
        Self { member: m.member.to_string(), valid_hours: m.valid_hours }
    }
}

impl TryFrom<v1::IssueTokenReply> for IssuedToken {
    type Error = WireError;

    fn try_from(m: v1::IssueTokenReply) -> Result<Self, WireError> {
        let token = Zeroizing::new(m.token);
        let found = token.len();
        Ok(Self { token: bounded("token.token", token, found, 1, MAX_TOKEN_CHARS)? })
    }
}

impl From<IssuedToken> for v1::IssueTokenReply {
    fn from(mut m: IssuedToken) -> Self {
        Self { token: std::mem::take(&mut *m.token) }
    }
}

impl TryFrom<v1::RevokeRequest> for Revoke {
    type Error = WireError;

    fn try_from(m: v1::RevokeRequest) -> Result<Self, WireError> {
        match (m.member.is_empty(), m.serial.is_empty()) {
            (false, true) => Ok(Self::Member(Member::parse("revoke.member", m.member)?)),
            (true, false) => Ok(Self::Certificate(parse_serial("revoke.serial", &m.serial)?)),
            _ => {
                let problem = "and revoke.serial: exactly one of them is needed";
                Err(WireError::Invalid { field: "revoke.member", problem })
            }
        }
    }
}

impl From<Revoke> for v1::RevokeRequest {
    fn from(m: Revoke) -> Self {
        match m {
            Revoke::Member(member) => Self { member: member.to_string(), serial: String::new() },
            Revoke::Certificate(serial) => Self { member: String::new(), serial: serial.0 },
        }
    }
}

impl TryFrom<v1::FileChunk> for FileChunk {
    type Error = WireError;

    fn try_from(m: v1::FileChunk) -> Result<Self, WireError> {
        let field = "file.path";
        let found = m.path.len();
        let path = bounded(field, m.path, found, 1, MAX_PATH_CHARS)?;
        if !path.split('/').all(is_file_name) {
            // Whoever writes the file must not be led out of the folder.
            let problem = "is no plain relative path";
            return Err(WireError::Invalid { field, problem });
        }
        let found = m.data.len();
        Ok(Self { path, data: bounded("file.data", m.data, found, 0, MAX_FILE_CHUNK_BYTES)? })
    }
}

impl From<FileChunk> for v1::FileChunk {
    fn from(m: FileChunk) -> Self {
        Self { path: m.path, data: m.data }
    }
}

fn is_file_name(part: &str) -> bool {
    let allowed =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    (1..=64).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(allowed)
}

fn parse_serial(field: &'static str, text: &str) -> Result<Serial, WireError> {
    let problem = "is no serial number in hexadecimal";
    Serial::new(text).ok_or(WireError::Invalid { field, problem })
}
