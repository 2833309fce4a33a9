//! Why two parties do not reach each other, in words for the one who has to fix it.
//!
//! In TLS 1.3 a client only learns afterwards, from an alert, that the server refused its
//! certificate; the classification of both directions is here and nowhere else.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::{AlertDescription, CertificateError};

use crate::certificate::utc;
use crate::credentials::CredentialsError;
use crate::identity::IdentityError;
use crate::verify::Pinned;

/// A step of connecting that can take too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Name resolution and the TCP connection.
    Connect,
    /// The TLS handshake, up to the server's first bytes.
    Handshake,
}

/// Why there is no connection. `endpoint` is always `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are named after what they hold
pub enum TransportError {
    /// The address cannot be used.
    #[error("{endpoint:?} is not an address of an aggregator: {problem}; write https://host:port")]
    Endpoint { endpoint: String, problem: &'static str },
    /// Our own files cannot be used.
    #[error("own credentials: {0}")]
    Credentials(#[from] CredentialsError),
    /// Nobody listens there.
    #[error("{endpoint}: connection refused; is the aggregator running, is the port right?")]
    ConnectionRefused { endpoint: String },
    /// No way there.
    #[error("{endpoint}: cannot be reached ({problem}); check the name, the network and the proxy")]
    Unreachable { endpoint: String, problem: String },
    /// The proxy cannot be reached, or does not let us through.
    #[error(
        "{endpoint}: no way through the proxy {proxy}: {problem}; check `proxy` in the \
         configuration, HTTPS_PROXY and NO_PROXY, and ask for this address to be allowed"
    )]
    Proxy { endpoint: String, proxy: String, problem: String },
    /// A step took too long.
    #[error("{endpoint}: {} did not finish within {limit:?}; check firewall and network", step.name())]
    TimedOut { endpoint: String, step: Step, limit: Duration },
    /// The server's certificate is for another host.
    #[error("{endpoint}: the server's certificate is for another name ({problem})")]
    NameMismatch { endpoint: String, problem: String },
    /// The server's certificate is not from the federation's authority.
    #[error(
        "{endpoint}: the server's certificate does not come from the federation's authority; \
         somebody may be intercepting the connection, or the aggregator has a new authority"
    )]
    ForeignServer { endpoint: String },
    /// The server does not show the authority that the enrolment token names.
    #[error(
        "{endpoint}: the server does not show the authority {expected} that the enrolment token \
         names; the token is for another aggregator, or somebody is intercepting the connection"
    )]
    WrongFingerprint { endpoint: String, expected: String },
    /// The server's certificate has expired.
    #[error(
        "{endpoint}: the server's certificate expired at {}; it must be renewed, or this machine's \
         clock is wrong: check the clock", when(*not_after)
    )]
    ServerCertificateExpired { endpoint: String, not_after: Option<SystemTime> },
    /// The server's certificate is not valid yet.
    #[error(
        "{endpoint}: the server's certificate is valid only from {}; this machine's clock is \
         probably wrong: check the clock", when(*not_before)
    )]
    ServerCertificateNotYetValid { endpoint: String, not_before: Option<SystemTime> },
    /// The server is somebody of the federation, but not the aggregator.
    #[error("{endpoint}: not the aggregator: {source}")]
    NotTheAggregator { endpoint: String, source: IdentityError },
    /// The server says that our certificate has expired.
    #[error(
        "{endpoint}: the aggregator refused our certificate as expired (it ends at {}); renew it, \
         and check the clock of both machines", when(*not_after)
    )]
    OwnCertificateExpired { endpoint: String, not_after: Option<SystemTime> },
    /// The server does not know the authority of our certificate.
    #[error(
        "{endpoint}: the aggregator does not accept the authority of our certificate; enrol with \
         this aggregator"
    )]
    OwnCertificateForeign { endpoint: String },
    /// The server cannot tell from our certificate who we are.
    #[error("{endpoint}: our certificate names no agency of this federation; enrol again")]
    OwnCertificateNotAnAgency { endpoint: String },
    /// The member or its certificate is revoked.
    #[error(
        "{endpoint}: this agency, or this certificate of it, is revoked; talk to the people who run \
         the aggregator: a new token lets it in again"
    )]
    Revoked { endpoint: String },
    /// The other side hung up.
    #[error("{endpoint}: the other side closed the connection; it may be full or stopping")]
    Closed { endpoint: String },
    /// Any other failure of the handshake.
    #[error("{endpoint}: TLS handshake failed: {problem}")]
    Handshake { endpoint: String, problem: String },
    /// The gRPC layer failed for a reason of its own.
    #[error("{endpoint}: {problem}")]
    Rpc { endpoint: String, problem: String },
    /// The server cannot go on listening.
    #[error("the server stopped: {0}")]
    Serve(String),
}

