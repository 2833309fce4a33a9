//! TLS settings: one cryptographic provider (aws-lc), TLS 1.3 only, X25519MLKEM768 preferred, no
//! session resumption and no early data, so that every connection is a full handshake with the
//! certificates of the moment.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::certificate::Fingerprint;
use crate::credentials::{
    CredentialsError, NodeCredentials, ServerCredentials, authorities, chain, private_key,
};
use crate::identity::TrustDomain;
use crate::members::MemberVerifier;
use crate::verify::{AggregatorVerifier, PinnedVerifier};

/// gRPC speaks HTTP/2 and nothing else.
const ALPN: &[u8] = b"h2";

/// Makes aws-lc the process-wide provider. This crate names its provider at every use; this is for
/// other users of rustls in the same program, which would panic where two providers are compiled
/// in. Call it first in `main`. Repeats are harmless.
pub fn install_provider() {
    // The error only says that a provider is installed already.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// aws-lc with X25519MLKEM768 first; the classical groups serve peers behind old middleboxes.
pub fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
    Arc::new(CryptoProvider {
        kx_groups: vec![X25519MLKEM768, X25519, SECP256R1],
        ..aws_lc_rs::default_provider()
    })
}

/// Settings of a node that has credentials.
///
/// # Errors
/// [`CredentialsError`] if they cannot be used.
pub fn node(
    credentials: &NodeCredentials,
    trust_domain: &TrustDomain,
) -> Result<ClientConfig, CredentialsError> {
    let roots = authorities(&credentials.ca_pem)?;
    let verifier = AggregatorVerifier::new(roots, provider(), trust_domain.clone())
        .map_err(CredentialsError::Mismatch)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain(&credentials.chain_pem)?, private_key(&credentials.key_pem)?)
        .map_err(unusable)?;
    Ok(full_handshakes_only(config))
}

/// Settings of a node that only has the fingerprint from its enrolment token.
///
/// # Errors
/// [`CredentialsError`] if the provider cannot do TLS 1.3.
pub fn enrolling_node(
    ca: Fingerprint,
    trust_domain: &TrustDomain,
) -> Result<ClientConfig, CredentialsError> {
    enrolling_with(ca, None, trust_domain)
}

/// As [`enrolling_node`], for one that shows a certificate of its agency's own authority (chain and
/// key, PEM).
///
/// # Errors
/// [`CredentialsError`] if they cannot be used.
pub fn enrolling_with(
    ca: Fingerprint,
    own: Option<(&str, &str)>,
    trust_domain: &TrustDomain,
) -> Result<ClientConfig, CredentialsError> {
    let verifier = PinnedVerifier::new(ca, provider(), trust_domain.clone());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match own {
        Some((chain_pem, key_pem)) => builder
            .with_client_auth_cert(chain(chain_pem)?, private_key(key_pem)?)
            .map_err(unusable)?,
        None => builder.with_no_client_auth(),
    };
    Ok(full_handshakes_only(config))
}

/// Settings of the aggregator, with its check of members.
///
/// # Errors
/// [`CredentialsError`] if the credentials cannot be used.
pub(crate) fn aggregator(
    credentials: &ServerCredentials,
    members: Arc<MemberVerifier>,
) -> Result<ServerConfig, CredentialsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(members)
        .with_single_cert(chain(&credentials.chain_pem)?, private_key(&credentials.key_pem)?)
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

fn full_handshakes_only(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    config
}

fn unusable(error: rustls::Error) -> CredentialsError {
    CredentialsError::Mismatch(error.to_string())
}
