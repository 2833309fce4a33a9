//! The byte format: snapshots of every message (a change here breaks running
//! deployments and needs a new protocol version), and decoders under fire.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::sync::Arc;

use proptest::prelude::*;
use tributary_secagg::messages::{
    Abort, AbortReason, CommitEntry, EpochHello, EpochHellos, EpochKem, EpochKems, EpochStart,
    KEM_CIPHERTEXT, KEM_KEY, KemParcel, MaskedChunk, MaskedDone, Ready, ResultAck, ResultQc,
    RevealedEscrowShare, RevealedSelfShare, RoundCommit, RoundResult, RoundStart, ShareParcel,
    ShareRelay, SignedMessage, SumChunk, SurvivorAck, SurvivorManifest, SurvivorQc, UnmaskShares,
    UploadGrant,
};
use tributary_secagg::{
    DecodeError, Digest, Identity, Limits, NodeIndex, NodeMessage, NodeSet, PROTOCOL_VERSION,
    RoundView, ServerMessage, hash,
};

const MEMBERS: u16 = 5;

fn limits() -> Limits {
    Limits::for_members(MEMBERS)
}

/// Fixed bytes that differ from field to field.
fn fill<const N: usize>(name: &str) -> [u8; N] {
    let seed = hash(name, &[]).0;
    core::array::from_fn(|i| seed[i % 32] ^ (i / 32) as u8)
}

fn digest(name: &str) -> Digest {
    hash(name, &[])
}

fn identity() -> Identity {
    Identity::from_seed(&fill("identity")).unwrap()
}

fn signed<M: SignedMessage>(message: M) -> M {
    message.signed_by(&identity())
}

fn set() -> NodeSet {
    NodeSet::of(MEMBERS, [0, 2, 3, 4].map(NodeIndex))
}

fn hello(node: u16) -> EpochHello {
    signed(EpochHello {
        context: digest("context"),
        epoch: 3,
        from: NodeIndex(node),
        x25519: fill("x25519"),
        kem_key: Box::new(fill::<KEM_KEY>("kem key")),
        signature: [0; 64],
    })
}

fn kem_parcel(to: u16) -> KemParcel {
    let mut parcel = KemParcel {
        from: NodeIndex(1),
        to: NodeIndex(to),
        ciphertext: Box::new(fill::<KEM_CIPHERTEXT>("ciphertext")),
        confirmation: fill("confirmation"),
        signature: [0; 64],
    };
    parcel.signature = identity().sign(&parcel.statement(&digest("transcript")).0);
    parcel
}

fn share_parcel(to: u16) -> ShareParcel {
    let mut parcel = ShareParcel {
        from: NodeIndex(1),
        to: NodeIndex(to),
        edge_tag: fill("tag"),
        sealed_shares: fill("sealed shares"),
        self_share_hash: digest("self share"),
        escrow_share_hash: digest("escrow share"),
        signature: [0; 64],
    };
    parcel.signature = identity().sign(&parcel.statement(&digest("context")).0);
    parcel
}

fn signatures() -> Vec<(NodeIndex, [u8; 64])> {
    vec![(NodeIndex(0), fill("signature 0")), (NodeIndex(3), fill("signature 3"))]
}

fn node_messages() -> Vec<NodeMessage> {
    let context = digest("context");
    let signature = [0; 64];
    vec![
        hello(2).into(),
        EpochKem {
            context,
            transcript: digest("transcript"),
            parcels: vec![kem_parcel(0), kem_parcel(2)],
        }
        .into(),
        signed(RoundCommit {
            context,
            self_commitment: digest("com_b"),
            escrow_commitment: digest("com_z"),
            own_self_share_hash: digest("own self"),
            own_escrow_share_hash: digest("own escrow"),
            entries: vec![
                CommitEntry { sealed_edge: fill("edge 0"), parcel: share_parcel(0) },
                CommitEntry { sealed_edge: fill("edge 2"), parcel: share_parcel(2) },
            ],
            quorum_signature: fill("qc1"),
            signature,
        })
        .into(),
        signed(Ready { context, vector_commitment: digest("x"), signature }).into(),
        MaskedChunk { context, index: 1, lanes: vec![1, 0xdead_beef, u32::MAX] }.into(),
        signed(MaskedDone {
            context,
            granted_hash: digest("granted"),
            root: digest("root"),
            signature,
        })
        .into(),
        signed(SurvivorAck {
            context,
            manifest: digest("manifest"),
            signature,
            tags: vec![(NodeIndex(2), fill("tag 2")), (NodeIndex(4), fill("tag 4"))],
        })
        .into(),
        signed(UnmaskShares {
            context,
            self_shares: vec![(NodeIndex(0), RevealedSelfShare(fill("b 0")))],
            escrow_shares: vec![(NodeIndex(1), RevealedEscrowShare(fill("z 1")))],
            signature,
        })
        .into(),
        signed(ResultAck {
            context,
            manifest: digest("manifest"),
            sum_root: digest("sum"),
            state_hash: digest("state"),
            survivors: set(),
            signature,
        })
        .into(),
    ]
}

