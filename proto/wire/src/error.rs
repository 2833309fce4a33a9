//! Why bytes from a peer are not a frame.

/// A message that breaks the wire format. It names the field in the schema's dotted notation;
/// nothing of the content is quoted, so the error may be logged and sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not protobuf at all.
    #[error("frame from the peer: not a protobuf message of this schema")]
    NotProtobuf,
    /// A required field is absent.
    #[error("frame from the peer: {field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// Bytes, text or a list of a forbidden length.
    #[error("frame from the peer: {field} has length {found}, allowed are {min} to {max}")]
    Length {
        /// The field.
        field: &'static str,
        /// Length found (bytes, characters or items).
        found: usize,
        /// Smallest allowed length.
        min: usize,
        /// Largest allowed length.
        max: usize,
    },
    /// An enum value this software does not know, 0 included.
    #[error(
        "frame from the peer: {field} has the unknown code {value}; is the peer's software newer?"
    )]
    UnknownCode {
        /// The field.
        field: &'static str,
        /// The number found.
        value: i32,
    },
    /// A value that contradicts the format.
    #[error("frame from the peer: {field} {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
}
