//! What several tests of this crate need: an enrolled data directory, and a small federation of
//! engines with the aggregator's state machines, all in memory.

pub(crate) mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tributary_dp::SecretRng;
use tributary_job::manifest::MANIFEST_VERSION;
use tributary_job::spec::PrivacyMode;
use tributary_job::{JobSpec, Manifest, Operation, Plan, RosterEntry};
use tributary_ledger::Entry;
use tributary_secagg::{
    Digest, EpochFacts, EpochStart, Identity, Limits, NodeIndex, NodeMessage, NodeSet, RoundView,
    ServerEpoch, ServerMessage, ServerOutput, ServerRound, ServerSeat,
};
use tributary_training::{Dataset, ReferenceTrainer};
use tributary_wire::session::{FromNode, JobAnswer, JobOffer, ReportCode, Secagg, ToNode};

use crate::audit::Event;
use crate::book::{
    Book, BudgetLimit, ChargeEntry, DeltaCost, JobCost, PlannedReleases, ProtectedUnit, ReleaseKind,
};
use crate::data_dir::DataDir;
use crate::engine::{DatasetSource, Engine, Now, Output, Record, Setup, StoredJob};
use crate::policy::{Approval, Policy, RosterTrust};

/// A job over `x` and `y` of dataset `d` for five agencies.
pub(crate) const JOB: &str = r#"
name = "toy"
description = "A small job for tests."
agencies = ["a", "b", "c", "d", "e"]
dataset = "d"

[data]
label = { column = "y", positive = "1", negative = "0" }
features = [{ kind = "numeric", column = "x", min = 0.0, max = 10.0 }]

[model]
family = "mlp"
hidden = []

[training]
rounds = 3
learning_rate = 0.5

[privacy]
mode = "record"
noise_multiplier = 4.0
delta = 1e-6
clip_norm = 1.0
sampling_rate = 0.5

[secure_aggregation]
min_survivors = 4
"#;

/// The same job without differential privacy.
pub(crate) fn job_without_noise() -> String {
    let text = JOB.replace("mode = \"record\"\nnoise_multiplier = 4.0", "mode = \"none\"");
    assert_ne!(text, JOB);
    text
}

/// A table that fits the job.
pub(crate) const TABLE: &str = "x,y\n1,0\n2,1\n3,0\n9,1\n";

/// A data directory as enrolment leaves it, without certificates.
pub(crate) fn enrolled() -> (tempfile::TempDir, DataDir) {
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::create(&root.path().join("node")).unwrap();
    dir.save_identity(&Identity::generate().unwrap()).unwrap();
    let key = identity(99).verifying_key();
    let config = format!(
        "aggregator = \"https://127.0.0.1:1\"\nagency = \"a\"\naggregator_key = \"{key}\"\n\
         trainer = \"reference\"\n"
    );
    std::fs::write(dir.config_file(), config).unwrap();
    (root, dir)
}

fn identity(number: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[number; 32]).unwrap())
}

/// What a job of such releases may cost: kind, noise multiplier (everybody takes part), number.
pub(crate) fn cost(releases: &[(ReleaseKind, f64, u32)]) -> JobCost {
    let planned = |(kind, z, count): &(ReleaseKind, f64, u32)| {
        let curve = tributary_dp::subsampled_gaussian(1.0, *z).unwrap();
        (*kind, PlannedReleases { curve, count: *count, spare: 0, parameters: None })
    };
    JobCost {
        adaptive: None,
        unit: ProtectedUnit::Record,
        releases: releases.iter().map(planned).collect(),
        delta: DeltaCost::JOB,
        stated: None,
    }
}

/// A charge of a round's first attempt.
pub(crate) fn charge(job: &str, round: u32) -> ChargeEntry {
    ChargeEntry {
        job: job.into(),
        round,
        attempt: 0,
        kind: ReleaseKind::Training,
        params: String::new(),
        ctx: String::new(),
        payload: String::new(),
    }
}

/// A policy that allows the jobs above.
pub(crate) fn policy() -> Policy {
    Policy {
        datasets: vec!["d".into()],
        modes: vec![PrivacyMode::Record, PrivacyMode::None],
        model_families: vec!["mlp".into()],
        max_epsilon_per_job: 1000.0,
        max_delta: 1e-5,
        min_survivors: 3,
        min_colluders: 0,
        min_corrupt_fraction: 0.0,
        max_rounds: 100,
        max_parameters: 1000,
        max_local_epochs: 20,
        person_columns: Default::default(),
        operations: vec![Operation::Statistics, Operation::Training, Operation::Evaluation],
        max_epsilon_per_year: 1000.0,
        max_memory_mib: 8192,
        max_disk_mib: 4096,
        max_threads: None,
        hours: Vec::new(),
        roster: RosterTrust::Aggregator,
        approval: Approval::not_required(),
    }
}

