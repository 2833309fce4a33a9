//! Renewal as a member does it: over its authenticated connection it asks for a certificate of a fresh
//! key, and checks everything that comes back before it is worth storing. The old certificate stays
//! valid until its own end, so a reply that is lost costs nothing.

use std::time::{Duration, SystemTime};

use tonic::transport::Channel;
use tributary_wire::limits::MAX_AUTHORITIES;
use tributary_wire::renewal::{Renew, Renewed};
use tributary_wire::{Text, WireError};

use crate::ca::CaError;
use crate::certificate::{self, CertificateFault, Fingerprint};
use crate::client::ClientOptions;
use crate::credentials::{CredentialsError, NodeCredentials};
use crate::enrol::check_chain;
use crate::error::TransportError;
use crate::members::authority_fingerprints;
use crate::request::CertificateRequest;
use crate::revocation::BACKDATE;
use crate::services::membership_client;

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing was renewed. What is in use stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// Our own files cannot be used.
    #[error("own credentials: {0}")]
    Credentials(#[from] CredentialsError),
    /// No key or request.
    #[error(transparent)]
    Request(#[from] CaError),
    /// No connection.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// No answer in time.
    #[error("the aggregator did not answer within {PATIENCE:?}")]
    TimedOut,
    /// The aggregator said no.
    #[error("the aggregator refused: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
    /// The reply breaks the format.
    #[error(transparent)]
    Reply(#[from] WireError),
    /// The reply does not fit what was asked for.
    #[error("the aggregator's reply is not acceptable: {0}; report this")]
    Unacceptable(&'static str),
}

/// What the aggregator says about what is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// The authorities to trust from now on, PEM, if they are others than those in use.
    pub ca_pem: Option<String>,
    /// The certificate should be renewed now, whatever its age.
    pub renew_now: bool,
}

/// When a certificate of the built-in authority should be renewed: after two thirds of its lifetime,
/// or up to a twelfth of it sooner. How much sooner follows from the certificate itself, so that many
/// members do not come at once and each keeps to one answer.
///
/// # Errors
/// [`CertificateFault::Der`].
pub fn due(der: &[u8]) -> Result<SystemTime, CertificateFault> {
    let validity = certificate::validity(der)?;
    let issued = validity.not_before.checked_add(BACKDATE).unwrap_or(validity.not_before);
    let lifetime = validity.not_after.duration_since(issued).unwrap_or_default();
    let jitter = f64::from(Fingerprint::of(der).0[0]) / 256.0 / 12.0;
    Ok(issued + lifetime.mul_f64(2.0 / 3.0 - jitter))
}

/// Asks for a certificate of a fresh key. Nothing is stored here.
///
/// # Errors
/// Any [`RenewError`].
pub async fn renew(
    channel: Channel,
    current: &NodeCredentials,
    options: &ClientOptions,
) -> Result<NodeCredentials, RenewError> {
    let member = current.member(&options.trust_domain)?;
    let request = CertificateRequest::generate()?;
    let reply = ask(channel, current, Some(request.request_der.clone())).await?;
    let Some(chain_pem) = reply.certificate_chain_pem else {
        return Err(RenewError::Unacceptable("there is no certificate"));
    };
    check_chain(&chain_pem, &reply.ca_pem, &request, &member, options)
        .map_err(RenewError::Unacceptable)?;
    Ok(NodeCredentials { ca_pem: reply.ca_pem, chain_pem, key_pem: request.key_pem })
}

/// Asks whether the authorities are still those, and whether to renew before the time.
///
/// # Errors
/// Any [`RenewError`].
pub async fn refresh(channel: Channel, current: &NodeCredentials) -> Result<Refreshed, RenewError> {
    let reply = ask(channel, current, None).await?;
    let same = authority_fingerprints(&reply.ca_pem)? == current.authorities()?;
    Ok(Refreshed { ca_pem: (!same).then_some(reply.ca_pem), renew_now: reply.renew_now })
}

async fn ask(
    channel: Channel,
    current: &NodeCredentials,
    certificate_request: Option<Vec<u8>>,
) -> Result<Renewed, RenewError> {
    let trusted = current.authorities()?;
    let message = Renew {
        certificate_request,
        trusted_authorities: trusted.iter().map(|fingerprint| fingerprint.0).collect(),
    };
    let mut client = membership_client(channel);
    let asked = client.renew(tributary_wire::v1::RenewRequest::from(message));
    let reply = tokio::time::timeout(PATIENCE, asked)
        .await
        .map_err(|_| RenewError::TimedOut)?
        .map_err(|status| match TransportError::behind(&status) {
            Some(error) => RenewError::Transport(error),
            None => RenewError::Refused { reason: Text::clipped(status.message()).into_string() },
        })?;
    let reply = Renewed::try_from(reply.into_inner())?;
    let offered = authority_fingerprints(&reply.ca_pem)
        .map_err(|_| RenewError::Unacceptable("the authorities cannot be read"))?;
    if offered.len() > MAX_AUTHORITIES {
        return Err(RenewError::Unacceptable("there are too many authorities"));
    }
    // An authority follows another while both are trusted: a set without one of ours would lock this
    // member out, or hand it over.
    if !offered.iter().any(|fingerprint| trusted.contains(fingerprint)) {
        return Err(RenewError::Unacceptable(
            "none of the authorities is one that is trusted here",
        ));
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::CertificateAuthority;
    use crate::identity::TrustDomain;

    #[test]
    fn renewal_is_due_after_about_two_thirds_and_always_at_the_same_moment() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let day = Duration::from_secs(86_400);
        let domain = TrustDomain::default();
        let (ca, _) = CertificateAuthority::create("t", domain, now, day * 100).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let request = CertificateRequest::generate().unwrap().request_der;
            let north = "north".parse().unwrap();
            let pem = ca.issue_member(&request, &north, day * 30, now).unwrap();
            let der = certificate::leaf_from_pem(&pem).unwrap();
            let at = due(&der).unwrap();
            assert_eq!(due(&der).unwrap(), at);
            let after = at.duration_since(now).unwrap();
            assert!((day * 35 / 2..=day * 20).contains(&after), "{after:?}");
            seen.insert(at);
        }
        assert!(seen.len() > 10, "they come at different times");
    }
}
