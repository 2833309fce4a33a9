//! What this process and this thread have used: memory at its highest, processor time.

use std::ops::{AddAssign, Sub};

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Processor time, seconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Cpu {
    /// In the program.
    pub user: f64,
    /// In the operating system on its behalf.
    pub system: f64,
}

impl Cpu {
    /// Of this process since its start; zero where the system does not say.
    pub fn of_process() -> Self {
        let seconds =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        getrusage(UsageWho::RUSAGE_SELF).map_or(Self::default(), |usage| Self {
            user: seconds(usage.user_time()),
            system: seconds(usage.system_time()),
        })
    }

    /// The time of one of `parts` equal parts.
    pub fn per(self, parts: usize) -> Self {
        let parts = parts.max(1) as f64;
        Self { user: self.user / parts, system: self.system / parts }
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { user: self.user - other.user, system: self.system - other.system }
    }
}

impl AddAssign for Cpu {
    fn add_assign(&mut self, other: Self) {
        self.user += other.user;
        self.system += other.system;
    }
}

/// Processor time of this thread, seconds; zero where the system does not say.
pub fn thread_cpu_s() -> f64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0.0, |time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

/// The most memory this process has had resident, bytes (`VmHWM`); `None` off Linux.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
