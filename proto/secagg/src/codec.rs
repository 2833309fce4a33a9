//! The canonical byte form of everything that is signed: a writer, a bounded
//! reader, and the limits a reader holds a stranger to.
//!
//! Signatures, commitments and the context are over bytes, so a value must have
//! exactly one encoding. Protocol buffers give no such promise (field order,
//! unknown fields and default values may differ between encoders), therefore
//! this crate writes its own frames and the gRPC layer carries them as opaque
//! `bytes`. Numbers are little-endian and of fixed width, lists begin with their
//! count, sets are bitmaps. A reader takes no byte more than it was given,
//! allocates no more than the input justifies, and refuses what is left over.
//! This module knows no message.

use crate::CHUNK_LANES;
use crate::params::MAX_COMPLETE_GRAPH;

/// What a decoder accepts. Everything larger is refused before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the roster; node sets must be over exactly this many nodes.
    pub members: u16,
    /// Largest frame in bytes.
    pub max_frame: usize,
}

impl Limits {
    /// Limits for a roster of `members` nodes: the largest frame is either a
    /// full chunk of lanes or a list with one entry of key material per member.
    #[must_use]
    pub fn for_members(members: u16) -> Self {
        const ENVELOPE: usize = 4096;
        const KEY_MATERIAL: usize = 1536;
        let members = members.min(MAX_COMPLETE_GRAPH);
        let lists = usize::from(members) * KEY_MATERIAL;
        Self { members, max_frame: lists.max(CHUNK_LANES * 4) + ENVELOPE }
    }
}

/// Why bytes are no message of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a field.
    #[error("the frame ends inside a field")]
    Truncated,
    /// There are bytes after the message.
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
    /// The frame is larger than the limit.
    #[error("the frame has {length} bytes, the limit is {limit}")]
    TooLarge {
        /// Bytes received.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The sender speaks another protocol version.
    #[error(
        "the frame is of protocol version {found}, this program speaks {expected}; upgrade the older side"
    )]
    Version {
        /// Version in the frame.
        found: u16,
        /// Version of this program.
        expected: u16,
    },
    /// No message of this direction has this type number.
    #[error("unknown message type {0}")]
    UnknownKind(u8),
    /// A field breaks a rule of the format.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
}

/// Appends fields to a growing frame.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Room for `capacity` bytes, so that a frame with secrets never moves.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    /// A list count. Lists are per member, so 16 bits always suffice; a longer
    /// list saturates and is then refused by every reader.
    pub(crate) fn count(&mut self, count: usize) {
        self.u16(u16::try_from(count).unwrap_or(u16::MAX));
    }

    pub(crate) fn lanes(&mut self, lanes: &[u32]) {
        self.u32(u32::try_from(lanes.len()).unwrap_or(u32::MAX));
        self.0.reserve(lanes.len() * 4);
        for lane in lanes {
            self.raw(&lane.to_le_bytes());
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes fields from the front of a frame.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn raw(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A list whose elements take at least `least` bytes each, at most `limit`
    /// of them. Nothing is allocated for elements that cannot be there.
    pub(crate) fn list<T>(
        &mut self,
        limit: u16,
        least: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.u16()?;
        if count > limit {
            return Err(DecodeError::Malformed("a list has more entries than the roster members"));
        }
        let count = usize::from(count);
        if count.saturating_mul(least) > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(element(self)?);
        }
        Ok(list)
    }

    pub(crate) fn lanes(&mut self) -> Result<Vec<u32>, DecodeError> {
        let count = self.u32()? as usize;
        if count > CHUNK_LANES {
            return Err(DecodeError::Malformed("a chunk has too many lanes"));
        }
        let bytes = self.raw(count * 4)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|lane| u32::from_le_bytes(*lane)).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_allocates_no_more_than_the_input_justifies() {
        let bytes = [0xff, 0x00, 1, 2, 3];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.list(255, 1, Reader::u8), Err(DecodeError::Truncated));
        let mut reader = Reader::new(&bytes);
        assert!(matches!(reader.list(8, 1, Reader::u8), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn lanes_round_trip_and_are_bounded() {
        let mut writer = Writer::new();
        writer.lanes(&[1, u32::MAX, 7]);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.lanes(), Ok(vec![1, u32::MAX, 7]));
        assert_eq!(reader.finish(), Ok(()));
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0]);
        assert!(matches!(reader.lanes(), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn left_over_bytes_are_refused() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.finish(), Err(DecodeError::Trailing(2)));
    }
}
