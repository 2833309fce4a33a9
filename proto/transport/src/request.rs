//! A node's certificate request: a fresh key that never leaves the agency, and the proof of
//! possessing it.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::Zeroizing;

use crate::ca::CaError;

/// A fresh ECDSA P-256 key with its PKCS#10 request. The request asks for no name: the aggregator
/// writes the one that belongs to the token.
pub struct CertificateRequest {
    /// The private key, PKCS#8 PEM: a secret.
    pub key_pem: Zeroizing<String>,
    /// The request, DER.
    pub request_der: Vec<u8>,
    /// The public key, DER SubjectPublicKeyInfo; the issued certificate must carry exactly it.
    pub public_key_der: Vec<u8>,
}

impl CertificateRequest {
    /// Draws a key and signs the request with it.
    ///
    /// # Errors
    /// [`CaError::Generator`] if the cryptographic library fails.
    pub fn generate() -> Result<Self, CaError> {
        let generator = |e: rcgen::Error| CaError::Generator(e.to_string());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(generator)?;
        let key = Zeroizing::new(key);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&*key).map_err(generator)?;
        Ok(Self {
            key_pem: Zeroizing::new(key.serialize_pem()),
            request_der: request.der().to_vec(),
            public_key_der: rcgen::PublicKeyData::subject_public_key_info(&*key),
        })
    }
}

impl fmt::Debug for CertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateRequest({} bytes, key <redacted>)", self.request_der.len())
    }
}
