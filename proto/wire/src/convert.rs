//! Wire messages to domain types and back: the only place where a peer's fields are checked.

mod codes;
mod control;
mod enrolment;
mod node;
mod renewal;
mod server;

use prost::Message;

use crate::error::WireError;
use crate::limits::MAX_PEM_BYTES;
use crate::session::{FromNode, ToNode};
use crate::v1;

impl FromNode {
    /// Parses the bytes of one frame.
    ///
    /// # Errors
    /// Any [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        v1::NodeFrame::decode(bytes).map_err(|_| WireError::NotProtobuf)?.try_into()
    }

    /// The bytes of the frame.
    pub fn encode(self) -> Vec<u8> {
        v1::NodeFrame::from(self).encode_to_vec()
    }
}

impl ToNode {
    /// Parses the bytes of one frame.
    ///
    /// # Errors
    /// Any [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        v1::ServerFrame::decode(bytes).map_err(|_| WireError::NotProtobuf)?.try_into()
    }

    /// The bytes of the frame.
    pub fn encode(self) -> Vec<u8> {
        v1::ServerFrame::from(self).encode_to_vec()
    }
}

/// A field of exactly `N` bytes.
fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], WireError> {
    let found = bytes.len();
    bytes.try_into().map_err(|_| WireError::Length { field, found, min: N, max: N })
}

/// `value`, whose length `found` must be between `min` and `max`.
fn bounded<T>(
    field: &'static str,
    value: T,
    found: usize,
    min: usize,
    max: usize,
) -> Result<T, WireError> {
    if (min..=max).contains(&found) {
        return Ok(value);
    }
    Err(WireError::Length { field, found, min, max })
}

/// PEM text, not empty.
fn pem(field: &'static str, text: String) -> Result<String, WireError> {
    let found = text.len();
    bounded(field, text, found, 1, MAX_PEM_BYTES)
}

/// Non-empty bytes of at most `max`.
fn bytes(field: &'static str, value: Vec<u8>, max: usize) -> Result<Vec<u8>, WireError> {
    let found = value.len();
    bounded(field, value, found, 1, max)
}

/// Empty means absent.
fn optional(field: &'static str, v: Vec<u8>, max: usize) -> Result<Option<Vec<u8>>, WireError> {
    if v.is_empty() { Ok(None) } else { bytes(field, v, max).map(Some) }
}
