//! The byte format: snapshots of every message (a change here breaks running
//! deployments and needs a new protocol version), and decoders under fire.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

#[path = "wire/frames.rs"]
mod frames;

use frames::{MEMBERS, hello_entry, node_messages, server_messages};
use proptest::prelude::*;
use tributary_secagg::messages::{EpochHellos, KEM_KEY, Kind, MaskedChunk, ResultQc};
use tributary_secagg::{
    CHUNK_LANES, DecodeError, Digest, Limits, MAX_ROSTER, NodeMessage, PROTOCOL_VERSION,
    ServerMessage, hash,
};

fn limits() -> Limits {
    Limits::for_members(MEMBERS)
}

/// The frames in full where they are short, their length and hash otherwise.
fn describe(name: String, bytes: &[u8]) -> String {
    let hash = hash("snapshot", &[bytes]);
    if bytes.len() <= 400 {
        format!("{name} ({} bytes)\n  {}\n", bytes.len(), hex_lines(bytes))
    } else {
        format!("{name} ({} bytes)\n  {hash}\n", bytes.len())
    }
}

fn hex_lines(bytes: &[u8]) -> String {
    let lines: Vec<String> = bytes
        .chunks(32)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    lines.join("\n  ")
}

#[test]
fn frames_of_nodes() {
    let text: String = node_messages()
        .iter()
        .map(|message| describe(message.kind().to_string(), &message.encode()))
        .collect();
    insta::assert_snapshot!(text);
}

#[test]
fn frames_of_the_aggregator() {
    let text: String = server_messages()
        .iter()
        .map(|message| describe(message.kind().to_string(), &message.encode()))
        .collect();
    insta::assert_snapshot!(text);
}

#[test]
fn every_frame_round_trips_and_nothing_else_decodes() {
    let limits = limits();
    for message in node_messages() {
        let bytes = message.encode();
        assert_eq!(NodeMessage::decode(&bytes, &limits), Ok(message));
        assert!(ServerMessage::decode(&bytes, &limits).is_err(), "directions are apart");
        damaged(&bytes, |bytes| NodeMessage::decode(bytes, &limits).map(|m| m.encode()));
    }
    for message in server_messages() {
        let bytes = message.encode();
        assert_eq!(ServerMessage::decode(&bytes, &limits), Ok(message));
        assert!(NodeMessage::decode(&bytes, &limits).is_err(), "directions are apart");
        damaged(&bytes, |bytes| ServerMessage::decode(bytes, &limits).map(|m| m.encode()));
    }
}

