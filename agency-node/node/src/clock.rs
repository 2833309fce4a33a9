//! The time that this node goes by: the system's clock, but never before the highest time that it has
//! seen. What has ended stays ended when the clock is set back.
//!
//! The highest time is kept in the database. A node that was down while an approval ended, and whose
//! clock was set back before it came up again, cannot know; see the threat model.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::engine::Now;

/// How far time moves before it is stored again.
const STORE_AFTER: Duration = Duration::seconds(30);

/// A difference of which the operator is told.
const NOTABLE: Duration = Duration::minutes(5);

/// The clock.
#[derive(Debug, Clone)]
pub struct Clock {
    highest: OffsetDateTime,
    stored: Option<OffsetDateTime>,
}

impl Clock {
    /// From the highest time that was stored.
    pub fn new(stored: Option<&str>) -> Self {
        let stored = stored.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let highest = stored.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Self { highest, stored }
    }

    /// The time, by the system's clock.
    pub fn now(&mut self) -> Now {
        self.at(OffsetDateTime::now_utc())
    }

    /// The time, where the system's clock says `system`.
    pub fn at(&mut self, system: OffsetDateTime) -> Now {
        let system = system.replace_nanosecond(0).unwrap_or(system);
        self.highest = self.highest.max(system);
        Now(self.highest.format(&Rfc3339).unwrap_or_default())
    }

    /// The time to store, if it has moved on far enough.
    pub fn to_store(&mut self) -> Option<String> {
        if self.stored.is_some_and(|stored| self.highest - stored < STORE_AFTER) {
            return None;
        }
        self.stored = Some(self.highest);
        self.highest.format(&Rfc3339).ok()
    }

    /// What is wrong with the system's clock, in words for the operator.
    pub fn complaint(&self) -> Option<String> {
        self.complaint_at(OffsetDateTime::now_utc())
    }

    fn complaint_at(&self, system: OffsetDateTime) -> Option<String> {
        (self.highest - system > NOTABLE).then(|| {
            let format = |at: OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
            format!(
                "the system's clock says {}, but this node has seen {}: approvals, hours and the year \
                 are judged by the later one. Put the clock right; if it was wrong before, stop the \
                 daemon and run `agency-node clock accept`",
                format(system),
                format(self.highest)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_bring_time_back() {
        let mut clock = Clock::new(None);
        assert_eq!(clock.at(time("2026-03-01T12:00:00.9Z")).0, "2026-03-01T12:00:00Z");
        assert_eq!(clock.to_store().as_deref(), Some("2026-03-01T12:00:00Z"));
        assert_eq!(clock.at(time("2026-01-01T00:00:00Z")).0, "2026-03-01T12:00:00Z");
        assert_eq!(clock.to_store(), None);
        let complaint = clock.complaint_at(time("2026-01-01T00:00:00Z")).unwrap();
        assert!(complaint.contains("clock accept"), "{complaint}");
        assert_eq!(clock.complaint_at(time("2026-03-01T11:58:00Z")), None);
        // Also over a restart.
        let mut again = Clock::new(Some("2026-03-01T12:00:00Z"));
        assert_eq!(again.at(time("2026-01-01T00:00:00Z")).0, "2026-03-01T12:00:00Z");
        assert_eq!(again.at(time("2026-03-01T12:00:31Z")).0, "2026-03-01T12:00:31Z");
        assert!(again.to_store().is_some());
    }
}
