//! What those see who watch the daemons: metrics that the reference parser reads, health, readiness,
//! `status`, and logs that hold neither records nor secrets.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tributary_tests::{Federation, Node, SOON, python};

const AGENCIES: [&str; 3] = ["north", "east", "south"];

/// A page's status line and body.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn until(address: SocketAddr, path: &str, what: &str, wanted: impl Fn(&(String, String)) -> bool) {
    let deadline = Instant::now() + SOON;
    loop {
        let page = get(address, path);
        if wanted(&page) {
            return;
        }
        assert!(Instant::now() < deadline, "{path}: not {what} in time, but {page:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A federation whose aggregator and first node have a listener for metrics each.
fn watched() -> (Federation, SocketAddr, SocketAddr) {
    let mut federation = Federation::enrolled(&AGENCIES);
    let (central, local) = (free(), free());
    assert_eq!(federation.aggregator.terminate(), Some(0));
    let config = federation.aggregator.dir().join("aggregator.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("metrics = \"{central}\"\n{text}")).unwrap();
    federation.aggregator.serve();
    let line = format!("metrics = \"{local}\"\n");
    federation.nodes[0].edit("node.toml", |t| format!("{line}{t}"));
    (federation, central, local)
}

#[test]
fn metrics_health_and_readiness_follow_a_job() {
    let (mut federation, central, local) = watched();
    assert!(get(central, "/healthz").0.contains("200"));
    until(central, "/readyz", "ready", |(status, _)| status.contains("200"));
    federation.serve_nodes();
    until(local, "/readyz", "ready", |(status, _)| status.contains("200"));
    let job = federation.aggregator.submit(&federation.job(4));
    federation.aggregator.wait_until_done(&job);
    federation.nodes.iter().for_each(|node| drop(node.settled_budget("toy")));

    let line = |text: &str, name: &str| -> f64 {
        let found = text.lines().find_map(|l| l.strip_prefix(&format!("{name} ")));
        found.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    };
    let (_, text) = get(central, "/metrics");
    assert_eq!(line(&text, "tributary_aggregator_sessions"), 3.0);
    assert_eq!(line(&text, "tributary_aggregator_rounds_certified_total"), 5.0);
    assert_eq!(line(&text, "tributary_aggregator_jobs_ended_total{outcome=\"completed\"}"), 1.0);
    assert!(line(&text, "tributary_aggregator_received_bytes_total") > 1000.0);
    let phase = "tributary_aggregator_phase_duration_seconds_count{phase=\"uploading\"}";
    assert!(line(&text, phase) >= 5.0);
    let end =
        "tributary_aggregator_certificate_not_after_timestamp_seconds{certificate=\"server\"}";
    assert!(line(&text, end) > 1.7e9);

    let (_, node) = get(local, "/metrics");
    assert_eq!(line(&node, "tributary_node_charges_total"), 5.0);
    let budget = federation.nodes[0].budget("toy");
    let left = line(&node, "tributary_node_budget_epsilon_left{dataset=\"toy\"}");
    assert!((left - budget["left"].as_f64().unwrap()).abs() < 1e-9, "{left} {budget}");

    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let module = "prometheus_client.openmetrics.parser";
    if let Some(python) = python::with(module, "requirements-metrics.txt", temporary) {
        for (text, least) in [(&text, 40), (&node, 20)] {
            let samples = parse(&python, text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert!(samples.as_array().unwrap().len() >= least, "{samples}");
        }
        // It does refuse what breaks the format.
        assert!(parse(&python, text.trim_end_matches("# EOF\n")).is_err());
    }

    // Without the aggregator the node lives and is not ready, and says why.
    federation.aggregator.kill();
    until(local, "/readyz", "not ready", |(status, body)| {
        status.contains("503") && body.contains("no session with the aggregator")
    });
    assert!(get(local, "/healthz").0.contains("200"));
    federation.aggregator.serve();
    until(local, "/readyz", "ready again", |(status, _)| status.contains("200"));
}

fn parse(python: &Path, text: &str) -> Result<Value, String> {
    let mut child = Command::new(python)
        .arg(python::folder().join("parse_metrics.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn logs_and_metrics_hold_no_records_and_no_secrets() {
    let (mut federation, central, local) = watched();
    // A cell that stands nowhere else, and one that no number can be made of.
    let table = format!(
        "{}1.23456789,0.5,red,1\nzebra-7731,0.1,blue,0\n",
        tributary_tests::table::table(8, 50)
    );
    federation.nodes[0].add_dataset("odd", &table, &[]);
    federation.nodes[0].write_policy(&["toy", "odd"], 3);
    let debug = |node: &Node| {
        let mut command = node.serve_command();
        command.env("RUST_LOG", "tributary_node=trace,tributary_transport=trace,info");
        command
    };
    let log = federation.root().join("loud.log");
    let mut command = debug(&federation.nodes[0]);
    let loud = tributary_tests::Process::spawn("the loud node", &mut command, &log);
    for node in &mut federation.nodes[1..] {
        node.serve();
    }
    let job = federation.aggregator.submit(&federation.job(3));
    federation.aggregator.wait_until_done(&job);
    let mut odd = federation.job(2);
    odd.name = "odd".into();
    odd.dataset = "odd".into();
    odd.agencies = vec!["north".into(), "east".into(), "south".into()];
    let waiting = federation.aggregator.submit(&odd);
    let named = |s: &Value| s["reason"].as_str().is_some_and(|r| r.contains("east, south"));
    federation.aggregator.wait_until(&waiting, "waiting", SOON, named);
    // A job behind one that waits runs all the same.
    let behind = federation.aggregator.submit(&federation.job(2));
    federation.aggregator.wait_until_done(&behind);
    federation.aggregator.call(&["job", "cancel", &waiting]).ok();

    let mut said = vec![loud.log(), federation.aggregator.process().log()];
    said.push(get(central, "/metrics").1);
    said.push(get(local, "/metrics").1);
    said.push(federation.nodes[0].call(&["status", "--json"]).ok());
    let dir = federation.nodes[0].dir().to_owned();
    assert_eq!(loud.terminate(SOON), Some(0));
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let key = read("signing-key.hex").trim().to_owned();
    let pem: String = read("key.pem").lines().filter(|l| !l.starts_with('-')).collect();
    let token = federation.aggregator.token("fresh");
    assert!(key.len() > 60 && pem.len() > 60 && token.len() > 40);
    let cells: Vec<String> = read("toy.csv").lines().skip(1).map(str::to_owned).collect();
    for text in &said {
        assert!(text.len() > 100, "nothing was said: {text}");
        for secret in ["zebra-7731", "1.23456789", &key, &pem, &token[5..]] {
            assert!(!text.contains(secret), "{secret} was said: {text}");
        }
        // No line of the table, and not its first number by itself.
        for line in &cells {
            assert!(!text.contains(line.as_str()), "a record was said: {line}");
        }
    }
}

#[test]
fn a_reader_that_hangs_up_is_no_crash() {
    let federation = Federation::enrolled(&["north"]);
    let show = federation.nodes[0].command(&[]);
    // This command takes no data directory.
    let mut child = Command::new(show.get_program())
        .args(["policy", "example"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    assert!(matches!(output.status.code(), Some(0 | 141)), "{:?}", output.status);
}
