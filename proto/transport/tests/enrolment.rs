//! Enrolment over a real connection: one token, one identity, and no trust in the reply.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::time::SystemTime;

use common::*;
use tributary_transport::*;
use tributary_wire::session::ToNode;
use tributary_wire::v1::EnrolReply;

async fn attempt(world: &World, token: &EnrolmentToken) -> Result<Enrolment, EnrolError> {
    enrol(&world.endpoint, token, Some([5; 32]), "0.1.0", &ClientOptions::default()).await
}

#[tokio::test]
async fn a_token_becomes_an_identity() {
    let world = World::start().await;
    let token = EnrolmentToken::parse(&world.token("north").to_string()).unwrap();
    let enrolment = attempt(&world, &token).await.unwrap();
    assert_eq!(enrolment.member, agency("north").into());
    assert_eq!(enrolment.aggregator_signing_key, [8; 32]);
    // Through the files, as after a restart.
    let folder = tempfile::tempdir().unwrap();
    enrolment.credentials.save(folder.path()).unwrap();
    let credentials = NodeCredentials::load(folder.path()).unwrap();
    assert_eq!(credentials.agency(&TrustDomain::default()).unwrap(), agency("north"));
    let channel = connect(&world.endpoint, &credentials, &ClientOptions::default()).await.unwrap();
    let mut session = Session::open(channel).await.unwrap();
    let ToNode::Welcome(welcome) = session.receive().await.unwrap() else { panic!() };
    assert!(welcome.software_version.as_str().starts_with("north "));
}

#[tokio::test]
async fn a_token_of_another_authority_is_not_shown_to_this_server() {
    let world = World::start().await;
    let other = authority().fingerprint();
    let token = EnrolmentToken::new(agency("north"), other, SystemTime::now() + HOUR).unwrap();
    let error = attempt(&world, &token).await.unwrap_err();
    let expected =
        TransportError::WrongFingerprint { endpoint: world.address(), expected: other.to_string() };
    assert_eq!(error, EnrolError::Transport(expected));
}

#[tokio::test]
async fn pinning_the_leaf_is_not_enough() {
    // The fingerprint must be an authority's that the leaf verifies under, not the leaf's own.
    let ca = authority();
    let credentials = ca.issue_server(&["127.0.0.1"], HOUR, SystemTime::now()).unwrap();
    let leaf = certificate::leaf_from_pem(&credentials.chain_pem).unwrap();
    let pin = Fingerprint::of(&leaf);
    let world = World::with_credentials(ca, credentials, short()).await;
    let error = connect_for_enrolment(&world.endpoint, pin, &ClientOptions::default()).await;
    assert!(matches!(error, Err(TransportError::WrongFingerprint { .. })));
}

#[tokio::test]
async fn showing_the_right_authority_without_its_signature_is_not_enough() {
    // The attacker's own leaf, followed by a copy of the genuine authority's certificate.
    let (genuine, attacker) = (authority(), authority());
    let mut credentials = attacker.issue_server(&["127.0.0.1"], HOUR, SystemTime::now()).unwrap();
    credentials.chain_pem.push_str(genuine.certificate_pem());
    let pin = genuine.fingerprint();
    let world = World::with_credentials(attacker, credentials, short()).await;
    let error = connect_for_enrolment(&world.endpoint, pin, &ClientOptions::default()).await;
    let endpoint = world.address();
    assert_eq!(error.err(), Some(TransportError::ForeignServer { endpoint }));
}

#[tokio::test]
async fn an_expired_token_is_not_sent_and_an_unknown_one_is_refused() {
    let world = World::start().await;
    let past = SystemTime::now() - HOUR;
    let expired = EnrolmentToken::new(agency("north"), world.ca.fingerprint(), past).unwrap();
    let error = attempt(&world, &expired).await.unwrap_err();
    assert!(matches!(error, EnrolError::Token(TokenError::Expired(_))));
    let error = attempt(&world, &world.token("unknown")).await.unwrap_err();
    let reason = "this token is not known or was used".to_owned();
    assert_eq!(error, EnrolError::Refused { reason });
}

#[tokio::test]
async fn a_reply_is_checked_before_it_is_accepted() {
    let issue = |ca: &CertificateAuthority, request: &[u8], name: &str, issued: SystemTime| {
        ca.issue_agency(request, &agency(name), HOUR, issued).unwrap()
    };
    let now = SystemTime::now();
    let tampers: Vec<(&str, Tamper)> = vec![
        (
            "the authority is not the one that the token names",
            Box::new(|_, _, reply: &mut EnrolReply| {
                reply.ca_pem = authority().certificate_pem().to_owned();
            }),
        ),
        (
            "there are too many authorities",
            Box::new(|ca, _, reply| reply.ca_pem = ca.certificate_pem().repeat(9)),
        ),
        ("the authority cannot be read", Box::new(|_, _, reply| reply.ca_pem = "x".into())),
        (
            "the certificate is for another key",
            Box::new(move |ca, _, reply| {
                let other = CertificateRequest::generate().unwrap();
                reply.certificate_chain_pem = issue(ca, &other.request_der, "north", now);
            }),
        ),
        (
            "the certificate is for another member",
            Box::new(move |ca, request, reply| {
                reply.certificate_chain_pem = issue(ca, request, "south", now);
            }),
        ),
        (
            "the certificate does not verify; check the clock",
            Box::new(move |ca, request, reply| {
                reply.certificate_chain_pem = issue(ca, request, "north", now - 2 * HOUR);
            }),
        ),
        (
            "the certificate does not verify; check the clock",
            Box::new(move |_, request, reply| {
                reply.certificate_chain_pem = issue(&authority(), request, "north", now);
            }),
        ),
        (
            "it is for another member than the token",
            Box::new(|_, _, reply| reply.member = "south".into()),
        ),
        (
            "the certificate cannot be read",
            Box::new(|_, _, reply| reply.certificate_chain_pem = "x".into()),
        ),
        (
            "there is no certificate",
            Box::new(|_, _, reply| reply.certificate_chain_pem = String::new()),
        ),
    ];
    let world = World::start().await;
    for (problem, tamper) in tampers {
        *world.tamper.lock().unwrap() = Some(tamper);
        let error = attempt(&world, &world.token("north")).await.unwrap_err();
        assert_eq!(error, EnrolError::Unacceptable(problem));
    }
    *world.tamper.lock().unwrap() =
        Some(Box::new(|_, _, reply| reply.aggregator_signing_key.truncate(31)));
    let error = attempt(&world, &world.token("north")).await.unwrap_err();
    assert!(matches!(error, EnrolError::Reply(_)));
}
