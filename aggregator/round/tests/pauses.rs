//! Sessions that break in the middle of an upload, agencies that are further than the aggregator, and
//! a service that is asked to stop.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Federation, TIMEOUTS};
use tributary_round::record::{KIND_ABORT, KIND_END, KIND_ROUND};
use tributary_secagg::NodeMessage;

const ALL: usize = 100_000;

/// Vectors of four chunks.
const WIDE: &str = "[450, 450]";

fn uploads(message: &NodeMessage) -> bool {
    matches!(message, NodeMessage::MaskedChunk(_) | NodeMessage::MaskedDone(_))
}

fn names(value: &serde_json::Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

/// Two chunks of a's vector have arrived, and everybody else's.
fn in_the_middle_of_an_upload() -> Federation {
    let mut f = Federation::with_hidden(WIDE);
    f.connect_all();
    f.run_to_round(1);
    f.nodes[0].hold = Some(uploads);
    f.run(ALL);
    assert!(f.release(0) && f.release(0));
    assert_eq!(f.nodes[0].held.len(), 3, "two chunks and the end are left");
    f
}

#[test]
fn an_upload_goes_on_at_the_chunk_that_is_due() {
    let mut f = in_the_middle_of_an_upload();
    f.disconnect(0);
    f.run(ALL);
    f.pass(TIMEOUTS.step / 4);
    assert_eq!(f.entries(KIND_ROUND).len(), 1, "it is waited for");
    f.come_back(0);
    f.run(ALL);
    let left = f.nodes[0].held.iter().collect::<Vec<_>>();
    assert!(matches!(left[0], NodeMessage::MaskedChunk(chunk) if chunk.index == 2), "{left:?}");
    assert_eq!(left.len(), 3);
    f.nodes[0].hold = None;
    while f.release(0) {}
    let rounds = f.entries(KIND_ROUND);
    assert_eq!(names(&rounds[1]["survivors"]), ["a", "b", "c", "d", "e"]);
    assert_eq!(rounds[1]["attempt"], 0);
    assert!(rounds[1].get("gone").is_none(), "nobody left");
}

#[test]
fn who_is_away_for_too_long_or_has_lost_its_vector_leaves_the_attempt() {
    for lost in [false, true] {
        let mut f = in_the_middle_of_an_upload();
        f.disconnect(0);
        f.run(ALL);
        if lost {
            f.connect(0);
            f.run(ALL);
        } else {
            f.pass(TIMEOUTS.step / 3);
        }
        let rounds = f.entries(KIND_ROUND);
        assert!(rounds.len() > 1, "{lost}: the others go on");
        assert_eq!(names(&rounds[1]["survivors"]), ["b", "c", "d", "e"], "{lost}");
        assert_eq!(names(&rounds[1]["gone"]), ["a"], "{lost}");
    }
}

#[test]
fn before_and_after_the_upload_a_broken_session_ends_a_part_in_the_attempt_at_once() {
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    // Nothing of a's is due yet: its commit is held back.
    f.nodes[0].hold = Some(|_| true);
    f.run(ALL);
    f.disconnect(0);
    f.run(ALL);
    let rounds = f.entries(KIND_ROUND);
    assert_eq!(names(&rounds[1]["survivors"]), ["b", "c", "d", "e"]);
}

#[test]
fn a_few_that_say_they_are_ahead_sit_out_and_more_end_the_job_with_the_reason() {
    // One of five may lie.
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    f.run(ALL);
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    f.restart();
    f.connect_ahead(0, 4);
    (1..5).for_each(|i| f.connect(i));
    f.run(ALL);
    for _ in 0..20 {
        f.pass(TIMEOUTS.step);
    }
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
    let without_a = |r: &serde_json::Value| !names(&r["survivors"]).contains(&"a");
    assert!(f.entries(KIND_ROUND)[1..].iter().all(without_a));

    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    f.restart();
    f.connect_ahead(0, 1);
    f.connect_ahead(1, 4);
    f.run(ALL);
    let (complete, reason) = f.finished.clone().unwrap();
    assert!(!complete);
    for words in ["put back from a backup", "up to 5 certified rounds, here 1", "Ahead are a, b"] {
        assert!(reason.contains(words), "{reason}");
    }
    assert_eq!(f.entries(KIND_END).len(), 1);
}

#[test]
fn a_service_that_is_asked_to_stop_ends_its_attempt_and_begins_no_other() {
    let mut f = in_the_middle_of_an_upload();
    f.coordinator.drain();
    assert!(f.coordinator.in_attempt());
    f.nodes[0].hold = None;
    while f.release(0) {}
    assert!(!f.coordinator.in_attempt());
    assert_eq!(f.coordinator.state().completed, 2, "the attempt came to its end");
    for _ in 0..10 {
        f.pass(TIMEOUTS.rejoin);
    }
    assert_eq!((f.coordinator.state().completed, f.finished.clone()), (2, None));
    // The next process takes the job up again.
    f.restart();
    f.connect_all();
    f.run(ALL);
    for _ in 0..20 {
        f.pass(TIMEOUTS.step);
    }
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
    assert_eq!(f.entries(KIND_ABORT).len(), 0);
}

#[test]
fn with_one_dead_the_others_go_on_after_a_moment_and_not_a_whole_step() {
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    f.restart();
    (1..5).for_each(|i| f.connect(i));
    f.run(ALL);
    f.pass(TIMEOUTS.step / 10);
    assert!(f.coordinator.state().completed > 1, "{:?}", f.coordinator.progress());
}
