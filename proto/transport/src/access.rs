//! Who may call what: one table, and the gate in front of every service that keeps to it.
//!
//! The gate sees a call before any service does. A call that the table does not name is refused, so a
//! new one that nobody thought about cannot be reached.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tributary_wire::{Member, Role};

use crate::peer::{PeerIdentity, PeerInfo};

/// Kinds of callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Nobody known: no certificate.
    Anonymous,
    /// An agency's node.
    Agency,
    /// A person with a role.
    Person(Role),
}

use Caller::{Agency, Anonymous, Person};
use Role::{Auditor, Operator, Researcher};

const ENROL: &str = "/tributary.v1.Enrolment/Enrol";

/// Every call, and who may make it.
pub const ACCESS: &[(&str, &[Caller])] = &[
    (ENROL, &[Anonymous, Agency, Person(Operator), Person(Researcher), Person(Auditor)]),
    ("/tributary.v1.Federation/Session", &[Agency]),
    (
        "/tributary.v1.Membership/Renew",
        &[Agency, Person(Operator), Person(Researcher), Person(Auditor)],
    ),
    ("/tributary.v1.Control/SubmitJob", &[Person(Operator), Person(Researcher)]),
    ("/tributary.v1.Control/ListJobs", &[Person(Operator), Person(Researcher), Person(Auditor)]),
    ("/tributary.v1.Control/JobStatus", &[Person(Operator), Person(Researcher), Person(Auditor)]),
    // A researcher ends own jobs only: the service looks at who submitted it.
    ("/tributary.v1.Control/CancelJob", &[Person(Operator), Person(Researcher)]),
    (
        "/tributary.v1.Control/ListAgencies",
        &[Person(Operator), Person(Researcher), Person(Auditor)],
    ),
    // No operator is made from afar: the service looks at whom the token is for.
    ("/tributary.v1.Control/IssueToken", &[Person(Operator)]),
    ("/tributary.v1.Control/Revoke", &[Person(Operator)]),
    ("/tributary.v1.Control/FetchModel", &[Person(Operator), Person(Researcher)]),
    ("/tributary.v1.Control/FetchEvidence", &[Person(Operator), Person(Auditor)]),
];

impl Caller {
    /// The kind of a peer.
    pub fn of(identity: &PeerIdentity) -> Self {
        match identity {
            PeerIdentity::Anonymous => Self::Anonymous,
            PeerIdentity::Member(Member::Agency(_)) => Self::Agency,
            PeerIdentity::Member(Member::Person(role, _)) => Self::Person(*role),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anybody",
            Self::Agency => "an agency",
            Self::Person(Operator) => "an operator",
            Self::Person(Researcher) => "a researcher",
            Self::Person(Auditor) => "an auditor",
        }
    }
}

/// Who may make a call; `None` if there is no such call.
pub fn allowed(path: &str) -> Option<&'static [Caller]> {
    ACCESS.iter().find(|(known, _)| *known == path).map(|(_, callers)| *callers)
}

/// Decides about one call.
///
/// # Errors
/// `UNAUTHENTICATED` for a caller without a certificate where one is needed (or on a connection that
/// this crate did not accept), `PERMISSION_DENIED` for one of another kind, or that has been revoked
/// since it connected.
pub fn check(path: &str, peer: Option<&PeerInfo>) -> Result<(), Status> {
    let Some(peer) = peer else {
        return Err(Status::unauthenticated("the connection has no identity"));
    };
    // Whoever is revoked may enrol again, with a token.
    if path != ENROL {
        peer.check_live()?;
    }
    let caller = Caller::of(&peer.identity);
    let call = path.rsplit('/').next().unwrap_or(path);
    let Some(callers) = allowed(path) else {
        // Strangers are not told what there is.
        return Err(match caller {
            Anonymous => needs_certificate(),
            _ => Status::unimplemented("there is no such call; which side is newer?"),
        });
    };
    if callers.contains(&caller) {
        return Ok(());
    }
    if caller == Anonymous {
        return Err(needs_certificate());
    }
    let may: Vec<_> = callers.iter().map(|caller| caller.name()).collect();
    Err(Status::permission_denied(format!(
        "{call} is for {}; this certificate is {}'s, who is {}: ask an operator of the aggregator",
        may.join(" or "),
        peer.identity,
        caller.name()
    )))
}

fn needs_certificate() -> Status {
    Status::unauthenticated("this call needs a certificate: enrol this node first")
}

/// Puts [`Gate`] in front of the services.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GateLayer;

/// Asks [`check`] about every call, and puts the [`PeerIdentity`] into the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct Gate<S>(S);

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate(inner)
    }
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<PeerInfo>().cloned();
        if let Err(status) = check(request.uri().path(), peer.as_ref()) {
            if status.code() == Code::PermissionDenied {
                tracing::warn!(peer = ?peer.map(|p| p.identity), "{}", status.message());
            }
            return Box::pin(std::future::ready(Ok(status.into_http())));
        }
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer.identity);
        }
        Box::pin(self.0.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every call of the schema has its line in the table, and the table no line too many.
    #[test]
    fn every_call_of_the_schema_has_a_rule() {
        let schema = include_str!("../../wire/proto/tributary.proto");
        let (mut service, mut calls) = ("", Vec::new());
        for line in schema.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("service ") {
                service = name.trim_end_matches(" {");
            }
            if let Some(call) = line.strip_prefix("rpc ") {
                let call = call.split('(').next().unwrap();
                calls.push(format!("/tributary.v1.{service}/{call}"));
            }
        }
        let ruled: Vec<_> = ACCESS.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(calls, ruled);
    }

    #[test]
    fn only_enrolment_is_for_strangers_and_only_sessions_are_for_agencies_alone() {
        for (path, callers) in ACCESS {
            let open = callers.contains(&Anonymous);
            assert_eq!(open, *path == ENROL, "{path}");
            if path.contains(".Control/") {
                assert!(!callers.contains(&Agency), "{path}");
                assert!(callers.contains(&Person(Operator)), "{path}");
            }
        }
        assert_eq!(allowed("/tributary.v1.Federation/Session"), Some(&[Agency][..]));
        assert_eq!(allowed("/tributary.v1.Control/Anything"), None);
    }
}
