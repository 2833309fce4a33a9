//! One message of every kind with fixed fields, for the snapshots of the byte format.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

use std::sync::Arc;

use tributary_secagg::messages::{
    Abort, AbortReason, CommitEntry, Complaint, EpochDone, EpochHello, EpochHellos, EpochKem,
    EpochKems, EpochPeers, EpochReveal, EpochStart, HelloEntry, KEM_CIPHERTEXT, KEM_KEY, KemParcel,
    MaskedChunk, MaskedDone, PublicKeys, Ready, ResultAck, ResultQc, RevealedEscrowShare,
    RevealedSelfShare, RoundCommit, RoundResult, RoundStart, ShareParcel, ShareRelay,
    SignedMessage, SumChunk, SurvivorAck, SurvivorManifest, SurvivorQc, UnmaskShares, UploadGrant,
    UploadTurn,
};
use tributary_secagg::{
    Digest, Identity, LaneBits, Lanes, NodeIndex, NodeMessage, NodeSet, RoundView, ServerMessage,
    hash,
};

/// Nodes on the roster.
pub const MEMBERS: u16 = 5;

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

fn keys() -> PublicKeys {
    PublicKeys { x25519: fill("x25519"), kem_key: Box::new(fill::<KEM_KEY>("kem key")) }
}

pub fn hello_entry(node: u16) -> HelloEntry {
    let mut entry = HelloEntry {
        from: NodeIndex(node),
        keys: keys().digest(),
        coin: digest("coin"),
        signature: [0; 64],
    };
    entry.signature = identity().sign(&entry.statement(&digest("context")).0);
    entry
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
    ShareParcel {
        from: NodeIndex(1),
        to: NodeIndex(to),
        slot: to as u8 + 1,
        edge_tag: fill("tag"),
        sealed_shares: fill("sealed shares"),
        self_share_hash: digest("self share"),
        escrow_share_hash: digest("escrow share"),
    }
}

fn commit(own_share_hashes: Option<[Digest; 2]>) -> RoundCommit {
    signed(RoundCommit {
        context: digest("context"),
        self_commitment: digest("com_b"),
        escrow_commitment: digest("com_z"),
        own_share_hashes,
        entries: vec![
            CommitEntry { sealed_edge: fill("edge 0"), parcel: share_parcel(0) },
            CommitEntry { sealed_edge: fill("edge 2"), parcel: share_parcel(2) },
        ],
        quorum_signature: fill("qc1"),
        signature: [0; 64],
    })
}

fn signatures() -> Vec<(NodeIndex, [u8; 64])> {
    vec![(NodeIndex(0), fill("signature 0")), (NodeIndex(3), fill("signature 3"))]
}

/// Three lanes of 26 bits.
fn packed() -> Vec<u8> {
    let bits = LaneBits::new(26).unwrap();
    let bytes = Lanes::from(vec![1u32, 0x02ad_beef, 0x03ff_ffff]).pack(bits);
    assert_eq!(bytes.len(), 10);
    bytes
}

/// One of every message of a node; commits of both graphs.
pub fn node_messages() -> Vec<NodeMessage> {
    let context = digest("context");
    let signature = [0; 64];
    vec![
        EpochHello { context, entry: hello_entry(2), keys: keys() }.into(),
        EpochReveal { context, roll: digest("roll"), coin: fill("coin 2") }.into(),
        EpochKem {
            context,
            transcript: digest("transcript"),
            parcels: vec![kem_parcel(0), kem_parcel(2)],
        }
        .into(),
        signed(EpochDone {
            context,
            transcript: digest("transcript"),
            without: NodeSet::of(MEMBERS, [NodeIndex(3)]),
            signature,
        })
        .into(),
        commit(Some([digest("own self"), digest("own escrow")])).into(),
        // In the sparse graph.
        commit(None).into(),
        signed(Complaint {
            context,
            against: NodeSet::of(MEMBERS, [NodeIndex(1), NodeIndex(4)]),
            signature,
        })
        .into(),
        signed(Ready { context, relay: digest("relay"), signature }).into(),
        MaskedChunk { context, index: 1, data: packed() }.into(),
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

/// One of every message of the aggregator.
pub fn server_messages() -> Vec<ServerMessage> {
    let context = digest("context");
    let signature = [0; 64];
    vec![
        signed(EpochStart {
            context,
            epoch: 3,
            restart: 1,
            excluded: NodeSet::of(MEMBERS, [NodeIndex(1)]),
            signature,
        })
        .into(),
        EpochHellos { context, hellos: vec![hello_entry(0), hello_entry(2)] }.into(),
        EpochPeers {
            context,
            coins: vec![(NodeIndex(0), fill("coin 0")), (NodeIndex(2), fill("coin 2"))],
            keys: vec![(NodeIndex(2), keys())],
        }
        .into(),
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
                lane_bits: LaneBits::new(26).unwrap(),
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
        UploadTurn { context, first_chunk: 5 }.into(),
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
        SumChunk { context, index: 0, data: Arc::from(packed()) }.into(),
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
