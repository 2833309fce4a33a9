//! What can be measured of the aggregator, in OpenMetrics text.
//!
//! Counts, times and names that the roster holds anyway: agencies, and the job's identifier. It must
//! not know frames, sums or models: no number in here depends on a record.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tributary_transport::observe::Observed;
use tributary_transport::process;

/// The hub looks at its work several times a second; silent for this long, it is stuck.
const SILENT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Agency {
    agency: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Job {
    job: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Certificate {
    certificate: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The aggregator's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    started: Instant,
    /// Milliseconds after `started` at which the hub was last seen working, plus one.
    seen: AtomicU64,
    sessions: Gauge,
    connected: Family<Agency, Gauge>,
    job: Family<Job, Gauge>,
    current: Mutex<String>,
    round: Gauge,
    rounds: Gauge,
    certified: Counter,
    failed: Counter,
    jobs: Family<Outcome, Counter>,
    round_seconds: Histogram,
    phase_seconds: Family<Phase, Histogram, fn() -> Histogram>,
    received: Counter,
    sent: Counter,
    not_after: Family<Certificate, Gauge>,
    resident: Gauge,
    peak: Gauge,
}

/// From 10 ms to some three hours.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 4.0, 11))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tributary_aggregator");
        let new = Self {
            registry: Registry::default(),
            started: Instant::now(),
            seen: AtomicU64::new(0),
            sessions: Gauge::default(),
            connected: Family::default(),
            job: Family::default(),
            current: Mutex::default(),
            round: Gauge::default(),
            rounds: Gauge::default(),
            certified: Counter::default(),
            failed: Counter::default(),
            jobs: Family::default(),
            round_seconds: seconds(),
            phase_seconds: Family::new_with_constructor(seconds),
            received: Counter::default(),
            sent: Counter::default(),
            not_after: Family::default(),
            resident: Gauge::default(),
            peak: Gauge::default(),
        };
        let r = &mut registry;
        r.register("sessions", "Agencies with an open session", new.sessions.clone());
        let text = "Whether an agency has an open session, since this process started";
        r.register("agency_connected", text, new.connected.clone());
        r.register("job", "The running job; none if there is no sample", new.job.clone());
        r.register("job_round", "Certified rounds of the running job", new.round.clone());
        r.register("job_rounds", "Rounds of the running job in all", new.rounds.clone());
        r.register("rounds_certified", "Rounds certified by a quorum", new.certified.clone());
        r.register("attempts_failed", "Attempts of rounds that failed", new.failed.clone());
        r.register("jobs_ended", "Jobs that have ended", new.jobs.clone());
        let text = "From a round's beginning, or the last one's end, to its certificate";
        r.register_with_unit("round_duration", text, Unit::Seconds, new.round_seconds.clone());
        let text = "Time in each phase of an attempt, and between attempts";
        r.register_with_unit("phase_duration", text, Unit::Seconds, new.phase_seconds.clone());
        let text = "Protocol frames received from agencies";
        r.register_with_unit("received", text, Unit::Bytes, new.received.clone());
        let text = "Protocol frames and states handed to sessions";
        r.register_with_unit("sent", text, Unit::Bytes, new.sent.clone());
        let text = "Unix time at which a certificate ends";
        r.register_with_unit(
            "certificate_not_after_timestamp",
            text,
            Unit::Seconds,
            new.not_after.clone(),
        );
        let text = "Memory of this process in use";
        r.register_with_unit("process_resident_memory", text, Unit::Bytes, new.resident.clone());
        let text = "The most memory of this process ever in use";
        r.register_with_unit("process_resident_memory_peak", text, Unit::Bytes, new.peak.clone());
        Self { registry, ..new }
    }

    /// The hub works.
    pub fn alive(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.seen.store(millis.saturating_add(1), Ordering::Relaxed);
    }

    /// A session is open.
    pub fn session_opened(&self, agency: &str) {
        self.sessions.inc();
        self.connected.get_or_create(&Agency { agency: agency.to_owned() }).set(1);
    }

    /// A session is gone.
    pub fn session_closed(&self, agency: &str) {
        self.sessions.dec();
        self.connected.get_or_create(&Agency { agency: agency.to_owned() }).set(0);
    }

    /// The running job and how far it is.
    pub fn job(&self, id: &str, round: u32, rounds: u32) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != id {
            self.job.clear();
            id.clone_into(&mut current);
            self.job.get_or_create(&Job { job: id.to_owned() }).set(1);
        }
        self.round.set(round.into());
        self.rounds.set(rounds.into());
    }

    /// No job runs.
    pub fn no_job(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.is_empty() {
            current.clear();
            self.job.clear();
            self.round.set(0);
            self.rounds.set(0);
        }
    }

    /// A round was certified, this long after the one before.
    pub fn round_certified(&self, took: Duration) {
        self.certified.inc();
        self.round_seconds.observe(took.as_secs_f64());
    }

    /// An attempt failed.
    pub fn attempt_failed(&self) {
        self.failed.inc();
    }

    /// A job is over.
    pub fn job_over(&self, complete: bool) {
        let outcome = if complete { "completed" } else { "stopped" };
        self.jobs.get_or_create(&Outcome { outcome }).inc();
    }

    /// A phase (one of the coordinator's names) is over.
    pub fn phase_over(&self, phase: &'static str, took: Duration) {
        self.phase_seconds.get_or_create(&Phase { phase }).observe(took.as_secs_f64());
    }

    /// Bytes of frames from agencies.
    pub fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    /// Bytes of frames to agencies.
    pub fn sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }

    /// When a certificate (`server` or `authority`) ends.
    pub fn certificate(&self, certificate: &'static str, not_after: SystemTime) {
        let unix = not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let unix = i64::try_from(unix).unwrap_or(i64::MAX);
        self.not_after.get_or_create(&Certificate { certificate }).set(unix);
    }
}

