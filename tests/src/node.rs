//! An agency's node by its command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tributary_ledger::Entry;

use crate::binaries::{self, Program};
use crate::call::{Outcome, call};
use crate::{Aggregator, Process, SOON};

/// A node, running or not.
#[derive(Debug)]
pub struct Node {
    agency: String,
    dir: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Node {
    /// A node that is not set up yet; its data directory will lie below `root`.
    pub fn new(agency: &str, root: &Path) -> Self {
        let (dir, log) = (root.join(agency), root.join(format!("{agency}.log")));
        Self { agency: agency.to_owned(), dir, log, process: None }
    }

    /// Its agency.
    pub fn agency(&self) -> &str {
        &self.agency
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a command on its data directory.
    pub fn call(&self, args: &[&str]) -> Outcome {
        call(&mut self.command(args))
    }

    /// A command on its data directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binaries::path(Program::AgencyNode));
        command.args(args).arg("--data-dir").arg(&self.dir);
        command.env("RUST_LOG", "info").env("NO_COLOR", "1").env_remove("TRIBUTARY_NODE_DIR");
        command
    }

    /// `agency-node enrol` with a token.
    ///
    /// # Panics
    /// If the token cannot be written to a file.
    pub fn try_enrol(&self, url: &str, token: &str) -> Outcome {
        let file = self.dir.with_extension("token");
        fs::write(&file, token).expect("a token file");
        let file = file.to_str().expect("a path in UTF-8");
        self.call(&["enrol", "--aggregator", url, "--token-file", file])
    }

    /// Enrols with a fresh token, and sets short pauses between attempts to connect.
    pub fn enrol(&self, aggregator: &Aggregator) {
        self.try_enrol(&aggregator.url(), &aggregator.token(&self.agency)).ok();
        self.edit("node.toml", |t| {
            t.replace("max_backoff_seconds = 30", "max_backoff_seconds = 1")
        });
    }

    /// Writes the sample policy, fitted to these datasets and this floor of survivors, without a bound
    /// for a year. It asks nobody and believes the aggregator which keys the others have; see
    /// [`Node::ask_for_approval`] and [`Node::pin`].
    ///
    /// # Panics
    /// If the sample does not have the lines that are fitted.
    pub fn write_policy(&self, datasets: &[&str], min_survivors: usize) {
        let sample = fs::read_to_string(crate::root().join("deploy/config/policy.toml"));
        let mut sample: String = sample.expect("the sample policy");
        for (from, to) in [
            ("datasets = [\"flights\"]", format!("datasets = {datasets:?}")),
            ("min_survivors = 5", format!("min_survivors = {min_survivors}")),
            ("max_epsilon_per_year = 4.0", "max_epsilon_per_year = 1000.0".into()),
            ("roster = \"pinned\"", "roster = \"aggregator\"".into()),
            ("required = true", "required = false".into()),
            (
                "stewards = { \"data-steward\" = [\"flights\"] }",
                format!("stewards = {{ jane = {datasets:?} }}"),
            ),
        ] {
            assert!(sample.contains(from), "the sample policy has no {from}");
            sample = sample.replace(from, &to);
        }
        fs::write(self.dir.join("policy.toml"), sample).expect("a policy file");
    }

    /// Lets every job wait for the data steward `jane`, and registers her; returns her key file.
    ///
    /// # Panics
    /// If the command fails.
    pub fn ask_for_approval(&self) -> PathBuf {
        self.edit("policy.toml", |t| t.replace("required = false", "required = true"));
        let key = self.dir.with_extension("steward");
        let file = key.to_str().expect("a path in UTF-8");
        self.call(&["steward", "add", "jane", "--key", file, "--no-passphrase"]).ok();
        key
    }

    /// Believes its own list of keys alone, and fills it from a file.
    ///
    /// # Panics
    /// If the command fails.
    pub fn pin(&self, peers: &Path) {
        self.edit("policy.toml", |t| t.replace("roster = \"aggregator\"", "roster = \"pinned\""));
        self.call(&["peers", "import", peers.to_str().expect("a path in UTF-8")]).ok();
    }

    /// Waits until a job waits here for somebody's word; returns its hash.
    ///
    /// # Panics
    /// If none does in time.
    pub fn wait_for_request(&self) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let text = self.call(&["requests", "list", "--json"]).ok();
            let all: Value = serde_json::from_str(&text).expect("the list is JSON");
            let waits = |r: &&Value| r["state"] == "waits";
            if let Some(request) = all.as_array().into_iter().flatten().find(waits) {
                return request["job"].as_str().expect("a hash").to_owned();
            }
            assert!(Instant::now() < deadline, "no job waits at {}: {all}", self.agency);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The entries of its audit record, after `audit verify` has found it whole.
    ///
    /// # Panics
    /// If it is not, or a line is no entry.
    pub fn audit(&self) -> Vec<Entry> {
        self.call(&["audit", "verify"]).ok();
        let text = self.call(&["audit", "export"]).ok();
        text.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
    }

    /// Registers a table under a name; `terms` are further options.
    ///
    /// # Panics
    /// If the table cannot be written.
    pub fn add_dataset(&self, name: &str, table: &str, terms: &[&str]) {
        let path = self.dir.join(format!("{name}.csv"));
        fs::write(&path, table).expect("a table");
        let path = path.to_str().expect("a path in UTF-8");
        let mut args = vec!["dataset", "add", "--name", name, "--path", path];
        args.extend(terms);
        self.call(&args).ok();
    }

    /// Changes a file of the data directory.
    ///
    /// # Panics
    /// If the change changes nothing, or the file cannot be read or written.
    pub fn edit(&self, file: &str, change: impl Fn(&str) -> String) {
        let path = self.dir.join(file);
        let before = fs::read_to_string(&path).expect("a file of the data directory");
        let after = change(&before);
        assert_ne!(before, after, "{file}: nothing to change");
        fs::write(&path, after).expect("a file of the data directory");
    }

    /// The command that [`Node::serve`] runs.
    pub fn serve_command(&self) -> Command {
        self.command(&["serve", "--trainer", "reference"])
    }

    /// Starts the daemon; does not wait for its session.
    pub fn serve(&mut self) {
        self.serve_with(&[]);
    }

    /// As [`Node::serve`], with variables in its environment.
    pub fn serve_with(&mut self, variables: &[(&str, &str)]) {
        let name = format!("the node of {}", self.agency);
        let mut command = self.serve_command();
        command.envs(variables.iter().copied());
        self.process = Some(Process::spawn(&name, &mut command, &self.log));
    }

    /// Runs the daemon where it must end by itself, with an error.
    pub fn try_serve(&self) -> Outcome {
        call(&mut self.serve_command())
    }

    /// The running daemon.
    ///
    /// # Panics
    /// If it was not started.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the node was started")
    }

