//! Carrying out what the coordinator wants, in order: durable first, then sent.

use std::time::{Duration, Instant};

use tributary_round::record::KIND_ABORT;
use tributary_round::{Effect, Step};
use tributary_secagg::NodeIndex;
use tributary_store::{CertifiedState, Commit, JobState, Store};
use tributary_wire::session::{SessionRefusalCode, ToNode};

use super::Hub;
use crate::audit::{Act, Actor, SERVICE};
use crate::bridge::frame_bytes;

/// How old the progress that `status` shows may be while a round runs.
const PROGRESS_AGE: Duration = Duration::from_secs(1);

impl<S: Store> Hub<S> {
    pub(super) async fn carry_out(&mut self, effects: Vec<Effect>) -> anyhow::Result<()> {
        for effect in effects {
            let Some(job) = &self.job else { return Ok(()) };
            if let Some((node, frames)) = job.bridge.frames(&effect) {
                self.send(node, frames);
                continue;
            }
            match effect {
                Effect::Persist(step) => self.persist(*step).await?,
                Effect::Disconnect(node, reason) => {
                    if let Some(agency) = self.agency(node) {
                        tracing::warn!(%agency, %reason, "session closed");
                        if let Some(session) = self.sessions.remove(&agency) {
                            session.refuse(SessionRefusalCode::BadFrame, &reason);
                            self.metrics.session_closed(&agency);
                        }
                    }
                }
                Effect::Finished { complete, reason } => {
                    let state = job_state(complete);
                    tracing::info!(job = %job.id, %state, %reason, "job is over");
                    self.metrics.job_over(complete);
                    self.job = None;
                    self.broken.clear();
                }
                Effect::Note(text) => tracing::warn!("{text}"),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a step durable; then every agency that is there gets the new head of the record, if the
    /// step is one that nobody may take back.
    async fn persist(&mut self, step: Step) -> anyhow::Result<()> {
        let Some(job) = &mut self.job else { return Ok(()) };
        let checkpoint = step.checkpoint.as_ref().and_then(|head| job.bridge.checkpoint(head));
        let aborted = step.entries.iter().any(|entry| entry.kind == KIND_ABORT);
        let certified = step.certified.is_some();
        if step.progress.is_some() {
            job.progress_at = Instant::now();
        }
        let ended = step.finished.clone().map(|(complete, reason)| Act::JobEnded {
            job: job.id.clone(),
            complete,
            reason,
        });
        self.store.commit(&job.id, &commit_of(step)?).await?;
        if let Some(event) = ended {
            Actor::new(self.identity.clone(), SERVICE).note(&self.store, event).await?;
        }
        if certified {
            self.metrics.round_certified(job.since_round.elapsed());
            job.since_round = Instant::now();
        }
        if aborted {
            self.metrics.attempt_failed();
        }
        if let Some(frame) = checkpoint {
            for node in 0..job.coordinator.manifest().roster.len() as u16 {
                self.send(NodeIndex(node), vec![frame.clone()]);
            }
        }
        Ok(())
    }

    /// What `status` shows follows the phases of a round; not being written at once costs nothing.
    pub(super) async fn show_progress(&mut self) -> anyhow::Result<()> {
        let Some(job) = &mut self.job else { return Ok(()) };
        if job.progress_at.elapsed() < PROGRESS_AGE {
            return Ok(());
        }
        job.progress_at = Instant::now();
        let text = serde_json::to_string(&job.coordinator.progress())?;
        if job.progress_said == text {
            return Ok(());
        }
        job.progress_said.clone_from(&text);
        let commit = Commit { progress: Some(text), ..Commit::default() };
        self.store.commit(&job.id, &commit).await?;
        Ok(())
    }

    /// Tells the metrics where the job stands.
    pub(super) fn watch(&mut self) {
        let Some(job) = &mut self.job else { return self.metrics.no_job() };
        let stage = job.coordinator.stage();
        if stage != job.stage {
            self.metrics.phase_over(job.stage, job.since_stage.elapsed());
            (job.stage, job.since_stage) = (stage, Instant::now());
        }
        let (round, rounds) = (job.coordinator.state().completed, job.coordinator.plan().rounds);
        self.metrics.job(&job.id, round, rounds);
    }

    pub(super) fn send(&mut self, node: NodeIndex, frames: Vec<ToNode>) {
        let Some(agency) = self.agency(node) else { return };
        let Some(session) = self.sessions.get(&agency) else { return };
        for frame in frames {
            self.metrics.sent(frame_bytes(&frame));
            if session.frames.try_send(frame).is_err() {
                // Gone, or too slow to be waited for: its session task ends when the queue goes.
                tracing::warn!(%agency, "the agency does not take its frames; session closed");
                self.sessions.remove(&agency);
                self.metrics.session_closed(&agency);
                self.broken.push(agency);
                return;
            }
        }
    }

    fn agency(&self, node: NodeIndex) -> Option<String> {
        let roster = &self.job.as_ref()?.coordinator.manifest().roster;
        Some(roster.get(usize::from(node.0))?.agency.clone())
    }
}

fn job_state(complete: bool) -> JobState {
    if complete { JobState::Done } else { JobState::Failed }
}

/// A coordinator's step as the store takes it.
pub fn commit_of(step: Step) -> anyhow::Result<Commit> {
    let record = step
        .entries
        .iter()
        .map(|e| Ok((e.sequence, e.to_line()?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let progress = step.progress.as_ref().map(serde_json::to_string).transpose()?;
    let (sum, certified) = match step.certified {
        Some(c) => {
            let sum = (c.round, c.sum);
            (
                Some(sum),
                Some(CertifiedState { round: c.round, bytes: c.state, certificate: c.certificate }),
            )
        }
        None => (None, None),
    };
    let state = step.finished.map(|(complete, reason)| (job_state(complete), reason));
    Ok(Commit {
        state,
        progress,
        snapshot: step.snapshot,
        record,
        sum,
        certified,
        ..Commit::default()
    })
}
