//! An agency's node by its command line: enrol, register data, serve.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::process::{Process, call};

/// A node, running or not.
#[derive(Debug)]
pub struct Node {
    agency: String,
    program: PathBuf,
    trainer: &'static str,
    data_dir: PathBuf,
    logs: PathBuf,
    process: Option<Process>,
}

impl Node {
    /// A node that is not set up yet.
    pub fn new(
        agency: &str,
        program: &Path,
        trainer: &'static str,
        data_dir: PathBuf,
        logs: &Path,
    ) -> Self {
        Self {
            agency: agency.to_owned(),
            program: program.to_owned(),
            trainer,
            data_dir,
            logs: logs.to_owned(),
            process: None,
        }
    }

    /// The agency's name.
    pub fn agency(&self) -> &str {
        &self.agency
    }

    /// Enrols with a one-time token, which passes through a file only this user can read.
    pub fn enrol(&self, aggregator: &str, token: &str) -> Result<()> {
        if let Some(parent) = self.data_dir.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
        }
        let token_file = self.data_dir.with_extension("token");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&token_file)
            .and_then(|mut file| writeln!(file, "{token}"))
            .with_context(|| format!("cannot write {}", token_file.display()))?;
        let file = token_file.to_string_lossy();
        let enrolled = self.call(&["enrol"], &["--aggregator", aggregator, "--token-file", &file]);
        // A used-up token is worth nothing, but there is no reason to leave it lying about.
        let removed = fs::remove_file(&token_file);
        enrolled?;
        removed.with_context(|| format!("cannot remove {}", token_file.display()))
    }

    /// Puts the example policy in place, as an agency would that agrees with it. A policy that
    /// opens only sums of more survivors than the job needs is lowered to the job's floor. Nobody sits
    /// beside the demo to approve its job, so the policy says in words that within its own bounds nobody
    /// is asked.
    pub fn adopt_policy(&self, survivor_floor: i64) -> Result<()> {
        let example =
            call(Command::new(&self.program).args(["policy", "example"]), &self.cli_log())
                .with_context(|| format!("no example policy for the node of {}", self.agency))?;
        let path = self.data_dir.join("policy.toml");
        fs::write(&path, fitted_policy(&example, survivor_floor)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Each agency tells the others its fingerprint, as they would by telephone, and pins theirs: the
    /// aggregator cannot invent an agency.
    pub fn exchange_fingerprints(nodes: &[Self], file: &Path) -> Result<()> {
        let lines = nodes.iter().map(Self::fingerprint).collect::<Result<Vec<_>>>()?;
        fs::write(file, lines.join("\n") + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        nodes.iter().try_for_each(|node| node.pin(file))
    }

    /// The line that the other agencies pin: this agency's name and the fingerprint of its key.
    fn fingerprint(&self) -> Result<String> {
        let said = self.call(&["peers", "fingerprint"], &[])?;
        Ok(said.trim().to_owned())
    }

    /// Pins the keys of the other agencies.
    fn pin(&self, peers: &Path) -> Result<()> {
        self.call(&["peers", "import"], &[&peers.to_string_lossy()]).map(drop)
    }

    /// Registers the agency's table under the dataset's name.
    pub fn add_dataset(&self, name: &str, table: &Path) -> Result<()> {
        self.add_dataset_with(name, table, &[])
    }

    /// As [`Node::add_dataset`], with further options.
    pub fn add_dataset_with(&self, name: &str, table: &Path, terms: &[&str]) -> Result<()> {
        let table = table.to_string_lossy();
        let args = [&["--name", name, "--path", &table], terms].concat();
        self.call(&["dataset", "add"], &args).map(drop)
    }

    /// The budget book, one entry a line, after `budget verify` has found it whole.
    pub fn book(&self) -> Result<String> {
        self.call(&["budget", "verify"], &[])?;
        self.call(&["budget", "export"], &[])
    }

    /// Epsilon that a dataset has spent and committed.
    pub fn budget(&self, dataset: &str) -> Result<(f64, f64)> {
        let text = self.call(&["budget", "show"], &["--json"])?;
        let all: serde_json::Value =
            serde_json::from_str(&text).context("the budget is no JSON")?;
        let number = |key: &str| all[dataset][key].as_f64();
        number("spent").zip(number("committed")).context("the budget has no such dataset")
    }

    /// Starts the daemon.
    pub fn serve(&mut self) -> Result<()> {
        let mut command = self.command(&["serve"]);
        command.args(["--trainer", self.trainer]);
        let log = self.logs.join(format!("node-{}.log", self.agency));
        let name = format!("the node of {}", self.agency);
        self.process = Some(Process::spawn(&name, &mut command, &log)?);
        Ok(())
    }

    /// Kills the daemon without warning.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::kill)
    }

    /// The running daemon, if any.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Takes the running daemon out, to stop it.
    pub fn take_process(&mut self) -> Option<Process> {
        self.process.take()
    }

    fn command(&self, subcommand: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(subcommand).arg("--data-dir").arg(&self.data_dir);
        command
    }

    fn call(&self, subcommand: &[&str], args: &[&str]) -> Result<String> {
        call(self.command(subcommand).args(args), &self.cli_log())
            .with_context(|| format!("the node of {} could not be set up", self.agency))
    }

    fn cli_log(&self) -> PathBuf {
        self.logs.join(format!("node-{}-cli.log", self.agency))
    }
}

/// The example policy, with its `min_survivors` not above the floor, and with automatic approval within
/// its own bounds in place of a data steward.
fn fitted_policy(example: &str, survivor_floor: i64) -> Result<String> {
    let mut policy: toml::Table = example.parse().context("the example policy is no TOML")?;
    if let Some(least) = policy.get_mut("min_survivors")
        && least.as_integer().is_some_and(|least| least > survivor_floor)
    {
        *least = survivor_floor.into();
    }
    let bounds = [
        ("datasets", "datasets"),
        ("modes", "modes"),
        ("max_epsilon_per_job", "max_epsilon"),
        ("max_rounds", "max_rounds"),
    ];
    let auto = bounds
        .into_iter()
        .filter_map(|(from, to)| Some((to.to_owned(), policy.get(from)?.clone())));
    let auto: toml::Table = auto.collect();
    let approval = toml::Table::from_iter([
        ("required".to_owned(), true.into()),
        ("auto".to_owned(), auto.into()),
    ]);
    policy.insert("approval".into(), approval.into());
    toml::to_string(&policy).context("cannot write the policy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_only_lowered_where_the_job_needs_it_and_bounds_what_nobody_is_asked_about() {
        let example = "min_survivors = 5\nmodes = [\"record\"]\nmax_epsilon_per_job = 2.0\n\
                       roster = \"pinned\"\n[approval]\nrequired = true\n";
        for (floor, expected) in [(7, 5), (5, 5), (3, 3)] {
            let fitted: toml::Table = fitted_policy(example, floor).unwrap().parse().unwrap();
            assert_eq!(fitted["min_survivors"].as_integer(), Some(expected));
            assert_eq!(fitted["roster"].as_str(), Some("pinned"));
            let auto = &fitted["approval"]["auto"];
            assert_eq!(auto["modes"][0].as_str(), Some("record"));
            assert_eq!(auto["max_epsilon"].as_float(), Some(2.0));
            assert!(
                auto.get("max_rounds").is_none(),
                "what the policy does not bound stays missing"
            );
        }
        assert!(fitted_policy("nonsense", 3).is_err());
    }
}