    /// Waits until its session is open.
    ///
    /// # Panics
    /// If it does not get one.
    pub fn wait_for_session(&mut self) {
        self.process().wait_for_log("session with the aggregator is open", SOON);
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        self.process.take().expect("the node was started").kill();
    }

    /// SIGTERM; returns the exit code.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    pub fn terminate(&mut self) -> Option<i32> {
        self.process.take().expect("the node was started").terminate(SOON)
    }

    /// Waits until the daemon has ended by itself; returns exit code and log.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_for_end(&mut self) -> (Option<i32>, String) {
        let mut process = self.process.take().expect("the node was started");
        let code = process.wait(SOON).code();
        (code, process.log())
    }

    /// `agency-node budget show --json` for one dataset.
    ///
    /// # Panics
    /// If it says no JSON.
    pub fn budget(&self, dataset: &str) -> Value {
        let text = self.call(&["budget", "show", "--json"]).ok();
        let all: Value = serde_json::from_str(&text).expect("the budget is JSON");
        all[dataset].clone()
    }

    /// As [`Node::budget`], once nothing is held back any more: a node hears of a job's end a moment
    /// after the aggregator has written it down.
    ///
    /// # Panics
    /// If something stays held back.
    pub fn settled_budget(&self, dataset: &str) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            let budget = self.budget(dataset);
            if budget["spent"] == budget["committed"] {
                return budget;
            }
            assert!(Instant::now() < deadline, "{} holds back: {budget}", self.agency);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The entries of its budget book, after `budget verify` has found it whole.
    ///
    /// # Panics
    /// If it is not, or a line is no entry.
    pub fn book(&self) -> Vec<Entry> {
        self.call(&["budget", "verify"]).ok();
        let text = self.call(&["budget", "export"]).ok();
        text.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
    }

    /// Job, round and attempt of every charge in its book, in order.
    ///
    /// # Panics
    /// If an entry has another form.
    pub fn charges(&self) -> Vec<(String, u64, u64)> {
        let charge = |entry: &Entry| {
            let charge = entry.body.get("charge")?;
            let job = charge["job"].as_str()?.to_owned();
            Some((job, charge["round"].as_u64()?, charge["attempt"].as_u64()?))
        };
        let charged = self.book().into_iter().filter(|e| e.kind == "budget-charged");
        charged.map(|e| charge(&e).expect("a charge")).collect()
    }
}
