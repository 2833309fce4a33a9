//! Consent with the real programs: a job waits for a data steward, an invented agency finds no place, and
//! every node's own record says what happened.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tributary_tests::call::expect_words;
use tributary_tests::{Federation, Node, SOON};

const AGENCIES: [&str; 3] = ["north", "east", "south"];

/// What every agency tells the others, in one file.
fn fingerprints(federation: &Federation) -> PathBuf {
    let lines: Vec<_> =
        federation.nodes.iter().map(|n| n.call(&["peers", "fingerprint"]).ok()).collect();
    let file = federation.root().join("peers");
    fs::write(&file, format!("# exchanged by telephone\n{}", lines.concat())).unwrap();
    file
}

fn kinds(node: &Node) -> Vec<String> {
    node.audit().into_iter().map(|entry| entry.kind).collect()
}

#[test]
fn a_job_waits_for_a_steward_runs_when_approved_and_the_record_says_so() {
    let mut federation = Federation::enrolled(&AGENCIES);
    let peers = fingerprints(&federation);
    federation.nodes.iter().for_each(|node| node.pin(&peers));
    let key = federation.node("south").ask_for_approval();
    let key = key.to_str().unwrap().to_owned();
    federation.serve_nodes();
    let job = federation.aggregator.submit(&federation.job(4));

    // The aggregator knows who has yet to approve, and waits.
    let hash = federation.node("south").wait_for_request();
    let waits = |s: &Value| s.to_string().contains("south (not-approved)");
    federation.aggregator.wait_until(&job, "waiting for south", SOON, waits);
    let south = federation.node("south");
    let page = south.call(&["requests", "show", &hash[..12]]).ok();
    let words = [
        "Learn a made-up rule",
        "x1 (a number, cut to -2 to 2)",
        "300 rows now",
        "everybody else together",
        "its key is pinned",
        "nobody has decided about it yet",
    ];
    expect_words("requests show", &page, &words);
    let page: Value =
        serde_json::from_str(&south.call(&["requests", "show", &hash, "--json"]).ok()).unwrap();
    assert_eq!(page["privacy"]["epsilon"].as_array().map(Vec::len), Some(4));
    expect_words("status", &south.call(&["status"]).ok(), &["waiting for a data steward: toy"]);

    // A key that nobody registered approves nothing, and neither does too long a span.
    let stranger = federation.root().join("stranger");
    let stranger = stranger.to_str().unwrap();
    let south = federation.node("south");
    south.call(&["steward", "add", "joe", "--key", stranger, "--no-passphrase"]).ok();
    south.call(&["steward", "remove", "joe"]).ok();
    let approve = |node: &Node, key: &str, span: &str| {
        node.call(&["requests", "approve", &hash, "--key", key, "--expires", span])
    };
    approve(south, stranger, "1d").refused(&["joe", "not registered"]);
    approve(south, &key, "91d").refused(&["90 days"]);
    assert_eq!(federation.aggregator.status(&job)["state"], "training", "it still waits");

    // Approved beside the running daemon, it is taken up in the same session.
    approve(federation.node("south"), &key, "1d").ok();
    federation.aggregator.wait_until_done(&job);
    let evidence = federation.evidence(&job);
    for round in &evidence.rounds {
        assert_eq!(round.survivors, AGENCIES);
    }
    let south = federation.node("south");
    south.settled_budget("toy");
    let log = south.process().log();
    assert_eq!(log.matches("session with the aggregator is open").count(), 1, "{log}");

    check_record(south, &hash, evidence.rounds.len());
    check_tampering(&federation);
}

/// The record tells the whole story and holds no cell and no key.
fn check_record(node: &Node, hash: &str, rounds: usize) {
    let entries = node.audit();
    let kinds: Vec<_> = entries.iter().map(|e| e.kind.as_str()).collect();
    let expected = ["enrolled", "dataset-added", "peer", "steward", "policy-loaded", "offer-seen"];
    for kind in expected.iter().chain(&["request-opened", "approved", "job-accepted", "job-ended"])
    {
        assert!(kinds.contains(kind), "no {kind} in {kinds:?}");
    }
    for kind in ["release", "round-certified"] {
        assert_eq!(kinds.iter().filter(|k| **k == kind).count(), rounds, "{kind}");
    }
    let accepted = entries.iter().find(|e| e.kind == "job-accepted").unwrap();
    assert_eq!(accepted.body["job"]["hash"], hash);
    assert!(accepted.body["grounds"].as_str().unwrap().contains("approved by jane"));
    let spent: Vec<_> = entries.iter().filter_map(|e| e.body["epsilon_spent"].as_f64()).collect();
    assert!(spent.len() == rounds && spent.is_sorted(), "{spent:?}");
    assert_eq!(Some(*spent.last().unwrap()), node.budget("toy")["spent"].as_f64());

    let text = node.call(&["audit", "export"]).ok();
    let table = fs::read_to_string(node.dir().join("toy.csv")).unwrap();
    let number = |c: char| !(c.is_ascii_digit() || c == '.' || c == '-');
    let numbers: BTreeSet<_> = text.split(number).collect();
    let cells = table.lines().skip(1).flat_map(|line| line.split(',').take(2));
    for cell in cells {
        assert!(!numbers.contains(cell), "a cell of the table is in the record: {cell}");
    }
    for secret in ["signing-key.hex", "key.pem"] {
        let secret = fs::read_to_string(node.dir().join(secret)).unwrap();
        let line = secret.lines().find(|line| !line.starts_with('-')).unwrap();
        assert!(!text.contains(&line[line.len() - 24..]), "a key is in the record");
    }
}

