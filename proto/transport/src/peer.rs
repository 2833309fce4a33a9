//! Who is at the other end of a connection, as handlers see it.

use std::net::SocketAddr;

use tonic::{Request, Status};
use tributary_wire::AgencyName;

use crate::revocation::RevocationList;

/// The other end, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerIdentity {
    /// An agency with a valid certificate.
    Agency(AgencyName),
    /// A client that showed no certificate. It may enrol and nothing else.
    Anonymous,
}

/// What is known about a connection; in the extensions of every request on it.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Who it is.
    pub identity: PeerIdentity,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// The negotiated key exchange group, for people.
    pub key_exchange: &'static str,
    pub(crate) revocations: RevocationList,
}

/// The agency that makes this request.
///
/// # Errors
/// `UNAUTHENTICATED` without a client certificate (or on a connection that this crate did not
/// accept); `PERMISSION_DENIED` if the agency has been revoked since it connected.
pub fn require_agency<T>(request: &Request<T>) -> Result<AgencyName, Status> {
    let Some(peer) = request.extensions().get::<PeerInfo>() else {
        return Err(Status::unauthenticated("the connection has no identity"));
    };
    match &peer.identity {
        PeerIdentity::Anonymous => Err(Status::unauthenticated(
            "this call needs an agency's certificate: enrol this node first",
        )),
        PeerIdentity::Agency(agency) if peer.revocations.contains(agency) => {
            Err(Status::permission_denied(format!("agency {agency} is revoked")))
        }
        PeerIdentity::Agency(agency) => Ok(agency.clone()),
    }
}

/// Puts [`PeerIdentity`] into the extensions of a request for which no certificate is needed.
pub(crate) fn identify(mut request: Request<()>) -> Result<Request<()>, Status> {
    let Some(identity) = request.extensions().get::<PeerInfo>().map(|p| p.identity.clone()) else {
        return Err(Status::unauthenticated("the connection has no identity"));
    };
    request.extensions_mut().insert(identity);
    Ok(request)
}

/// Admits agencies only. In front of the whole Federation service: a handler cannot forget it.
pub(crate) fn admit_agency(mut request: Request<()>) -> Result<Request<()>, Status> {
    let agency = require_agency(&request)?;
    request.extensions_mut().insert(PeerIdentity::Agency(agency));
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::Revocations;

    #[test]
    fn identity_is_required_and_revocation_is_live() {
        let north = AgencyName::new("north").unwrap();
        let revocations = Revocations::new([]);
        let info = |identity| PeerInfo {
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
        request.extensions_mut().insert(info(PeerIdentity::Agency(north.clone())));
        assert_eq!(require_agency(&request).unwrap(), north);
        revocations.revoke(AgencyName::new("south").unwrap());
        assert_eq!(require_agency(&request).unwrap(), north);
        revocations.revoke(north);
        assert_eq!(code(&request), tonic::Code::PermissionDenied);
    }
}
