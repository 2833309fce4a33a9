//! What does not work, and the words for it: each way to be refused has its own error.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::*;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use tokio::net::{TcpListener, TcpStream};
use tributary_transport::*;
use zeroize::Zeroizing;

/// An authority of which the test holds the key, to issue what the built-in one never would.
struct Rogue {
    certificate_pem: String,
    key: KeyPair,
    ca: CertificateAuthority,
}

impl Rogue {
    fn new() -> Self {
        let now = SystemTime::now() - HOUR;
        let (ca, key) =
            CertificateAuthority::create("test", TrustDomain::default(), now, 24 * HOUR).unwrap();
        let key = KeyPair::from_pem(&key).unwrap();
        Self { certificate_pem: ca.certificate_pem().to_owned(), key, ca }
    }

    /// A leaf with these URIs (and 127.0.0.1), for this usage: (chain, key).
    fn issue(&self, uris: &[&str], usage: ExtendedKeyUsagePurpose) -> (String, Zeroizing<String>) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.certificate_pem, &self.key).unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let chain = format!("{}{}", leaf.pem(), self.certificate_pem);
        (chain, Zeroizing::new(key.serialize_pem()))
    }

    fn node(&self, uris: &[&str], usage: ExtendedKeyUsagePurpose) -> NodeCredentials {
        let (chain_pem, key_pem) = self.issue(uris, usage);
        NodeCredentials { ca_pem: self.certificate_pem.clone(), chain_pem, key_pem }
    }
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority() {
    let world = World::start().await;
    let mut foreign = node_credentials(&authority(), "north", SystemTime::now());
    // The node trusts the right server; it is the server that does not know the node.
    foreign.ca_pem = world.ca.certificate_pem().to_owned();
    let error = world.refusal(&foreign).await;
    assert_eq!(error, TransportError::OwnCertificateForeign { endpoint: world.address() });
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_server_of_a_foreign_authority() {
    let world = World::start().await;
    let mut credentials = world.node("north");
    credentials.ca_pem = authority().certificate_pem().to_owned();
    let error = world.refusal(&credentials).await;
    assert_eq!(error, TransportError::ForeignServer { endpoint: world.address() });
}

#[tokio::test]
async fn an_expired_node() {
    let world = World::start().await;
    let expired = node_credentials(&world.ca, "north", SystemTime::now() - 2 * HOUR);
    let not_after = Some(expired.not_after().unwrap());
    let error = world.refusal(&expired).await;
    let endpoint = world.address();
    assert_eq!(error, TransportError::OwnCertificateExpired { endpoint, not_after });
    assert!(error.to_string().contains("check the clock"), "{error}");
}

#[tokio::test]
async fn an_expired_server() {
    let issued = SystemTime::now() - 2 * HOUR;
    let world = World::with(authority(), issued, &["127.0.0.1"], short()).await;
    let error = world.refusal(&world.node("north")).await;
    let TransportError::ServerCertificateExpired { endpoint, not_after: Some(not_after) } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(*endpoint, world.address());
    let past = SystemTime::now().duration_since(*not_after).unwrap();
    assert!((HOUR - Duration::from_secs(5)..HOUR + Duration::from_secs(60)).contains(&past));
    assert!(error.to_string().contains("check the clock"), "{error}");
    // Enrolment is as strict.
    let options = ClientOptions::default();
    let error = connect_for_enrolment(&world.endpoint, world.ca.fingerprint(), &options).await;
    assert!(matches!(error, Err(TransportError::ServerCertificateExpired { .. })));
}

#[tokio::test]
async fn a_server_from_the_future() {
    let issued = SystemTime::now() + 2 * HOUR;
    let world = World::with(authority(), issued, &["127.0.0.1"], short()).await;
    let error = world.refusal(&world.node("north")).await;
    assert!(matches!(
        error,
        TransportError::ServerCertificateNotYetValid { not_before: Some(_), .. }
    ));
}

#[tokio::test]
async fn a_server_with_another_name() {
    let world = World::with(authority(), SystemTime::now(), &["other.example"], short()).await;
    let error = world.refusal(&world.node("north")).await;
    assert!(
        matches!(&error, TransportError::NameMismatch { problem, .. }
        if problem.contains("other.example")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_member_that_plays_the_aggregator() {
    let rogue = Rogue::new();
    let north = "spiffe://tributary/agency/north";
    let (chain_pem, key_pem) = rogue.issue(&[north], ExtendedKeyUsagePurpose::ServerAuth);
    let credentials = ServerCredentials { chain_pem, key_pem };
    let world = World::with_credentials(rogue.ca, credentials, short()).await;
    let error = world.refusal(&world.node("south")).await;
    assert!(
        matches!(&error, TransportError::NotTheAggregator {
        source: IdentityError::NotTheAggregator { uri, .. }, ..
    } if uri == north),
        "{error:?}"
    );
    // The built-in authority gives agencies no certificate that could serve at all.
    let ca = authority();
    let NodeCredentials { chain_pem, key_pem, .. } =
        node_credentials(&ca, "north", SystemTime::now());
    let credentials = ServerCredentials { chain_pem, key_pem };
    let world = World::with_credentials(ca, credentials, short()).await;
    let error = world.refusal(&world.node("south")).await;
    assert!(!error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn a_certificate_that_names_no_agency() {
    let rogue = Rogue::new();
    let client = || ExtendedKeyUsagePurpose::ClientAuth;
    let wrong = [
        rogue.node(&[], client()),
        rogue.node(&["spiffe://tributary/aggregator"], client()),
        rogue.node(&["spiffe://elsewhere/agency/north"], client()),
        rogue.node(
            &["spiffe://tributary/agency/north", "spiffe://tributary/agency/south"],
            client(),
        ),
    ];
    let good = rogue.node(&["spiffe://tributary/agency/north"], client());
    let server =
        rogue.node(&["spiffe://tributary/agency/north"], ExtendedKeyUsagePurpose::ServerAuth);
    let world = World::with(rogue.ca, SystemTime::now(), &["127.0.0.1"], short()).await;
    let endpoint = world.address();
    for credentials in wrong {
        let error = world.refusal(&credentials).await;
        let expected = TransportError::OwnCertificateNotAnAgency { endpoint: endpoint.clone() };
        assert_eq!(error, expected);
    }
    // A server's certificate is no client's, whatever its name; and the control gets in.
    assert!(matches!(world.refusal(&server).await, TransportError::Handshake { .. }));
    connect(&world.endpoint, &good, &ClientOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_revoked_agency_on_a_new_connection() {
    let world = World::start().await;
    world.revocations.replace([agency("north")]);
    let error = world.refusal(&world.node("north")).await;
    assert_eq!(error, TransportError::Revoked { endpoint: world.address() });
    // Also with a fresh certificate, for it is the agency that is revoked.
    let error = world.refusal(&world.node("north")).await;
    assert_eq!(error, TransportError::Revoked { endpoint: world.address() });
    world.connect("south").await;
}

#[tokio::test]
async fn tls_1_2() {
    let world = World::start().await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate::leaf_from_pem(world.ca.certificate_pem()).unwrap()).unwrap();
    let attempt = async |versions: &[&'static rustls::SupportedProtocolVersion]| {
        let config = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let tcp = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect("127.0.0.1".try_into().unwrap(), tcp).await.map(drop)
    };
    attempt(&[&rustls::version::TLS13]).await.unwrap();
    let error = attempt(&[&rustls::version::TLS12]).await.unwrap_err();
    let error = error.get_ref().unwrap().downcast_ref::<rustls::Error>().unwrap();
    let expected = rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion);
    assert_eq!(*error, expected);
}

#[tokio::test]
async fn another_protocol_on_the_port() {
    let world = World::start().await;
    let mut tcp = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut tcp, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // The server hangs up (after an alert) and goes on serving others.
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    world.connect("north").await;
}

#[tokio::test]
async fn nobody_there_and_nobody_answering() {
    let credentials = node_credentials(&authority(), "north", SystemTime::now());
    let options =
        ClientOptions { handshake_timeout: Duration::from_millis(200), ..ClientOptions::default() };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let attempt = async |to: &str| connect(to, &credentials, &options).await.unwrap_err();
    // The kernel accepts; nobody speaks TLS.
    let error = attempt(&format!("https://{address}")).await;
    let limit = options.handshake_timeout;
    let expected =
        TransportError::TimedOut { endpoint: address.clone(), step: Step::Handshake, limit };
    assert_eq!(error, expected);
    drop(listener);
    let error = attempt(&format!("https://{address}")).await;
    assert_eq!(error, TransportError::ConnectionRefused { endpoint: address });
    let error = attempt("https://no-such-host.invalid:1").await;
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
    let error = attempt("http://127.0.0.1:1").await;
    assert!(matches!(error, TransportError::Endpoint { .. }), "{error:?}");
}

#[tokio::test]
async fn a_client_that_never_speaks_is_cut_off() {
    let limits = ServerOptions { handshake_timeout: Duration::from_millis(100), ..short() };
    let world = World::with(authority(), SystemTime::now(), &["127.0.0.1"], limits).await;
    let mut silent = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut byte);
    let read = tokio::time::timeout(SOON, read).await;
    assert!(matches!(read.expect("still open"), Ok(0) | Err(_)));
}

#[tokio::test]
async fn own_credentials_that_do_not_fit_together() {
    let world = World::start().await;
    let mut credentials = world.node("north");
    credentials.key_pem = world.node("south").key_pem;
    let error = world.refusal(&credentials).await;
    assert!(
        matches!(error, TransportError::Credentials(CredentialsError::Mismatch(_))),
        "{error:?}"
    );
}
