//! Renewal over a real connection: a fresh key, the same name, and no trust in the reply.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::time::SystemTime;

use common::*;
use tributary_transport::*;
use tributary_wire::session::ToNode;

#[tokio::test]
async fn a_member_renews_and_the_old_certificate_stays_good_until_it_ends() {
    let world = World::start().await;
    let old = world.node("north");
    let options = ClientOptions::default();
    let channel = connect(&world.endpoint, &old, &options).await.unwrap();
    let renewed = renew::renew(channel, &old, &options).await.unwrap();
    assert_eq!(renewed.member(&TrustDomain::default()).unwrap(), agency("north").into());
    let (before, after) = (old.certificate().unwrap(), renewed.certificate().unwrap());
    assert_ne!(before.key, after.key);
    assert_ne!(before.serial, after.serial);
    for credentials in [&old, &renewed] {
        let channel = connect(&world.endpoint, credentials, &options).await.unwrap();
        let mut session = Session::open(channel).await.unwrap();
        let ToNode::Welcome(welcome) = session.receive().await.unwrap() else { panic!() };
        assert!(welcome.software_version.as_str().starts_with("north "));
    }
}

#[tokio::test]
async fn a_renewal_is_checked_before_it_is_accepted() {
    let now = SystemTime::now();
    let issue = move |ca: &CertificateAuthority, request: &[u8], name: &str| {
        ca.issue_agency(request, &agency(name), HOUR, now).unwrap()
    };
    let tampers: Vec<(&str, RenewTamper)> = vec![
        (
            "none of the authorities is one that is trusted here",
            Box::new(|_, _, reply| reply.ca_pem = authority().certificate_pem().to_owned()),
        ),
        (
            "there are too many authorities",
            Box::new(|ca, _, reply| reply.ca_pem = ca.certificate_pem().repeat(9)),
        ),
        ("the authorities cannot be read", Box::new(|_, _, reply| reply.ca_pem = "x".into())),
        (
            "the certificate is for another key",
            Box::new(move |ca, _, reply| {
                let other = CertificateRequest::generate().unwrap();
                reply.certificate_chain_pem = issue(ca, &other.request_der, "north");
            }),
        ),
        (
            "the certificate is for another member",
            Box::new(move |ca, request, reply| {
                reply.certificate_chain_pem = issue(ca, request, "south");
            }),
        ),
        (
            "the certificate does not verify; check the clock",
            Box::new(move |_, request, reply| {
                reply.certificate_chain_pem = issue(&authority(), request, "north");
            }),
        ),
        (
            "there is no certificate",
            Box::new(|_, _, reply| reply.certificate_chain_pem = String::new()),
        ),
    ];
    let world = World::start().await;
    let old = world.node("north");
    let options = ClientOptions::default();
    for (problem, tamper) in tampers {
        *world.renewing.lock().unwrap() = Some(tamper);
        let channel = connect(&world.endpoint, &old, &options).await.unwrap();
        let error = renew::renew(channel, &old, &options).await.unwrap_err();
        assert_eq!(error, RenewError::Unacceptable(problem));
    }
}

#[tokio::test]
async fn a_new_authority_is_learnt_from_one_that_is_trusted() {
    let world = World::start().await;
    let old = world.node("north");
    let options = ClientOptions::default();
    let connected = async || connect(&world.endpoint, &old, &options).await.unwrap();
    let same = renew::refresh(connected().await, &old).await.unwrap();
    assert_eq!(same, renew::Refreshed { ca_pem: None, renew_now: false });
    let next = authority().certificate_pem().to_owned();
    *world.renewing.lock().unwrap() = Some(Box::new(move |ca, _, reply| {
        reply.ca_pem = format!("{}{next}", ca.certificate_pem());
        reply.renew_now = true;
    }));
    let both = renew::refresh(connected().await, &old).await.unwrap();
    assert!(both.renew_now);
    let ca_pem = both.ca_pem.unwrap();
    assert_eq!(members::authority_fingerprints(&ca_pem).unwrap().len(), 2);
}
