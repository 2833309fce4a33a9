//! A daemon: its output goes to a log file, and it is gone when dropped.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running daemon.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Length of the log when it started.
    from: u64,
}

impl Process {
    /// Starts a command; everything it writes is appended to `log`.
    ///
    /// # Panics
    /// If it cannot start.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let from = file.metadata().expect("a log file").len();
        let second = file.try_clone().expect("another handle");
        let child = command
            .stdin(Stdio::null())
            .stdout(second)
            .stderr(file)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        Self { name: name.to_owned(), child, log: log.to_owned(), from }
    }

    /// What it has written since it started.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let own = bytes.get(self.from as usize..).unwrap_or_default();
        String::from_utf8_lossy(own).into_owned()
    }

    /// Its number at the operating system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it has resident, KiB.
    ///
    /// # Panics
    /// If the operating system does not say, as only Linux does.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("the status of a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse().ok()).expect("a size in kB")
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// If the operating system cannot tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("waiting for a child")
    }

    /// Waits for words in its log.
    ///
    /// # Panics
    /// If they do not come in time, or it ends before.
    pub fn wait_for_log(&mut self, words: &str, within: Duration) {
        let deadline = Instant::now() + within;
        while !self.log().contains(words) {
            let ended = self.ended();
            assert!(ended.is_none(), "{} ended ({ended:?}) before {words:?}", self.name);
            let late = Instant::now() >= deadline;
            assert!(!late, "{}: no {words:?} in its log: {}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL: no chance to clean up.
    ///
    /// # Panics
    /// If it had ended before.
    pub fn kill(mut self) {
        assert!(self.ended().is_none(), "{} had ended before it was killed", self.name);
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("waiting for a child");
    }

    /// SIGTERM; returns the exit code, 0 if it ended in order.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn terminate(mut self, within: Duration) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.wait(within).code()
    }

    /// SIGSTOP: it keeps its connections and does nothing any more.
    ///
    /// # Panics
    /// If it had ended before.
    pub fn freeze(&mut self) {
        assert!(self.ended().is_none(), "{} had ended before it was frozen", self.name);
        self.signal(Signal::SIGSTOP);
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            let late = Instant::now() >= deadline;
            assert!(!late, "{} does not end; its log: {}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("sending a signal");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing to do about a failure here: it is gone, or cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_ends_in_order_by_force_or_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let start = || {
            let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done";
            let mut process = Process::spawn("sh", Command::new("sh").args(["-c", script]), &log);
            process.wait_for_log("ready", Duration::from_secs(10));
            process
        };
        assert_eq!(start().terminate(Duration::from_secs(10)), Some(0));
        start().kill();
        let dropped = start();
        let pid = Pid::from_raw(dropped.child.id() as i32);
        drop(dropped);
        assert!(kill(pid, None).is_err(), "still there");
    }
}
