//! A virtual node: the daemon's engine with a virtual disk. Its process can die and start again.
//!
//! Knows nothing of the other nodes or of rounds.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tributary_dp::SecretRng;
use tributary_job::spec::PrivacyMode;
use tributary_job::{JobSpec, Operation, Plan};
use tributary_node::book::{Book, BudgetLimit, ProtectedUnit};
use tributary_node::engine::{DatasetSource, Engine, Output, Record, Setup};
use tributary_node::policy::{Approval, Policy, RosterTrust};
use tributary_secagg::{Identity, VerifyingKey};
use tributary_training::{Assets, Dataset};
use tributary_wire::session::{FromNode, Secagg, ToNode};

use super::clock::VirtualClock;
use super::disk::Disk;
use crate::error::SimulationError;
use crate::trainers::TrainerKind;

/// What a virtual node is made of.
pub struct Recipe {
    /// Its agency.
    pub agency: String,
    /// The name of the job's dataset.
    pub dataset: String,
    /// The table.
    pub table: PathBuf,
    /// Public files that the job may name.
    pub assets: Assets,
    /// The public constant N_i.
    pub declared_records: u64,
    /// Who computes gradients.
    pub trainer: TrainerKind,
    /// Key that signs its messages.
    pub identity: Arc<Identity>,
    /// The aggregator's key.
    pub aggregator: VerifyingKey,
    /// Seed of its randomness.
    pub seed: u64,
    /// Terms of the dataset's account.
    pub limit: BudgetLimit,
    /// What may run.
    pub policy: Policy,
}

/// A node that runs in this process.
pub struct VirtualNode {
    recipe: Recipe,
    disk: Disk,
    engine: Option<Engine>,
    draws: Arc<AtomicU64>,
    inbox: VecDeque<ToNode>,
}

impl VirtualNode {
    /// A node whose process has not started yet.
    pub fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            disk: Disk::default(),
            engine: None,
            draws: Arc::new(AtomicU64::new(0)),
            inbox: VecDeque::new(),
        }
    }

    /// The agency.
    pub fn agency(&self) -> &str {
        &self.recipe.agency
    }

    /// Whether its process runs.
    pub fn is_up(&self) -> bool {
        self.engine.is_some()
    }

    /// Starts the process from what is on disk, as the daemon does.
    ///
    /// # Errors
    /// If what is on disk cannot be gone on with.
    pub fn start(&mut self, clock: VirtualClock) -> Result<FromNode, SimulationError> {
        let stopped = |problem: String| {
            SimulationError::Federation(format!("{} cannot start: {problem}", self.recipe.agency))
        };
        let mut book = Book::replay(self.disk.book()).map_err(|e| stopped(e.to_string()))?;
        let dataset = &self.recipe.dataset;
        if !book.datasets().contains_key(dataset) {
            let now = clock.node().0;
            let entry = book.register(dataset, self.recipe.limit, &now, &self.recipe.identity);
            self.disk.persist(Record::Book(entry.map_err(|e| stopped(e.to_string()))?));
        }
        let mut engine = Engine::new(self.setup(), book);
        if let Some(stored) = self.disk.job() {
            engine.resume(&stored).map_err(|e| stopped(e.to_string()))?;
        }
        let hello = engine.hello(env!("CARGO_PKG_VERSION"));
        self.engine = Some(engine);
        Ok(hello)
    }

    /// The process dies: memory and unread frames are gone.
    pub fn kill(&mut self) {
        self.engine = None;
        self.inbox.clear();
    }

    /// A frame arrives; lost if no process runs.
    pub fn receive(&mut self, frame: ToNode) {
        if self.is_up() {
            self.inbox.push_back(frame);
        }
    }

    /// Whether frames wait.
    pub fn has_mail(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Takes the frames that wait and returns what it sends, having made durable what comes
    /// before.
    pub fn work(&mut self, clock: VirtualClock) -> Vec<FromNode> {
        let Some(engine) = &mut self.engine else { return Vec::new() };
        let (now, mut sent) = (clock.node(), Vec::new());
        while let Some(frame) = self.inbox.pop_front() {
            for output in engine.handle(&now, frame) {
                match output {
                    Output::Persist(record) => self.disk.persist(record),
                    Output::Send(frame) => sent.push(frame),
                    Output::Upload { job, upload } => {
                        sent.extend(upload.map(|message| {
                            let frame = message.encode().into();
                            FromNode::Secagg(Secagg { job, frame })
                        }));
                        for noted in engine.uploaded(&now, job) {
                            if let Output::Persist(record) = noted {
                                self.disk.persist(record);
                            }
                        }
                    }
                    Output::Audit(_) => {}
                    Output::Note(text) => {
                        tracing::debug!(agency = %self.recipe.agency, "{text}");
                    }
                }
            }
        }
        sent
    }

    fn setup(&self) -> Setup {
        let recipe = &self.recipe;
        let table = recipe.table.clone();
        let (files, assets) = (recipe.assets.clone(), recipe.assets.clone());
        let source = DatasetSource {
            declared_records: recipe.declared_records,
            load: Box::new(move |spec| {
                Dataset::load_csv_with(&table, spec, &files).map_err(|e| e.to_string())
            }),
            version: Box::new(|| Ok("simulated".to_owned())),
        };
        let trainer = recipe.trainer;
        let (seed, agency, draws) = (recipe.seed, recipe.agency.clone(), self.draws.clone());
        Setup {
            agency: recipe.agency.clone(),
            identity: recipe.identity.clone(),
            aggregator: recipe.aggregator,
            policy: recipe.policy.clone(),
            datasets: BTreeMap::from([(recipe.dataset.clone(), source)]),
            trainers: Box::new(move |model, inputs, outputs| {
                trainer.make_with(model, inputs, outputs, &assets)
            }),
            threads: std::num::NonZeroUsize::MIN,
            randomness: Box::new(move || {
                // The count goes on over restarts: noise is never drawn twice.
                let draw = draws.fetch_add(1, Ordering::Relaxed);
                Ok(SecretRng::danger_deterministic(derive(seed, "randomness", &agency, draw)))
            }),
        }
    }
}

