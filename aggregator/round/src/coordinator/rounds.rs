//! Secure rounds: choosing the cohort, carrying out the protocol's outputs, certifying the result.

use std::collections::BTreeMap;

use bytes::Bytes;
use tributary_secagg::{
    Abort, Digest, Fault, Lanes, Limits, NodeIndex, NodeMessage, NodeSet, Party, ResultQc,
    RoundView, ServerOutput, ServerPhase, ServerRound,
};

use super::{Attempt, Coordinator, Stage, Turns};
use crate::event::{Certified, Effect, Now, Step};
use crate::record::{AbortEntry, KIND_ABORT, KIND_ROUND, RoundEntry};

impl Coordinator {
    /// Starts the next attempt with everybody who can take part, or waits for more.
    pub(super) fn begin_attempt(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let round = self.state.completed;
        let Some(operation) = self.plan.next(&self.state).cloned() else {
            return self.end(now, true, self.why_over(), effects);
        };
        if self.draining {
            self.stage = Stage::Waiting { deadline: u64::MAX, not_before: u64::MAX };
            return;
        }
        if self.next_attempt >= self.plan.max_attempts {
            let mut text = format!("round {round} failed {} times", self.next_attempt);
            if let Some(last) = &self.last_failure {
                text = format!("{text}, at last: {last}");
            }
            return self.end(now, false, text, effects);
        }
        let statistics = u32::from(self.plan.statistics.is_some());
        let most = self.plan.attempts + statistics + self.plan.schedule.evaluations;
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
        let Some(facts) = self.facts.clone() else { return };
        let attempt = self.next_attempt;
        let view = RoundView {
            round,
            attempt,
            operation: operation.operation.code(),
            vector_len: operation.vector_len,
            lane_bits: operation.lanes(),
            state_hash: self.state.hash(&self.plan.job),
            params_hash,
            previous: self.certificate.as_ref().map_or(Digest::ZERO, ResultQc::digest),
        };
        let opened = ServerRound::open(&self.seat, &facts, view, cohort.clone());
        let (machine, outputs) = match opened {
            Ok(opened) => opened,
            Err(fault) => return self.end(now, false, fault.to_string(), effects),
        };
        self.next_attempt += 1;
        self.spent += 1;
        for member in &mut self.members {
            member.benched = member.benched.saturating_sub(1);
        }
        let roster = self.plan.roster.size();
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
            gone: NodeSet::new(roster),
            left: NodeSet::new(roster),
            late: NodeSet::new(roster),
            turns: Turns::new(roster, self.capacity.uploads.get()),
            paused: BTreeMap::new(),
            opened: None,
        }));
        effects.push(self.persist(Step::default()));
        self.bring_up_to_date(&cohort, effects);
        self.round_outputs(now, outputs, effects);
    }

    /// Why no round follows.
    fn why_over(&self) -> String {
        if !self.plan.stops(&self.state) {
            return "all rounds are certified".into();
        }
        let (rules, evaluations) = (self.plan.rules, self.state.evaluations.as_ref());
        let stale = rules.zip(evaluations).map_or(0, |(rules, e)| rules.judge(&e.sums).stale);
        let metric = rules.map_or("the metric", |rules| rules.metric.name());
        let choice = self.plan.choice(&self.state);
        format!(
            "stopped early after {} of {} rounds: {metric} has not improved in {stale} evaluations; the \
             released model is that of {} training rounds",
            self.state.completed, self.plan.rounds, choice.trained
        )
    }

    pub(super) fn round_frame(
        &mut self,
        now: Now,
        node: NodeIndex,
        frame: &[u8],
        effects: &mut Vec<Effect>,
    ) {
        let out = self.member(node).is_none_or(|m| m.excluded.is_some());
        let Stage::Running(attempt) = &mut self.stage else { return };
        if out {
            return;
        }
        let takes_part = attempt.cohort.contains(node) && !attempt.gone.contains(node);
        if takes_part {
            attempt.bytes_up += frame.len() as u64;
        }
        // Late is what can be read; what cannot be read is wrong whoever sends it.
        let limits = Limits::for_members(self.plan.roster.thresholds.n);
        let message = match NodeMessage::decode(frame, &limits) {
            Ok(message) => message,
            Err(error) => {
                let what = format!("sent a frame that cannot be read: {error}");
                let fault = Fault::PeerMisbehaved { who: Party::Node(node), what };
                return self.fault(now, node, &fault, effects);
            }
        };
        // Nobody acts on what a node says that has no part in the attempt.
        if !takes_part {
            return;
        }
        // A frame of an attempt that is over is late, not wrong.
        if message.context() != attempt.round.ctx() {
            return;
        }
        // Whoever uploads is alive: slow links are not cut off by a fixed limit, only by a far one.
        // What has come before moves nothing and buys no time.
        let due = attempt.round.upload_progress(node);
        let handled = attempt.round.handle(node, message);
        if due.is_some() && attempt.round.upload_progress(node) != due {
            attempt.chunk_taken(now, node, self.timeouts);
        }
        match handled {
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
                ServerOutput::Send(..) | ServerOutput::SendAll(..) => self.send(output, effects),
                ServerOutput::Opened { sum, .. } => self.opened(now, sum, effects),
                ServerOutput::Certified(_) => {}
                ServerOutput::Aborted(abort) => aborted = Some(abort),
                ServerOutput::Evicted { node, why, evidence } => {
                    self.evicted(now, node, &why, evidence.as_ref(), effects);
                }
            }
        }
        if let Some(abort) = aborted {
            self.aborted(now, &abort, effects);
        } else if certified {
            self.begin_attempt(now, effects);
        }
    }

    /// Sends to those who are connected; what several nodes get is encoded once.
    pub(super) fn send(&self, output: ServerOutput, effects: &mut Vec<Effect>) {
        let (nodes, message) = match output {
            ServerOutput::Send(node, message) => {
                (NodeSet::of(self.plan.roster.size(), [node]), message)
            }
            ServerOutput::SendAll(nodes, message) => (nodes, message),
            _ => return,
        };
        let frame = Bytes::from(message.encode());
        let left = match &self.stage {
            Stage::Keying { left, .. } => left.clone(),
            _ => NodeSet::new(self.plan.roster.size()),
        };
        let nodes = nodes.difference(&left);
        let connected = |n: &NodeIndex| self.member(*n).is_some_and(|m| m.connected);
        effects.extend(nodes.iter().filter(connected).map(|n| Effect::Secagg(n, frame.clone())));
    }

    /// The sum is open: compute the state that every survivor must arrive at.
    fn opened(&mut self, now: Now, sum: Lanes, effects: &mut Vec<Effect>) {
        let Some(operation) = self.plan.operation(self.state.completed) else { return };
        let Stage::Running(attempt) = &self.stage else { return };
        let Some(survivors) = attempt.round.survivors().map(NodeSet::len) else { return };
        let signed = operation.from_lanes(&sum);
        match self.plan.apply(&self.manifest, &self.state, &signed, survivors) {
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
        let Some(operation) = self.plan.operation(round) else { return };
        let sum = operation.pack(&sum);
        let operation = operation.operation;
        let certificate = qc.encode();
        let dropped = attempt.cohort.iter().filter(|n| !survivors.contains(*n));
        let entry = RoundEntry {
            round,
            attempt: attempt.attempt,
            operation: format!("{operation:?}").to_lowercase(),
            cohort: self.names(&attempt.cohort),
            survivors: self.names(&survivors),
            dropped: dropped.map(|n| self.name(n)).collect(),
            ctx: qc.context.to_string(),
            sum_root: qc.sum_root.to_string(),
            state_hash: qc.state_hash.to_string(),
            certificate: hex::encode(&certificate),
            bytes_up: attempt.bytes_up,
            millis: now.millis.saturating_sub(attempt.started),
            late: self.names(&attempt.late),
            gone: self.names(&attempt.left),
        };
        self.bench(&attempt.late.union(&attempt.left));
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
            certified: Some(Certified { round, sum, state: self.state.encode(), certificate }),
            ..Step::default()
        };
        self.record(&mut step, now, KIND_ROUND, serde_json::to_value(&entry).unwrap_or_default());
        self.checkpoint = Some(self.chain.head().clone());
        effects.push(self.persist(step));
    }

    fn aborted(&mut self, now: Now, abort: &Abort, effects: &mut Vec<Effect>) {
        let Some(attempt) = self.take_attempt() else { return };
        // Nobody has charged for what was never granted.
        if !attempt.granted {
            self.spent = self.spent.saturating_sub(1);
        }
        self.bench(&attempt.late.union(&attempt.left));
        let entry = AbortEntry {
            round: self.state.completed,
            attempt: attempt.attempt,
            cohort: self.names(&attempt.cohort),
            late: self.names(&attempt.late),
            gone: self.names(&attempt.left),
            reason: abort.to_string(),
        };
        self.last_failure = Some(entry.reason.clone());
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
        // One copy of the state for all of them.
        let mut encoded: Option<Bytes> = None;
        for node in cohort.iter() {
            let Some(member) = self.members.get_mut(usize::from(node.0)) else { continue };
            if member.resume.completed == Some(completed) {
                continue;
            }
            member.resume.completed = Some(completed);
            let state = encoded.get_or_insert_with(|| self.state.encode().into()).clone();
            let certificate = certificate.clone();
            effects.push(Effect::State { node, completed, state, certificate });
        }
    }

    fn wait(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let u_min = usize::from(self.plan.roster.thresholds.u_min);
        let can_return = |n: &NodeIndex| self.member(*n).is_some_and(|m| m.excluded.is_none());
        if self.epoch_members().iter().filter(can_return).count() < u_min {
            let text = format!("fewer than {u_min} agencies are left that could take part");
            return self.end(now, false, text, effects);
        }
        // Whoever waits for a person or for the hour gets as long as people get for an offer.
        let people = self.members.iter().any(|m| m.not_yet.is_some());
        let longest = self.timeouts.rejoin.max(if people { self.timeouts.gather } else { 0 });
        let deadline = match self.stage {
            Stage::Waiting { deadline, .. } if deadline != u64::MAX && !people => deadline,
            Stage::Waiting { deadline, .. } if deadline > now.millis + self.timeouts.rejoin => {
                deadline
            }
            _ => now.millis + longest,
        };
        self.stage = Stage::Waiting { deadline, not_before: now.millis + self.timeouts.step };
        let missing = self.members_where(|m| !m.connected).join(", ");
        effects.push(Effect::Note(format!(
            "round {}: needs {} agencies; waiting for {missing}",
            self.state.completed, self.plan.roster.thresholds.u_min
        )));
        effects.push(self.persist(Step::default()));
    }
}
