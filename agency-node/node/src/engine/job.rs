//! The job a node is in: manifest, plan, state, keys, data, trainer.

use tributary_dp::{DiscreteGaussian, DpError, RdpCurve, Release};
use tributary_job::{Manifest, ModelState, OperationPlan, Plan};
use tributary_secagg::{Fault, Limits, NodeEpoch, NodeIndex, NodeSeat, ResultQc};
use tributary_training::{Dataset, Trainer};
use tributary_wire::session::{RefusalCode, ReportCode};

use super::control::Control;
use super::epoch::Keys;
use super::history::History;
use super::reserve::Reserve;
use super::round::Running;
use super::standing::planned_epsilon;
use super::transfer::Transfer;
use super::{DatasetSource, Output, Secret, Setup, StoredJob, report};
use crate::book::{JobCost, ProtectedUnit};
use crate::policy::Refusal;

/// A job in progress.
pub struct ActiveJob {
    manifest: Manifest,
    pub(super) plan: Plan,
    pub(super) me: NodeIndex,
    pub(super) keys: Keys,
    pub(super) state: ModelState,
    pub(super) certificate: Option<ResultQc>,
    pub(super) running: Option<Running>,
    pub(super) transfer: Option<Transfer>,
    pub(super) data: Dataset,
    pub(super) trainer: Box<dyn Trainer>,
    pub(super) noise: Noise,
    pub(super) reserve: Reserve,
    /// The agency's control variate, where the job trains with SCAFFOLD.
    pub(super) control: Option<Control>,
    pub(super) costs: Costs,
    /// Version of the dataset that was read.
    pub(super) dataset_version: String,
    /// Epsilon that it plans for; `None` in mode `none`.
    pub(super) epsilon: Option<f64>,
    pub(super) history: History,
}

/// What one attempt of each kind of round costs, and the job; `None` without noise.
pub(super) struct Costs {
    pub(super) statistics: Option<RdpCurve>,
    pub(super) training: Option<RdpCurve>,
    pub(super) evaluation: Option<RdpCurve>,
    /// Of the whole job.
    job: Option<JobCost>,
}

/// One sampler per kind of round, its table made before any round opens.
pub(super) struct Noise {
    pub(super) statistics: Option<DiscreteGaussian>,
    pub(super) training: Option<DiscreteGaussian>,
    pub(super) evaluation: Option<DiscreteGaussian>,
}

impl ActiveJob {
    /// Loads data and trainer for a job that the policy allows.
    pub(super) fn prepare(setup: &Setup, manifest: Manifest, plan: Plan) -> Result<Self, Refusal> {
        let spec = &manifest.spec;
        let (me, source) = place(setup, &manifest, &plan)?;
        // Before and after: what was read is what has this name, also if the file was replaced meanwhile.
        let dataset_version = version_of(source, &spec.dataset)?;
        // The source lets no cell decide (only file, header and specification can fail), so that an
        // offer is no query about a record. What exactly does not fit stays here all the same.
        let data = (source.load)(&spec.data).map_err(|text| {
            tracing::error!(dataset = %spec.dataset, "{text}");
            Refusal::new(RefusalCode::SchemaMismatch, "the dataset does not fit the job's schema")
        })?;
        if version_of(source, &spec.dataset)? != dataset_version {
            tracing::error!(dataset = %spec.dataset, "the file was changed while it was read");
            let text = "the dataset cannot be read now";
            return Err(Refusal::new(RefusalCode::SchemaMismatch, text));
        }
        // A tensor library's own words may name anything on this machine.
        let trainer =
            (setup.trainers)(&spec.model, spec.data.input_width(), spec.data.output_width())
                .map_err(|text| {
                    tracing::error!("no trainer for this model: {text}");
                    let text = "this node has no trainer for the model";
                    Refusal::new(RefusalCode::Unsupported, text)
                })?;
        let noise = Noise {
            statistics: plan.statistics.as_ref().map(sampler).transpose()?.flatten(),
            training: sampler(&plan.training)?,
            evaluation: plan.evaluation.as_ref().map(sampler).transpose()?.flatten(),
        };
        let costs = Costs {
            statistics: plan.statistics.as_ref().map(cost).transpose()?.flatten(),
            training: cost(&plan.training)?,
            evaluation: plan.evaluation.as_ref().map(cost).transpose()?.flatten(),
            job: job_cost(&manifest, &plan)?,
        };
        let (state, epsilon) = (plan.initial_state(&manifest), planned_epsilon(&plan));
        let control = state.control.as_ref().map(|shared| Control::new(shared.len()));
        Ok(Self {
            keys: Keys::default(),
            certificate: None,
            running: None,
            transfer: None,
            manifest,
            plan,
            me,
            state,
            data,
            trainer,
            noise,
            reserve: Reserve::default(),
            control,
            costs,
            dataset_version,
            epsilon,
            history: History::default(),
        })
    }

