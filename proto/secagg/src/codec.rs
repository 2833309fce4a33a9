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
use crate::params::MAX_ROSTER;

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
        let members = members.min(MAX_ROSTER);
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

    /// The packed lanes of a chunk.
    pub(crate) fn chunk(&mut self, data: &[u8]) {
        self.length(data.len());
        self.raw(data);
    }

    /// Bytes of the packed lanes of a chunk, which follow.
    pub(crate) fn length(&mut self, bytes: usize) {
        self.u32(u32::try_from(bytes).unwrap_or(u32::MAX));
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

    /// The packed lanes of a chunk; whether their number is right only the shape of
    /// the round can tell.
    pub(crate) fn chunk(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u32()? as usize;
        if length > CHUNK_LANES * 4 {
            return Err(DecodeError::Malformed("a chunk has too many lanes"));
        }
        self.raw(length)
    }

    /// Bytes preceded by their length, at most `most` of them.
    pub(crate) fn blob(&mut self, most: usize) -> Result<Vec<u8>, DecodeError> {
        let length = self.u32()? as usize;
        if length > most {
            return Err(DecodeError::TooLarge { length, limit: most });
        }
        self.raw(length).map(<[u8]>::to_vec)
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
    fn chunks_round_trip_and_are_bounded() {
        let mut writer = Writer::new();
        writer.chunk(&[1, 255, 7]);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.chunk(), Ok([1u8, 255, 7].as_slice()));
        assert_eq!(reader.finish(), Ok(()));
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0]);
        assert!(matches!(reader.chunk(), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn left_over_bytes_are_refused() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.finish(), Err(DecodeError::Trailing(2)));
    }
}
