//! The stage machine of one job: offer, key agreement, rounds, end.
//!
//! Must not know: transport, storage, clocks. It knows each agency by its index in the roster and
//! only ever holds sums, never a single agency's vector in the clear.

use std::sync::Arc;

use tributary_job::{Manifest, ModelState, Plan, PlanError};
use tributary_ledger::Chain;
use tributary_secagg::{
    Digest, Fault, Identity, Limits, NodeIndex, NodeSet, ResultQc, ServerEpoch, ServerPhase,
    ServerRound,
};

use crate::event::{Effect, Event, Now, Resume, Step, Timeouts};
use crate::progress::{JobPhase, Progress};
use crate::record::{AgencyEntry, KIND_AGENCY, KIND_END, KIND_MANIFEST};
use crate::snapshot::Snapshot;

mod keying;
mod rounds;

/// Coordinates one job.
pub struct Coordinator {
    manifest: Manifest,
    plan: Plan,
    identity: Arc<Identity>,
    timeouts: Timeouts,
    state: ModelState,
    certificate: Option<ResultQc>,
    chain: Chain,
    members: Vec<Member>,
    stage: Stage,
    epoch: u32,
    /// Who holds keys of the epoch; what a node claims can only take it out.
    epoch_members: NodeSet,
    transcript: Option<Digest>,
    next_attempt: u16,
    spent: u32,
    survivors_last: Vec<String>,
}

/// What the coordinator knows of one agency.
#[derive(Debug, Clone, Default)]
struct Member {
    connected: bool,
    accepted: bool,
    resume: Resume,
    excluded: Option<String>,
    /// Attempts that it sits out because it held up or broke the last one.
    benched: u8,
    evictions: u8,
}

enum Stage {
    /// Every agency must be there and accept by the deadline.
    Offering { deadline: u64 },
    /// Every agency takes part in the key agreement.
    Keying { epoch: Box<ServerEpoch>, deadline: u64 },
    /// A secure round runs.
    Running(Box<Attempt>),
    /// Too few agencies are there to start one, or a failed attempt is let settle.
    Waiting { deadline: u64, not_before: u64 },
    /// Over.
    Ended { complete: bool, reason: String },
}

struct Attempt {
    round: ServerRound,
    attempt: u16,
    cohort: NodeSet,
    started: u64,
    phase: ServerPhase,
    phase_started: u64,
    deadline: u64,
    bytes_up: u64,
    /// Whether nodes may have charged for it.
    granted: bool,
    /// Who left or gave up: it hears nothing more of this attempt.
    gone: NodeSet,
    /// Who let a deadline pass.
    late: NodeSet,
    /// Sum and next state, once opened.
    opened: Option<(Vec<u32>, ModelState)>,
}

/// Why a coordinator cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The manifest does not work out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What was stored does not belong together.
    #[error("stored state of the job: {0}; restore a backup or submit the job anew")]
    Stored(String),
}

impl Coordinator {
    /// Begins a job. The first effects persist the manifest's entry.
    ///
    /// # Errors
    /// If no plan follows from the manifest.
    pub fn begin(
        manifest: Manifest,
        identity: Arc<Identity>,
        timeouts: Timeouts,
        now: Now,
    ) -> Result<(Self, Vec<Effect>), CoordinatorError> {
        let plan = Plan::derive(&manifest)?;
        let state = plan.initial_state(&manifest);
        let n = plan.roster.thresholds.n;
        let mut new = Self {
            epoch_members: NodeSet::new(n),
            members: vec![Member::default(); manifest.roster.len()],
            stage: Stage::Offering { deadline: now.millis + timeouts.gather },
            manifest,
            plan,
            identity,
            timeouts,
            state,
            certificate: None,
            chain: Chain::new(),
            epoch: 0,
            transcript: None,
            next_attempt: 0,
            spent: 0,
            survivors_last: Vec::new(),
        };
        let body = serde_json::to_value(&new.manifest).unwrap_or_default();
        let mut step = Step::default();
        new.record(&mut step, now, KIND_MANIFEST, body);
        let effects = vec![new.persist(step)];
        Ok((new, effects))
    }

