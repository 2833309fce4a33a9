//! One aggregator and its nodes, from nothing to running and back to nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Scene;
use super::aggregator::{Aggregator, JobStatus};
use super::node::Node;

/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(20);

/// A running federation. Dropping it kills every process.
#[derive(Debug)]
pub struct Federation {
    aggregator: Aggregator,
    nodes: Vec<Node>,
    nodes_dir: PathBuf,
}

impl Federation {
    /// Sets up the aggregator, enrols every agency and starts everything.
    pub fn start(scene: &Scene<'_>) -> Result<Self> {
        let (out, job) = (scene.out, scene.job);
        let logs = out.logs();
        let mut aggregator =
            Aggregator::init(&scene.binaries.aggregator, &out.path("aggregator"), &logs)?;
        aggregator.serve()?;
        println!("  the aggregator listens on {}", aggregator.url());
        let nodes_dir = out.path("nodes");
        let mut federation = Self { aggregator, nodes: Vec::new(), nodes_dir };
        for agency in job.agencies() {
            let node = federation.enrol(scene, agency)?;
            federation.nodes.push(node);
        }
        Node::exchange_fingerprints(&federation.nodes, &out.path("peers.txt"))?;
        for node in &mut federation.nodes {
            node.serve()?;
        }
        println!(
            "  {} agencies enrolled with one-time tokens, each with its own key, certificate and \
             data: {}",
            federation.nodes.len(),
            job.agencies().join(" ")
        );
        Ok(federation)
    }

    fn enrol(&self, scene: &Scene<'_>, agency: &str) -> Result<Node> {
        let table = scene.data.join(agency).join("train.csv");
        if !table.is_file() {
            bail!("no data for agency {agency}: {} is missing", table.display());
        }
        let node = Node::new(
            agency,
            &scene.binaries.agency_node,
            scene.args.trainer.name(),
            self.nodes_dir.join(agency),
            &scene.out.logs(),
        );
        let token = self.aggregator.token(agency)?;
        node.enrol(&self.aggregator.url(), &token)?;
        node.adopt_policy(scene.job.survivor_floor())?;
        node.add_dataset(scene.job.dataset(), &table)?;
        Ok(node)
    }

    /// Submits the job; returns its id.
    pub fn submit(&self, job: &Path) -> Result<String> {
        self.aggregator.submit(job)
    }

    /// Where the job stands.
    pub fn status(&self, job: &str) -> Result<JobStatus> {
        self.aggregator.status(job)
    }

    /// Fails if a process has ended that nobody stopped.
    pub fn expect_running(&mut self) -> Result<()> {
        if let Some(process) = self.aggregator.process() {
            process.expect_running()?;
        }
        for node in &mut self.nodes {
            if let Some(process) = node.process() {
                process.expect_running()?;
            }
        }
        Ok(())
    }

    /// Kills a node without warning (SIGKILL).
    pub fn kill(&mut self, agency: &str) -> Result<()> {
        self.node(agency)?.kill()
    }

    /// Starts a killed node again, on the state that it left.
    pub fn restart(&mut self, agency: &str) -> Result<()> {
        self.node(agency)?.serve()
    }

    /// An error about the job, with the end of the aggregator's log.
    pub fn failure(&mut self, what: &str) -> anyhow::Error {
        match self.aggregator.process() {
            Some(process) => process.failure(what),
            None => anyhow::anyhow!("the aggregator {what}"),
        }
    }

    /// Asks every process to end and expects each to do so with exit code 0.
    pub fn stop(&mut self) -> Result<()> {
        let mut running: Vec<_> = self.nodes.iter_mut().filter_map(Node::take_process).collect();
        for process in &mut running {
            process.ask_to_end()?;
        }
        for process in running {
            process.expect_end(GRACE)?;
        }
        if let Some(mut process) = self.aggregator.take_process() {
            process.ask_to_end()?;
            process.expect_end(GRACE)?;
        }
        Ok(())
    }

    /// Writes the finished job's results and record into `out`.
    pub fn export(&self, job: &str, out: &Path) -> Result<()> {
        self.aggregator.export(job, out)
    }

    /// Removes the data directories of all processes.
    pub fn remove_state(&self) -> Result<()> {
        self.aggregator.remove_state()?;
        fs::remove_dir_all(&self.nodes_dir)
            .with_context(|| format!("cannot remove {}", self.nodes_dir.display()))
    }

    fn node(&mut self, agency: &str) -> Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.agency() == agency);
        node.with_context(|| format!("no node of {agency}"))
    }
}