    /// Takes a stored job up again.
    pub(super) fn restore(setup: &Setup, stored: &StoredJob) -> Result<Self, String> {
        let manifest = Manifest::from_canonical(&stored.manifest).map_err(|e| e.to_string())?;
        let plan = Plan::derive(&manifest).map_err(|e| e.to_string())?;
        setup.policy.check(&manifest, &plan).map_err(|e| e.to_string())?;
        let mut job = Self::prepare(setup, manifest, plan).map_err(|e| e.to_string())?;
        if let Some((state, certificate)) = &stored.state {
            job.adopt(state, certificate)?;
        }
        if let Some(control) = &mut job.control {
            let found = stored.control.as_deref();
            match found.map(|bytes| Control::decode(bytes, control.value().len())) {
                Some(Some(kept)) => *control = kept,
                // The two are written together: going on with zeros would bias every later round.
                None if stored.state.is_none() => {}
                _ => return Err("the stored control variate is missing or damaged".into()),
            }
        }
        let keys = stored.epoch.as_ref().map(|secret| {
            NodeEpoch::from_secret_bytes(&job.plan.roster, secret).map_err(|e| e.to_string())
        });
        job.keys = Keys::restored(keys.transpose()?, stored.answered);
        Ok(job)
    }

    /// Adopts a state whose hash a result quorum has signed.
    pub(super) fn adopt(&mut self, state: &[u8], certificate: &[u8]) -> Result<(), String> {
        let total = self.plan.layout.total();
        let state = ModelState::decode(state, total, self.plan.numeric_features)
            .map_err(|e| e.to_string())?;
        if state.clip_factor.is_some() && self.plan.training.count_scale.is_none() {
            return Err("a state with a clip norm of its own, in a job whose norm is fixed".into());
        }
        if state.second_moment.is_some() != self.state.second_moment.is_some() {
            return Err("a state of another optimiser than the job's".into());
        }
        self.plan.check_evaluations(&state).map_err(|e| e.to_string())?;
        if state.control.is_some() != self.state.control.is_some() {
            return Err("a state of another algorithm than the job's".into());
        }
        let certificate =
            ResultQc::decode(certificate, &self.limits()).map_err(|e| e.to_string())?;
        certificate.verify(&self.plan.roster).map_err(|e| e.to_string())?;
        if certificate.state_hash != state.hash(&self.plan.job) {
            return Err("the certificate is for another state".into());
        }
        // A node never goes back: an older state, however well signed, would repeat rounds. Nor
        // sideways: two attempts of one round may both have found a quorum.
        let same = certificate.state_hash == self.state.hash(&self.plan.job);
        if state.completed < self.state.completed
            || (state.completed == self.state.completed && self.certificate.is_some() && !same)
        {
            let found = state.completed;
            return Err(format!("a state of round {found}, no newer than this node's own"));
        }
        self.state = state;
        self.certificate = Some(certificate);
        Ok(())
    }

    /// Moves the agency's control variate as the newest certificate says; its bytes, to be stored
    /// together with the state.
    pub(super) fn settle_control(&mut self) -> Option<Secret> {
        let control = self.control.as_mut()?;
        if let Some(certificate) = &self.certificate {
            control.settle(self.state.completed, certificate, self.me);
        }
        Some(control.encode())
    }

    /// The job's hash.
    pub fn hash(&self) -> [u8; 32] {
        self.plan.job.0
    }

    /// The job's hash in hex.
    pub fn hex(&self) -> String {
        self.plan.job.to_string()
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The newest certified state.
    pub fn state(&self) -> &ModelState {
        &self.state
    }

    /// Phase of the running round, in words.
    pub fn phase(&self) -> String {
        match &self.running {
            Some(running) => running.phase(),
            None => "between rounds".into(),
        }
    }

    /// Context of the running attempt if its vector is masked and nothing later has begun: then all
    /// that is left to do is to send the same bytes, from wherever the aggregator's copy ends.
    pub(super) fn upload(&self) -> Option<[u8; 32]> {
        self.running.as_ref().and_then(Running::upload)
    }

    /// The epoch whose keys this node holds.
    pub fn epoch_number(&self) -> Option<u32> {
        self.keys.ready.as_ref().map(|keys| keys.epoch())
    }

    /// What the whole job may cost; `None` without noise.
    pub(super) fn cost(&self) -> Option<&JobCost> {
        self.costs.job.as_ref()
    }

    /// This node's seat in the protocol.
    pub(super) fn seat(&self, setup: &Setup) -> Result<NodeSeat, Fault> {
        let roster = self.plan.roster.clone();
        let seat = NodeSeat::new(roster, self.me, setup.identity.clone())?;
        Ok(seat.with_threads(setup.threads))
    }

    /// An agency's name for the log.
    pub(super) fn agency_name(&self, node: NodeIndex) -> String {
        let entry = self.manifest.roster.get(usize::from(node.0));
        entry.map_or_else(|| format!("node {node}"), |entry| entry.agency.clone())
    }

    pub(super) fn limits(&self) -> Limits {
        Limits::for_members(self.plan.roster.thresholds.n)
    }

    /// Whether an attempt runs that is not paid for yet.
    pub(super) fn may_charge(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.charged)
    }

