//! Evaluations on the way: a job ends early for everybody, and no crash moves or forgets a decision.

#![allow(clippy::unwrap_used, reason = "a failing unwrap in a test is a failing test")]

mod common;

use common::{Federation, TIMEOUTS};
use tributary_round::record::{KIND_END, KIND_ROUND};

const ALL: usize = 100_000;

/// The nodes' vectors are zeros, so nothing can be read and no evaluation is progress: three training
/// rounds, an evaluation after each, over after two.
const STOPS: &str = "\n[evaluation]\nbins = 4\nevery = 1\nkeep = \"best\"\n[evaluation.stopping]\n\
    metric = \"log_loss\"\npatience = 2\n";

fn operations(f: &Federation) -> Vec<String> {
    let rounds = f.entries(KIND_ROUND);
    rounds.iter().map(|r| r["operation"].as_str().unwrap().to_owned()).collect()
}

fn ended_early(f: &Federation) {
    let (complete, reason) = f.finished.clone().unwrap();
    assert!(complete && reason.contains("log_loss has not improved in 2 evaluations"), "{reason}");
    assert!(reason.contains("after 5 of 7 rounds"), "{reason}");
    assert_eq!(operations(f), ["statistics", "training", "evaluation", "training", "evaluation"]);
    assert_eq!(f.entries(KIND_END).len(), 1);
    assert_eq!(f.entries(KIND_END)[0]["rounds"], 5);
    assert_eq!(f.coordinator.state().evaluations.as_ref().unwrap().sums.len(), 2);
}

#[test]
fn a_metric_that_stands_still_ends_the_job_for_everybody() {
    let mut f = Federation::with_lines(STOPS);
    assert_eq!(f.plan.rounds, 7);
    f.connect_all();
    f.run(ALL);
    ended_early(&f);
    // Nobody was told: each node's own state says that no round follows.
    let nodes = f.nodes.iter().map(|node| node.state());
    assert!(nodes.into_iter().all(|state| f.plan.next(state).is_none()));
}

/// Whatever moment the aggregator dies at, what was certified is neither lost nor counted twice.
#[test]
fn a_crash_at_any_moment_leaves_the_same_history() {
    let events = {
        let mut f = Federation::with_lines(STOPS);
        f.connect_all();
        (0..).find(|_| f.run(1) == 0).unwrap()
    };
    for at in (5..events).step_by(11) {
        let mut f = Federation::with_lines(STOPS);
        f.connect_all();
        f.run(at);
        f.restart();
        f.connect_all();
        for _ in 0..20 {
            f.run(ALL);
            if f.finished.is_none() {
                f.pass(TIMEOUTS.step);
            }
        }
        ended_early(&f);
    }
}

/// The last evaluation is certified and durable, and the aggregator dies before it notes the end.
#[test]
fn a_crash_between_the_last_evaluation_and_the_end_starts_no_further_round() {
    let mut f = Federation::with_lines(STOPS);
    f.connect_all();
    f.run_to_round(5);
    let certified = f.steps.iter().rposition(|step| step.certified.is_some()).unwrap();
    f.steps.truncate(certified + 1);
    f.finished = None;
    f.restart();
    f.connect_all();
    for _ in 0..20 {
        f.run(ALL);
        if f.finished.is_none() {
            f.pass(TIMEOUTS.step);
        }
    }
    ended_early(&f);
}

#[test]
fn a_node_that_missed_evaluations_gets_them_with_the_state() {
    let mut f = Federation::with_lines(&STOPS.replace("patience = 2", "patience = 3"));
    // An exact sum wants the whole roster, the coordinator does not: four go on alone.
    f.connect_all();
    f.run_to_round(1);
    f.disconnect(4);
    f.run_to_round(4);
    f.connect(4);
    for _ in 0..20 {
        f.run(ALL);
        if f.finished.is_none() {
            f.pass(TIMEOUTS.step);
        }
    }
    assert!(f.finished.as_ref().unwrap().0, "{:?}", f.finished);
    assert!(!f.states.is_empty());
    let own = f.coordinator.state();
    assert!(f.nodes[4].state().evaluations.is_some());
    assert_eq!(f.nodes[4].state(), own);
}
