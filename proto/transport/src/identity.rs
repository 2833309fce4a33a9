//! Who a certificate speaks for.
//!
//! A certificate names its holder by exactly one URI (SPIFFE): an agency by
//! `spiffe://<trust domain>/agency/<name>`, the aggregator by `spiffe://<trust domain>/aggregator`.
//! [`agency_of`] is the only place that turns a certificate into an agency; it assumes that the
//! chain has been verified.

use std::fmt;

use tributary_wire::{AgencyName, Text};
use x509_parser::extensions::GeneralName;

use crate::certificate;

/// The SPIFFE trust domain of a federation: 1 to 255 characters of `a-z`, `0-9`, `.`, `-`, `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomain(String);

/// A certificate that does not say who it speaks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a trust domain.
    #[error("a trust domain has 1 to 255 characters of a-z, 0-9, '.', '-' and '_'")]
    TrustDomain,
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// Not exactly one URI.
    #[error("the certificate has {found} URI names, it must have exactly one")]
    UriCount {
        /// URIs found.
        found: usize,
    },
    /// The URI is not an agency of this federation.
    #[error("the certificate is for {uri}, which is no agency of {trust_domain}")]
    NotAnAgency {
        /// The URI found, shortened.
        uri: String,
        /// The trust domain expected.
        trust_domain: String,
    },
    /// The URI is not the aggregator of this federation.
    #[error("the certificate is for {uri}, which is not the aggregator of {trust_domain}")]
    NotTheAggregator {
        /// The URI found, shortened.
        uri: String,
        /// The trust domain expected.
        trust_domain: String,
    },
}

impl TrustDomain {
    /// Checks the alphabet and the length.
    ///
    /// # Errors
    /// [`IdentityError::TrustDomain`].
    pub fn new(name: impl Into<String>) -> Result<Self, IdentityError> {
        let name = name.into();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if (1..=255).contains(&name.len()) && name.bytes().all(allowed) {
            return Ok(Self(name));
        }
        Err(IdentityError::TrustDomain)
    }

    /// The URI of an agency.
    pub fn agency_uri(&self, agency: &AgencyName) -> String {
        format!("spiffe://{}/agency/{agency}", self.0)
    }

    /// The URI of the aggregator.
    pub fn aggregator_uri(&self) -> String {
        format!("spiffe://{}/aggregator", self.0)
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self("tributary".into())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The agency that a verified certificate speaks for.
///
/// # Errors
/// Any [`IdentityError`] but `NotTheAggregator`.
pub fn agency_of(der: &[u8], trust_domain: &TrustDomain) -> Result<AgencyName, IdentityError> {
    let uri = only_uri(der)?;
    uri.strip_prefix("spiffe://")
        .and_then(|rest| rest.strip_prefix(trust_domain.0.as_str()))
        .and_then(|rest| rest.strip_prefix("/agency/"))
        .and_then(|name| AgencyName::new(name).ok())
        .ok_or_else(|| IdentityError::NotAnAgency {
            uri: Text::clipped(&uri).into_string(),
            trust_domain: trust_domain.0.clone(),
        })
}

/// Checks that a verified certificate speaks for the aggregator.
///
/// # Errors
/// Any [`IdentityError`] but `NotAnAgency`.
pub fn check_aggregator(der: &[u8], trust_domain: &TrustDomain) -> Result<(), IdentityError> {
    let uri = only_uri(der)?;
    if uri == trust_domain.aggregator_uri() {
        return Ok(());
    }
    Err(IdentityError::NotTheAggregator {
        uri: Text::clipped(&uri).into_string(),
        trust_domain: trust_domain.0.clone(),
    })
}

fn only_uri(der: &[u8]) -> Result<String, IdentityError> {
    let certificate = certificate::parse(der).map_err(|_| IdentityError::Unreadable)?;
    // An Err here is a duplicated or damaged extension.
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris.as_slice() {
        [uri] => Ok((*uri).to_owned()),
        _ => Err(IdentityError::UriCount { found: uris.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn one_uri_of_the_right_form_names_the_agency() {
        let domain = TrustDomain::new("health.example").unwrap();
        let good = certificate(&["spiffe://health.example/agency/north-3"]);
        assert_eq!(agency_of(&good, &domain).unwrap().as_str(), "north-3");
        assert!(matches!(
            check_aggregator(&good, &domain),
            Err(IdentityError::NotTheAggregator { .. })
        ));
        assert!(matches!(
            agency_of(&good, &TrustDomain::default()),
            Err(IdentityError::NotAnAgency { .. })
        ));
    }

    #[test]
    fn anything_else_is_refused() {
        let domain = TrustDomain::default();
        for (uris, found) in
            [(&[][..], 0), (&["spiffe://tributary/agency/a", "spiffe://tributary/agency/b"], 2)]
        {
            let error = agency_of(&certificate(uris), &domain).unwrap_err();
            assert_eq!(error, IdentityError::UriCount { found });
        }
        for uri in [
            "spiffe://tributary/agency/",
            "spiffe://tributary/agency/a/b",
            "spiffe://tributary/agency/A",
            "spiffe://tributary/aggregator",
            "spiffe://tributary.evil/agency/a",
            "spiffe://evil/spiffe://tributary/agency/a",
            "https://tributary/agency/a",
            "SPIFFE://tributary/agency/a",
        ] {
            assert!(
                matches!(
                    agency_of(&certificate(&[uri]), &domain),
                    Err(IdentityError::NotAnAgency { .. })
                ),
                "{uri}"
            );
        }
        assert_eq!(agency_of(b"junk", &domain), Err(IdentityError::Unreadable));
    }

    #[test]
    fn the_aggregator_has_its_own_uri() {
        let domain = TrustDomain::default();
        let aggregator = certificate(&["spiffe://tributary/aggregator"]);
        assert_eq!(check_aggregator(&aggregator, &domain), Ok(()));
        let agency = certificate(&["spiffe://tributary/agency/aggregator"]);
        assert!(check_aggregator(&agency, &domain).is_err());
    }

    #[test]
    fn trust_domains_are_strict() {
        for bad in ["", "A", "a/b", "a b", &"x".repeat(256)] {
            assert_eq!(TrustDomain::new(bad), Err(IdentityError::TrustDomain), "{bad:?}");
        }
    }
}
