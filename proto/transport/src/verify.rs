//! The checks of the aggregator's certificate. Each is webpki's full verification plus one rule of
//! ours: the aggregator must be the aggregator, and during enrolment the root must be the one that the
//! token names. The check of members is in [`crate::members`].

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate::Fingerprint;
use crate::identity::{self, TrustDomain};

/// The server did not show the pinned authority.
#[derive(Debug, thiserror::Error)]
#[error("the chain does not hold the authority {expected}")]
pub(crate) struct Pinned {
    pub(crate) expected: Fingerprint,
}

/// A node's check of the aggregator.
#[derive(Debug)]
pub(crate) struct AggregatorVerifier {
    webpki: Arc<WebPkiServerVerifier>,
    trust_domain: TrustDomain,
}

/// A node's check of the aggregator before it has any authority: only the token's fingerprint.
#[derive(Debug)]
pub(crate) struct PinnedVerifier {
    provider: Arc<CryptoProvider>,
    ca: Fingerprint,
    trust_domain: TrustDomain,
}

impl AggregatorVerifier {
    pub(crate) fn new(
        roots: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
        trust_domain: TrustDomain,
    ) -> Result<Self, String> {
        let webpki = WebPkiServerVerifier::builder_with_provider(store(roots)?, provider)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self { webpki, trust_domain })
    }
}

impl PinnedVerifier {
    pub(crate) fn new(
        ca: Fingerprint,
        provider: Arc<CryptoProvider>,
        trust_domain: TrustDomain,
    ) -> Self {
        Self { provider, ca, trust_domain }
    }
}

impl ServerCertVerifier for AggregatorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        identity::check_aggregator(end_entity, &self.trust_domain).map_err(other)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = intermediates
            .iter()
            .find(|der| Fingerprint::of(der) == self.ca)
            .ok_or_else(|| other(Pinned { expected: self.ca }))?;
        let provider = self.provider.clone();
        AggregatorVerifier::new(
            vec![root.clone().into_owned()],
            provider,
            self.trust_domain.clone(),
        )
        .map_err(Error::General)?
        .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

pub(crate) fn store(roots: Vec<CertificateDer<'static>>) -> Result<Arc<RootCertStore>, String> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(|e| e.to_string())?;
    }
    Ok(Arc::new(store))
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}
