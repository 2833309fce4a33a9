//! Running other programs and telling what went wrong: errors name the command as a person would
//! type it, with the end of what it wrote.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::interrupt;
use super::repo::Repo;

/// A `cargo` command in the repository's root. A `LIBTORCH` of the caller's is dropped: by then
/// the link that `.cargo/config.toml` names points to it, and one spelling of the path keeps
/// cargo from building everything twice.
pub fn cargo<I, S>(repo: &Repo, args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(repo.root()).env_remove("LIBTORCH");
    command
}

/// Finds a built program in the messages that cargo writes with `--message-format=json`, one JSON
/// object a line.
pub fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|message| message.pointer("/target/name") == Some(&Value::from(name)))
        .and_then(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .with_context(|| format!("the build made no program `{name}`"))
}

/// Runs a command and returns what it wrote to standard output; on failure the error carries the
/// end of what it wrote to standard error.
pub fn capture(command: &mut Command) -> Result<String> {
    interrupt::check()?;
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    interrupt::check()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("`{}` failed ({})\n{}", describe(command), output.status, tail(&stderr, 12));
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` wrote something that is not text", describe(command)))
}

/// The command line as a person would type it.
pub fn describe(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(key, value)| {
        value.map(|value| format!("{}={}", key.to_string_lossy(), quoted(value)))
    });
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args()).map(quoted);
    set.chain(words).collect::<Vec<_>>().join(" ")
}

/// A log file's path and its last lines, indented; a sentence instead if it cannot be read.
pub fn log_tail(path: &Path, lines: usize) -> String {
    match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => format!("    ({} is empty)", path.display()),
        Ok(bytes) => {
            format!("{}:\n{}", path.display(), tail(&String::from_utf8_lossy(&bytes), lines))
        }
        Err(error) => format!("    (no log at {}: {error})", path.display()),
    }
}

/// The last lines of a text, indented.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    let kept = all.iter().skip(all.len().saturating_sub(lines));
    kept.map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn captures_output_and_reports_failures_with_the_command() {
        assert_eq!(capture(&mut shell("echo yes")).unwrap(), "yes\n");
        let error = capture(&mut shell("echo first >&2; echo last words >&2; exit 3"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("last words") && error.contains("sh -c"), "{error}");
        assert!(capture(&mut Command::new("no-such-program-here")).is_err());
    }

    #[test]
    fn describes_what_a_person_would_type() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings").env_remove("X");
        assert_eq!(describe(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
    }

    #[test]
    fn tails_keep_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "    b\n    c");
        assert!(log_tail(Path::new("/nonexistent/log"), 3).contains("no log"));
    }
}
