//! Secure rounds: choosing the cohort, carrying out the protocol's outputs, certifying the result.

use tributary_secagg::{
    Abort, Digest, Fault, Limits, NodeIndex, NodeMessage, NodeSet, Party, ResultQc, RoundView,
    ServerMessage, ServerOutput, ServerPhase, ServerRound,
};

use super::{Attempt, Coordinator, Stage};
use crate::event::{Certified, Effect, Now, Step};
use crate::record::{AbortEntry, KIND_ABORT, KIND_ROUND, RoundEntry};

/// An upload that goes on may take this many times the time for training.
const PATIENCE: u64 = 20;

/// A node evicted this often is out of the job.
const EVICTIONS: u8 = 3;

impl Coordinator {
    /// Starts the next attempt with everybody who can take part, or waits for more.
    pub(super) fn begin_attempt(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let round = self.state.completed;
        let Some(operation) = self.plan.operation(round).cloned() else {
            return self.end(now, true, "all rounds are certified".into(), effects);
        };
        if self.next_attempt >= self.plan.max_attempts {
            let text = format!("round {round} failed {} times", self.next_attempt);
            return self.end(now, false, text, effects);
        }
        let most = self.plan.attempts + u32::from(self.plan.statistics.is_some());
        if self.spent >= most {
            let text = format!("all {most} attempts of the plan are spent");
            return self.end(now, false, text, effects);
        }
        let cohort = self.cohort();
        if cohort.len() < usize::from(self.plan.roster.thresholds.u_min) {
            return self.wait(now, effects);
        }
        let params_hash = match self.plan.params_hash(&operation) {
            Ok(hash) => hash,
            Err(error) => return self.end(now, false, error.to_string(), effects),
        };
        let Some(transcript) = self.transcript else { return };
        let attempt = self.next_attempt;
        let view = RoundView {
            round,
            attempt,
            operation: operation.operation.code(),
            vector_len: operation.vector_len,
            state_hash: self.state.hash(&self.plan.job),
            params_hash,
            previous: self.certificate.as_ref().map_or(Digest::ZERO, ResultQc::digest),
        };
        let opened = ServerRound::open(
            self.plan.roster.clone(),
            self.identity.clone(),
            self.epoch,
            transcript,
            view,
            cohort.clone(),
        );
        let (machine, outputs) = match opened {
            Ok(opened) => opened,
            Err(fault) => return self.end(now, false, fault.to_string(), effects),
        };
        self.next_attempt += 1;
        self.spent += 1;
        self.stage = Stage::Running(Box::new(Attempt {
            round: machine,
            attempt,
            cohort: cohort.clone(),
            started: now.millis,
            phase: ServerPhase::Committing,
            phase_started: now.millis,
            deadline: now.millis + self.timeouts.train,
            bytes_up: 0,
            granted: false,
            gone: NodeSet::new(self.plan.roster.thresholds.n),
            late: NodeSet::new(self.plan.roster.thresholds.n),
            opened: None,
        }));
        effects.push(self.persist(Step::default()));
        self.bring_up_to_date(&cohort, effects);
        self.round_outputs(now, outputs, effects);
    }

    pub(super) fn round_frame(
        &mut self,
        now: Now,
        node: NodeIndex,
        frame: &[u8],
        effects: &mut Vec<Effect>,
    ) {
        let Stage::Running(attempt) = &mut self.stage else { return };
        attempt.bytes_up += frame.len() as u64;
        let limits = Limits::for_members(self.plan.roster.thresholds.n);
        let message = match NodeMessage::decode(frame, &limits) {
            Ok(message) => message,
            Err(error) => {
                let what = format!("sent a frame that cannot be read: {error}");
                let fault = Fault::PeerMisbehaved { who: Party::Node(node), what };
                return self.fault(now, node, &fault, effects);
            }
        };
        // A frame of an attempt that is over is late, not wrong.
        if message.context() != attempt.round.ctx() {
            return;
        }
        // Whoever uploads is alive: slow links are not cut off by a fixed limit, only by a far one.
        if matches!(message, NodeMessage::MaskedChunk(_))
            && attempt.phase == ServerPhase::Uploading
            && attempt.round.waiting_for().contains(node)
        {
            let far = attempt.phase_started + PATIENCE * self.timeouts.train;
            attempt.deadline = far.min(now.millis + self.timeouts.train);
        }
        match attempt.round.handle(node, message) {
            Ok(outputs) => self.round_outputs(now, outputs, effects),
            Err(Fault::Stale { .. }) => {}
            Err(fault) => self.fault(now, node, &fault, effects),
        }
    }

