//! A machine that can die at any moment: a disk that loses what was not synced, and the daemon's own
//! way of carrying outputs out on it.

use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};
use tributary_ledger::{Entry, Head};
use tributary_secagg::Limits;
use tributary_wire::session::{FromNode, ToNode};
use tributary_wire::v1::NodeFrame;

use crate::anchor::{Anchor, AnchorError, head_after};
use crate::engine::{Engine, Record, Secret};
use crate::fixtures::{Federation, JOB, book_of, now, wire};
use crate::gate::Gate;
use crate::session::{Ended, carry_out};
use crate::storage::{Durable, StorageError};

/// What survives, and when the machine dies.
#[derive(Default)]
pub(super) struct Disk {
    /// Written and synced, in order.
    pub(super) durable: Vec<Record>,
    /// The book's head in its own file.
    pub(super) head: Option<Head>,
    /// Steps that were taken.
    pub(super) steps: usize,
    /// The step at which the machine dies.
    pub(super) dies_at: Option<usize>,
    /// Whether the machine is down.
    pub(super) dead: bool,
    /// What left the machine and is not covered by what was durable then.
    pub(super) unpaid: Vec<String>,
    /// Contexts of vectors of which anything left, with the hash if all of it did.
    pub(super) left: Vec<(String, Option<String>)>,
    /// Whether the next upload finds the connection gone.
    pub(super) cut: bool,
}

/// As the engine's driver sees it.
#[derive(Clone, Default)]
pub(super) struct Shared(pub(super) Arc<Mutex<Disk>>);

impl Disk {
    /// The book as a restart finds it.
    pub(super) fn book(&self) -> Vec<Entry> {
        book_of(&self.durable)
    }

    /// Whether a book of this length may be started with.
    pub(super) fn check(&self, book: &[Entry]) -> Result<(), AnchorError> {
        Anchor::in_dir("anywhere".as_ref()).check(self.head.clone(), book, Some(0))
    }

    /// One step of writing; the machine dies here if it is time.
    fn step(&mut self) -> Result<(), StorageError> {
        if self.dies_at == Some(self.steps) {
            self.dead = true;
            return Err(StorageError::Corrupt("power cut".into()));
        }
        self.steps += 1;
        Ok(())
    }

    /// A record on its way: into a cache, from there to the disk, then the head's own file.
    fn write(&mut self, record: &Record) -> Result<(), StorageError> {
        self.step()?;
        let cached = copy(record);
        self.step()?;
        self.durable.push(cached);
        self.step()?;
        self.head = self.book().last().map(head_after).or(self.head.take());
        // And before anything else happens.
        self.step()
    }

    fn leaves(&mut self, frame: &FromNode, limits: &Limits) {
        self.unpaid.extend(wire::unpaid(frame, &self.book(), limits));
        self.left.extend(wire::masked(frame, limits));
    }
}

impl Durable for Shared {
    async fn persist(&self, record: &Record) -> Result<(), StorageError> {
        self.0.lock().unwrap().write(record)
    }

    async fn note(&self, _: &str, _: &crate::audit::Event) -> Result<(), StorageError> {
        self.0.lock().unwrap().step()
    }
}

/// A federation whose first agency runs on a machine of its own.
pub(super) struct Machine {
    pub(super) federation: Federation,
    pub(super) disk: Shared,
}

impl Machine {
    /// With the daemon's driver.
    pub(super) fn new(dies_at: Option<usize>) -> Self {
        Self::with(dies_at, daemon)
    }

    /// With another one.
    pub(super) fn with(dies_at: Option<usize>, driver: fn(Shared, Limits) -> Boxed) -> Self {
        let mut federation = Federation::new(JOB);
        let disk = Shared::default();
        {
            let mut state = disk.0.lock().unwrap();
            state.durable = federation.persisted[0].iter().map(copy).collect();
            state.head = state.book().last().map(head_after);
            state.dies_at = dies_at;
        }
        federation.driver = Some(driver(disk.clone(), federation.limits));
        Self { federation, disk }
    }

