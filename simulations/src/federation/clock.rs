//! Virtual time: it passes only when frames travel, so that a run does not depend on the machine.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tributary_node::engine;
use tributary_round as round;

/// When every simulation begins: 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600;

/// What one exchange of frames takes, in milliseconds.
const EXCHANGE: u64 = 10;

/// The simulation's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct VirtualClock {
    millis: u64,
}

impl VirtualClock {
    /// One exchange of frames has passed.
    pub fn exchange(&mut self) {
        self.millis += EXCHANGE;
    }

    /// A long wait has passed.
    pub fn wait(&mut self, millis: u64) {
        self.millis += millis;
    }

    /// Now, as the coordinator sees it.
    pub fn coordinator(&self) -> round::Now {
        round::Now { millis: self.millis, unix: self.unix() }
    }

    /// Now, as a node sees it.
    pub fn node(&self) -> engine::Now {
        let time = OffsetDateTime::from_unix_timestamp(self.unix()).ok();
        let text = time.and_then(|t| t.format(&Rfc3339).ok());
        engine::Now(text.unwrap_or_else(|| format!("unix:{}", self.unix())))
    }

    fn unix(&self) -> i64 {
        START.saturating_add((self.millis / 1000) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_with_frames_only() {
        let mut clock = VirtualClock::default();
        assert_eq!(clock.node().0, "2026-01-01T00:00:00Z");
        (0..250).for_each(|_| clock.exchange());
        assert_eq!(clock.node().0, "2026-01-01T00:00:02Z");
        assert_eq!(clock.coordinator(), round::Now { millis: 2500, unix: START + 2 });
    }
}