    pub(super) fn round_outputs(
        &mut self,
        now: Now,
        outputs: Vec<ServerOutput>,
        effects: &mut Vec<Effect>,
    ) {
        self.renew_deadline(now);
        let certified = outputs.iter().any(|o| matches!(o, ServerOutput::Certified(_)));
        // The certified state is durable here before a node hears of the certificate; and a node
        // hears the end of an attempt before the beginning of the next.
        for output in &outputs {
            if let ServerOutput::Certified(qc) = output {
                self.certified(now, qc.clone(), effects);
            }
        }
        let mut aborted = None;
        for output in outputs {
            match output {
                ServerOutput::Send(node, message) => self.send(node, &message, effects),
                ServerOutput::Opened { sum, .. } => self.opened(now, sum, effects),
                ServerOutput::Certified(_) => {}
                ServerOutput::Aborted(abort) => aborted = Some(abort),
                ServerOutput::Evicted { node, why } => self.evicted(now, node, why, effects),
            }
        }
        if let Some(abort) = aborted {
            self.aborted(now, &abort, effects);
        } else if certified {
            self.begin_attempt(now, effects);
        }
    }

    /// A node that the protocol caught sits out the next attempt, and the job after three times:
    /// two that contradict each other look alike from here, so one time proves little.
    fn evicted(&mut self, now: Now, node: NodeIndex, why: String, effects: &mut Vec<Effect>) {
        self.blame(now, node, "evicted", &why, effects);
        if let Some(member) = self.members.get_mut(usize::from(node.0)) {
            member.benched = 1;
            member.evictions += 1;
            if member.evictions >= EVICTIONS {
                member.excluded = Some(why);
            }
        }
    }

    fn send(&self, node: NodeIndex, message: &ServerMessage, effects: &mut Vec<Effect>) {
        if self.members.get(usize::from(node.0)).is_some_and(|m| m.connected) {
            effects.push(Effect::Secagg(node, message.encode()));
        }
    }

    /// A new step of the protocol gets its own time.
    fn renew_deadline(&mut self, now: Now) {
        let timeouts = self.timeouts;
        if let Stage::Running(attempt) = &mut self.stage {
            let phase = attempt.round.phase();
            if phase == attempt.phase {
                return;
            }
            // Where a node may still be training, or has the sum to fetch, it gets the long time.
            let time = match phase {
                ServerPhase::Acknowledging | ServerPhase::Unmasking => timeouts.step,
                _ => timeouts.train,
            };
            attempt.granted |= phase >= ServerPhase::Uploading && phase != ServerPhase::Aborted;
            attempt.phase = phase;
            attempt.phase_started = now.millis;
            attempt.deadline = now.millis + time;
        }
    }

    /// The sum is open: compute the state that every survivor must arrive at.
    fn opened(&mut self, now: Now, sum: Vec<u32>, effects: &mut Vec<Effect>) {
        let signed = tributary_dp::from_lanes(&sum);
        match self.plan.apply(&self.manifest, &self.state, &signed) {
            Ok(next) => {
                let Stage::Running(attempt) = &mut self.stage else { return };
                let hash = next.hash(&self.plan.job);
                attempt.opened = Some((sum, next));
                let outputs = attempt.round.provide_state(hash);
                self.round_outputs(now, outputs, effects);
            }
            Err(error) => self.end(now, false, error.to_string(), effects),
        }
    }

    fn certified(&mut self, now: Now, qc: ResultQc, effects: &mut Vec<Effect>) {
        let Some(attempt) = self.take_attempt() else { return };
        let survivors = attempt.round.survivors().cloned();
        let (Some((sum, next)), Some(survivors)) = (attempt.opened, survivors) else { return };
        let round = self.state.completed;
        let operation = self.plan.operation(round).map(|o| o.operation);
        let certificate = qc.encode();
        let dropped = attempt.cohort.iter().filter(|n| !survivors.contains(*n));
        let entry = RoundEntry {
            round,
            attempt: attempt.attempt,
            operation: operation.map(|o| format!("{o:?}").to_lowercase()).unwrap_or_default(),
            cohort: self.names(&attempt.cohort),
            survivors: self.names(&survivors),
            dropped: dropped.map(|n| self.name(n)).collect(),
            ctx: qc.context.to_string(),
            sum_root: qc.sum_root.to_string(),
            state_hash: qc.state_hash.to_string(),
            certificate: hex::encode(&certificate),
            bytes_up: attempt.bytes_up,
            millis: now.millis.saturating_sub(attempt.started),
        };
        self.state = next;
        self.certificate = Some(qc);
        self.next_attempt = 0;
        self.survivors_last = entry.survivors.clone();
        for node in survivors.iter().filter(|n| !attempt.gone.contains(*n)) {
            if let Some(member) = self.members.get_mut(usize::from(node.0)) {
                member.resume.completed = Some(self.state.completed);
            }
        }
        let mut step = Step {
            certified: Some(Certified {
                round,
                sum: sum.iter().flat_map(|v| v.to_le_bytes()).collect(),
                state: self.state.encode(),
                certificate,
            }),
            ..Step::default()
        };
        self.record(&mut step, now, KIND_ROUND, serde_json::to_value(&entry).unwrap_or_default());
        effects.push(self.persist(step));
    }

