//! The aggregator comes back from a backup: its job goes on where nothing was lost, and ends with a
//! reason where its agencies are further. Nobody releases anything twice.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tributary_tests::{Aggregator, Federation, SOON};

const AGENCIES: [&str; 5] = ["north", "east", "south", "west", "isle"];

/// Throws the database away and puts a backup in its place.
fn restore(aggregator: &Aggregator, file: &Path) -> String {
    for name in ["aggregator.db", "aggregator.db-wal", "aggregator.db-shm"] {
        let path = aggregator.dir().join(name);
        if path.exists() {
            fs::remove_file(path).unwrap();
        }
    }
    aggregator.call(&["backup", "restore", file.to_str().unwrap()]).ok()
}

fn backup(federation: &Federation, name: &str, more: &[&str]) -> std::path::PathBuf {
    let file = federation.root().join(name);
    let mut args = vec!["backup", "create", "--out", file.to_str().unwrap()];
    args.extend(more);
    federation.aggregator.call(&args).ok();
    file
}

#[test]
fn a_job_goes_on_after_its_newest_state_was_put_back() {
    let mut federation = Federation::start(&AGENCIES);
    let job = federation.aggregator.submit(&federation.job(25));
    federation.aggregator.wait_for_round(&job, 5);
    federation.aggregator.kill();
    let round = federation.aggregator.status(&job)["round"].as_u64().unwrap();
    let file = backup(&federation, "newest.tar", &[]);
    // Nothing is overwritten, and the disk of the machine is lost: only the keys are kept elsewhere.
    let there = federation.aggregator.call(&["backup", "restore", file.to_str().unwrap()]);
    there.refused(&["aggregator.db is there already", "nothing was changed", "move that file"]);
    let keys = federation.root().join("safe");
    fs::create_dir(&keys).unwrap();
    for name in ["ca-key.pem", "signing-key.hex"] {
        fs::copy(federation.aggregator.dir().join(name), keys.join(name)).unwrap();
    }
    fs::remove_dir_all(federation.aggregator.dir()).unwrap();
    let args = ["backup", "restore", file.to_str().unwrap()];
    let words = ["signing-key.hex, ca-key.pem", "--keys", "Nothing was changed"];
    federation.aggregator.call(&args).refused(&words);
    let with_keys = [&args[..], &["--keys", keys.to_str().unwrap()]].concat();
    let said = federation.aggregator.call(&with_keys).ok();
    assert!(said.contains(&format!("{job} was at round {round} of 26")), "{said}");

    federation.aggregator.serve();
    federation.aggregator.wait_until_done(&job);
    let evidence = federation.evidence(&job);
    assert_eq!(evidence.rounds.len(), 26);
    expect_no_double_charge(&federation);
}

#[test]
fn agencies_that_are_further_end_the_job_with_a_reason_and_release_nothing_twice() {
    let mut federation = Federation::start(&AGENCIES);
    let job = federation.aggregator.submit(&federation.job(400));
    federation.aggregator.wait_for_round(&job, 4);
    // While everything runs.
    let file = backup(&federation, "older.tar", &["--with-keys"]);
    let kept = federation.aggregator.status(&job)["round"].as_u64().unwrap();
    federation.aggregator.wait_for_round(&job, kept + 4);
    federation.aggregator.kill();
    let before: Vec<_> = federation.nodes.iter().map(|node| node.charges()).collect();

    restore(&federation.aggregator, &file);
    federation.aggregator.serve();
    let reason = federation.aggregator.wait_until_failed(&job);
    for words in ["put back from a backup", "released twice", "submit the job anew", "Ahead are"] {
        assert!(reason.contains(words), "{reason}");
    }
    // Not one vector more left an agency.
    for (node, before) in federation.nodes.iter().zip(&before) {
        node.settled_budget("toy");
        assert_eq!(node.charges(), *before, "{}", node.agency());
    }
    expect_no_double_charge(&federation);
    // They are free for the next job.
    let next = federation.aggregator.submit(&federation.job(2));
    federation.aggregator.wait_until_done(&next);
    // And they have the aggregator's own word that the record went further than what it has now.
    let evidence = federation.export(&job);
    let cut =
        federation.nodes[0].call(&["job", "checkpoints", "--evidence", evidence.to_str().unwrap()]);
    let said = cut.refused(&["the aggregator signed"]);
    assert!(said.contains("cut off") || said.contains("rewritten"), "{said}");
    let whole = federation.export(&next);
    // Three rounds and the end, of which the aggregator knows before an agency has heard of it.
    let deadline = Instant::now() + SOON;
    loop {
        let args = ["job", "checkpoints", "--evidence", whole.to_str().unwrap()];
        let said = federation.nodes[0].call(&args).ok();
        if said.contains("goes through all 4 checkpoints") {
            break;
        }
        assert!(Instant::now() < deadline, "{said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_node_whose_whole_directory_is_an_older_one_sees_it_in_the_certificate_and_releases_nothing() {
    let mut federation = Federation::start(&AGENCIES);
    let job = federation.aggregator.submit(&federation.job(400));
    federation.aggregator.wait_for_round(&job, 3);
    federation.node("isle").kill();
    let dir = federation.node("isle").dir().to_owned();
    let copy = federation.root().join("yesterday");
    let cp = |from: &Path, to: &Path| {
        let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(status.success());
    };
    cp(&dir, &copy);
    federation.node("isle").serve();
    let round = federation.aggregator.status(&job)["round"].as_u64().unwrap();
    let back = |s: &serde_json::Value| {
        s["survivors_last"].as_array().unwrap().len() == 5 && s["round"].as_u64() > Some(round + 3)
    };
    federation.aggregator.wait_until(&job, "with isle again", SOON, back);
    // It is in the newest sum when everything stops.
    federation.aggregator.kill();
    assert_eq!(federation.aggregator.status(&job)["survivors_last"].as_array().unwrap().len(), 5);
    federation.node("isle").kill();
    fs::remove_dir_all(&dir).unwrap();
    cp(&copy, &dir);
    let before = federation.node("isle").charges();
    federation.node("isle").serve();
    federation.aggregator.serve();
    federation.node("isle").process().wait_for_log("put back from a backup that is older", SOON);
    let round = federation.aggregator.status(&job)["round"].as_u64().unwrap();
    federation.aggregator.wait_for_round(&job, round + 5);
    assert_eq!(federation.node("isle").charges(), before, "something left");
    federation.aggregator.call(&["job", "cancel", &job]).ok();
    federation.aggregator.wait_until_over(&job);
}

fn expect_no_double_charge(federation: &Federation) {
    for node in &federation.nodes {
        let charges = node.charges();
        let distinct: BTreeSet<_> = charges.iter().collect();
        assert!(!charges.is_empty());
        assert_eq!(distinct.len(), charges.len(), "{}: {charges:?}", node.agency());
    }
}
