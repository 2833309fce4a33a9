//! The messages of enrolment.

use zeroize::Zeroizing;

use super::{array, bounded, bytes, pem};
use crate::enrolment::{Enrol, Enrolled};
use crate::error::WireError;
use crate::limits::{MAX_CSR_BYTES, MAX_TOKEN_CHARS};
use crate::members::Member;
use crate::text::Text;
use crate::v1;

impl TryFrom<v1::EnrolRequest> for Enrol {
    type Error = WireError;

    fn try_from(m: v1::EnrolRequest) -> Result<Self, WireError> {
        // First, so that the secret is wiped also when another field is refused.
        let token = Zeroizing::new(m.token);
        let found = token.len();
        let token = bounded("enrol.token", token, found, 1, MAX_TOKEN_CHARS)?;
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            let problem = "has white space or characters outside ASCII";
            return Err(WireError::Invalid { field: "enrol.token", problem });
        }
        let csr = Some(m.certificate_request).filter(|csr| !csr.is_empty());
        let csr = csr.map(|csr| bytes("enrol.certificate_request", csr, MAX_CSR_BYTES));
        let key = Some(m.signing_key).filter(|key| !key.is_empty());
        Ok(Self {
            protocol_version: m.protocol_version,
            token,
            certificate_request: csr.transpose()?,
            signing_key: key.map(|key| array("enrol.signing_key", &key)).transpose()?,
            software_version: Text::parse("enrol.software_version", m.software_version)?,
        })
    }
}

impl From<Enrol> for v1::EnrolRequest {
    fn from(mut m: Enrol) -> Self {
        Self {
            protocol_version: m.protocol_version,
            token: std::mem::take(&mut *m.token),
            certificate_request: m.certificate_request.unwrap_or_default(),
            signing_key: m.signing_key.map(Vec::from).unwrap_or_default(),
            software_version: m.software_version.into_string(),
        }
    }
}

impl TryFrom<v1::EnrolReply> for Enrolled {
    type Error = WireError;

    fn try_from(m: v1::EnrolReply) -> Result<Self, WireError> {
        let chain = Some(m.certificate_chain_pem).filter(|chain| !chain.is_empty());
        let chain = chain.map(|chain| pem("enrolled.certificate_chain_pem", chain));
        Ok(Self {
            certificate_chain_pem: chain.transpose()?,
            ca_pem: pem("enrolled.ca_pem", m.ca_pem)?,
            aggregator_signing_key: array(
                "enrolled.aggregator_signing_key",
                &m.aggregator_signing_key,
            )?,
            member: Member::parse("enrolled.member", m.member)?,
        })
    }
}

impl From<Enrolled> for v1::EnrolReply {
    fn from(m: Enrolled) -> Self {
        Self {
            certificate_chain_pem: m.certificate_chain_pem.unwrap_or_default(),
            ca_pem: m.ca_pem,
            aggregator_signing_key: m.aggregator_signing_key.to_vec(),
            member: m.member.to_string(),
        }
    }
}
