//! Replaying a run from its evidence: every certificate, every sum, every state.
//!
//! Believes the manifest (whose hash a reader compares with the one the agencies approved) and the
//! keys in it, nothing else. Starts from the initial state that the manifest fixes and recomputes
//! each next one from the published sums, as every node did.

use std::collections::BTreeMap;

use tributary_job::plan::{EvaluationPoint, OperationPlan};
use tributary_job::{Manifest, ModelState, Operation, Plan};
use tributary_secagg::{
    Digest, Evidence, Limits, NodeIndex, NodeSet, Party, ResultQc, RoundView, VectorKind,
    VerifyingKey, context, vector_root,
};

use crate::error::SimulationError;
use crate::evidence::{MANIFEST, RunDir};
use crate::record::{self, Accusation, CertifiedRound, Record};

/// What a run came to, verified.
#[derive(Debug)]
pub struct Replay {
    /// The manifest.
    pub manifest: Manifest,
    /// The plan that follows from it.
    pub plan: Plan,
    /// The record.
    pub record: Record,
    /// The state after the last certified round.
    pub state: ModelState,
    /// Published sums of the evaluation rounds, packed lanes by round.
    pub evaluations: BTreeMap<u32, Vec<u8>>,
}

impl Replay {
    /// The state as it is released: with the parameters that the job keeps.
    #[must_use]
    pub fn released(&self) -> ModelState {
        ModelState { parameters: self.state.released().to_vec(), ..self.state.clone() }
    }

    /// The evaluation rounds, in order.
    #[must_use]
    pub fn points(&self) -> Vec<EvaluationPoint> {
        self.plan.evaluation_points(&self.manifest, self.sums())
    }

    /// Rounds and sums of the evaluations.
    pub fn sums(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.evaluations.iter().map(|(round, sum)| (*round, &sum[..]))
    }
}

/// Verifies a run and hands every state, the initial one included, to `visit` in order.
///
/// # Errors
/// [`SimulationError::Evidence`] at the first thing that does not hold; else what `visit` returns.
pub fn replay(
    run: &RunDir,
    mut visit: impl FnMut(&Plan, &ModelState) -> Result<(), SimulationError>,
) -> Result<Replay, SimulationError> {
    let text = run.read_manifest()?;
    let in_manifest = |problem: String| SimulationError::evidence(MANIFEST, problem);
    let manifest =
        Manifest::from_canonical(text.trim_end()).map_err(|e| in_manifest(e.to_string()))?;
    let plan = Plan::derive(&manifest).map_err(|e| in_manifest(e.to_string()))?;
    let key =
        VerifyingKey::from_hex(&manifest.aggregator_key).map_err(|e| in_manifest(e.to_string()))?;
    let record = record::read(&run.record(), text.trim_end(), &key.0)?;
    let mut state = plan.initial_state(&manifest);
    let (mut previous, mut evaluations) = (Digest::ZERO, BTreeMap::new());
    visit(&plan, &state)?;
    for round in &record.rounds {
        let step = Step { manifest: &manifest, plan: &plan, state: &state, round };
        let at = |problem: String| {
            SimulationError::evidence(format!("round {}", round.entry.round), problem)
        };
        let certificate = step.certificate(previous).map_err(at)?;
        let sum = run.read_sum(round.entry.round)?;
        let next = step.next(&certificate, &sum).map_err(at)?;
        previous = certificate.digest();
        if step.operation().is_ok_and(|o| o.operation == Operation::Evaluation) {
            evaluations.insert(round.entry.round, sum);
        }
        state = next;
        visit(&plan, &state)?;
    }
    check_end(&plan, &record, &state)?;
    for accusation in &record.accusations {
        check_accusation(&manifest, &plan, accusation).map_err(|problem| {
            let what = format!("the evidence against {}", accusation.agency);
            SimulationError::evidence(what, problem)
        })?;
    }
    Ok(Replay { manifest, plan, record, state, evaluations })
}

/// One certified round against the state before it.
struct Step<'a> {
    manifest: &'a Manifest,
    plan: &'a Plan,
    state: &'a ModelState,
    round: &'a CertifiedRound,
}