/// Five agencies' engines, and what they made durable, sent back and noted.
pub(crate) struct Federation {
    pub(crate) aggregator: Arc<Identity>,
    pub(crate) manifest: Manifest,
    pub(crate) plan: Plan,
    pub(crate) engines: Vec<Engine>,
    /// Per agency, in order.
    pub(crate) persisted: Vec<Vec<Record>>,
    /// Reports of the agencies, in order.
    pub(crate) reports: Vec<(usize, ReportCode)>,
    /// Notes of the agencies, in order.
    pub(crate) notes: Vec<String>,
    /// Entries of the audit records, with the agency, in order.
    pub(crate) audits: Vec<(usize, Event)>,
    /// Runs the first agency's engine in place of the fixture; returns what left its machine.
    pub(crate) driver: Option<Driver>,
    /// What the clock says.
    pub(crate) time: Now,
    /// Version of each agency's dataset.
    pub(crate) versions: Vec<Arc<Mutex<Result<String, String>>>>,
    tables: Vec<String>,
    pub(crate) limits: Limits,
}

/// Gives an engine a frame and carries out what it says.
pub(crate) type Driver = Box<dyn FnMut(&mut Engine, ToNode) -> Vec<FromNode>>;

impl Federation {
    /// A federation for a job, every agency with the same table.
    pub(crate) fn new(job: &str) -> Self {
        Self::with_tables(job, vec![TABLE.to_owned(); 5])
    }

    /// A federation for a job, with a table per agency.
    pub(crate) fn with_tables(job: &str, tables: Vec<String>) -> Self {
        let spec = JobSpec::from_toml(job).unwrap();
        let aggregator = identity(99);
        let entry = |(i, agency): (usize, &String)| RosterEntry {
            agency: agency.clone(),
            signing_key: identity(i as u8 + 1).verifying_key().to_string(),
            declared_records: 10,
        };
        let roster = spec.agencies.iter().enumerate().map(entry).collect();
        let manifest = Manifest {
            version: MANIFEST_VERSION,
            spec,
            roster,
            aggregator_key: aggregator.verifying_key().to_string(),
            nonce: "00".into(),
        };
        let plan = Plan::derive(&manifest).unwrap();
        let mut new = Self {
            aggregator,
            plan,
            engines: Vec::new(),
            persisted: Vec::new(),
            reports: Vec::new(),
            notes: Vec::new(),
            audits: Vec::new(),
            time: now(),
            versions: (0..5).map(|_| Arc::new(Mutex::new(Ok("v1".to_owned())))).collect(),
            driver: None,
            limits: Limits::for_members(5),
            manifest,
            tables,
        };
        for i in 0..5 {
            let mut book = Book::replay(&[]).unwrap();
            let limit = BudgetLimit::new(20.0, 1e-6).unwrap();
            let entry = book.register("d", limit, &now().0, &identity(i as u8 + 1)).unwrap();
            new.persisted.push(vec![Record::Book(entry)]);
            let engine = Engine::new(new.setup(i), book);
            new.engines.push(engine);
        }
        new
    }

    /// What agency `i` is made of.
    pub(crate) fn setup(&self, i: usize) -> Setup {
        let table = self.tables[i].clone();
        let version = self.versions[i].clone();
        let source = DatasetSource {
            declared_records: 10,
            version: Box::new(move || version.lock().unwrap().clone()),
            load: Box::new(move |spec| {
                let read = Dataset::read_tolerant(table.as_bytes(), spec);
                read.map(|(data, _)| data).map_err(|e| e.to_string())
            }),
        };
        Setup {
            agency: self.manifest.spec.agencies[i].clone(),
            identity: identity(i as u8 + 1),
            aggregator: self.aggregator.verifying_key(),
            policy: policy(),
            datasets: BTreeMap::from([("d".to_owned(), source)]),
            trainers: Box::new(|model, inputs, outputs| {
                Ok(Box::new(ReferenceTrainer::new(model, inputs, outputs)))
            }),
            threads: std::num::NonZeroUsize::MIN,
            randomness: Box::new(|| SecretRng::from_os().map_err(|e| e.to_string())),
        }
    }