/// 32 bytes for one purpose from the scenario's seed.
pub fn derive(seed: u64, purpose: &str, name: &str, count: u64) -> [u8; 32] {
    let parts: [&[u8]; 4] =
        [&seed.to_le_bytes(), purpose.as_bytes(), name.as_bytes(), &count.to_le_bytes()];
    tributary_secagg::hash("tributary/simulation/v1", &parts).0
}

/// A policy that allows this job: a simulation asks nobody for approval.
pub fn policy_for(spec: &JobSpec, plan: &Plan) -> Policy {
    Policy {
        datasets: vec![spec.dataset.clone()],
        modes: PrivacyMode::ALL.to_vec(),
        model_families: vec![spec.model.family().into()],
        max_epsilon_per_job: f64::MAX,
        max_delta: spec.privacy.delta,
        min_survivors: plan.roster.thresholds.u_min,
        min_colluders: 0,
        min_corrupt_fraction: 0.0,
        max_rounds: plan.rounds,
        max_parameters: plan.layout.total() as u64,
        max_local_epochs: u32::MAX,
        person_columns: spec
            .data
            .person_column
            .iter()
            .map(|column| (spec.dataset.clone(), column.clone()))
            .collect(),
        operations: vec![Operation::Statistics, Operation::Training, Operation::Evaluation],
        max_epsilon_per_year: f64::MAX,
        max_memory_mib: u64::MAX,
        max_disk_mib: u64::MAX,
        max_threads: None,
        hours: Vec::new(),
        roster: RosterTrust::Aggregator,
        approval: Approval::not_required(),
    }
}

/// Terms under which the whole job fits into a dataset's account.
///
/// # Errors
/// From the accountant, or if no account could hold the job.
pub fn limit_for(spec: &JobSpec, plan: &Plan) -> Result<BudgetLimit, SimulationError> {
    let refuse = |text: String| SimulationError::Federation(text);
    let unit = ProtectedUnit::of(spec).unwrap_or_default();
    let any = |epsilon: f64| {
        BudgetLimit::new(epsilon, spec.privacy.delta).map(|limit| limit.for_unit(unit))
    };
    let Some(privacy) = &plan.privacy else {
        return any(8.0).ok_or_else(|| refuse("no budget account fits the job's delta".into()));
    };
    let curve = privacy.rdp().map_err(|e| refuse(e.to_string()))?;
    let mut epsilon = privacy.epsilon().map_err(|e| refuse(e.to_string()))?.epsilon;
    // An account keeps one order; the larger the limit, the smaller the order.
    for _ in 0..64 {
        let fits = |l: &BudgetLimit| curve.at(l.order).is_some_and(|cost| cost * 1.000_001 < l.rdp);
        if let Some(limit) = any(epsilon).filter(fits) {
            return Ok(limit);
        }
        epsilon *= 1.25;
    }
    Err(refuse("the job costs more than any budget account can hold".into()))
}

/// Whether a frame belongs to the secure-aggregation protocol.
pub fn is_protocol(frame: &FromNode) -> bool {
    matches!(frame, FromNode::Secagg(Secagg { .. }))
}