impl TransportError {
    /// The transport error behind another error (a [`tonic::Status`], say), if there is one. A
    /// channel reconnects by itself, so this is how the reason of a later failure is found.
    pub fn behind(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found.clone());
            }
            // An io::Error hides what it was made of from `source`.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }

    /// Whether trying again later, unchanged, can help.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::ConnectionRefused { .. }
                | Self::Unreachable { .. }
                | Self::Proxy { .. }
                | Self::TimedOut { .. }
                | Self::Closed { .. }
                | Self::Rpc { .. }
        )
    }

    /// Classifies a failed TCP connection.
    pub(crate) fn from_connect(endpoint: &str, error: &io::Error) -> Self {
        let endpoint = endpoint.to_owned();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectionRefused { endpoint },
            _ => Self::Unreachable { endpoint, problem: error.to_string() },
        }
    }

    /// Classifies a failed handshake, as the client sees it. `own` is the end of our certificate.
    pub(crate) fn from_handshake(
        endpoint: &str,
        error: &io::Error,
        own: Option<SystemTime>,
    ) -> Self {
        let name = endpoint;
        let endpoint = endpoint.to_owned();
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(fault)) => Self::from_certificate(name, fault),
            Some(rustls::Error::AlertReceived(alert)) => Self::from_alert(name, *alert, own),
            Some(other) => Self::Handshake { endpoint, problem: other.to_string() },
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Self::Closed { endpoint },
                _ => Self::Handshake { endpoint, problem: error.to_string() },
            },
        }
    }

    /// What we hold against the server's certificate.
    fn from_certificate(endpoint: &str, fault: &CertificateError) -> Self {
        let endpoint = endpoint.to_owned();
        let time = |t: &rustls_pki_types::UnixTime| {
            UNIX_EPOCH.checked_add(Duration::from_secs(t.as_secs()))
        };
        match fault {
            CertificateError::Expired => {
                Self::ServerCertificateExpired { endpoint, not_after: None }
            }
            CertificateError::ExpiredContext { not_after, .. } => {
                Self::ServerCertificateExpired { endpoint, not_after: time(not_after) }
            }
            CertificateError::NotValidYet => {
                Self::ServerCertificateNotYetValid { endpoint, not_before: None }
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                Self::ServerCertificateNotYetValid { endpoint, not_before: time(not_before) }
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::NameMismatch { endpoint, problem: fault.to_string() }
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::ForeignServer { endpoint }
            }
            CertificateError::Other(other) => {
                if let Some(source) = other.0.downcast_ref::<IdentityError>() {
                    return Self::NotTheAggregator { endpoint, source: source.clone() };
                }
                if let Some(Pinned { expected }) = other.0.downcast_ref::<Pinned>() {
                    return Self::WrongFingerprint { endpoint, expected: expected.to_string() };
                }
                Self::Handshake { endpoint, problem: fault.to_string() }
            }
            _ => Self::Handshake { endpoint, problem: fault.to_string() },
        }
    }

    /// What the server holds against our certificate.
    fn from_alert(endpoint: &str, alert: AlertDescription, own: Option<SystemTime>) -> Self {
        let endpoint = endpoint.to_owned();
        match alert {
            AlertDescription::CertificateExpired => {
                Self::OwnCertificateExpired { endpoint, not_after: own }
            }
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                Self::OwnCertificateForeign { endpoint }
            }
            AlertDescription::AccessDenied => Self::OwnCertificateNotAnAgency { endpoint },
            AlertDescription::CertificateRevoked => Self::Revoked { endpoint },
            AlertDescription::ProtocolVersion => Self::Handshake {
                endpoint,
                problem: "the other side does not speak TLS 1.3".into(),
            },
            other => Self::Handshake { endpoint, problem: format!("alert {other:?}") },
        }
    }
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::Handshake => "the TLS handshake",
        }
    }
}

fn when(time: Option<SystemTime>) -> String {
    time.map_or_else(|| "an unknown time".into(), utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(error: rustls::Error) -> TransportError {
        let io = io::Error::new(io::ErrorKind::InvalidData, error);
        TransportError::from_handshake("a:1", &io, Some(UNIX_EPOCH))
    }

    #[test]
    fn alerts_speak_of_our_certificate() {
        let endpoint = || "a:1".to_owned();
        let alert = |a| classify(rustls::Error::AlertReceived(a));
        let expired = alert(AlertDescription::CertificateExpired);
        let expected = TransportError::OwnCertificateExpired {
            endpoint: endpoint(),
            not_after: Some(UNIX_EPOCH),
        };
        assert_eq!(expired, expected);
        assert!(expired.to_string().contains("1970-01-01T00:00:00Z"));
        assert!(expired.to_string().contains("check the clock"));
        let revoked = alert(AlertDescription::CertificateRevoked);
        assert_eq!(revoked, TransportError::Revoked { endpoint: endpoint() });
        assert!(!revoked.is_transient());
        let foreign = alert(AlertDescription::UnknownCA);
        assert_eq!(foreign, TransportError::OwnCertificateForeign { endpoint: endpoint() });
    }

    #[test]
    fn the_error_is_found_behind_others() {
        let inner = TransportError::Closed { endpoint: "a:1".into() };
        let outer = io::Error::other(io::Error::other(inner.clone()));
        assert_eq!(TransportError::behind(&outer), Some(inner));
        assert_eq!(TransportError::behind(&io::Error::other("x")), None);
    }
}
