//! Agencies that do not take part yet: somebody has to approve the job, or the hour has to come.

mod common;

use common::{Federation, TIMEOUTS};
use tributary_round::Event;
use tributary_round::record::{KIND_AGENCY, KIND_ROUND};
use tributary_secagg::NodeIndex;

const ALL: usize = 100_000;

fn not_yet(i: u16, why: &str) -> Event {
    Event::Refused(NodeIndex(i), why.into())
}

/// Everybody is there and accepts, but one whose answer is this.
fn with_one_waiting(why: &str) -> Federation {
    let mut f = Federation::new();
    for i in [0, 1, 2, 3] {
        f.connect(i);
    }
    f.run(ALL);
    f.connect(4);
    assert_eq!(f.run(1), 1);
    // Its answer is the one below instead.
    f.drop_answers();
    f.event(not_yet(4, why));
    f.run(ALL);
    f
}

#[test]
fn a_job_waits_for_approval_and_begins_without_a_new_session() {
    let mut f = with_one_waiting("not-approved");
    let progress = f.coordinator.progress();
    assert_eq!(progress.waiting_for, ["e"]);
    assert!(progress.step.contains("e (not-approved)"), "{}", progress.step);
    assert!(progress.missing.is_empty(), "its session is there");
    f.pass(TIMEOUTS.gather / 2);
    assert_eq!(f.finished, None);
    let steps = f.steps.len();
    f.event(not_yet(4, "not-approved"));
    f.run(ALL);
    assert_eq!(f.steps.len(), steps, "saying it again is written nowhere");
    f.event(Event::Accepted(NodeIndex(4)));
    f.run(ALL);
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
    assert!(f.entries(KIND_AGENCY).is_empty(), "nobody is to blame for waiting");
    for round in f.entries(KIND_ROUND) {
        assert_eq!(round["survivors"].as_array().map(Vec::len), Some(5));
    }
}

#[test]
fn an_approval_that_does_not_come_ends_the_job_with_the_reason() {
    let mut f = with_one_waiting("not-approved");
    f.pass(TIMEOUTS.gather + 1);
    let Some((false, reason)) = &f.finished else { panic!("{:?}", f.finished) };
    assert!(reason.contains("missing: e; not yet: e (not-approved)"), "{reason}");
}

#[test]
fn a_denial_ends_the_job_that_waits() {
    let mut f = with_one_waiting("not-approved");
    f.event(not_yet(4, "approval-refused"));
    f.run(ALL);
    let Some((false, reason)) = &f.finished else { panic!("{:?}", f.finished) };
    assert_eq!(reason, "e refuses the job: approval-refused");
}

#[test]
fn whoever_steps_back_in_the_middle_is_left_out_and_comes_back() {
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    f.event(not_yet(4, "outside-hours: until 2026-01-01T20:00:00Z"));
    f.run_to_round(2);
    let rounds = f.entries(KIND_ROUND);
    assert_eq!(rounds[1]["survivors"].as_array().map(Vec::len), Some(4), "{}", rounds[1]);
    f.event(Event::Accepted(NodeIndex(4)));
    f.run(ALL);
    for _ in 0..20 {
        f.pass(TIMEOUTS.step);
    }
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
    let last = f.entries(KIND_ROUND).pop().unwrap_or_default();
    assert_eq!(last["survivors"].as_array().map(Vec::len), Some(5), "{last}");
}

#[test]
fn when_too_many_step_back_the_job_waits_as_long_as_for_an_offer() {
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    for i in [3, 4] {
        f.event(not_yet(i, "outside-hours"));
    }
    f.run(ALL);
    for _ in 0..5 {
        f.pass(TIMEOUTS.step);
    }
    assert_eq!(f.finished, None);
    let step = f.coordinator.progress().step;
    assert!(step.contains("d (outside-hours), e (outside-hours)"), "{step}");
    for i in [3, 4] {
        f.event(Event::Accepted(NodeIndex(i)));
    }
    f.run(ALL);
    for _ in 0..20 {
        f.pass(TIMEOUTS.step);
    }
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
}
