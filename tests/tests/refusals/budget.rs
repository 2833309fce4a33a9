//! A dataset's limit holds over all jobs, and an epsilon that no noise can give is said to be one.

use tributary_tests::call::expect_words;
use tributary_tests::table::table;
use tributary_tests::{Federation, Job, SOON};

#[test]
fn a_job_beyond_the_datasets_limit_fails_and_names_the_agency() {
    let mut federation = Federation::enrolled(&["north", "east", "south"]);
    for node in &federation.nodes {
        node.write_policy(&["spent", "fresh"], 3);
        // Only the south is careful.
        let limit = if node.agency() == "south" { "2.0" } else { "20.0" };
        for name in ["spent", "fresh"] {
            node.add_dataset(name, &table(5, 200), &["--epsilon-limit", limit]);
        }
    }
    federation.serve_nodes();
    let template = federation.job(3);
    let job = |dataset: &str, epsilon: &str| Job {
        dataset: dataset.into(),
        epsilon: epsilon.into(),
        ..template.clone()
    };
    let (first, large) = (job("spent", "1.0"), job("spent", "1.8"));
    let elsewhere = job("fresh", "1.8");

    // Each of the two would fit alone.
    let id = federation.aggregator.submit(&elsewhere);
    federation.aggregator.wait_until_done(&id);
    let id = federation.aggregator.submit(&first);
    federation.aggregator.wait_until_done(&id);
    let before = federation.node("south").budget("spent");
    assert!(before["spent"].as_f64().unwrap() > 0.0, "{before}");

    let id = federation.aggregator.submit(&large);
    let reason = federation.aggregator.wait_until_failed(&id);
    expect_words("the job", &reason, &["south refuses the job", "budget-spent"]);
    // How much is left is the agency's business: the number stands in its own log.
    assert!(!reason.contains(char::is_numeric), "{reason}");
    let log = federation.node("south").process();
    for words in ["dataset spent: this job would bring the total", "the limit is 2.000", "so far"] {
        log.wait_for_log(words, SOON);
    }
    for agency in ["north", "east", "south"] {
        let budget = federation.node(agency).budget("spent");
        assert_eq!(budget["spent"], budget["committed"], "{agency}: {budget}");
    }
    assert_eq!(federation.node("south").budget("spent"), before, "a refusal costs nothing");

    // No noise is strong enough for this one; nobody is asked.
    let id = federation.aggregator.submit(&job("fresh", "1e-9"));
    let reason = federation.aggregator.wait_until_failed(&id);
    expect_words("the job", &reason, &["privacy", "epsilon"]);

    // The federation goes on.
    let id = federation.aggregator.submit(&job("spent", "0.8"));
    federation.aggregator.wait_until_done(&id);
}
