//! A dataset's limit holds over all jobs.

use tributary_tests::call::expect_words;
use tributary_tests::table::table;
use tributary_tests::{Federation, Job, SOON};

#[test]
fn a_job_beyond_the_datasets_limit_fails_and_names_the_agency() {
    let mut federation = Federation::enrolled(&["north", "east", "south"]);
    for node in &federation.nodes {
        node.write_policy(&["spent", "fresh"], 3);
        // Only the south is careful.
        let limit = if node.agency() == "south" { "2.5" } else { "20.0" };
        // Two tables, not one twice: that would have one budget.
        for (name, seed) in [("spent", 5), ("fresh", 6)] {
            node.add_dataset(name, &table(seed, 200), &["--epsilon-limit", limit]);
        }
    }
    federation.serve_nodes();
    let template = federation.job(40);
    let job = |dataset: &str, epsilon: &str| Job {
        dataset: dataset.into(),
        epsilon: epsilon.into(),
        ..template.clone()
    };

    let submit = |federation: &Federation, job: &Job| {
        let id = federation.aggregator.submit(job);
        federation.aggregator.wait_until_over(&id)
    };
    // One after the other they fit, until one does not.
    let mut before = federation.node("south").budget("spent");
    let mut done = 0;
    let refused = loop {
        let status = submit(&federation, &job("spent", "1.5"));
        if status["state"] == "failed" {
            break status;
        }
        done += 1;
        let after = federation.node("south").settled_budget("spent");
        assert!(after["spent"].as_f64() > before["spent"].as_f64(), "{before} {after}");
        assert!(after["spent"].as_f64() <= after["limit"].as_f64(), "{after}");
        assert!(done < 8, "the limit does not hold: {after}");
        before = after;
    };
    assert!(done > 0, "{refused}");
    let reason = refused["reason"].as_str().unwrap().to_owned();
    expect_words("the job", &reason, &["south refuses the job", "budget-spent"]);
    // How much is left is the agency's business: the number stands in its own log.
    assert!(!reason.contains(char::is_numeric), "{reason}");
    let log = federation.node("south").process();
    for words in ["dataset spent: this job would bring the total", "the limit is 2.500", "so far"] {
        log.wait_for_log(words, SOON);
    }
    for agency in ["north", "east", "south"] {
        federation.node(agency).settled_budget("spent");
    }
    assert_eq!(federation.node("south").budget("spent"), before, "a refusal costs nothing");

    // The same job runs where less is spent, and a small one fits into what is left.
    assert_eq!(submit(&federation, &job("fresh", "1.5"))["state"], "done");
    let small = Job { rounds: 2, ..job("spent", "0.5") };
    let status = submit(&federation, &small);
    assert_eq!(status["state"], "done", "{status}");
}
