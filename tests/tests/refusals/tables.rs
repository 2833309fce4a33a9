//! Tables that do not fit: refused at once where the operator can mend them, and never a way for
//! others to learn about a cell.

use std::fs;

use tributary_tests::call::expect_words;
use tributary_tests::table::{HEADER, table};
use tributary_tests::{Federation, Job, Node, Outcome, SOON};

const AGENCIES: [&str; 3] = ["north", "east", "south"];

#[test]
fn a_table_that_is_none_is_not_registered() {
    let federation = Federation::enrolled(&["north"]);
    let node = &federation.nodes[0];
    let list = node.call(&["dataset", "list"]).ok();
    let ragged = with_line(5, "0.5,0.25,red");
    add(node, &ragged).refused(&[
        "more.csv is not registered",
        "line 5",
        "3 cells",
        "header has 4",
    ]);
    add(node, "").refused(&["more.csv is not registered", "empty"]);
    add(node, &format!("{HEADER}\n")).refused(&["more.csv is not registered", "empty"]);
    // The same records under another name would have a second budget.
    let toy = node.dir().join("toy.csv");
    let toy = toy.to_str().unwrap();
    node.call(&["dataset", "add", "--name", "again", "--path", toy])
        .refused(&["registered already, as toy", "one budget"]);
    node.call(&["dataset", "add", "--name", "toy", "--path", toy, "--epsilon-limit", "9"])
        .refused(&["toy is registered already", "for good"]);
    node.call(&["dataset", "add", "--name", "no", "--path", toy, "--epsilon-limit", "0"])
        .refused(&["epsilon"]);
    // Nothing of all that was kept; the mended table is taken.
    assert_eq!(node.call(&["dataset", "list"]).ok(), list);
    add(node, &with_line(5, "0.5,0.25,red,1")).ok();
    assert_eq!(node.book().len(), 2, "one entry for each registered dataset");
}

#[test]
fn a_wrong_cell_is_shown_to_its_owner_and_to_nobody_else() {
    let mut federation = Federation::enrolled(&AGENCIES);
    let job = Job { dataset: "odd".into(), ..federation.job(2) };
    let job_file = federation.root().join("odd.toml");
    fs::write(&job_file, job.to_toml()).unwrap();
    let bad = [
        (10, "NaN,0.25,red,1", "\"x1\" is not a finite number (leave it empty if missing)"),
        (20, "0.5,1e999,red,1", "\"x2\" is not a finite number"),
        (30, "0.5,cold,red,1", "\"x2\" is not a finite number"),
        (40, "0.5,0.25,red,maybe", "\"y\" is neither \"1\" nor \"0\""),
    ];
    for node in &federation.nodes {
        node.write_policy(&["odd"], 3);
        node.add_dataset("odd", &table(1, 60), &[]);
    }
    // One at a time before the job: `check` finds it, names line and column and repeats no cell.
    let south = federation.node("south");
    let file = south.dir().join("odd.csv");
    for (line, text, words) in bad {
        fs::write(&file, with_line(line, text)).unwrap();
        let check = ["dataset", "check", "--name", "odd", "--job", job_file.to_str().unwrap()];
        let said = south.call(&check).refused(&[&format!("line {line}"), words]);
        assert!(!said.contains("cold") && !said.contains("maybe"), "{said}");
    }
    let all = bad.into_iter().fold(table(1, 60), |t, (line, text, _)| replaced(&t, line, text));
    fs::write(&file, all).unwrap();

    // The daemon's answer must not depend on a cell, or every offer would be a question about one:
    // it leaves out what cannot be used, says so in its own log, and takes part.
    federation.serve_nodes();
    let id = federation.aggregator.submit(&job);
    federation.aggregator.wait_until_done(&id);
    let evidence = federation.evidence(&id);
    assert!(evidence.state.parameters.iter().all(|p| p.is_finite()));
    assert!(evidence.rounds.iter().all(|r| r.survivors == AGENCIES));
    let south = federation.node("south").process();
    south.wait_for_log("parts of the table are left out", SOON);
    south.wait_for_log("dataset check", SOON);
    assert!(!south.log().contains("cold"), "a log is no place for a record");
    let north = federation.node("north").process().log();
    assert!(!north.contains("left out"), "{north}");
}

#[test]
fn a_column_that_is_not_there_is_named_and_costs_nothing() {
    let mut federation = Federation::start(&AGENCIES);
    let wrong = Job { column: "x9".into(), ..federation.job(2) };
    let id = federation.aggregator.submit(&wrong);
    let reason = federation.aggregator.wait_until_failed(&id);
    expect_words("the job", &reason, &["refuses the job", "schema-mismatch"]);
    for agency in AGENCIES {
        let process = federation.node(agency).process();
        process.wait_for_log("no column \"x9\"; is \"x1\" meant?", SOON);
    }
    // Nothing is lost, nothing spent or held back: the right column serves the next job.
    for node in &federation.nodes {
        assert_eq!(node.settled_budget("toy")["spent"], 0.0, "{}", node.agency());
    }
    let id = federation.aggregator.submit(&federation.job(2));
    federation.aggregator.wait_until_done(&id);
}

fn add(node: &Node, table: &str) -> Outcome {
    let path = node.dir().join("more.csv");
    fs::write(&path, table).unwrap();
    node.call(&["dataset", "add", "--name", "more", "--path", path.to_str().unwrap()])
}

/// A good table with one line, counted from 1, replaced.
fn with_line(number: usize, line: &str) -> String {
    replaced(&table(1, 60), number, line)
}

fn replaced(text: &str, number: usize, line: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines[number - 1] = line;
    lines.join("\n")
}
