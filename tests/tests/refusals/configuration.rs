//! Configuration, policy and job files, and a port in use.

use std::fs;

use tributary_tests::{Aggregator, Federation, Job, contents};

#[test]
fn a_node_starts_only_with_a_whole_configuration_and_a_policy() {
    let mut federation = Federation::enrolled(&["north"]);
    let node = &mut federation.nodes[0];
    let config = fs::read_to_string(node.dir().join("node.toml")).unwrap();
    let policy = fs::read_to_string(node.dir().join("policy.toml")).unwrap();

    node.edit("node.toml", |t| format!("{t}agregator = \"https://example.org:1\"\n"));
    node.try_serve().refused(&["node.toml", "agregator", "unknown field"]);
    node.call(&["check-config"]).refused(&["node.toml", "agregator"]);
    node.edit("node.toml", |_| config.replace("https://", "http://"));
    node.try_serve().refused(&["node.toml", "https://host:port"]);
    node.edit("node.toml", |_| config.clone());

    fs::remove_file(node.dir().join("policy.toml")).unwrap();
    node.try_serve().refused(&["no policy at", "policy.toml", "agency-node policy example"]);
    node.call(&["check-config"]).refused(&["no policy at", "policy.toml"]);
    fs::write(node.dir().join("policy.toml"), format!("{policy}max_epsilon = 9\n")).unwrap();
    node.try_serve().refused(&["policy.toml", "max_epsilon", "unknown field"]);
    node.edit("policy.toml", |_| policy.replace("min_survivors = 3", "min_survivors = 2"));
    node.try_serve().refused(&["policy.toml", "min_survivors below 3"]);
    node.edit("policy.toml", |_| policy.clone());

    let missing = node.dir().join("nowhere.csv");
    let missing = missing.to_str().unwrap();
    node.call(&["dataset", "add", "--name", "more", "--path", missing])
        .refused(&["nowhere.csv", "No such file"]);

    node.call(&["check-config"]).ok();
    node.serve();
    node.wait_for_session();
    // Two daemons on one budget book would each believe it alone.
    node.try_serve().refused(&[node.dir().to_str().unwrap(), "in use by", "stop the daemon"]);
    node.wait_for_session();
    assert_eq!(node.terminate(), Some(0));
}

#[test]
fn an_aggregator_needs_its_port_and_a_whole_configuration() {
    let root = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::init(root.path());
    let before = contents(aggregator.dir());
    let occupied = std::net::TcpListener::bind(aggregator.address()).unwrap();
    let address = aggregator.address().to_string();
    aggregator.call(&["serve"]).refused(&[&address, "is another program using the port?"]);
    drop(occupied);

    let file = aggregator.dir().join("aggregator.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("listen_on = \"x\"\n{config}")).unwrap();
    aggregator.call(&["serve"]).refused(&["aggregator.toml", "listen_on", "unknown field"]);
    aggregator.call(&["check-config"]).refused(&["aggregator.toml", "listen_on"]);
    fs::write(&file, &config).unwrap();

    let after = contents(aggregator.dir());
    for (path, bytes) in before.iter().filter(|(path, _)| path.extension() != Some("db".as_ref())) {
        assert_eq!(after.get(path), Some(bytes), "{}", path.display());
    }
    aggregator.serve();
    assert_eq!(aggregator.terminate(), Some(0));
}

#[test]
fn a_job_file_is_checked_when_it_is_submitted() {
    let root = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::init(root.path());
    let job = Job::new(["north", "east", "south"], 5);
    let good = job.to_toml();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "the test expects {from:?} in the job file");
        aggregator.try_submit(&good.replacen(from, to, 1))
    };
    with("momentum", "momentun").refused(&["job.toml", "momentun", "unknown field"]);
    for epsilon in ["0.0", "-1.0", "nan", "inf"] {
        with("epsilon = 1.0", &format!("epsilon = {epsilon}"))
            .refused(&["job.toml", "privacy", "epsilon", "positive"]);
    }
    // Positive, but no noise can give it.
    with("epsilon = 1.0", "epsilon = 1e-9").refused(&[
        "the job cannot run",
        "privacy",
        "epsilon",
        "must be between",
    ]);
    with("epsilon = 1.0", "epsilon = 1.0\nnoise_multiplier = 1.0")
        .refused(&["privacy", "exactly one of epsilon and noise_multiplier"]);
    with("delta = 1e-6", "delta = 0.5").refused(&["privacy.delta", "(0, 0.01)"]);
    with("\"east\"", "\"north\"").refused(&["agencies", "north is listed twice"]);
    with("rounds = 5", "rounds = 0").refused(&["training.rounds", "between 1 and 100,000"]);
    with("column = \"x2\"", "column = \"y\"").refused(&["data.features", "y is the label"]);
    aggregator.try_submit("agencies = [").refused(&["job.toml"]);
    aggregator.call(&["job", "submit", "/nowhere/job.toml"]).refused(&["/nowhere/job.toml"]);

    // None of them was queued; the good one is.
    assert_eq!(aggregator.call(&["job", "list"]).ok(), "");
    let id = aggregator.submit(&job);
    assert_eq!(aggregator.status(&id)["state"], "waiting");
    aggregator.call(&["job", "status", "toy-00000000"]).refused(&["toy-00000000", "job list"]);
}
