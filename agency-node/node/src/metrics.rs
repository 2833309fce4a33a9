//! What can be measured of a node, in OpenMetrics text, for the agency itself: the listener is local
//! and off unless it is configured.
//!
//! Counts, times, and the public numbers of the budget book. It must not know records, vectors or
//! batch sizes: nothing in here depends on a cell of a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tributary_transport::certificate::{leaf_from_pem, validity};
use tributary_transport::observe::Observed;
use tributary_transport::process;
use tributary_wire::session::{FromNode, ToNode};

use crate::engine::{Engine, Output, Record};

/// The certificate chain in a node's data directory.
const CHAIN: &str = "chain.pem";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Dataset {
    dataset: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Job {
    job: String,
}

type Real = Gauge<f64, std::sync::atomic::AtomicU64>;

/// A node's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    chain: PathBuf,
    seen: Mutex<Seen>,
    connected: Gauge,
    sessions: Counter,
    job: Family<Job, Gauge>,
    round: Gauge,
    rounds: Gauge,
    certified: Counter,
    given_up: Counter,
    charges: Counter,
    conflicts: Counter,
    work_seconds: Histogram,
    received: Counter,
    sent: Counter,
    left: Family<Dataset, Real>,
    spent: Family<Dataset, Real>,
    not_after: Gauge,
    skew: Gauge,
    resident: Gauge,
}

/// What the last session and frame said.
#[derive(Debug, Default)]
struct Seen {
    job: String,
    /// Book entries when the budget was last read.
    entries: u64,
    /// Why there is no session.
    offline: Option<String>,
}

/// An open session; it is counted as closed when this is dropped.
#[derive(Debug)]
pub struct OpenSession<'a>(&'a Metrics);

impl Drop for OpenSession<'_> {
    fn drop(&mut self) {
        self.0.connected.set(0);
    }
}

impl Metrics {
    /// All at zero, for the node of this data directory.
    pub fn new(data_dir: &Path) -> Self {
        let mut registry = Registry::with_prefix("tributary_node");
        let new = Self {
            registry: Registry::default(),
            chain: data_dir.join(CHAIN),
            seen: Mutex::default(),
            connected: Gauge::default(),
            sessions: Counter::default(),
            job: Family::default(),
            round: Gauge::default(),
            rounds: Gauge::default(),
            certified: Counter::default(),
            given_up: Counter::default(),
            charges: Counter::default(),
            conflicts: Counter::default(),
            // From 10 ms to some three hours.
            work_seconds: Histogram::new(exponential_buckets(0.01, 4.0, 11)),
            received: Counter::default(),
            sent: Counter::default(),
            left: Family::default(),
            spent: Family::default(),
            not_after: Gauge::default(),
            skew: Gauge::default(),
            resident: Gauge::default(),
        };
        let r = &mut registry;
        r.register("connected", "Whether the session is open", new.connected.clone());
        r.register("sessions", "Sessions that were opened", new.sessions.clone());
        r.register("job", "The job in progress; none if there is no sample", new.job.clone());
        r.register("job_round", "Certified rounds of the job here", new.round.clone());
        r.register("job_rounds", "Rounds of the job in all", new.rounds.clone());
        let text = "Rounds whose certified state was taken over here";
        r.register("rounds_certified", text, new.certified.clone());
        r.register("attempts_given_up", "Attempts given up here", new.given_up.clone());
        r.register("charges", "Attempts charged to a budget", new.charges.clone());
        let text = "Signed checkpoints of the aggregator's record that contradict earlier ones";
        r.register("record_conflicts", text, new.conflicts.clone());
        let text = "Time to work on a frame: training, masking, checking";
        r.register_with_unit("work_duration", text, Unit::Seconds, new.work_seconds.clone());
        let text = "Protocol frames and states received";
        r.register_with_unit("received", text, Unit::Bytes, new.received.clone());
        let text = "Protocol frames handed to the connection";
        r.register_with_unit("sent", text, Unit::Bytes, new.sent.clone());
        let text = "Epsilon that is neither spent nor reserved";
        r.register("budget_epsilon_left", text, new.left.clone());
        r.register("budget_epsilon_spent", "Epsilon that is spent", new.spent.clone());
        let text = "Unix time at which the node's certificate ends; 0 if it cannot be read";
        r.register_with_unit(
            "certificate_not_after_timestamp",
            text,
            Unit::Seconds,
            new.not_after.clone(),
        );
        let text = "How far this machine's clock is ahead of the aggregator's";
        r.register_with_unit("clock_skew", text, Unit::Seconds, new.skew.clone());
        let text = "Memory of this process in use";
        r.register_with_unit("process_resident_memory", text, Unit::Bytes, new.resident.clone());
        Self { registry, ..new }
    }

