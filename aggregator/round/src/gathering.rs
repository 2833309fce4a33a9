//! Before a job has a manifest: waiting until every agency it names is there with its dataset.

use std::collections::BTreeMap;

use tributary_job::manifest::{MANIFEST_VERSION, Manifest, RosterEntry};
use tributary_job::spec::JobSpec;

/// Collects what the manifest needs.
#[derive(Debug, Clone)]
pub struct Gathering {
    spec: JobSpec,
    declared: BTreeMap<String, u64>,
}

impl Gathering {
    /// For a validated specification.
    pub fn new(spec: JobSpec) -> Self {
        Self { spec, declared: BTreeMap::new() }
    }

    /// The specification.
    pub fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// An agency is there and declares so many records for the job's dataset.
    pub fn present(&mut self, agency: &str, declared_records: u64) {
        if declared_records > 0 && self.spec.agencies.iter().any(|a| a == agency) {
            self.declared.insert(agency.to_owned(), declared_records);
        }
    }

    /// An agency went away.
    pub fn absent(&mut self, agency: &str) {
        self.declared.remove(agency);
    }

    /// Agencies still waited for, in roster order.
    pub fn missing(&self) -> Vec<&str> {
        let there = |a: &&String| !self.declared.contains_key(a.as_str());
        self.spec.agencies.iter().filter(there).map(String::as_str).collect()
    }

    /// The manifest, once nobody is missing. `key_of` gives an agency's signing key in hex.
    pub fn manifest(
        &self,
        key_of: impl Fn(&str) -> Option<String>,
        aggregator_key: String,
        nonce: String,
    ) -> Option<Manifest> {
        let roster = self
            .spec
            .agencies
            .iter()
            .map(|agency| {
                Some(RosterEntry {
                    agency: agency.clone(),
                    signing_key: key_of(agency)?,
                    declared_records: *self.declared.get(agency)?,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Manifest {
            version: MANIFEST_VERSION,
            spec: self.spec.clone(),
            roster,
            aggregator_key,
            nonce,
        })
    }
}