/// Every truncation, an extra byte and a foreign version are refused; a changed
/// byte is refused or gives a message with exactly those bytes.
fn damaged(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<Vec<u8>, DecodeError>) {
    for cut in 0..bytes.len() {
        assert!(decode(&bytes[..cut]).is_err(), "{cut} bytes of {}", bytes.len());
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert_eq!(decode(&longer), Err(DecodeError::Trailing(1)));
    let mut foreign = bytes.to_vec();
    foreign[0] ^= 1;
    assert!(matches!(decode(&foreign), Err(DecodeError::Version { expected, .. })
        if expected == PROTOCOL_VERSION));
    for position in (2..bytes.len()).step_by(1 + bytes.len() / 500) {
        let mut changed = bytes.to_vec();
        changed[position] ^= 0x41;
        if let Ok(again) = decode(&changed) {
            assert_eq!(again, changed, "one value, one encoding");
        }
    }
}

fn node_message(kind: Kind) -> NodeMessage {
    node_messages().into_iter().find(|message| message.kind() == kind).unwrap()
}

fn server_message(kind: Kind) -> ServerMessage {
    server_messages().into_iter().find(|message| message.kind() == kind).unwrap()
}

/// Bytes in front of the body of a message: version, kind and context.
const HEAD: usize = 2 + 1 + 32;

#[test]
fn every_kind_has_its_frame_here() {
    let mut kinds: Vec<u8> = node_messages().iter().map(|m| m.kind() as u8).collect();
    kinds.extend(server_messages().iter().map(|m| m.kind() as u8));
    kinds.sort_unstable();
    kinds.dedup();
    let expected: Vec<u8> = (0x01..=0x0c).chain(0x40..=0x4d).collect();
    assert_eq!(kinds, expected);
}

#[test]
fn unknown_kinds() {
    let limits = limits();
    let mut bytes = node_message(Kind::Ready).encode();
    for kind in (0..=u8::MAX).filter(|kind| !(0x01..=0x0c).contains(kind)) {
        bytes[2] = kind;
        assert_eq!(NodeMessage::decode(&bytes, &limits), Err(DecodeError::UnknownKind(kind)));
    }
    let mut bytes = server_message(Kind::UploadTurn).encode();
    for kind in (0..=u8::MAX).filter(|kind| !(0x40..=0x4d).contains(kind)) {
        bytes[2] = kind;
        assert_eq!(ServerMessage::decode(&bytes, &limits), Err(DecodeError::UnknownKind(kind)));
    }
}

#[test]
fn earlier_versions_of_the_protocol() {
    for found in [1u16, 2] {
        let mut bytes = node_message(Kind::Ready).encode();
        bytes[..2].copy_from_slice(&found.to_le_bytes());
        let refusal = NodeMessage::decode(&bytes, &limits()).unwrap_err();
        assert_eq!(refusal, DecodeError::Version { found, expected: 3 });
        assert!(refusal.to_string().contains("upgrade the older side"));
    }
}

#[test]
fn lane_widths_from_one_to_thirty_two() {
    let mut bytes = server_message(Kind::RoundStart).encode();
    // Behind epoch, round, attempt, operation and vector length.
    let at = HEAD + 4 + 4 + 2 + 1 + 4;
    assert_eq!(bytes[at], 26);
    for bits in 0..=u8::MAX {
        bytes[at] = bits;
        let found = ServerMessage::decode(&bytes, &limits());
        if (1..=32).contains(&bits) {
            assert!(found.is_ok());
        } else {
            let words = "a lane width is not 1 to 32 bits";
            assert_eq!(found, Err(DecodeError::Malformed(words)), "{bits}");
        }
    }
}

#[test]
fn flags_that_are_neither_zero_nor_one() {
    let mut bytes = node_message(Kind::RoundCommit).encode();
    let at = HEAD + 32 + 32;
    assert_eq!(bytes[at], 1);
    for flag in [2, 0x81, u8::MAX] {
        bytes[at] = flag;
        let words = "a flag is neither 0 nor 1";
        assert_eq!(
            NodeMessage::decode(&bytes, &limits()),
            Err(DecodeError::Malformed(words)),
            "{flag}"
        );
    }
    // A flag that lies about what follows moves every field behind it.
    bytes[at] = 0;
    assert!(NodeMessage::decode(&bytes, &limits()).is_err());
}

#[test]
fn reasons_that_are_not_on_the_list() {
    let mut bytes = server_message(Kind::Abort).encode();
    for reason in 0..=u8::MAX {
        bytes[HEAD] = reason;
        let found = ServerMessage::decode(&bytes, &limits());
        assert_eq!(found.is_ok(), (1..=14).contains(&reason), "{reason}");
    }
}

/// Wherever a message names a node, the first index outside the roster is refused.
#[test]
fn indices_outside_the_roster() {
    let outside = DecodeError::Malformed("a node index lies outside the roster");
    let of_node = |kind, at: usize| {
        let mut bytes = node_message(kind).encode();
        bytes[at..at + 2].copy_from_slice(&MEMBERS.to_le_bytes());
        assert_eq!(NodeMessage::decode(&bytes, &limits()), Err(outside.clone()), "{kind} {at}");
    };
    let of_server = |kind, at: usize| {
        let mut bytes = server_message(kind).encode();
        bytes[at..at + 2].copy_from_slice(&MEMBERS.to_le_bytes());
        assert_eq!(ServerMessage::decode(&bytes, &limits()), Err(outside.clone()), "{kind} {at}");
    };
    of_node(Kind::EpochHello, HEAD);
    let parcels = HEAD + 32 + 2;
    of_node(Kind::EpochKem, parcels);
    of_node(Kind::EpochKem, parcels + 2);
    let entries = HEAD + 32 + 32 + 1 + 64 + 2;
    of_node(Kind::RoundCommit, entries + 32);
    of_node(Kind::RoundCommit, entries + 34);
    of_node(Kind::SurvivorAck, HEAD + 32 + 64 + 2);
    of_node(Kind::UnmaskShares, HEAD + 2);
    of_node(Kind::UnmaskShares, HEAD + 2 + 34 + 2);
    of_server(Kind::EpochHellos, HEAD + 2);
    of_server(Kind::EpochPeers, HEAD + 2);
    of_server(Kind::EpochPeers, HEAD + 2 + 2 * 34 + 2);
    of_server(Kind::EpochKems, parcels);
    let set = 2 + 1;
    of_server(Kind::ShareRelay, HEAD + set + 2);
    of_server(Kind::SurvivorQc, HEAD + 32 + 2);
    of_server(Kind::ResultQc, HEAD + 3 * 32 + set + 2);
}

#[test]
fn sets_of_another_roster_or_with_bits_behind_it() {
    // The set in each of these begins at the end of the fields in front of it.
    for (kind, at) in [(Kind::Complaint, HEAD), (Kind::EpochDone, HEAD + 32)] {
        let good = node_message(kind).encode();
        let mut other = good.clone();
        other[at] = 6;
        let words = "a node set is over another roster size";
        assert_eq!(NodeMessage::decode(&other, &limits()), Err(DecodeError::Malformed(words)));
        let mut bits = good;
        bits[at + 2] |= 1 << 5;
        let words = "a node set has bits outside the roster";
        assert_eq!(NodeMessage::decode(&bits, &limits()), Err(DecodeError::Malformed(words)));
    }
}

#[test]
fn limits_hold() {
    let bytes = node_message(Kind::RoundCommit).encode();
    let small = Limits { max_frame: bytes.len() - 1, ..limits() };
    assert!(matches!(NodeMessage::decode(&bytes, &small), Err(DecodeError::TooLarge { .. })));
    // Indices and sets are those of this roster.
    let other = Limits::for_members(4);
    for kind in [Kind::SurvivorAck, Kind::ResultAck, Kind::Complaint, Kind::EpochDone] {
        assert!(matches!(
            NodeMessage::decode(&node_message(kind).encode(), &other),
            Err(DecodeError::Malformed(_))
        ));
    }
    // A full chunk fits the default limits; a longer one is refused.
    let data = vec![1; CHUNK_LANES * 4];
    let mut chunk = MaskedChunk { context: Digest::ZERO, index: 0, data };
    let full = NodeMessage::from(chunk.clone());
    assert_eq!(NodeMessage::decode(&full.encode(), &limits()), Ok(full));
    chunk.data.push(1);
    let refusal = NodeMessage::decode(&NodeMessage::from(chunk).encode(), &limits());
    assert_eq!(refusal, Err(DecodeError::Malformed("a chunk has too many lanes")));
    // Lists are no longer than the roster.
    let hellos = vec![hello_entry(0); usize::from(MEMBERS) + 1];
    let long = ServerMessage::from(EpochHellos { context: Digest::ZERO, hellos });
    let words = "a list has more entries than the roster members";
    assert_eq!(
        ServerMessage::decode(&long.encode(), &limits()),
        Err(DecodeError::Malformed(words))
    );
    // Every frame of the largest roster fits as well, and no roster makes it larger.
    let largest = Limits::for_members(MAX_ROSTER);
    assert!(largest.max_frame > usize::from(MAX_ROSTER) * (KEM_KEY + 200));
    assert!(largest.max_frame < 1 << 22);
    assert_eq!(Limits::for_members(u16::MAX), largest);
}

#[test]
fn the_certificate_has_bytes_of_its_own() {
    let ServerMessage::ResultQc(certificate) = server_message(Kind::ResultQc) else {
        panic!("expected the certificate")
    };
    let bytes = certificate.encode();
    assert_eq!(ResultQc::decode(&bytes, &limits()), Ok(certificate));
    for cut in 0..bytes.len() {
        assert!(ResultQc::decode(&bytes[..cut], &limits()).is_err());
    }
    assert!(ResultQc::decode(&bytes[1..], &limits()).is_err());
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(ResultQc::decode(&longer, &limits()), Err(DecodeError::Trailing(1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn decoders_survive_noise(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), kind: u8) {
        if bytes.len() > 2 {
            bytes[..2].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
            bytes[2] = kind % 0x50;
        }
        if let Ok(message) = NodeMessage::decode(&bytes, &limits()) {
            prop_assert_eq!(message.encode(), &bytes[..]);
        }
        if let Ok(message) = ServerMessage::decode(&bytes, &limits()) {
            prop_assert_eq!(message.encode(), &bytes[..]);
        }
    }

    #[test]
    fn decoders_survive_spliced_frames(which in 0usize..27, at in 0usize..4000, patch in proptest::collection::vec(any::<u8>(), 1..12)) {
        let mut frames: Vec<Vec<u8>> = node_messages().iter().map(NodeMessage::encode).collect();
        frames.extend(server_messages().iter().map(ServerMessage::encode));
        let mut bytes = frames.swap_remove(which);
        let at = 2 + at % (bytes.len() - 2);
        let end = (at + patch.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&patch[..end - at]);
        if let Ok(message) = NodeMessage::decode(&bytes, &limits()) {
            prop_assert_eq!(message.encode(), &bytes[..]);
        }
        if let Ok(message) = ServerMessage::decode(&bytes, &limits()) {
            prop_assert_eq!(message.encode(), &bytes[..]);
        }
    }
}
