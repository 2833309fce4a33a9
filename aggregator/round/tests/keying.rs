//! The key agreement with agencies that leave, lie or say nothing.

mod common;

use common::{Federation, TIMEOUTS};
use tributary_round::record::{KIND_AGENCY, KIND_EPOCH, KIND_ROUND};
use tributary_round::{Event, JobPhase};
use tributary_secagg::{MAX_EPOCHS, NodeIndex};

const ALL: usize = 100_000;

#[allow(clippy::unwrap_used)]
fn names(value: &serde_json::Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

/// Connects everybody and stops in the middle of the first key agreement.
fn in_keying() -> Federation {
    let mut f = Federation::new();
    f.connect_all();
    // Five sessions, five answers to the offer, two hellos.
    assert_eq!(f.run(12), 12);
    f
}

fn assert_done(f: &mut Federation) {
    for _ in 0..20 {
        f.pass(TIMEOUTS.step);
    }
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
}

fn garbage(f: &mut Federation, i: u16) {
    f.event(Event::Secagg(NodeIndex(i), vec![0xff; 40].into()));
}

#[test]
fn an_agency_that_leaves_again_and_again_does_not_keep_the_others_from_beginning() {
    let mut f = in_keying();
    for times in 1..=3 {
        f.disconnect(3);
        f.connect(3);
        while f.entries(KIND_AGENCY).len() < times
            || f.coordinator.progress().phase != JobPhase::Keying
        {
            assert!(f.run(1) > 0);
        }
    }
    let left = |f: &Federation| {
        let entries = f.entries(KIND_AGENCY);
        assert!(entries.iter().all(|e| e["agency"] == "d" && e["what"] == "left"));
        assert!(entries.iter().all(|e| e["text"] == "left while keys were agreed on"));
        entries.len()
    };
    // The fourth time, and often: it is written down once.
    for _ in 0..3 {
        f.disconnect(3);
        f.connect(3);
    }
    f.run(ALL);
    assert_eq!(left(&f), 4);
    assert_done(&mut f);
    assert_eq!(f.entries(KIND_EPOCH)[0]["epoch"], 4);
    assert_eq!(names(&f.entries(KIND_ROUND)[0]["cohort"]), ["a", "b", "c", "e"]);
    assert_eq!(left(&f), 4);
}

#[test]
fn a_liar_in_the_key_agreement_is_out_and_nobody_waits_for_it_again() {
    let mut f = in_keying();
    garbage(&mut f, 4);
    f.run(ALL);
    let said = f.entries(KIND_AGENCY);
    assert_eq!((said[0]["agency"].as_str(), said[0]["what"].as_str()), (Some("e"), Some("fault")));
    assert_eq!(said.len(), 1, "its session ends, which is not leaving");
    // Another one leaves: the new epoch begins without the liar, who is not even there.
    f.disconnect(2);
    f.run(ALL);
    assert_eq!(f.coordinator.progress().waiting_for, ["c"]);
    f.connect(2);
    f.run(ALL);
    // At once, and not when some deadline has passed.
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
    assert_eq!(f.entries(KIND_EPOCH)[0]["epoch"], 2);
    for round in f.entries(KIND_ROUND) {
        assert_eq!(names(&round["cohort"]), ["a", "b", "c", "d"]);
    }
}

#[test]
fn an_agreement_that_fails_is_tried_again() {
    let mut f = Federation::new();
    f.nodes[0].mute = true;
    f.nodes[1].mute = true;
    f.connect_all();
    f.run(ALL);
    f.nodes[0].mute = false;
    f.pass(TIMEOUTS.step);
    f.nodes[1].mute = false;
    assert_done(&mut f);
    assert_eq!(f.entries(KIND_EPOCH)[0]["epoch"], 2);
}

#[test]
fn epochs_are_not_tried_for_ever() {
    let mut f = Federation::new();
    f.nodes[0].mute = true;
    f.nodes[1].mute = true;
    f.connect_all();
    for _ in 0..MAX_EPOCHS {
        assert_eq!(f.finished, None);
        f.pass(TIMEOUTS.step);
    }
    f.pass(TIMEOUTS.step);
    let (complete, reason) = f.finished.unwrap();
    assert!(!complete && reason.starts_with("no agreement on keys"), "{reason}");
}

#[test]
fn with_too_few_left_there_is_no_other_epoch() {
    let mut f = in_keying();
    garbage(&mut f, 3);
    garbage(&mut f, 4);
    f.run(ALL);
    f.pass(TIMEOUTS.step);
    let (complete, reason) = f.finished.unwrap();
    assert!(!complete && reason.starts_with("no agreement on keys"), "{reason}");
}