fn server_messages() -> Vec<ServerMessage> {
    let context = digest("context");
    let signature = [0; 64];
    vec![
        signed(EpochStart { context, epoch: 3, signature }).into(),
        EpochHellos { context, hellos: vec![hello(0), hello(2)] }.into(),
        EpochKems { context, transcript: digest("transcript"), parcels: vec![kem_parcel(4)] }
            .into(),
        signed(RoundStart {
            context,
            epoch: 3,
            view: RoundView {
                round: 17,
                attempt: 1,
                operation: 2,
                vector_len: 1000,
                state_hash: digest("state"),
                params_hash: digest("params"),
                previous: digest("previous"),
            },
            cohort: NodeSet::full(MEMBERS),
            signature,
        })
        .into(),
        signed(ShareRelay {
            context,
            committed: set(),
            parcels: vec![share_parcel(3)],
            quorum: signatures(),
            signature,
        })
        .into(),
        signed(UploadGrant { context, granted: set(), signature }).into(),
        signed(SurvivorManifest {
            context,
            granted_hash: digest("granted"),
            survivors: set(),
            roots: vec![digest("root 0"), digest("root 2")],
            signature,
        })
        .into(),
        SurvivorQc {
            context,
            manifest: digest("manifest"),
            signatures: signatures(),
            tags: vec![(NodeIndex(0), fill("tag 0"))],
        }
        .into(),
        SumChunk { context, index: 0, lanes: Arc::from([7u32, 8].as_slice()) }.into(),
        signed(RoundResult {
            context,
            manifest: digest("manifest"),
            sum_root: digest("sum"),
            signature,
        })
        .into(),
        ResultQc {
            context,
            manifest_hash: digest("manifest"),
            sum_root: digest("sum"),
            state_hash: digest("state"),
            survivors: set(),
            signatures: signatures(),
        }
        .into(),
        signed(Abort {
            context,
            reason: AbortReason::TooFewUploads,
            have: 3,
            need: 4,
            blamed: NodeSet::of(MEMBERS, [NodeIndex(1)]),
            signature,
        })
        .into(),
    ]
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
    for cut in 0..bytes.len().min(600) {
        assert!(decode(&bytes[..cut]).is_err());
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

#[test]
fn limits_hold() {
    let bytes = node_messages()[2].encode();
    let small = Limits { max_frame: bytes.len() - 1, ..limits() };
    assert!(matches!(NodeMessage::decode(&bytes, &small), Err(DecodeError::TooLarge { .. })));
    // Indices and sets are those of this roster.
    let other = Limits::for_members(4);
    for message in [&node_messages()[6], &node_messages()[8]] {
        assert!(matches!(
            NodeMessage::decode(&message.encode(), &other),
            Err(DecodeError::Malformed(_))
        ));
    }
    // A full chunk fits the default limits; a longer one is refused.
    let mut chunk = MaskedChunk {
        context: Digest::ZERO,
        index: 0,
        lanes: vec![1; tributary_secagg::CHUNK_LANES],
    };
    let full = NodeMessage::from(chunk.clone());
    assert_eq!(NodeMessage::decode(&full.encode(), &limits()), Ok(full));
    chunk.lanes.push(1);
    assert!(NodeMessage::decode(&NodeMessage::from(chunk).encode(), &limits()).is_err());
    // Every frame of the largest roster fits as well.
    let largest = Limits::for_members(128);
    assert!(largest.max_frame > 128 * (KEM_KEY + 200) && largest.max_frame < 1 << 19);
}

#[test]
fn the_certificate_has_bytes_of_its_own() {
    let Some(ServerMessage::ResultQc(certificate)) = server_messages().into_iter().nth(10) else {
        panic!("expected the certificate")
    };
    let bytes = certificate.encode();
    assert_eq!(ResultQc::decode(&bytes, &limits()), Ok(certificate));
    assert!(ResultQc::decode(&bytes[1..], &limits()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn decoders_survive_noise(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), kind: u8) {
        if bytes.len() > 2 {
            bytes[..2].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
            bytes[2] = kind % 0x4c;
        }
        if let Ok(message) = NodeMessage::decode(&bytes, &limits()) {
            prop_assert_eq!(message.encode(), &bytes[..]);
        }
        if let Ok(message) = ServerMessage::decode(&bytes, &limits()) {
            prop_assert_eq!(message.encode(), &bytes[..]);
        }
    }

    #[test]
    fn decoders_survive_spliced_frames(which in 0usize..21, at in 0usize..4000, patch in proptest::collection::vec(any::<u8>(), 1..12)) {
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
