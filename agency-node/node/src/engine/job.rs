//! The job a node is in: manifest, plan, state, keys, data, trainer.

use tributary_dp::{DiscreteGaussian, RdpCurve, Release};
use tributary_job::{Manifest, ModelState, OperationPlan, Plan};
use tributary_secagg::{Limits, NodeEpoch, NodeIndex, ResultQc, Roster};
use tributary_training::{Dataset, Trainer};
use tributary_wire::session::{RefusalCode, ReportCode};

use super::epoch::Keys;
use super::round::Running;
use super::transfer::Transfer;
use super::{Output, Setup, StoredJob, report};
use crate::policy::Refusal;

/// A job in progress.
pub struct ActiveJob {
    manifest: Manifest,
    plan: Plan,
    me: NodeIndex,
    pub(super) keys: Keys,
    pub(super) state: ModelState,
    pub(super) certificate: Option<ResultQc>,
    pub(super) running: Option<Running>,
    pub(super) transfer: Option<Transfer>,
    pub(super) data: Dataset,
    pub(super) trainer: Box<dyn Trainer>,
    pub(super) noise: Noise,
    pub(super) costs: Costs,
}

/// What one attempt of each kind of round costs; `None` without noise.
pub(super) struct Costs {
    pub(super) statistics: Option<RdpCurve>,
    pub(super) training: Option<RdpCurve>,
}

/// One sampler per kind of round, its table made before any round opens.
pub(super) struct Noise {
    pub(super) statistics: Option<DiscreteGaussian>,
    pub(super) training: Option<DiscreteGaussian>,
}

impl ActiveJob {
    /// Loads data and trainer for a job that the policy allows.
    pub(super) fn prepare(setup: &Setup, manifest: Manifest, plan: Plan) -> Result<Self, Refusal> {
        let spec = &manifest.spec;
        let not_there = |text: &str| Refusal::new(RefusalCode::NotInRoster, text);
        let me = manifest.index_of(&setup.agency).ok_or_else(|| not_there("agency not listed"))?;
        let me = NodeIndex(me);
        if plan.roster.members.get(usize::from(me.0)) != Some(&setup.identity.verifying_key()) {
            return Err(not_there("listed with another signing key"));
        }
        let source = setup.datasets.get(&spec.dataset).ok_or_else(|| {
            Refusal::new(RefusalCode::UnknownDataset, format!("dataset {}", spec.dataset))
        })?;
        let declared = manifest.roster.get(usize::from(me.0)).map(|r| r.declared_records);
        if declared != Some(source.declared_records) {
            let text = "declared records differ from the registered ones";
            return Err(Refusal::new(RefusalCode::SchemaMismatch, text));
        }
        // What exactly does not fit stays here: the reason may quote a cell.
        let data = (source.load)(&spec.data).map_err(|text| {
            tracing::error!(dataset = %spec.dataset, "{text}");
            Refusal::new(RefusalCode::SchemaMismatch, "the dataset does not fit the job's schema")
        })?;
        if data.len() as u64 > tributary_job::plan::MAX_RECORDS_PER_NODE {
            let text = format!("at most {} records", tributary_job::plan::MAX_RECORDS_PER_NODE);
            return Err(Refusal::new(RefusalCode::SchemaMismatch, text));
        }
        let trainer = (setup.trainers)(&spec.model, spec.data.input_width())
            .map_err(|text| Refusal::new(RefusalCode::Unsupported, text))?;
        let noise = Noise {
            statistics: plan.statistics.as_ref().map(sampler).transpose()?.flatten(),
            training: sampler(&plan.training)?,
        };
        let costs = Costs {
            statistics: plan.statistics.as_ref().map(cost).transpose()?.flatten(),
            training: cost(&plan.training)?,
        };
        let state = plan.initial_state(&manifest);
        Ok(Self {
            keys: Keys::None,
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
            costs,
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
        if let Some(secret) = &stored.epoch {
            let keys = NodeEpoch::from_secret_bytes(&job.plan.roster, secret);
            job.keys = Keys::Ready(Box::new(keys.map_err(|e| e.to_string())?));
        }
        Ok(job)
    }

    /// Adopts a state whose hash a result quorum has signed.
    pub(super) fn adopt(&mut self, state: &[u8], certificate: &[u8]) -> Result<(), String> {
        let total = self.plan.layout.total();
        let state = ModelState::decode(state, total, self.plan.numeric_features)
            .map_err(|e| e.to_string())?;
        let certificate = ResultQc::decode(certificate, &self.limits()).map_err(|e| e.to_string())?;
        certificate.verify(&self.plan.roster).map_err(|e| e.to_string())?;
        if certificate.state_hash != state.hash(&self.plan.job) {
            return Err("the certificate is for another state".into());
        }
        // A node never goes back: an older state, however well signed, would repeat rounds.
        if state.completed < self.state.completed {
            return Err(format!("a state of round {}, older than this node's", state.completed));
        }
        self.state = state;
        self.certificate = Some(certificate);
        Ok(())
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

    /// The epoch whose keys this node holds.
    pub fn epoch_number(&self) -> Option<u32> {
        match &self.keys {
            Keys::Ready(keys) => Some(keys.epoch()),
            _ => None,
        }
    }

    pub(super) fn me(&self) -> NodeIndex {
        self.me
    }

    pub(super) fn roster(&self) -> std::sync::Arc<Roster> {
        self.plan.roster.clone()
    }

    pub(super) fn limits(&self) -> Limits {
        Limits::for_members(self.plan.roster.thresholds.n)
    }

    /// Drops the running attempt; its secrets are erased with it.
    pub(super) fn abandon_round(&mut self) {
        self.running = None;
        self.transfer = None;
    }

    /// Gives the attempt up: the aggregator gets a code, the log the words.
    pub(super) fn report(&mut self, code: ReportCode, local: &str, out: &mut Vec<Output>) {
        let (round, attempt) = match &self.running {
            Some(running) => running.number(),
            None => (self.state.completed, 0),
        };
        out.push(Output::Note(format!("round {round}, attempt {attempt}: {code}: {local}")));
        out.push(report(self.hash(), round, attempt, code));
        self.abandon_round();
    }
}

fn cost(operation: &OperationPlan) -> Result<Option<RdpCurve>, Refusal> {
    let curve = operation.release.as_ref().map(Release::rdp).transpose();
    curve.map_err(|e| Refusal::new(RefusalCode::Unsupported, e.to_string()))
}

fn sampler(operation: &OperationPlan) -> Result<Option<DiscreteGaussian>, Refusal> {
    operation
        .release
        .as_ref()
        .map(|release| DiscreteGaussian::new(release.sigma_local))
        .transpose()
        .map_err(|e| Refusal::new(RefusalCode::Unsupported, e.to_string()))
}
