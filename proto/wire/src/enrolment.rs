//! The two messages of enrolment, parsed and bounded. No prost type appears here.

use std::fmt;

use zeroize::Zeroizing;

use crate::members::Member;
use crate::text::Text;

/// Somebody with a token asks to become a member.
pub struct Enrol {
    /// The protocol version it speaks; compare with [`crate::PROTOCOL_VERSION`].
    pub protocol_version: u32,
    /// The one-time token as pasted by the operator: a secret.
    pub token: Zeroizing<String>,
    /// PKCS#10 request, DER, not yet checked; none from an agency with an authority of its own.
    pub certificate_request: Option<Vec<u8>>,
    /// Ed25519 public key that will sign the agency's protocol messages; none from a person.
    pub signing_key: Option<[u8; 32]>,
    /// The node's software version, for people.
    pub software_version: Text,
}

/// The aggregator's answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The member's certificate and what links it to the authority, leaf first, if it asked.
    pub certificate_chain_pem: Option<String>,
    /// The authorities the member trusts from now on.
    pub ca_pem: String,
    /// Ed25519 public key that signs the aggregator's protocol messages.
    pub aggregator_signing_key: [u8; 32],
    /// Who is enrolled.
    pub member: Member,
}

impl fmt::Debug for Enrol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol_version, software_version, .. } = self;
        write!(f, "Enrol(version {protocol_version}, {software_version:?}, token <redacted>)")
    }
}

impl fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enrolled({})", self.member)
    }
}

impl fmt::Debug for crate::v1::EnrolRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolRequest(version {}, token <redacted>)", self.protocol_version)
    }
}
