//! How often a thing that strangers can cause is written into the log: a flood of bad connections must
//! not fill a disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one window.
const LINES: u64 = 20;
/// Its length.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts the lines of the current window.
#[derive(Debug)]
pub(crate) struct Complaints(Mutex<(Instant, u64)>);

impl Default for Complaints {
    fn default() -> Self {
        Self(Mutex::new((Instant::now(), 0)))
    }
}

impl Complaints {
    /// Whether one more line is written, with how many were not since the last window.
    pub(crate) fn next(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unsaid = 0;
        if now.saturating_duration_since(state.0) >= WINDOW {
            unsaid = state.1.saturating_sub(LINES);
            *state = (now, 0);
        }
        state.1 += 1;
        (state.1 <= LINES).then_some(unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_short_and_counted() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let said = (0..1000).filter(|_| complaints.next(start).is_some()).count();
        assert_eq!(said as u64, LINES);
        assert_eq!(complaints.next(start + WINDOW), Some(1000 - LINES));
        assert_eq!(complaints.next(start + WINDOW), Some(0), "counted once");
    }
}