    /// The book's entries that agency `i` made durable.
    pub(crate) fn book(&self, i: usize) -> Vec<Entry> {
        book_of(&self.persisted[i])
    }

    /// Agency `i` starts again from what it made durable.
    pub(crate) fn restart(&mut self, i: usize) {
        self.engines[i] = self.revived(i, &self.persisted[i]);
    }

    /// An engine of agency `i` as the daemon makes it from these records.
    pub(crate) fn revived(&self, i: usize, records: &[Record]) -> Engine {
        let book = Book::replay(&book_of(records)).unwrap();
        let mut engine = Engine::new(self.setup(i), book);
        let mut job = None;
        for record in records {
            match record {
                Record::Accepted { manifest, .. } => {
                    let manifest = manifest.clone();
                    job = Some(StoredJob {
                        manifest,
                        epoch: None,
                        state: None,
                        answered: None,
                        control: None,
                    });
                }
                Record::Epoch { secret, .. } => {
                    job.as_mut().unwrap().epoch = Some(secret.0.to_vec());
                }
                Record::Answered { number, .. } => {
                    job.as_mut().unwrap().answered = Some(*number);
                }
                Record::State { state, certificate, control, .. } => {
                    let job = job.as_mut().unwrap();
                    job.state = Some((state.clone(), certificate.clone()));
                    if let Some(control) = control {
                        job.control = Some(control.0.to_vec());
                    }
                }
                Record::Control { control, .. } => {
                    job.as_mut().unwrap().control = Some(control.0.to_vec());
                }
                Record::Ended { .. } => job = None,
                Record::Book(_)
                | Record::Checkpoint { .. }
                | Record::Requested { .. }
                | Record::RequestClosed { .. }
                | Record::Pinned(_) => {}
            }
        }
        if let Some(job) = job {
            engine.resume(&job).unwrap();
        }
        engine
    }

    /// The signed offer of the job.
    pub(crate) fn offer(&self) -> ToNode {
        let manifest = self.manifest.to_canonical().unwrap().into_bytes();
        let signed = tributary_job::manifest::offer_digest(&manifest);
        ToNode::JobOffer(JobOffer { manifest, signature: self.aggregator.sign(&signed.0) })
    }

    /// Offers the job to agency `i`; its answer.
    pub(crate) fn answer(&mut self, i: usize) -> JobAnswer {
        let offer = self.offer();
        let sent = self.give(i, offer);
        match sent.as_slice() {
            [FromNode::JobReply(reply)] => reply.answer.clone(),
            other => panic!("one answer expected: {other:?}"),
        }
    }

    /// Everybody accepts.
    pub(crate) fn accepted(mut self) -> Self {
        for i in 0..5 {
            assert_eq!(self.answer(i), JobAnswer::Accepted);
        }
        self
    }

    /// Gives agency `i` a frame; what it sends. Whatever is derived from records must be paid for
    /// when it leaves, in every test.
    pub(crate) fn give(&mut self, i: usize, frame: ToNode) -> Vec<FromNode> {
        let sent = match &mut self.driver {
            Some(driver) if i == 0 => driver(&mut self.engines[0], frame),
            _ => self.carry_out(i, frame),
        };
        let mut frames = Vec::new();
        for frame in sent {
            match frame {
                FromNode::Report(report) => self.reports.push((i, report.code)),
                frame => frames.push(frame),
            }
        }
        frames
    }

    fn carry_out(&mut self, i: usize, frame: ToNode) -> Vec<FromNode> {
        let outputs = self.engines[i].handle(&self.time, frame);
        self.carry(i, outputs)
    }

    /// As the driver does every second, for agency `i`; what it sends.
    pub(crate) fn reconsider(&mut self, i: usize) -> Vec<FromNode> {
        let outputs = self.engines[i].reconsider(&self.time);
        self.carry(i, outputs)
    }

    fn carry(&mut self, i: usize, outputs: Vec<Output>) -> Vec<FromNode> {
        let mut sent = Vec::new();
        for output in outputs {
            let before = sent.len();
            match output {
                Output::Persist(record) => self.persisted[i].push(record),
                Output::Send(frame) => sent.push(frame),
                Output::Upload { job, upload } => {
                    sent.extend(upload.map(|message| {
                        FromNode::Secagg(Secagg { job, frame: message.encode().into() })
                    }));
                    for noted in self.engines[i].uploaded(&self.time, job) {
                        let Output::Persist(record) = noted else { panic!("{noted:?}") };
                        self.persisted[i].push(record);
                    }
                }
                Output::Audit(event) => self.audits.push((i, event)),
                Output::Note(text) => self.notes.push(text),
            }
            let book = self.book(i);
            for frame in &sent[before..] {
                assert_eq!(wire::unpaid(frame, &book, &self.limits), None);
            }
        }
        sent
    }

