//! Agencies that are further than this aggregator: then its state is an older one, put back from a
//! backup, and their rounds cannot be made again.
//!
//! Must not know: backups, and what is in a round.

use super::Coordinator;
use super::members::Member;

impl Coordinator {
    /// Why an agency that has more than this aggregator cannot take part.
    pub(super) fn ahead(&self, member: &Member) -> Option<String> {
        let here = self.state.completed;
        match (member.resume.completed, member.resume.epoch) {
            (Some(round), _) if round > here => Some(format!(
                "it has {round} certified rounds, this aggregator {here}: one of the two has been \
                 put back from a backup"
            )),
            (_, Some(epoch)) if epoch > self.epoch => Some(format!(
                "it holds keys of epoch {epoch}, this aggregator made {}: one of the two has been \
                 put back from a backup",
                self.epoch
            )),
            _ => None,
        }
    }

    /// Why the job cannot go on, if at least one honest agency is ahead. Up to C may say so and lie:
    /// those just sit out.
    pub(super) fn behind(&self) -> Option<String> {
        let ahead = self.members_where(|m| m.connected && self.ahead(m).is_some());
        if ahead.len() <= usize::from(self.plan.roster.thresholds.corrupt) {
            return None;
        }
        let newest = self.members.iter().filter_map(|m| m.resume.completed).max().unwrap_or(0);
        Some(format!(
            "this aggregator's state is older than that of its agencies (up to {newest} certified \
             rounds, here {}): it was put back from a backup that does not hold their newest rounds, \
             and nothing can make these rounds a second time. Ahead are {}. Nothing was released \
             twice. If the newest aggregator.db still exists, put it back; otherwise submit the job \
             anew",
            self.state.completed,
            ahead.join(", ")
        ))
    }
}
