//! What works: mutual TLS with identities, limits, revocation and shutdown of live connections.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::*;
use tokio::time::timeout;
use tonic::Code;
use tributary_transport::*;
use tributary_wire::session::{FromNode, ToNode};
use tributary_wire::v1;

#[tokio::test]
async fn the_identity_arrives_and_the_key_exchange_is_post_quantum() {
    let world = World::start().await;
    for name in ["north", "south-2"] {
        let mut session = Session::open(world.connect(name).await).await.unwrap();
        let ToNode::Welcome(welcome) = session.receive().await.unwrap() else { panic!() };
        assert_eq!(welcome.software_version.as_str(), format!("{name} X25519MLKEM768"));
        for byte in 0..5 {
            session.send(ping(byte)).await;
            let FromNode::Secagg(sent) = ping(byte) else { panic!() };
            assert_eq!(session.receive().await.unwrap(), ToNode::Secagg(sent));
        }
    }
}

#[tokio::test]
async fn without_a_certificate_there_is_enrolment_and_nothing_else() {
    let world = World::start().await;
    let options = ClientOptions::default();
    let channel =
        connect_for_enrolment(&world.endpoint, world.ca.fingerprint(), &options).await.unwrap();
    let status = Session::open(channel.clone()).await.err().unwrap();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("enrol this node first"), "{status}");
    let junk = v1::EnrolRequest { token: "junk".into(), ..Default::default() };
    let status = enrolment_client(channel).enrol(junk).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "it reached the service: {status}");
}

#[tokio::test]
async fn an_oversized_message_is_refused_by_the_server() {
    let world = World::start().await;
    let too_large = v1::NodeFrame {
        frame: Some(v1::node_frame::Frame::Secagg(v1::Secagg {
            job_hash: vec![0; 32],
            frame: vec![0; tributary_wire::limits::MAX_MESSAGE_BYTES + 1].into(),
        })),
    };
    let mut client = federation_client(world.connect("north").await);
    let mut answers = client.session(tokio_stream::iter([too_large])).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some(), "the welcome");
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert!(status.message().contains("4194304"), "it names the limit: {status}");
}

#[tokio::test]
async fn revocation_ends_a_live_session_and_forbids_the_next() {
    let world = World::start().await;
    let credentials = world.node("north");
    let options = ClientOptions::default();
    let north = connect(&world.endpoint, &credentials, &options).await.unwrap();
    let mut north = Session::open(north).await.unwrap();
    let mut south = Session::open(world.connect("south").await).await.unwrap();
    north.receive().await.unwrap();
    south.receive().await.unwrap();

    world.revocations.revoke(agency("north"));
    let ended = timeout(SOON, north.receive()).await.expect("the connection is still open");
    assert!(ended.is_err());
    assert_eq!(
        world.refusal(&credentials).await,
        TransportError::Revoked { endpoint: world.address() }
    );
    // Nobody else is affected, and a pardon works.
    south.send(ping(1)).await;
    assert!(matches!(south.receive().await.unwrap(), ToNode::Secagg(_)));
    world.revocations.replace([]);
    assert!(connect(&world.endpoint, &credentials, &options).await.is_ok());
}

#[tokio::test]
async fn a_channel_that_cannot_reconnect_says_why() {
    let world = World::start().await;
    let channel = world.connect("north").await;
    let mut session = Session::open(channel.clone()).await.unwrap();
    session.receive().await.unwrap();
    world.revocations.revoke(agency("north"));
    timeout(SOON, session.receive()).await.expect("the connection is still open").unwrap_err();
    let reason = timeout(SOON, async {
        loop {
            let status = Session::open(channel.clone()).await.err().expect("let in again");
            if let Some(error) = TransportError::behind(&status) {
                break error;
            }
        }
    })
    .await
    .expect("no reason was given");
    assert_eq!(reason, TransportError::Revoked { endpoint: world.address() });
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let world = World::start().await;
    let request = CertificateRequest::generate().unwrap();
    let now = SystemTime::now();
    let validity = Duration::from_secs(4);
    let name = agency("north");
    let chain_pem = world.ca.issue_agency(&request.request_der, &name, validity, now).unwrap();
    let credentials = NodeCredentials {
        ca_pem: world.ca.certificate_pem().into(),
        chain_pem,
        key_pem: request.key_pem,
    };
    let channel = connect(&world.endpoint, &credentials, &ClientOptions::default()).await.unwrap();
    let mut session = Session::open(channel).await.unwrap();
    session.receive().await.unwrap();
    let ended = timeout(SOON, session.receive()).await.expect("the connection is still open");
    assert!(ended.is_err());
}

