//! An aggregator by its command line.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binaries::{self, Program};
use crate::call::{Outcome, call};
use crate::{Job, Process, SOON};

/// An aggregator, running or not.
#[derive(Debug)]
pub struct Aggregator {
    dir: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    process: Option<Process>,
}

impl Aggregator {
    /// `aggregator init` below `root`, on a free port.
    ///
    /// # Panics
    /// If the command fails.
    pub fn init(root: &Path) -> Self {
        let address = free_address();
        let (dir, log) = (root.join("aggregator"), root.join("aggregator.log"));
        let new = Self { dir, log, address, process: None };
        new.call(&["init", "--listen", &address.to_string(), "--name", "test"]).ok();
        new
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as nodes are told it.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Runs a command on its data directory.
    pub fn call(&self, args: &[&str]) -> Outcome {
        call(&mut self.command(args))
    }

    /// A command on its data directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binaries::path(Program::Aggregator));
        command.args(args).arg("--data-dir").arg(&self.dir);
        command.env("RUST_LOG", "info").env("NO_COLOR", "1").env_remove("TRIBUTARY_AGGREGATOR_DIR");
        command
    }

    /// Starts the service and waits until it listens.
    ///
    /// # Panics
    /// If it ends instead.
    pub fn serve(&mut self) {
        self.serve_with(&[]);
    }

    /// As [`Aggregator::serve`], with variables in its environment.
    ///
    /// # Panics
    /// If it ends instead.
    pub fn serve_with(&mut self, variables: &[(&str, &str)]) {
        let mut command = self.command(&["serve"]);
        command.envs(variables.iter().copied());
        let mut process = Process::spawn("the aggregator", &mut command, &self.log);
        process.wait_for_log("aggregator serves", SOON);
        self.process = Some(process);
    }

    /// The running service.
    ///
    /// # Panics
    /// If it does not run.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the aggregator was started")
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        self.process.take().expect("the aggregator was started").kill();
    }

    /// SIGTERM; returns the exit code.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    pub fn terminate(&mut self) -> Option<i32> {
        self.process.take().expect("the aggregator was started").terminate(SOON)
    }

    /// Waits until the service has ended by itself; returns exit code and log.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_for_end(&mut self) -> (Option<i32>, String) {
        let mut process = self.process.take().expect("the aggregator was started");
        let code = process.wait(SOON).code();
        (code, process.log())
    }

    /// A one-time token for an agency.
    pub fn token(&self, agency: &str) -> String {
        self.call(&["enrol", "token", "--agency", agency]).last_line()
    }

    /// Writes a job file and submits it.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn try_submit(&self, text: &str) -> Outcome {
        let file = self.dir.with_file_name("job.toml");
        std::fs::write(&file, text).expect("a job file");
        self.call(&["job", "submit", file.to_str().expect("a path in UTF-8")])
    }

    /// Submits a job; returns its identifier.
    pub fn submit(&self, job: &Job) -> String {
        self.try_submit(&job.to_toml()).last_line()
    }

    /// What `aggregator job status --json` says.
    ///
    /// # Panics
    /// If it says no JSON.
    pub fn status(&self, job: &str) -> Value {
        let text = self.call(&["job", "status", job, "--json"]).ok();
        serde_json::from_str(&text).expect("the status is JSON")
    }

    /// Waits until a job's status is as wanted.
    ///
    /// # Panics
    /// If it does not get there in time.
    pub fn wait_until(
        &self,
        job: &str,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + within;
        loop {
            let status = self.status(job);
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "job {job}: not {what} in time, but {status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a job has so many certified rounds.
    ///
    /// # Panics
    /// If it does not get there, or is over before.
    pub fn wait_for_round(&self, job: &str, round: u64) {
        let status = self.wait_until(job, &format!("at round {round}"), SOON, |s| {
            s["round"].as_u64() >= Some(round) || over(s)
        });
        assert_eq!(status["state"], "training", "over too early: {status}");
    }

    /// Waits until a job is over.
    ///
    /// # Panics
    /// If it takes too long.
    pub fn wait_until_over(&self, job: &str) -> Value {
        self.wait_until(job, "over", crate::JOB, over)
    }

    /// Waits until a job is done.
    ///
    /// # Panics
    /// If it fails or takes too long.
    pub fn wait_until_done(&self, job: &str) -> Value {
        let status = self.wait_until_over(job);
        assert_eq!(status["state"], "done", "{status}");
        status
    }

    /// Waits until a job has failed; returns the reason.
    ///
    /// # Panics
    /// If it succeeds or takes too long.
    pub fn wait_until_failed(&self, job: &str) -> String {
        let status = self.wait_until_over(job);
        assert_eq!(status["state"], "failed", "{status}");
        status["reason"].as_str().expect("a reason").to_owned()
    }
}

fn over(status: &Value) -> bool {
    status["state"] == "done" || status["state"] == "failed"
}

/// A free loopback address outside the range from which the system takes ports for outgoing
/// connections, so that it is still free when an aggregator comes back to it.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = (std::process::id() % 600) as u16 * 16;
    for _ in 0..10_000 {
        let port = 20_000 + (base + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port between 20000 and 30000 on the loopback");
}
