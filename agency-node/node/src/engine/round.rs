//! One secure round at a node: commit, train, charge, upload, acknowledge, reveal, recompute.

use tributary_job::{ModelState, Operation, OperationPlan};
use tributary_secagg::{
    Digest, Fault, Lanes, NodeOutput, NodePhase, NodeRound, NodeSet, ResultQc, RoundStart,
    RoundView, ServerMessage,
};
use tributary_wire::session::ReportCode;

use super::control::Control;
use super::job::ActiveJob;
use super::{Now, Output, Record, Secret, Setup, vector};
use crate::audit::Event;
use crate::book::{Book, BookError, ChargeEntry};
use crate::policy::name_of;

/// The running attempt.
pub(super) struct Running {
    machine: NodeRound,
    round: u32,
    attempt: u16,
    operation: OperationPlan,
    /// Hash of the round's parameters, for the book.
    params: Digest,
    /// The state after this round, until a result quorum has signed it.
    provisional: Option<ModelState>,
    /// The agency's control variate if this attempt's vector comes to count.
    control: Option<Vec<f32>>,
    /// Whether it is paid for.
    pub(super) charged: bool,
    /// Whose vectors are in the sum, once it is open.
    survivors: Option<NodeSet>,
}

/// Why an attempt ends here: a code for the aggregator, words for the log.
struct GiveUp(ReportCode, String);

impl From<Fault> for GiveUp {
    fn from(fault: Fault) -> Self {
        Self(ReportCode::ProtocolFault, fault.to_string())
    }
}

impl Running {
    pub(super) fn phase(&self) -> String {
        format!("round {}, attempt {}: {}", self.round, self.attempt, self.machine.phase())
    }

    pub(super) fn upload(&self) -> Option<[u8; 32]> {
        let masked = matches!(self.machine.phase(), NodePhase::Masked | NodePhase::Uploaded);
        masked.then(|| self.machine.ctx().0)
    }

    pub(super) fn number(&self) -> (u32, u16) {
        (self.round, self.attempt)
    }
}

impl ActiveJob {
    pub(super) fn start_round(
        &mut self,
        setup: &Setup,
        book: &Book,
        start: RoundStart,
        out: &mut Vec<Output>,
    ) {
        // The same start again changes nothing.
        if self.running.as_ref().is_some_and(|running| running.machine.ctx() == start.context) {
            return;
        }
        let number = (start.view.round, start.view.attempt);
        self.running = None;
        if let Err(GiveUp(code, text)) = self.open_round(setup, book, start, out) {
            // By the number the aggregator gave it, or it would not know what is given up.
            self.report_of(number, code, &text, out);
        }
    }

    fn open_round(
        &mut self,
        setup: &Setup,
        book: &Book,
        start: RoundStart,
        out: &mut Vec<Output>,
    ) -> Result<(), GiveUp> {
        let round = self.state.completed;
        if start.view.round > round {
            let text = format!("asked for round {}, this node is at {round}", start.view.round);
            return Err(GiveUp(ReportCode::StateMissing, text));
        }
        if let Some(why) = &self.history.broken {
            return Err(GiveUp(ReportCode::ProtocolFault, why.clone()));
        }
        // By this node's own state: a job that its evaluations have stopped has no further round.
        let Some(operation) = self.plan().next(&self.state).cloned() else {
            let why = match self.plan().stops(&self.state) {
                true => "the evaluations in the certified sums have ended this job",
                false => "no round is left in the plan",
            };
            return Err(GiveUp(ReportCode::StateMismatch, why.into()));
        };
        if self.plan().privacy.is_none() {
            self.check_exact_sum(book, round, &start.cohort)?;
        }
        let undecided = self.control.as_ref().and_then(|control| control.undecided(round));
        if let Some(earlier) = undecided.filter(|_| operation.local_steps.is_some()) {
            // A wrong guess would bias everybody's model for the rest of the job.
            let text = format!(
                "this node cannot tell whether its vector of round {earlier} is in the model, and so \
                 not what its control variate is; it sits out until the job ends"
            );
            return Err(GiveUp(ReportCode::TrainingFailed, text));
        }
        let attempt = start.view.attempt;
        let view = RoundView {
            round,
            attempt,
            operation: operation.operation.code(),
            vector_len: operation.vector_len,
            lane_bits: operation.lanes(),
            state_hash: self.state.hash(&self.plan().job),
            params_hash: self
                .plan()
                .params_hash(&operation)
                .map_err(|e| GiveUp(ReportCode::ProtocolFault, e.to_string()))?,
            previous: self.certificate.as_ref().map_or(Digest::ZERO, ResultQc::digest),
        };
        let (seat, max_attempts) = (self.seat(setup)?, self.plan().max_attempts);
        let mut rng = (setup.randomness)()
            .map_err(|e| GiveUp(ReportCode::TrainingFailed, format!("no randomness: {e}")))?;
        let Some(keys) = &mut self.keys.ready else {
            return Err(GiveUp(ReportCode::NoEpochState, "no keys for this epoch".into()));
        };
        let (machine, commit) = NodeRound::open(&seat, keys, max_attempts, start, &view, &mut rng)?;
        // The attempt counts as used, durably, before anybody sees its first message.
        let secret = Secret(keys.to_secret_bytes());
        out.push(Output::Persist(Record::Epoch { job: self.hex(), secret }));
        let params = view.params_hash;
        self.running = Some(Running {
            machine,
            round,
            attempt,
            operation,
            params,
            provisional: None,
            control: None,
            charged: false,
            survivors: None,
        });
        self.send(&commit, out);
        Ok(())
    }

