//! Running a command to its end, and what it said.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::SOON;

/// How a command ended and what it wrote.
#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Panics
/// If it cannot start, or does not end by itself soon.
pub fn call(command: &mut Command) -> Outcome {
    call_within(command, SOON)
}

/// As [`call`], with a time of one's own.
///
/// # Panics
/// If it cannot start, or does not end by itself in time.
pub fn call_within(command: &mut Command, within: Duration) -> Outcome {
    let file = || tempfile::tempfile().expect("a temporary file");
    let (mut out, mut err) = (file(), file());
    let line = line(command);
    let clone = |f: &File| Stdio::from(f.try_clone().expect("another handle"));
    command.stdin(Stdio::null()).stdout(clone(&out)).stderr(clone(&err));
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start `{line}`: {e}"));
    let deadline = Instant::now() + within;
    let status = loop {
        if let Some(status) = child.try_wait().expect("waiting for a child") {
            break status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            let said = text(&mut err);
            panic!("`{line}` did not end within {} s; it said: {said}", within.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (stdout, stderr) = (text(&mut out), text(&mut err));
    Outcome { command: line, code: status.code(), stdout, stderr }
}

impl Outcome {
    /// The standard output of a command that succeeded.
    ///
    /// # Panics
    /// If it did not.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "`{}` failed: {}", self.command, self.stderr);
        self.stdout
    }

    /// The last line of the standard output of a command that succeeded.
    ///
    /// # Panics
    /// If it did not, or said nothing.
    pub fn last_line(self) -> String {
        let stdout = self.ok();
        stdout.lines().last().expect("it prints something").trim().to_owned()
    }

    /// Checks that the command refused: an exit code that is an error but no crash, and a message
    /// that holds each of these words (who, what, what to do). Returns the message.
    ///
    /// # Panics
    /// If it did not.
    pub fn refused(self, words: &[&str]) -> String {
        assert_ne!(self.code, Some(0), "`{}` was not refused: {}", self.command, self.stdout);
        assert!(
            self.code.is_some_and(|c| c != 101) && !self.stderr.contains("panicked"),
            "`{}` crashed ({:?}): {}",
            self.command,
            self.code,
            self.stderr
        );
        expect_words(&self.command, &self.stderr, words);
        self.stderr
    }
}

/// Checks that a message holds each of these words.
///
/// # Panics
/// If one is missing.
pub fn expect_words(whose: &str, message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{whose}: {word:?} is not in the message: {message}");
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("reading what was written");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let args = command.get_args().map(|a| a.to_string_lossy().into_owned());
    std::iter::once(name).chain(args).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Outcome {
        call(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn both_ways_out() {
        assert_eq!(shell("echo a; echo b; echo note >&2").last_line(), "b");
        shell("echo no such file >&2; exit 1").refused(&["such", "file"]);
    }

    #[test]
    #[should_panic(expected = "was not refused")]
    fn success_is_no_refusal() {
        shell("true").refused(&[]);
    }

    #[test]
    #[should_panic(expected = "crashed")]
    fn a_crash_is_no_refusal() {
        shell("exit 101").refused(&[]);
    }

    #[test]
    #[should_panic(expected = "is not in the message")]
    fn a_refusal_must_say_why() {
        shell("echo something >&2; exit 1").refused(&["port"]);
    }
}
