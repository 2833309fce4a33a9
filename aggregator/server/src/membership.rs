//! Enrolment and renewal: who gets a certificate, and what is remembered of it before it is handed out.

use std::sync::Arc;
use std::time::SystemTime;

use tonic::{Request, Response, Status};
use tributary_secagg::Identity;
use tributary_store::{CertificateRefusal, NewCertificate, Store, StoreError};
use tributary_transport::{
    CertificateAuthority, EnrolmentToken, Member, PeerCertificate, PeerIdentity, PeerInfo,
    certificate, require_member,
};
use tributary_wire::enrolment::{Enrol, Enrolled};
use tributary_wire::renewal::{Renew, Renewed};
use tributary_wire::v1::enrolment_server::Enrolment;
use tributary_wire::v1::membership_server::Membership;
use tributary_wire::v1::{EnrolReply, EnrolRequest, RenewReply, RenewRequest};

use crate::audit::{Act, Actor};
use crate::service::check_version;
use crate::trust::Trust;
use crate::unix_now;

/// What the store says of the issuer of a certificate of an agency's own authority.
const FOREIGN: &str = "foreign";

/// Turns tokens and old certificates into new ones.
pub struct MembershipService<S> {
    pub(crate) store: S,
    pub(crate) trust: Arc<Trust>,
    pub(crate) signing_key: [u8; 32],
    pub(crate) identity: Arc<Identity>,
}

impl<S: Store + Clone> Clone for MembershipService<S> {
    fn clone(&self) -> Self {
        let Self { store, trust, signing_key, identity } = self;
        let (store, trust, identity) = (store.clone(), trust.clone(), identity.clone());
        Self { store, trust, signing_key: *signing_key, identity }
    }
}

#[tonic::async_trait]
impl<S: Store> Enrolment for MembershipService<S> {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolReply>, Status> {
        let peer = request.extensions().get::<PeerInfo>().cloned();
        let ask = Enrol::try_from(request.into_inner())
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        check_version(ask.protocol_version).map_err(Status::failed_precondition)?;
        let token = EnrolmentToken::parse(&ask.token)
            .map_err(|e| Status::permission_denied(e.to_string()))?;
        let member = token.member();
        match (member, &ask.signing_key) {
            (Member::Agency(_), None) => {
                return Err(Status::invalid_argument("an agency enrols with a signing key"));
            }
            (Member::Person(..), Some(_)) => {
                return Err(Status::permission_denied(format!(
                    "this token is for {member}, a person: use it with `aggregator connect`"
                )));
            }
            _ => {}
        }
        let authorities = self.trust.authorities();
        // The request is checked before the token is used up: a mistake costs no token.
        let (chain, certificate) = match &ask.certificate_request {
            Some(request) => {
                let (pem, new) = self.issue(authorities.issuing(), request, member, None)?;
                (Some(pem), new)
            }
            None => (None, foreign(member, peer.as_ref())?),
        };
        let key = ask.signing_key.as_ref();
        let hash = token.secret_hash();
        let enrolled = self.store.enrol(&hash, key, &certificate, unix_now()).await;
        let enrolled = enrolled.map_err(|e| unavailable(&e))?;
        let enrolled = enrolled.map_err(|e| Status::permission_denied(e.to_string()))?;
        if enrolled != member.to_string() {
            return Err(Status::permission_denied("the token is for another member"));
        }
        tracing::info!(%member, serial = %certificate.serial, "enrolled");
        let serial = certificate.serial.clone();
        self.note(member, Act::Enrolled { member: member.to_string(), serial }).await?;
        self.trust.refresh(&self.store).await;
        let reply = Enrolled {
            certificate_chain_pem: chain,
            ca_pem: authorities.trusted_pem(),
            aggregator_signing_key: self.signing_key,
            member: member.clone(),
        };
        Ok(Response::new(reply.into()))
    }
}

