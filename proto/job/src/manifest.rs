//! The manifest: a job with its roster, as every party hashes and signs it.

use std::fmt;

use serde::{Deserialize, Serialize};
use tributary_secagg::Digest;

use crate::spec::{JobSpec, SpecError};
use tributary_ledger::canonical_json;

/// Version of the manifest format.
pub const MANIFEST_VERSION: u32 = 1;

/// SHA-256 of a manifest's canonical JSON, under its own label: the identity of a job.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobHash(pub [u8; 32]);

/// One member of the roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterEntry {
    /// Agency name.
    pub agency: String,
    /// Ed25519 key that signs the agency's protocol messages, hex.
    pub signing_key: String,
    /// The public constant N_i: how many records the agency declares for this dataset. It scales
    /// the average and is never the size of a batch.
    pub declared_records: u64,
}

/// A job with its roster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format version, [`MANIFEST_VERSION`].
    pub version: u32,
    /// The specification.
    pub spec: JobSpec,
    /// Members in the order of `spec.agencies`.
    pub roster: Vec<RosterEntry>,
    /// Ed25519 key that signs the aggregator's protocol messages, hex.
    pub aggregator_key: String,
    /// Distinguishes two submissions of one specification, hex.
    pub nonce: String,
}

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON of this shape.
    #[error("manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// Not the canonical form, so its hash would not be unique.
    #[error("manifest: not in canonical form")]
    NotCanonical,
    /// Another version.
    #[error("manifest: version {found}, this software speaks version {MANIFEST_VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// The specification is out of bounds.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The roster does not fit the specification.
    #[error("manifest: roster: {0}")]
    Roster(String),
}

impl Manifest {
    /// Canonical bytes: what is hashed, signed, stored and sent.
    pub fn to_canonical(&self) -> Result<String, ManifestError> {
        Ok(canonical_json(self)?)
    }

    /// Parses and validates canonical bytes.
    pub fn from_canonical(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_str(text)?;
        if manifest.version != MANIFEST_VERSION {
            return Err(ManifestError::Version { found: manifest.version });
        }
        if manifest.to_canonical()? != text {
            return Err(ManifestError::NotCanonical);
        }
        manifest.validate()?;
        Ok(manifest)
    }

    /// Checks the specification and that the roster is the one it names.
    pub fn validate(&self) -> Result<(), ManifestError> {
        self.spec.validate()?;
        let names: Vec<_> = self.roster.iter().map(|r| r.agency.as_str()).collect();
        if names != self.spec.agencies {
            return Err(ManifestError::Roster("must be the agencies of the job, in order".into()));
        }
        let mut keys: Vec<_> = self.roster.iter().map(|r| r.signing_key.as_str()).collect();
        keys.push(&self.aggregator_key);
        keys.sort_unstable();
        if keys.windows(2).any(|w| w[0] == w[1]) {
            return Err(ManifestError::Roster("two members share a signing key".into()));
        }
        if let Some(entry) = self.roster.iter().find(|r| r.declared_records == 0) {
            return Err(ManifestError::Roster(format!("{} declares no records", entry.agency)));
        }
        Ok(())
    }

    /// The job's identity.
    pub fn hash(&self) -> Result<JobHash, ManifestError> {
        Ok(JobHash::of(self.to_canonical()?.as_bytes()))
    }

    /// Position of an agency in the roster.
    pub fn index_of(&self, agency: &str) -> Option<u16> {
        self.roster.iter().position(|r| r.agency == agency).and_then(|i| u16::try_from(i).ok())
    }
}

impl JobHash {
    /// The identity of the job whose manifest has these canonical bytes.
    pub fn of(canonical: &[u8]) -> Self {
        Self(tributary_secagg::hash("tributary/job/v1", &[canonical]).0)
    }
}

/// What the aggregator signs when it offers the manifest with these canonical bytes, and what a
/// node checks.
pub fn offer_digest(canonical: &[u8]) -> Digest {
    tributary_secagg::hash("tributary/offer/v1", &[canonical])
}

/// What the aggregator signs to say where its record of a job ends (entries, and the hash of the last
/// one), and what a node keeps.
pub fn checkpoint_digest(job: &[u8; 32], length: u64, head: &[u8; 32]) -> Digest {
    tributary_secagg::hash("tributary/checkpoint/v1", &[job, &length.to_le_bytes(), head])
}

impl fmt::Display for JobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for JobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobHash({})", &hex::encode(self.0)[..12])
    }
}
