//! Enrolment as the node does it: with nothing but a token it authenticates the aggregator, sends
//! its request, and checks everything that comes back before it is worth storing.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::UnixTime;
use tributary_wire::enrolment::{Enrol, Enrolled};
use tributary_wire::{AgencyName, PROTOCOL_VERSION, Text, WireError};
use zeroize::Zeroizing;

use crate::ca::CaError;
use crate::certificate::{self, Fingerprint};
use crate::client::{ClientOptions, connect_for_enrolment};
use crate::credentials::NodeCredentials;
use crate::error::TransportError;
use crate::identity;
use crate::request::CertificateRequest;
use crate::services::enrolment_client;
use crate::tls;
use crate::token::{EnrolmentToken, TokenError};

/// What a node has after enrolling; store it before using it.
pub struct Enrolment {
    /// The key, certificate and authority.
    pub credentials: NodeCredentials,
    /// Ed25519 key that signs the aggregator's protocol messages. Pin it.
    pub aggregator_signing_key: [u8; 32],
    /// The name under which the agency is enrolled.
    pub agency: AgencyName,
}

/// Why a node is not enrolled. The token is still good unless the aggregator answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// The token has expired.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No key or request.
    #[error(transparent)]
    Request(#[from] CaError),
    /// No connection.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The aggregator said no.
    #[error("the aggregator refused to enrol this node: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
    /// The reply breaks the format.
    #[error(transparent)]
    Reply(#[from] WireError),
    /// The reply does not fit what was asked for.
    #[error("the aggregator's reply is not acceptable: {0}; report this, and use a new token")]
    Unacceptable(&'static str),
}

/// Enrols a node: draws a key, shows the token, checks the reply. Nothing is stored here.
///
/// `signing_key` is the public Ed25519 key of the agency's protocol messages, which is not the TLS
/// key; `software_version` is for people.
///
/// # Errors
/// Any [`EnrolError`].
pub async fn enrol(
    endpoint: &str,
    token: &EnrolmentToken,
    signing_key: [u8; 32],
    software_version: &str,
    options: &ClientOptions,
) -> Result<Enrolment, EnrolError> {
    token.check_expiry(SystemTime::now())?;
    let request = CertificateRequest::generate()?;
    let channel = connect_for_enrolment(endpoint, token.ca_fingerprint(), options).await?;
    let message = Enrol {
        protocol_version: PROTOCOL_VERSION,
        token: Zeroizing::new(token.to_string()),
        certificate_request: request.request_der.clone(),
        signing_key,
        software_version: Text::clipped(software_version),
    };
    let reply = enrolment_client(channel)
        .enrol(tributary_wire::v1::EnrolRequest::from(message))
        .await
        .map_err(|status| match TransportError::behind(&status) {
            Some(error) => EnrolError::Transport(error),
            None => EnrolError::Refused { reason: Text::clipped(status.message()).into_string() },
        })?;
    let reply = Enrolled::try_from(reply.into_inner())?;
    check(&reply, token, &request, options)?;
    Ok(Enrolment {
        credentials: NodeCredentials {
            ca_pem: reply.ca_pem,
            chain_pem: reply.certificate_chain_pem,
            key_pem: request.key_pem,
        },
        aggregator_signing_key: reply.aggregator_signing_key,
        agency: reply.agency,
    })
}

/// The authority is the token's, the certificate is for our key, our name, and good for TLS.
fn check(
    reply: &Enrolled,
    token: &EnrolmentToken,
    request: &CertificateRequest,
    options: &ClientOptions,
) -> Result<(), EnrolError> {
    let unacceptable = EnrolError::Unacceptable;
    let ca = certificate::from_pem(&reply.ca_pem)
        .map_err(|_| unacceptable("the authority cannot be read"))?;
    let [ca] = ca.as_slice() else {
        return Err(unacceptable("there must be exactly one authority"));
    };
    if Fingerprint::of(ca) != token.ca_fingerprint() {
        return Err(unacceptable("the authority is not the one that the token names"));
    }
    let chain = certificate::from_pem(&reply.certificate_chain_pem)
        .map_err(|_| unacceptable("the certificate cannot be read"))?;
    let [leaf, intermediates @ ..] = chain.as_slice() else {
        return Err(unacceptable("there is no certificate"));
    };
    let key = certificate::public_key(leaf)
        .map_err(|_| unacceptable("the certificate cannot be read"))?;
    if key != request.public_key_der {
        return Err(unacceptable("the certificate is for another key"));
    }
    let named = identity::agency_of(leaf, &options.trust_domain)
        .map_err(|_| unacceptable("the certificate names no agency of this federation"))?;
    if named != *token.agency() || reply.agency != *token.agency() {
        return Err(unacceptable("the certificate is for another agency than the token"));
    }
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).map_err(|_| unacceptable("the authority cannot be used"))?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .build()
        .map_err(|_| unacceptable("the authority cannot be used"))?
        .verify_client_cert(leaf, intermediates, UnixTime::now())
        .map_err(|_| unacceptable("the certificate does not verify; check the clock"))?;
    Ok(())
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enrolment({}, credentials <redacted>)", self.agency)
    }
}
