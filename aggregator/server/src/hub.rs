//! The one task that owns the running job: sessions, frames, time and operator requests come in as
//! messages; effects are carried out in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot};
use tributary_job::plan::MAX_PARAMETERS;
use tributary_job::{JobSpec, Manifest};
use tributary_round::{
    Capacity, Coordinator, Effect, Event, Gathering, Now, Snapshot, Step, Timeouts,
};
use tributary_secagg::{CHUNK_LANES, Identity, NodeIndex};
use tributary_store::{CertifiedState, Commit, Job, JobState, Store, StoreError};
use tributary_wire::Text;
use tributary_wire::limits::MAX_STATE_CHUNK_BYTES;
use tributary_wire::session::{
    FromNode, Hello, JobEnd, JobOutcome, Refused, SessionRefusalCode, ToNode,
};

use crate::bridge::Bridge;

/// How often time passes for the coordinator and the queue is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Frames that may wait for a slow node before it is cut off: the state and the sum of the largest
/// model at once. Their bytes are shared by all nodes, so the queue holds no copies.
const QUEUE: usize = 8192;

// A state has two floats of four bytes per parameter and a little more, a sum a lane.
const _: () = assert!(
    QUEUE as u64
        > MAX_PARAMETERS * 8 / MAX_STATE_CHUNK_BYTES as u64
            + MAX_PARAMETERS / CHUNK_LANES as u64
            + 64
);

/// What sessions tell the hub.
#[derive(Debug)]
pub enum FromSession {
    /// A node said hello.
    Opened {
        /// Which session.
        id: u64,
        /// Whose, from its certificate.
        agency: String,
        /// What it said.
        hello: Hello,
        /// Where frames for it go.
        frames: mpsc::Sender<ToNode>,
        /// Dropped to end the session.
        keep: oneshot::Sender<()>,
    },
    /// A frame after the hello.
    Frame {
        /// Which session.
        id: u64,
        /// Whose.
        agency: String,
        /// The frame.
        frame: FromNode,
    },
    /// The session is gone.
    Closed {
        /// Which session.
        id: u64,
        /// Whose.
        agency: String,
    },
}

/// A queue for frames to one node.
pub fn frame_queue() -> (mpsc::Sender<ToNode>, mpsc::Receiver<ToNode>) {
    mpsc::channel(QUEUE)
}

/// Owns sessions and the running job.
pub struct Hub<S> {
    store: S,
    identity: Arc<Identity>,
    timeouts: Timeouts,
    capacity: Capacity,
    started: Instant,
    sessions: HashMap<String, Session>,
    job: Option<Running>,
    gathering: Option<(String, Gathering, String)>,
    /// Agencies whose session broke while frames were sent; told to the coordinator next.
    broken: Vec<String>,
}

struct Session {
    id: u64,
    hello: Hello,
    frames: mpsc::Sender<ToNode>,
    /// While this is held the session's task reads on.
    _keep: oneshot::Sender<()>,
}

struct Running {
    id: String,
    coordinator: Coordinator,
    bridge: Bridge,
}

impl<S: Store> Hub<S> {
    /// A hub without sessions.
    pub fn new(store: S, identity: Arc<Identity>, timeouts: Timeouts, capacity: Capacity) -> Self {
        Self {
            store,
            identity,
            timeouts,
            capacity,
            started: Instant::now(),
            sessions: HashMap::new(),
            job: None,
            gathering: None,
            broken: Vec::new(),
        }
    }

