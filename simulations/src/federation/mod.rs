//! The federation in one process: one coordinator, one engine per agency, no network, virtual time.
//!
//! Frames travel in exchanges: what the coordinator sent is worked on by all nodes at once (on as
//! many threads as there are cores), then their answers go to the coordinator in roster order. A
//! run is the same for the same scenario, whatever the number of cores. Sampling, rounding and
//! noise come from the scenario's seed, signing keys too; key-agreement keys come from the
//! operating system, because masks cancel and no sum depends on them.

mod clock;
mod disk;
mod lifecycle;
mod node;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tributary_job::{JobSpec, Manifest, Plan};
use tributary_round::{Coordinator, Effect, Event, Gathering, JobPhase, RoundEntry, Timeouts};
use tributary_secagg::{Identity, NodeIndex};
use tributary_server::bridge::Bridge;
use tributary_wire::session::FromNode;

use crate::data::DataDir;
use crate::error::SimulationError;
use crate::evidence::{Evidence, simulated_nonce};
use crate::scenario::Fault;
use crate::trainers::TrainerKind;
use clock::VirtualClock;
use lifecycle::Lifecycle;
use node::{Recipe, VirtualNode, derive, is_protocol, limit_for, policy_for};

/// Virtual deadlines, in milliseconds. A lost node is noticed at once, so they only end a job that
/// cannot go on.
const TIMEOUTS: Timeouts =
    Timeouts { gather: 60_000, step: 60_000, train: 600_000, rejoin: 600_000 };

/// How long nothing happens between two ticks, in virtual milliseconds.
const IDLE: u64 = 1_000;

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// The job.
    pub job: &'a JobSpec,
    /// The tables.
    pub data: &'a DataDir,
    /// Declared number of records of each agency, in the order of the job.
    pub declared: &'a [u64],
    /// Who computes gradients.
    pub trainer: TrainerKind,
    /// Seed of everything random that a sum depends on.
    pub seed: u64,
    /// Agencies lost for a while.
    pub faults: &'a [Fault],
}

/// A finished run.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that a real run would leave.
    pub evidence: Evidence,
    /// Wall-clock milliseconds of each certified round.
    pub round_millis: Vec<f64>,
}

/// Runs the whole job. `observe` is told of each certified round.
///
/// # Errors
/// [`SimulationError::Federation`] if the job stops before its last round; names the reason.
pub fn run(
    setup: &Setup<'_>,
    observe: &mut dyn FnMut(&RoundEntry),
) -> Result<Outcome, SimulationError> {
    let mut federation = Federation::new(setup)?;
    federation.open()?;
    while !federation.step(observe)? {}
    Ok(Outcome { evidence: federation.evidence, round_millis: federation.round_millis })
}

struct Federation {
    coordinator: Coordinator,
    bridge: Bridge,
    nodes: Vec<VirtualNode>,
    lifecycle: Lifecycle,
    clock: VirtualClock,
    evidence: Evidence,
    round_millis: Vec<f64>,
    last_round: Instant,
    /// Effects not yet carried out.
    effects: Vec<Effect>,
    ended: Option<(bool, String)>,
}

impl Federation {
    fn new(setup: &Setup<'_>) -> Result<Self, SimulationError> {
        let stopped = |e: &dyn std::fmt::Display| SimulationError::Federation(e.to_string());
        let aggregator = Arc::new(identity(setup.seed, "aggregator")?);
        let agencies = &setup.job.agencies;
        let keys = agencies.iter().map(|a| Ok(Arc::new(identity(setup.seed, a)?)));
        let keys = keys.collect::<Result<Vec<_>, SimulationError>>()?;
        let manifest = manifest(setup, &aggregator, &keys)?;
        let plan = Plan::derive(&manifest).map_err(|e| stopped(&e))?;
        let (limit, policy) = (limit_for(setup.job, &plan)?, policy_for(setup.job, &plan));
        let recipe = |((agency, identity), declared): ((&String, &Arc<Identity>), &u64)| Recipe {
            agency: agency.clone(),
            dataset: setup.job.dataset.clone(),
            table: setup.data.train(agency),
            assets: setup.data.assets(),
            declared_records: *declared,
            trainer: setup.trainer,
            identity: identity.clone(),
            aggregator: aggregator.verifying_key(),
            seed: setup.seed,
            limit,
            policy: policy.clone(),
        };
        let nodes = agencies.iter().zip(&keys).zip(setup.declared).map(recipe);
        let nodes: Vec<_> = nodes.map(VirtualNode::new).collect();
        let clock = VirtualClock::default();
        let text = manifest.to_canonical().map_err(|e| stopped(&e))?;
        let bridge = Bridge::new(&manifest, &aggregator).map_err(|e| stopped(&e))?;
        let begun = Coordinator::begin(manifest, aggregator, TIMEOUTS, clock.coordinator());
        let (coordinator, effects) = begun.map_err(|e| stopped(&e))?;
        Ok(Self {
            coordinator,
            bridge,
            lifecycle: Lifecycle::new(setup.faults, agencies),
            nodes,
            clock,
            evidence: Evidence { manifest: text, ..Evidence::default() },
            round_millis: Vec::new(),
            last_round: Instant::now(),
            effects,
            ended: None,
        })
    }

    /// Every process starts and connects.
    fn open(&mut self) -> Result<(), SimulationError> {
        (0..self.nodes.len()).try_for_each(|i| self.connect(i))
    }

