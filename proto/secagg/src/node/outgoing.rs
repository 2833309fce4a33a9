//! The masked vector on its way out: its frames, so that a node holds no second copy of
//! the whole vector and sends without copying. It holds no secret: the masks are on.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::digest::Digest;
use crate::messages::{MaskedChunk, MaskedDone, NodeMessage};

/// The messages of an upload in the order in which they are sent: the chunks, then
/// the end. Send them one by one; nothing has to be stored for a resend, for the
/// machine gives the same upload out again when the aggregator asks to go on.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    context: Digest,
    /// One `MaskedChunk` each.
    chunks: Arc<Vec<Bytes>>,
    done: Option<MaskedDone>,
    next: u32,
}

impl Upload {
    pub(super) fn new(context: Digest, chunks: Arc<Vec<Bytes>>, done: MaskedDone) -> Self {
        Self { context, chunks, done: Some(done), next: 0 }
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

    /// The messages that are left, as the frames that [`NodeMessage::encode`] would make
    /// of them. The bytes are shared with the machine and not copied.
    pub fn into_frames(mut self) -> impl Iterator<Item = Bytes> + Send {
        std::iter::from_fn(move || match self.next_chunk() {
            Some(frame) => Some(frame),
            None => self.done.take().map(|done| NodeMessage::from(done).encode().into()),
        })
    }

    fn next_chunk(&mut self) -> Option<Bytes> {
        let frame = self.chunks.get(self.next as usize).cloned()?;
        self.next += 1;
        Some(frame)
    }
}

impl Iterator for Upload {
    type Item = NodeMessage;

    fn next(&mut self) -> Option<NodeMessage> {
        let index = self.next;
        let Some(frame) = self.next_chunk() else {
            return self.done.take().map(NodeMessage::from);
        };
        let data = frame.get(MaskedChunk::HEAD..).unwrap_or_default().to_vec();
        Some(MaskedChunk { context: self.context, index, data }.into())
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload(chunk {} of {})", self.next, self.chunks())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_messages() {
        let context = crate::digest::hash("ctx", &[]);
        let frame = |index: u32, lanes: &[u8]| {
            let mut frame = MaskedChunk::head(&context, index, lanes.len());
            assert_eq!(frame.len(), MaskedChunk::HEAD);
            frame.extend_from_slice(lanes);
            Bytes::from(frame)
        };
        let chunks = Arc::new(vec![frame(0, &[1, 2, 3]), frame(1, &[4])]);
        let (granted_hash, root) = (context, context);
        let done = MaskedDone { context, granted_hash, root, signature: [7; 64] };
        let upload = Upload::new(context, chunks, done);
        for upload in [upload.clone(), upload.again_at(1), upload.again_at(2)] {
            let encoded: Vec<Bytes> = upload.clone().map(|m| m.encode().into()).collect();
            assert_eq!(upload.into_frames().collect::<Vec<_>>(), encoded);
        }
    }
}
