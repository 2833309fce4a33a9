//! The processes of a chaos run: setting them up, killing them, starting them again, and what their
//! command lines say afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::draw::Victim;
use super::job::{AGENCIES, DATASET, MIN_SURVIVORS, table};
use crate::demo::{Aggregator, Binaries, JobStatus, Node, call};

/// How long anything may take to end in order.
const GRACE: Duration = Duration::from_secs(30);

/// An aggregator and its nodes, some of them dead at the moment.
#[derive(Debug)]
pub struct Federation {
    aggregator: Aggregator,
    nodes: Vec<Node>,
    simulate: PathBuf,
    work: PathBuf,
    logs: PathBuf,
    /// Who is to be started again, and when: the aggregator is none.
    due: Vec<(Instant, Option<usize>)>,
}

impl Federation {
    /// Sets everything up below `work` and starts it.
    pub fn start(binaries: &Binaries, work: &Path, logs: &Path) -> Result<Self> {
        for folder in [work, logs] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let mut aggregator =
            Aggregator::init(&binaries.aggregator, &work.join("aggregator"), logs)?;
        shorten(&work.join("aggregator/aggregator.toml"), |config| {
            let timeouts = config.get_mut("timeouts").and_then(toml::Value::as_table_mut);
            let timeouts = timeouts.context("it has no timeouts")?;
            for (key, seconds) in [("step_seconds", 2), ("train_seconds", 20)] {
                timeouts.insert(key.into(), toml::Value::Integer(seconds));
            }
            Ok(())
        })?;
        aggregator.serve()?;
        let mut federation = Self {
            aggregator,
            nodes: Vec::new(),
            simulate: binaries.simulate.clone(),
            work: work.to_owned(),
            logs: logs.to_owned(),
            due: Vec::new(),
        };
        for (i, agency) in AGENCIES.iter().enumerate() {
            let dir = work.join("nodes").join(agency);
            let node = Node::new(agency, &binaries.agency_node, "reference", dir.clone(), logs);
            let token = federation.aggregator.token(agency)?;
            node.enrol(&federation.aggregator.url(), &token)?;
            shorten(&dir.join("node.toml"), |config| {
                config.insert("max_backoff_seconds".into(), toml::Value::Integer(1));
                Ok(())
            })?;
            node.adopt_policy(MIN_SURVIVORS)?;
            shorten(&dir.join("policy.toml"), |policy| {
                policy.insert("datasets".into(), vec![DATASET].into());
                for bound in ["max_epsilon_per_job", "max_epsilon_per_year"] {
                    policy.insert(bound.into(), toml::Value::Float(1e6));
                }
                // Nobody is there to approve anything.
                let approval = toml::Table::from_iter([("required".to_owned(), false.into())]);
                policy.insert("approval".into(), approval.into());
                Ok(())
            })?;
            let file = work.join(format!("{agency}.csv"));
            fs::write(&file, table(i as u64))
                .with_context(|| format!("cannot write {}", file.display()))?;
            node.add_dataset_with(DATASET, &file, &["--epsilon-limit", "20"])?;
            federation.nodes.push(node);
        }
        Node::exchange_fingerprints(&federation.nodes, &work.join("peers.txt"))?;
        for node in &mut federation.nodes {
            node.serve()?;
        }
        Ok(federation)
    }

    /// Kills; whoever is hit is started again after the pause. Returns how many died.
    pub fn kill(&mut self, victim: Victim, pause: Duration) -> Result<u32> {
        let back = Instant::now() + pause;
        let mut killed = 0;
        let all: Vec<Option<usize>> = match victim {
            Victim::Aggregator => vec![None],
            Victim::Node(i) => vec![Some(i)],
            Victim::All => std::iter::once(None).chain((0..self.nodes.len()).map(Some)).collect(),
        };
        for who in all {
            let process = match who {
                None => self.aggregator.take_process(),
                Some(i) => self.nodes.get_mut(i).and_then(Node::take_process),
            };
            let Some(mut process) = process else { continue };
            // One that ended by itself is a finding, and not a kill.
            process.expect_running()?;
            process.kill()?;
            self.due.push((back, who));
            killed += 1;
        }
        Ok(killed)
    }

    /// Starts whoever is due.
    pub fn revive(&mut self, all: bool) -> Result<()> {
        let now = Instant::now();
        let (due, later) = self.due.drain(..).partition(|(when, _)| all || *when <= now);
        self.due = later;
        let due: Vec<(Instant, Option<usize>)> = due;
        for (_, who) in due {
            match who {
                None => self.aggregator.spawn()?,
                Some(i) => self.nodes.get_mut(i).context("no such node")?.serve()?,
            }
        }
        Ok(())
    }

    /// Fails if a process that is not dead on purpose has ended.
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

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Submits a job file's text.
    pub fn submit(&self, text: &str) -> Result<String> {
        let file = self.work.join("job.toml");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        self.aggregator.submit(&file)
    }

    /// Where a job stands; reads the database, so the aggregator may be dead.
    pub fn status(&self, job: &str) -> Result<JobStatus> {
        self.aggregator.status(job)
    }

    /// Exports a job's evidence with its model, and has it verified. The folder, and what the
    /// verifier holds against it.
    pub fn verified(&self, job: &str) -> Result<(PathBuf, Option<String>)> {
        let out = self.work.join("evidence").join(job);
        self.aggregator.export(job, &out)?;
        self.aggregator.export_model(job, &out.join("model.safetensors"))?;
        let mut verify = Command::new(&self.simulate);
        verify.args(["verify", "--run"]).arg(&out);
        let refused = call(&mut verify, &self.logs.join("verify.log")).err();
        Ok((out, refused.map(|e| format!("{e:#}"))))
    }

    /// Every agency's budget book, after `budget verify` has found it whole.
    pub fn books(&self) -> Result<Vec<(String, String)>> {
        let read = |node: &Node| Ok((node.agency().to_owned(), node.book()?));
        self.nodes.iter().map(read).collect()
    }

    /// Spent and committed epsilon of an agency.
    pub fn budget(&self, agency: &str) -> Result<(f64, f64)> {
        let node = self.nodes.iter().find(|node| node.agency() == agency);
        node.context("no such agency")?.budget(DATASET)
    }

    /// Ends everything in order.
    pub fn stop(&mut self) -> Result<()> {
        let mut running: Vec<_> = self.nodes.iter_mut().filter_map(Node::take_process).collect();
        running.extend(self.aggregator.take_process());
        for process in &mut running {
            process.ask_to_end()?;
        }
        running.into_iter().try_for_each(|process| process.expect_end(GRACE))
    }
}

/// Changes a configuration file.
fn shorten(path: &Path, change: impl Fn(&mut toml::Table) -> Result<()>) -> Result<()> {
    let at = || format!("{}", path.display());
    let mut table: toml::Table = fs::read_to_string(path).with_context(at)?.parse()?;
    change(&mut table).with_context(at)?;
    fs::write(path, toml::to_string(&table)?).with_context(at)
}