    /// Without noise nothing but company hides a vector: exact sums over different sets of agencies
    /// differ by somebody's vector. So there is one cohort, the whole roster, and one upload per
    /// round (the book refuses a second one whatever this check sees).
    fn check_exact_sum(&self, book: &Book, round: u32, cohort: &NodeSet) -> Result<(), GiveUp> {
        let whole = NodeSet::full(self.plan().roster.size());
        if *cohort != whole {
            let text = "mode none: invited with a part of the roster only".to_owned();
            return Err(GiveUp(ReportCode::ProtocolFault, text));
        }
        if book.uploaded(&self.hex(), round) {
            let text = "mode none: this node has uploaded in this round already".to_owned();
            return Err(GiveUp(ReportCode::AttemptSpent, text));
        }
        Ok(())
    }

    pub(super) fn round_message(
        &mut self,
        now: &Now,
        setup: &Setup,
        book: &mut Book,
        message: ServerMessage,
        out: &mut Vec<Output>,
    ) {
        let Some(running) = &mut self.running else { return };
        // A message of an attempt that is over is late, not wrong.
        if message.context() != running.machine.ctx() {
            return;
        }
        let outputs = running.machine.handle(message).map_err(GiveUp::from);
        let done = outputs.and_then(|outputs| self.carry_out(now, setup, book, outputs, out));
        if let Err(GiveUp(code, text)) = done {
            self.report(code, &text, out);
        }
    }

    fn carry_out(
        &mut self,
        now: &Now,
        setup: &Setup,
        book: &mut Book,
        outputs: Vec<NodeOutput>,
        out: &mut Vec<Output>,
    ) -> Result<(), GiveUp> {
        for output in outputs {
            let next = match output {
                NodeOutput::Send(message) => {
                    self.send(&message, out);
                    continue;
                }
                NodeOutput::Upload(upload) => {
                    out.push(Output::Upload { job: self.hash(), upload });
                    continue;
                }
                NodeOutput::Complained { against, why } => {
                    let name = self.agency_name(against);
                    out.push(Output::Note(format!("the shares of {name} are refused: {why}")));
                    continue;
                }
                NodeOutput::Stopped(fault) => return Err(fault.into()),
                NodeOutput::VectorNeeded => self.train(setup, out)?,
                NodeOutput::ChargeNeeded { payload_hash } => {
                    self.charge(now, setup, book, payload_hash, out)?
                }
                NodeOutput::Opened { sum, survivors, .. } => self.opened(&sum, survivors)?,
                NodeOutput::Certified(qc) => {
                    self.certified(qc, out)?;
                    continue;
                }
                NodeOutput::Aborted(abort) => {
                    out.push(Output::Note(format!("the attempt was aborted: {abort}")));
                    self.abandon_round();
                    return Ok(());
                }
            };
            self.carry_out(now, setup, book, next, out)?;
        }
        Ok(())
    }

    fn train(&mut self, setup: &Setup, out: &mut Vec<Output>) -> Result<Vec<NodeOutput>, GiveUp> {
        let failed = |text: String| GiveUp(ReportCode::TrainingFailed, text);
        let mut rng = (setup.randomness)().map_err(failed)?;
        let Some(running) = &mut self.running else { return Ok(Vec::new()) };
        let operation = &running.operation;
        let noise = self.reserve.take(operation, &self.noise, &setup.randomness).map_err(failed)?;
        let made = vector::make(
            operation,
            &self.data,
            self.trainer.as_mut(),
            &self.state,
            self.control.as_ref().map(Control::value),
            noise,
            &mut rng,
        )
        .map_err(failed)?;
        running.control = made.control;
        if made.non_finite > 0 {
            let text = format!(
                "{} records or persons had no finite gradient and count as zero",
                made.non_finite
            );
            out.push(Output::Note(text));
        }
        Ok(running.machine.provide_vector(made.lanes)?)
    }

