//! A session that breaks in the middle of an upload: what has arrived is kept for a while, and the
//! upload goes on by the chunk that is due when the agency is back.
//!
//! Only uploads are worth it: they are the long part of a round, and their bytes are fixed, charged
//! and the same however often they are sent. Must not know: what a chunk holds.

use tributary_secagg::{NodeIndex, ServerPhase};

use super::{Coordinator, Stage};
use crate::event::{Effect, Now, Resume};

/// An agency may be away for the time of a step divided by this.
const PART: u64 = 3;

impl Coordinator {
    /// A session is gone. In the middle of an upload that is no reason to leave the attempt yet.
    pub(super) fn cut_off(&mut self, now: Now, node: NodeIndex, effects: &mut Vec<Effect>) {
        let until = now.millis + self.timeouts.step / PART;
        if let Stage::Running(attempt) = &mut self.stage
            && attempt.round.phase() == ServerPhase::Uploading
            && attempt.round.waiting_for().contains(node)
            && !attempt.gone.contains(node)
        {
            attempt.paused.entry(node).or_insert(until);
            if let Some(member) = self.member_mut(node) {
                member.connected = false;
                member.accepted = false;
            }
            return;
        }
        self.disconnected(now, node, effects);
    }

    /// An agency is back. If it still has the vector it goes on where it was cut off; if not, it
    /// leaves the attempt.
    pub(super) fn back_in_upload(
        &mut self,
        now: Now,
        node: NodeIndex,
        resume: Resume,
        effects: &mut Vec<Effect>,
    ) {
        let Stage::Running(attempt) = &mut self.stage else { return };
        if attempt.paused.remove(&node).is_none() {
            return;
        }
        if resume.upload != Some(attempt.round.ctx().0) {
            return self.leave_attempt(now, node, effects);
        }
        let chunk = attempt.round.upload_progress(node);
        let outputs = attempt.round.resume_upload(node);
        // Whoever comes back gets the time of a turn that begins.
        attempt.upload_moved(now, self.timeouts);
        let text = match chunk {
            Some(chunk) => {
                format!("{} is back; its upload goes on at chunk {chunk}", self.name(node))
            }
            None => format!("{} is back and waits for its turn to upload", self.name(node)),
        };
        effects.push(Effect::Note(text));
        self.round_outputs(now, outputs, effects);
    }

    /// Whoever is away for too long leaves the attempt.
    pub(super) fn end_pauses(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Stage::Running(attempt) = &mut self.stage else { return };
        let uploading = attempt.round.phase() == ServerPhase::Uploading;
        let over = |until: &u64| !uploading || now.millis >= *until;
        let over: Vec<_> =
            attempt.paused.iter().filter(|(_, until)| over(until)).map(|(node, _)| *node).collect();
        for node in over {
            if let Stage::Running(attempt) = &mut self.stage {
                attempt.paused.remove(&node);
                self.leave_attempt(now, node, effects);
            }
        }
    }
}