    /// Goes on after a restart from what was persisted.
    ///
    /// # Errors
    /// If the stored parts do not belong together.
    pub fn restore(
        manifest: Manifest,
        identity: Arc<Identity>,
        timeouts: Timeouts,
        now: Now,
        snapshot: &Snapshot,
        certified: Option<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, CoordinatorError> {
        let (mut new, _) = Self::begin(manifest, identity, timeouts, now)?;
        if let Some((state, certificate)) = certified {
            let stored = |e: String| CoordinatorError::Stored(e);
            let layout = &new.plan.layout;
            new.state = ModelState::decode(&state, layout.total(), new.plan.numeric_features)
                .map_err(|e| stored(e.to_string()))?;
            let limits = Limits::for_members(new.plan.roster.thresholds.n);
            let qc = ResultQc::decode(&certificate, &limits).map_err(|e| stored(e.to_string()))?;
            qc.verify(&new.plan.roster).map_err(|e| stored(e.to_string()))?;
            if qc.state_hash != new.state.hash(&new.plan.job) {
                return Err(stored("the certificate is for another state".into()));
            }
            new.certificate = Some(qc);
        }
        if new.state.completed != snapshot.completed {
            return Err(CoordinatorError::Stored("snapshot and state differ in rounds".into()));
        }
        if let Some(text) = &snapshot.transcript {
            let bytes = hex::decode(text).ok().and_then(|b| b.try_into().ok());
            let bytes = bytes.ok_or(CoordinatorError::Stored("epoch transcript".into()))?;
            new.transcript = Some(Digest(bytes));
            new.stage =
                Stage::Waiting { deadline: now.millis + timeouts.rejoin, not_before: now.millis };
            for member in &snapshot.epoch_members {
                if usize::from(*member) < new.members.len() {
                    new.epoch_members.insert(NodeIndex(*member));
                }
            }
        }
        new.epoch = snapshot.epoch;
        new.next_attempt = snapshot.next_attempt;
        new.spent = snapshot.spent;
        new.chain = Chain::resume(snapshot.head.clone());
        Ok(new)
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The newest certified state.
    pub fn state(&self) -> &ModelState {
        &self.state
    }

    /// Certificate of the newest certified state.
    pub fn certificate(&self) -> Option<&ResultQc> {
        self.certificate.as_ref()
    }

    /// Whether the job is over.
    pub fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended { .. })
    }

