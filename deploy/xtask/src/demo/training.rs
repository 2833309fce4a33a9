//! Watching a job from submission to the last round, and carrying out the planned mishap.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use super::Scene;
use super::aggregator::{JobStatus, State};
use super::chaos::{Action, Chaos};
use super::federation::Federation;
use crate::support::{interrupt, ui};

/// How often the aggregator is asked.
const POLL: Duration = Duration::from_millis(150);

/// Without a finished round for this long, something is stuck.
const STALL: Duration = Duration::from_secs(180);

/// The mishap as it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mishap {
    /// Whose node was killed.
    pub agency: String,
    /// Finished rounds when it was killed.
    pub killed_after: u32,
    /// Finished rounds when it was started again.
    pub restarted_after: u32,
}

/// Watches until the job is done; returns the mishap, if one was planned.
pub fn watch(federation: &mut Federation, job: &str, scene: &Scene<'_>) -> Result<Option<Mishap>> {
    let rounds = scene.job.rounds();
    let mut chaos = match scene.args.no_kill {
        true => None,
        false => Chaos::plan(scene.job.agencies(), rounds),
    };
    println!("  job {job}: {rounds} rounds, {} agencies", scene.job.agencies().len());
    let bar = ui::steps_bar("rounds", rounds.into());
    let mut progress = Progress::new(Instant::now());
    let mut mishap: Option<Mishap> = None;
    loop {
        federation.expect_running()?;
        let status = federation.status(job)?;
        show(&bar, &status, scene.job.agencies().len());
        match status.state {
            State::Failed => {
                let reason = if status.reason.is_empty() { "no reason" } else { &status.reason };
                return Err(federation.failure(&format!("says that the job failed: {reason}")));
            }
            State::Done => break,
            State::Waiting | State::Training => {}
        }
        if let Some(plan) = &mut chaos {
            step(plan, status.round, federation, &bar, &mut mishap)?;
        }
        if progress.is_stuck(Instant::now(), status.round) {
            return Err(federation.failure(&format!(
                "has finished no round for {} s after round {} (waiting for: {}; not connected: \
                 {}; {})",
                STALL.as_secs(),
                status.round,
                status.waiting_for.join(" "),
                status.missing.join(" "),
                status.reason
            )));
        }
        interrupt::sleep(POLL)?;
    }
    bar.finish_and_clear();
    println!("  all {rounds} rounds are done");
    if chaos.is_some_and(|plan| !plan.is_complete()) {
        println!(
            "  note: the rounds were over before a node could be killed and brought back; more \
             --rounds show that too"
        );
        if let Some(mishap) = mishap.take() {
            federation.restart(&mishap.agency)?;
        }
    }
    Ok(mishap)
}

fn step(
    plan: &mut Chaos,
    finished: u32,
    federation: &mut Federation,
    bar: &ProgressBar,
    mishap: &mut Option<Mishap>,
) -> Result<()> {
    let agency = plan.victim().to_owned();
    match plan.due(finished) {
        Some(Action::Kill) => {
            federation.kill(&agency)?;
            say(bar, &format!("  after round {finished}: killed the node of {agency} (SIGKILL)"));
            *mishap = Some(Mishap { agency, killed_after: finished, restarted_after: finished });
        }
        Some(Action::Restart) => {
            federation.restart(&agency)?;
            say(bar, &format!("  after round {finished}: started the node of {agency} again"));
            let mishap = mishap.as_mut().context("a restart without a kill")?;
            mishap.restarted_after = finished;
        }
        None => {}
    }
    Ok(())
}

fn show(bar: &ProgressBar, status: &JobStatus, agencies: usize) {
    if status.rounds > 0 {
        bar.set_length(status.rounds.into());
    }
    bar.set_position(status.round.into());
    let mut message = match status.state {
        State::Waiting => format!("waiting for the agencies {}", status.reason),
        _ => format!("{} of {agencies} agencies in the last sum", status.survivors_last.len()),
    };
    if status.attempt > 0 {
        message.push_str(&format!(", attempt {}", status.attempt + 1));
    }
    bar.set_message(message);
}

/// Prints a line above the bar, or plainly where no bar is drawn.
fn say(bar: &ProgressBar, line: &str) {
    if bar.is_hidden() { println!("{line}") } else { bar.println(line) }
}

/// Notices that no round has finished for too long.
struct Progress {
    round: u32,
    since: Instant,
}

impl Progress {
    fn new(now: Instant) -> Self {
        Self { round: 0, since: now }
    }

    fn is_stuck(&mut self, now: Instant, round: u32) -> bool {
        if round != self.round {
            *self = Self { round, since: now };
        }
        now.duration_since(self.since) >= STALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_never_ends_is_noticed() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        assert!(!progress.is_stuck(start + STALL / 2, 0));
        assert!(!progress.is_stuck(start + STALL, 1));
        assert!(!progress.is_stuck(start + STALL * 3 / 2, 1));
        assert!(progress.is_stuck(start + STALL * 2, 1));
    }
}
