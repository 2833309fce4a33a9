//! A job from offer to end, and what goes wrong on the way.

mod common;

use common::{Federation, TIMEOUTS};
use tributary_round::Event;
use tributary_round::record::{KIND_ABORT, KIND_AGENCY, KIND_END, KIND_MANIFEST, KIND_ROUND};
use tributary_secagg::NodeIndex;

const ALL: usize = 100_000;

#[allow(clippy::unwrap_used)]
fn names(value: &serde_json::Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

#[test]
fn a_job_runs_from_offer_to_end() {
    let mut f = Federation::new();
    f.connect_all();
    f.run(ALL);
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
    assert_eq!(f.entries(KIND_MANIFEST).len(), 1);
    let rounds = f.entries(KIND_ROUND);
    assert_eq!(rounds.len(), 4, "one statistics round and three of training");
    assert_eq!(rounds[0]["operation"], "statistics");
    for (i, round) in rounds.iter().enumerate() {
        assert_eq!(round["round"], i);
        assert_eq!(names(&round["survivors"]), ["a", "b", "c", "d", "e"]);
    }
    let lines: Vec<_> =
        f.steps.iter().flat_map(|s| &s.entries).map(|e| e.to_line().unwrap()).collect();
    let key = f.identity.verifying_key().0;
    tributary_ledger::verify_lines(lines.join("\n").as_bytes(), &key, |_| {}).unwrap();
}

#[test]
fn a_refusal_ends_the_job_and_names_the_agency() {
    let mut f = Federation::new();
    f.nodes[2].refuses = true;
    f.connect_all();
    f.run(ALL);
    let (complete, reason) = f.finished.unwrap();
    assert!(!complete && reason.contains("c refuses the job: policy-epsilon"), "{reason}");
}

#[test]
fn an_agency_that_never_comes_is_named() {
    let mut f = Federation::new();
    (0..4).for_each(|i| f.connect(i));
    f.run(ALL);
    f.pass(TIMEOUTS.gather - 1);
    assert_eq!(f.finished, None);
    assert_eq!(f.coordinator.progress().waiting_for, ["e"]);
    f.pass(1);
    let (complete, reason) = f.finished.unwrap();
    assert!(!complete && reason.ends_with("missing: e"), "{reason}");
}

/// Whatever moment an agency is lost at, its round ends without it, and it is back in a later one.
#[test]
fn a_lost_agency_is_named_and_comes_back() {
    let mut lost_in_a_round = 0;
    for moment in 40..130 {
        let mut f = Federation::new();
        f.connect_all();
        f.run(moment);
        let before = f.coordinator.state().completed;
        if f.finished.is_some() || before == 4 {
            break;
        }
        f.disconnect(3);
        f.run(12);
        f.connect(3);
        f.run(ALL);
        f.pass(TIMEOUTS.step);
        assert_eq!(f.finished, Some((true, "all rounds are certified".into())), "{moment}");
        let rounds = f.entries(KIND_ROUND);
        let without = rounds.iter().filter(|r| names(&r["survivors"]).len() == 4).count();
        lost_in_a_round += usize::from(without > 0);
        assert!(without <= 2, "{moment}: {rounds:?}");
    }
    assert!(lost_in_a_round > 20, "{lost_in_a_round}");
}

#[test]
fn a_mute_agency_is_waited_for_once_per_step_and_left_out() {
    let mut f = Federation::new();
    f.connect_all();
    // Past the key agreement.
    while f.coordinator.state().completed == 0 {
        assert!(f.run(1) > 0);
    }
    f.nodes[1].mute = true;
    f.run(ALL);
    for _ in 0..20 {
        f.pass(TIMEOUTS.train);
    }
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
    let rounds = f.entries(KIND_ROUND);
    assert_eq!(names(&rounds[3]["dropped"]), ["b"]);
}

#[test]
fn too_few_agencies_are_waited_for_and_then_named() {
    let mut f = Federation::new();
    f.connect_all();
    while f.coordinator.state().completed == 0 {
        assert!(f.run(1) > 0);
    }
    f.disconnect(0);
    f.disconnect(1);
    f.run(ALL);
    f.pass(TIMEOUTS.train);
    assert_eq!(f.finished, None);
    assert_eq!(f.coordinator.progress().missing, ["a", "b"]);
    f.pass(TIMEOUTS.rejoin);
    let (complete, reason) = f.finished.clone().unwrap();
    assert!(!complete && reason.contains("missing: a, b"), "{reason}");
    assert_eq!(f.entries(KIND_END)[0]["complete"], false);
}

/// The coordinator is killed at every moment; the job goes on from what it had persisted, and no
/// attempt number is ever used twice.
#[test]
fn a_killed_coordinator_goes_on_where_it_was() {
    for moment in (5..150).step_by(3) {
        let mut f = Federation::new();
        f.connect_all();
        f.run(moment);
        if f.finished.is_some() {
            break;
        }
        f.restart();
        f.connect_all();
        f.run(ALL);
        f.pass(TIMEOUTS.step);
        assert_eq!(f.finished, Some((true, "all rounds are certified".into())), "{moment}");
        let rounds = f.entries(KIND_ROUND);
        let numbers: Vec<_> = rounds.iter().map(|r| r["round"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [0, 1, 2, 3], "{moment}");
        let lines: Vec<_> =
            f.steps.iter().flat_map(|s| &s.entries).map(|e| e.to_line().unwrap()).collect();
        let key = f.identity.verifying_key().0;
        tributary_ledger::verify_lines(lines.join("\n").as_bytes(), &key, |_| {}).unwrap();
    }
}

#[test]
fn garbage_is_blamed_on_its_sender_and_hurts_nobody_else() {
    let mut f = Federation::new();
    f.connect_all();
    while f.coordinator.state().completed == 0 {
        assert!(f.run(1) > 0);
    }
    f.event(Event::Secagg(NodeIndex(4), vec![0xff; 40].into()));
    f.run(ALL);
    f.pass(TIMEOUTS.train);
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
    let blamed = f.entries(KIND_AGENCY);
    assert_eq!(
        (blamed[0]["agency"].as_str(), blamed[0]["what"].as_str()),
        (Some("e"), Some("fault"))
    );
    assert!(f.entries(KIND_ABORT).is_empty());
}

#[test]
fn a_cancelled_job_ends_at_once() {
    let mut f = Federation::new();
    f.connect_all();
    f.run(60);
    f.event(Event::Cancelled("cancelled by the operator".into()));
    f.run(ALL);
    assert_eq!(f.finished, Some((false, "cancelled by the operator".into())));
}

/// However long the pause before the next attempt may be: it is for those who are still missing.
#[test]
fn the_rounds_go_on_at_once_when_everybody_is_back() {
    let mut f = Federation::new();
    f.connect_all();
    while f.coordinator.state().completed == 0 {
        assert!(f.run(1) > 0);
    }
    f.restart();
    f.event(Event::Tick);
    f.connect_all();
    f.run(ALL);
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
}

/// Messages that move nothing buy no time: a member cannot hold a round open by talking.
#[test]
fn talking_without_progress_does_not_renew_a_deadline() {
    let mut f = Federation::new();
    f.connect_all();
    while f.coordinator.state().completed == 0 {
        assert!(f.run(1) > 0);
    }
    f.nodes[1].mute = true;
    f.run(ALL);
    let before = f.coordinator.state().completed;
    for _ in 0..4 {
        let text = "still here".to_owned();
        f.event(Event::Reported { node: NodeIndex(1), round: 99, attempt: 0, text });
        f.event(Event::Accepted(NodeIndex(1)));
        f.pass(TIMEOUTS.train / 2);
    }
    assert!(f.coordinator.state().completed > before);
    assert!(f.entries(KIND_AGENCY).is_empty(), "and leaves nothing in the record");
}