    /// Takes an event and says what is to be done.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Connected(node, resume) => self.connected(node, resume, &mut effects),
            Event::Disconnected(node) => self.disconnected(now, node, &mut effects),
            Event::Accepted(node) => self.accepted(now, node, &mut effects),
            Event::Refused(node, reason) => self.refused(now, node, reason, &mut effects),
            Event::Secagg(node, frame) => self.secagg(now, node, &frame, &mut effects),
            Event::Reported { node, round, attempt, text } => {
                self.reported(now, node, (round, attempt), &text, &mut effects);
            }
            Event::Cancelled(reason) => self.end(now, false, reason, &mut effects),
            Event::Tick => self.tick(now, &mut effects),
        }
        effects
    }

    /// Progress as of now.
    pub fn progress(&self) -> Progress {
        let (phase, step, waiting, attempt) = match &self.stage {
            Stage::Offering { .. } => {
                let waiting = self.members_where(|m| !m.accepted);
                (JobPhase::Offering, "agencies look at the offer".to_owned(), waiting, 0)
            }
            Stage::Keying { epoch, .. } => {
                let waiting = self.names(&epoch.waiting_for());
                (JobPhase::Keying, "agreeing on keys".to_owned(), waiting, 0)
            }
            Stage::Running(a) => {
                let waiting = self.names(&a.round.waiting_for());
                (JobPhase::Round, a.round.phase().to_string(), waiting, a.attempt)
            }
            Stage::Waiting { .. } => {
                let waiting = self.members_where(|m| !m.connected);
                (JobPhase::Waiting, "too few agencies are there".to_owned(), waiting, 0)
            }
            Stage::Ended { reason, .. } => (JobPhase::Ended, reason.clone(), Vec::new(), 0),
        };
        Progress {
            phase,
            step,
            round: self.state.completed,
            rounds: self.plan.rounds,
            attempt,
            waiting_for: waiting,
            missing: self.members_where(|m| !m.connected),
            survivors_last: self.survivors_last.clone(),
        }
    }

    fn connected(&mut self, node: NodeIndex, resume: Resume, effects: &mut Vec<Effect>) {
        if let Stage::Ended { complete, reason } = &self.stage {
            let certificate = self.certificate.as_ref().map(ResultQc::encode);
            let (complete, reason) = (*complete, reason.clone());
            effects.push(Effect::End { node, complete, reason, certificate });
            return;
        }
        if let Some(member) = self.members.get_mut(usize::from(node.0)) {
            member.connected = true;
            member.accepted = false;
            member.resume = resume;
            effects.push(Effect::Offer(node));
        }
    }

    fn disconnected(&mut self, now: Now, node: NodeIndex, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(usize::from(node.0)) else { return };
        member.connected = false;
        member.accepted = false;
        match &mut self.stage {
            Stage::Keying { .. } => {
                effects.push(Effect::Note(format!(
                    "{} left while keys were agreed on; a new epoch starts when it is back",
                    self.name(node)
                )));
                self.stage = Stage::Offering { deadline: now.millis + self.timeouts.gather };
            }
            Stage::Running(attempt) => {
                attempt.gone.insert(node);
                let outputs = attempt.round.drop_node(node);
                self.round_outputs(now, outputs, effects);
            }
            _ => {}
        }
    }

    fn accepted(&mut self, now: Now, node: NodeIndex, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(usize::from(node.0)) else { return };
        if !member.connected || member.accepted {
            return;
        }
        member.accepted = true;
        match &self.stage {
            Stage::Offering { .. } => {
                if self.members.iter().all(|m| m.accepted) {
                    self.start_epoch(now, effects);
                }
            }
            Stage::Waiting { not_before, .. }
                if now.millis < *not_before && !self.everybody_is_back() => {}
            Stage::Waiting { .. } => self.begin_attempt(now, effects),
            Stage::Running(_) => {
                let text = match self.fit(node) {
                    Ok(()) => "takes part from the next round on".to_owned(),
                    Err(why) => why,
                };
                effects.push(Effect::Idle(node, text));
            }
            Stage::Keying { .. } | Stage::Ended { .. } => {}
        }
    }

    /// Whether nobody is missing who could still take part: then there is nothing to wait for.
    fn everybody_is_back(&self) -> bool {
        let back = |m: &Member| m.excluded.is_some() || (m.connected && m.accepted);
        self.epoch_members.iter().all(|n| self.members.get(usize::from(n.0)).is_some_and(back))
    }

    fn refused(&mut self, now: Now, node: NodeIndex, reason: String, effects: &mut Vec<Effect>) {
        let name = self.name(node);
        // Still in another job: it is asked again when it is done there and connects anew.
        if reason.starts_with("busy") {
            effects.push(Effect::Note(format!("{name} is busy: {reason}")));
            return self.disconnected(now, node, effects);
        }
        if self.transcript.is_none() {
            let text = format!("{name} refuses the job: {reason}");
            return self.end(now, false, text, effects);
        }
        self.blame(now, node, "refused", &reason, effects);
        if let Some(member) = self.members.get_mut(usize::from(node.0)) {
            member.excluded = Some(format!("it refused the job: {reason}"));
        }
        self.disconnected(now, node, effects);
    }

    fn secagg(&mut self, now: Now, node: NodeIndex, frame: &[u8], effects: &mut Vec<Effect>) {
        match &self.stage {
            Stage::Keying { .. } => self.keying_frame(now, node, frame, effects),
            Stage::Running(_) => self.round_frame(now, node, frame, effects),
            // Late frames of an attempt that is over.
            _ => {}
        }
    }

    /// A node gives the running attempt up. Anything about another attempt is late; a second report
    /// says nothing new and costs nothing.
    fn reported(
        &mut self,
        now: Now,
        node: NodeIndex,
        number: (u32, u16),
        text: &str,
        effects: &mut Vec<Effect>,
    ) {
        let running = (self.state.completed, self.next_attempt.saturating_sub(1));
        let Stage::Running(attempt) = &mut self.stage else { return };
        let first = attempt.cohort.contains(node) && !attempt.gone.contains(node);
        if number != running || !first {
            return;
        }
        attempt.gone.insert(node);
        // Whatever state it is in, it gets the certified one before it is asked again.
        if let Some(member) = self.members.get_mut(usize::from(node.0)) {
            member.resume.completed = None;
        }
        self.blame(now, node, "report", text, effects);
        if let Stage::Running(attempt) = &mut self.stage {
            let outputs = attempt.round.drop_node(node);
            self.round_outputs(now, outputs, effects);
        }
    }

    fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let late = |deadline: u64| now.millis >= deadline;
        match &mut self.stage {
            Stage::Offering { deadline } if late(*deadline) => {
                let missing = self.members_where(|m| !m.accepted).join(", ");
                let text = format!("not every agency accepted in time; missing: {missing}");
                self.end(now, false, text, effects);
            }
            Stage::Keying { deadline, .. } if late(*deadline) => {
                *deadline = now.millis + self.timeouts.step;
                self.keying_deadline(now, effects);
            }
            Stage::Running(attempt) if late(attempt.deadline) => {
                attempt.deadline = now.millis + self.timeouts.step;
                for node in attempt.round.waiting_for().iter() {
                    attempt.late.insert(node);
                }
                let outputs = attempt.round.deadline();
                self.round_outputs(now, outputs, effects);
            }
            Stage::Waiting { deadline, .. } if late(*deadline) => {
                let missing = self.members_where(|m| !m.connected).join(", ");
                let text = format!("too few agencies came back in time; missing: {missing}");
                self.end(now, false, text, effects);
            }
            Stage::Waiting { not_before, .. } if late(*not_before) => {
                self.begin_attempt(now, effects);
            }
            _ => {}
        }
    }

    fn end(&mut self, now: Now, complete: bool, reason: String, effects: &mut Vec<Effect>) {
        if self.is_ended() {
            return;
        }
        self.stage = Stage::Ended { complete, reason: reason.clone() };
        let mut step = Step::default();
        let body = serde_json::json!({"complete": complete, "reason": reason,
            "rounds": self.state.completed, "attempts": self.spent});
        self.record(&mut step, now, KIND_END, body);
        step.finished = Some((complete, reason.clone()));
        effects.push(self.persist(step));
        let certificate = self.certificate.as_ref().map(ResultQc::encode);
        for (i, member) in self.members.iter().enumerate() {
            if member.connected {
                let node = NodeIndex(i as u16);
                let (reason, certificate) = (reason.clone(), certificate.clone());
                effects.push(Effect::End { node, complete, reason, certificate });
            }
        }
        effects.push(Effect::Finished { complete, reason });
    }

    /// Whether an agency can be in a cohort, else why not.
    fn fit(&self, node: NodeIndex) -> Result<(), String> {
        let Some(member) = self.members.get(usize::from(node.0)) else {
            return Err("not in the roster".into());
        };
        match (&member.excluded, member.resume.epoch) {
            (Some(why), _) => Err(format!("sits out for the rest of the job: {why}")),
            (None, Some(epoch)) if epoch == self.epoch && self.epoch_members.contains(node) => {
                Ok(())
            }
            (None, _) => Err(format!(
                "it does not hold the keys of epoch {}; it can join again with the next job",
                self.epoch
            )),
        }
    }

    fn fault(&mut self, now: Now, node: NodeIndex, fault: &Fault, effects: &mut Vec<Effect>) {
        self.blame(now, node, "fault", &fault.to_string(), effects);
        effects.push(Effect::Disconnect(node, fault.to_string()));
        self.disconnected(now, node, effects);
    }

    fn blame(
        &mut self,
        now: Now,
        node: NodeIndex,
        what: &str,
        text: &str,
        effects: &mut Vec<Effect>,
    ) {
        let entry = AgencyEntry {
            round: self.state.completed,
            agency: self.name(node),
            what: what.to_owned(),
            text: text.to_owned(),
        };
        effects.push(Effect::Note(format!("{}: {what}: {text}", entry.agency)));
        let mut step = Step::default();
        let body = serde_json::to_value(&entry).unwrap_or_default();
        self.record(&mut step, now, KIND_AGENCY, body);
        effects.push(self.persist(step));
    }

    /// Appends an entry to the record. Bodies are plain JSON values, which always serialise.
    fn record(&mut self, step: &mut Step, now: Now, kind: &str, body: serde_json::Value) {
        let identity = self.identity.clone();
        let sign = |bytes: &[u8]| identity.sign(bytes);
        if let Ok(entry) = self.chain.append(&rfc3339(now.unix), kind, body, sign) {
            step.entries.push(entry);
        }
    }

    /// Completes a step with snapshot and progress.
    fn persist(&self, mut step: Step) -> Effect {
        let snapshot = Snapshot {
            epoch: self.epoch,
            transcript: self.transcript.map(|t| t.to_string()),
            epoch_members: self.epoch_members.iter().map(|n| n.0).collect(),
            completed: self.state.completed,
            next_attempt: self.next_attempt,
            spent: self.spent,
            head: self.chain.head().clone(),
        };
        step.snapshot = serde_json::to_vec(&snapshot).ok();
        step.progress = Some(self.progress());
        Effect::Persist(Box::new(step))
    }

    fn name(&self, node: NodeIndex) -> String {
        match self.manifest.roster.get(usize::from(node.0)) {
            Some(entry) => entry.agency.clone(),
            None => format!("node {}", node.0),
        }
    }

    fn names(&self, set: &NodeSet) -> Vec<String> {
        set.iter().map(|n| self.name(n)).collect()
    }

    fn members_where(&self, keep: impl Fn(&Member) -> bool) -> Vec<String> {
        let pick = |(i, m)| keep(m).then(|| self.name(NodeIndex(i as u16)));
        self.members.iter().enumerate().filter_map(pick).collect()
    }
}

/// RFC 3339 text of Unix seconds.
pub(crate) fn rfc3339(unix: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(unix)
        .ok()
        .and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| format!("unix:{unix}"))
}
