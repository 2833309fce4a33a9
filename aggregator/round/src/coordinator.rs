//! The stage machine of one job: offer, key agreement, rounds, end.
//!
//! Must not know: transport, storage, clocks. It knows each agency by its index in the roster and
//! only ever holds sums, never a single agency's vector in the clear.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_job::{Manifest, ModelState, Plan, PlanError};
use tributary_ledger::{Chain, Head};
use tributary_secagg::{
    Digest, EpochFacts, Fault, Identity, Lanes, Limits, NodeIndex, NodeSet, ResultQc, ServerEpoch,
    ServerPhase, ServerRound, ServerSeat,
};

use crate::event::{Capacity, Effect, Event, Now, Step, Timeouts};
use crate::progress::{JobPhase, Progress};
use crate::record::{KIND_END, KIND_MANIFEST};
use crate::snapshot::Snapshot;

mod ahead;
mod keying;
mod members;
mod pauses;
mod rounds;
mod turns;

use members::Member;
use turns::Turns;

/// Coordinates one job.
pub struct Coordinator {
    manifest: Manifest,
    plan: Plan,
    seat: ServerSeat,
    identity: Arc<Identity>,
    timeouts: Timeouts,
    capacity: Capacity,
    state: ModelState,
    certificate: Option<ResultQc>,
    chain: Chain,
    members: Vec<Member>,
    stage: Stage,
    epoch: u32,
    /// What came out of the newest epoch, also who holds its keys; what a node claims can only
    /// take it out.
    facts: Option<EpochFacts>,
    next_attempt: u16,
    /// Why the last attempt of this process failed, to say it when no further one is left.
    last_failure: Option<String>,
    spent: u32,
    survivors_last: Vec<String>,
    /// Head of the record after the newest certified round, or the job's end.
    checkpoint: Option<Head>,
    /// No further attempt begins: the service stops.
    draining: bool,
}

enum Stage {
    /// Every agency must be there and accept by the deadline.
    Offering { deadline: u64 },
    /// Every agency takes part in the key agreement.
    Keying {
        epoch: Box<ServerEpoch>,
        deadline: u64,
        /// Who left meanwhile: it is not in this epoch, also when it is back.
        left: NodeSet,
    },
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
    /// Who left, gave up or was evicted: it hears nothing more of this attempt.
    gone: NodeSet,
    /// Who left or gave up after the grant.
    left: NodeSet,
    /// Who let a deadline pass.
    late: NodeSet,
    /// Whose turn it is to upload, and how it goes on.
    turns: Turns,
    /// Whose session broke in the middle of its upload, and until when it may be back.
    paused: BTreeMap<NodeIndex, u64>,
    /// Sum and next state, once opened.
    opened: Option<(Lanes, ModelState)>,
}

