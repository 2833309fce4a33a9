//! What concerns a process of ours as a whole: the memory that it takes, and an end in order when
//! nobody reads its output any more.

use std::panic::PanicHookInfo;

/// Bytes of memory that this process has in use (resident set); `None` where the system does not
/// say.
pub fn resident_bytes() -> Option<u64> {
    field("VmRSS:")
}

/// The most bytes that [`resident_bytes`] has ever been.
pub fn peak_resident_bytes() -> Option<u64> {
    field("VmHWM:")
}

/// A line of `/proc/self/status` in kibibytes, as bytes.
fn field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// Who runs this process, as the system says it: for records of commands. A name is a claim of the
/// environment, the number is the system's.
pub fn operator() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let name: String = name.unwrap_or_else(|| "unknown".into()).chars().take(64).collect();
    let clean: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match uid() {
        Some(uid) => format!("{clean} (uid {uid})"),
        None => clean,
    }
}

#[cfg(unix)]
fn uid() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|process| process.uid())
}

#[cfg(not(unix))]
fn uid() -> Option<u32> {
    None
}

/// `command | head` closes the pipe before the command has said everything. `println!` panics then;
/// with this the process ends quietly, as other tools do. Call it first in `main`.
///
/// The signal itself (SIGPIPE) stays ignored: a daemon must not end because a peer hangs up.
pub fn end_quietly_on_closed_pipe() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if is_closed_pipe(info) {
            // What shells expect of a process that SIGPIPE has ended.
            std::process::exit(141);
        }
        default(info);
    }));
}

fn is_closed_pipe(info: &PanicHookInfo<'_>) -> bool {
    let text = info.payload_as_str().unwrap_or_default();
    text.starts_with("failed printing to std") && text.contains("Broken pipe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_takes_some_memory() {
        let now = resident_bytes().unwrap();
        assert!(now > 100_000 && now < 1 << 40, "{now}");
        assert!(peak_resident_bytes().unwrap() >= now / 2);
    }
}
