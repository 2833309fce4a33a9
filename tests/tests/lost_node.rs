//! Processes die without warning and come back: nothing is lost, nothing is counted twice.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use tributary_tests::{Federation, SOON};

const AGENCIES: [&str; 5] = ["north", "east", "south", "west", "isle"];

/// Enough rounds that a process can die and come back before they are over.
const MANY: u32 = 200;

#[test]
fn a_lost_agency_is_named_and_takes_part_again() {
    let mut federation = Federation::start(&AGENCIES);
    let job = federation.aggregator.submit(&federation.job(MANY));
    federation.aggregator.wait_for_round(&job, 3);
    // A node that dies after its vector is in is a survivor of that round all the same, so it may
    // take a few deaths until one falls into the time before.
    let mut named = false;
    for _ in 0..8 {
        let round = die_in_mid_round(&mut federation, &job);
        let lost = federation.evidence(&job).rounds_without("west");
        named = lost.contains(&(round, true));
        assert!(named || lost.iter().any(|(r, _)| *r == round + 1), "{round}: {lost:?}");
        federation.node("west").serve();
        let back = |s: &serde_json::Value| names(&s["survivors_last"]).contains("west");
        federation.aggregator.wait_until(&job, "with west again", SOON, back);
        if named {
            break;
        }
    }
    assert!(named, "the record names it in no round that it had begun");
    federation.aggregator.wait_until_done(&job);

    let evidence = federation.evidence(&job);
    let last = evidence.rounds.last().unwrap();
    assert!(evidence.survived("west", last), "it is in the last round: {last:?}");
    for agency in AGENCIES.iter().filter(|a| **a != "west") {
        assert_eq!(evidence.rounds_without(agency), [], "{agency} was there all the time");
    }
    let log = federation.node("west").process().log();
    assert!(log.contains("caught up with the job at round"), "{log}");
    expect_no_double_charge(&federation);
}

#[test]
fn the_aggregator_may_die_at_any_time() {
    let mut federation = Federation::start(&AGENCIES);
    let job = federation.aggregator.submit(&federation.job(40));
    // Submitted in the same second, so that the queue has no order between the two: whichever has
    // begun must be the one that goes on after a restart.
    let next = federation.aggregator.submit(&federation.job(2));
    for round in [2, 10, 20] {
        federation.aggregator.wait_for_round(&job, round);
        federation.aggregator.kill();
        federation.aggregator.serve();
    }
    federation.aggregator.wait_until_done(&job);
    federation.aggregator.wait_until_done(&next);
    // The record was written by four processes one after the other, and is one chain.
    let evidence = federation.evidence(&job);
    assert_eq!(evidence.rounds.len(), 41);
    assert_eq!(evidence.end()["complete"], true);
    expect_no_double_charge(&federation);
    for node in &mut federation.nodes {
        assert_eq!(node.terminate(), Some(0), "{}", node.agency());
    }
}

#[test]
fn a_node_that_missed_the_end_is_free_for_the_next_job() {
    let mut federation = Federation::start(&AGENCIES);
    let first = federation.aggregator.submit(&federation.job(15));
    federation.aggregator.wait_for_round(&first, 2);
    federation.node("isle").kill();
    federation.aggregator.wait_until_done(&first);

    federation.node("isle").serve();
    federation.node("isle").wait_for_session();
    let second = federation.aggregator.submit(&federation.job(3));
    federation.aggregator.wait_until_done(&second);
    let evidence = federation.evidence(&second);
    assert!(evidence.rounds.iter().all(|r| r.survivors == AGENCIES));
    // Both jobs are closed: what they had reserved beyond their cost is free again.
    assert!(federation.node("isle").settled_budget("toy")["spent"].as_f64() > Some(0.0));
}

/// Kills the node of west in a round that it takes part in; returns which, after two rounds more.
fn die_in_mid_round(federation: &mut Federation, job: &str) -> u32 {
    // Frozen first: the round that then stands still has it in its cohort.
    federation.node("west").process().freeze();
    let round = stalled_at(federation, job);
    federation.node("west").kill();
    federation.aggregator.wait_for_round(job, round + 2);
    let without = federation.aggregator.status(job);
    assert!(!names(&without["survivors_last"]).contains("west"), "{without}");
    assert!(names(&without["missing"]).contains("west"), "{without}");
    round as u32
}

/// Waits until no round has been certified for a while; returns how many are.
fn stalled_at(federation: &Federation, job: &str) -> u64 {
    let mut round = None;
    loop {
        let now = federation.aggregator.status(job)["round"].as_u64();
        if now == round {
            return now.unwrap();
        }
        round = now;
        std::thread::sleep(Duration::from_millis(1500));
    }
}

fn names(list: &serde_json::Value) -> BTreeSet<&str> {
    list.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

/// No book holds two charges for one attempt.
fn expect_no_double_charge(federation: &Federation) {
    for node in &federation.nodes {
        let charges = node.charges();
        let distinct: BTreeSet<_> = charges.iter().collect();
        assert!(!charges.is_empty());
        assert_eq!(distinct.len(), charges.len(), "{}: {charges:?}", node.agency());
    }
}