/// Why a coordinator cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The manifest does not work out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The key in use is not the manifest's.
    #[error(transparent)]
    Identity(#[from] Fault),
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
        let mut new = Self {
            seat: ServerSeat::new(plan.roster.clone(), identity.clone())?,
            facts: None,
            members: vec![Member::default(); manifest.roster.len()],
            stage: Stage::Offering { deadline: now.millis + timeouts.gather },
            manifest,
            plan,
            identity,
            timeouts,
            capacity: Capacity::default(),
            state,
            certificate: None,
            chain: Chain::new(),
            epoch: 0,
            next_attempt: 0,
            last_failure: None,
            spent: 0,
            survivors_last: Vec::new(),
            checkpoint: None,
            draining: false,
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
            new.plan.check_evaluations(&new.state).map_err(|e| stored(e.to_string()))?;
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
        if let (Some(transcript), Some(coin)) = (&snapshot.transcript, &snapshot.coin) {
            let damaged = |_| CoordinatorError::Stored("epoch".into());
            let mut members = NodeSet::new(new.plan.roster.size());
            for member in &snapshot.epoch_members {
                members.insert(NodeIndex(*member));
            }
            new.facts = Some(EpochFacts {
                epoch: snapshot.epoch,
                transcript: Digest::from_hex(transcript).map_err(damaged)?,
                coin: Digest::from_hex(coin).map_err(damaged)?,
                members,
            });
            new.stage =
                Stage::Waiting { deadline: now.millis + timeouts.rejoin, not_before: now.millis };
        }
        new.epoch = snapshot.epoch;
        new.next_attempt = snapshot.next_attempt;
        new.spent = snapshot.spent;
        new.chain = Chain::resume(snapshot.head.clone());
        new.checkpoint = snapshot.checkpoint.clone();
        for (node, why) in &snapshot.excluded {
            if let Some(member) = new.member_mut(NodeIndex(*node)) {
                member.excluded = Some(why.clone());
            }
        }
        for (node, strikes) in &snapshot.evictions {
            if let Some(member) = new.member_mut(NodeIndex(*node)) {
                member.strikes = *strikes;
            }
        }
        Ok(new)
    }

    /// How much of the machine the job may use from its next attempt on.
    pub fn set_capacity(&mut self, capacity: Capacity) {
        let seat = self.seat.clone();
        self.capacity = capacity;
        self.seat = seat.with_threads(capacity.threads).with_uploads(capacity.uploads);
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

    /// Head of the record after the newest step that nobody may take back.
    pub fn checkpoint(&self) -> Option<&Head> {
        self.checkpoint.as_ref()
    }

    /// A name for where the job stands, one of a fixed few.
    pub fn stage(&self) -> &'static str {
        match &self.stage {
            Stage::Offering { .. } => "offering",
            Stage::Keying { .. } => "keying",
            Stage::Running(attempt) => match attempt.round.phase() {
                ServerPhase::Committing => "committing",
                ServerPhase::Training => "training",
                ServerPhase::Uploading => "uploading",
                ServerPhase::Acknowledging => "acknowledging",
                ServerPhase::Unmasking => "unmasking",
                ServerPhase::Certifying => "certifying",
                ServerPhase::Certified | ServerPhase::Aborted => "ending",
            },
            Stage::Waiting { .. } => "waiting",
            Stage::Ended { .. } => "ended",
        }
    }

    /// Whether a secure round runs right now.
    pub fn in_attempt(&self) -> bool {
        matches!(self.stage, Stage::Running(_))
    }

    /// Begins no further attempt. The running one may come to its end.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether the job is over.
    pub fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended { .. })
    }

    /// Takes an event and says what is to be done.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Connected(node, resume) => self.connected(now, node, resume, &mut effects),
            Event::Disconnected(node) => self.cut_off(now, node, &mut effects),
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
                let waiting = self.members_where(|m| !m.accepted && m.excluded.is_none());
                (JobPhase::Offering, self.with_waits("agencies look at the offer"), waiting, 0)
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
                let waiting = self.members_where(|m| !m.connected || m.not_yet.is_some());
                (JobPhase::Waiting, self.with_waits("too few agencies are there"), waiting, 0)
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
            sits_out: self.sits_out(),
            survivors_last: self.survivors_last.clone(),
        }
    }

    fn secagg(&mut self, now: Now, node: NodeIndex, frame: &[u8], effects: &mut Vec<Effect>) {
        match &self.stage {
            Stage::Keying { .. } => self.keying_frame(now, node, frame, effects),
            Stage::Running(_) => self.round_frame(now, node, frame, effects),
            // Late frames of an attempt that is over.
            _ => {}
        }
    }

    fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let late = |deadline: u64| now.millis >= deadline;
        match &mut self.stage {
            Stage::Offering { deadline } if late(*deadline) => {
                let absent = |m: &Member| !m.accepted && m.excluded.is_none();
                let missing = self.members_where(absent).join(", ");
                let text = format!("not every agency accepted in time; missing: {missing}");
                let text = self.with_waits(&text);
                self.end(now, false, text, effects);
            }
            Stage::Keying { deadline, .. } if late(*deadline) => {
                *deadline = now.millis + self.timeouts.step;
                self.keying_deadline(now, effects);
            }
            Stage::Running(_) => self.round_tick(now, effects),
            Stage::Waiting { deadline, .. } if late(*deadline) => {
                let missing = self.members_where(|m| !m.connected).join(", ");
                let text = format!("too few agencies came back in time; missing: {missing}");
                let text = self.with_waits(&text);
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
        self.checkpoint = Some(self.chain.head().clone());
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
        if step.certified.is_some() || step.finished.is_some() {
            step.checkpoint.clone_from(&self.checkpoint);
        }
        let members = || (0_u16..).zip(&self.members);
        let excluded = members().filter_map(|(i, m)| Some((i, m.excluded.clone()?)));
        let struck = members().filter(|(_, m)| m.strikes > 0);
        let snapshot = Snapshot {
            epoch: self.epoch,
            transcript: self.facts.as_ref().map(|facts| facts.transcript.to_string()),
            coin: self.facts.as_ref().map(|facts| facts.coin.to_string()),
            epoch_members: self.epoch_members().iter().map(|n| n.0).collect(),
            completed: self.state.completed,
            next_attempt: self.next_attempt,
            spent: self.spent,
            head: self.chain.head().clone(),
            checkpoint: self.checkpoint.clone(),
            excluded: excluded.collect(),
            evictions: struck.map(|(i, m)| (i, m.strikes)).collect(),
        };
        step.snapshot = serde_json::to_vec(&snapshot).ok();
        step.progress = Some(self.progress());
        Effect::Persist(Box::new(step))
    }
}

/// RFC 3339 text of Unix seconds.
pub(crate) fn rfc3339(unix: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(unix)
        .ok()
        .and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| format!("unix:{unix}"))
}
