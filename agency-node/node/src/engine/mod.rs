//! What a node does with each frame of the aggregator: check, train, charge, send.
//!
//! No socket, file, database or clock in here: frames and time go in; things to persist and frames
//! to send come out, in the order in which the driver must carry them out. The daemon and the
//! simulator drive the same engine.
//!
//! A round's secrets live in memory only. After a crash the running attempt is lost, never
//! repeated: its number was marked as used durably before the first message of it left.

pub mod audit;
mod control;
mod ending;
mod epoch;
mod history;
mod job;
mod offer;
mod refusals;
mod reserve;
mod round;
mod standing;
mod transfer;
mod vector;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tributary_dp::SecretRng;
use tributary_job::spec::{DataSpec, ModelSpec};
use tributary_ledger::Entry;
use tributary_secagg::{Identity, ServerMessage, Upload, VerifyingKey};
use tributary_training::{Dataset, Trainer};
use tributary_wire::names::DatasetName;
use tributary_wire::session::{
    self, FromNode, Hello, JobReply, Report, ReportCode, Resume, Secagg, ToNode,
};
use tributary_wire::{PROTOCOL_VERSION, Text};

use crate::audit::Event;
use crate::book::Book;
use crate::consent::{Consent, PeerRow};
use crate::policy::Policy;

pub use history::Kept;
pub use job::ActiveJob;

/// Everything the engine is given once.
pub struct Setup {
    /// This agency's name.
    pub agency: String,
    /// Key that signs protocol messages.
    pub identity: Arc<Identity>,
    /// The aggregator's key, pinned at enrolment.
    pub aggregator: VerifyingKey,
    /// What may run here.
    pub policy: Policy,
    /// Registered datasets.
    pub datasets: BTreeMap<String, DatasetSource>,
    /// Makes a trainer for a model from so many inputs to so many logits.
    pub trainers: TrainerFactory,
    /// Threads that mask and hash a vector.
    pub threads: NonZeroUsize,
    /// Makes a source of secret randomness.
    pub randomness: Box<dyn Fn() -> Result<SecretRng, String> + Send>,
}

/// Makes a trainer for a model from so many inputs to so many logits.
pub type TrainerFactory =
    Box<dyn Fn(&ModelSpec, usize, usize) -> Result<Box<dyn Trainer>, String> + Send>;

/// Reads a dataset's rows as a job wants them.
pub type DatasetLoader = Box<dyn Fn(&DataSpec) -> Result<Dataset, String> + Send>;

/// A registered dataset.
pub struct DatasetSource {
    /// The public constant N_i.
    pub declared_records: u64,
    /// Reads the rows as a job wants them. What it answers decides what the aggregator is told, so
    /// it must not fail over a cell ([`Dataset::load_tolerant`]). The error text stays at the
    /// agency.
    pub load: DatasetLoader,
    /// Names what the source holds now: equal for equal bytes, and nothing that anybody else could
    /// compute. Asked before every round, so it should be quick where nothing has changed.
    pub version: DatasetVersion,
}

/// Names what a dataset holds now.
pub type DatasetVersion = Box<dyn Fn() -> Result<String, String> + Send>;

/// The engine.
pub struct Engine {
    setup: Setup,
    book: Book,
    job: Option<Box<ActiveJob>>,
    /// A stored job that cannot be gone on with; its operator has to act.
    stuck: Option<[u8; 32]>,
    /// What this agency's people have decided.
    consent: Consent,
    /// An offer that waits for somebody's word or for the hour.
    waiting: Option<offer::Waiting>,
    /// What the aggregator was told when the job in progress stopped to run here.
    paused: Option<session::RefusalCode>,
    refusals: refusals::Refusals,
}

/// Time as the driver sees it, RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now(pub String);

impl Now {
    /// The time; `None` if the driver has none that can be read.
    pub fn time(&self) -> Option<time::OffsetDateTime> {
        crate::consent::statement::parse_time(&self.0)
    }
}

