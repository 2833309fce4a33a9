//! The messages of renewal.

use super::{array, bounded, bytes, pem};
use crate::error::WireError;
use crate::limits::{MAX_AUTHORITIES, MAX_CSR_BYTES};
use crate::renewal::{Renew, Renewed};
use crate::v1;

impl TryFrom<v1::RenewRequest> for Renew {
    type Error = WireError;

    fn try_from(m: v1::RenewRequest) -> Result<Self, WireError> {
        let csr = Some(m.certificate_request).filter(|csr| !csr.is_empty());
        let csr = csr.map(|csr| bytes("renew.certificate_request", csr, MAX_CSR_BYTES));
        let found = m.trusted_authorities.len();
        let field = "renew.trusted_authorities";
        let trusted = bounded(field, m.trusted_authorities, found, 0, MAX_AUTHORITIES)?;
        Ok(Self {
            certificate_request: csr.transpose()?,
            trusted_authorities: trusted
                .iter()
                .map(|fingerprint| array(field, fingerprint))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<Renew> for v1::RenewRequest {
    fn from(m: Renew) -> Self {
        Self {
            certificate_request: m.certificate_request.unwrap_or_default(),
            trusted_authorities: m.trusted_authorities.iter().map(|f| f.to_vec()).collect(),
        }
    }
}

impl TryFrom<v1::RenewReply> for Renewed {
    type Error = WireError;

    fn try_from(m: v1::RenewReply) -> Result<Self, WireError> {
        let chain = Some(m.certificate_chain_pem).filter(|chain| !chain.is_empty());
        let chain = chain.map(|chain| pem("renewed.certificate_chain_pem", chain));
        Ok(Self {
            certificate_chain_pem: chain.transpose()?,
            ca_pem: pem("renewed.ca_pem", m.ca_pem)?,
            renew_now: m.renew_now,
        })
    }
}

impl From<Renewed> for v1::RenewReply {
    fn from(m: Renewed) -> Self {
        Self {
            certificate_chain_pem: m.certificate_chain_pem.unwrap_or_default(),
            ca_pem: m.ca_pem,
            renew_now: m.renew_now,
        }
    }
}
