//! What the authority issues, field by field, and what it refuses.

use super::*;
use crate::request::CertificateRequest;
use std::collections::BTreeSet;
use x509_parser::certificate::X509Certificate;

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

fn authority() -> (CertificateAuthority, Zeroizing<String>) {
    CertificateAuthority::create("test", TrustDomain::default(), now(), DAY * 10).unwrap()
}

fn north() -> AgencyName {
    AgencyName::new("north").unwrap()
}

fn with_leaf<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let der = certificate::leaf_from_pem(pem).unwrap();
    look(&certificate::parse(&der).unwrap())
}

#[test]
fn the_authority_signs_leaves_and_nothing_else() {
    let (ca, _) = authority();
    with_leaf(ca.certificate_pem(), |c| {
        let constraints = c.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = c.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());
        c.verify_signature(None).unwrap();
    });
}

#[test]
fn agencies_get_a_short_client_certificate_in_their_name() {
    let (ca, _) = authority();
    let request = CertificateRequest::generate().unwrap();
    let pem = ca.issue_agency(&request.request_der, &north(), DAY, now()).unwrap();
    let der = certificate::leaf_from_pem(&pem).unwrap();
    let agency = crate::identity::agency_of(&der, &TrustDomain::default());
    assert_eq!(agency, Ok(north()));
    assert_eq!(certificate::public_key(&der).unwrap(), request.public_key_der);
    let validity = certificate::validity(&der).unwrap();
    assert_eq!((validity.not_before, validity.not_after), (now() - BACKDATE, now() + DAY));
    with_leaf(&pem, |c| {
        assert!(!c.is_ca());
        let usage = c.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        assert!(c.key_usage().unwrap().unwrap().value.digital_signature());
        let parent = certificate::leaf_from_pem(ca.certificate_pem()).unwrap();
        let parent = certificate::parse(&parent).unwrap();
        c.verify_signature(Some(parent.public_key())).unwrap();
    });
}

#[test]
fn whatever_a_request_asks_for_is_ignored() {
    let (ca, _) = authority();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "south");
    let south = TrustDomain::default().agency_uri(&AgencyName::new("south").unwrap());
    params.subject_alt_names.push(uri(south).unwrap());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let request = params.serialize_request(&key).unwrap();
    let pem = ca.issue_agency(request.der(), &north(), DAY, now()).unwrap();
    let der = certificate::leaf_from_pem(&pem).unwrap();
    let agency = crate::identity::agency_of(&der, &TrustDomain::default());
    assert_eq!(agency, Ok(north()));
    with_leaf(&pem, |c| {
        assert!(!c.is_ca());
        assert_eq!(c.subject().to_string(), "CN=north");
        let names = &c.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names.len(), 1);
        assert!(!c.extended_key_usage().unwrap().unwrap().value.server_auth);
        assert!(!c.key_usage().unwrap().unwrap().value.key_cert_sign());
    });
}

#[test]
fn requests_must_prove_their_key() {
    let (ca, _) = authority();
    let issue = |der: &[u8]| ca.issue_agency(der, &north(), DAY, now());
    let mut forged = CertificateRequest::generate().unwrap().request_der;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(matches!(issue(&forged), Err(CaError::Request(_))));
    assert!(matches!(issue(b"junk"), Err(CaError::Request(_))));
    let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let other = CertificateParams::default().serialize_request(&other).unwrap();
    assert!(matches!(issue(other.der()), Err(CaError::Request(_))));
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let (ca, _) = authority();
    let server = ca.issue_server(&["localhost"], DAY * 100, now() + DAY).unwrap();
    assert_eq!(server.not_after().unwrap(), ca.not_after());
    assert_eq!(ca.not_after(), now() + DAY * 10);
    let late = ca.issue_server(&["localhost"], DAY, now() + DAY * 10).unwrap_err();
    assert!(matches!(late, CaError::AuthorityExpired(_)));
    let empty = ca.issue_server(&["localhost"], Duration::ZERO, now()).unwrap_err();
    assert_eq!(empty, CaError::Validity);
    let endless = ca.issue_server(&["localhost"], Duration::MAX, now()).unwrap_err();
    assert_eq!(endless, CaError::Validity);
}

#[test]
fn server_names_are_checked() {
    let (ca, _) = authority();
    assert!(ca.issue_server(&["a.example", "10.0.0.1", "::1"], DAY, now()).is_ok());
    for wrong in ["", "a b", "https://a", "a.example:1"] {
        let error = ca.issue_server(&[wrong], DAY, now()).unwrap_err();
        assert_eq!(error, CaError::ServerName(wrong.into()));
    }
}

#[test]
fn serial_numbers_do_not_repeat() {
    let (ca, _) = authority();
    let request = CertificateRequest::generate().unwrap().request_der;
    let serials: BTreeSet<String> = (0..20)
        .map(|_| {
            let pem = ca.issue_agency(&request, &north(), DAY, now()).unwrap();
            with_leaf(&pem, |c| c.raw_serial_as_string())
        })
        .collect();
    assert_eq!(serials.len(), 20, "one key, one name, twenty serials");
    assert!(serials.iter().all(|s| s.len() == 16 * 3 - 1), "{serials:?}");
}

#[test]
fn an_authority_reads_back_and_mismatches_are_refused() {
    let (ca, key) = authority();
    let domain = TrustDomain::default;
    let read = CertificateAuthority::from_pem(ca.certificate_pem(), &key, domain()).unwrap();
    assert_eq!(read.fingerprint(), ca.fingerprint());
    assert_eq!(read.not_after(), ca.not_after());
    let request = CertificateRequest::generate().unwrap().request_der;
    let pem = read.issue_agency(&request, &north(), DAY, now()).unwrap();
    with_leaf(&pem, |c| {
        let parent = certificate::leaf_from_pem(ca.certificate_pem()).unwrap();
        let parent = certificate::parse(&parent).unwrap();
        c.verify_signature(Some(parent.public_key())).unwrap();
    });
    let (_, other_key) = authority();
    let server = ca.issue_server(&["localhost"], DAY, now()).unwrap();
    for (certificate, key) in [
        (ca.certificate_pem(), other_key.as_str()),
        (server.chain_pem.as_str(), server.key_pem.as_str()),
        (pem.as_str(), key.as_str()),
        ("", key.as_str()),
        (ca.certificate_pem(), ""),
    ] {
        let refused = CertificateAuthority::from_pem(certificate, key, domain());
        assert!(matches!(refused, Err(CaError::Authority(_))));
    }
    assert!(!format!("{ca:?}").contains("PRIVATE"));
}
