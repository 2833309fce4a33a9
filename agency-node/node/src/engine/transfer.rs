//! Receiving a certified state after missed rounds.

use tributary_job::Evaluations;
use tributary_secagg::ResultQc;
use tributary_wire::limits::MAX_STATE_CHUNK_BYTES;
use tributary_wire::session::{ReportCode, StateChunk};

use super::job::ActiveJob;
use super::{Output, Record};

/// A state that is arriving in pieces.
pub(super) struct Transfer {
    count: u32,
    next: u32,
    bytes: Vec<u8>,
    certificate: Vec<u8>,
}

/// A state that has arrived and is adopted.
struct Arrived {
    state: Vec<u8>,
    certificate: Vec<u8>,
}

impl ActiveJob {
    pub(super) fn state_chunk(&mut self, chunk: &StateChunk, out: &mut Vec<Output>) {
        match self.take_chunk(chunk) {
            Ok(None) => {}
            Ok(Some(Arrived { state, certificate })) => {
                let round = self.state.completed;
                out.push(Output::Note(format!("caught up with the job at round {round}")));
                // A vector whose certificate this node missed may be in the sum all the same.
                let control = self.settle_control();
                let job = self.hex();
                out.push(Output::Persist(Record::State { job, state, certificate, control }));
            }
            Err(text) => {
                self.transfer = None;
                self.report(ReportCode::StateMismatch, &text, out);
            }
        }
    }

    /// The certificate comes first and is checked before a byte is kept; the sizes follow from the
    /// plan, so a stream of pieces cannot fill the memory.
    fn take_chunk(&mut self, chunk: &StateChunk) -> Result<Option<Arrived>, String> {
        let (least, most) = self.state_bytes();
        let pieces = |bytes: usize| bytes.div_ceil(MAX_STATE_CHUNK_BYTES);
        if let Some(certificate) = &chunk.certificate {
            let qc = ResultQc::decode(certificate, &self.limits()).map_err(|e| e.to_string())?;
            qc.verify(&self.plan().roster).map_err(|e| e.to_string())?;
            let fits = (pieces(least)..=pieces(most)).contains(&(chunk.count as usize));
            if chunk.index != 0 || !fits {
                return Err(format!("{} pieces for a state of {most} bytes", chunk.count));
            }
            let (count, certificate) = (chunk.count, certificate.clone());
            self.transfer = Some(Transfer { count, next: 0, bytes: Vec::new(), certificate });
        }
        let Some(transfer) = &mut self.transfer else {
            return Err("a piece of a state without its certificate".into());
        };
        if chunk.index != transfer.next || transfer.bytes.len() + chunk.data.len() > most {
            return Err(format!("piece {} of a state out of turn", chunk.index));
        }
        transfer.bytes.extend_from_slice(&chunk.data);
        transfer.next += 1;
        if transfer.next < transfer.count {
            return Ok(None);
        }
        let Some(done) = self.transfer.take() else { return Ok(None) };
        self.abandon_round();
        self.adopt(&done.bytes, &done.certificate)?;
        Ok(Some(Arrived { state: done.bytes, certificate: done.certificate }))
    }

    /// Fewest and most bytes of a state of this job.
    fn state_bytes(&self) -> (usize, usize) {
        let plan = self.plan();
        let least = self.state.fixed_len();
        // A clip norm that has moved travels at the end, and then the evaluations so far.
        let clip = if plan.training.count_scale.is_some() { 8 } else { 0 };
        let evaluations = match (&plan.rules, &plan.evaluation) {
            (Some(_), Some(evaluation)) => Evaluations::most_bytes(
                plan.schedule.evaluations,
                evaluation.vector_len,
                plan.layout.total(),
            ),
            _ => 0,
        };
        (least, least + clip + evaluations)
    }
}
