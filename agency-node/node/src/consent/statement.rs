//! What a data steward signs: this job, on this version of this dataset, at this agency, until then.
//!
//! Canonical JSON under an Ed25519 signature. Nothing in it is negotiable: another job, dataset,
//! version or agency is another statement.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tributary_ledger::canonical_json;
use tributary_secagg::{Digest, Identity, VerifyingKey};

/// Version of the format.
const VERSION: u32 = 1;

/// Longest statement that is read, bytes.
const MAX_BYTES: usize = 4096;

/// The statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Version of the format.
    pub version: u32,
    /// The agency whose data it is.
    pub agency: String,
    /// The job's hash, hex.
    pub job: String,
    /// The dataset.
    pub dataset: String,
    /// Version of the dataset, as the node names it.
    pub dataset_version: String,
    /// The steward.
    pub steward: String,
    /// When it was signed, RFC 3339.
    pub issued: String,
    /// When it ends, RFC 3339.
    pub expires: String,
}

/// A statement with its signature, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedApproval {
    /// Canonical JSON of the statement.
    pub statement: String,
    /// Ed25519 signature, hex.
    pub signature: String,
}

/// Why an approval is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not a statement of this version.
    #[error("the approval cannot be read: {0}")]
    Malformed(String),
    /// Somebody else's signature, or a changed statement.
    #[error("the approval is not signed by the registered key of {steward}")]
    Signature {
        /// The steward that it names.
        steward: String,
    },
}

impl Approval {
    /// A statement of the present version.
    pub fn new(
        (agency, job): (&str, &str),
        (dataset, dataset_version): (&str, &str),
        steward: &str,
        (issued, expires): (&str, &str),
    ) -> Self {
        Self {
            version: VERSION,
            agency: agency.to_owned(),
            job: job.to_owned(),
            dataset: dataset.to_owned(),
            dataset_version: dataset_version.to_owned(),
            steward: steward.to_owned(),
            issued: issued.to_owned(),
            expires: expires.to_owned(),
        }
    }

    /// Signs it.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn sign(&self, key: &Identity) -> Result<SignedApproval, StatementError> {
        let malformed = |e: serde_json::Error| StatementError::Malformed(e.to_string());
        let statement = canonical_json(self).map_err(malformed)?;
        let signature = hex::encode(key.sign(&digest(&statement).0));
        Ok(SignedApproval { statement, signature })
    }
}

impl SignedApproval {
    /// The statement, whoever signed it.
    ///
    /// # Errors
    /// If it is none, or not in its one form.
    pub fn read(&self) -> Result<Approval, StatementError> {
        let malformed = |e: &dyn std::fmt::Display| StatementError::Malformed(e.to_string());
        if self.statement.len() > MAX_BYTES {
            return Err(malformed(&"it is too long"));
        }
        let approval: Approval =
            serde_json::from_str(&self.statement).map_err(|e| malformed(&e))?;
        if approval.version != VERSION {
            return Err(malformed(&format!("version {}, not {VERSION}", approval.version)));
        }
        if canonical_json(&approval).map_err(|e| malformed(&e))? != self.statement {
            return Err(malformed(&"it is not in canonical form"));
        }
        Ok(approval)
    }

    /// The statement, if this key signed it.
    ///
    /// # Errors
    /// If it is none, or another key signed it.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Approval, StatementError> {
        let approval = self.read()?;
        let wrong = || StatementError::Signature { steward: approval.steward.clone() };
        let signature = hex::decode(&self.signature).map_err(|_| wrong())?;
        key.verify(&digest(&self.statement).0, &signature).map_err(|_| wrong())?;
        Ok(approval)
    }
}

fn digest(statement: &str) -> Digest {
    tributary_secagg::hash("tributary/approval/v1", &[statement.as_bytes()])
}

/// Reads a time as this software writes it.
pub fn parse_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}