    /// Gives agency `i` a protocol message; the messages that it sends.
    pub(crate) fn tell(&mut self, i: usize, message: &ServerMessage) -> Vec<NodeMessage> {
        let frame = Secagg { job: self.plan.job.0, frame: message.encode().into() };
        let sent = self.give(i, ToNode::Secagg(frame));
        let decode = |frame| match frame {
            FromNode::Secagg(s) => NodeMessage::decode(&s.frame, &self.limits).unwrap(),
            other => panic!("a protocol message expected: {other:?}"),
        };
        sent.into_iter().map(decode).collect()
    }

    /// The aggregator's signed start of an epoch.
    pub(crate) fn epoch_start(&self, epoch: u32) -> ServerMessage {
        EpochStart::new(&self.plan.roster, &self.aggregator, epoch, 0, NodeSet::new(5)).into()
    }

    /// The aggregator's seat.
    pub(crate) fn server(&self) -> ServerSeat {
        let seat = ServerSeat::new(self.plan.roster.clone(), self.aggregator.clone()).unwrap();
        // Everybody's turn at once: these tests look at what each engine does, not at the order.
        seat.with_uploads(std::num::NonZeroUsize::new(5).unwrap())
    }

    /// Everybody agrees on the keys of an epoch.
    pub(crate) fn agree(&mut self, epoch: u32) -> EpochFacts {
        self.try_agree(epoch).unwrap()
    }

    /// As [`Self::agree`], where somebody may be down.
    pub(crate) fn try_agree(&mut self, epoch: u32) -> Option<EpochFacts> {
        let (mut server, out) = ServerEpoch::open(&self.server(), epoch, NodeSet::new(5));
        let mut queue: VecDeque<_> = sends(out).into();
        while let Some((node, message)) = queue.pop_front() {
            for answer in self.tell(usize::from(node.0), &message) {
                queue.extend(sends(server.handle(node, answer).unwrap()));
            }
        }
        server.facts().cloned()
    }

    /// What every party believes about an attempt of the first round.
    pub(crate) fn view(&self, attempt: u16) -> RoundView {
        let operation = self.plan.operation(0).unwrap();
        let state = self.plan.initial_state(&self.manifest);
        RoundView {
            round: 0,
            attempt,
            operation: operation.operation.code(),
            vector_len: operation.vector_len,
            lane_bits: operation.lanes(),
            state_hash: state.hash(&self.plan.job),
            params_hash: self.plan.params_hash(operation).unwrap(),
            previous: Digest::ZERO,
        }
    }

    /// Runs an attempt of the first round until the sum is open and every agency has signed its
    /// state. The aggregator withholds its own state, so nothing is certified: the agencies stay
    /// at this round.
    pub(crate) fn attempt(
        &mut self,
        attempt: u16,
        facts: &EpochFacts,
        cohort: NodeSet,
    ) -> ServerRound {
        let view = self.view(attempt);
        let (mut server, out) = ServerRound::open(&self.server(), facts, view, cohort).unwrap();
        let mut queue: VecDeque<_> = sends(out).into();
        while let Some((node, message)) = queue.pop_front() {
            for answer in self.tell(usize::from(node.0), &message) {
                queue.extend(sends(server.handle(node, answer).unwrap()));
            }
        }
        server
    }
}

/// The book's entries in what was made durable.
pub(crate) fn book_of(records: &[Record]) -> Vec<Entry> {
    let entry = |record: &Record| match record {
        Record::Book(entry) => Some(entry.clone()),
        Record::Accepted { entry, .. } | Record::Ended { entry, .. } => entry.clone(),
        _ => None,
    };
    records.iter().filter_map(entry).collect()
}

/// The time of every test.
pub(crate) fn now() -> Now {
    Now("2026-01-01T00:00:00Z".into())
}

pub(crate) fn sends(out: Vec<ServerOutput>) -> Vec<(NodeIndex, ServerMessage)> {
    let mut found = Vec::new();
    for output in out {
        match output {
            ServerOutput::Send(node, message) => found.push((node, message)),
            ServerOutput::SendAll(nodes, message) => {
                found.extend(nodes.iter().map(|node| (node, message.clone())));
            }
            _ => {}
        }
    }
    found
}
