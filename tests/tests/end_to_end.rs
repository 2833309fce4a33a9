//! Five agencies train one model: real daemons, real mutual TLS, real noise, made-up records.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::process::Command;

use tributary_model::export::read_described;
use tributary_tests::binaries::{self, Program};
use tributary_tests::call::call;
use tributary_tests::{Federation, Node};

const AGENCIES: [&str; 5] = ["north", "east", "south", "west", "isle"];
const ROUNDS: u32 = 12;

#[test]
fn five_agencies_train_one_model_and_everything_about_it_can_be_checked() {
    let mut federation = Federation::start(&AGENCIES);
    let job = federation.aggregator.submit(&federation.job(ROUNDS));
    let status = federation.aggregator.wait_until_done(&job);
    // The statistics round comes on top.
    assert_eq!(status["round"], ROUNDS + 1);

    // What the aggregator exports holds by itself, and nobody was lost.
    let evidence = federation.evidence(&job);
    assert_eq!(evidence.rounds.len() as u32, ROUNDS + 1);
    assert_eq!(evidence.end()["complete"], true);
    let operations: Vec<_> = evidence.rounds.iter().map(|r| r.operation.as_str()).collect();
    assert_eq!(operations[0], "statistics");
    assert!(operations[1..].iter().all(|o| *o == "training"));
    for round in &evidence.rounds {
        assert_eq!(round.survivors, AGENCIES, "round {}", round.round);
        assert!(round.dropped.is_empty() && round.bytes_up > 0);
    }

    let export = federation.export(&job);
    let mut verify = Command::new(binaries::path(Program::Simulate));
    call(verify.arg("verify").arg("--run").arg(&export)).ok();

    // The released model is the state that the sums lead to.
    let out = federation.root().join("model.safetensors");
    let text = out.to_str().unwrap();
    federation.aggregator.call(&["model", "export", &job, "--out", text]).ok();
    let (description, parameters) = read_described(&out).unwrap();
    assert_eq!(description.job, Some(evidence.plan.job.to_string()));
    assert_eq!(description.data, evidence.manifest.spec.data);
    assert_eq!(parameters, evidence.state.parameters);
    let initial = evidence.plan.initial_state(&evidence.manifest);
    assert_ne!(parameters, initial.parameters, "nothing was learned");
    assert!(parameters.iter().all(|p| p.is_finite()));

    // Each agency has paid for each round once, and all have paid the same.
    let planned = evidence.plan.epsilon().unwrap().unwrap().epsilon;
    let spent: BTreeSet<String> = federation.nodes.iter().map(|n| spent(n, planned)).collect();
    assert_eq!(spent.len(), 1, "equal agencies paid differently: {spent:?}");

    // Everybody stops in order when asked to, whoever goes first.
    let [first, rest @ ..] = federation.nodes.as_mut_slice() else { panic!("no nodes") };
    assert_eq!(first.terminate(), Some(0), "{}", first.agency());
    assert_eq!(federation.aggregator.terminate(), Some(0), "the aggregator");
    for node in rest {
        assert_eq!(node.terminate(), Some(0), "{}", node.agency());
    }
}

/// Checks a node's book; returns what was spent, as it is printed.
fn spent(node: &Node, planned: f64) -> String {
    let budget = node.settled_budget("toy");
    let charges: Vec<_> = node.charges().into_iter().map(|(_, r, a)| (r, a)).collect();
    let expected: Vec<(u64, u64)> = (0..=u64::from(ROUNDS)).map(|round| (round, 0)).collect();
    assert_eq!(charges, expected, "{}: one charge a round", node.agency());
    let kinds: Vec<_> = node.book().into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds.first().map(String::as_str), Some("budget-registered"));
    assert_eq!(kinds.get(1).map(String::as_str), Some("budget-granted"), "granted first");
    assert_eq!(kinds.last().map(String::as_str), Some("budget-closed"), "the rest is given back");
    let spent = budget["spent"].as_f64().unwrap();
    let limit = budget["limit"].as_f64().unwrap();
    assert!(spent > 0.0 && spent <= limit, "{budget}");
    // The book converts at one fixed order, so it may say more than the plan, never much less.
    assert!(spent > planned / 3.0, "{budget} for a plan of {planned}");
    budget["spent"].to_string()
}