    /// Runs until every sender is gone or `stop` resolves. State is durable at every moment, so
    /// stopping loses nothing but the running attempt.
    ///
    /// # Errors
    /// When state cannot be made durable: nothing may go on then.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<FromSession>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(stop);
        // A job that was running is taken up before any node is heard.
        self.tick().await?;
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                _ = tick.tick() => self.tick().await?,
                event = events.recv() => match event {
                    Some(event) => self.on_session(event).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            millis: self.started.elapsed().as_millis() as u64,
            unix: i64::try_from(unix.as_secs()).unwrap_or(i64::MAX),
        }
    }

    async fn tick(&mut self) -> anyhow::Result<()> {
        if self.job.is_none() {
            self.next_job().await?;
        } else {
            self.check_cancelled().await?;
        }
        self.event(Event::Tick).await
    }

    async fn on_session(&mut self, event: FromSession) -> anyhow::Result<()> {
        match event {
            FromSession::Opened { id, agency, hello, frames, keep } => {
                tracing::info!(%agency, version = %hello.software_version, "agency connected");
                if let Some(old) = self.sessions.remove(&agency) {
                    old.refuse(SessionRefusalCode::Replaced, "a newer session of this agency");
                    self.left(&agency).await?;
                }
                self.release(&hello, &frames);
                let session = Session { id, hello, frames, _keep: keep };
                self.sessions.insert(agency.clone(), session);
                self.arrived(&agency).await
            }
            FromSession::Frame { id, agency, frame } => {
                let current = self.sessions.get(&agency).is_some_and(|s| s.id == id);
                let Some(job) = self.job.as_ref().filter(|_| current) else { return Ok(()) };
                let Some(node) = job.coordinator.manifest().index_of(&agency) else {
                    return Ok(());
                };
                match job.bridge.event(NodeIndex(node), frame) {
                    Some(event) => self.event(event).await,
                    None => Ok(()),
                }
            }
            FromSession::Closed { id, agency } => {
                if self.sessions.get(&agency).is_some_and(|s| s.id == id) {
                    tracing::warn!(%agency, "agency disconnected");
                    self.sessions.remove(&agency);
                    self.left(&agency).await?;
                }
                Ok(())
            }
        }
    }

    /// A node that is still in a job that is over here is let go, or it could never join another.
    fn release(&self, hello: &Hello, frames: &mpsc::Sender<ToNode>) {
        let Some(resume) = &hello.resume else { return };
        if self.job.as_ref().is_some_and(|j| j.bridge.job() == resume.job) {
            return;
        }
        let end = JobEnd {
            job: resume.job,
            outcome: JobOutcome::Stopped,
            text: Text::clipped("this job is over at the aggregator"),
            certificate: None,
        };
        let _ = frames.try_send(ToNode::JobEnd(end));
    }

    async fn arrived(&mut self, agency: &str) -> anyhow::Result<()> {
        let (Some(job), Some(session)) = (&self.job, self.sessions.get(agency)) else {
            // Without a job the next tick gathers.
            return Ok(());
        };
        let Some(node) = job.coordinator.manifest().index_of(agency) else { return Ok(()) };
        let resume = job.bridge.resume(&session.hello);
        self.event(Event::Connected(NodeIndex(node), resume)).await
    }

    async fn left(&mut self, agency: &str) -> anyhow::Result<()> {
        let node = self.job.as_ref().and_then(|j| j.coordinator.manifest().index_of(agency));
        if let Some((_, gathering, _)) = &mut self.gathering {
            gathering.absent(agency);
        }
        match node {
            Some(node) => self.event(Event::Disconnected(NodeIndex(node))).await,
            None => Ok(()),
        }
    }

    /// Takes the oldest job that is not over.
    async fn next_job(&mut self) -> anyhow::Result<()> {
        let open = |j: &Job| matches!(j.state, JobState::Waiting | JobState::Training);
        let jobs = self.store.jobs().await?.into_iter().filter(open);
        // One that has begun goes first: jobs of the same second are in no order.
        let Some(job) = jobs.min_by_key(|j| j.state != JobState::Training) else {
            self.gathering = None;
            return Ok(());
        };
        if job.state == JobState::Training {
            return self.restore(job).await;
        }
        if self.gathering.as_ref().is_none_or(|(id, ..)| *id != job.id) {
            match JobSpec::from_toml(&job.specification) {
                Ok(spec) => {
                    tracing::info!(job = %job.id, "gathering agencies");
                    self.gathering = Some((job.id, Gathering::new(spec), String::new()));
                }
                Err(error) => return self.fail(&job.id, error.to_string()).await,
            }
        }
        self.gather().await
    }

    /// Looks whether everybody is there; says who is not.
    async fn gather(&mut self) -> anyhow::Result<()> {
        let Some((id, gathering, said)) = &mut self.gathering else { return Ok(()) };
        let dataset = gathering.spec().dataset.clone();
        for (agency, session) in &self.sessions {
            let offered = session.hello.datasets.iter().find(|d| d.name.as_str() == dataset);
            gathering.present(agency, offered.map_or(0, |d| d.declared_records));
        }
        let missing = gathering.missing().join(", ");
        if !missing.is_empty() {
            let reason = format!("waiting for agencies with dataset {dataset}: {missing}");
            if *said != reason {
                said.clone_from(&reason);
                let state = Some((JobState::Waiting, reason));
                let commit = Commit { state, ..Commit::default() };
                self.store.commit(id, &commit).await?;
            }
            return Ok(());
        }
        let agencies = self.store.agencies().await?;
        let key_of = |name: &str| {
            let agency = agencies.iter().find(|a| a.name == name && a.revoked_at.is_none())?;
            Some(hex::encode(agency.signing_key))
        };
        let aggregator = self.identity.verifying_key().to_string();
        let Some(manifest) = gathering.manifest(key_of, aggregator, id.clone()) else {
            return Ok(());
        };
        let id = id.clone();
        self.gathering = None;
        self.begin(id, manifest).await
    }

    async fn begin(&mut self, id: String, manifest: Manifest) -> anyhow::Result<()> {
        let begun = manifest.to_canonical().map_err(anyhow::Error::from).and_then(|text| {
            let identity = self.identity.clone();
            let bridge = Bridge::new(&manifest, &identity)?;
            let begun = Coordinator::begin(manifest, identity, self.timeouts, self.now())?;
            Ok((text, bridge, begun))
        });
        let (text, bridge, (mut coordinator, effects)) = match begun {
            Ok(begun) => begun,
            Err(error) => return self.fail(&id, format!("{error:#}")).await,
        };
        coordinator.set_capacity(self.capacity);
        // One commit: a job that trains has its manifest, its first entry and its snapshot.
        let mut effects = effects.into_iter();
        let first = match effects.next() {
            Some(Effect::Persist(step)) => commit_of(*step)?,
            _ => Commit::default(),
        };
        let state = Some((JobState::Training, String::new()));
        let commit = Commit { state, manifest: Some(text), ..first };
        self.store.commit(&id, &commit).await?;
        tracing::info!(job = %id, "job begins");
        self.job = Some(Running { id, coordinator, bridge });
        self.carry_out(effects.collect()).await?;
        self.announce_all().await
    }

    async fn restore(&mut self, job: Job) -> anyhow::Result<()> {
        // A database that cannot be read now is no reason to fail the job.
        let certified = self.store.state(&job.id).await?.map(|s| (s.bytes, s.certificate));
        let restored = || {
            let text = job.manifest.as_deref().ok_or(StoreError::Corrupt("job.manifest"))?;
            let manifest = Manifest::from_canonical(text)?;
            let snapshot = job.snapshot.as_deref().ok_or(StoreError::Corrupt("job.snapshot"))?;
            let snapshot: Snapshot = serde_json::from_slice(snapshot)?;
            let identity = self.identity.clone();
            let bridge = Bridge::new(&manifest, &identity)?;
            let mut coordinator = Coordinator::restore(
                manifest,
                identity,
                self.timeouts,
                self.now(),
                &snapshot,
                certified,
            )?;
            coordinator.set_capacity(self.capacity);
            anyhow::Ok(Running { id: job.id.clone(), coordinator, bridge })
        };
        match restored() {
            Ok(running) => {
                let round = running.coordinator.state().completed;
                tracing::info!(job = %running.id, round, "job goes on after a restart");
                self.job = Some(running);
                self.announce_all().await
            }
            Err(error) => self.fail(&job.id, format!("{error:#}")).await,
        }
    }

    async fn announce_all(&mut self) -> anyhow::Result<()> {
        let mut there: Vec<String> = self.sessions.keys().cloned().collect();
        there.sort();
        for agency in there {
            self.arrived(&agency).await?;
        }
        Ok(())
    }

    async fn check_cancelled(&mut self) -> anyhow::Result<()> {
        let Some(id) = self.job.as_ref().map(|j| j.id.clone()) else { return Ok(()) };
        match self.store.job(&id).await? {
            Some(job) if job.state == JobState::Failed => {
                self.event(Event::Cancelled(job.reason)).await
            }
            _ => Ok(()),
        }
    }

    async fn event(&mut self, event: Event) -> anyhow::Result<()> {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let now = self.now();
            let Some(job) = &mut self.job else { return Ok(()) };
            let effects = blocking(|| job.coordinator.handle(now, event));
            self.carry_out(effects).await?;
            next = self.broken.pop().and_then(|agency| {
                let node = self.job.as_ref()?.coordinator.manifest().index_of(&agency)?;
                Some(Event::Disconnected(NodeIndex(node)))
            });
        }
        Ok(())
    }

    async fn carry_out(&mut self, effects: Vec<Effect>) -> anyhow::Result<()> {
        for effect in effects {
            let Some(job) = &self.job else { return Ok(()) };
            if let Some((node, frames)) = job.bridge.frames(&effect) {
                self.send(node, frames);
                continue;
            }
            match effect {
                Effect::Persist(step) => {
                    let commit = commit_of(*step)?;
                    self.store.commit(&job.id, &commit).await?;
                }
                Effect::Disconnect(node, reason) => {
                    if let Some(agency) = self.agency(node) {
                        tracing::warn!(%agency, %reason, "session closed");
                        if let Some(session) = self.sessions.remove(&agency) {
                            session.refuse(SessionRefusalCode::BadFrame, &reason);
                        }
                    }
                }
                Effect::Finished { complete, reason } => {
                    let state = job_state(complete);
                    tracing::info!(job = %job.id, %state, %reason, "job is over");
                    self.job = None;
                    self.broken.clear();
                }
                Effect::Note(text) => tracing::warn!("{text}"),
                _ => {}
            }
        }
        Ok(())
    }

    fn send(&mut self, node: NodeIndex, frames: Vec<ToNode>) {
        let Some(agency) = self.agency(node) else { return };
        let Some(session) = self.sessions.get(&agency) else { return };
        for frame in frames {
            if session.frames.try_send(frame).is_err() {
                // Gone, or too slow to be waited for: its session task ends when the queue goes.
                tracing::warn!(%agency, "the agency does not take its frames; session closed");
                self.sessions.remove(&agency);
                self.broken.push(agency);
                return;
            }
        }
    }

    fn agency(&self, node: NodeIndex) -> Option<String> {
        let roster = &self.job.as_ref()?.coordinator.manifest().roster;
        Some(roster.get(usize::from(node.0))?.agency.clone())
    }

    async fn fail(&mut self, id: &str, reason: String) -> anyhow::Result<()> {
        tracing::error!(job = %id, %reason, "job failed");
        self.gathering = None;
        let state = Some((JobState::Failed, reason));
        self.store.commit(id, &Commit { state, ..Commit::default() }).await?;
        Ok(())
    }
}

impl Session {
    /// Says why, then ends: the session's task stops when this is dropped.
    fn refuse(self, code: SessionRefusalCode, text: &str) {
        let _ = self.frames.try_send(ToNode::Refused(Refused { code, text: Text::clipped(text) }));
    }
}

/// Unmasking takes seconds of pure computing: the sessions go on meanwhile on other threads, if the
/// runtime has any.
fn blocking<T>(compute: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(compute),
        _ => compute(),
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
