//! What these tests share.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tributary_tests::{Aggregator, Federation, Node, Outcome, SOON};
use tributary_transport::{ClientOptions, NodeCredentials, TransportError, connect};

/// A federation of these agencies whose nodes look every second whether something is to be renewed.
/// Nodes do not run yet.
pub fn federation(agencies: &[&str]) -> Federation {
    configured(agencies, |_, _| None)
}

/// As [`federation`], with an aggregator that is configured before it starts.
pub fn configured(
    agencies: &[&str],
    configure: impl Fn(&Path, &str) -> Option<String>,
) -> Federation {
    let federation = Federation::configured(agencies, configure);
    for node in &federation.nodes {
        look_often(node);
    }
    federation
}

/// Lets a node look every second.
pub fn look_often(node: &Node) {
    node.edit("node.toml", |t| {
        t.replace("renewal_check_seconds = 3600", "renewal_check_seconds = 1")
    });
}

/// Tries to connect with credentials; the error if they do not get in.
pub fn try_connect(
    aggregator: &Aggregator,
    credentials: &NodeCredentials,
) -> Option<TransportError> {
    tributary_transport::install_provider();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = ClientOptions::default();
    runtime.block_on(connect(&aggregator.url(), credentials, &options)).err()
}

/// Serial number of the certificate in a node's data directory.
pub fn serial(node: &Node) -> String {
    NodeCredentials::load(node.dir()).unwrap().certificate().unwrap().serial
}

/// Waits until something is so.
pub fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A person with a role, connected; returns the folder.
pub fn person(aggregator: &Aggregator, root: &Path, role: &str, name: &str) -> PathBuf {
    let token = aggregator.call(&["role", "token", "--role", role, "--name", name]).last_line();
    let folder = root.join(format!("{role}-{name}"));
    try_person(aggregator, &folder, &token).ok();
    folder
}

/// `aggregator connect` with a token.
pub fn try_person(aggregator: &Aggregator, folder: &Path, token: &str) -> Outcome {
    let file = folder.with_extension("token");
    std::fs::write(&file, token).unwrap();
    let (file, url) = (file.to_str().unwrap(), aggregator.url());
    elsewhere(folder, &["connect", "--aggregator", &url, "--token-file", file])
}

/// A command of the aggregator's binary with `--identity`, on any machine.
pub fn elsewhere(identity: &Path, args: &[&str]) -> Outcome {
    let program = tributary_tests::binaries::path(tributary_tests::binaries::Program::Aggregator);
    let mut command = std::process::Command::new(program);
    command.args(args).arg("--identity").arg(identity);
    command.env_remove("TRIBUTARY_AGGREGATOR_DIR");
    tributary_tests::call::call(&mut command)
}
