//! Which refusals are news: an aggregator that offers again and again fills no disk.

use std::collections::BTreeMap;

use super::Now;
use super::standing::Halt;

/// Entries about offers that an hour may bring.
const MOST_AN_HOUR: u32 = 100;

/// Offers that are remembered.
const MOST_KNOWN: usize = 1000;

/// What was said about offers since the daemon started.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// What was said last about each; `None` if it was only seen.
    said: BTreeMap<[u8; 32], Option<String>>,
    hour: String,
    noted: u32,
    left_out: u32,
}

impl Refusals {
    /// Whether an offer is seen for the first time.
    pub(super) fn first_time(&mut self, job: [u8; 32]) -> bool {
        if self.said.len() >= MOST_KNOWN {
            self.said.clear();
        }
        let new = !self.said.contains_key(&job);
        self.said.entry(job).or_default();
        new
    }

    /// Whether this is another outcome than the last one of this offer.
    pub(super) fn is_news(&mut self, job: [u8; 32], halt: &Halt) -> bool {
        if self.said.len() >= MOST_KNOWN {
            self.said.clear();
        }
        let text = format!("{}: {}", halt.code, halt.local);
        self.said.insert(job, Some(text.clone())).flatten() != Some(text)
    }

    /// Whether this hour still has room for an entry.
    pub(super) fn may_note(&mut self, now: &Now) -> bool {
        // `2026-01-01T00`: the hour of an RFC 3339 time.
        let hour = now.0.get(..13).unwrap_or_default();
        if self.hour != hour {
            (self.hour, self.noted) = (hour.to_owned(), 0);
        }
        self.noted += 1;
        let room = self.noted <= MOST_AN_HOUR;
        self.left_out += u32::from(!room);
        room
    }

    /// The words, with the number of entries that found no room before them.
    pub(super) fn with_left_out(&mut self, words: &str) -> String {
        match std::mem::take(&mut self.left_out) {
            0 => words.to_owned(),
            n => format!("{words} (before it, {n} entries about offers were left out)"),
        }
    }
}
