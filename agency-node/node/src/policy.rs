//! The agency's policy: what may run here at all. Deny by default; no file, no work.
//!
//! The aggregator cannot weaken it: every offer is held against it before anything is loaded,
//! reserved or sent. A refusal carries a code from the fixed list and public numbers only.

mod approval;
pub mod hours;
pub mod resources;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use tributary_dp::Unit;
use tributary_job::spec::PrivacyMode;
use tributary_job::{Manifest, Operation, Plan};
use tributary_wire::session::RefusalCode;

pub use approval::{Approval, Automatic};
pub use hours::Hours;

/// `policy.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Datasets that jobs may use.
    pub datasets: Vec<String>,
    /// Privacy modes that may run.
    pub modes: Vec<PrivacyMode>,
    /// Model families that may run: `mlp`, `cnn`, `cox`, `decoder`, `encoder`.
    pub model_families: Vec<String>,
    /// What may be released: `statistics`, `training`, `evaluation`.
    pub operations: Vec<Operation>,
    /// Most epsilon that one job may plan for.
    pub max_epsilon_per_job: f64,
    /// Most epsilon over all jobs of a dataset's account in any 365 days.
    pub max_epsilon_per_year: f64,
    /// Largest delta of a job.
    pub max_delta: f64,
    /// Smallest survivor set whose sum may be opened.
    pub min_survivors: u16,
    /// Colluding agencies that the noise must at least allow for.
    pub min_colluders: u16,
    /// The share of the roster that a job must at least allow for as colluding; 0.1 if left out. A
    /// number alone says little about a large roster.
    #[serde(default = "default_corrupt_fraction")]
    pub min_corrupt_fraction: f64,
    /// Most secure rounds of one job.
    pub max_rounds: u32,
    /// Most parameters of a model: memory and time of this node.
    #[serde(default = "default_max_parameters")]
    pub max_parameters: u64,
    /// Most passes over the records between two rounds, where agencies train locally; with SCAFFOLD,
    /// over as many records as an agency has on average.
    #[serde(default = "default_max_local_epochs")]
    pub max_local_epochs: u32,
    /// Per dataset, the column that says whose a record is. A job that protects persons must name
    /// exactly this one: with another, near-unique column every record would pass for a person.
    #[serde(default)]
    pub person_columns: BTreeMap<String, String>,
    /// Most memory that a job may need here, in MiB, by [`resources::memory_mib`].
    #[serde(default = "default_memory")]
    pub max_memory_mib: u64,
    /// Most disk that a job's state may need here, in MiB, by [`resources::disk_mib`].
    #[serde(default = "default_disk")]
    pub max_disk_mib: u64,
    /// Most threads that mask and hash, whatever `node.toml` says; no further bound if left out.
    #[serde(default)]
    pub max_threads: Option<NonZeroUsize>,
    /// When rounds may run; at any time if left out.
    #[serde(default)]
    pub hours: Vec<Hours>,
    /// Whom this agency believes which signing keys the other agencies have; `pinned` if left out.
    #[serde(default)]
    pub roster: RosterTrust,
    /// Whose word a job needs; a data steward's if left out.
    #[serde(default)]
    pub approval: Approval,
}

/// Whom this agency believes which signing keys the other agencies have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RosterTrust {
    /// Its own list: every key in a roster must be pinned for its agency.
    #[default]
    Pinned,
    /// The first job that names an agency pins its key; another key later is refused.
    FirstUse,
    /// The aggregator. A pin that says otherwise still refuses.
    Aggregator,
}

impl RosterTrust {
    /// As it stands in the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::FirstUse => "first-use",
            Self::Aggregator => "aggregator",
        }
    }
}

fn default_max_local_epochs() -> u32 {
    20
}

fn default_memory() -> u64 {
    8192
}

fn default_disk() -> u64 {
    4096
}

fn default_corrupt_fraction() -> f64 {
    0.1
}

fn default_max_parameters() -> u64 {
    100_000_000
}

/// Why an offer is refused: for the aggregator, in public numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Refusal {
    /// The code.
    pub code: RefusalCode,
    /// Public numbers.
    pub text: String,
}

