//! Every sample file of the repository is read by the parser that it is a sample for.

use std::fs;
use std::path::PathBuf;

use tributary_job::JobSpec;
use tributary_node::config::Config as NodeConfig;
use tributary_node::policy::Policy;
use tributary_node::records::{Kind, Records, postgres};
use tributary_server::config::Config as AggregatorConfig;
use tributary_simulations::scenario::Scenario;

fn read(path: &str) -> String {
    let path = tributary_tests::root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The TOML files of a folder.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = tributary_tests::root().join(folder);
    let entries = fs::read_dir(&folder).unwrap().flatten().map(|e| e.path());
    let mut found: Vec<_> =
        entries.filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
    found.sort();
    assert!(!found.is_empty(), "{} is empty", folder.display());
    found
}

#[test]
fn sample_configurations_are_valid() {
    for path in files("deploy/config") {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let outcome = match name.as_str() {
            "aggregator.toml" => AggregatorConfig::parse(&text).map(drop),
            // A build without libtorch refuses to promise it.
            "node.toml" => NodeConfig::parse(&text.replace("\"torch\"", "\"reference\"")).map(drop),
            "policy.toml" => Policy::parse(&text).map(drop),
            "postgres.toml" => postgres::Config::load(&path).map(drop),
            mapping if mapping.starts_with("mapping-") => {
                Records::new(path.clone(), Kind::File, Some(&text)).map(drop)
            }
            _ => Err("no test knows what this is a sample of".into()),
        };
        outcome.unwrap_or_else(|problem| panic!("{name}: {problem}"));
    }
}

#[test]
fn the_sample_policy_allows_the_demo() {
    let policy = Policy::parse(&read("deploy/config/policy.toml")).unwrap();
    let job = JobSpec::from_toml(&read("deploy/demo/flights.toml")).unwrap();
    assert!(policy.datasets.contains(&job.dataset) && policy.modes.contains(&job.privacy.mode));
    assert!(job.privacy.epsilon.unwrap() <= policy.max_epsilon_per_job);
    assert!(job.privacy.delta <= policy.max_delta);
    assert!(job.training.rounds < policy.max_rounds, "the statistics round comes on top");
}

#[test]
fn jobs_and_scenarios_are_valid() {
    for path in files("deploy/demo") {
        let text = fs::read_to_string(&path).unwrap();
        JobSpec::from_toml(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let mut scenarios = 0;
    for path in files("simulations/scenarios") {
        let text = fs::read_to_string(&path).unwrap();
        let table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // A scenario names a job; what lies beside it is one.
        if table.contains_key("job") {
            Scenario::load(&path).unwrap_or_else(|e| panic!("{e}"));
            scenarios += 1;
        } else {
            JobSpec::from_toml(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
    assert!(scenarios > 0);
}