    /// A session is open, until the result is dropped.
    pub fn session(&self) -> OpenSession<'_> {
        self.connected.set(1);
        self.sessions.inc();
        self.seen().offline = None;
        OpenSession(self)
    }

    /// There is no session, and why.
    pub fn no_session(&self, reason: &str) {
        self.seen().offline = Some(reason.to_owned());
    }

    /// This machine's clock and the aggregator's, Unix seconds.
    pub fn clock_skew(&self, own: u64, theirs: u64) {
        let seconds = |time| i64::try_from(time).unwrap_or(i64::MAX);
        self.skew.set(seconds(own).saturating_sub(seconds(theirs)));
    }

    /// A frame of the aggregator.
    pub fn received(&self, frame: &ToNode) {
        let bytes = match frame {
            ToNode::Secagg(secagg) => secagg.frame.len(),
            ToNode::StateChunk(chunk) => chunk.data.len(),
            ToNode::JobOffer(offer) => offer.manifest.len(),
            _ => 0,
        };
        self.received.inc_by(bytes as u64);
    }

    /// The engine has worked on a frame.
    pub fn handled(&self, took: Duration, outputs: &[Output]) {
        self.work_seconds.observe(took.as_secs_f64());
        for output in outputs {
            match output {
                Output::Send(FromNode::Report(_)) => drop(self.given_up.inc()),
                Output::Send(FromNode::Secagg(frame)) => {
                    self.sent.inc_by(frame.frame.len() as u64);
                }
                Output::Persist(Record::State { .. }) => drop(self.certified.inc()),
                Output::Persist(Record::Checkpoint { conflict: Some(_), .. }) => {
                    self.conflicts.inc();
                }
                Output::Persist(Record::Book(entry))
                    if entry.kind == crate::book::entry::CHARGED =>
                {
                    self.charges.inc();
                }
                _ => {}
            }
        }
    }

    /// A message of an upload was handed to the connection.
    pub fn uploaded(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }

    /// Where the engine stands.
    pub fn show(&self, engine: &Engine) {
        let mut seen = self.seen();
        let name = engine.job().map(|job| job.manifest().spec.name.clone()).unwrap_or_default();
        if name != seen.job {
            self.job.clear();
            if !name.is_empty() {
                self.job.get_or_create(&Job { job: name.clone() }).set(1);
            }
            seen.job = name;
        }
        let (round, rounds) =
            engine.job().map_or((0, 0), |job| (job.state().completed, job.plan().rounds));
        self.round.set(round.into());
        self.rounds.set(rounds.into());
        // Converting to epsilon takes a moment: only when the book has grown.
        let entries = engine.book().head().length + 1;
        if entries == seen.entries {
            return;
        }
        seen.entries = entries;
        let statuses: BTreeMap<&str, _> = engine
            .datasets()
            .filter_map(|name| Some((name, engine.book().status(name)?)))
            .collect();
        for (name, status) in statuses {
            let dataset = Dataset { dataset: name.to_owned() };
            self.left.get_or_create(&dataset).set(status.left);
            self.spent.get_or_create(&dataset).set(status.spent);
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// End of the certificate on disk, which may have been renewed meanwhile.
    fn certificate_end(&self) -> Option<i64> {
        let pem = std::fs::read_to_string(&self.chain).ok()?;
        let end = validity(&leaf_from_pem(&pem).ok()?).ok()?.not_after;
        i64::try_from(end.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
    }
}

impl Observed for Metrics {
    fn metrics(&self) -> String {
        self.not_after.set(self.certificate_end().unwrap_or(0));
        let resident = process::resident_bytes().unwrap_or(0);
        self.resident.set(i64::try_from(resident).unwrap_or(i64::MAX));
        let mut out = String::new();
        if encode(&mut out, &self.registry).is_err() {
            // Writing to a string does not fail.
            out = "# EOF\n".to_owned();
        }
        out
    }

    fn ready(&self) -> Result<(), String> {
        if self.connected.get() == 1 {
            return Ok(());
        }
        match &self.seen().offline {
            Some(reason) => Err(format!("no session with the aggregator: {reason}")),
            None => Err("no session with the aggregator yet".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Federation, JOB};

    #[test]
    fn what_happens_is_counted_and_names_no_cell() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(dir.path());
        assert!(metrics.ready().unwrap_err().contains("yet"));
        metrics.no_session("connection refused");
        assert!(metrics.ready().unwrap_err().contains("connection refused"));
        let session = metrics.session();
        metrics.ready().unwrap();
        let federation = Federation::new(JOB);
        metrics.show(&federation.engines[0]);
        metrics.handled(Duration::from_millis(30), &[Output::Send(FromNode::Heartbeat)]);
        let text = metrics.metrics();
        for line in [
            "tributary_node_connected 1",
            "tributary_node_sessions_total 1",
            "tributary_node_work_duration_seconds_count 1",
            "tributary_node_record_conflicts_total 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
        let left = "tributary_node_budget_epsilon_left{dataset=\"d\"} ";
        assert!(text.lines().any(|l| l.starts_with(left)), "{text}");
        drop(session);
        assert!(metrics.ready().is_err());
    }
}