/// What the driver must do, in this order.
#[derive(Debug)]
pub enum Output {
    /// Make durable before anything that follows.
    Persist(Record),
    /// Send to the aggregator.
    Send(FromNode),
    /// Send the messages of an upload one by one, as fast as the connection takes them, then call
    /// [`Engine::uploaded`]. Its charge comes before it; a driver had better check ([`Gate`]).
    ///
    /// [`Gate`]: crate::gate::Gate
    Upload {
        /// The job's hash.
        job: [u8; 32],
        /// The messages.
        upload: Upload,
    },
    /// Append to the audit record, durably, before anything that follows.
    Audit(Event),
    /// A line for the local log; may hold what must not leave.
    Note(String),
}

/// What must survive a crash.
#[derive(Debug)]
pub enum Record {
    /// An entry of the budget book.
    Book(Entry),
    /// The job this node has accepted, with what the book says of it: all of it durable, or none.
    Accepted {
        /// The book's entry; `None` if the book had it already.
        entry: Option<Entry>,
        /// The job's hash, hex.
        job: String,
        /// Canonical manifest.
        manifest: String,
    },
    /// The epoch's keys and the newest attempt that is used up. Secret.
    Epoch {
        /// The job's hash, hex.
        job: String,
        /// The keys.
        secret: Secret,
    },
    /// An epoch's start that this node is about to answer.
    Answered {
        /// The job's hash, hex.
        job: String,
        /// Epoch and restart.
        number: (u32, u8),
    },
    /// A certified state, with what follows from it at this agency: all of it durable, or none.
    State {
        /// The job's hash, hex.
        job: String,
        /// Canonical bytes.
        state: Vec<u8>,
        /// The result quorum's certificate.
        certificate: Vec<u8>,
        /// This agency's control variate; `None`, and what is there stays, in a job without. Secret.
        control: Option<Secret>,
    },
    /// This agency's control variate with what the vector that is about to leave would make of it.
    Control {
        /// The job's hash, hex.
        job: String,
        /// Secret.
        control: Secret,
    },
    /// The aggregator's signed word of where its record ends.
    Checkpoint {
        /// The job's hash, hex.
        job: String,
        /// Entries of the record.
        length: u64,
        /// Hash of the last one.
        head: [u8; 32],
        /// The signature.
        signature: [u8; 64],
        /// What it contradicts, if it does.
        conflict: Option<String>,
    },
    /// The job is over, in the book too: both durable, or neither.
    Ended {
        /// The book's entry; `None` if it was closed there already.
        entry: Option<Entry>,
        /// The job's hash, hex.
        job: String,
        /// How it ended, in words.
        outcome: String,
    },
    /// A job that waits for somebody's word.
    Requested {
        /// The job's hash, hex.
        job: String,
        /// Canonical manifest.
        manifest: String,
        /// When it was offered.
        at: String,
    },
    /// A job that waited is over before it began here.
    RequestClosed {
        /// The job's hash, hex.
        job: String,
        /// How it ended, in words.
        outcome: String,
    },
    /// A peer's key, pinned by its first use.
    Pinned(PeerRow),
}

/// Bytes of secret keys, or of what is derived from records, on their way to the state database: wiped when dropped, never printed.
pub struct Secret(pub zeroize::Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(<redacted>)")
    }
}

/// What was persisted of a job, to go on with it.
pub struct StoredJob {
    /// Canonical manifest.
    pub manifest: String,
    /// Secret bytes of the epoch.
    pub epoch: Option<Vec<u8>>,
    /// State and certificate.
    pub state: Option<(Vec<u8>, Vec<u8>)>,
    /// The newest epoch and restart that were answered.
    pub answered: Option<(u32, u8)>,
    /// Bytes of the agency's control variate.
    pub control: Option<Vec<u8>>,
}

impl StoredJob {
    /// The job's hash.
    pub fn hash(&self) -> [u8; 32] {
        tributary_job::JobHash::of(self.manifest.as_bytes()).0
    }
}

