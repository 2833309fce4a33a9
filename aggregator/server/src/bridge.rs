//! Between the coordinator's words and the wire's: effects become frames, frames become events.

use std::sync::Arc;

use bytes::Bytes;
use tributary_job::Manifest;
use tributary_job::manifest::{checkpoint_digest, offer_digest};
use tributary_ledger::Head;
use tributary_round::{Effect, Event, Resume};
use tributary_secagg::{Identity, NodeIndex};
use tributary_wire::Text;
use tributary_wire::limits::MAX_STATE_CHUNK_BYTES;
use tributary_wire::session::{
    Checkpoint, FromNode, Hello, JobAnswer, JobEnd, JobOffer, JobOutcome, Secagg, StateChunk,
    ToNode,
};

/// A manifest that cannot be offered.
#[derive(Debug, thiserror::Error)]
#[error("the manifest cannot be offered: {0}")]
pub struct OfferError(String);

/// Translates for one job.
#[derive(Debug, Clone)]
pub struct Bridge {
    job: [u8; 32],
    offer: JobOffer,
    identity: Arc<Identity>,
}

impl Bridge {
    /// Signs the offer once for all nodes.
    ///
    /// # Errors
    /// If the manifest has no canonical form.
    pub fn new(manifest: &Manifest, identity: &Arc<Identity>) -> Result<Self, OfferError> {
        let text = manifest.to_canonical().map_err(|e| OfferError(e.to_string()))?;
        let job = manifest.hash().map_err(|e| OfferError(e.to_string()))?.0;
        let bytes = text.into_bytes();
        let signed = offer_digest(&bytes);
        let offer = JobOffer { manifest: bytes, signature: identity.sign(&signed.0) };
        Ok(Self { job, offer, identity: identity.clone() })
    }

    /// The job's hash.
    pub fn job(&self) -> [u8; 32] {
        self.job
    }

    /// The signed word of where the job's record ends; `None` if the head is no hash.
    pub fn checkpoint(&self, head: &Head) -> Option<ToNode> {
        let mut hash = [0; 32];
        hex::decode_to_slice(&head.hash, &mut hash).ok()?;
        let (job, length) = (self.job, head.length);
        let signature = self.identity.sign(&checkpoint_digest(&job, length, &hash).0);
        Some(ToNode::Checkpoint(Checkpoint { job, length, head: hash, signature }))
    }

    /// What a node said when it connected, as the coordinator wants it.
    pub fn resume(&self, hello: &Hello) -> Resume {
        match &hello.resume {
            Some(r) if r.job == self.job => {
                Resume { completed: Some(r.next_round), epoch: r.epoch, upload: r.upload }
            }
            _ => Resume::default(),
        }
    }

    /// The event in a node's frame; `None` for what concerns no coordinator.
    pub fn event(&self, node: NodeIndex, frame: FromNode) -> Option<Event> {
        match frame {
            FromNode::Hello(_) | FromNode::Heartbeat => None,
            FromNode::JobReply(reply) if reply.job == self.job => Some(match reply.answer {
                JobAnswer::Accepted => Event::Accepted(node),
                JobAnswer::Refused { code, text } => {
                    Event::Refused(node, join(code.as_str(), &text))
                }
            }),
            FromNode::Secagg(s) if s.job == self.job => Some(Event::Secagg(node, s.frame)),
            FromNode::Report(r) if r.job == self.job => {
                let text = join(r.code.as_str(), &r.text);
                Some(Event::Reported { node, round: r.round, attempt: r.attempt, text })
            }
            FromNode::JobReply(_) | FromNode::Secagg(_) | FromNode::Report(_) => None,
        }
    }

    /// The frames of an effect and for whom; empty for what is not sent.
    pub fn frames(&self, effect: &Effect) -> Option<(NodeIndex, Vec<ToNode>)> {
        match effect {
            Effect::Offer(node) => Some((*node, vec![ToNode::JobOffer(self.offer.clone())])),
            Effect::Secagg(node, frame) => {
                let frame = Secagg { job: self.job, frame: frame.clone() };
                Some((*node, vec![ToNode::Secagg(frame)]))
            }
            Effect::State { node, completed, state, certificate } => {
                Some((*node, self.state_chunks(*completed, state, certificate)))
            }
            Effect::Idle(node, text) => {
                Some((*node, vec![ToNode::Idle { text: Text::clipped(text) }]))
            }
            Effect::End { node, complete, reason, certificate } => {
                let outcome = if *complete { JobOutcome::Completed } else { JobOutcome::Stopped };
                let text = Text::clipped(reason);
                let certificate = certificate.clone();
                let end = JobEnd { job: self.job, outcome, text, certificate };
                Some((*node, vec![ToNode::JobEnd(end)]))
            }
            Effect::Persist(_)
            | Effect::Disconnect(..)
            | Effect::Finished { .. }
            | Effect::Note(_) => None,
        }
    }

    /// The pieces are slices of the one state: frames for many nodes hold no copy of it.
    fn state_chunks(&self, completed: u32, state: &Bytes, certificate: &[u8]) -> Vec<ToNode> {
        let pieces = state.chunks(MAX_STATE_CHUNK_BYTES);
        let count = pieces.len() as u32;
        pieces
            .enumerate()
            .map(|(i, data)| {
                ToNode::StateChunk(StateChunk {
                    job: self.job,
                    round: completed.saturating_sub(1),
                    index: i as u32,
                    count,
                    data: state.slice_ref(data),
                    certificate: (i == 0).then(|| certificate.to_vec()),
                })
            })
            .collect()
    }
}

/// Bytes of what a frame carries, as far as they count.
pub fn frame_bytes(frame: &ToNode) -> usize {
    match frame {
        ToNode::Secagg(secagg) => secagg.frame.len(),
        ToNode::StateChunk(chunk) => chunk.data.len(),
        ToNode::JobOffer(offer) => offer.manifest.len(),
        _ => 0,
    }
}

fn join(code: &str, text: &Text) -> String {
    let text = text.to_string();
    if text.is_empty() { code.to_owned() } else { format!("{code}: {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_a_state_share_its_bytes() {
        let offer = JobOffer { manifest: Vec::new(), signature: [0; 64] };
        let identity = Arc::new(Identity::generate().unwrap());
        let bridge = Bridge { job: [1; 32], offer, identity };
        let state = Bytes::from(vec![7; 2 * MAX_STATE_CHUNK_BYTES + 5]);
        let (completed, certificate) = (3, vec![9]);
        let effect =
            Effect::State { node: NodeIndex(2), completed, state: state.clone(), certificate };
        let (node, frames) = bridge.frames(&effect).unwrap();
        assert_eq!((node, frames.len()), (NodeIndex(2), 3));
        for (i, frame) in frames.into_iter().enumerate() {
            let ToNode::StateChunk(chunk) = frame else { panic!("{frame:?}") };
            let from = i * MAX_STATE_CHUNK_BYTES;
            assert_eq!((chunk.index as usize, chunk.count, chunk.round), (i, 3, 2));
            assert_eq!(chunk.certificate.is_some(), i == 0);
            assert_eq!(chunk.data.as_ptr(), state[from..].as_ptr(), "a copy");
            assert_eq!(chunk.data.len(), MAX_STATE_CHUNK_BYTES.min(state.len() - from));
        }
    }
}
