//! A stolen certificate: it goes, with everything that came of it, and does not live again.

use tributary_tests::SOON;
use tributary_transport::{ClientOptions, NodeCredentials, TransportError, connect, renew};

use crate::help::{federation, serial, try_connect};

#[test]
fn a_stolen_certificate_is_cut_off_and_stays_refused_after_its_agency_is_back() {
    let mut federation = federation(&["north", "east"]);
    federation.serve_nodes();
    let stolen = NodeCredentials::load(federation.nodes[0].dir()).unwrap();
    // The thief renews before anybody notices.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let renewed = runtime.block_on(async {
        let options = ClientOptions::default();
        let url = federation.aggregator.url();
        let channel = connect(&url, &stolen, &options).await.unwrap();
        renew::renew(channel, &stolen, &options).await.unwrap()
    });
    assert_eq!(try_connect(&federation.aggregator, &renewed), None);

    let revoke = |serial: &str| federation.aggregator.call(&["certificate", "revoke", serial]);
    revoke("00ff").refused(&["no certificate 00ff", "certificate list"]);
    revoke("north").refused(&["no serial number", "certificate list"]);
    let said = revoke(&serial(&federation.nodes[0])).ok();
    assert!(said.contains(": 2"), "the thief's goes with it: {said}");
    let process = federation.nodes[0].process();
    process.wait_for_log("this certificate of it, is revoked", SOON);
    let endpoint = federation.aggregator.address().to_string();
    let refused = Some(TransportError::Revoked { endpoint });
    assert_eq!(try_connect(&federation.aggregator, &renewed), refused);
    assert_eq!(federation.nodes[0].terminate(), Some(0));

    // The agency comes back with a token; neither old certificate does.
    let file = federation.root().join("token");
    std::fs::write(&file, federation.aggregator.token("north")).unwrap();
    federation.nodes[0].call(&["renew", "--token-file", file.to_str().unwrap()]).ok();
    federation.nodes[0].serve();
    federation.nodes[0].wait_for_session();
    for old in [&stolen, &renewed] {
        assert_eq!(try_connect(&federation.aggregator, old), refused);
    }
    // Nor after the service was started anew. The other agency has not noticed anything.
    assert!(federation.nodes[1].process().ended().is_none());
    assert_eq!(federation.aggregator.terminate(), Some(0));
    federation.aggregator.serve();
    assert_eq!(try_connect(&federation.aggregator, &renewed), refused);
    let present = NodeCredentials::load(federation.nodes[0].dir()).unwrap();
    assert_eq!(try_connect(&federation.aggregator, &present), None);
}
