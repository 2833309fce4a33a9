//! Clocks that jump while a job runs, at a node and at the aggregator: forwards and far back. Nothing is
//! lost or charged twice, and no record goes back in time. Needs libfaketime (the package `faketime`) and is
//! skipped without it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use tributary_ledger::Entry;
use tributary_tests::Federation;

const AGENCIES: [&str; 5] = ["north", "east", "south", "west", "isle"];

/// The library that shifts the wall clock of a process by what a file says.
fn library() -> Option<PathBuf> {
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let found = folders
        .map(|folder| Path::new("/usr/lib").join(folder).join("faketime/libfaketimeMT.so.1"))
        .into_iter()
        .find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: there is no libfaketime (apt install faketime)");
    }
    found
}

/// What a process needs whose clock follows the file. The monotonic clock stays the system's.
fn variables<'a>(library: &'a str, file: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", file),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ]
}

/// Every entry is not before the one that it follows.
fn in_order(lines: &str) -> usize {
    let entries: Vec<Entry> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(entries.windows(2).all(|two| two[0].at <= two[1].at), "{lines}");
    entries.len()
}

#[test]
fn clocks_that_jump_lose_nothing_and_no_record_goes_back_in_time() {
    let Some(library) = library() else { return };
    let library = library.to_str().unwrap();
    let mut federation = Federation::enrolled(&AGENCIES);
    let shift = federation.root().join("shift");
    let set = |by: &str| {
        // In one step: a half-written file is no time.
        let new = shift.with_extension("new");
        fs::write(&new, by).unwrap();
        fs::rename(&new, &shift).unwrap();
    };
    set("+0");
    let shift = shift.to_str().unwrap();
    // The aggregator and one node live by the same shifted clock, the others by the true one.
    assert_eq!(federation.aggregator.terminate(), Some(0));
    federation.aggregator.serve_with(&variables(library, shift));
    for node in &mut federation.nodes {
        match node.agency() {
            "isle" => node.serve_with(&variables(library, shift)),
            _ => node.serve(),
        }
    }
    federation.nodes.iter_mut().for_each(tributary_tests::Node::wait_for_session);
    let job = federation.aggregator.submit(&federation.job(60));
    federation.aggregator.wait_for_round(&job, 3);
    let mut round = 3;
    // An hour ahead, two days ahead, back to the truth, an hour behind, the truth again.
    for by in ["+1h", "+2d", "+0", "-1h", "+0"] {
        set(by);
        round += 6;
        federation.aggregator.wait_for_round(&job, round);
    }
    federation.aggregator.wait_until_done(&job);
    let evidence = federation.evidence(&job);
    assert_eq!(evidence.rounds.len(), 61);
    // Nobody was left out for it.
    assert!(evidence.rounds.iter().all(|round| round.survivors.len() == AGENCIES.len()));
    for node in &federation.nodes {
        node.settled_budget("toy");
        assert_eq!(node.charges().len(), 61, "{}", node.agency());
        node.call(&["audit", "verify"]).ok();
        assert!(in_order(&node.call(&["audit", "export"]).ok()) > 0);
    }
    federation.aggregator.call(&["audit", "verify"]).ok();
    assert!(in_order(&federation.aggregator.call(&["audit", "export"]).ok()) > 5);
}
