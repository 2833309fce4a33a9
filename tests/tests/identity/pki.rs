//! An agency with a certificate of its own authority.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use tributary_tests::{Node, SOON};
use tributary_transport::{NodeCredentials, TransportError, files};
use zeroize::Zeroizing;

use crate::help::{configured, look_often, try_connect, wait_for};

const NAME: &str = "spiffe://nih.example/tributary-node";

/// An agency's own authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate with this URI and a fresh key, written as `node.pem` and `node.key`.
    fn issue(&self, uri: &str, folder: &Path) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["node.nih.example".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        fs::create_dir_all(folder).unwrap();
        let (certificate, key_file) = (folder.join("node.pem"), folder.join("node.key"));
        files::save(&key_file, key.serialize_pem().as_bytes(), true).unwrap();
        files::save(&certificate, chain.as_bytes(), false).unwrap();
        (certificate, key_file)
    }
}

#[test]
fn an_agency_brings_a_certificate_of_its_own_authority() {
    let (nih, root) = (Authority::new(), tempfile::tempdir().unwrap());
    let pki = root.path();
    let mut federation = configured(&["east", "south"], |dir, text| {
        fs::write(dir.join("nih.pem"), &nih.pem).unwrap();
        let entry = format!("agency = \"north\"\nauthority = \"nih.pem\"\nname = \"URI:{NAME}\"");
        Some(format!("{text}\n[[pki]]\n{entry}\n"))
    });
    let aggregator = &federation.aggregator;
    aggregator.call(&["check-config"]).ok();
    let enrol = |node: &Node, token: &str, (certificate, key): &(PathBuf, PathBuf)| {
        let file = node.dir().with_extension("token");
        fs::write(&file, token).unwrap();
        let url = aggregator.url();
        let mut args = vec!["enrol", "--aggregator", &url, "--token-file", file.to_str().unwrap()];
        args.extend(["--own-certificate", certificate.to_str().unwrap()]);
        args.extend(["--own-key", key.to_str().unwrap()]);
        node.call(&args)
    };

    // Only the agreed name, only this agency, only this authority.
    let token = aggregator.token("north");
    let node = Node::new("north", federation.root());
    let other = nih.issue("spiffe://nih.example/mail", &pki.join("other"));
    enrol(&node, &token, &other).refused(&["names no agency of this federation"]);
    let posing = nih.issue("spiffe://tributary/agency/east", &pki.join("posing"));
    enrol(&node, &token, &posing).refused(&["names no agency of this federation"]);
    let foreign = Authority::new().issue(NAME, &pki.join("foreign"));
    enrol(&node, &token, &foreign).refused(&["does not accept the authority"]);
    let good = nih.issue(NAME, &pki.join("good"));
    let wrong = aggregator.token("west");
    enrol(&Node::new("west", federation.root()), &wrong, &good).refused(&["token is for west"]);
    // None of that used the token up.
    enrol(&node, &token, &good).ok();
    assert!(!node.dir().join("key.pem").exists(), "no second key");
    node.edit("node.toml", |t| t.replace("max_backoff_seconds = 30", "max_backoff_seconds = 1"));
    look_often(&node);
    node.write_policy(&["toy"], 3);
    node.add_dataset("toy", &tributary_tests::table::table(9, 300), &[]);
    node.call(&["check-config"]).ok();
    assert!(node.call(&["status"]).ok().contains("the agency's own authority"));
    node.call(&["renew"]).refused(&["agency's own authority", "node.toml"]);

    // A job of all three, while the agency renews at its own authority.
    federation.nodes.push(node);
    federation.serve_nodes();
    let job = federation.aggregator.submit(&federation.job(5));
    let before = nih.issue(NAME, &pki.join("good"));
    assert_eq!(before, good, "under the same path");
    let process = federation.node("north").process();
    process.wait_for_log("another certificate lies in the data directory", SOON);
    process.wait_for_log("connecting anew with the fresh certificate", SOON);
    federation.aggregator.wait_until_done(&job);

    // Revoked by its serial number, as the aggregator has seen it.
    let aggregator = &federation.aggregator;
    let list = aggregator.call(&["certificate", "list"]).ok();
    let line = list.lines().find(|l| l.contains("north") && l.contains("valid")).unwrap();
    let serial = line.split_whitespace().next().unwrap().to_owned();
    aggregator.call(&["certificate", "revoke", &serial]).ok();
    let credentials = NodeCredentials {
        ca_pem: fs::read_to_string(federation.nodes[2].dir().join("ca.pem")).unwrap(),
        chain_pem: fs::read_to_string(&good.0).unwrap(),
        key_pem: Zeroizing::new(fs::read_to_string(&good.1).unwrap()),
    };
    let endpoint = aggregator.address().to_string();
    wait_for("the certificate is refused", || {
        try_connect(&federation.aggregator, &credentials)
            == Some(TransportError::Revoked { endpoint: endpoint.clone() })
    });
    federation.aggregator.process().wait_for_log("end=Revoked", SOON);
    // The next one of the same authority is good: it is that certificate that was revoked.
    nih.issue(NAME, &pki.join("good"));
    let credentials = NodeCredentials {
        chain_pem: fs::read_to_string(&good.0).unwrap(),
        key_pem: Zeroizing::new(fs::read_to_string(&good.1).unwrap()),
        ..credentials
    };
    assert_eq!(try_connect(&federation.aggregator, &credentials), None);

    // Revoked as an agency, it comes back with a token and a certificate of a fresh key.
    let process = federation.node("north").process();
    process.wait_for_log("session with the aggregator is open", SOON);
    federation.aggregator.call(&["node", "revoke", "north"]).ok();
    federation.node("north").process().wait_for_log("is revoked", SOON);
    assert_eq!(federation.node("north").terminate(), Some(0));
    nih.issue(NAME, &pki.join("good"));
    // The certificate alone opens no session.
    federation.node("north").serve();
    federation.node("north").process().wait_for_log("north is revoked", SOON);
    assert_eq!(federation.node("north").terminate(), Some(0));
    let file = federation.root().join("again.token");
    fs::write(&file, federation.aggregator.token("north")).unwrap();
    let args = ["renew", "--token-file", file.to_str().unwrap()];
    federation.node("north").call(&args).ok();
    federation.node("north").serve();
    federation.node("north").wait_for_session();
}
