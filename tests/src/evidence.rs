//! What a job leaves behind, checked the way an auditor would: with the manifest and nothing else.
//!
//! It believes neither the aggregator nor the nodes: signatures are checked against the keys in the
//! manifest, and every state is computed again from the published sums.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tributary_job::{Manifest, ModelState, Plan};
use tributary_ledger::{Entry, verify_lines};
use tributary_round::record::{AgencyEntry, KIND_AGENCY, KIND_END, KIND_ROUND, RoundEntry};
use tributary_secagg::{Limits, ResultQc, VectorKind, VerifyingKey, vector_root};

/// The evidence of one job, found whole.
#[derive(Debug)]
pub struct Evidence {
    /// The manifest.
    pub manifest: Manifest,
    /// What follows from it.
    pub plan: Plan,
    /// Every entry of the record.
    pub entries: Vec<Entry>,
    /// The certified rounds in order.
    pub rounds: Vec<RoundEntry>,
    /// What the record says about single agencies.
    pub agencies: Vec<AgencyEntry>,
    /// The state after the last round.
    pub state: ModelState,
}

impl Evidence {
    /// Reads and checks an export.
    ///
    /// # Panics
    /// If anything in it does not hold.
    pub fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("manifest.json")).expect("a manifest");
        let manifest = Manifest::from_canonical(&text).expect("a canonical manifest");
        let plan = Plan::derive(&manifest).expect("a plan");
        let key = VerifyingKey::from_hex(&manifest.aggregator_key).expect("a key");
        let record = fs::read(folder.join("rounds.jsonl")).expect("a record");
        let mut entries = Vec::new();
        verify_lines(record.as_slice(), &key.0, |entry| entries.push(entry.clone()))
            .expect("the record's chain and signatures hold");
        let rounds: Vec<RoundEntry> = bodies(&entries, KIND_ROUND);
        let state = replayed(folder, &manifest, &plan, &rounds);
        let agencies = bodies(&entries, KIND_AGENCY);
        Self { manifest, plan, entries, rounds, agencies, state }
    }

    /// The record's last word: whether the job was complete, and why not.
    ///
    /// # Panics
    /// If the record does not end with one.
    pub fn end(&self) -> &Value {
        let last = self.entries.last().expect("a record is never empty");
        assert_eq!(last.kind, KIND_END, "the record has no end: {last:?}");
        &last.body
    }

    /// Whether an agency's vector is in a round's sum.
    pub fn survived(&self, agency: &str, round: &RoundEntry) -> bool {
        round.survivors.iter().any(|s| s == agency)
    }

    /// Rounds without an agency: number, and whether it had been asked.
    pub fn rounds_without(&self, agency: &str) -> Vec<(u32, bool)> {
        let without = self.rounds.iter().filter(|r| !self.survived(agency, r));
        without.map(|r| (r.round, r.dropped.iter().any(|d| d == agency))).collect()
    }
}

fn bodies<B: serde::de::DeserializeOwned>(entries: &[Entry], kind: &str) -> Vec<B> {
    let wanted = entries.iter().filter(|e| e.kind == kind);
    wanted.map(|e| serde_json::from_value(e.body.clone()).expect("a known body")).collect()
}

/// Computes every state from the sums and holds it against the certificates.
fn replayed(folder: &Path, manifest: &Manifest, plan: &Plan, rounds: &[RoundEntry]) -> ModelState {
    let mut state = plan.initial_state(manifest);
    for (number, entry) in rounds.iter().enumerate() {
        assert_eq!(entry.round as usize, number, "rounds are certified in order");
        let qc = certificate(plan, entry);
        let operation = plan.operation(entry.round).expect("a planned round");
        let lanes = operation.unpack(&sum(folder, entry.round)).expect("a sum of the plan's shape");
        let root = vector_root(VectorKind::Sum, &qc.context, operation.lanes(), &lanes);
        assert_eq!(root, qc.sum_root, "round {number}: the sum is not the certified one");
        let signed = operation.from_lanes(&lanes);
        state = plan
            .apply(manifest, &state, &signed, qc.survivors.len())
            .expect("a sum of the planned length");
        assert_eq!(state.hash(&plan.job), qc.state_hash, "round {number}: another state");
    }
    state
}

/// A round's certificate, held against the roster's keys and the rest of the entry.
fn certificate(plan: &Plan, entry: &RoundEntry) -> ResultQc {
    let bytes = hex::decode(&entry.certificate).expect("a certificate in hex");
    let limits = Limits::for_members(plan.roster.thresholds.n);
    let qc = ResultQc::decode(&bytes, &limits).expect("a certificate");
    qc.verify(&plan.roster).expect("a quorum of survivors has signed");
    assert_eq!(qc.context.to_string(), entry.ctx);
    assert_eq!(qc.sum_root.to_string(), entry.sum_root);
    assert_eq!(qc.state_hash.to_string(), entry.state_hash);
    let mut both = [entry.survivors.clone(), entry.dropped.clone()].concat();
    let mut cohort = entry.cohort.clone();
    both.sort();
    cohort.sort();
    assert_eq!(both, cohort, "a cohort is its survivors and the dropped");
    assert_eq!(qc.survivors.len(), entry.survivors.len());
    qc
}

fn sum(folder: &Path, round: u32) -> Vec<u8> {
    let path = folder.join("sums").join(format!("{round:04}.bin"));
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