/// A job that cannot be gone on with.
#[derive(Debug, thiserror::Error)]
#[error("the job in progress cannot be resumed: {0}")]
pub struct ResumeError(pub String);

impl Engine {
    /// An engine without a job.
    pub fn new(setup: Setup, book: Book) -> Self {
        Self {
            setup,
            book,
            job: None,
            stuck: None,
            consent: Consent::default(),
            waiting: None,
            paused: None,
            refusals: refusals::Refusals::default(),
        }
    }

    /// Takes what this agency's people have decided so far. The driver gives it before the first frame
    /// and again before every frame that follows a change.
    pub fn set_consent(&mut self, consent: Consent) {
        self.consent = consent;
    }

    /// Takes up the job that was in progress.
    ///
    /// # Errors
    /// If what was stored does not belong together, the policy has changed or the dataset cannot be
    /// read any more. The engine can be used all the same; it refuses jobs until the operator has
    /// mended or abandoned this one.
    pub fn resume(&mut self, stored: &StoredJob) -> Result<(), ResumeError> {
        match ActiveJob::restore(&self.setup, stored) {
            Ok(mut job) => {
                job.prepare_noise(&self.setup.randomness);
                self.job = Some(Box::new(job));
            }
            Err(problem) => {
                self.stuck = Some(stored.hash());
                return Err(ResumeError(problem));
            }
        }
        Ok(())
    }

    /// The budget book.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The job in progress.
    pub fn job(&self) -> Option<&ActiveJob> {
        self.job.as_deref()
    }

    /// Whether the session may be replaced without an attempt being lost: no job, or one that has its
    /// keys and waits for its next attempt.
    pub fn is_quiet(&self) -> bool {
        self.job.as_ref().is_none_or(|job| job.is_quiet())
    }