/// An export that was changed, cut or put into another order is found.
fn check_tampering(federation: &Federation) {
    let node = &federation.nodes[2];
    let status: Value = serde_json::from_str(&node.call(&["status", "--json"]).ok()).unwrap();
    let public = status["signing_key"].as_str().unwrap();
    let text = node.call(&["audit", "export"]).ok();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let file = federation.root().join("audit.jsonl");
    let path = file.to_str().unwrap();
    let verify = |lines: &[String], more: &[&str]| {
        fs::write(&file, lines.join("\n") + "\n").unwrap();
        node.call(&[&["audit", "verify", path][..], more].concat())
    };
    let said = verify(&lines, &["--key", public]).ok();
    let head = said.split("head ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    verify(&lines, &[]).ok();
    verify(&lines[..5], &["--key", public]).ok();
    verify(&lines[..5], &["--key", public, "--head", &head])
        .refused(&["does not contain the head"]);
    let mut changed = lines.clone();
    changed[3] = changed[3].replace("\"by\":\"", "\"by\":\"not ");
    assert_ne!(changed, lines);
    verify(&changed, &["--key", public]).refused(&["line 4", "does not match its hash"]);
    let mut missing = lines.clone();
    missing.remove(4);
    verify(&missing, &["--key", public]).refused(&["line 5", "does not follow"]);
    let mut moved = lines.clone();
    moved.swap(4, 5);
    verify(&moved, &["--key", public]).refused(&["line 5", "does not follow"]);
    verify(&lines, &["--key", &"ab".repeat(32)]).refused(&["not by the expected key"]);
}

#[test]
fn a_revocation_ends_the_job_at_that_agency_before_it_pays_again() {
    let mut federation = Federation::enrolled(&["north", "east", "south", "west", "isle"]);
    let key = federation.node("west").ask_for_approval();
    let key = key.to_str().unwrap().to_owned();
    federation.serve_nodes();
    let job = federation.aggregator.submit(&federation.job(120));
    let hash = federation.node("west").wait_for_request();
    let west = federation.node("west");
    west.call(&["requests", "approve", &hash, "--key", &key, "--expires", "1d"]).ok();
    federation.aggregator.wait_for_round(&job, 3);
    let west = federation.node("west");
    west.call(&["requests", "revoke", &hash, "--reason", "a person withdrew"]).ok();
    west.process().wait_for_log("is over: ended here: approval revoked", SOON);
    let charges = west.charges().len();
    assert!(charges < 120);
    // The others go on, and the record names who stepped back; nothing is said about why.
    let without = |s: &Value| !s["survivors_last"].to_string().contains("west");
    federation.aggregator.wait_until(&job, "without west", SOON, without);
    federation.aggregator.wait_until_done(&job);
    assert_eq!(federation.node("west").charges().len(), charges, "it paid after the revocation");
    let record = fs::read_to_string(federation.export(&job).join("rounds.jsonl")).unwrap();
    assert!(record.contains("approval-refused") && !record.contains("withdrew"), "{record}");
    let kinds = kinds(federation.node("west"));
    let of = |kind: &str| kinds.iter().position(|k| k == kind).unwrap();
    assert!(of("approved") < of("revoked") && of("revoked") < of("job-paused"), "{kinds:?}");
}

#[test]
fn an_agency_that_nobody_knows_finds_no_place_in_a_roster() {
    let mut federation = Federation::enrolled(&AGENCIES);
    let peers = fingerprints(&federation);
    let all = fs::read_to_string(&peers).unwrap();
    // North and south know each other and have never heard of the east.
    let known: Vec<_> = all.lines().filter(|line| !line.starts_with("east")).collect();
    let east =
        all.lines().find(|line| line.starts_with("east")).unwrap().split(' ').nth(1).unwrap();
    fs::write(&peers, known.join("\n")).unwrap();
    federation.node("south").pin(&peers);
    federation.serve_nodes();
    let job = federation.aggregator.submit(&federation.job(2));
    let reason = federation.aggregator.wait_until_failed(&job);
    assert_eq!(reason, "south refuses the job: policy-roster", "a code and no word more");
    let south = federation.node("south");
    expect_words("status", &south.call(&["status"]).ok(), &["policy-roster", "east", east]);
    south.process().wait_for_log(east, SOON);

    // The operator compares it with the east, pins it beside the running daemon, and the next job runs.
    south.call(&["peers", "add", "east", "0000-0000"]).refused(&["no fingerprint"]);
    south.call(&["peers", "add", "east", east]).ok();
    let other = "0000-0000-0000-0000-0000-0000-0000-0000";
    south.call(&["peers", "add", "east", other]).refused(&["pinned to", "peers remove"]);
    let job = federation.aggregator.submit(&federation.job(2));
    federation.aggregator.wait_until_done(&job);
}
