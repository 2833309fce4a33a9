//! Epoch and rounds at the aggregator, with the clock: a round lasts from its opening to the
//! certified result. What is checked afterwards is not timed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use tributary_secagg::{
    EpochFacts, Lanes, NodeSet, ResultQc, RoundView, ServerEpoch, ServerOutput, ServerPhase,
    ServerRound, ServerSeat,
};

use super::hub::Hub;
use super::plan::{self, Plan};
use super::vectors::{Arithmetic, Checks, HandedIn};
use crate::federation::Federation;
use crate::output::timed;
use crate::usage::Cpu;
use tributary_simulations::secagg::party::{Facts, state_of};

/// A round as it was measured.
pub struct Measured {
    /// From the opening to the certified result.
    pub round_s: f64,
    /// The same by phases.
    pub phases: BTreeMap<&'static str, f64>,
    /// Inside the machine.
    pub machine_s: f64,
    /// The largest difference between the mean and the exact one.
    pub error: f64,
    /// Whether the sum is that of what the nodes say they handed in.
    pub exact: bool,
    /// Processor time of all nodes since their start, up to this round's vectors.
    pub nodes_cpu: Cpu,
}

/// The aggregator's machines, one after the other.
pub struct Runner {
    /// The sessions.
    pub hub: Hub,
    federation: Federation,
    seat: ServerSeat,
    base: RoundView,
    at: Facts,
    epoch: Option<EpochFacts>,
    arithmetic: Arithmetic,
    model: Vec<f32>,
    dir: PathBuf,
}

/// A round that is going on.
struct Running {
    machine: ServerRound,
    began: Instant,
    phase: ServerPhase,
    phase_began: Instant,
    phases: BTreeMap<&'static str, f64>,
    machine_s: f64,
    opened: Option<(Lanes, f64)>,
    certified: Option<ResultQc>,
}

impl Runner {
    /// An aggregator whose nodes are there.
    ///
    /// # Errors
    /// If the plan is none.
    pub fn new(plan: &Plan, federation: Federation, hub: Hub, dir: &Path) -> Result<Self> {
        let seat = federation.aggregator(plan.uploads, plan.threads)?;
        let base = federation.view()?;
        let arithmetic = Arithmetic::new(&federation.size, base.lane_bits, plan.rounds);
        let model = Arithmetic::first_model(federation.size.dim);
        let (at, dir) = (Facts::START, dir.to_owned());
        Ok(Self { hub, federation, seat, base, at, epoch: None, arithmetic, model, dir })
    }

    /// Sets the epoch up; the seconds it took.
    ///
    /// # Errors
    /// If any node fails in it.
    pub fn set_up(&mut self) -> Result<f64> {
        let began = Instant::now();
        let nobody = NodeSet::new(self.federation.size.nodes);
        let (mut machine, mut outputs) = ServerEpoch::open(&self.seat, 1, nobody);
        loop {
            if let Some(other) = self.hub.send(outputs)?.first() {
                bail!("the epoch failed: {other:?}");
            }
            if machine.is_complete() {
                break;
            }
            let (node, message) = self.hub.next()?;
            outputs = machine.handle(node, message)?;
        }
        self.epoch = machine.facts().cloned();
        let members = self.epoch.as_ref().map_or(0, |facts| facts.members.len());
        ensure!(members == usize::from(self.federation.size.nodes), "only {members} members");
        eprintln!("epoch: {:.3} s", began.elapsed().as_secs_f64());
        Ok(began.elapsed().as_secs_f64())
    }

    /// The distance between two neighbouring values of a parameter.
    pub fn step(&self) -> f64 {
        self.arithmetic.step()
    }

    /// Runs one round with all nodes.
    ///
    /// # Errors
    /// If anything goes otherwise than it should: there is nothing to measure then.
    pub fn round(&mut self) -> Result<Measured> {
        let epoch = self.epoch.as_ref().context("no epoch")?;
        let view = self.at.view(&self.base);
        let cohort = NodeSet::full(self.federation.size.nodes);
        let began = Instant::now();
        let (opened, machine_s) = timed(|| ServerRound::open(&self.seat, epoch, view, cohort));
        let (machine, outputs) = opened?;
        let mut running = Running {
            phase: machine.phase(),
            machine,
            began,
            phase_began: began,
            phases: BTreeMap::new(),
            machine_s,
            opened: None,
            certified: None,
        };
        self.carry_out(&mut running, outputs)?;
        while running.certified.is_none() {
            let (node, message) = self.hub.next()?;
            let (outputs, seconds) = timed(|| running.machine.handle(node, message));
            running.machine_s += seconds;
            running.tick();
            self.carry_out(&mut running, outputs?)?;
        }
        self.conclude(running)
    }

    fn carry_out(&mut self, running: &mut Running, outputs: Vec<ServerOutput>) -> Result<()> {
        for output in self.hub.send(outputs)? {
            match output {
                ServerOutput::Opened { sum, sum_root, .. } => {
                    let error = self.arithmetic.apply(&sum, &mut self.model)?;
                    running.opened = Some((sum, error));
                    let state = state_of(&sum_root);
                    let (more, seconds) = timed(|| running.machine.provide_state(state));
                    running.machine_s += seconds;
                    running.tick();
                    self.carry_out(running, more)?;
                }
                ServerOutput::Certified(quorum) => running.certified = Some(quorum),
                other => bail!("round {} failed: {other:?}", self.at.round),
            }
        }
        Ok(())
    }

    fn conclude(&mut self, running: Running) -> Result<Measured> {
        let round_s = running.began.elapsed().as_secs_f64();
        let round = self.at.round;
        let quorum = running.certified.context("no certificate")?;
        let (sum, error) = running.opened.context("no sum")?;
        self.at = Facts { round: round + 1, state: quorum.state_hash, previous: quorum.digest() };
        let (mut expected, mut nodes_cpu) = (Checks::default(), Cpu::default());
        for node in 0..self.federation.size.nodes {
            let said: HandedIn = plan::read_json(&plan::handed_in(&self.dir, node, round))?;
            self.arithmetic.add(&mut expected, &said.checks);
            nodes_cpu += said.cpu;
        }
        let exact = self.arithmetic.checks(&sum) == expected;
        eprintln!("round {round}: {round_s:.3} s, exact: {exact}, error {error:.2e}");
        let Running { phases, machine_s, .. } = running;
        Ok(Measured { round_s, phases, machine_s, error, exact, nodes_cpu })
    }
}

impl Running {
    /// Counts the time of a phase that has ended.
    fn tick(&mut self) {
        let phase = self.machine.phase();
        if phase != self.phase {
            let now = Instant::now();
            let seconds = now.duration_since(self.phase_began).as_secs_f64();
            *self.phases.entry(name(self.phase)).or_default() += seconds;
            (self.phase, self.phase_began) = (phase, now);
        }
    }
}

fn name(phase: ServerPhase) -> &'static str {
    match phase {
        ServerPhase::Committing => "committing",
        ServerPhase::Training => "training",
        ServerPhase::Uploading => "uploading",
        ServerPhase::Acknowledging => "acknowledging",
        ServerPhase::Unmasking => "unmasking",
        ServerPhase::Certifying => "certifying",
        ServerPhase::Certified => "certified",
        ServerPhase::Aborted => "aborted",
    }
}
