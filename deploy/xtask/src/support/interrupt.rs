//! Ctrl-C and SIGTERM: remembered in one flag, so that loops end in order and guards clean up.
//!
//! Nothing is killed from the signal handler: the waiting code asks [`check`] and returns an
//! error, and dropping the running processes stops them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

static RAISED: AtomicBool = AtomicBool::new(false);

/// The person asked to stop.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Installs the handler. Call once, before any child is started.
pub fn install() -> Result<()> {
    ctrlc::set_handler(|| RAISED.store(true, Ordering::SeqCst))
        .context("cannot install the handler for Ctrl-C")
}

/// Fails with [`Interrupted`] once the person has asked to stop.
pub fn check() -> Result<()> {
    if RAISED.load(Ordering::SeqCst) { Err(Interrupted.into()) } else { Ok(()) }
}

/// Sleeps, but wakes within 50 ms when the person asks to stop.
pub fn sleep(duration: Duration) -> Result<()> {
    let end = Instant::now() + duration;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(50)));
    }
}
