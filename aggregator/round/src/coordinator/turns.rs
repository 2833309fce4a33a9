//! Deadlines of a running attempt: who holds it up, what buys time, and who may upload beside a
//! stalled upload.
//!
//! Must not know: what is in a frame, and who is in the next cohort.

use std::collections::BTreeMap;

use tributary_secagg::{NodeIndex, NodeSet, ServerPhase};

use super::{Attempt, Coordinator, Stage};
use crate::event::{Effect, Now, Timeouts};

/// The uploads of one batch of turns may take this many times the time for training.
const PATIENCE: u64 = 20;

/// Turns beside the planned ones, per planned one. Every unfinished upload is kept in memory: with
/// this an attempt never keeps more than `1 + EXTRA` times [`crate::Capacity::uploads`] of them,
/// however many nodes stall.
const EXTRA: usize = 2;

/// The upload turns of one attempt.
pub(super) struct Turns {
    /// Nodes that upload at a time unless some stall.
    uploads: usize,
    /// When a node's upload last went on, or its turn began. A node that had its turn stays in here.
    moved: BTreeMap<NodeIndex, u64>,
    /// Who stalled once: another stall of the same node gives no further turn.
    stalled: NodeSet,
    /// Turns beside the planned ones so far.
    extra: usize,
}

impl Turns {
    pub(super) fn new(roster: u16, uploads: usize) -> Self {
        Self { uploads, moved: BTreeMap::new(), stalled: NodeSet::new(roster), extra: 0 }
    }

    /// Notes the nodes with a turn; true if a turn began.
    fn began(&mut self, now: u64, turns: &NodeSet) -> bool {
        let known = self.moved.len();
        for node in turns.iter() {
            self.moved.entry(node).or_insert(now);
        }
        self.moved.len() > known
    }

    /// Marks the nodes whose turn has brought nothing for `patience`; says how many turns more that
    /// gives.
    fn stall(&mut self, now: u64, turns: &NodeSet, patience: u64) -> usize {
        let mut more = 0;
        for node in turns.iter() {
            let moved = self.moved.get(&node).copied().unwrap_or(now);
            if now >= moved.saturating_add(patience)
                && self.stalled.insert(node)
                && self.extra < EXTRA.saturating_mul(self.uploads)
            {
                self.extra += 1;
                more += 1;
            }
        }
        more
    }
}

impl Attempt {
    /// An upload went on: the phase gets the time for training again, up to a far limit that grows
    /// with the number of nodes that have to take turns.
    pub(super) fn upload_moved(&mut self, now: Now, timeouts: Timeouts) {
        let batches = self.cohort.len().div_ceil(self.turns.uploads.max(1)) as u64;
        let most = timeouts.train.saturating_mul(PATIENCE).saturating_mul(batches);
        let far = self.phase_started.saturating_add(most);
        self.deadline = far.min(now.millis.saturating_add(timeouts.train));
    }

    /// Notes that a node's upload went on.
    pub(super) fn chunk_taken(&mut self, now: Now, node: NodeIndex, timeouts: Timeouts) {
        self.turns.moved.insert(node, now.millis);
        self.upload_moved(now, timeouts);
    }

    /// A new step of the protocol gets its own time; so does a turn that begins.
    fn renew(&mut self, now: Now, timeouts: Timeouts, quorum: u16) {
        let phase = self.round.phase();
        if phase != self.phase {
            // Where a node may still be training, or has the sum to fetch, it gets the long time.
            let time = match phase {
                ServerPhase::Acknowledging | ServerPhase::Unmasking => timeouts.step,
                _ => timeouts.train,
            };
            self.granted |= phase >= ServerPhase::Uploading && phase != ServerPhase::Aborted;
            self.phase = phase;
            self.phase_started = now.millis;
            self.deadline = now.millis.saturating_add(time);
        }
        match phase {
            ServerPhase::Uploading => {
                let turns = self.round.holding_up();
                if self.turns.began(now.millis, &turns) {
                    self.upload_moved(now, timeouts);
                }
            }
            // The result is certain: the rest gets a moment, and not the time of a whole training.
            ServerPhase::Certifying => {
                let nobody = || NodeSet::new(self.cohort.roster_size());
                let survivors = self.round.survivors().cloned().unwrap_or_else(nobody);
                let left = self.round.waiting_for().union(&self.gone);
                if survivors.difference(&left).len() >= usize::from(quorum) {
                    self.deadline = self.deadline.min(now.millis.saturating_add(timeouts.step));
                }
            }
            _ => {}
        }
    }
}

impl Coordinator {
    /// Looks at the deadline of the running attempt after something happened in it.
    pub(super) fn renew_deadline(&mut self, now: Now) {
        let (timeouts, quorum) = (self.timeouts, self.plan.roster.thresholds.quorum);
        if let Stage::Running(attempt) = &mut self.stage {
            attempt.renew(now, timeouts, quorum);
        }
    }

    /// Time passes for the running attempt: a deadline, or uploads that bring nothing.
    pub(super) fn round_tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.end_pauses(now, effects);
        let step = self.timeouts.step;
        let Stage::Running(attempt) = &mut self.stage else { return };
        let outputs = if now.millis >= attempt.deadline {
            attempt.deadline = now.millis.saturating_add(step);
            // Whoever never had a turn has not let anybody wait.
            attempt.late = attempt.late.union(&attempt.round.holding_up());
            attempt.round.deadline()
        } else if attempt.phase == ServerPhase::Uploading {
            let turns = attempt.round.holding_up();
            let more = attempt.turns.stall(now.millis, &turns, step / 4);
            (0..more).flat_map(|_| attempt.round.widen_uploads()).collect()
        } else {
            return;
        };
        self.round_outputs(now, outputs, effects);
    }
}