    /// Whether an attempt of a round runs here.
    pub fn in_attempt(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.running.is_some())
    }

    /// Names of the registered datasets.
    pub fn datasets(&self) -> impl Iterator<Item = &str> {
        self.setup.datasets.keys().map(String::as_str)
    }

    /// The first frame of every session. The running attempt of an earlier session is dropped (the
    /// aggregator counted this node out when the session broke), unless its vector is masked: then
    /// the upload can go on where it was cut off.
    pub fn hello(&mut self, software_version: &str) -> FromNode {
        if let Some(job) = self.job.as_mut().filter(|job| job.upload().is_none()) {
            job.abandon_round();
        }
        // What waits is offered again.
        self.waiting = None;
        let datasets = self.setup.datasets.iter().filter_map(|(name, source)| {
            let name = DatasetName::new(name.as_str()).ok()?;
            Some(session::Dataset { name, declared_records: source.declared_records })
        });
        FromNode::Hello(Hello {
            protocol_version: PROTOCOL_VERSION,
            software_version: Text::clipped(software_version),
            datasets: datasets.collect(),
            resume: self.job.as_ref().map(|job| Resume {
                job: job.hash(),
                next_round: job.state().completed,
                epoch: job.epoch_number(),
                upload: job.upload(),
            }),
        })
    }

    /// Takes a frame.
    pub fn handle(&mut self, now: &Now, frame: ToNode) -> Vec<Output> {
        let mut out = Vec::new();
        match frame {
            ToNode::Welcome(welcome) => out.push(Output::Note(format!(
                "session with the aggregator is open (its version {})",
                welcome.software_version
            ))),
            ToNode::Refused(refused) => out.push(Output::Note(format!(
                "the aggregator ended the session: {}: {}",
                refused.code, refused.text
            ))),
            ToNode::Idle { text } => out.push(Output::Note(format!("sitting out: {text}"))),
            ToNode::JobOffer(offer) => self.offered(now, &offer, &mut out),
            ToNode::Secagg(frame) => self.secagg(now, &frame, &mut out),
            ToNode::StateChunk(chunk) => {
                let Self { book, job, .. } = self;
                if let Some(job) = job.as_mut().filter(|job| job.hash() == chunk.job) {
                    job.state_chunk(&chunk, &mut out);
                    job.compare_with_book(book, &mut out);
                }
            }
            ToNode::JobEnd(end) => self.ended(now, &end, &mut out),
            ToNode::Checkpoint(checkpoint) => self.checkpoint(&checkpoint, &mut out),
        }
        if let Some(job) = &mut self.job {
            job.prepare_noise(&self.setup.randomness);
        }
        out
    }

    /// Says that every message of the newest [`Output::Upload`] of a job was handed to the
    /// connection. What comes back must be made durable; if this is never called (a crash, a cut)
    /// the attempt is paid for all the same.
    pub fn uploaded(&mut self, now: &Now, job: [u8; 32]) -> Vec<Output> {
        let mut out = Vec::new();
        if let Some(active) = self.job.as_mut().filter(|j| j.hash() == job) {
            active.uploaded(now, &self.setup, &mut self.book, &mut out);
        }
        out
    }

    fn secagg(&mut self, now: &Now, frame: &Secagg, out: &mut Vec<Output>) {
        let Some(job) = self.job.as_mut().filter(|j| j.hash() == frame.job) else {
            out.push(Output::Note("a frame for a job this node is not in; ignored".into()));
            return;
        };
        let message = match ServerMessage::decode(&frame.frame, &job.limits()) {
            Ok(message) => message,
            Err(error) => {
                let text = format!("a frame that cannot be read: {error}");
                job.report(ReportCode::ProtocolFault, &text, out);
                return;
            }
        };
        let begins = matches!(message, ServerMessage::RoundStart(_));
        if (begins || job.may_charge()) && !self.may_go_on(now, begins, out) {
            return;
        }
        let Some(job) = &mut self.job else { return };
        match message {
            ServerMessage::EpochStart(_)
            | ServerMessage::EpochHellos(_)
            | ServerMessage::EpochPeers(_)
            | ServerMessage::EpochKems(_) => job.epoch_message(&self.setup, message, out),
            ServerMessage::RoundStart(start) => {
                job.start_round(&self.setup, &self.book, start, out);
            }
            message => job.round_message(now, &self.setup, &mut self.book, message, out),
        }
    }

    fn ended(&mut self, now: &Now, end: &session::JobEnd, out: &mut Vec<Output>) {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.hash == end.job) {
            self.waiting = None;
            let outcome = format!("{}: {}", end.outcome, end.text);
            let job = hex::encode(end.job);
            out.push(Output::Note(format!("a job that waited is over: {outcome}")));
            let (closed, said) = (job.clone(), outcome.clone());
            out.push(Output::Persist(Record::RequestClosed { job: closed, outcome: said }));
            out.push(Output::Audit(Event::JobEnded { job, outcome }));
        }
        let mut outcome = format!("{}: {}", end.outcome, end.text);
        let name = match &self.job {
            Some(job) if job.hash() == end.job => {
                if let Some(why) = job.contradicts(end) {
                    out.push(Output::Note(why.clone()));
                    outcome = format!("stopped, and not completed as the aggregator says: {why}");
                } else if job.missed_the_end(end) {
                    outcome += "; this node did not see the last rounds and cannot check that";
                }
                job.manifest().spec.name.clone()
            }
            // Also one that could not be gone on with: its end sets this node free again.
            _ if self.stuck == Some(end.job) => "that could not be resumed".to_owned(),
            _ => return,
        };
        self.end_here(now, end.job, &name, outcome, out);
    }
}

/// A reply to an offer.
fn reply(job: [u8; 32], answer: session::JobAnswer) -> Output {
    Output::Send(FromNode::JobReply(JobReply { job, answer }))
}

/// A report with public numbers only; the local text goes to the log.
fn report(job: [u8; 32], round: u32, attempt: u16, code: ReportCode) -> Output {
    let text = Text::clipped("");
    Output::Send(FromNode::Report(Report { job, round, attempt, code, text }))
}

#[cfg(test)]
mod tests;
