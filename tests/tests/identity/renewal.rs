//! Certificates that renew themselves: the nodes', and the service's own.

use std::time::{Duration, SystemTime};

use tributary_transport::NodeCredentials;

use crate::help::{configured, federation, serial, try_connect, wait_for};

#[test]
fn nodes_and_the_service_renew_by_themselves_while_jobs_run() {
    let agencies = ["north", "east", "south"];
    let mut federation = configured(&agencies, |_, text| Some(text.replace("\"30d\"", "\"20s\"")));
    federation.serve_nodes();
    let first: Vec<_> = federation.nodes.iter().map(serial).collect();
    let old = NodeCredentials::load(federation.nodes[0].dir()).unwrap();
    let status = federation.nodes[0].call(&["status"]).ok();
    assert!(status.contains(&first[0]) && status.contains("renewal due"), "{status}");
    let job = federation.aggregator.submit(&federation.job(400));

    wait_for("every node has a fresh certificate", || {
        federation.nodes.iter().zip(&first).all(|(node, old)| serial(node) != *old)
    });
    // The session is made anew with it, and the job does not care.
    for node in &mut federation.nodes {
        node.process()
            .wait_for_log("connecting anew with the fresh certificate", tributary_tests::SOON);
    }
    federation.aggregator.wait_until_done(&job);
    let list = federation.aggregator.call(&["certificate", "list", "--all"]).ok();
    for (node, old) in federation.nodes.iter().zip(&first) {
        let line = list.lines().find(|l| l.contains(&format!("renewed from {old}")));
        assert!(line.is_some_and(|l| l.contains(node.agency())), "{list}");
    }

    // Past the end of all first certificates, the service's own included: a new job runs.
    // (The last second of a certificate counts.)
    let end = old.not_after().unwrap() + Duration::from_secs(1);
    wait_for("the first certificates have ended", || SystemTime::now() > end);
    assert!(try_connect(&federation.aggregator, &old).is_some(), "an ended certificate");
    let fresh = NodeCredentials::load(federation.nodes[0].dir()).unwrap();
    assert_eq!(try_connect(&federation.aggregator, &fresh), None);
    let job = federation.aggregator.submit(&federation.job(3));
    federation.aggregator.wait_until_done(&job);
    for node in &mut federation.nodes {
        assert_eq!(node.terminate(), Some(0));
    }
}

#[test]
fn an_operator_renews_by_hand_with_the_certificate_or_with_a_token() {
    let federation = federation(&["north"]);
    let node = &federation.nodes[0];
    let first = serial(node);
    let key = node.call(&["fingerprint"]).ok();
    node.call(&["renew"]).ok();
    let second = serial(node);
    assert_ne!(first, second);

    let file = federation.root().join("token");
    let renew = |token: &str| {
        std::fs::write(&file, token).unwrap();
        node.call(&["renew", "--token-file", file.to_str().unwrap()])
    };
    renew(&federation.aggregator.token("south")).refused(&["token is for south", "north's"]);
    let ada = federation.aggregator.call(&["role", "token", "--role", "auditor", "--name", "ada"]);
    renew(&ada.last_line()).refused(&["token is for auditor/ada"]);
    assert_eq!(serial(node), second);
    renew(&federation.aggregator.token("north")).ok();
    assert_ne!(serial(node), second);
    // What was there before is refused now, and what the agency signs with is the same.
    assert_eq!(node.call(&["fingerprint"]).ok(), key);
    let list = federation.aggregator.call(&["certificate", "list"]).ok();
    for old in [first, second] {
        assert!(list.lines().any(|l| l.contains(&old) && l.contains("revoked")), "{list}");
    }
    // Both sides show one string to compare.
    let fingerprint = key.lines().next().unwrap().split_whitespace().last().unwrap().to_owned();
    let agencies = federation.aggregator.call(&["agency", "list"]).ok();
    assert!(agencies.contains(&fingerprint), "{agencies}");
    let status = federation.aggregator.call(&["status"]).ok();
    let own = key.lines().nth(1).unwrap().split_whitespace().last().unwrap();
    assert!(status.contains(own), "{status}");
}