impl Observed for Metrics {
    fn metrics(&self) -> String {
        let gauge = |bytes: Option<u64>| i64::try_from(bytes.unwrap_or(0)).unwrap_or(i64::MAX);
        self.resident.set(gauge(process::resident_bytes()));
        self.peak.set(gauge(process::peak_resident_bytes()));
        let mut out = String::new();
        if encode(&mut out, &self.registry).is_err() {
            // Writing to a string does not fail; a scraper must see that it did all the same.
            out.clear();
            let _ = writeln!(out, "# EOF");
        }
        out
    }

    fn ready(&self) -> Result<(), String> {
        let Some(seen) = self.seen.load(Ordering::Relaxed).checked_sub(1) else {
            return Err("the service is starting".into());
        };
        let silent = self.started.elapsed().saturating_sub(Duration::from_millis(seen));
        if silent > SILENT {
            return Err(format!("the hub has been silent for {} s", silent.as_secs()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_counted() {
        let metrics = Metrics::new();
        assert!(metrics.ready().unwrap_err().contains("starting"));
        metrics.alive();
        metrics.ready().unwrap();
        metrics.session_opened("nih");
        metrics.session_opened("nasa");
        metrics.session_closed("nasa");
        metrics.job("a-1", 3, 11);
        metrics.job("b-2", 4, 11);
        metrics.round_certified(Duration::from_millis(250));
        metrics.phase_over("uploading", Duration::from_millis(40));
        metrics.received(1000);
        metrics.job_over(true);
        metrics.certificate("server", UNIX_EPOCH + Duration::from_secs(1_900_000_000));
        let text = metrics.metrics();
        for line in [
            "tributary_aggregator_sessions 1",
            "tributary_aggregator_agency_connected{agency=\"nasa\"} 0",
            "tributary_aggregator_job{job=\"b-2\"} 1",
            "tributary_aggregator_job_round 4",
            "tributary_aggregator_rounds_certified_total 1",
            "tributary_aggregator_received_bytes_total 1000",
            "tributary_aggregator_phase_duration_seconds_count{phase=\"uploading\"} 1",
            "tributary_aggregator_jobs_ended_total{outcome=\"completed\"} 1",
            "tributary_aggregator_certificate_not_after_timestamp_seconds{certificate=\"server\"} 1900000000",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
        assert!(!text.contains("a-1"), "a job that is over is gone");
        metrics.no_job();
        assert!(!metrics.metrics().contains("b-2"));
    }
}
