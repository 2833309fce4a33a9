//! The two messages with which a member keeps its certificate fresh. No prost type appears here.

/// A member asks for a fresh certificate, or only for the authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renew {
    /// PKCS#10 request of a fresh key, DER, not yet checked.
    pub certificate_request: Option<Vec<u8>>,
    /// SHA-256 fingerprints of the authorities that the member trusts now.
    pub trusted_authorities: Vec<[u8; 32]>,
}

/// The aggregator's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// The fresh certificate and what links it to its authority, leaf first.
    pub certificate_chain_pem: Option<String>,
    /// The authorities to trust from now on.
    pub ca_pem: String,
    /// The certificate in use should be renewed now, whatever its age.
    pub renew_now: bool,
}
