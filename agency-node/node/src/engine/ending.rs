//! Whether a job is over: by the certified sums, not by the aggregator's word.
//!
//! An aggregator may end a job at any time; it costs nobody anything. What it may not do is call a job
//! completed, or stopped by its evaluations, that is not.

use tributary_secagg::ResultQc;
use tributary_wire::session::{JobEnd, JobOutcome};

use super::job::ActiveJob;

impl ActiveJob {
    /// Whether the end calls the job completed, and this node's own state is not its last one: then it
    /// takes the aggregator's word.
    pub(super) fn missed_the_end(&self, end: &JobEnd) -> bool {
        end.outcome == JobOutcome::Completed && self.plan().next(self.state()).is_some()
    }

    /// What an end that calls the job completed contradicts; `None` if nothing, or if this node cannot
    /// tell because it missed the last rounds.
    pub(super) fn contradicts(&self, end: &JobEnd) -> Option<String> {
        if end.outcome != JobOutcome::Completed {
            return None;
        }
        let own = self.state().hash(&self.plan().job);
        let certified = end.certificate.as_deref().map(|bytes| {
            let qc = ResultQc::decode(bytes, &self.limits()).map_err(|e| e.to_string())?;
            qc.verify(&self.plan().roster).map_err(|e| e.to_string())?;
            Ok::<_, String>(qc.state_hash)
        });
        let (completed, rounds) = (self.state().completed, self.plan().rounds);
        match certified {
            None => Some("no certificate of a last round came with the end".into()),
            Some(Err(why)) => {
                Some(format!("the certificate of the last round does not hold: {why}"))
            }
            Some(Ok(last)) if last != own => None,
            Some(Ok(_)) if self.plan().next(self.state()).is_none() => None,
            Some(Ok(_)) => Some(format!(
                "{completed} of {rounds} rounds are certified, and their evaluations do not end the job"
            )),
        }
    }
}
