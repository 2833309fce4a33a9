//! Who a certificate speaks for.
//!
//! A certificate of the federation names its holder by exactly one URI (SPIFFE): an agency by
//! `spiffe://<trust domain>/agency/<name>`, a person by `spiffe://<trust domain>/role/<role>/<name>`,
//! the aggregator by `spiffe://<trust domain>/aggregator`. [`member_of`] is the only place that turns
//! such a certificate into a member; it assumes that the chain has been verified. A certificate of an
//! agency's own authority carries a name of that agency's choice, which is compared by
//! [`ForeignName::check`].

use std::fmt;
use std::str::FromStr;

use tributary_wire::{AgencyName, Member, PersonName, Text};
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
    /// The URI is nobody of this federation.
    #[error("the certificate is for {uri}, which is no member of {trust_domain}")]
    NotAMember {
        /// The URI found, shortened.
        uri: String,
        /// The trust domain expected.
        trust_domain: String,
    },
    /// A certificate of an agency's own authority has another name than agreed.
    #[error("the certificate does not carry the name {expected} that was agreed with the agency")]
    ForeignName {
        /// The name expected.
        expected: String,
    },
    /// Text that describes no name.
    #[error("{0:?} is no name of a certificate: write URI:spiffe://... or DNS:host.example")]
    NameText(String),
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

    /// The URI of a member.
    pub fn member_uri(&self, member: &Member) -> String {
        match member {
            Member::Agency(agency) => self.agency_uri(agency),
            Member::Person(role, name) => format!("spiffe://{}/role/{role}/{name}", self.0),
        }
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

/// The member that a verified certificate of the federation's authority speaks for.
///
/// # Errors
/// [`IdentityError::Unreadable`], [`IdentityError::UriCount`] or [`IdentityError::NotAMember`].
pub fn member_of(der: &[u8], trust_domain: &TrustDomain) -> Result<Member, IdentityError> {
    let uri = only_uri(der)?;
    uri.strip_prefix("spiffe://")
        .and_then(|rest| rest.strip_prefix(trust_domain.0.as_str()))
        .and_then(member_of_path)
        .ok_or_else(|| IdentityError::NotAMember {
            uri: Text::clipped(&uri).into_string(),
            trust_domain: trust_domain.0.clone(),
        })
}

/// The agency that a verified certificate speaks for.
///
/// # Errors
/// [`IdentityError::Unreadable`], [`IdentityError::UriCount`] or [`IdentityError::NotAnAgency`].
pub fn agency_of(der: &[u8], trust_domain: &TrustDomain) -> Result<AgencyName, IdentityError> {
    match member_of(der, trust_domain) {
        Ok(Member::Agency(agency)) => Ok(agency),
        Ok(person) => Err(IdentityError::NotAnAgency {
            uri: trust_domain.member_uri(&person),
            trust_domain: trust_domain.0.clone(),
        }),
        Err(IdentityError::NotAMember { uri, trust_domain }) => {
            Err(IdentityError::NotAnAgency { uri, trust_domain })
        }
        Err(other) => Err(other),
    }
}

/// `/agency/<name>` or `/role/<role>/<name>`.
fn member_of_path(path: &str) -> Option<Member> {
    if let Some(name) = path.strip_prefix("/agency/") {
        return AgencyName::new(name).ok().map(Member::Agency);
    }
    let (role, name) = path.strip_prefix("/role/")?.split_once('/')?;
    Some(Member::Person(role.parse().ok()?, PersonName::new(name).ok()?))
}

/// The name that an agency's own authority writes into the node's certificate, as agreed with the
/// central team: one URI or one DNS name, compared in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForeignName {
    /// A URI, such as a SPIFFE identity of the agency's own trust domain.
    Uri(String),
    /// A DNS name.
    Dns(String),
}

impl ForeignName {
    /// Checks that a verified certificate carries this name.
    ///
    /// # Errors
    /// [`IdentityError::ForeignName`] or [`IdentityError::Unreadable`].
    pub fn check(&self, der: &[u8]) -> Result<(), IdentityError> {
        let certificate = certificate::parse(der).map_err(|_| IdentityError::Unreadable)?;
        let names = certificate.subject_alternative_name();
        let names = names.map_err(|_| IdentityError::Unreadable)?;
        let found = names.iter().flat_map(|extension| &extension.value.general_names).any(|name| {
            match (name, self) {
                (GeneralName::URI(uri), Self::Uri(wanted)) => uri == wanted,
                (GeneralName::DNSName(dns), Self::Dns(wanted)) => dns.eq_ignore_ascii_case(wanted),
                _ => false,
            }
        });
        if found { Ok(()) } else { Err(IdentityError::ForeignName { expected: self.to_string() }) }
    }
}

impl fmt::Display for ForeignName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(uri) => write!(f, "URI:{uri}"),
            Self::Dns(name) => write!(f, "DNS:{name}"),
        }
    }
}

impl FromStr for ForeignName {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let error = || IdentityError::NameText(Text::clipped(text).into_string());
        let plain = |name: &str| {
            (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
        };
        match text.split_once(':').ok_or_else(error)? {
            ("URI", uri) if plain(uri) && uri.contains("://") => Ok(Self::Uri(uri.to_owned())),
            // A wildcard would be anybody's below it.
            ("DNS", name) if plain(name) && !name.contains('*') => Ok(Self::Dns(name.to_owned())),
            _ => Err(error()),
        }
    }
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
    fn people_have_a_role_and_a_name_and_are_no_agency() {
        let domain = TrustDomain::default();
        let ada = certificate(&["spiffe://tributary/role/researcher/ada"]);
        let member: Member = "researcher/ada".parse().unwrap();
        assert_eq!(member_of(&ada, &domain).unwrap(), member);
        assert_eq!(domain.member_uri(&member), "spiffe://tributary/role/researcher/ada");
        assert!(matches!(agency_of(&ada, &domain), Err(IdentityError::NotAnAgency { .. })));
        for uri in [
            "spiffe://tributary/role/king/ada",
            "spiffe://tributary/role/researcher",
            "spiffe://tributary/role/researcher/",
            "spiffe://tributary/role/researcher/ada/x",
            "spiffe://tributary/role/Researcher/ada",
            "spiffe://tributary/role//ada",
            "spiffe://elsewhere/role/researcher/ada",
        ] {
            let error = member_of(&certificate(&[uri]), &domain).unwrap_err();
            assert!(matches!(error, IdentityError::NotAMember { .. }), "{uri}");
        }
    }

    #[test]
    fn a_name_of_an_agency_s_own_authority_is_compared_in_full() {
        let theirs = certificate(&["spiffe://nih.example/node"]);
        let check = |name: &str| name.parse::<ForeignName>().unwrap().check(&theirs);
        check("URI:spiffe://nih.example/node").unwrap();
        check("DNS:HOST.example").unwrap();
        for other in ["URI:spiffe://nih.example/node2", "DNS:example", "DNS:a.host.example"] {
            assert!(matches!(check(other), Err(IdentityError::ForeignName { .. })), "{other}");
        }
        for text in ["", "host.example", "DNS:", "DNS:*.example", "URI:x", "IP:10.0.0.1", "DNS:a b"]
        {
            assert!(text.parse::<ForeignName>().is_err(), "{text}");
        }
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
