//! Agencies that hold up an attempt: what buys time, who is late, and who goes on beside them.

mod common;

use common::{Federation, TIMEOUTS};
use tributary_round::JobPhase;
use tributary_round::record::{KIND_ABORT, KIND_ROUND};
use tributary_secagg::NodeMessage;

const ALL: usize = 100_000;

/// Vectors of four chunks.
const WIDE: &str = "[450, 450]";

fn uploads(message: &NodeMessage) -> bool {
    matches!(message, NodeMessage::MaskedChunk(_) | NodeMessage::MaskedDone(_))
}

#[allow(clippy::unwrap_used)]
fn names(value: &serde_json::Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

fn hold(f: &mut Federation, nodes: &[usize], what: fn(&NodeMessage) -> bool) {
    nodes.iter().for_each(|i| f.nodes[*i].hold = Some(what));
}

fn let_go(f: &mut Federation) {
    f.nodes.iter_mut().for_each(|n| n.hold = None);
    f.nodes.iter_mut().for_each(|n| n.held.clear());
}

fn assert_done(f: &mut Federation) {
    for _ in 0..20 {
        f.pass(TIMEOUTS.step);
    }
    assert_eq!(f.finished, Some((true, "all rounds are certified".into())));
}

#[test]
fn a_chunk_sent_again_buys_no_time() {
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    hold(&mut f, &[0], uploads);
    f.run(ALL);
    let chunk = f.nodes[0].held[0].clone();
    for _ in 0..4 {
        f.nodes[0].held.push_front(chunk.clone());
        f.release(0);
        f.pass(TIMEOUTS.train / 2);
    }
    let rounds = f.entries(KIND_ROUND);
    assert!(rounds.len() > 1, "the round waits for a node that repeats itself");
    assert_eq!(names(&rounds[1]["late"]), ["a"]);
    assert_eq!(names(&rounds[1]["dropped"]), ["a"]);
}

/// 25 steps one after the other, each within the time for training, are more than an attempt of one
/// batch may take.
#[test]
fn the_far_limit_grows_with_the_batches_of_uploads() {
    let mut f = Federation::with_hidden(WIDE);
    f.set_uploads(1);
    f.connect_all();
    f.run_to_round(1);
    hold(&mut f, &[0, 1, 2, 3, 4], uploads);
    f.run(ALL);
    let started = f.now.millis;
    while let Some(i) = (0..5).find(|i| !f.nodes[*i].held.is_empty()) {
        f.pass(TIMEOUTS.train - 1);
        f.release(i);
    }
    assert!(f.now.millis - started > 20 * TIMEOUTS.train);
    let rounds = f.entries(KIND_ROUND);
    assert_eq!(names(&rounds[1]["survivors"]), ["a", "b", "c", "d", "e"]);
}

/// One turn and two for stalled ones: more than three vectors are never kept at a time, and those
/// who never had a turn are not late.
#[test]
fn only_who_had_a_turn_is_late() {
    let mut f = Federation::new();
    f.set_uploads(1);
    f.connect_all();
    f.run_to_round(1);
    hold(&mut f, &[0, 1, 2, 3, 4], uploads);
    f.run(ALL);
    let turns = |f: &Federation| -> Vec<usize> {
        (0..5).filter(|i| !f.nodes[*i].held.is_empty()).collect()
    };
    assert_eq!(turns(&f), [0]);
    f.pass(TIMEOUTS.step / 4);
    assert_eq!(turns(&f), [0, 1]);
    for _ in 0..8 {
        f.pass(TIMEOUTS.step / 4);
    }
    assert_eq!(turns(&f), [0, 1, 2], "an attempt has a bound on its memory");
    let_go(&mut f);
    f.pass(TIMEOUTS.train);
    let aborts = f.entries(KIND_ABORT);
    assert_eq!(names(&aborts[0]["late"]), ["a", "b", "c"]);
    assert_done(&mut f);
}

/// An upload that goes on does not hide one that does not.
#[test]
fn every_stalled_turn_gives_one_more() {
    let mut f = Federation::with_hidden(WIDE);
    f.set_uploads(2);
    f.connect_all();
    f.run_to_round(1);
    hold(&mut f, &[0, 1, 2, 3], uploads);
    f.run(ALL);
    let step = TIMEOUTS.step / 4 - 1;
    f.release(1);
    f.pass(step);
    f.release(1);
    assert!(f.nodes[2].held.is_empty(), "nobody has stalled yet");
    f.pass(step);
    assert!(!f.nodes[2].held.is_empty(), "a stalls beside b");
    for _ in 0..4 {
        f.release(1);
        f.release(2);
        f.pass(1);
    }
    assert!(f.nodes[3].held.len() > 1, "b and c are done");
    while f.release(3) || f.release(2) {}
    let_go(&mut f);
    // The last one, e, had its turn after c; a is late.
    f.pass(TIMEOUTS.train);
    assert_eq!(names(&f.entries(KIND_ROUND)[1]["late"]), ["a"]);
    assert_done(&mut f);
}

#[test]
fn who_was_late_in_a_certified_round_is_named_and_sits_out_the_next() {
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    f.nodes[1].mute = true;
    f.run(ALL);
    f.pass(TIMEOUTS.train);
    f.nodes[1].mute = false;
    assert_done(&mut f);
    let rounds = f.entries(KIND_ROUND);
    assert_eq!(rounds[0].get("late"), None, "nobody");
    assert_eq!(names(&rounds[1]["late"]), ["b"]);
    assert_eq!(names(&rounds[2]["cohort"]), ["a", "c", "d", "e"]);
    assert_eq!(names(&rounds[3]["cohort"]), ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_certain_result_waits_for_one_step_only() {
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    hold(&mut f, &[4], |m| matches!(m, NodeMessage::ResultAck(_)));
    f.run(ALL);
    f.pass(TIMEOUTS.step - 1);
    assert_eq!(f.coordinator.state().completed, 1);
    f.pass(1);
    assert!(f.coordinator.state().completed > 1);
    assert_eq!(names(&f.entries(KIND_ROUND)[1]["late"]), ["e"]);
}

/// Who is gone is no part of the quorum: the result is not certain yet.
#[test]
fn a_result_without_its_quorum_gets_the_long_time() {
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    let quorum = usize::from(f.plan.roster.thresholds.quorum);
    let acks = |m: &NodeMessage| matches!(m, NodeMessage::ResultAck(_));
    hold(&mut f, &[0, 1, 2, 3, 4], acks);
    f.run(ALL);
    f.disconnect(4);
    f.run(ALL);
    (0..quorum - 1).for_each(|i| assert!(f.release(i)));
    f.pass(TIMEOUTS.step * 2);
    assert_eq!(f.coordinator.state().completed, 1, "it waits for the quorum");
    assert!(f.release(quorum - 1));
    f.pass(TIMEOUTS.step);
    assert_eq!(f.coordinator.state().completed, 2);
}

#[test]
fn who_leaves_after_the_grant_is_named_and_sits_out_the_next_attempt() {
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    hold(&mut f, &[0, 3], uploads);
    f.run(ALL);
    f.disconnect(3);
    f.connect(3);
    f.run(ALL);
    f.nodes.iter_mut().for_each(|n| n.hold = None);
    while f.release(0) {}
    assert_done(&mut f);
    let rounds = f.entries(KIND_ROUND);
    assert_eq!(names(&rounds[1]["gone"]), ["d"]);
    assert_eq!(names(&rounds[2]["cohort"]), ["a", "b", "c", "e"]);
    assert_eq!(names(&rounds[3]["cohort"]), ["a", "b", "c", "d", "e"]);
}

/// An attempt that cannot start uses up nobody's pause.
#[test]
fn waiting_does_not_count_as_sitting_out() {
    let mut f = Federation::new();
    f.connect_all();
    f.run_to_round(1);
    // One leaves before anything was granted, one is late: too few.
    f.nodes[4].mute = true;
    f.disconnect(0);
    f.run(ALL);
    f.pass(TIMEOUTS.train);
    let abort = &f.entries(KIND_ABORT)[0];
    assert_eq!((names(&abort["late"]), abort.get("gone")), (vec!["e"], None));
    f.nodes[4].mute = false;
    f.disconnect(1);
    f.run(ALL);
    // The late one would be asked now, for want of others, but even so there are too few.
    f.pass(TIMEOUTS.step);
    assert_eq!(f.coordinator.progress().phase, JobPhase::Waiting);
    f.connect(0);
    f.connect(1);
    assert_done(&mut f);
    let rounds = f.entries(KIND_ROUND);
    assert_eq!(names(&rounds[1]["cohort"]), ["a", "b", "c", "d"]);
    assert_eq!(names(&rounds[2]["cohort"]), ["a", "b", "c", "d", "e"]);
}

/// However long one stalls: it gives one turn, and not one after the other.
#[test]
fn a_stalled_turn_gives_one_more_only_once() {
    let mut f = Federation::with_hidden(WIDE);
    f.set_uploads(1);
    f.connect_all();
    f.run_to_round(1);
    hold(&mut f, &[0, 1, 2], uploads);
    f.run(ALL);
    f.pass(TIMEOUTS.step / 4);
    for _ in 0..4 {
        f.release(1);
        f.pass(TIMEOUTS.step / 4 - 1);
    }
    assert_eq!(f.nodes[1].held.len(), 1, "b had the turn beside a");
    assert!(f.nodes[2].held.is_empty(), "a gave a turn twice");
}
