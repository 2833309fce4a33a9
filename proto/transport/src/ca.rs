//! The built-in certificate authority of the aggregator: one self-signed root that issues the
//! aggregator's own certificate and short-lived ones for agencies. ECDSA P-256 throughout.
//!
//! It decides nothing about who may have a certificate (the enrolment token does) and keeps no
//! list of what it issued.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use tributary_wire::{AgencyName, Member};
use zeroize::Zeroizing;

use crate::certificate::{self, Fingerprint};
use crate::credentials::ServerCredentials;
use crate::identity::TrustDomain;
use crate::revocation::BACKDATE;

/// Why no certificate is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaError {
    /// The authority's certificate cannot be used.
    #[error("certificate authority: {0}")]
    Authority(&'static str),
    /// The authority's own certificate has expired.
    #[error("the certificate authority expired at {0}; set up a new one and enrol again")]
    AuthorityExpired(String),
    /// The request is not well formed, or its signature is not by the key it holds.
    #[error("certificate request refused: {0}")]
    Request(String),
    /// A name that cannot stand in a certificate.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    ServerName(String),
    /// A validity of zero, or one past the year 9999.
    #[error("the requested validity is out of bounds")]
    Validity,
    /// The cryptographic library failed.
    #[error("certificate generation failed: {0}")]
    Generator(String),
}

/// The authority: its certificate and its private key.
pub struct CertificateAuthority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    not_after: SystemTime,
    key: Zeroizing<KeyPair>,
    trust_domain: TrustDomain,
}

impl CertificateAuthority {
    /// A new authority, valid from `now` for `validity`. `name` is for people only.
    ///
    /// Returns it with its private key (PKCS#8 PEM), which the caller stores.
    ///
    /// # Errors
    /// [`CaError::Validity`] or [`CaError::Generator`].
    pub fn create(
        name: &str,
        trust_domain: TrustDomain,
        now: SystemTime,
        validity: Duration,
    ) -> Result<(Self, Zeroizing<String>), CaError> {
        let key = new_key()?;
        let mut params = parameters(name, now, now.checked_add(validity), validity)?;
        // A path length of 0: this key signs leaves and nothing else signs in its name.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&*key).map_err(generator)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        let ca = Self::assemble(certificate.der().clone(), certificate.pem(), key, trust_domain)?;
        Ok((ca, key_pem))
    }

    /// An authority from its stored certificate and key.
    ///
    /// # Errors
    /// [`CaError::Authority`] if they are unreadable, do not belong together or are not an
    /// authority's.
    pub fn from_pem(
        certificate_pem: &str,
        key_pem: &str,
        trust_domain: TrustDomain,
    ) -> Result<Self, CaError> {
        let mut chain = certificate::from_pem(certificate_pem)
            .map_err(|_| CaError::Authority("the certificate cannot be read"))?;
        let Some(der) = chain.pop().filter(|_| chain.is_empty()) else {
            return Err(CaError::Authority("the file must hold exactly one certificate"));
        };
        let key = KeyPair::from_pem(key_pem)
            .map_err(|_| CaError::Authority("the private key cannot be read"))?;
        Self::assemble(der, certificate_pem.to_owned(), Zeroizing::new(key), trust_domain)
    }

