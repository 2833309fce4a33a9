//! Certificates of somebody else, of yesterday, and of an agency that is revoked.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tributary_tests::{Aggregator, Federation, Node, SOON};
use tributary_transport::{
    AgencyName, CertificateAuthority, CertificateRequest, NodeCredentials, TrustDomain,
};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_foreign_or_expired_certificate_does_not_get_in() {
    let mut federation = Federation::enrolled(&["north"]);
    let own = federation.nodes[0].dir().to_owned();
    let good = NodeCredentials::load(&own).unwrap();

    // A node of the same name in another federation, which trusts our server.
    let other_root = tempfile::tempdir().unwrap();
    let mut other = Aggregator::init(other_root.path());
    other.serve();
    let stranger = Node::new("north", other_root.path());
    stranger.enrol(&other);
    let mut foreign = NodeCredentials::load(stranger.dir()).unwrap();
    foreign.ca_pem.clone_from(&good.ca_pem);
    foreign.save(&own).unwrap();
    let words = ["does not accept the authority", "enrol with this aggregator"];
    federation.nodes[0].try_serve().refused(&words);

    // The aggregator's certificate, too, must come from the authority of our own enrolment.
    NodeCredentials::load(stranger.dir()).unwrap().save(&own).unwrap();
    // That is the other side's to mend, so the node stays up and keeps trying.
    federation.nodes[0].serve();
    let process = federation.nodes[0].process();
    process.wait_for_log("does not come from the federation's authority", SOON);
    process.wait_for_log("intercepting", SOON);
    assert_eq!(federation.nodes[0].terminate(), Some(0));

    expired(federation.aggregator.dir(), "north").save(&own).unwrap();
    federation.nodes[0].try_serve().refused(&[
        "refused our certificate as expired",
        "renew",
        "clock",
    ]);

    // With its own certificate back, it is let in: nothing else has changed.
    good.save(&own).unwrap();
    federation.nodes[0].serve();
    federation.nodes[0].wait_for_session();
    assert_eq!(federation.nodes[0].terminate(), Some(0));
}

#[test]
fn a_key_that_others_may_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let federation = Federation::enrolled(&["north"]);
    let node = &federation.nodes[0];
    let key = node.dir().join("signing-key.hex");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    node.try_serve().refused(&["signing-key.hex", "644", "chmod 600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    node.call(&["check-config"]).ok();
}

#[test]
fn a_revoked_agency_is_cut_off_and_a_new_token_lets_it_back() {
    let mut federation = Federation::start(&["north"]);
    federation.aggregator.call(&["node", "revoke", "nobody"]).refused(&["nobody", "node list"]);
    federation.aggregator.call(&["node", "revoke", "north"]).ok();
    // Its live session is closed, and it is told why when it comes back.
    let process = federation.nodes[0].process();
    process.wait_for_log("is revoked; talk to the people who run the aggregator", SOON);
    assert_eq!(federation.nodes[0].terminate(), Some(0));
    let list = federation.aggregator.call(&["node", "list"]).ok();
    assert!(list.contains("revoked"), "{list}");

    let mut again = Node::new("north-again", federation.root());
    again.try_enrol(&federation.aggregator.url(), &federation.aggregator.token("north")).ok();
    again.write_policy(&["toy"], 3);
    again.serve();
    again.wait_for_session();
}

/// A certificate of this aggregator's own authority, for a key of ours, that ended an hour ago.
fn expired(aggregator: &Path, agency: &str) -> NodeCredentials {
    let read = |name: &str| fs::read_to_string(aggregator.join(name)).unwrap();
    let domain = TrustDomain::default();
    let ca = CertificateAuthority::from_pem(&read("ca.pem"), &read("ca-key.pem"), domain).unwrap();
    let request = CertificateRequest::generate().unwrap();
    let agency = AgencyName::new(agency).unwrap();
    let issued = SystemTime::now() - 2 * HOUR;
    let chain_pem = ca.issue_agency(&request.request_der, &agency, HOUR, issued).unwrap();
    NodeCredentials { ca_pem: read("ca.pem"), chain_pem, key_pem: request.key_pem }
}
