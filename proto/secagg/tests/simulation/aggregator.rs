//! The aggregator's driver and its disk: facts of the epoch, number of the next
//! attempt, the last certificate. An attempt does not survive a crash; the next one
//! is opened instead.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tributary_secagg::{
    Digest, EpochFacts, Fault, Identity, NodeIndex, NodeSet, Roster, ServerEpoch, ServerPhase,
    ServerRound, ServerSeat,
};

use super::checks::At;
use super::node::Results;
use super::plan::{Plan, Who, pick};
use super::world::{Ending, Event, Frame, Payload, Session, World, decode_node};

/// What survives a crash.
#[derive(Default)]
pub struct Disk {
    /// The last epoch whose number was given out.
    pub epoch: u32,
    pub facts: Option<EpochFacts>,
    /// Round in which the epoch began.
    pub epoch_round: u32,
    pub attempt: u16,
    pub results: Results,
    pub certificate: Option<Vec<u8>>,
}

/// What the aggregator is about.
pub enum Activity {
    Idle,
    Epoch(Box<ServerEpoch>),
    Attempt(Box<ServerRound>, At),
}

/// The aggregator's process, its disk beside it.
pub struct AggregatorHost {
    pub up: bool,
    pub life: u32,
    pub timer: u32,
    pub session: Option<Session>,
    pub outbox: Vec<Vec<Frame>>,
    /// Stored frames of the session that arrived, per node.
    pub received: Vec<u32>,
    pub disk: Disk,
    pub seat: ServerSeat,
    roster: Arc<Roster>,
    pub activity: Activity,
    pub phase: Option<ServerPhase>,
    pub waits: u32,
    pub aborts: BTreeMap<At, String>,
    /// The state it computes from the sum, until its program hands it in.
    pub pending: Option<Digest>,
}

/// Waits for nodes to come back, each longer than a healing connection takes.
const MOST_WAITS: u32 = 8;

/// Epochs that are tried in all.
const MOST_EPOCHS: u32 = 6;

impl AggregatorHost {
    pub fn new(roster: &Arc<Roster>, identity: Arc<Identity>, plan: &Plan) -> Self {
        let uploads = NonZeroUsize::new(plan.uploads).unwrap();
        let seat = ServerSeat::new(roster.clone(), identity).unwrap().with_uploads(uploads);
        let n = usize::from(roster.size());
        Self {
            up: true,
            life: 0,
            timer: 0,
            session: None,
            outbox: vec![Vec::new(); n],
            received: vec![0; n],
            disk: Disk::default(),
            seat,
            roster: roster.clone(),
            activity: Activity::Idle,
            phase: None,
            waits: 0,
            aborts: BTreeMap::new(),
            pending: None,
        }
    }

    fn begin(&mut self, session: Session, activity: Activity) {
        self.session = Some(session);
        self.activity = activity;
        self.phase = None;
        self.pending = None;
        self.outbox.iter_mut().for_each(Vec::clear);
        self.received.fill(0);
    }
}

impl World {
    fn connected(&self) -> NodeSet {
        let n = self.plan.thresholds.n;
        let stands = |node: &NodeIndex| self.links[usize::from(node.0)].connected;
        NodeSet::of(n, (0..n).map(NodeIndex).filter(stands))
    }

    /// The largest cohort among these nodes that every one of them would accept.
    fn cohort(&self, facts: &EpochFacts, nodes: &NodeSet) -> Option<NodeSet> {
        let set = facts.openable(&self.aggregator.roster, nodes);
        (set.len() >= usize::from(self.plan.thresholds.u_min)).then_some(set)
    }

    /// What comes next: the end, an epoch, an attempt, or waiting for nodes.
    pub fn next(&mut self) {
        let disk = &self.aggregator.disk;
        let round = disk.results.round;
        if round >= self.plan.rounds {
            self.ending = Some(Ending::Done);
            return;
        }
        if disk.attempt >= self.plan.max_attempts {
            let last = self.aggregator.aborts.values().last().cloned();
            let last = last.unwrap_or_else(|| "the aggregator crashed".to_owned());
            self.ending =
                Some(Ending::Stopped(format!("round {round} has no attempt left: {last}")));
            return;
        }
        let connected = self.connected();
        let enough = connected.len() >= usize::from(self.plan.thresholds.u_min);
        let due = round >= disk.epoch_round + self.plan.rounds_per_epoch;
        let facts = disk.facts.clone().filter(|_| !due);
        let cohort = facts.as_ref().and_then(|facts| self.cohort(facts, &connected));
        let waited = self.aggregator.waits >= MOST_WAITS;
        match (facts, cohort) {
            (Some(facts), Some(cohort)) => self.open_attempt(&facts, cohort),
            (facts, _) if enough && (facts.is_none() || waited) => self.open_epoch(),
            _ if waited => {
                let end = format!("{} nodes are reachable, too few", connected.len());
                self.ending = Some(Ending::Stopped(end));
            }
            _ => {
                self.aggregator.waits += 1;
                let life = self.aggregator.life;
                self.later(60, Event::Next { life });
            }
        }
    }

