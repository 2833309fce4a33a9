//! The messages of enrolment.

use zeroize::Zeroizing;

use super::{array, bounded, bytes};
use crate::enrolment::{Enrol, Enrolled};
use crate::error::WireError;
use crate::limits::{MAX_CSR_BYTES, MAX_PEM_BYTES, MAX_TOKEN_CHARS};
use crate::names::AgencyName;
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
        let csr = m.certificate_request;
        Ok(Self {
            protocol_version: m.protocol_version,
            token,
            certificate_request: bytes("enrol.certificate_request", csr, MAX_CSR_BYTES)?,
            signing_key: array("enrol.signing_key", &m.signing_key)?,
            software_version: Text::parse("enrol.software_version", m.software_version)?,
        })
    }
}

impl From<Enrol> for v1::EnrolRequest {
    fn from(mut m: Enrol) -> Self {
        Self {
            protocol_version: m.protocol_version,
            token: std::mem::take(&mut *m.token),
            certificate_request: m.certificate_request,
            signing_key: m.signing_key.to_vec(),
            software_version: m.software_version.into_string(),
        }
    }
}

impl TryFrom<v1::EnrolReply> for Enrolled {
    type Error = WireError;

    fn try_from(m: v1::EnrolReply) -> Result<Self, WireError> {
        Ok(Self {
            certificate_chain_pem: pem("enrolled.certificate_chain_pem", m.certificate_chain_pem)?,
            ca_pem: pem("enrolled.ca_pem", m.ca_pem)?,
            aggregator_signing_key: array(
                "enrolled.aggregator_signing_key",
                &m.aggregator_signing_key,
            )?,
            agency: AgencyName::parse("enrolled.agency", m.agency)?,
        })
    }
}

impl From<Enrolled> for v1::EnrolReply {
    fn from(m: Enrolled) -> Self {
        Self {
            certificate_chain_pem: m.certificate_chain_pem,
            ca_pem: m.ca_pem,
            aggregator_signing_key: m.aggregator_signing_key.to_vec(),
            agency: m.agency.into(),
        }
    }
}

fn pem(field: &'static str, text: String) -> Result<String, WireError> {
    let found = text.len();
    bounded(field, text, found, 1, MAX_PEM_BYTES)
}
