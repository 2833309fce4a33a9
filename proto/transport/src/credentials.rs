//! What proves who a party is: a private key, its certificate chain and, for a node, the authority
//! it trusts. In memory as PEM, in a data folder as files.
//!
//! Knows nothing of connections; [`crate::tls`] turns credentials into TLS settings.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tributary_wire::{AgencyName, Member};
use zeroize::Zeroizing;

use crate::certificate::{self, CertificateFault, Fingerprint};
use crate::files::{self, Entry, FileError};
use crate::identity::{self, IdentityError, TrustDomain};
use crate::revocation::PeerCertificate;

const CA: &str = "ca.pem";
const CHAIN: &str = "chain.pem";
const KEY: &str = "key.pem";
const GROUP: &str = "credentials";

/// A node's credentials. Files: `key.pem` (mode 0600), `chain.pem`, `ca.pem`.
pub struct NodeCredentials {
    /// The authority that the aggregator's certificate must come from.
    pub ca_pem: String,
    /// The node's certificate, leaf first.
    pub chain_pem: String,
    /// The private key, PKCS#8: a secret.
    pub key_pem: Zeroizing<String>,
}

/// The aggregator's credentials. Files: `key.pem` (mode 0600), `chain.pem`.
pub struct ServerCredentials {
    /// The aggregator's certificate, leaf first, the authority's last.
    pub chain_pem: String,
    /// The private key, PKCS#8: a secret.
    pub key_pem: Zeroizing<String>,
}

/// Credentials that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate file holds none.
    #[error("{file}: {fault}")]
    Certificate {
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        fault: CertificateFault,
    },
    /// The key file holds no private key.
    #[error("{KEY} holds no readable private key")]
    Key,
    /// The key is not the certificate's, or TLS cannot use it.
    #[error("{KEY} and {CHAIN} cannot be used together: {0}")]
    Mismatch(String),
    /// A revocation list that cannot be read.
    #[error("the revocation list of the authority cannot be read; it must be PEM")]
    RevocationList,
    /// The certificate does not say who it speaks for.
    #[error("{CHAIN}: {0}")]
    Identity(#[from] IdentityError),
}

impl NodeCredentials {
    /// Reads the files of a data folder, after finishing a save that a crash interrupted.
    ///
    /// # Errors
    /// [`CredentialsError::File`], also for a key file that others may read.
    pub fn load(folder: &Path) -> Result<Self, CredentialsError> {
        files::recover(folder, GROUP, &[KEY, CHAIN, CA])?;
        Ok(Self {
            key_pem: files::read_secret(&folder.join(KEY))?,
            chain_pem: files::read_text(&folder.join(CHAIN))?,
            ca_pem: files::read_text(&folder.join(CA))?,
        })
    }

    /// Writes the files; after a crash the folder holds the old set or the new one.
    ///
    /// # Errors
    /// [`CredentialsError::File`].
    pub fn save(&self, folder: &Path) -> Result<(), CredentialsError> {
        let entries = [
            Entry { name: KEY, content: self.key_pem.as_bytes(), secret: true },
            Entry { name: CHAIN, content: self.chain_pem.as_bytes(), secret: false },
            Entry { name: CA, content: self.ca_pem.as_bytes(), secret: false },
        ];
        Ok(files::save_group(folder, GROUP, &entries)?)
    }

    /// The agency that the certificate names.
    ///
    /// # Errors
    /// [`CredentialsError::Certificate`] or [`CredentialsError::Identity`].
    pub fn agency(&self, trust_domain: &TrustDomain) -> Result<AgencyName, CredentialsError> {
        Ok(identity::agency_of(&leaf(&self.chain_pem)?, trust_domain)?)
    }

    /// The member that the certificate names.
    ///
    /// # Errors
    /// [`CredentialsError::Certificate`] or [`CredentialsError::Identity`].
    pub fn member(&self, trust_domain: &TrustDomain) -> Result<Member, CredentialsError> {
        Ok(identity::member_of(&leaf(&self.chain_pem)?, trust_domain)?)
    }

    /// Serial number, key and validity of the certificate.
    ///
    /// # Errors
    /// [`CredentialsError::Certificate`].
    pub fn certificate(&self) -> Result<PeerCertificate, CredentialsError> {
        PeerCertificate::read(&leaf(&self.chain_pem)?, false).map_err(in_chain)
    }

    /// Fingerprints of the authorities that are trusted.
    ///
    /// # Errors
    /// [`CredentialsError::Certificate`].
    pub fn authorities(&self) -> Result<Vec<Fingerprint>, CredentialsError> {
        crate::members::authority_fingerprints(&self.ca_pem)
    }

