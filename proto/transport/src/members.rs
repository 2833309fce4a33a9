//! The aggregator's check of a member's certificate: webpki's full verification under the federation's
//! authorities, or under the authority of one agency's own; then who it is; then whether it is refused.
//!
//! An agency's own authority speaks for that agency alone, whatever it signs.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use tributary_wire::{AgencyName, Member};

use crate::certificate;
use crate::credentials::{CredentialsError, authorities};
use crate::identity::{self, ForeignName, TrustDomain};
use crate::revocation::{PeerCertificate, RevocationList};
use crate::tls;
use crate::verify::store;

/// The authority of an agency's own, and how its node is named there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignAuthority {
    /// The one agency that it may speak for.
    pub agency: AgencyName,
    /// Its certificate, PEM; several where it is being changed.
    pub ca_pem: String,
    /// The name that the node's certificate must carry.
    pub name: ForeignName,
    /// Its revocation lists, PEM, if it has any. One that has expired refuses everybody.
    pub crl_pem: Option<String>,
}

/// Whose certificates the aggregator accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuthorities {
    /// The federation's authorities, PEM; two while one replaces the other.
    pub own_pem: String,
    /// Those of agencies with their own.
    pub foreign: Vec<ForeignAuthority>,
}

impl From<&str> for ClientAuthorities {
    fn from(own_pem: &str) -> Self {
        Self { own_pem: own_pem.to_owned(), foreign: Vec::new() }
    }
}

/// The check. Showing no certificate is allowed here; [`crate::access`] says what such a client may
/// call.
#[derive(Debug)]
pub(crate) struct MemberVerifier {
    own: Arc<dyn ClientCertVerifier>,
    foreign: Vec<Foreign>,
    hints: Vec<DistinguishedName>,
    trust_domain: TrustDomain,
    revocations: RevocationList,
}

#[derive(Debug)]
struct Foreign {
    agency: AgencyName,
    name: ForeignName,
    webpki: Arc<dyn ClientCertVerifier>,
}

impl MemberVerifier {
    pub(crate) fn new(
        authorities: &ClientAuthorities,
        trust_domain: TrustDomain,
        revocations: RevocationList,
    ) -> Result<Self, CredentialsError> {
        let own = webpki(&authorities.own_pem, None)?;
        let foreign = authorities.foreign.iter().map(|foreign| {
            let webpki = webpki(&foreign.ca_pem, foreign.crl_pem.as_deref())?;
            Ok(Foreign { agency: foreign.agency.clone(), name: foreign.name.clone(), webpki })
        });
        let foreign: Vec<Foreign> = foreign.collect::<Result<_, CredentialsError>>()?;
        let mut hints = own.root_hint_subjects().to_vec();
        hints.extend(foreign.iter().flat_map(|f| f.webpki.root_hint_subjects().iter().cloned()));
        Ok(Self { own, foreign, hints, trust_domain, revocations })
    }

    /// Who shows this chain, whether refused or not.
    pub(crate) fn identify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(Member, PeerCertificate), Error> {
        let unreadable = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        // The alert that follows from each error tells the node which one it was.
        let nobody = |error: identity::IdentityError| {
            tracing::warn!(%error, "refused a certificate of a trusted authority");
            Error::from(CertificateError::ApplicationVerificationFailure)
        };
        let mut problem = match self.own.verify_client_cert(leaf, intermediates, now) {
            Ok(_) => {
                let member = identity::member_of(leaf, &self.trust_domain).map_err(nobody)?;
                return Ok((member, PeerCertificate::read(leaf, false).map_err(unreadable)?));
            }
            Err(error) => error,
        };
        for foreign in &self.foreign {
            if !is_unknown(&problem) {
                break;
            }
            match foreign.webpki.verify_client_cert(leaf, intermediates, now) {
                Ok(_) => {
                    foreign.name.check(leaf).map_err(nobody)?;
                    let member = Member::Agency(foreign.agency.clone());
                    return Ok((member, PeerCertificate::read(leaf, true).map_err(unreadable)?));
                }
                Err(error) if is_unknown(&error) => {}
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }
}

/// Whether a chain simply does not come from this authority.
fn is_unknown(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
    )
}

fn webpki(
    ca_pem: &str,
    crl_pem: Option<&str>,
) -> Result<Arc<dyn ClientCertVerifier>, CredentialsError> {
    let roots = store(authorities(ca_pem)?).map_err(CredentialsError::Mismatch)?;
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(roots, tls::provider()).allow_unauthenticated();
    if let Some(pem) = crl_pem {
        let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| CredentialsError::RevocationList)?;
        if lists.is_empty() {
            return Err(CredentialsError::RevocationList);
        }
        builder = builder
            .with_crls(lists)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration();
    }
    builder.build().map_err(|e| CredentialsError::Mismatch(e.to_string()))
}

impl ClientCertVerifier for MemberVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (member, certificate) = self.identify(end_entity, intermediates, now)?;
        if let Some(reason) = self.revocations.at_the_door(&member, &certificate) {
            tracing::warn!(%member, serial = %certificate.serial, "refused: {member} {reason}");
            return Err(CertificateError::Revoked.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.own.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.own.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.own.supported_verify_schemes()
    }
}

/// Fingerprints of the authorities in a PEM text.
///
/// # Errors
/// [`CredentialsError::Certificate`].
pub fn authority_fingerprints(
    ca_pem: &str,
) -> Result<Vec<certificate::Fingerprint>, CredentialsError> {
    Ok(authorities(ca_pem)?.iter().map(|der| certificate::Fingerprint::of(der)).collect())
}