    /// Pays for the attempt, durably, before a byte of it leaves.
    fn charge(
        &mut self,
        now: &Now,
        setup: &Setup,
        book: &mut Book,
        payload: Digest,
        out: &mut Vec<Output>,
    ) -> Result<Vec<NodeOutput>, GiveUp> {
        let (hex, dataset) = (self.hex(), self.manifest().spec.dataset.clone());
        let Some(running) = &mut self.running else { return Ok(Vec::new()) };
        let cost = match running.operation.operation {
            Operation::Statistics => self.costs.statistics.as_ref(),
            Operation::Training => self.costs.training.as_ref(),
            Operation::Evaluation => self.costs.evaluation.as_ref(),
        };
        if running.operation.release.is_some() && cost.is_none() {
            let text = "a private release without its cost".to_owned();
            return Err(GiveUp(ReportCode::BudgetSpent, text));
        }
        let charge = ChargeEntry {
            job: hex.clone(),
            round: running.round,
            attempt: running.attempt,
            kind: running.operation.operation.into(),
            params: running.params.to_string(),
            ctx: running.machine.ctx().to_string(),
            payload: payload.to_string(),
        };
        // Also without a cost: the book is where this node sees what it has uploaded.
        let entry = book.charge(&dataset, charge, cost, &now.0, &setup.identity).map_err(|e| {
            let code = match e {
                BookError::AlreadyCharged { .. } => ReportCode::AttemptSpent,
                _ => ReportCode::BudgetSpent,
            };
            GiveUp(code, e.to_string())
        })?;
        running.charged = true;
        if let (Some(control), Some(value)) = (&mut self.control, running.control.take()) {
            control.propose(running.round, running.machine.ctx(), value);
            let control = control.encode();
            out.push(Output::Persist(Record::Control { job: hex.clone(), control }));
        }
        out.push(Output::Persist(Record::Book(entry)));
        let (rdp, epsilon_spent) = book.spent_with(&dataset, &hex).unwrap_or((0.0, None));
        out.push(Output::Audit(Event::Release {
            job: hex,
            round: running.round,
            attempt: running.attempt,
            operation: name_of(running.operation.operation).to_owned(),
            dataset,
            rdp,
            epsilon_spent,
        }));
        Ok(running.machine.release_upload()?)
    }

    /// Notes that the running attempt's vector has left in full.
    pub(super) fn uploaded(
        &mut self,
        now: &Now,
        setup: &Setup,
        book: &mut Book,
        out: &mut Vec<Output>,
    ) {
        let Some(running) = &self.running else { return };
        match book.sent(&self.hex(), running.number(), &now.0, &setup.identity) {
            Ok(entry) => out.extend(entry.map(|entry| Output::Persist(Record::Book(entry)))),
            // It is paid for, and that is what counts.
            Err(error) => out.push(Output::Note(error.to_string())),
        }
    }

    /// Recomputes the state from the published sum and signs what it comes to.
    fn opened(&mut self, sum: &Lanes, survivors: NodeSet) -> Result<Vec<NodeOutput>, GiveUp> {
        let Some(running) = &self.running else { return Ok(Vec::new()) };
        let signed = running.operation.from_lanes(sum);
        let next = self
            .plan()
            .apply(self.manifest(), &self.state, &signed, survivors.len())
            .map_err(|e| GiveUp(ReportCode::StateMismatch, e.to_string()))?;
        if !next.is_finite() {
            let text = "the model is not finite any more; lower the learning rate".to_owned();
            return Err(GiveUp(ReportCode::NonFinite, text));
        }
        let hash = next.hash(&self.plan().job);
        let Some(running) = &mut self.running else { return Ok(Vec::new()) };
        running.provisional = Some(next);
        running.survivors = Some(survivors);
        Ok(running.machine.acknowledge_result(hash)?)
    }

    /// A result quorum has signed: the provisional state becomes the state.
    fn certified(&mut self, qc: ResultQc, out: &mut Vec<Output>) -> Result<(), GiveUp> {
        let job = self.plan().job;
        let number = self.running.as_ref().map(Running::number);
        let survivors = self.running.as_mut().and_then(|r| r.survivors.take());
        let provisional = self.running.as_mut().and_then(|r| r.provisional.take());
        let Some(next) = provisional.filter(|s| s.hash(&job) == qc.state_hash) else {
            let text = "a certificate for a state this node did not arrive at".to_owned();
            return Err(GiveUp(ReportCode::StateMismatch, text));
        };
        let (state, certificate) = (next.encode(), qc.encode());
        self.state = next;
        self.certificate = Some(qc);
        self.running = None;
        let control = self.settle_control();
        let job = self.hex();
        out.push(Output::Persist(Record::State { job, state, certificate, control }));
        if let (Some((round, attempt)), Some(survivors)) = (number, survivors) {
            let survivors = survivors.iter().map(|node| self.agency_name(node)).collect();
            let job = self.hex();
            out.push(Output::Audit(Event::RoundCertified { job, round, attempt, survivors }));
        }
        Ok(())
    }
}
