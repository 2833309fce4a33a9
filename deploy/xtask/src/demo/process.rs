//! A long-running child process: its output in a log file, stopped when dropped.
//!
//! Each child has its own process group, so that Ctrl-C reaches this program alone, which then
//! stops the children in order.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::command::{describe, log_tail};
use crate::support::interrupt;

/// Lines of a log that an error shows.
const SHOWN: usize = 15;

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command; everything it writes is appended to `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let out = append(log)?;
        let err = out.try_clone().with_context(|| format!("cannot share {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start `{}`", describe(command)))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Fails, with the end of the log, if the child has ended by itself.
    pub fn expect_running(&mut self) -> Result<()> {
        match self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))? {
            None => Ok(()),
            Some(status) => Err(self.failure(&format!("ended too early ({status})"))),
        }
    }

    /// SIGKILL: no chance to clean up.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name)).map(drop)
    }

    /// Asks the child to end (SIGTERM) without waiting.
    pub fn ask_to_end(&mut self) -> Result<()> {
        self.expect_running()?;
        let pid = i32::try_from(self.child.id()).context("process id out of range")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)
            .with_context(|| format!("cannot send SIGTERM to {}", self.name))
    }

    /// Waits until the child has ended with exit code 0.
    pub fn expect_end(mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.failure(&ended(status))),
                None if Instant::now() >= deadline => {
                    let waited = timeout.as_secs();
                    return Err(self.failure(&format!("did not end within {waited} s of SIGTERM")));
                }
                None => interrupt::sleep(Duration::from_millis(20))?,
            }
        }
    }

    /// An error about this process with the end of its log.
    pub fn failure(&self, what: &str) -> anyhow::Error {
        anyhow!("{} {what}. The end of its log, {}", self.name, log_tail(&self.log, SHOWN))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Nothing to do about a failure here: the process is gone or cannot be killed.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a short command to its end and returns what it wrote to standard output; its standard
/// error goes to `log`, whose end an error shows.
pub fn call(command: &mut Command, log: &Path) -> Result<String> {
    use std::os::unix::process::CommandExt;
    interrupt::check()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(append(log)?)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    let mut pipe = child.stdout.take().context("no pipe to the command")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    });
    // From here on the child is stopped on every way out.
    let mut running = Process { name: describe(command), child, log: log.to_owned() };
    let status = loop {
        match running.child.try_wait().context("cannot wait for a command")? {
            Some(status) => break status,
            None => interrupt::sleep(Duration::from_millis(5))?,
        }
    };
    if !status.success() {
        return Err(running.failure(&format!("failed ({status})")));
    }
    match reader.join() {
        Ok(text) => text.with_context(|| format!("`{}` wrote no text", describe(command))),
        Err(_) => bail!("reading the output of `{}` failed", describe(command)),
    }
}

/// The last non-empty line of a command's output.
pub fn last_line(output: &str) -> Result<&str> {
    let line = output.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.context("it wrote nothing to standard output")
}

fn ended(status: ExitStatus) -> String {
    format!("was asked to end and did not do so cleanly ({status})")
}

fn append(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(dir: &Path, script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let process = Process::spawn("child", &mut command, &dir.join("log")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while !std::fs::read_to_string(dir.join("log")).unwrap().contains("ready") {
            assert!(Instant::now() < deadline, "the child never got ready");
            thread::sleep(Duration::from_millis(5));
        }
        process
    }

    fn alive(pid: u32) -> bool {
        kill(Pid::from_raw(pid as i32), None).is_ok()
    }

    #[test]
    fn ends_cleanly_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done";
        let mut process = shell(dir.path(), script);
        process.expect_running().unwrap();
        process.ask_to_end().unwrap();
        process.expect_end(Duration::from_secs(5)).unwrap();
    }

    #[test]
    fn an_unclean_end_shows_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap 'echo disk full; exit 7' TERM; echo ready; while :; do sleep 0.02; done";
        let mut process = shell(dir.path(), script);
        process.ask_to_end().unwrap();
        let error = process.expect_end(Duration::from_secs(5)).unwrap_err().to_string();
        assert!(error.contains("disk full") && error.contains("child"), "{error}");
    }

    #[test]
    fn one_that_ignores_sigterm_is_named_and_killed() {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap '' TERM; echo ready; while :; do sleep 0.02; done";
        let mut process = shell(dir.path(), script);
        let pid = process.child.id();
        process.ask_to_end().unwrap();
        let error = process.expect_end(Duration::from_millis(200)).unwrap_err().to_string();
        assert!(error.contains("did not end"), "{error}");
        assert!(!alive(pid));
    }

    #[test]
    fn dropping_and_killing_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap '' TERM; echo ready; while :; do sleep 0.02; done";
        for drop_it in [true, false] {
            let process = shell(dir.path(), script);
            let pid = process.child.id();
            assert!(alive(pid));
            if drop_it {
                drop(process)
            } else {
                process.kill().unwrap()
            }
            assert!(!alive(pid));
            std::fs::remove_file(dir.path().join("log")).unwrap();
        }
    }

    #[test]
    fn an_early_end_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = shell(dir.path(), "echo ready; echo no certificate >&2; exit 2");
        let deadline = Instant::now() + Duration::from_secs(5);
        let error = loop {
            match process.expect_running() {
                Err(error) => break error.to_string(),
                Ok(()) => assert!(Instant::now() < deadline),
            }
        };
        assert!(error.contains("no certificate"), "{error}");
    }

    #[test]
    fn calls_return_their_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        let output = call(command.args(["-c", "echo note; echo token-1; echo"]), &log).unwrap();
        assert_eq!(last_line(&output).unwrap(), "token-1");
        let mut command = Command::new("sh");
        let error = call(command.args(["-c", "echo port in use >&2; exit 1"]), &log).unwrap_err();
        assert!(error.to_string().contains("port in use"), "{error}");
        assert!(last_line("\n").is_err());
    }
}