    /// The authority's certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// What an enrolment token pins.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// When the authority's own certificate ends.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// A fresh key and certificate for the aggregator, valid for the given DNS names and IP
    /// addresses. The chain ends in the authority's certificate, which a node that enrols needs.
    ///
    /// # Errors
    /// Any [`CaError`] but `Request`.
    pub fn issue_server(
        &self,
        names: &[&str],
        validity: Duration,
        now: SystemTime,
    ) -> Result<ServerCredentials, CaError> {
        let key = new_key()?;
        let mut params = self.leaf("aggregator", now, validity)?;
        for name in names {
            params.subject_alt_names.push(server_name(name)?);
        }
        params.subject_alt_names.push(uri(self.trust_domain.aggregator_uri())?);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&*key, &self.issuer()?).map_err(generator)?;
        Ok(ServerCredentials {
            chain_pem: format!("{}{}", certificate.pem(), self.certificate_pem),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }

    /// As [`CertificateAuthority::issue_member`], for an agency.
    ///
    /// # Errors
    /// The same.
    pub fn issue_agency(
        &self,
        request_der: &[u8],
        agency: &AgencyName,
        validity: Duration,
        now: SystemTime,
    ) -> Result<String, CaError> {
        self.issue_member(request_der, &Member::Agency(agency.clone()), validity, now)
    }

    /// A certificate for the key of a PKCS#10 request, in the name of `member`. Returns PEM.
    ///
    /// Only the key and the proof of possessing it are taken from the request: every name, usage
    /// and constraint it asks for is ignored.
    ///
    /// # Errors
    /// [`CaError::Request`] if it is malformed, not self-signed or not ECDSA P-256; else as
    /// [`CertificateAuthority::issue_server`].
    pub fn issue_member(
        &self,
        request_der: &[u8],
        member: &Member,
        validity: Duration,
        now: SystemTime,
    ) -> Result<String, CaError> {
        let der = CertificateSigningRequestDer::from(request_der);
        // Checks the self-signature.
        let request = CertificateSigningRequestParams::from_der(&der)
            .map_err(|e| CaError::Request(e.to_string()))?;
        if PublicKeyData::algorithm(&request.public_key) != &PKCS_ECDSA_P256_SHA256 {
            return Err(CaError::Request("the key must be ECDSA P-256 with SHA-256".into()));
        }
        let mut params = self.leaf(&member.to_string(), now, validity)?;
        params.subject_alt_names.push(uri(self.trust_domain.member_uri(member))?);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = self.issuer()?;
        let certificate = params.signed_by(&request.public_key, &issuer).map_err(generator)?;
        Ok(certificate.pem())
    }

    fn assemble(
        certificate: CertificateDer<'static>,
        certificate_pem: String,
        key: Zeroizing<KeyPair>,
        trust_domain: TrustDomain,
    ) -> Result<Self, CaError> {
        let parsed = certificate::parse(&certificate)
            .map_err(|_| CaError::Authority("the certificate cannot be read"))?;
        if !parsed.is_ca() {
            return Err(CaError::Authority("the certificate is not an authority's"));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(CaError::Authority("the private key belongs to another certificate"));
        }
        let not_after = certificate::validity(&certificate)
            .map_err(|_| CaError::Authority("the certificate cannot be read"))?
            .not_after;
        Ok(Self { certificate, certificate_pem, not_after, key, trust_domain })
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, CaError> {
        Issuer::from_ca_cert_der(&self.certificate, &*self.key).map_err(generator)
    }

    /// Parameters of a leaf: never valid longer than the authority itself.
    fn leaf(
        &self,
        name: &str,
        now: SystemTime,
        validity: Duration,
    ) -> Result<CertificateParams, CaError> {
        if now >= self.not_after {
            return Err(CaError::AuthorityExpired(certificate::utc(self.not_after)));
        }
        let end = now.checked_add(validity).map(|end| end.min(self.not_after));
        let mut params = parameters(name, now, end, validity)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateAuthority({}, key <redacted>)", self.fingerprint())
    }
}

fn parameters(
    name: &str,
    now: SystemTime,
    end: Option<SystemTime>,
    validity: Duration,
) -> Result<CertificateParams, CaError> {
    let (Some(start), Some(end)) = (now.checked_sub(BACKDATE), end) else {
        return Err(CaError::Validity);
    };
    if validity.is_zero() {
        return Err(CaError::Validity);
    }
    let mut params = CertificateParams::default();
    params.not_before = x509_time(start)?;
    params.not_after = x509_time(end)?;
    params.serial_number = Some(random_serial()?);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

/// X.509 ends with the year 9999.
fn x509_time(time: SystemTime) -> Result<time::OffsetDateTime, CaError> {
    let unix = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| CaError::Validity)?;
    let seconds = i64::try_from(unix.as_secs()).map_err(|_| CaError::Validity)?;
    time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| CaError::Validity)
}

/// 126 random bits: positive, at most 20 octets (RFC 5280, 4.1.2.2), not guessable.
fn random_serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|e| CaError::Generator(e.to_string()))?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn server_name(name: &str) -> Result<SanType, CaError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let invalid = || CaError::ServerName(name.to_owned());
    rustls_pki_types::DnsName::try_from(name).map_err(|_| invalid())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| invalid())?))
}

fn uri(uri: String) -> Result<SanType, CaError> {
    Ok(SanType::URI(uri.try_into().map_err(generator)?))
}

fn new_key() -> Result<Zeroizing<KeyPair>, CaError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Zeroizing::new).map_err(generator)
}

fn generator(error: rcgen::Error) -> CaError {
    CaError::Generator(error.to_string())
}

#[cfg(test)]
mod tests;