    fn open_epoch(&mut self) {
        let epoch = self.aggregator.disk.epoch + 1;
        if epoch > MOST_EPOCHS {
            self.ending = Some(Ending::Stopped("no epoch comes about".to_owned()));
            return;
        }
        let (machine, out) =
            ServerEpoch::open(&self.aggregator.seat, epoch, NodeSet::new(self.plan.thresholds.n));
        self.aggregator.waits = 0;
        self.aggregator.begin(Session::Epoch(epoch), Activity::Epoch(Box::new(machine)));
        self.note(format_args!("aggregator opens epoch {epoch}"));
        self.take_outputs(out);
        self.arm();
    }

    fn open_attempt(&mut self, facts: &EpochFacts, cohort: NodeSet) {
        let disk = &self.aggregator.disk;
        let view = disk.results.view(&self.plan, disk.attempt);
        let at = (view.round, view.attempt);
        let seat = &self.aggregator.seat;
        let (machine, out) = ServerRound::open(seat, facts, view, cohort.clone()).unwrap();
        self.aggregator.waits = 0;
        self.aggregator.begin(Session::Attempt(at), Activity::Attempt(Box::new(machine), at));
        self.note(format_args!("aggregator opens {at:?} with {cohort}"));
        let last = self.aggregator.disk.certificate.clone();
        if let Some((certificate, round)) = last.zip(at.0.checked_sub(1)) {
            for node in cohort.iter() {
                let payload = Payload::CatchUp { round, certificate: certificate.clone() };
                self.send_stored(node, payload);
            }
        }
        self.take_outputs(out);
        self.arm();
    }

    pub fn aggregator_takes(&mut self, node: NodeIndex, frame: Frame) {
        let Payload::Bytes(bytes) = frame.payload else { return };
        let host = &mut self.aggregator;
        if host.session != Some(frame.session) {
            return;
        }
        let received = &mut host.received[usize::from(node.0)];
        *received = (*received).max(frame.place + 1);
        let message = decode_node(&bytes, &self.limits);
        let line = format!("aggregator <- {} of {node}", message.kind());
        let done = match &mut host.activity {
            Activity::Idle => return,
            Activity::Epoch(machine) => machine.handle(node, message),
            Activity::Attempt(machine, _) => machine.handle(node, message),
        };
        self.note(line);
        match done {
            Ok(out) => self.take_outputs(out),
            Err(Fault::Stale { .. }) => {}
            Err(fault) => self.checks.fault("the aggregator", &fault),
        }
    }

    pub fn give_up(&mut self, node: NodeIndex) {
        if let Activity::Attempt(machine, _) = &mut self.aggregator.activity {
            let out = machine.drop_node(node);
            self.note(format_args!("aggregator gives up node {node}"));
            self.take_outputs(out);
        }
    }

    pub fn resume_upload(&mut self, node: NodeIndex) {
        if let Activity::Attempt(machine, _) = &mut self.aggregator.activity {
            let out = machine.resume_upload(node);
            self.take_outputs(out);
        }
    }

    pub fn deadline(&mut self, widen: bool) {
        let out = match &mut self.aggregator.activity {
            Activity::Idle => return,
            Activity::Epoch(_) if widen => return,
            Activity::Epoch(machine) => machine.deadline(),
            Activity::Attempt(machine, _) if widen => machine.widen_uploads(),
            Activity::Attempt(machine, _) => machine.deadline(),
        };
        self.note(if widen { "aggregator widens" } else { "aggregator: time is up" });
        self.take_outputs(out);
        if !widen {
            self.arm();
        }
    }

    pub fn provide_state(&mut self) {
        let Activity::Attempt(machine, _) = &mut self.aggregator.activity else { return };
        let Some(state) = self.aggregator.pending.take() else { return };
        let out = machine.provide_state(state);
        self.take_outputs(out);
    }

    pub fn crash_aggregator(&mut self) {
        let host = &mut self.aggregator;
        host.up = false;
        host.life += 1;
        host.session = None;
        host.activity = Activity::Idle;
        host.waits = 0;
        for node in 0..self.plan.thresholds.n {
            self.disconnect(NodeIndex(node));
        }
        self.comes_back(Who::Aggregator);
    }

    pub fn restart_aggregator(&mut self) {
        self.aggregator.up = true;
        self.note("aggregator restarts");
        for node in 0..self.plan.thresholds.n {
            let wait = pick(&mut self.rng, 1, 20);
            self.later(wait, Event::Join(NodeIndex(node)));
        }
        let life = self.aggregator.life;
        self.later(25, Event::Next { life });
    }

    /// Starts the clock of a phase.
    pub fn arm(&mut self) {
        self.aggregator.timer += 1;
        let (life, timer) = (self.aggregator.life, self.aggregator.timer);
        let timeout = self.plan.faults.timeout;
        self.later(timeout / 2, Event::Deadline { life, timer, widen: true });
        self.later(timeout, Event::Deadline { life, timer, widen: false });
    }
}
