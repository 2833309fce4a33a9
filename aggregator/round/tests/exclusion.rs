//! Who is asked, with which state, and who is out of the job.

mod common;

use common::{Federation, TIMEOUTS};
use tributary_round::Event;
use tributary_round::record::{KIND_AGENCY, KIND_ROUND};
use tributary_secagg::messages::SignedMessage;
use tributary_secagg::{Digest, NodeIndex, NodeMessage};

const ALL: usize = 100_000;

#[allow(clippy::unwrap_used)]
fn names(value: &serde_json::Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

fn assert_done(f: &mut Federation) {
    for _ in 0..20 {
        f.pass(TIMEOUTS.step);
    }
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
}

fn refusal(i: u16) -> Event {
    Event::Refused(NodeIndex(i), "policy-epsilon: 3, at most 2".into())
}

fn in_round_one() -> Federation {
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    f
}

/// Its report may be about any attempt: a node without the state gets it before the next one.
#[test]
fn a_missing_state_is_sent_again_whatever_attempt_the_report_names() {
    for (text, sent) in [("state-missing: has 0 rounds", 1), ("state-mismatch", 1), ("busy", 0)] {
        let mut f = in_round_one();
        f.restart();
        f.connect_all();
        let text = text.to_owned();
        f.event(Event::Reported { node: NodeIndex(1), round: 0, attempt: 7, text });
        f.run(ALL);
        assert_done(&mut f);
        assert_eq!(f.states.iter().filter(|(node, _)| node.0 == 1).count(), sent);
        assert_eq!(f.states.len(), sent);
        assert!(f.entries(KIND_AGENCY).is_empty(), "no entry for a late report");
    }
}

#[test]
fn nodes_that_missed_rounds_share_one_copy_of_the_state() {
    let mut f = in_round_one();
    f.restart();
    f.connect_all();
    for i in [0, 1] {
        let text = "state-missing".to_owned();
        f.event(Event::Reported { node: NodeIndex(i), round: 9, attempt: 0, text });
    }
    // The reports come before the answers with which the next attempt begins.
    f.run(ALL);
    f.pass(TIMEOUTS.step);
    assert_done(&mut f);
    let ours: Vec<_> = f.states.iter().filter(|(n, _)| n.0 < 2).collect();
    assert_eq!(ours.len(), 2);
    assert_eq!(ours[0].1.as_ptr(), ours[1].1.as_ptr());
}

/// Two different signed answers are proof: no second and third chance.
#[test]
fn a_proven_fault_excludes_at_once_and_a_restart_does_not_change_that() {
    let mut f = in_round_one();
    f.nodes[2].hold = Some(|m| matches!(m, NodeMessage::ResultAck(_)));
    f.nodes[3].hold = f.nodes[2].hold;
    f.run(ALL);
    let Some(NodeMessage::ResultAck(ack)) = f.nodes[2].held.front().cloned() else {
        unreachable!("it holds its answer")
    };
    f.release(2);
    let mut other = ack;
    other.state_hash = Digest([1; 32]);
    let other = other.signed_by(f.identity_of(2));
    f.nodes[2].held.push_back(NodeMessage::ResultAck(other));
    f.release(2);
    let said = f.entries(KIND_AGENCY);
    assert_eq!(said[0]["what"], "evicted");
    assert!(said[0]["evidence"].is_string());
    f.restart();
    f.nodes.iter_mut().for_each(|n| n.hold = None);
    f.connect_all();
    f.run(ALL);
    assert_done(&mut f);
    let rounds = f.entries(KIND_ROUND);
    for round in &rounds[1..] {
        assert_eq!(names(&round["cohort"]), ["a", "b", "d", "e"]);
    }
}

#[test]
fn three_faults_exclude_also_across_restarts() {
    let mut f = in_round_one();
    let garbage = |f: &mut Federation| {
        f.event(Event::Secagg(NodeIndex(4), vec![0xff; 40].into()));
    };
    let back = |f: &mut Federation| {
        f.restart();
        f.connect_all();
        // Five sessions, five answers: the next attempt begins, with everybody who may.
        f.run(10);
    };
    // Two in attempts that come to no end, one in the next round.
    garbage(&mut f);
    f.run(10);
    back(&mut f);
    garbage(&mut f);
    f.run_to_round(2);
    back(&mut f);
    garbage(&mut f);
    f.run_to_round(3);
    let faults = f.entries(KIND_AGENCY).iter().filter(|e| e["what"] == "fault").count();
    assert_eq!(faults, 3);
    back(&mut f);
    f.run(ALL);
    assert_done(&mut f);
    let rounds = f.entries(KIND_ROUND);
    assert_eq!(names(&rounds[2]["dropped"]), ["e"]);
    assert_eq!(names(&rounds[3]["cohort"]), ["a", "b", "c", "d"]);
}

#[test]
fn a_refusal_of_a_node_that_is_not_there_says_nothing() {
    let mut f = Federation::new();
    f.connect(0);
    f.event(refusal(2));
    f.run(ALL);
    assert_eq!(f.finished, None);
    f.connect_all();
    f.run_to_round(1);
    // Once it is out, it is out: nothing more is written about it.
    f.event(refusal(2));
    f.connect(2);
    f.event(refusal(2));
    f.run(ALL);
    assert_done(&mut f);
    assert_eq!(f.entries(KIND_AGENCY).len(), 1);
}

/// A node that gave the attempt up has no part in it; a frame that cannot be read is wrong all the
/// same, and its sender cut off.
#[test]
fn garbage_of_a_node_that_is_gone_is_still_named() {
    let mut f = in_round_one();
    f.nodes[0].mute = true;
    let text = "training-failed".to_owned();
    f.event(Event::Reported { node: NodeIndex(3), round: 1, attempt: 0, text });
    f.event(Event::Secagg(NodeIndex(3), vec![0xff; 40].into()));
    f.run(ALL);
    f.nodes[0].mute = false;
    let what: Vec<_> = f.entries(KIND_AGENCY).iter().map(|e| e["what"].clone()).collect();
    assert_eq!(what, ["report", "fault"]);
    f.pass(TIMEOUTS.train);
    assert_done(&mut f);
}