    /// When the certificate ends.
    ///
    /// # Errors
    /// [`CredentialsError::Certificate`].
    pub fn not_after(&self) -> Result<SystemTime, CredentialsError> {
        not_after(&self.chain_pem)
    }

    /// When to renew the certificate: see [`crate::renew::due`].
    ///
    /// # Errors
    /// [`CredentialsError::Certificate`].
    pub fn renewal_due(&self) -> Result<SystemTime, CredentialsError> {
        renewal_due(&self.chain_pem)
    }

    /// Checks that key, certificate and authorities can be used together.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self, trust_domain: &TrustDomain) -> Result<(), CredentialsError> {
        crate::tls::node(self, trust_domain).map(drop)
    }
}

impl ServerCredentials {
    /// Reads the files of a folder, after finishing a save that a crash interrupted.
    ///
    /// # Errors
    /// [`CredentialsError::File`], also for a key file that others may read.
    pub fn load(folder: &Path) -> Result<Self, CredentialsError> {
        files::recover(folder, GROUP, &[KEY, CHAIN])?;
        Ok(Self {
            key_pem: files::read_secret(&folder.join(KEY))?,
            chain_pem: files::read_text(&folder.join(CHAIN))?,
        })
    }

    /// Writes the files; after a crash the folder holds the old set or the new one.
    ///
    /// # Errors
    /// [`CredentialsError::File`].
    pub fn save(&self, folder: &Path) -> Result<(), CredentialsError> {
        let entries = [
            Entry { name: KEY, content: self.key_pem.as_bytes(), secret: true },
            Entry { name: CHAIN, content: self.chain_pem.as_bytes(), secret: false },
        ];
        Ok(files::save_group(folder, GROUP, &entries)?)
    }

    /// When the certificate ends.
    ///
    /// # Errors
    /// [`CredentialsError::Certificate`].
    pub fn not_after(&self) -> Result<SystemTime, CredentialsError> {
        not_after(&self.chain_pem)
    }

    /// When to renew the certificate: see [`crate::renew::due`].
    ///
    /// # Errors
    /// [`CredentialsError::Certificate`].
    pub fn renewal_due(&self) -> Result<SystemTime, CredentialsError> {
        renewal_due(&self.chain_pem)
    }
}

impl fmt::Debug for NodeCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeCredentials(<redacted>)")
    }
}

impl fmt::Debug for ServerCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerCredentials(<redacted>)")
    }
}

/// The certificates of `chain.pem`.
pub(crate) fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    certificate::from_pem(pem).map_err(|fault| CredentialsError::Certificate { file: CHAIN, fault })
}

/// The certificates of `ca.pem`.
pub(crate) fn authorities(pem: &str) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    certificate::from_pem(pem).map_err(|fault| CredentialsError::Certificate { file: CA, fault })
}

/// The key of `key.pem`.
pub(crate) fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, CredentialsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| CredentialsError::Key)
}

pub(crate) fn leaf(chain_pem: &str) -> Result<CertificateDer<'static>, CredentialsError> {
    certificate::leaf_from_pem(chain_pem).map_err(in_chain)
}

pub(crate) fn not_after(chain_pem: &str) -> Result<SystemTime, CredentialsError> {
    Ok(certificate::validity(&leaf(chain_pem)?).map_err(in_chain)?.not_after)
}

fn renewal_due(chain_pem: &str) -> Result<SystemTime, CredentialsError> {
    crate::renew::due(&leaf(chain_pem)?).map_err(in_chain)
}

fn in_chain(fault: CertificateFault) -> CredentialsError {
    CredentialsError::Certificate { file: CHAIN, fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> NodeCredentials {
        NodeCredentials {
            ca_pem: "ca".into(),
            chain_pem: "chain".into(),
            key_pem: Zeroizing::new("very secret".into()),
        }
    }

    #[test]
    fn saved_credentials_load_again() {
        let folder = tempfile::tempdir().unwrap();
        credentials().save(folder.path()).unwrap();
        let loaded = NodeCredentials::load(folder.path()).unwrap();
        assert_eq!(loaded.ca_pem, "ca");
        assert_eq!(loaded.chain_pem, "chain");
        assert_eq!(loaded.key_pem.as_str(), "very secret");
        assert!(!format!("{loaded:?}").contains("secret"));
    }

    #[cfg(unix)]
    #[test]
    fn an_exposed_key_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        credentials().save(folder.path()).unwrap();
        let key = folder.path().join(KEY);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(
            NodeCredentials::load(folder.path()).unwrap_err(),
            CredentialsError::File(FileError::Exposed { path: key, mode: 0o644 })
        );
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        let error = credentials().not_after().unwrap_err();
        assert_eq!(error.to_string(), "chain.pem: no readable certificate in the PEM text");
        assert_eq!(private_key("x").unwrap_err(), CredentialsError::Key);
    }
}