impl Step<'_> {
    /// The round's certificate: a quorum of the roster signed exactly what the entry says, in the
    /// context that follows from plan, state, keys and cohort.
    fn certificate(&self, previous: Digest) -> Result<ResultQc, String> {
        let entry = &self.round.entry;
        if entry.round != self.state.completed {
            return Err(format!("stands where round {} is expected", self.state.completed));
        }
        let operation = self.operation()?;
        let bytes = hex::decode(&entry.certificate).map_err(|e| format!("certificate: {e}"))?;
        let limits = Limits::for_members(self.plan.roster.size());
        let qc = ResultQc::decode(&bytes, &limits).map_err(|e| format!("certificate: {e}"))?;
        qc.verify(&self.plan.roster).map_err(|e| format!("certificate: {e}"))?;
        let cohort = self.set("cohort", &entry.cohort)?;
        let survivors = self.set("survivors", &entry.survivors)?;
        if qc.survivors != survivors {
            return Err("the record names other survivors than the certificate".into());
        }
        if !survivors.is_subset(&cohort)
            || self.set("dropped", &entry.dropped)? != cohort.difference(&survivors)
        {
            return Err("cohort, survivors and dropped do not fit together".into());
        }
        let transcript = Digest::from_hex(&self.round.transcript).map_err(|e| e.to_string())?;
        let view = RoundView {
            round: entry.round,
            attempt: entry.attempt,
            operation: operation.operation.code(),
            vector_len: operation.vector_len,
            lane_bits: operation.lanes(),
            state_hash: self.state.hash(&self.plan.job),
            params_hash: self.plan.params_hash(operation).map_err(|e| e.to_string())?,
            previous,
        };
        if qc.context != context(&self.plan.roster, &transcript, &view, &cohort) {
            return Err("its context does not follow from plan, state and cohort".into());
        }
        for (what, stated, certified) in [
            ("context", &entry.ctx, qc.context),
            ("root of the sum", &entry.sum_root, qc.sum_root),
            ("state hash", &entry.state_hash, qc.state_hash),
        ] {
            if *stated != certified.to_string() {
                return Err(format!("the record's {what} is not the certified one"));
            }
        }
        Ok(qc)
    }

    /// The state after the round, if the sum is the certified one and leads to the certified state.
    fn next(&self, qc: &ResultQc, sum: &[u8]) -> Result<ModelState, String> {
        let operation = self.operation()?;
        let wrong = || {
            let (length, bits) = (operation.vector_len, operation.lane_bits);
            format!("the sum's {} bytes are not {length} lanes of {bits} bits", sum.len())
        };
        let lanes = operation.unpack(sum).ok_or_else(wrong)?;
        if vector_root(VectorKind::Sum, &qc.context, operation.lanes(), &lanes) != qc.sum_root {
            return Err("the sum is not the one that the agencies certified".into());
        }
        let sum = operation.from_lanes(&lanes);
        let next = self.plan.apply(self.manifest, self.state, &sum, qc.survivors.len());
        let next = next.map_err(|e| e.to_string())?;
        if next.hash(&self.plan.job) != qc.state_hash {
            return Err("the sum leads to another state than the certified one".into());
        }
        Ok(next)
    }

    fn operation(&self) -> Result<&OperationPlan, String> {
        if self.plan.stops(self.state) {
            return Err("the evaluations before it have ended the job".into());
        }
        let operation = self.plan.operation(self.round.entry.round);
        operation.ok_or_else(|| format!("the plan has only {} rounds", self.plan.rounds))
    }

    fn set(&self, what: &str, names: &[String]) -> Result<NodeSet, String> {
        let mut set = NodeSet::new(self.plan.roster.size());
        for name in names {
            let index = self.manifest.index_of(name);
            let index = index.ok_or_else(|| format!("{what}: {name} is not in the roster"))?;
            if !set.insert(NodeIndex(index)) {
                return Err(format!("{what}: {name} is named twice"));
            }
        }
        Ok(set)
    }
}

/// The evidence must prove, with the roster's keys alone, that just this agency broke the protocol.
fn check_accusation(
    manifest: &Manifest,
    plan: &Plan,
    accusation: &Accusation,
) -> Result<(), String> {
    let bytes = hex::decode(&accusation.evidence).map_err(|e| e.to_string())?;
    let limits = Limits::for_members(plan.roster.size());
    let evidence = Evidence::decode(&bytes, &limits).map_err(|e| e.to_string())?;
    let (party, what) = evidence.verify(&plan.roster).map_err(|e| e.to_string())?;
    let index = manifest.index_of(&accusation.agency);
    if index.map(|index| Party::Node(NodeIndex(index))) != Some(party) {
        return Err(format!("it is {party} who {what}"));
    }
    Ok(())
}

fn check_end(plan: &Plan, record: &Record, state: &ModelState) -> Result<(), SimulationError> {
    let certified = record.rounds.len() as u32;
    let refuse = |problem: String| Err(SimulationError::evidence("record", problem));
    match &record.end {
        Some(end) if end.rounds != certified => {
            refuse(format!("its end speaks of {} rounds, {certified} are certified", end.rounds))
        }
        Some(end) if end.complete != plan.next(state).is_none() => {
            let said = if end.complete { "is complete" } else { "was not completed" };
            refuse(format!(
                "its end says that the job {said}; by the certified sums of its {certified} rounds it is \
                 otherwise"
            ))
        }
        _ => Ok(()),
    }
}