    /// Drops the running attempt; its secrets are erased with it.
    pub(super) fn abandon_round(&mut self) {
        self.running = None;
        self.transfer = None;
    }

    /// Gives the attempt up: the aggregator gets a code, the log the words.
    pub(super) fn report(&mut self, code: ReportCode, local: &str, out: &mut Vec<Output>) {
        let number = match &self.running {
            Some(running) => running.number(),
            None => (self.state.completed, 0),
        };
        self.report_of(number, code, local, out);
    }

    /// Gives up an attempt by its number, also one that could not be opened.
    pub(super) fn report_of(
        &mut self,
        (round, attempt): (u32, u16),
        code: ReportCode,
        local: &str,
        out: &mut Vec<Output>,
    ) {
        out.push(Output::Note(format!("round {round}, attempt {attempt}: {code}: {local}")));
        out.push(report(self.hash(), round, attempt, code));
        self.abandon_round();
    }
}

/// This agency's place in a job, and the dataset that it asks for.
pub(super) fn place<'a>(
    setup: &'a Setup,
    manifest: &Manifest,
    plan: &Plan,
) -> Result<(NodeIndex, &'a DatasetSource), Refusal> {
    let spec = &manifest.spec;
    let not_there = |text: &str| Refusal::new(RefusalCode::NotInRoster, text);
    let me = manifest.index_of(&setup.agency).ok_or_else(|| not_there("agency not listed"))?;
    if plan.roster.members.get(usize::from(me)) != Some(&setup.identity.verifying_key()) {
        return Err(not_there("listed with another signing key"));
    }
    let source = setup.datasets.get(&spec.dataset).ok_or_else(|| {
        Refusal::new(RefusalCode::UnknownDataset, format!("dataset {}", spec.dataset))
    })?;
    let declared = manifest.roster.get(usize::from(me)).map(|r| r.declared_records);
    if declared != Some(source.declared_records) {
        let text = "declared records differ from the registered ones";
        return Err(Refusal::new(RefusalCode::SchemaMismatch, text));
    }
    Ok((NodeIndex(me), source))
}

/// The words stay here: they may name a path.
fn version_of(source: &DatasetSource, dataset: &str) -> Result<String, Refusal> {
    (source.version)().map_err(|text| {
        tracing::error!(%dataset, "{text}");
        Refusal::new(RefusalCode::SchemaMismatch, "the dataset cannot be read now")
    })
}

/// What the whole job may cost; `None` without noise.
pub(super) fn job_cost(manifest: &Manifest, plan: &Plan) -> Result<Option<JobCost>, Refusal> {
    let Some(privacy) = &plan.privacy else { return Ok(None) };
    let spec = &manifest.spec;
    let unit = ProtectedUnit::of(spec).ok_or_else(|| {
        let text = "noise that protects nobody in particular";
        Refusal::new(RefusalCode::Unsupported, text)
    })?;
    let spare = spec.secure_aggregation.spare_attempts;
    JobCost::of(privacy, unit, spare).map(Some).map_err(unsupported)
}

fn cost(operation: &OperationPlan) -> Result<Option<RdpCurve>, Refusal> {
    let curve = operation.release.as_ref().map(Release::rdp).transpose();
    curve.map_err(unsupported)
}

fn sampler(operation: &OperationPlan) -> Result<Option<DiscreteGaussian>, Refusal> {
    operation
        .release
        .as_ref()
        .map(|release| DiscreteGaussian::new(release.sigma_local))
        .transpose()
        .map_err(unsupported)
}

/// The plan's public numbers are outside what the accountant or the sampler serve.
fn unsupported(error: DpError) -> Refusal {
    Refusal::new(RefusalCode::Unsupported, error.to_string())
}
