//! One measured program from its start to its end, with everything it starts in turn.
//!
//! Each has a process group of its own. Ctrl-C therefore reaches this program alone, which then
//! ends the whole group: a benchmark's node processes, or Ray's workers, must not stay behind and
//! slow the next cell down.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::support::command::{describe, log_tail};
use crate::support::interrupt;

/// Lines of a log that an error shows.
const SHOWN: usize = 15;
/// Time to clean up after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Runs a command to its end and returns its standard output. Output goes to `NAME.out` and
/// `NAME.log` (standard error) in `logs`; an error shows the end of the latter.
pub fn run(command: &mut Command, logs: &Path, name: &str, limit: Duration) -> Result<String> {
    use std::os::unix::process::CommandExt;
    interrupt::check()?;
    let (out, log) = (logs.join(format!("{name}.out")), logs.join(format!("{name}.log")));
    let child = command
        .stdin(Stdio::null())
        .stdout(create(&out)?)
        .stderr(create(&log)?)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    let mut group = Group { child };
    let deadline = Instant::now() + limit;
    let failed = |why: &str| {
        format!("`{}` {why}. The end of its log, {}", describe(command), log_tail(&log, SHOWN))
    };
    let status = loop {
        match group.child.try_wait().context("cannot wait for a program")? {
            Some(status) => break status,
            None if Instant::now() >= deadline => {
                drop(group);
                bail!(failed(&format!("was stopped after {} s", limit.as_secs())));
            }
            None => interrupt::sleep(POLL)?,
        }
    };
    drop(group);
    if !status.success() {
        bail!(failed(&format!("failed ({status})")));
    }
    read(&out)
}

/// A process group, ended when dropped.
struct Group {
    child: Child,
}

impl Group {
    /// Signals all processes of the group; false if there is none any more.
    fn signal(&self, signal: Signal) -> bool {
        i32::try_from(self.child.id()).is_ok_and(|id| killpg(Pid::from_raw(id), signal).is_ok())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let deadline = Instant::now() + GRACE;
        if self.signal(Signal::SIGTERM) {
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(POLL);
            }
            // Also where the leader is gone: what it started may not be. Nothing can be done
            // about a failure here: either nobody is left, or they cannot be killed.
            self.signal(Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

fn create(path: &PathBuf) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn shell(dir: &Path, script: &str, limit: Duration) -> Result<String> {
        run(Command::new("sh").args(["-c", script]), dir, "cell", limit)
    }

    /// Whether the process of that id ends soon: it may be a zombie that init has yet to reap.
    fn ends(pid: i32) -> bool {
        let deadline = Instant::now() + Duration::from_secs(5);
        let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = || {
            state().rsplit(')').next().is_none_or(|s| matches!(s.trim().get(..1), None | Some("Z")))
        };
        while !gone() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        gone()
    }

    #[test]
    fn output_comes_back_and_errors_show_the_log() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(shell(dir.path(), "echo talk >&2; echo yes", LONG).unwrap(), "yes\n");
        let error = shell(dir.path(), "echo no port >&2; exit 4", LONG).unwrap_err().to_string();
        assert!(error.contains("no port") && error.contains("exit status: 4"), "{error}");
        assert!(!error.contains("talk"), "{error}");
    }

    #[test]
    fn one_that_hangs_is_stopped_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let script = "sleep 600 & echo $!; wait";
        let error = shell(dir.path(), script, Duration::from_millis(300)).unwrap_err().to_string();
        assert!(error.contains("was stopped after"), "{error}");
        let pid = read(&dir.path().join("cell.out")).unwrap();
        assert!(ends(pid.trim().parse().unwrap()));
    }

    #[test]
    fn what_a_program_leaves_behind_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let pid = shell(dir.path(), "sleep 600 & echo $!", LONG).unwrap();
        assert!(start.elapsed() < LONG);
        assert!(ends(pid.trim().parse().unwrap()));
    }
}
