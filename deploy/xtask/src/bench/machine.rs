//! On what and from what the figures come: the machine and the commit.

use std::fs;
use std::process::Command;
use std::thread;

use serde::Serialize;

use crate::support::command::capture;
use crate::support::repo::Repo;

/// The machine. What cannot be told is `unknown` or zero: a benchmark does not fail for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu_model: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Release of the operating system's kernel.
    pub kernel: String,
}

impl Machine {
    /// Describes this machine, from Linux' `/proc`.
    pub fn describe() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let unless_empty =
            |text: &str| if text.is_empty() { unknown() } else { text.trim().to_owned() };
        Self {
            cpu_model: unless_empty(field(&read("/proc/cpuinfo"), "model name").unwrap_or("")),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
            kernel: unless_empty(&read("/proc/sys/kernel/osrelease")),
        }
    }
}

/// The commit that is checked out, with `-dirty` if tracked files differ from it.
pub fn commit(repo: &Repo) -> String {
    let git = |args: &[&str]| capture(Command::new("git").args(args).current_dir(repo.root()));
    let Ok(head) = git(&["rev-parse", "HEAD"]) else {
        return unknown();
    };
    let clean = git(&["status", "--porcelain", "--untracked-files=no"]).is_ok_and(|s| s.is_empty());
    format!("{}{}", head.trim(), if clean { "" } else { "-dirty" })
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (key.trim(), value.trim())).find(|pair| pair.0 == name).map(|p| p.1)
}

fn memory_bytes(meminfo: &str) -> u64 {
    let kib = field(meminfo, "MemTotal").and_then(|value| value.strip_suffix("kB"));
    kib.and_then(|number| number.trim().parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_files() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU: 9 cores\nmodel name\t: other\n";
        assert_eq!(field(cpuinfo, "model name"), Some("Some CPU: 9 cores"));
        assert_eq!(field(cpuinfo, "model"), None);
        assert_eq!(memory_bytes("MemTotal:       24689764 kB\nMemFree: 1 kB\n"), 25_282_318_336);
        assert_eq!(memory_bytes(""), 0);
    }

    #[test]
    fn a_folder_without_git_has_no_commit() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(commit(&Repo::at(dir.path(), dir.path())), "unknown");
        assert!(Machine::describe().cores > 0);
    }
}