    /// Starts the process again if it is down; whether it was.
    pub(super) fn revive(&mut self) -> bool {
        let mut disk = self.disk.0.lock().unwrap();
        if !disk.dead {
            return false;
        }
        (disk.dead, disk.dies_at) = (false, None);
        disk.check(&disk.book()).unwrap();
        self.federation.engines[0] = self.federation.revived(0, &disk.durable);
        self.federation.engines[0].hello("again");
        true
    }
}

/// A driver as the fixtures take it.
pub(super) type Boxed = crate::fixtures::Driver;

/// The daemon's own.
pub(super) fn daemon(disk: Shared, limits: Limits) -> Boxed {
    let mut gate = Gate::default();
    let (told, stop) = watch::channel(crate::stop::Stop::No);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    Box::new(move |engine: &mut Engine, frame: ToNode| {
        let _told = &told;
        if disk.0.lock().unwrap().dead {
            return Vec::new();
        }
        let outputs = engine.handle(&now(), frame);
        let (to_server, mut outgoing) = mpsc::channel::<NodeFrame>(4096);
        let uploads = outputs.iter().any(|o| matches!(o, crate::engine::Output::Upload { .. }));
        if uploads && std::mem::take(&mut disk.0.lock().unwrap().cut) {
            outgoing.close();
        }
        let mut stop = stop.clone();
        let carried = runtime.block_on(carry_out(
            engine,
            (outputs, &now()),
            &disk,
            (&mut gate, &to_server, &mut stop),
        ));
        match carried {
            Ok(None | Some(Ended::Lost(_))) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(error.to_string().contains("power cut"), "{error}"),
        }
        let mut sent = Vec::new();
        while let Ok(frame) = outgoing.try_recv() {
            let frame = FromNode::try_from(frame).unwrap();
            disk.0.lock().unwrap().leaves(&frame, &limits);
            sent.push(frame);
        }
        sent
    })
}

/// A driver that sends first and writes later, to see that these tests would notice.
pub(super) fn hasty(disk: Shared, limits: Limits) -> Boxed {
    use crate::engine::Output;
    Box::new(move |engine: &mut Engine, frame: ToNode| {
        if disk.0.lock().unwrap().dead {
            return Vec::new();
        }
        let (mut sent, mut later) = (Vec::new(), Vec::new());
        for output in engine.handle(&now(), frame) {
            match output {
                Output::Persist(record) => later.push(record),
                Output::Send(frame) => sent.push(frame),
                Output::Upload { job, upload } => sent.extend(upload.map(|message| {
                    let frame = message.encode().into();
                    FromNode::Secagg(tributary_wire::session::Secagg { job, frame })
                })),
                Output::Audit(_) | Output::Note(_) => {}
            }
        }
        let mut disk = disk.0.lock().unwrap();
        sent.iter().for_each(|frame| disk.leaves(frame, &limits));
        let _ = later.iter().try_for_each(|record| disk.write(record));
        sent
    })
}

fn copy(record: &Record) -> Record {
    match record {
        Record::Book(entry) => Record::Book(entry.clone()),
        Record::Accepted { entry, job, manifest } => {
            Record::Accepted { entry: entry.clone(), job: job.clone(), manifest: manifest.clone() }
        }
        Record::Epoch { job, secret } => {
            Record::Epoch { job: job.clone(), secret: Secret(secret.0.clone()) }
        }
        Record::Answered { job, number } => Record::Answered { job: job.clone(), number: *number },
        Record::State { job, state, certificate, control } => Record::State {
            job: job.clone(),
            state: state.clone(),
            certificate: certificate.clone(),
            control: control.as_ref().map(|control| Secret(control.0.clone())),
        },
        Record::Control { job, control } => {
            Record::Control { job: job.clone(), control: Secret(control.0.clone()) }
        }
        Record::Checkpoint { job, length, head, signature, conflict } => Record::Checkpoint {
            job: job.clone(),
            length: *length,
            head: *head,
            signature: *signature,
            conflict: conflict.clone(),
        },
        Record::Ended { entry, job, outcome } => {
            Record::Ended { entry: entry.clone(), job: job.clone(), outcome: outcome.clone() }
        }
        Record::Requested { .. } | Record::RequestClosed { .. } | Record::Pinned(_) => {
            panic!("nobody has to approve anything in this federation")
        }
    }
}
