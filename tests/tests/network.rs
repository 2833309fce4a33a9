//! Bad networks between real daemons: lines that are slow, cut in the middle of an upload, silent, or
//! lead through a proxy. Rounds finish, uploads go on by the chunk, and nobody pays twice.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use tributary_tests::lossy::{LossyLine, ProxyRule};
use tributary_tests::{Federation, Node, SOON};

const AGENCIES: [&str; 5] = ["north", "east", "south", "west", "isle"];

/// A federation in which some agencies connect through lines of their own.
fn behind_lines(agencies: &[&str]) -> (Federation, Vec<LossyLine>) {
    let mut federation = Federation::enrolled(&AGENCIES);
    let url = federation.aggregator.url();
    let to = federation.aggregator.address();
    let lines: Vec<_> = agencies.iter().map(|_| LossyLine::to(to)).collect();
    for (agency, line) in agencies.iter().zip(&lines) {
        let through = line.url();
        federation.node(agency).edit("node.toml", |t| t.replace(&url, &through));
    }
    (federation, lines)
}

#[test]
fn an_upload_that_is_cut_goes_on_at_the_chunk_that_is_due() {
    let (mut federation, lines) = behind_lines(&["isle"]);
    federation.serve_nodes();
    let mut job = federation.job(3);
    // Nearly 300,000 parameters: five chunks, almost a megabyte.
    job.hidden = "[40000]".into();
    let job = federation.aggregator.submit(&job);
    federation.aggregator.wait_for_round(&job, 1);
    lines[0].cut_after(500_000);
    federation.aggregator.wait_until_done(&job);
    let log = federation.aggregator.process().log();
    let at = log.split("isle is back; its upload goes on at chunk ").nth(1);
    let chunk: u32 = at
        .expect(&log)
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap();
    assert!((1..5).contains(&chunk), "it began anew, or there was nothing left: {chunk}");
    assert_eq!(lines[0].connections(), 2, "cut once");
    let evidence = federation.evidence(&job);
    assert_eq!(evidence.rounds_without("isle"), [], "no round went on without it");
    assert!(evidence.rounds.iter().all(|r| r.attempt == 0), "no attempt was lost");
    expect_one_charge_a_round(federation.node("isle"), evidence.rounds.len());
}

#[test]
fn slow_late_and_blinking_lines_only_cost_time() {
    let (mut federation, lines) = behind_lines(&["west", "isle"]);
    federation.serve_nodes();
    lines[0].delay(Duration::from_millis(15));
    lines[1].limit(60_000);
    let job = federation.aggregator.submit(&federation.job(3));
    federation.aggregator.wait_for_round(&job, 1);
    // A blip: nothing passes, and no connection breaks.
    lines[0].silence(true);
    std::thread::sleep(Duration::from_millis(1500));
    lines[0].silence(false);
    federation.aggregator.wait_until_done(&job);
    let evidence = federation.evidence(&job);
    for agency in AGENCIES {
        assert_eq!(evidence.rounds_without(agency), [], "{agency}");
        expect_one_charge_a_round(federation.node(agency), evidence.rounds.len());
    }
}

#[test]
fn a_line_that_is_dead_and_looks_alive_holds_nobody_up_for_long() {
    let (mut federation, lines) = behind_lines(&["isle"]);
    assert_eq!(federation.aggregator.terminate(), Some(0));
    let config = federation.aggregator.dir().join("aggregator.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let short = text
        .replace("step_seconds = 30", "step_seconds = 2")
        .replace("train_seconds = 900", "train_seconds = 3");
    assert_ne!(text, short);
    std::fs::write(&config, short).unwrap();
    federation.aggregator.serve();
    federation.serve_nodes();
    let job = federation.aggregator.submit(&federation.job(400));
    federation.aggregator.wait_for_round(&job, 2);
    lines[0].silence(true);
    let round = federation.aggregator.status(&job)["round"].as_u64().unwrap();
    federation.aggregator.wait_for_round(&job, round + 4);
    let named = |s: &serde_json::Value| {
        !s["survivors_last"].as_array().unwrap().iter().any(|name| name == "isle")
    };
    federation.aggregator.wait_until(&job, "without isle", SOON, named);
    // The line is mended by an end of the old connection, as a firewall's restart would.
    lines[0].cut();
    lines[0].silence(false);
    let back = |s: &serde_json::Value| {
        s["survivors_last"].as_array().unwrap().iter().any(|name| name == "isle")
    };
    federation.aggregator.wait_until(&job, "with isle again", SOON, back);
    federation.aggregator.call(&["job", "cancel", &job]).ok();
    federation.aggregator.wait_until_over(&job);
    let evidence = federation.evidence(&job);
    assert!(!evidence.rounds_without("isle").is_empty());
}

#[test]
fn an_agency_behind_a_proxy_takes_part_and_a_wrong_password_is_named() {
    let mut federation = Federation::enrolled(&AGENCIES);
    // user:pass
    let rule = ProxyRule { authorization: Some("Basic dXNlcjpwYXNz".into()) };
    let proxy = LossyLine::proxy(rule);
    let at = proxy.address();
    let configured = |user: &str| format!("proxy = \"http://{user}@{at}\"\ndrain_seconds");
    let isle = federation.node("isle");
    isle.edit("node.toml", |t| t.replace("drain_seconds", &configured("user:wrong")));
    isle.serve();
    isle.process().wait_for_log("does not accept this user or password (407)", SOON);
    let log = isle.process().log();
    assert!(log.contains("HTTPS_PROXY and NO_PROXY") && !log.contains("wrong"), "{log}");
    assert_eq!(isle.terminate(), Some(0));
    isle.edit("node.toml", |t| t.replace("user:wrong", "user:pass"));
    federation.serve_nodes();
    let job = federation.aggregator.submit(&federation.job(2));
    federation.aggregator.wait_until_done(&job);
    assert_eq!(federation.evidence(&job).rounds_without("isle"), []);
    let asked = proxy.asked();
    let wanted = format!("CONNECT {} HTTP/1.1", federation.aggregator.address());
    assert!(asked.len() >= 2 && asked.iter().all(|line| *line == wanted), "{asked:?}");
    assert_eq!(proxy.connections(), 1, "with the right password only");
}

fn expect_one_charge_a_round(node: &mut Node, rounds: usize) {
    let charges = node.charges();
    let distinct: BTreeSet<_> = charges.iter().collect();
    assert_eq!((charges.len(), distinct.len()), (rounds, rounds), "{}", node.agency());
}
