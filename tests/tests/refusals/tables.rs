//! Tables that do not fit the job: the agency refuses, its log says where, and nobody else learns
//! more than that.

use tributary_tests::call::expect_words;
use tributary_tests::table::table;
use tributary_tests::{Federation, Job, SOON};

const AGENCIES: [&str; 3] = ["north", "east", "south"];

#[test]
fn a_table_that_does_not_fit_is_refused_and_its_agency_named() {
    let mut federation = Federation::enrolled(&AGENCIES);
    let broken = |line: &str| {
        let good = table(2, 60);
        let mut lines: Vec<&str> = good.lines().collect();
        lines[4] = line;
        lines.join("\n")
    };
    for node in &federation.nodes {
        node.write_policy(&["toy", "ragged", "nan", "words"], 3);
        let is_south = node.agency() == "south";
        for (name, line) in
            [("ragged", "0.5,0.25,red"), ("nan", "NaN,0.25,red,1"), ("words", "cold,0.25,red,1")]
        {
            let table = if is_south { broken(line) } else { table(1, 60) };
            node.add_dataset(name, &table, &[]);
        }
    }
    federation.serve_nodes();
    let job = federation.job(2);
    let on = |dataset: &str| Job { dataset: dataset.into(), ..job.clone() };
    let number = ["line 5", "\"x1\" is not a finite number", "leave it empty if missing"];
    for (dataset, log) in
        [("ragged", ["line 5", "3 cells", "the header has 4"]), ("nan", number), ("words", number)]
    {
        let reason = refused(&federation, &on(dataset));
        expect_words(dataset, &reason, &["south refuses the job", "schema-mismatch"]);
        // Neither a line number nor a cell leaves the agency.
        assert!(!["line", "NaN", "cold"].iter().any(|w| reason.contains(w)), "{reason}");
        let south = federation.node("south").process();
        log.iter().for_each(|words| south.wait_for_log(words, SOON));
        south.wait_for_log(&format!("{dataset}.csv"), SOON);
        assert!(!south.log().contains("cold"), "a log is no place for a record");
    }

    // A column that nobody has; the log names the one that may be meant.
    let reason = refused(&federation, &Job { column: "x9".into(), ..job.clone() });
    expect_words("column", &reason, &["refuses the job", "schema-mismatch"]);
    for agency in AGENCIES {
        let process = federation.node(agency).process();
        process.wait_for_log("no column \"x9\"; is \"x1\" meant?", SOON);
    }

    // Nothing is lost, and nothing was spent: the good table serves the next job.
    assert_eq!(federation.node("south").budget("ragged")["spent"], 0.0);
    assert_eq!(federation.node("north").budget("ragged")["committed"], 0.0, "given back");
    let good = federation.aggregator.submit(&job);
    federation.aggregator.wait_until_done(&good);
}

fn refused(federation: &Federation, job: &Job) -> String {
    let id = federation.aggregator.submit(job);
    federation.aggregator.wait_until_failed(&id)
}
