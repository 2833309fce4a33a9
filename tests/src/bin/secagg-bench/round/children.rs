//! The processes of a run: started from this program's own file, watched, and ended with it.
//!
//! Each has a pipe as its standard input and ends when that closes, so that nobody is left behind
//! even if this process is killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};

/// Lines of a failed process's standard error that are shown.
const TAIL: usize = 8;
/// Failed processes of which that is shown.
const SHOWN: usize = 3;
/// How long the others may take to fail, too, once one has: the first one seen need not be the one
/// that it began with.
const AFTERMATH: std::time::Duration = std::time::Duration::from_millis(500);

/// Processes that end when this value does.
pub struct Children {
    program: PathBuf,
    dir: PathBuf,
    all: Vec<One>,
}

/// A process and how it ended.
type Failed = (String, ExitStatus);

struct One {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
}

impl Children {
    /// Processes of the run in `dir`.
    ///
    /// # Errors
    /// If this program cannot find its own file.
    pub fn new(dir: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find the own program")?;
        Ok(Self { program, dir: dir.to_owned(), all: Vec::new() })
    }

    /// Starts a process of this program.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&mut self, name: &str, arguments: &[String]) -> Result<()> {
        let file = |kind: &str| {
            let path = self.dir.join(format!("{name}.{kind}"));
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))
        };
        let child = Command::new(&self.program)
            .args(arguments)
            .arg("--dir")
            .arg(&self.dir)
            .stdin(Stdio::piped())
            .stdout(file("out")?)
            .stderr(file("err")?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        self.all.push(One { name: name.to_owned(), child, status: None });
        Ok(())
    }

    /// Whether any process is still there.
    ///
    /// # Errors
    /// Which processes failed, and the end of what they said.
    pub fn check(&mut self) -> Result<bool> {
        let first = self.look()?;
        if first.is_empty() {
            return Ok(self.all.iter().any(|one| one.status.is_none()));
        }
        std::thread::sleep(AFTERMATH);
        let then: Vec<_> =
            self.look()?.into_iter().filter(|found| !first.contains(found)).collect();
        let mut text = format!("a process failed\n{}", self.told(&first));
        if !then.is_empty() {
            text = format!("{text}\nand after it\n{}", self.told(&then));
        }
        bail!(text)
    }

    /// What a process printed.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn output(&self, name: &str) -> Result<String> {
        let path = self.dir.join(format!("{name}.out"));
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The processes that have failed so far: nodes before the aggregator that lost them, and those
    /// that were killed before those that ended.
    fn look(&mut self) -> Result<Vec<Failed>> {
        let mut failed = Vec::new();
        for one in self.all.iter_mut().rev() {
            if one.status.is_none() {
                one.status = one.child.try_wait().context("cannot watch a process")?;
            }
            if let Some(status) = one.status.filter(|status| !status.success()) {
                failed.push((one.name.clone(), status));
            }
        }
        failed.sort_by_key(|(_, status)| status.code().is_some());
        Ok(failed)
    }

    /// The failed processes with the end of what the first of them said.
    fn told(&self, failed: &[Failed]) -> String {
        let mut text = String::new();
        for (position, (name, status)) in failed.iter().enumerate() {
            text += &format!("{name}: {status}\n");
            if position < SHOWN {
                let said = fs::read(self.dir.join(format!("{name}.err"))).unwrap_or_default();
                let said = String::from_utf8_lossy(&said);
                let lines: Vec<_> = said.lines().collect();
                let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
                tail.iter().for_each(|line| text += &format!("  {line}\n"));
            }
        }
        text
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for one in &mut self.all {
            // It may have ended by itself; then there is nothing to do.
            let _ = one.child.kill();
        }
        for one in &mut self.all {
            let _ = one.child.wait();
        }
    }
}
