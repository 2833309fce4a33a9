//! The agency's policy: what may run here at all. Deny by default; no file, no work.
//!
//! The aggregator cannot weaken it: every offer is held against it before anything is loaded,
//! reserved or sent. A refusal carries a code from the fixed list and public numbers only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tributary_dp::Unit;
use tributary_job::spec::PrivacyMode;
use tributary_job::{Manifest, Plan};
use tributary_wire::session::RefusalCode;

/// `policy.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Datasets that jobs may use.
    pub datasets: Vec<String>,
    /// Privacy modes that may run: `record`, `none`.
    pub modes: Vec<PrivacyMode>,
    /// Model families that may run: `mlp`, `decoder`, `encoder`.
    pub model_families: Vec<String>,
    /// Most epsilon that one job may plan for.
    pub max_epsilon_per_job: f64,
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
    /// Most passes over the records between two rounds, where agencies train locally.
    #[serde(default = "default_max_local_epochs")]
    pub max_local_epochs: u32,
    /// Per dataset, the column that says whose a record is. A job that protects persons must name
    /// exactly this one: with another, near-unique column every record would pass for a person.
    #[serde(default)]
    pub person_columns: BTreeMap<String, String>,
}

fn default_max_local_epochs() -> u32 {
    20
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
        Ok(policy)
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
        let parameters = plan.layout.total() as u64;
        if parameters > self.max_parameters {
            let text = format!("{parameters} parameters, at most {}", self.max_parameters);
            return refuse(RefusalCode::PolicyOperation, text);
        }
        if plan.rounds > self.max_rounds {
            let text = format!("{} rounds, at most {}", plan.rounds, self.max_rounds);
            return refuse(RefusalCode::PolicyOperation, text);
        }
        let epochs = spec.training.local.map_or(0, |local| local.epochs);
        if epochs > self.max_local_epochs {
            let text = format!("{epochs} local epochs, at most {}", self.max_local_epochs);
            return refuse(RefusalCode::PolicyOperation, text);
        }
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
}

/// An example to start from, as `agency-node policy example` prints it.
pub const EXAMPLE: &str = include_str!("../../../deploy/config/policy.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_parses_and_unknown_fields_do_not() {
        assert!(Policy::parse(EXAMPLE).is_ok());
        let extra = format!("{EXAMPLE}\nmax_epsilon = 3\n");
        assert!(Policy::parse(&extra).unwrap_err().contains("max_epsilon"));
        assert!(Policy::parse("").is_err());
        let silent = EXAMPLE.replace("max_parameters = 100_000_000\n", "");
        assert_ne!(silent, EXAMPLE);
        assert_eq!(Policy::parse(&silent).unwrap().max_parameters, 100_000_000);
    }

    #[test]
    fn the_agency_says_which_column_tells_persons_apart() {
        let text = include_str!("../../../deploy/demo/flights.toml");
        let mut spec = tributary_job::JobSpec::from_toml(text).unwrap();
        spec.privacy.mode = PrivacyMode::Person;
        spec.data.person_column = Some("row_id".into());
        spec.validate().unwrap();
        let key = |i: usize| hex::encode([i as u8 + 1; 32]);
        let roster = spec.agencies.iter().enumerate().map(|(i, agency)| {
            let (agency, signing_key) = (agency.clone(), key(i));
            tributary_job::manifest::RosterEntry { agency, signing_key, declared_records: 10_000 }
        });
        let manifest = Manifest {
            version: tributary_job::manifest::MANIFEST_VERSION,
            roster: roster.collect(),
            aggregator_key: key(100),
            nonce: String::new(),
            spec,
        };
        let plan = Plan::derive(&manifest).unwrap();
        let mut policy = Policy::parse(EXAMPLE).unwrap();
        policy.modes.push(PrivacyMode::Person);
        policy.max_epsilon_per_job = 100.0;
        let refused = |policy: &Policy| policy.check(&manifest, &plan).err().map(|r| r.text);
        for column in [None, Some("passenger")] {
            policy.person_columns =
                column.map(|c| ("flights".into(), c.into())).into_iter().collect();
            assert!(refused(&policy).unwrap().contains("another column"), "{column:?}");
        }
        policy.person_columns = [("flights".into(), "row_id".into())].into();
        assert_eq!(refused(&policy), None);
    }

    #[test]
    fn no_file_means_no_work_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = Policy::load(&dir.path().join("policy.toml")).unwrap_err();
        assert!(error.to_string().contains("policy example"), "{error}");
    }
}
