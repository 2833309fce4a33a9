//! The end of a round at a node (check 10): take the sum, compare it with its
//! root, sign the state that follows from it, and wait for a quorum that arrived
//! at the same state.

use super::{Attempt, NodeOutput, State, Step};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::ids::NodeSet;
use crate::lanes::Lanes;
use crate::messages::{ResultAck, ResultQc, RoundResult, SignedMessage as _, SumChunk};
use crate::vector::{Assembler, VectorKind};

/// A node that has given its shares out.
pub(super) struct Revealed {
    survivors: NodeSet,
    manifest: Digest,
    sum: Assembler<Lanes>,
}

impl Revealed {
    pub(super) fn new(attempt: &Attempt, survivors: NodeSet, manifest: Digest) -> Self {
        let sum = Assembler::unpacking(VectorKind::Sum, attempt.ctx, attempt.shape);
        Self { survivors, manifest, sum }
    }

    pub(super) fn on_chunk(mut self, chunk: &SumChunk) -> Step {
        self.sum.accept(chunk.index, &*chunk.data).map_err(Fault::aggregator)?;
        Ok((State::Revealed(self), Vec::new()))
    }

    pub(super) fn on_result(self, attempt: &Attempt, result: &RoundResult) -> Step {
        attempt.check_signature(result)?;
        if result.manifest != self.manifest {
            return Err(Fault::aggregator("sent the result of another manifest"));
        }
        let (sum, sum_root) = self.sum.finish().map_err(Fault::aggregator)?;
        if sum_root != result.sum_root {
            return Err(Fault::aggregator(format!(
                "signed the sum root {} but sent the sum {sum_root}",
                result.sum_root
            )));
        }
        let Self { survivors, manifest, .. } = self;
        let next = Opened { survivors: survivors.clone(), manifest, sum_root, early: None };
        Ok((State::Opened(next), vec![NodeOutput::Opened { sum, survivors, sum_root }]))
    }
}

/// A node that has the sum.
pub(super) struct Opened {
    survivors: NodeSet,
    manifest: Digest,
    sum_root: Digest,
    early: Option<ResultQc>,
}

impl Opened {
    /// A quorum may be complete before this node has its own state; it is looked
    /// at when there is something to compare it with.
    pub(super) fn remember(mut self, quorum: ResultQc) -> State {
        self.early = Some(quorum);
        State::Opened(self)
    }

    pub(super) fn attest(self, attempt: &Attempt, state_hash: Digest) -> Step {
        let Self { survivors, manifest, sum_root, early } = self;
        let ack = ResultAck {
            context: attempt.ctx,
            manifest,
            sum_root,
            state_hash,
            survivors: survivors.clone(),
            signature: [0; 64],
        }
        .signed_by(&attempt.seat.identity);
        let attested = Attested { survivors, manifest, sum_root, state_hash };
        let mut outputs = vec![Attempt::send(ack)];
        let Some(quorum) = early else { return Ok((State::Attested(attested), outputs)) };
        let (state, more) = attested.on_quorum(attempt, quorum)?;
        outputs.extend(more);
        Ok((state, outputs))
    }
}

/// A node that has signed its state.
pub(super) struct Attested {
    survivors: NodeSet,
    manifest: Digest,
    sum_root: Digest,
    state_hash: Digest,
}

impl Attested {
    pub(super) fn on_quorum(self, attempt: &Attempt, quorum: ResultQc) -> Step {
        quorum.verify(&attempt.seat.roster)?;
        if quorum.manifest_hash != self.manifest || quorum.survivors != self.survivors {
            return Err(Fault::aggregator("presented a result certificate of another manifest"));
        }
        if quorum.sum_root != self.sum_root {
            return Err(Fault::aggregator(format!(
                "sent this node another sum (root {}) than the quorum's (root {})",
                self.sum_root, quorum.sum_root
            )));
        }
        if quorum.state_hash != self.state_hash {
            return Err(Fault::differs(format!(
                "a quorum arrived at state {}, this node at {} from the same sum",
                quorum.state_hash, self.state_hash
            )));
        }
        Ok((State::Certified, vec![NodeOutput::Certified(quorum)]))
    }
}
