//! The context of one attempt of one round: everything the parties must agree
//! on, hashed by each of them from what it believes itself. It knows no keys.

use crate::digest::{Digest, hash};
use crate::ids::NodeSet;
use crate::lanes::LaneBits;
use crate::roster::Roster;
use crate::vector::Shape;

/// What a party itself believes about the attempt. A node fills it from its own
/// manifest, model state and log, never from the aggregator's message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoundView {
    /// Round of the job, counted from zero.
    pub round: u32,
    /// Attempt of the round, counted from zero.
    pub attempt: u16,
    /// Which operation of the job the vector belongs to (training, evaluation).
    pub operation: u8,
    /// Lanes of the vector.
    pub vector_len: u32,
    /// Bits of a lane: the sum is modulo 2 to the power of it.
    pub lane_bits: LaneBits,
    /// Hash of the state (model, optimiser, clip, round) the round starts from.
    pub state_hash: Digest,
    /// Hash of clip, scale, noise, ring, thresholds and graph.
    pub params_hash: Digest,
    /// Digest of the previous result certificate, or zero before the first.
    pub previous: Digest,
}

/// `ctx`: hash over job, epoch transcript, the view and the cohort.
#[must_use]
pub fn context(roster: &Roster, transcript: &Digest, view: &RoundView, cohort: &NodeSet) -> Digest {
    hash(
        "ctx",
        &[
            &roster.job.0,
            &transcript.0,
            &view.round.to_le_bytes(),
            &view.attempt.to_le_bytes(),
            &[view.operation],
            &view.vector_len.to_le_bytes(),
            &[view.lane_bits.bits()],
            &view.state_hash.0,
            &view.params_hash.0,
            &cohort.encode(),
            &view.previous.0,
        ],
    )
}

impl RoundView {
    /// Length and lane width of the vectors.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape { length: self.vector_len as usize, bits: self.lane_bits }
    }
}

/// Context of the messages that set up an epoch: its number, how often it began
/// anew, and who was left out for not opening a coin.
pub(crate) fn epoch_context(
    roster: &Roster,
    epoch: u32,
    restart: u8,
    excluded: &NodeSet,
) -> Digest {
    let parts: [&[u8]; 4] =
        [&roster.digest().0, &epoch.to_le_bytes(), &[restart], &excluded.encode()];
    hash("epoch", &parts)
}

/// Hash of the granted set P2 under a context.
pub(crate) fn granted_hash(ctx: &Digest, granted: &NodeSet) -> Digest {
    hash("granted", &[&ctx.0, &granted.encode()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeIndex;
    use crate::{Identity, Thresholds};

    #[test]
    fn every_field_changes_the_context() {
        let keys: Vec<_> = (0..4).map(|_| Identity::generate().unwrap().verifying_key()).collect();
        let thresholds = Thresholds::complete_graph(3, 0.0, 0.0, 0).unwrap();
        let roster = Roster::new(Digest::ZERO, keys[..3].to_vec(), keys[3], thresholds).unwrap();
        let view = RoundView {
            round: 1,
            attempt: 1,
            operation: 1,
            vector_len: 1,
            lane_bits: LaneBits::FULL,
            state_hash: Digest::ZERO,
            params_hash: Digest::ZERO,
            previous: Digest::ZERO,
        };
        let (full, other) = (NodeSet::full(3), hash("other", &[]));
        let mut seen = vec![context(&roster, &Digest::ZERO, &view, &full)];
        seen.push(context(&roster, &other, &view, &full));
        seen.push(context(&roster, &Digest::ZERO, &view, &NodeSet::of(3, [NodeIndex(1)])));
        for changed in [
            RoundView { round: 2, ..view.clone() },
            RoundView { attempt: 2, ..view.clone() },
            RoundView { operation: 2, ..view.clone() },
            RoundView { vector_len: 2, ..view.clone() },
            RoundView { lane_bits: LaneBits::new(31).unwrap(), ..view.clone() },
            RoundView { state_hash: other, ..view.clone() },
            RoundView { params_hash: other, ..view.clone() },
            RoundView { previous: other, ..view.clone() },
        ] {
            seen.push(context(&roster, &Digest::ZERO, &changed, &full));
        }
        seen.sort();
        let all = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }
}
