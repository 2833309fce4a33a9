//! Members with a valid certificate that break the protocol: cut off and named; everybody else goes
//! on.

use tributary_tests::session::{RawSession, hello};
use tributary_tests::{Federation, SOON};
use tributary_wire::PROTOCOL_VERSION;
use tributary_wire::limits::{MAX_MESSAGE_BYTES, MAX_SECAGG_BYTES};
use tributary_wire::session::{FromNode, Secagg, SessionRefusalCode};

const AGENCIES: [&str; 5] = ["north", "east", "south", "west", "isle"];

#[test]
fn another_protocol_version_is_refused_with_both_numbers() {
    let mut federation = Federation::enrolled(&["north"]);
    let (url, dir) = (federation.aggregator.url(), federation.nodes[0].dir().to_owned());
    let mut session = RawSession::open(&url, &dir, hello(999));
    let refused = session.until_refused();
    assert_eq!(refused.code, SessionRefusalCode::Version);
    let text = refused.text.to_string();
    assert!(text.contains("999") && text.contains(&PROTOCOL_VERSION.to_string()), "{text}");
    assert!(text.contains("update the aggregator"), "{text}");
    federation.aggregator.process().wait_for_log("999", SOON);
    // With the right one it is let in.
    RawSession::welcomed(&url, &dir);
}

#[test]
fn a_member_that_sends_garbage_is_cut_off_and_named() {
    let mut federation = Federation::start(&AGENCIES);
    let job = federation.aggregator.submit(&federation.job(400));
    federation.aggregator.wait_for_round(&job, 2);
    federation.node("isle").kill();
    let (url, dir) = (federation.aggregator.url(), federation.node("isle").dir().to_owned());
    let hash = federation.evidence(&job).plan.job.0;
    let secagg = |frame: Vec<u8>| FromNode::Secagg(Secagg { job: hash, frame: frame.into() });

    // Frames that are no message of the protocol, the second far longer than any can be.
    for garbage in [vec![0xff; 100], vec![1; 3 * 1024 * 1024]] {
        let mut session = RawSession::welcomed(&url, &dir);
        assert!(session.send(secagg(garbage)));
        let refused = session.until_refused();
        assert_eq!(refused.code, SessionRefusalCode::BadFrame);
    }
    // Beyond what a frame may have, and beyond what a message may have: not even read.
    for limit in [MAX_SECAGG_BYTES, MAX_MESSAGE_BYTES] {
        let mut session = RawSession::welcomed(&url, &dir);
        assert!(session.send(secagg(vec![1; limit + 1])));
        let refused = session.until_refused();
        assert_eq!(refused.code, SessionRefusalCode::BadFrame);
        assert!(refused.text.to_string().contains(&limit.to_string()), "{}", refused.text);
    }

    // All that did not disturb the others.
    let round = federation.aggregator.status(&job)["round"].as_u64().unwrap();
    federation.aggregator.wait_for_round(&job, round + 2);
    // The real node comes back and takes part again.
    federation.node("isle").serve();
    let back = |s: &serde_json::Value| {
        s["survivors_last"].as_array().unwrap().iter().any(|name| name == "isle")
    };
    federation.aggregator.wait_until(&job, "with isle again", SOON, back);
    federation.aggregator.call(&["job", "cancel", &job]).ok();
    let reason = federation.aggregator.wait_until_failed(&job);
    assert!(reason.contains("cancelled by the operator"), "{reason}");
    let free = |s: &serde_json::Value| s["reason"].as_str().is_some_and(|r| !r.is_empty());
    federation.aggregator.wait_until(&job, "over", SOON, free);

    // The record names it, for what it sent and for nothing else.
    let evidence = federation.evidence(&job);
    let faults: Vec<_> = evidence.agencies.iter().filter(|a| a.what == "fault").collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    for fault in faults {
        assert_eq!(fault.agency, "isle");
        assert!(fault.text.contains("cannot be read"), "{fault:?}");
    }
}

#[test]
fn a_session_begins_with_a_hello() {
    let federation = Federation::enrolled(&["north"]);
    let mut broken = hello(PROTOCOL_VERSION);
    // Two datasets of one name are not an acceptable hello.
    broken.datasets.push(broken.datasets[0].clone());
    let dir = federation.nodes[0].dir();
    let mut session = RawSession::open(&federation.aggregator.url(), dir, broken);
    assert_eq!(session.until_refused().code, SessionRefusalCode::BadHello);
}
