//! The one task that owns the running job: sessions, frames, time and operator requests come in as
//! messages; effects are carried out in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot};
use tributary_job::plan::MAX_PARAMETERS;
use tributary_round::{Capacity, Coordinator, Event, Now, Timeouts};
use tributary_secagg::{CHUNK_LANES, Identity, NodeIndex};
use tributary_store::Store;
use tributary_wire::Text;
use tributary_wire::limits::MAX_STATE_CHUNK_BYTES;
use tributary_wire::session::{
    FromNode, Hello, JobEnd, JobOutcome, Refused, SessionRefusalCode, ToNode,
};

mod effects;
mod queue;

use crate::bridge::Bridge;
use crate::metrics::Metrics;
use queue::Waiting;

pub use effects::commit_of;

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
    /// Jobs that wait for their agencies, by their identifier.
    waiting: HashMap<String, Waiting>,
    metrics: Arc<Metrics>,
    draining: bool,
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
    /// Where it stood when the metrics were last told, and since when.
    stage: &'static str,
    since_stage: Instant,
    since_round: Instant,
    /// The progress that was last written for `status`, and when.
    progress_said: String,
    progress_at: Instant,
}

impl Running {
    fn new(id: String, coordinator: Coordinator, bridge: Bridge) -> Self {
        let (stage, now) = (coordinator.stage(), Instant::now());
        Self {
            id,
            coordinator,
            bridge,
            stage,
            since_stage: now,
            since_round: now,
            progress_said: String::new(),
            progress_at: now,
        }
    }
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
            waiting: HashMap::new(),
            metrics: Arc::new(Metrics::new()),
            draining: false,
            broken: Vec::new(),
        }
    }

    /// Tells these metrics what happens.
    pub fn with_metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// Runs until every sender is gone or `stop` resolves; then a running attempt may come to its
    /// end for as long as `drain`, and no other begins. State is durable at every moment, so stopping
    /// loses nothing but what is running even then.
    ///
    /// # Errors
    /// When state cannot be made durable: nothing may go on then.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<FromSession>,
        stop: impl Future<Output = ()>,
        drain: Duration,
    ) -> anyhow::Result<()> {
        let mut until: Option<tokio::time::Instant> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(stop);
        // A job that was running is taken up before any node is heard.
        self.tick().await?;
        loop {
            if until.is_some() && !self.job.as_ref().is_some_and(|j| j.coordinator.in_attempt()) {
                return Ok(());
            }
            let over = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut stop, if until.is_none() => {
                    until = Some(tokio::time::Instant::now() + drain);
                    self.drain();
                }
                () = over => return Ok(()),
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
        self.metrics.alive();
        if self.job.is_some() {
            self.check_cancelled().await?;
        } else if !self.draining {
            self.next_job().await?;
        }
        self.event(Event::Tick).await?;
        self.show_progress().await
    }

    /// No further attempt and no further job begins.
    fn drain(&mut self) {
        self.draining = true;
        if let Some(job) = &mut self.job {
            job.coordinator.drain();
            if job.coordinator.in_attempt() {
                tracing::info!("stopping; the running attempt may come to its end");
            }
        }
    }

    async fn on_session(&mut self, event: FromSession) -> anyhow::Result<()> {
        match event {
            FromSession::Opened { id, agency, hello, frames, keep } => {
                tracing::info!(%agency, version = %hello.software_version, "agency connected");
                if let Some(old) = self.sessions.remove(&agency) {
                    old.refuse(SessionRefusalCode::Replaced, "a newer session of this agency");
                    self.metrics.session_closed(&agency);
                    self.left(&agency).await?;
                }
                self.release(&hello, &frames);
                self.metrics.session_opened(&agency);
                let session = Session { id, hello, frames, _keep: keep };
                self.sessions.insert(agency.clone(), session);
                self.arrived(&agency).await
            }
            FromSession::Frame { id, agency, frame } => {
                let current = self.sessions.get(&agency).is_some_and(|s| s.id == id);
                if let FromNode::Secagg(frame) = &frame {
                    self.metrics.received(frame.frame.len());
                }
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
                    self.metrics.session_closed(&agency);
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
        // What it was told before must still be true.
        let checkpoint = job.coordinator.checkpoint().and_then(|head| job.bridge.checkpoint(head));
        self.send(NodeIndex(node), checkpoint.into_iter().collect());
        self.event(Event::Connected(NodeIndex(node), resume)).await
    }

    async fn left(&mut self, agency: &str) -> anyhow::Result<()> {
        let node = self.job.as_ref().and_then(|j| j.coordinator.manifest().index_of(agency));
        self.waiting.values_mut().for_each(|job| job.absent(agency));
        match node {
            Some(node) => self.event(Event::Disconnected(NodeIndex(node))).await,
            None => Ok(()),
        }
    }

    async fn event(&mut self, event: Event) -> anyhow::Result<()> {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let now = self.now();
            let Some(job) = &mut self.job else { return Ok(()) };
            let effects = blocking(|| job.coordinator.handle(now, event));
            self.carry_out(effects).await?;
            self.watch();
            next = self.broken.pop().and_then(|agency| {
                let node = self.job.as_ref()?.coordinator.manifest().index_of(&agency)?;
                Some(Event::Disconnected(NodeIndex(node)))
            });
        }
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
