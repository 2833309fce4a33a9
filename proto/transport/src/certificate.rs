//! Reading certificates: PEM, validity, public key, fingerprint. Nothing here decides about trust.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;

/// SHA-256 over the DER encoding of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// The seconds between which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: SystemTime,
    /// Last second.
    pub not_after: SystemTime,
}

/// Text or bytes that are no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// The PEM text holds no certificate, or a damaged one.
    #[error("no readable certificate in the PEM text")]
    Pem,
    /// The DER bytes are no X.509 certificate.
    #[error("not an X.509 certificate")]
    Der,
    /// Not 64 hexadecimal digits.
    #[error("a fingerprint is 64 hexadecimal digits")]
    Fingerprint,
}

impl Fingerprint {
    /// The fingerprint of a certificate's DER bytes.
    pub fn of(der: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Self(out)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = CertificateFault;

    fn from_str(text: &str) -> Result<Self, CertificateFault> {
        let mut out = [0; 32];
        hex::decode_to_slice(text, &mut out).map_err(|_| CertificateFault::Fingerprint)?;
        Ok(Self(out))
    }
}

/// The certificates of a PEM text, in order, at least one.
///
/// # Errors
/// [`CertificateFault::Pem`].
pub fn from_pem(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateFault::Pem)?;
    if chain.is_empty() { Err(CertificateFault::Pem) } else { Ok(chain) }
}

/// The first certificate of a PEM text.
///
/// # Errors
/// [`CertificateFault::Pem`].
pub fn leaf_from_pem(pem: &str) -> Result<CertificateDer<'static>, CertificateFault> {
    from_pem(pem)?.into_iter().next().ok_or(CertificateFault::Pem)
}

/// When a certificate is valid.
///
/// # Errors
/// [`CertificateFault::Der`].
pub fn validity(der: &[u8]) -> Result<Validity, CertificateFault> {
    let certificate = parse(der)?;
    let time = |t: x509_parser::time::ASN1Time| system_time(t.timestamp());
    let validity = certificate.validity();
    Ok(Validity { not_before: time(validity.not_before), not_after: time(validity.not_after) })
}

/// The DER encoding of the subject's public key (SubjectPublicKeyInfo).
///
/// # Errors
/// [`CertificateFault::Der`].
pub fn public_key(der: &[u8]) -> Result<Vec<u8>, CertificateFault> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

/// SHA-256 over the DER encoding of the subject's public key: what a certificate's key is known by.
///
/// # Errors
/// [`CertificateFault::Der`].
pub fn key_fingerprint(der: &[u8]) -> Result<Fingerprint, CertificateFault> {
    Ok(Fingerprint::of(parse(der)?.public_key().raw))
}

/// The serial number, lower-case hexadecimal, at most the 20 octets that RFC 5280 allows.
///
/// # Errors
/// [`CertificateFault::Der`].
pub fn serial(der: &[u8]) -> Result<String, CertificateFault> {
    let certificate = parse(der)?;
    let bytes = certificate.raw_serial();
    Ok(hex::encode(bytes.get(..bytes.len().min(20)).unwrap_or(bytes)))
}

/// A point in time as people read it, UTC.
pub fn utc(time: SystemTime) -> String {
    use time::format_description::well_known::Rfc3339;
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX).saturating_neg()
        }
    };
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|t| t.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} seconds after 1970"))
}

/// An X.509 structure without anything behind it.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateFault> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateFault::Der),
    }
}

fn system_time(unix: i64) -> SystemTime {
    let distance = Duration::from_secs(unix.unsigned_abs());
    let time =
        if unix < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_read_back() {
        // SHA-256("abc"), FIPS 180-4 example.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let fingerprint = Fingerprint::of(b"abc");
        assert_eq!(fingerprint.to_string(), known);
        assert_eq!(known.parse(), Ok(fingerprint));
        assert_eq!("ba78".parse::<Fingerprint>(), Err(CertificateFault::Fingerprint));
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(from_pem("hello"), Err(CertificateFault::Pem));
        let damaged = "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
        assert_eq!(from_pem(damaged), Err(CertificateFault::Pem));
        assert_eq!(validity(&[0x30, 0x00]), Err(CertificateFault::Der));
    }

    #[test]
    fn times_are_readable() {
        let time = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        assert_eq!(utc(time), "2030-03-17T17:46:40Z");
    }
}