#[tokio::test]
async fn strangers_are_few_and_may_not_stay() {
    let limits = ServerOptions {
        max_anonymous_connections: 1,
        anonymous_lifetime: Duration::from_secs(2),
        ..short()
    };
    let world = World::with(authority(), SystemTime::now(), &["127.0.0.1"], limits).await;
    let options = ClientOptions::default();
    let open = || connect_for_enrolment(&world.endpoint, world.ca.fingerprint(), &options);
    let first = open().await.unwrap();
    let full = open().await.unwrap_err();
    assert_eq!(full, TransportError::Closed { endpoint: world.address() });
    assert!(full.is_transient());
    // Agencies are not affected; and after a while there is room again.
    let mut agency = Session::open(world.connect("north").await).await.unwrap();
    let again = async {
        while open().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, again).await.expect("the first stranger is still there");
    agency.receive().await.unwrap();
    drop(first);
}

#[tokio::test]
async fn shutdown_closes_what_does_not_end_by_itself() {
    let mut world = World::start().await;
    let mut session = Session::open(world.connect("north").await).await.unwrap();
    session.receive().await.unwrap();
    world.stop.take().unwrap().send(()).unwrap();
    timeout(SOON, &mut world.server).await.expect("the server hangs").unwrap().unwrap();
    assert!(timeout(SOON, session.receive()).await.expect("the session hangs").is_err());
    let refused = world.refusal(&world.node("north")).await;
    assert_eq!(refused, TransportError::ConnectionRefused { endpoint: world.address() });
}

#[tokio::test]
async fn credentials_can_be_replaced_while_serving() {
    let world = World::start().await;
    let mut old = Session::open(world.connect("north").await).await.unwrap();
    old.receive().await.unwrap();
    // Another authority for everything.
    let next = authority();
    let credentials = next.issue_server(&["127.0.0.1"], HOUR, SystemTime::now()).unwrap();
    world.tls.replace(&credentials, next.certificate_pem()).unwrap();
    // A live connection whose authority is gone ends.
    let ended = timeout(SOON, old.receive()).await.expect("the connection is still open");
    assert!(ended.is_err());
    let foreign = world.refusal(&world.node("north")).await;
    assert_eq!(foreign, TransportError::ForeignServer { endpoint: world.address() });
    let renewed = node_credentials(&next, "north", SystemTime::now());
    let channel = connect(&world.endpoint, &renewed, &ClientOptions::default()).await.unwrap();
    let mut open = Session::open(channel).await.unwrap();
    open.receive().await.unwrap();
    // While both are trusted, open sessions of either go on.
    let both = format!("{}{}", world.ca.certificate_pem(), next.certificate_pem());
    world.tls.replace(&credentials, both.as_str()).unwrap();
    open.send(ping(3)).await;
    open.receive().await.unwrap();
    // Unusable credentials change nothing.
    let mismatched = ServerCredentials {
        chain_pem: credentials.chain_pem.clone(),
        key_pem: world.node("x").key_pem,
    };
    assert!(matches!(
        world.tls.replace(&mismatched, next.certificate_pem()),
        Err(CredentialsError::Mismatch(_))
    ));
    assert!(connect(&world.endpoint, &renewed, &ClientOptions::default()).await.is_ok());
}

#[tokio::test]
async fn every_connection_is_a_full_handshake_with_tls_1_3() {
    let world = World::start().await;
    // A client that would resume if it were offered anything to resume with.
    let mut config = tls::enrolling_node(world.ca.fingerprint(), &TrustDomain::default()).unwrap();
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    config.enable_early_data = true;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for _ in 0..2 {
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        let mut tls = connector.connect(name, tcp).await.unwrap();
        let mut byte = [0];
        tokio::io::AsyncReadExt::read_exact(&mut tls, &mut byte).await.unwrap();
        let (_, session) = tls.get_ref();
        assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
        assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        let group = session.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    }
}