    /// One exchange; true once the job is over.
    fn step(&mut self, observe: &mut dyn FnMut(&RoundEntry)) -> Result<bool, SimulationError> {
        self.carry_out(observe)?;
        if let Some((complete, reason)) = self.ended.take() {
            // The nodes hear of the end and close their books.
            self.work();
            return if complete { Ok(true) } else { Err(SimulationError::Federation(reason)) };
        }
        let round = self.coordinator.state().completed;
        let running = self.coordinator.progress().phase == JobPhase::Round;
        for i in self.lifecycle.dying(round, running, |i| self.nodes[i].has_mail()) {
            tracing::info!(agency = %self.nodes[i].agency(), round, "dies");
            self.nodes[i].kill();
            self.event(Event::Disconnected(index(i)));
        }
        for i in self.lifecycle.returning(round) {
            tracing::info!(agency = %self.nodes[i].agency(), round, "starts again");
            self.connect(i)?;
        }
        self.carry_out(observe)?;
        if !self.nodes.iter().any(VirtualNode::has_mail) {
            // Nobody has anything to do: only time can go on from here.
            self.clock.wait(IDLE);
            self.event(Event::Tick);
            return Ok(false);
        }
        let sent = self.work();
        self.clock.exchange();
        for (i, frames) in sent {
            let protocol = frames.iter().filter(|f| is_protocol(f)).count();
            self.lifecycle.sent(i, round, running, protocol);
            for frame in frames {
                if let Some(event) = self.bridge.event(index(i), frame) {
                    self.event(event);
                }
            }
        }
        Ok(false)
    }

    /// Lets every node work on the frames that wait for it; answers in roster order.
    fn work(&mut self) -> Vec<(usize, Vec<FromNode>)> {
        let clock = self.clock;
        let busy = self.nodes.iter_mut().enumerate().filter(|(_, node)| node.has_mail());
        let busy: Vec<_> = busy.collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(busy.len());
        let (queue, done) = (Mutex::new(busy.into_iter()), Mutex::new(Vec::new()));
        let labour = || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((i, node)) = next else { return };
                let sent = node.work(clock);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((i, sent));
            }
        };
        if threads <= 1 {
            labour();
        } else {
            std::thread::scope(|scope| {
                (0..threads).for_each(|_| {
                    scope.spawn(labour);
                });
            });
        }
        let mut sent = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        sent.sort_by_key(|(i, _)| *i);
        sent
    }

    fn connect(&mut self, i: usize) -> Result<(), SimulationError> {
        let hello = self.nodes[i].start(self.clock)?;
        if let FromNode::Hello(hello) = &hello {
            let resume = self.bridge.resume(hello);
            self.event(Event::Connected(index(i), resume));
        }
        Ok(())
    }

    fn event(&mut self, event: Event) {
        let effects = self.coordinator.handle(self.clock.coordinator(), event);
        self.effects.extend(effects);
    }

    fn carry_out(&mut self, observe: &mut dyn FnMut(&RoundEntry)) -> Result<(), SimulationError> {
        for effect in std::mem::take(&mut self.effects) {
            if let Some((to, frames)) = self.bridge.frames(&effect) {
                if let Some(node) = self.nodes.get_mut(usize::from(to.0)) {
                    frames.into_iter().for_each(|frame| node.receive(frame));
                }
                continue;
            }
            match effect {
                Effect::Persist(step) => self.persist(*step, observe)?,
                Effect::Finished { complete, reason } => self.ended = Some((complete, reason)),
                Effect::Note(text) => tracing::info!("{text}"),
                // Nodes of a simulation are honest: a fault is a defect of this software.
                Effect::Disconnect(node, reason) => {
                    let agency = self.nodes.get(usize::from(node.0)).map_or("?", |n| n.agency());
                    let text = format!("{agency} broke the protocol: {reason}");
                    return Err(SimulationError::Federation(text));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn persist(
        &mut self,
        step: tributary_round::Step,
        observe: &mut dyn FnMut(&RoundEntry),
    ) -> Result<(), SimulationError> {
        if let Some(certified) = step.certified {
            self.evidence.sums.insert(certified.round, certified.sum);
            self.round_millis.push(self.last_round.elapsed().as_secs_f64() * 1000.0);
            self.last_round = Instant::now();
        }
        for entry in step.entries {
            let line = entry.to_line();
            let line = line.map_err(|e| SimulationError::Federation(e.to_string()))?;
            self.evidence.record.push(line);
            if entry.kind == tributary_round::record::KIND_ROUND
                && let Ok(round) = serde_json::from_value(entry.body)
            {
                observe(&round);
            }
        }
        Ok(())
    }
}

fn manifest(
    setup: &Setup<'_>,
    aggregator: &Identity,
    keys: &[Arc<Identity>],
) -> Result<Manifest, SimulationError> {
    let agencies = &setup.job.agencies;
    let mut gathering = Gathering::new(setup.job.clone());
    for (agency, declared) in agencies.iter().zip(setup.declared) {
        gathering.present(agency, *declared);
    }
    let key_of = |name: &str| {
        let index = agencies.iter().position(|a| a == name)?;
        keys.get(index).map(|key| key.verifying_key().to_string())
    };
    let nonce = simulated_nonce(&derive(setup.seed, "nonce", &setup.job.name, 0));
    let manifest = gathering.manifest(key_of, aggregator.verifying_key().to_string(), nonce);
    manifest.ok_or_else(|| {
        let missing = gathering.missing().join(", ");
        SimulationError::Federation(format!("agencies without records: {missing}"))
    })
}

/// A signing key from the seed: the manifest, and with it the model file, stays the same.
fn identity(seed: u64, name: &str) -> Result<Identity, SimulationError> {
    Identity::from_seed(&derive(seed, "identity", name, 0))
        .map_err(|e| SimulationError::Federation(e.to_string()))
}

fn index(i: usize) -> NodeIndex {
    NodeIndex(i as u16)
}
