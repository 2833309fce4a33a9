//! Enrolment as the node does it: with nothing but a token it authenticates the aggregator, sends
//! its request, and checks everything that comes back before it is worth storing.

use std::fmt;
use std::time::SystemTime;

use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::UnixTime;
use tonic::transport::Channel;
use tributary_wire::enrolment::{Enrol, Enrolled};
use tributary_wire::limits::MAX_AUTHORITIES;
use tributary_wire::{Member, PROTOCOL_VERSION, Text, WireError};
use zeroize::Zeroizing;

use crate::ca::CaError;
use crate::certificate::{self, Fingerprint};
use crate::client::{ClientOptions, connect_for_enrolment, connect_for_enrolment_with};
use crate::credentials::NodeCredentials;
use crate::error::TransportError;
use crate::identity;
use crate::request::CertificateRequest;
use crate::services::enrolment_client;
use crate::tls;
use crate::token::{EnrolmentToken, TokenError};
use crate::verify::store;

/// What a member has after enrolling; store it before using it.
pub struct Enrolment {
    /// The key, certificate and authorities.
    pub credentials: NodeCredentials,
    /// Ed25519 key that signs the aggregator's protocol messages. Pin it.
    pub aggregator_signing_key: [u8; 32],
    /// Who is enrolled.
    pub member: Member,
}

/// A certificate of an agency's own authority, with its key.
pub struct OwnCertificate {
    /// Leaf first, PEM.
    pub chain_pem: String,
    /// The private key, PKCS#8: a secret.
    pub key_pem: Zeroizing<String>,
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

/// Enrols a member: draws a key, shows the token, checks the reply. Nothing is stored here.
///
/// `signing_key` is the public Ed25519 key of an agency's protocol messages, which is not the TLS
/// key; a person has none. `software_version` is for people.
///
/// # Errors
/// Any [`EnrolError`].
pub async fn enrol(
    endpoint: &str,
    token: &EnrolmentToken,
    signing_key: Option<[u8; 32]>,
    software_version: &str,
    options: &ClientOptions,
) -> Result<Enrolment, EnrolError> {
    token.check_expiry(SystemTime::now())?;
    let request = CertificateRequest::generate()?;
    let channel = connect_for_enrolment(endpoint, token.ca_fingerprint(), options).await?;
    let csr = Some(request.request_der.clone());
    let reply = ask(channel, token, csr, signing_key, software_version).await?;
    let Some(chain_pem) = reply.certificate_chain_pem.clone() else {
        return Err(EnrolError::Unacceptable("there is no certificate"));
    };
    check_chain(&chain_pem, &reply.ca_pem, &request, token.member(), options)
        .map_err(EnrolError::Unacceptable)?;
    let key_pem = request.key_pem;
    Ok(Enrolment {
        credentials: NodeCredentials { ca_pem: reply.ca_pem, chain_pem, key_pem },
        aggregator_signing_key: reply.aggregator_signing_key,
        member: reply.member,
    })
}

/// Enrols an agency that has a certificate of its own authority, which the aggregator must have been
/// told of. Nothing is stored here.
///
/// # Errors
/// Any [`EnrolError`].
pub async fn enrol_with(
    endpoint: &str,
    token: &EnrolmentToken,
    own: OwnCertificate,
    signing_key: [u8; 32],
    software_version: &str,
    options: &ClientOptions,
) -> Result<Enrolment, EnrolError> {
    token.check_expiry(SystemTime::now())?;
    let ca = token.ca_fingerprint();
    let channel =
        connect_for_enrolment_with(endpoint, ca, &own.chain_pem, &own.key_pem, options).await?;
    let reply = ask(channel, token, None, Some(signing_key), software_version).await?;
    Ok(Enrolment {
        credentials: NodeCredentials {
            ca_pem: reply.ca_pem,
            chain_pem: own.chain_pem,
            key_pem: own.key_pem,
        },
        aggregator_signing_key: reply.aggregator_signing_key,
        member: reply.member,
    })
}

/// Shows the token and checks what does not depend on the certificate.
async fn ask(
    channel: Channel,
    token: &EnrolmentToken,
    certificate_request: Option<Vec<u8>>,
    signing_key: Option<[u8; 32]>,
    software_version: &str,
) -> Result<Enrolled, EnrolError> {
    let message = Enrol {
        protocol_version: PROTOCOL_VERSION,
        token: Zeroizing::new(token.to_string()),
        certificate_request,
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
    let unacceptable = EnrolError::Unacceptable;
    let authorities = certificate::from_pem(&reply.ca_pem)
        .map_err(|_| unacceptable("the authority cannot be read"))?;
    // Others may stand beside it while one authority replaces another: it is this one that vouches
    // for them, by way of the connection.
    if !authorities.iter().any(|ca| Fingerprint::of(ca) == token.ca_fingerprint()) {
        return Err(unacceptable("the authority is not the one that the token names"));
    }
    if authorities.len() > MAX_AUTHORITIES {
        return Err(unacceptable("there are too many authorities"));
    }
    if reply.member != *token.member() {
        return Err(unacceptable("it is for another member than the token"));
    }
    Ok(reply)
}

/// The certificate is for our key, our name, and good for TLS under these authorities; else what is
/// wrong with it.
pub(crate) fn check_chain(
    chain_pem: &str,
    ca_pem: &str,
    request: &CertificateRequest,
    member: &Member,
    options: &ClientOptions,
) -> Result<(), &'static str> {
    let chain = certificate::from_pem(chain_pem).map_err(|_| "the certificate cannot be read")?;
    let [leaf, intermediates @ ..] = chain.as_slice() else {
        return Err("there is no certificate");
    };
    let key = certificate::public_key(leaf).map_err(|_| "the certificate cannot be read")?;
    if key != request.public_key_der {
        return Err("the certificate is for another key");
    }
    let named = identity::member_of(leaf, &options.trust_domain)
        .map_err(|_| "the certificate names no member of this federation")?;
    if named != *member {
        return Err("the certificate is for another member");
    }
    let authorities = certificate::from_pem(ca_pem).map_err(|_| "the authority cannot be read")?;
    let roots = store(authorities).map_err(|_| "the authority cannot be used")?;
    WebPkiClientVerifier::builder_with_provider(roots, tls::provider())
        .build()
        .map_err(|_| "the authority cannot be used")?
        .verify_client_cert(leaf, intermediates, UnixTime::now())
        .map_err(|_| "the certificate does not verify; check the clock")?;
    Ok(())
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enrolment({}, credentials <redacted>)", self.member)
    }
}
