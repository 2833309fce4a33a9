//! One aggregator and its nodes, from nothing to running.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::job::least_survivors;
use crate::table::table;
use crate::{Aggregator, Evidence, Job, Node};

/// Records of each agency.
pub const RECORDS: usize = 300;

/// A federation of real processes. Dropping it kills them; if a test has failed, the ends of all
/// logs are printed first.
#[derive(Debug)]
pub struct Federation {
    /// The aggregator.
    pub aggregator: Aggregator,
    /// The nodes, in the order of the roster.
    pub nodes: Vec<Node>,
    root: TempDir,
}

impl Federation {
    /// An aggregator that serves, and a node for each agency, enrolled, with a policy and the
    /// dataset `toy`, not running yet.
    pub fn enrolled(agencies: &[&str]) -> Self {
        Self::configured(agencies, |_, _| None)
    }

    /// As [`Federation::enrolled`]; `configure` gets the aggregator's data directory and configuration
    /// before it starts, and may return another.
    ///
    /// # Panics
    /// If the configuration cannot be read or written.
    pub fn configured(
        agencies: &[&str],
        configure: impl Fn(&Path, &str) -> Option<String>,
    ) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let mut aggregator = Aggregator::init(root.path());
        let file = aggregator.dir().join("aggregator.toml");
        let text = std::fs::read_to_string(&file).expect("the configuration");
        if let Some(text) = configure(aggregator.dir(), &text) {
            std::fs::write(&file, text).expect("the configuration");
        }
        aggregator.serve();
        let nodes = agencies.iter().map(|agency| Node::new(agency, root.path())).collect();
        let federation = Self { aggregator, nodes, root };
        // Each node is on its own: side by side they are set up sooner.
        std::thread::scope(|scope| {
            for (seed, node) in federation.nodes.iter().enumerate() {
                let aggregator = &federation.aggregator;
                scope.spawn(move || {
                    node.enrol(aggregator);
                    // A policy must not allow fewer than three.
                    node.write_policy(&["toy"], least_survivors(agencies.len()).max(3));
                    node.add_dataset("toy", &table(seed as u64, RECORDS), &[]);
                });
            }
        });
        federation
    }

    /// As [`Federation::enrolled`], with every node running.
    pub fn start(agencies: &[&str]) -> Self {
        let mut federation = Self::enrolled(agencies);
        federation.serve_nodes();
        federation
    }

    /// Starts every node and waits for its session.
    pub fn serve_nodes(&mut self) {
        self.nodes.iter_mut().for_each(Node::serve);
        self.nodes.iter_mut().for_each(Node::wait_for_session);
    }

    /// A folder for a test's own files.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Names of the agencies.
    pub fn agencies(&self) -> Vec<&str> {
        self.nodes.iter().map(Node::agency).collect()
    }

    /// A node by its agency.
    ///
    /// # Panics
    /// If there is none.
    pub fn node(&mut self, agency: &str) -> &mut Node {
        let node = self.nodes.iter_mut().find(|n| n.agency() == agency);
        node.expect("an agency of this federation")
    }

    /// A job of all agencies.
    pub fn job(&self, rounds: u32) -> Job {
        Job::new(self.agencies(), rounds)
    }

    /// Exports a job's evidence and checks it.
    pub fn evidence(&self, job: &str) -> Evidence {
        Evidence::read(&self.export(job))
    }

    /// Exports a job's evidence; returns the folder.
    ///
    /// # Panics
    /// If the command fails.
    pub fn export(&self, job: &str) -> PathBuf {
        let out = self.root().join(format!("evidence-{job}"));
        let text = out.to_str().expect("a path in UTF-8");
        self.aggregator.call(&["job", "export", job, "--out", text]).ok();
        out
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let logs = std::fs::read_dir(self.root.path()).into_iter().flatten().flatten();
        for path in logs.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "log")) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            eprintln!("--- {}, the last lines", path.display());
            lines.iter().skip(lines.len().saturating_sub(25)).for_each(|l| eprintln!("{l}"));
        }
    }
}
