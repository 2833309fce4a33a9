//! The masked vector on its way out: an iterator over its messages, so that a node
//! holds no second copy of the whole vector, only its packed chunks. It holds no
//! secret: the masks are on.

use std::fmt;
use std::sync::Arc;

use crate::digest::Digest;
use crate::messages::{MaskedChunk, MaskedDone, NodeMessage};

/// The messages of an upload in the order in which they are sent: the chunks, then
/// the end. Send them one by one; nothing has to be stored for a resend, for the
/// machine gives the same upload out again when the aggregator asks to go on.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    context: Digest,
    chunks: Arc<Vec<Vec<u8>>>,
    done: Option<MaskedDone>,
    next: u32,
}

impl Upload {
    pub(super) fn new(
        context: Digest,
        chunks: Arc<Vec<Vec<u8>>>,
        done: MaskedDone,
        first_chunk: u32,
    ) -> Self {
        Self { context, chunks, done: Some(done), next: first_chunk }
    }

    /// The same upload from a later chunk on.
    pub(super) fn again_at(&self, first_chunk: u32) -> Self {
        Self { next: first_chunk, ..self.clone() }
    }

    /// Context of the attempt whose vector this is.
    #[must_use]
    pub fn context(&self) -> Digest {
        self.context
    }

    /// Chunks of the whole vector.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.chunks.len()).unwrap_or(u32::MAX)
    }
}

impl Iterator for Upload {
    type Item = NodeMessage;

    fn next(&mut self) -> Option<NodeMessage> {
        let index = self.next;
        let Some(data) = self.chunks.get(index as usize).cloned() else {
            return self.done.take().map(NodeMessage::from);
        };
        self.next += 1;
        Some(MaskedChunk { context: self.context, index, data }.into())
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload(chunk {} of {})", self.next, self.chunks())
    }
}