    fn aborted(&mut self, now: Now, abort: &Abort, effects: &mut Vec<Effect>) {
        let Some(attempt) = self.take_attempt() else { return };
        // Nobody has charged for what was never granted.
        if !attempt.granted {
            self.spent = self.spent.saturating_sub(1);
        }
        for node in attempt.late.iter() {
            if let Some(member) = self.members.get_mut(usize::from(node.0)) {
                member.benched = 1;
            }
        }
        let entry = AbortEntry {
            round: self.state.completed,
            attempt: attempt.attempt,
            cohort: self.names(&attempt.cohort),
            late: self.names(&attempt.late),
            reason: abort.to_string(),
        };
        effects.push(Effect::Note(format!(
            "round {}, attempt {}: {}",
            entry.round, entry.attempt, entry.reason
        )));
        let mut step = Step::default();
        self.record(&mut step, now, KIND_ABORT, serde_json::to_value(&entry).unwrap_or_default());
        // A cut that broke one attempt may break the next one too: give it a moment.
        let pause = (self.timeouts.step / 10) << attempt.attempt.min(4);
        let (deadline, not_before) = (now.millis + self.timeouts.rejoin, now.millis + pause);
        self.stage = Stage::Waiting { deadline, not_before };
        effects.push(self.persist(step));
    }

    fn take_attempt(&mut self) -> Option<Attempt> {
        let waiting = Stage::Waiting { deadline: u64::MAX, not_before: 0 };
        match std::mem::replace(&mut self.stage, waiting) {
            Stage::Running(attempt) => Some(*attempt),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Nodes that missed rounds get the newest certified state before the round starts.
    fn bring_up_to_date(&mut self, cohort: &NodeSet, effects: &mut Vec<Effect>) {
        let completed = self.state.completed;
        let Some(certificate) = self.certificate.as_ref().map(ResultQc::encode) else { return };
        for node in cohort.iter() {
            let Some(member) = self.members.get_mut(usize::from(node.0)) else { continue };
            if member.resume.completed == Some(completed) {
                continue;
            }
            member.resume.completed = Some(completed);
            effects.push(Effect::State {
                node,
                completed,
                state: self.state.encode(),
                certificate: certificate.clone(),
            });
        }
    }

    fn wait(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let u_min = usize::from(self.plan.roster.thresholds.u_min);
        let can_return = |n: &NodeIndex| {
            self.members.get(usize::from(n.0)).is_some_and(|m| m.excluded.is_none())
        };
        if self.epoch_members.iter().filter(can_return).count() < u_min {
            let text = format!("fewer than {u_min} agencies are left that could take part");
            return self.end(now, false, text, effects);
        }
        let deadline = match self.stage {
            Stage::Waiting { deadline, .. } if deadline != u64::MAX => deadline,
            _ => now.millis + self.timeouts.rejoin,
        };
        self.stage = Stage::Waiting { deadline, not_before: now.millis + self.timeouts.step };
        let missing = self.members_where(|m| !m.connected).join(", ");
        effects.push(Effect::Note(format!(
            "round {}: needs {} agencies; waiting for {missing}",
            self.state.completed, self.plan.roster.thresholds.u_min
        )));
        effects.push(self.persist(Step::default()));
    }

    /// Everybody who can take part; those on the bench only if it does not work without them.
    fn cohort(&mut self) -> NodeSet {
        let mut cohort = NodeSet::new(self.plan.roster.thresholds.n);
        let mut benched = Vec::new();
        for (i, member) in self.members.iter().enumerate() {
            let node = NodeIndex(i as u16);
            if member.connected && member.accepted && self.fit(node).is_ok() {
                if member.benched == 0 {
                    cohort.insert(node);
                } else {
                    benched.push(node);
                }
            }
        }
        if cohort.len() < usize::from(self.plan.roster.thresholds.u_min) {
            for node in benched {
                cohort.insert(node);
            }
        }
        for member in &mut self.members {
            member.benched = member.benched.saturating_sub(1);
        }
        cohort
    }
}