/// The policy file cannot be used; nothing runs until it can.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// No file, no work.
    #[error(
        "no policy at {path}: without one nothing may run; \
         start from `agency-node policy example > {path}`"
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Not readable.
    #[error("policy {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not valid.
    #[error("policy {path}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl Refusal {
    /// A refusal.
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl Policy {
    /// Reads the file.
    ///
    /// # Errors
    /// If it is missing, unreadable, has unknown fields or impossible numbers.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => PolicyError::Missing { path: path.to_owned() },
            _ => PolicyError::Io { path: path.to_owned(), source },
        })?;
        Self::parse(&text)
            .map_err(|problem| PolicyError::Invalid { path: path.to_owned(), problem })
    }

    /// Parses and checks the text.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = toml::from_str(text).map_err(|e| e.to_string().trim().to_owned())?;
        let positive = |v: f64| v.is_finite() && v > 0.0;
        if !positive(policy.max_epsilon_per_job) {
            return Err("max_epsilon_per_job must be finite and positive".into());
        }
        if !positive(policy.max_epsilon_per_year) {
            return Err("max_epsilon_per_year must be finite and positive".into());
        }
        if !(positive(policy.max_delta) && policy.max_delta < 0.01) {
            return Err("max_delta must be in (0, 0.01)".into());
        }
        if !(0.0..1.0).contains(&policy.min_corrupt_fraction) {
            return Err("min_corrupt_fraction must be at least 0 and below 1".into());
        }
        if policy.modes.contains(&PrivacyMode::Central) {
            return Err("modes: \"central\" trusts the aggregator with everything and exists in \
                        simulations only"
                .into());
        }
        if policy.min_survivors < 3 {
            return Err("min_survivors below 3 would open sums of too few agencies".into());
        }
        policy.approval.check(&policy.datasets)?;
        Ok(policy)
    }

    /// What this policy makes impossible or takes on trust, in words for the operator.
    pub fn remarks(&self) -> Vec<&'static str> {
        let mut remarks = Vec::new();
        if self.roster == RosterTrust::Aggregator {
            remarks.push(
                "roster = \"aggregator\": which keys the other agencies have is taken on the \
                 aggregator's word",
            );
        }
        let approval = &self.approval;
        if approval.required && approval.stewards.is_empty() && approval.auto.is_none() {
            remarks.push(
                "approval is required and no data steward is named: every job will wait. Name one \
                 under approval.stewards",
            );
        }
        if !approval.required {
            remarks.push("approval.required = false: jobs run without asking anybody");
        }
        remarks
    }

    /// Whether a job may run here.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, manifest: &Manifest, plan: &Plan) -> Result<(), Refusal> {
        let spec = &manifest.spec;
        let refuse = |code, text: String| Err(Refusal::new(code, text));
        if !self.datasets.contains(&spec.dataset) {
            return refuse(RefusalCode::UnknownDataset, format!("dataset {}", spec.dataset));
        }
        if !self.modes.contains(&spec.privacy.mode) {
            return refuse(RefusalCode::PolicyMode, format!("mode {}", spec.privacy.mode.name()));
        }
        let family = spec.model.family();
        if !self.model_families.iter().any(|f| f == family) {
            return refuse(RefusalCode::PolicyOperation, format!("model family {family}"));
        }
        let planned = [plan.statistics.as_ref(), Some(&plan.training), plan.evaluation.as_ref()];
        for operation in planned.into_iter().flatten().map(|planned| planned.operation) {
            if !self.operations.contains(&operation) {
                let text = format!("operation {}", name_of(operation));
                return refuse(RefusalCode::PolicyOperation, text);
            }
        }
        self.check_size(manifest, plan)?;
        if spec.privacy.mode.is_private() && spec.unit() == Unit::Person {
            let column = spec.data.person_column.as_ref();
            if column != self.person_columns.get(&spec.dataset) || column.is_none() {
                let text = "persons by another column than the one this agency has set";
                return refuse(RefusalCode::PolicyMode, text.into());
            }
        }
        let t = plan.roster.thresholds;
        if t.u_min < self.min_survivors {
            let text = format!("opens sums of {}, at least {}", t.u_min, self.min_survivors);
            return refuse(RefusalCode::PolicySurvivors, text);
        }
        if t.corrupt < self.min_colluders {
            let text = format!("allows for {}, at least {}", t.corrupt, self.min_colluders);
            return refuse(RefusalCode::PolicyCollusion, text);
        }
        if f64::from(t.corrupt) < self.min_corrupt_fraction * f64::from(t.n) - 1e-9 {
            let least = self.min_corrupt_fraction;
            let text = format!("allows for {} of {}, at least a share of {least}", t.corrupt, t.n);
            return refuse(RefusalCode::PolicyCollusion, text);
        }
        if spec.privacy.mode.is_private() && spec.privacy.delta > self.max_delta {
            let text = format!("delta {:e}, at most {:e}", spec.privacy.delta, self.max_delta);
            return refuse(RefusalCode::PolicyDelta, text);
        }
        let epsilon =
            plan.epsilon().map_err(|e| Refusal::new(RefusalCode::BadManifest, e.to_string()))?;
        match epsilon {
            Some(e) if e.epsilon > self.max_epsilon_per_job => {
                let text = format!("{:.3}, at most {}", e.epsilon, self.max_epsilon_per_job);
                refuse(RefusalCode::PolicyEpsilon, text)
            }
            _ => Ok(()),
        }
    }

    /// What the job takes of time, memory and disk.
    fn check_size(&self, manifest: &Manifest, plan: &Plan) -> Result<(), Refusal> {
        let spec = &manifest.spec;
        let refuse = |text: String| Err(Refusal::new(RefusalCode::PolicyOperation, text));
        let parameters = plan.layout.total() as u64;
        if parameters > self.max_parameters {
            let text = format!("{parameters} parameters, at most {}", self.max_parameters);
            return refuse(text);
        }
        if plan.rounds > self.max_rounds {
            let text = format!("{} rounds, at most {}", plan.rounds, self.max_rounds);
            return refuse(text);
        }
        let epochs = spec.training.local.map_or(0, |local| local.epochs);
        if epochs > self.max_local_epochs {
            let text = format!("{epochs} local epochs, at most {}", self.max_local_epochs);
            return refuse(text);
        }
        let declared = manifest.roster.iter().map(|entry| entry.declared_records).max();
        let memory = resources::memory_mib(spec, plan, declared.unwrap_or(0));
        if memory > self.max_memory_mib {
            return refuse(format!("{memory} MiB of memory, at most {}", self.max_memory_mib));
        }
        let disk = resources::disk_mib(plan);
        if disk > self.max_disk_mib {
            return refuse(format!("{disk} MiB of disk, at most {}", self.max_disk_mib));
        }
        Ok(())
    }
}

/// An operation as the policy names it.
pub fn name_of(operation: Operation) -> &'static str {
    match operation {
        Operation::Statistics => "statistics",
        Operation::Training => "training",
        Operation::Evaluation => "evaluation",
    }
}

/// An example to start from, as `agency-node policy example` prints it.
pub const EXAMPLE: &str = include_str!("../../../deploy/config/policy.toml");

#[cfg(test)]
mod tests;
