//! The aggregator by its command line: set up, serve, tokens, jobs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::process::{Process, call, last_line};
use crate::support::interrupt;

/// How long the aggregator may take until it accepts connections.
const READY: Duration = Duration::from_secs(30);

/// An aggregator, running or not.
#[derive(Debug)]
pub struct Aggregator {
    program: PathBuf,
    data_dir: PathBuf,
    logs: PathBuf,
    address: SocketAddr,
    process: Option<Process>,
}

/// What `aggregator job status --json` says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct JobStatus {
    /// Where the job stands.
    pub state: State,
    /// Rounds done.
    #[serde(default)]
    pub round: u32,
    /// Rounds in all, that of the statistics included; 0 before the job has begun.
    #[serde(default)]
    pub rounds: u32,
    /// Attempt of the round at work, from 0.
    #[serde(default)]
    pub attempt: u32,
    /// Agencies whose vectors are in the last opened sum.
    #[serde(default)]
    pub survivors_last: Vec<String>,
    /// Agencies that somebody waits for.
    #[serde(default)]
    pub waiting_for: Vec<String>,
    /// Agencies that are not connected.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Why the job failed, or what it waits for; else empty.
    #[serde(default)]
    pub reason: String,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// For agencies to connect or to approve.
    Waiting,
    /// Rounds run.
    Training,
    /// All rounds are done.
    Done,
    /// It stopped for a reason.
    Failed,
}

impl Aggregator {
    /// Sets up a new aggregator on a free loopback port.
    pub fn init(program: &Path, data_dir: &Path, logs: &Path) -> Result<Self> {
        let address = free_address()?;
        let aggregator = Self {
            program: program.to_owned(),
            data_dir: data_dir.to_owned(),
            logs: logs.to_owned(),
            address,
            process: None,
        };
        let listen = address.to_string();
        aggregator.call(&["init"], &["--listen", &listen, "--name", "demo"])?;
        Ok(aggregator)
    }

    /// `https://` and the address, as nodes are told it.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Starts the service and does not wait for it.
    pub fn spawn(&mut self) -> Result<()> {
        let mut command = self.command(&["serve"]);
        let log = self.logs.join("aggregator.log");
        self.process = Some(Process::spawn("the aggregator", &mut command, &log)?);
        Ok(())
    }

    /// Starts the service and waits until its port accepts.
    pub fn serve(&mut self) -> Result<()> {
        self.spawn()?;
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let deadline = Instant::now() + READY;
        while TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).is_err() {
            process.expect_running()?;
            if Instant::now() >= deadline {
                return Err(process.failure(&format!(
                    "does not accept connections on {} after {} s",
                    self.address,
                    READY.as_secs()
                )));
            }
            interrupt::sleep(Duration::from_millis(50))?;
        }
        self.process = Some(process);
        Ok(())
    }

    /// A one-time enrolment token for an agency.
    pub fn token(&self, agency: &str) -> Result<String> {
        let output = self.call(&["enrol", "token"], &["--agency", agency])?;
        last_line(&output).map(str::to_owned).with_context(|| format!("no token for {agency}"))
    }

    /// Submits a job file and returns the job's id.
    pub fn submit(&self, job: &Path) -> Result<String> {
        let job = job.to_string_lossy();
        let output = self.call(&["job", "submit"], &[&job])?;
        last_line(&output).map(str::to_owned).context("no id for the job")
    }

    /// Where a job stands.
    pub fn status(&self, job: &str) -> Result<JobStatus> {
        let output = self.call(&["job", "status"], &[job, "--json"])?;
        serde_json::from_str(&output)
            .with_context(|| format!("cannot read the status of the job: {}", output.trim()))
    }

    /// Writes everything a job released, and its record, into `out`.
    pub fn export(&self, job: &str, out: &Path) -> Result<()> {
        let out = out.to_string_lossy();
        self.call(&["job", "export"], &[job, "--out", &out]).map(drop)
    }

    /// Writes a job's newest certified model.
    pub fn export_model(&self, job: &str, out: &Path) -> Result<()> {
        let out = out.to_string_lossy();
        self.call(&["model", "export"], &[job, "--out", &out]).map(drop)
    }

    /// The running service, if any.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Takes the running service out, to stop it.
    pub fn take_process(&mut self) -> Option<Process> {
        self.process.take()
    }

    /// Removes keys and database.
    pub fn remove_state(&self) -> Result<()> {
        fs::remove_dir_all(&self.data_dir)
            .with_context(|| format!("cannot remove {}", self.data_dir.display()))
    }

    fn command(&self, subcommand: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(subcommand).arg("--data-dir").arg(&self.data_dir);
        command
    }

    fn call(&self, subcommand: &[&str], args: &[&str]) -> Result<String> {
        call(self.command(subcommand).args(args), &self.logs.join("aggregator-cli.log"))
    }
}

/// A loopback address that was free a moment ago, outside the range from which the system takes ports
/// for outgoing connections: an aggregator that was killed finds it free when it comes back.
fn free_address() -> Result<SocketAddr> {
    // Each call begins elsewhere: what another one of this process has found is not bound yet.
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed).wrapping_mul(101);
    let first = 20_000 + (std::process::id().wrapping_add(call) % 10_000) as u16;
    let ports = (first..30_000).chain(20_000..first);
    let mut addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    addresses
        .find(|address| TcpListener::bind(address).is_ok())
        .context("no free port on the loopback")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_state() {
        let text = r#"{"state":"training","round":7,"rounds":200,"attempt":1,
            "survivors_last":["ua","b6"],"reason":"","missing":["dl"],"something_new":1}"#;
        let status: JobStatus = serde_json::from_str(text).unwrap();
        assert_eq!((status.state, status.round, status.attempt), (State::Training, 7, 1));
        assert_eq!(status.survivors_last, ["ua", "b6"]);
        for (name, state) in
            [("waiting", State::Waiting), ("done", State::Done), ("failed", State::Failed)]
        {
            let status: JobStatus =
                serde_json::from_str(&format!(r#"{{"state":"{name}"}}"#)).unwrap();
            assert_eq!(status.state, state);
        }
        assert!(serde_json::from_str::<JobStatus>(r#"{"state":"dreaming"}"#).is_err());
    }

    #[test]
    fn free_addresses_are_on_the_loopback() {
        let address = free_address().unwrap();
        assert!(address.ip().is_loopback() && address.port() != 0);
    }
}