#[tonic::async_trait]
impl<S: Store> Membership for MembershipService<S> {
    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        let (member, shown) = require_member(&request)?;
        let ask = Renew::try_from(request.into_inner())
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let trusted: Vec<String> = ask.trusted_authorities.iter().map(hex::encode).collect();
        let (name, now) = (member.to_string(), unix_now());
        let said = self.store.trusts(&name, &trusted.join(" "), now).await;
        said.map_err(|e| unavailable(&e))?;
        if shown.foreign {
            let seen = self.store.seen(&remembered(&name, &shown, FOREIGN, None), now).await;
            seen.map_err(|e| unavailable(&e))?;
        }
        let authorities = self.trust.authorities();
        let issuer = authorities.issuing().fingerprint().to_string();
        let (chain, renew_now) = match &ask.certificate_request {
            Some(_) if shown.foreign => {
                return Err(Status::failed_precondition(
                    "this agency's certificates come from its own authority: renew there",
                ));
            }
            Some(request) => {
                let parent = Some(shown.serial.clone());
                let (pem, new) = self.issue(authorities.issuing(), request, &member, parent)?;
                let renewed = self.store.renewed(&new, now).await.map_err(|e| unavailable(&e))?;
                renewed.map_err(|refusal| match refusal {
                    CertificateRefusal::TooMany => Status::resource_exhausted(refusal.to_string()),
                    _ => Status::permission_denied(refusal.to_string()),
                })?;
                let (from, serial) = (&shown.serial, &new.serial);
                tracing::info!(%member, %from, %serial, "certificate renewed");
                let (from, serial) = (from.clone(), serial.clone());
                self.note(&member, Act::Renewed { member: name, from, serial }).await?;
                (Some(pem), false)
            }
            None if shown.foreign => (None, false),
            None => {
                let known = self.store.certificate(&shown.key.0).await;
                let known = known.map_err(|e| unavailable(&e))?;
                (None, known.is_none_or(|known| known.certificate.issuer != issuer))
            }
        };
        let ca_pem = authorities.trusted_pem();
        let reply = Renewed { certificate_chain_pem: chain, ca_pem, renew_now };
        Ok(Response::new(reply.into()))
    }
}

impl<S: Store> MembershipService<S> {
    async fn note(&self, member: &Member, act: Act) -> Result<(), Status> {
        let actor = Actor::new(self.identity.clone(), member.to_string());
        actor.note(&self.store, act).await.map_err(|e| unavailable(&e))
    }

    fn issue(
        &self,
        ca: &CertificateAuthority,
        request: &[u8],
        member: &Member,
        renewed_from: Option<String>,
    ) -> Result<(String, NewCertificate), Status> {
        let pem = ca
            .issue_member(request, member, self.trust.lifetime(), SystemTime::now())
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let read = certificate::leaf_from_pem(&pem)
            .and_then(|leaf| PeerCertificate::read(&leaf, false))
            .map_err(|e| Status::internal(e.to_string()))?;
        let issuer = ca.fingerprint().to_string();
        let new = remembered(&member.to_string(), &read, &issuer, renewed_from);
        Ok((pem, new))
    }
}

/// The certificate that an agency with its own authority shows while it enrols.
fn foreign(member: &Member, peer: Option<&PeerInfo>) -> Result<NewCertificate, Status> {
    let shown = peer.and_then(|peer| match (&peer.identity, &peer.certificate) {
        (PeerIdentity::Member(shown), Some(certificate)) if certificate.foreign => {
            Some((shown, certificate))
        }
        _ => None,
    });
    match shown {
        Some((shown, certificate)) if shown == member => {
            Ok(remembered(&member.to_string(), certificate, FOREIGN, None))
        }
        Some((shown, _)) => Err(Status::permission_denied(format!(
            "the token is for {member}, the certificate of this connection is {shown}'s"
        ))),
        None => Err(Status::invalid_argument(format!(
            "there is neither a certificate request nor a certificate of an authority that \
             [[pki]] names for {member}"
        ))),
    }
}

fn remembered(
    member: &str,
    certificate: &PeerCertificate,
    issuer: &str,
    renewed_from: Option<String>,
) -> NewCertificate {
    let ends = certificate.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    NewCertificate {
        member: member.to_owned(),
        serial: certificate.serial.clone(),
        key: certificate.key.0,
        issuer: issuer.to_owned(),
        renewed_from,
        ends_at: i64::try_from(ends.as_secs()).unwrap_or(i64::MAX),
    }
}

fn unavailable(error: &StoreError) -> Status {
    tracing::error!(%error, "membership");
    Status::unavailable("the aggregator cannot write its state; try again later")
}
