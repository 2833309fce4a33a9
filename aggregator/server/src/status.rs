//! What `status` shows, for people and as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_round::Progress;
use tributary_store::{Job, JobState};

/// A job, as `job status --json` prints it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobStatus {
    /// Identifier.
    pub id: String,
    /// Name.
    pub name: String,
    /// Who submitted it: role and name, or `local` for the aggregator's own machine.
    pub submitter: String,
    /// `waiting`, `training`, `done` or `failed`.
    pub state: JobState,
    /// Why it failed, or what is waited for.
    pub reason: String,
    /// Certified rounds.
    pub round: u32,
    /// Rounds in all; 0 before the manifest is fixed.
    pub rounds: u32,
    /// Attempt of the running round.
    pub attempt: u16,
    /// The running step in words.
    pub step: String,
    /// Agencies that somebody waits for.
    pub waiting_for: Vec<String>,
    /// Agencies without a session.
    pub missing: Vec<String>,
    /// Agencies that are connected and take no part at the moment, each with the reason.
    pub sits_out: BTreeMap<String, String>,
    /// Survivors of the last certified round.
    pub survivors_last: Vec<String>,
}

impl JobStatus {
    /// From the store's row.
    pub fn of(job: &Job) -> Self {
        let progress: Option<Progress> = serde_json::from_str(&job.progress).ok();
        let mut status = Self {
            id: job.id.clone(),
            name: job.name.clone(),
            submitter: job.submitter.clone(),
            state: job.state,
            reason: job.reason.clone(),
            round: 0,
            rounds: 0,
            attempt: 0,
            step: String::new(),
            waiting_for: Vec::new(),
            missing: Vec::new(),
            sits_out: BTreeMap::new(),
            survivors_last: Vec::new(),
        };
        if let Some(p) = progress {
            status.round = p.round;
            status.rounds = p.rounds;
            status.attempt = p.attempt;
            status.step = p.step;
            status.waiting_for = p.waiting_for;
            status.missing = p.missing;
            status.sits_out = p.sits_out;
            status.survivors_last = p.survivors_last;
        }
        status
    }

    /// Lines for people.
    pub fn to_text(&self) -> String {
        let mut out = format!("{}  {}  {}", self.id, self.name, self.state);
        if self.rounds > 0 {
            out += &format!("  round {} of {}", self.round, self.rounds);
        }
        let mut line = |label: &str, text: String| {
            if !text.is_empty() {
                out += &format!("\n  {label:<14}{text}");
            }
        };
        line("submitted by", self.submitter.clone());
        line("reason", self.reason.clone());
        if self.state == JobState::Training {
            line("step", format!("{}, attempt {}", self.step, self.attempt));
            line("waiting for", self.waiting_for.join(", "));
            line("not connected", self.missing.join(", "));
            for (agency, why) in &self.sits_out {
                line("sits out", format!("{agency}: {why}"));
            }
        }
        line("survivors", self.survivors_last.join(", "));
        out
    }
}
