//! Who is at the other end of a connection, as handlers see it.

use std::fmt;
use std::net::SocketAddr;

use tonic::{Request, Status};
use tributary_wire::{AgencyName, Member};

use crate::revocation::{PeerCertificate, RevocationList};

/// The other end, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerIdentity {
    /// A member with a valid certificate.
    Member(Member),
    /// A client that showed no certificate. It may enrol and nothing else.
    Anonymous,
}

/// What is known about a connection; in the extensions of every request on it.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Who it is.
    pub identity: PeerIdentity,
    /// The certificate that it showed.
    pub certificate: Option<PeerCertificate>,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// The negotiated key exchange group, for people.
    pub key_exchange: &'static str,
    pub(crate) revocations: RevocationList,
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(member) => member.fmt(f),
            Self::Anonymous => f.write_str("nobody"),
        }
    }
}

impl PeerInfo {
    /// Refuses a member that has been revoked since it connected.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`.
    pub(crate) fn check_live(&self) -> Result<(), Status> {
        let (PeerIdentity::Member(member), Some(certificate)) = (&self.identity, &self.certificate)
        else {
            return Ok(());
        };
        match self.revocations.reason(member, certificate) {
            None => Ok(()),
            Some(reason) => Err(Status::permission_denied(format!("{member} {reason}"))),
        }
    }
}

/// The member that makes this request, with its certificate.
///
/// # Errors
/// `UNAUTHENTICATED` without a client certificate (or on a connection that this crate did not
/// accept); `PERMISSION_DENIED` if it has been revoked since it connected.
pub fn require_member<T>(request: &Request<T>) -> Result<(Member, PeerCertificate), Status> {
    let Some(peer) = request.extensions().get::<PeerInfo>() else {
        return Err(Status::unauthenticated("the connection has no identity"));
    };
    peer.check_live()?;
    match (&peer.identity, &peer.certificate) {
        (PeerIdentity::Member(member), Some(certificate)) => {
            Ok((member.clone(), certificate.clone()))
        }
        _ => Err(Status::unauthenticated("this call needs a certificate: enrol this node first")),
    }
}

/// The agency that makes this request.
///
/// # Errors
/// As [`require_member`], and `PERMISSION_DENIED` for a person.
pub fn require_agency<T>(request: &Request<T>) -> Result<AgencyName, Status> {
    match require_member(request)?.0 {
        Member::Agency(agency) => Ok(agency),
        person => Err(Status::permission_denied(format!("{person} is no agency"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Fingerprint;
    use crate::revocation::Revocations;
    use std::time::SystemTime;

    #[test]
    fn identity_is_required_and_revocation_is_live() {
        let north = AgencyName::new("north").unwrap();
        let revocations = Revocations::new([]);
        let certificate = PeerCertificate {
            serial: "1".into(),
            key: Fingerprint([1; 32]),
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH,
            foreign: false,
        };
        let info = |identity| PeerInfo {
            certificate: (identity != PeerIdentity::Anonymous).then(|| certificate.clone()),
            identity,
            remote: ([127, 0, 0, 1], 1).into(),
            key_exchange: "",
            revocations: revocations.list(),
        };
        let mut request = Request::new(());
        let code = |r: &Request<()>| require_agency(r).unwrap_err().code();
        assert_eq!(code(&request), tonic::Code::Unauthenticated, "no information at all");
        request.extensions_mut().insert(info(PeerIdentity::Anonymous));
        assert_eq!(code(&request), tonic::Code::Unauthenticated);
        let ada = PeerIdentity::Member("researcher/ada".parse().unwrap());
        request.extensions_mut().insert(info(ada));
        assert_eq!(code(&request), tonic::Code::PermissionDenied);
        let member = PeerIdentity::Member(north.clone().into());
        request.extensions_mut().insert(info(member));
        assert_eq!(require_agency(&request).unwrap(), north);
        revocations.revoke(AgencyName::new("south").unwrap());
        assert_eq!(require_agency(&request).unwrap(), north);
        revocations.revoke(north);
        assert_eq!(code(&request), tonic::Code::PermissionDenied);
    }
}
