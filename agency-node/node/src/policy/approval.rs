//! Whose word a job needs before it runs, as the policy says it. Without the section a data steward
//! has to approve, and since none is named nobody can.
//!
//! Knows no statement, no key and no database.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tributary_job::JobSpec;
use tributary_job::spec::PrivacyMode;

/// The section `[approval]`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Whether a job needs a data steward's approval; true if left out.
    #[serde(default = "yes")]
    pub required: bool,
    /// Data stewards by name, with the datasets that each may approve jobs for.
    #[serde(default)]
    pub stewards: BTreeMap<String, Vec<String>>,
    /// Most days that an approval may be valid; 90 if left out.
    #[serde(default = "default_days")]
    pub max_days: u32,
    /// Jobs that nobody is asked about; none if left out.
    #[serde(default)]
    pub auto: Option<Automatic>,
}

/// Bounds within which nobody is asked. Every one of them has to be named.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Automatic {
    /// Datasets.
    pub datasets: Vec<String>,
    /// Privacy modes.
    pub modes: Vec<PrivacyMode>,
    /// Most epsilon that the job plans for.
    pub max_epsilon: f64,
    /// Most secure rounds.
    pub max_rounds: u32,
}

fn yes() -> bool {
    true
}

fn default_days() -> u32 {
    90
}

impl Default for Approval {
    fn default() -> Self {
        let stewards = BTreeMap::new();
        Self { required: true, stewards, max_days: default_days(), auto: None }
    }
}

impl Approval {
    /// No approval at all: jobs pass by the rest of the policy alone.
    pub fn not_required() -> Self {
        Self { required: false, ..Self::default() }
    }

    /// Whether a steward may approve jobs on a dataset.
    pub fn may_approve(&self, steward: &str, dataset: &str) -> bool {
        self.stewards.get(steward).is_some_and(|sets| sets.iter().any(|set| set == dataset))
    }

    /// Stewards who may approve jobs on a dataset.
    pub fn stewards_of<'a>(&'a self, dataset: &'a str) -> impl Iterator<Item = &'a str> {
        let may = move |sets: &Vec<String>| sets.iter().any(|set| set == dataset);
        self.stewards.iter().filter(move |(_, sets)| may(sets)).map(|(name, _)| name.as_str())
    }

    /// Checks the numbers and that datasets are those of the policy.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn check(&self, datasets: &[String]) -> Result<(), String> {
        if self.max_days == 0 {
            return Err("approval.max_days must be at least 1".into());
        }
        let known = |name: &String| datasets.contains(name);
        for (steward, sets) in &self.stewards {
            if let Some(other) = sets.iter().find(|set| !known(set)) {
                return Err(format!(
                    "approval.stewards: {steward} may approve jobs on {other:?}, which is not one of \
                     `datasets`"
                ));
            }
        }
        let Some(auto) = &self.auto else { return Ok(()) };
        if let Some(other) = auto.datasets.iter().find(|set| !known(set)) {
            return Err(format!("approval.auto: {other:?} is not one of `datasets`"));
        }
        if !(auto.max_epsilon.is_finite() && auto.max_epsilon > 0.0) {
            return Err("approval.auto.max_epsilon must be finite and positive".into());
        }
        Ok(())
    }
}

impl Automatic {
    /// Whether nobody has to be asked about a job. `epsilon` is what it plans for; `None` in mode
    /// `none`, where the mode itself has to be listed.
    pub fn covers(&self, spec: &JobSpec, epsilon: Option<f64>, rounds: u32) -> bool {
        self.datasets.contains(&spec.dataset)
            && self.modes.contains(&spec.privacy.mode)
            && epsilon.is_none_or(|epsilon| epsilon <= self.max_epsilon)
            && rounds <= self.max_rounds
    }
}
