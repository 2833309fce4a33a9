//! Malicious nodes: every cheat is named, and where a quorum is left the round
//! goes on without the cheat. The cluster has six nodes, one of them may be
//! corrupt: tau = shamir_t = u_min = 4.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::{Cluster, Outcome, Script, plain_sum, run};
use tributary_secagg::messages::{Kind, MaskedChunk, RoundCommit, SignedMessage as _};
use tributary_secagg::{
    AbortReason, CHUNK_LANES, Digest, Fault, Identity, NodeIndex, NodeMessage, NodeSet, Party,
    ServerOutput, ServerPhase, ServerRound, hash,
};

const CHEAT: NodeIndex = NodeIndex(2);
const LANES: usize = CHUNK_LANES + 4;

fn cluster() -> Cluster {
    Cluster::new(6, 0.1, 0.34, 4)
}

/// Runs a round in which the cheat changes its messages of one kind.
fn cheat_with(
    dies_before: BTreeMap<NodeIndex, Kind>,
    kind: Kind,
    mut change: impl FnMut(&Identity, NodeMessage) -> Vec<NodeMessage>,
) -> (Outcome, Vec<Vec<u32>>) {
    let mut cluster = cluster();
    let identity = cluster.identities[usize::from(CHEAT.0)].clone();
    let vectors = cluster.vectors(LANES);
    let view = cluster.view(0, 0, LANES as u32);
    let node = Box::new(move |node, message: NodeMessage| {
        if node == CHEAT && message.kind() == kind {
            change(&identity, message)
        } else {
            vec![message]
        }
    });
    let script = Script { dies_before, node: Some(node), ..Script::default() };
    (run(&mut cluster, &view, &vectors, script), vectors)
}

fn cheat(
    kind: Kind,
    change: impl FnMut(&Identity, NodeMessage) -> Vec<NodeMessage>,
) -> (Outcome, Vec<Vec<u32>>) {
    cheat_with(BTreeMap::new(), kind, change)
}

/// The cheat is named with these words, and the others get their sum: with the
/// cheat's vector if it had arrived whole by then.
#[track_caller]
fn named((outcome, vectors): (Outcome, Vec<Vec<u32>>), words: &str, in_the_sum: bool) {
    let why = outcome.evicted.get(&CHEAT).unwrap_or_else(|| panic!("not named: {outcome:?}"));
    assert!(why.contains(words), "{why}");
    assert_eq!(outcome.evicted.len(), 1, "{outcome:?}");
    let mut expected = NodeSet::full(6);
    if !in_the_sum {
        expected.remove(CHEAT);
    }
    let (sum, survivors) = outcome.opened.as_ref().unwrap_or_else(|| panic!("{outcome:?}"));
    assert_eq!(*survivors, expected);
    assert_eq!(*sum, plain_sum(&vectors, &expected));
    assert_eq!(outcome.node_certified.len(), 5);
    assert_eq!(outcome.node_aborted[&CHEAT].reason, AbortReason::Evicted);
}

fn commit_of(message: NodeMessage) -> RoundCommit {
    match message {
        NodeMessage::RoundCommit(commit) => commit,
        other => panic!("unexpected {other:?}"),
    }
}

/// Signs a changed commit again, parcels included.
fn resigned(mut commit: RoundCommit, identity: &Identity) -> Vec<NodeMessage> {
    for entry in &mut commit.entries {
        let statement = entry.parcel.statement(&commit.context);
        entry.parcel.signature = identity.sign(&statement.0);
    }
    vec![commit.signed_by(identity).into()]
}

// ---- commitments and shares

#[test]
fn commits_that_are_malformed_or_unsigned() {
    let run = |change: fn(&mut RoundCommit)| {
        cheat(Kind::RoundCommit, move |identity, message| {
            let mut commit = commit_of(message);
            change(&mut commit);
            vec![commit.signed_by(identity).into()]
        })
    };
    named(run(|commit| commit.entries.truncate(4)), "other nodes than the cohort", false);
    named(run(|commit| commit.entries.swap(0, 1)), "other nodes than the cohort", false);
    named(run(|commit| commit.quorum_signature[0] ^= 1), "another context", false);
    named(
        run(|commit| commit.entries[0].parcel.sealed_shares[0] ^= 1),
        "did not sign its shares for node 0",
        false,
    );
    let unsigned = cheat(Kind::RoundCommit, |_, message| {
        let mut commit = commit_of(message);
        commit.signature[5] ^= 1;
        vec![commit.into()]
    });
    named(unsigned, "bad signature", false);
}

#[test]
fn wrong_tags_name_the_liar_or_separate_the_pair() {
    let wrong_towards_all = cheat(Kind::RoundCommit, |identity, message| {
        let mut commit = commit_of(message);
        for entry in &mut commit.entries {
            entry.parcel.edge_tag[0] ^= 1;
        }
        resigned(commit, identity)
    });
    named(wrong_towards_all, "contradict those of node 0, 1, 3, 4, 5", false);
    // One wrong tag is one word against another: both are named and left out.
    let (outcome, vectors) = cheat(Kind::RoundCommit, |identity, message| {
        let mut commit = commit_of(message);
        commit.entries[4].parcel.edge_tag[0] ^= 1;
        resigned(commit, identity)
    });
    let named: Vec<_> = outcome.evicted.keys().copied().collect();
    assert_eq!(named, [CHEAT, NodeIndex(5)]);
    let rest = NodeSet::of(6, [0, 1, 3, 4].map(NodeIndex));
    assert_eq!(outcome.opened.unwrap(), (plain_sum(&vectors, &rest), rest));
}

/// What a dealer does wrong to one holder, the holder finds at the relay, before
/// anything is uploaded, and names the dealer.
#[test]
fn bad_dealing_is_found_before_the_upload() {
    let deal = |change: fn(&mut RoundCommit)| {
        cheat(Kind::RoundCommit, move |identity, message| {
            let mut commit = commit_of(message);
            change(&mut commit);
            resigned(commit, identity)
        })
        .0
    };
    type Cheat = (fn(&mut RoundCommit), &'static str);
    let cheats: [Cheat; 4] = [
        (|commit| commit.entries[1].parcel.sealed_shares[9] ^= 1, "do not open"),
        (
            |commit| {
                let other = commit.entries[0].parcel.sealed_shares;
                commit.entries[1].parcel.sealed_shares = other;
            },
            "do not open",
        ),
        (|commit| commit.entries[1].parcel.self_share_hash = Digest::ZERO, "hashes"),
        (|commit| commit.entries[1].parcel.escrow_share_hash = Digest::ZERO, "hashes"),
    ];
    for (change, words) in cheats {
        let outcome = deal(change);
        let fault = &outcome.faults[&NodeIndex(1)];
        assert_eq!(fault.blamed(), Some(Party::Node(CHEAT)));
        assert!(fault.to_string().contains(words), "{fault}");
        assert!(!outcome.charged.contains_key(&NodeIndex(1)));
    }
}

// ---- commitments that do not open

#[test]
fn a_self_seed_that_is_not_the_committed_one() {
    let (outcome, _) = cheat(Kind::RoundCommit, |identity, message| {
        let mut commit = commit_of(message);
        commit.self_commitment = hash("another seed", &[]);
        resigned(commit, identity)
    });
    sharing_is_blamed(&outcome, "self seed");
}

#[test]
fn a_wrong_escrow_of_a_node_that_drops() {
    let dies = || BTreeMap::from([(CHEAT, Kind::MaskedDone)]);
    let (outcome, _) = cheat_with(dies(), Kind::RoundCommit, |identity, message| {
        let mut commit = commit_of(message);
        commit.escrow_commitment = hash("another key", &[]);
        resigned(commit, identity)
    });
    sharing_is_blamed(&outcome, "escrow key");
    let (outcome, _) = cheat_with(dies(), Kind::RoundCommit, |identity, message| {
        let mut commit = commit_of(message);
        commit.entries[3].sealed_edge[0] ^= 1;
        resigned(commit, identity)
    });
    sharing_is_blamed(&outcome, "escrowed");
    // Unless it drops, the escrow is never opened and hurts nobody.
    let (outcome, _) = cheat(Kind::RoundCommit, |identity, message| {
        let mut commit = commit_of(message);
        commit.entries[3].sealed_edge[0] ^= 1;
        resigned(commit, identity)
    });
    assert_eq!(outcome.node_certified.len(), 6);
}

#[track_caller]
fn sharing_is_blamed(outcome: &Outcome, words: &str) {
    assert!(outcome.opened.is_none());
    let abort = outcome.aborted.as_ref().unwrap();
    assert_eq!(abort.reason, AbortReason::BadSharing);
    assert_eq!(abort.blamed, NodeSet::of(6, [CHEAT]));
    assert!(outcome.evicted[&CHEAT].contains(words), "{outcome:?}");
    assert!(abort.to_string().contains("to blame: node 2"), "{abort}");
}

// ---- readiness and the upload

#[test]
fn an_equivocating_or_unsigned_ready() {
    let two = cheat(Kind::Ready, |identity, message| {
        let NodeMessage::Ready(ready) = &message else { unreachable!() };
        let mut other = ready.clone();
        other.vector_commitment = Digest::ZERO;
        vec![message.clone(), other.signed_by(identity).into()]
    });
    named(two, "two different Ready", false);
    let unsigned = cheat(Kind::Ready, |_, message| {
        let NodeMessage::Ready(mut ready) = message else { unreachable!() };
        ready.vector_commitment = Digest::ZERO;
        vec![ready.into()]
    });
    named(unsigned, "bad signature", false);
}

/// Changes the second chunk of the cheat's upload.
fn second_chunk(change: fn(MaskedChunk) -> Vec<MaskedChunk>) -> (Outcome, Vec<Vec<u32>>) {
    cheat(Kind::MaskedChunk, move |_, message| match message {
        NodeMessage::MaskedChunk(chunk) if chunk.index == 1 => {
            change(chunk).into_iter().map(NodeMessage::from).collect()
        }
        other => vec![other],
    })
}

#[test]
fn uploads_of_the_wrong_length() {
    let short = second_chunk(|mut chunk| {
        chunk.lanes.pop();
        vec![chunk]
    });
    named(short, "sent 3 lanes in chunk 1, 4 were due", false);
    let long = second_chunk(|mut chunk| {
        chunk.lanes.push(0);
        vec![chunk]
    });
    named(long, "sent 5 lanes", false);
    named(second_chunk(|_| Vec::new()), "ended its vector after 65536 of 65540 lanes", false);
    let endless = second_chunk(|chunk| {
        let more = MaskedChunk { index: 2, ..chunk.clone() };
        vec![chunk, more]
    });
    named(endless, "more than the 65540 lanes", false);
    let skipping = second_chunk(|chunk| vec![MaskedChunk { index: 7, ..chunk }]);
    named(skipping, "sent chunk 7 where 1 was due", false);
    let different = second_chunk(|chunk| {
        let mut other = chunk.clone();
        other.lanes[0] ^= 1;
        vec![chunk, other]
    });
    named(different, "two different chunks", false);
    let altered = second_chunk(|mut chunk| {
        chunk.lanes[0] ^= 1;
        vec![chunk]
    });
    named(altered, "another root", false);
}

#[test]
fn an_upload_that_goes_on_after_its_end_or_masks_against_another_set() {
    let after = cheat(Kind::MaskedDone, |_, message| {
        let context = message.context();
        let more = MaskedChunk { context, index: 2, lanes: vec![1] };
        vec![message, more.into()]
    });
    named(after, "after it had ended", true);
    let other_set = cheat(Kind::MaskedDone, |identity, message| {
        let NodeMessage::MaskedDone(mut done) = message else { unreachable!() };
        done.granted_hash = Digest::ZERO;
        vec![done.signed_by(identity).into()]
    });
    named(other_set, "another set", false);
    let nothing = cheat(Kind::MaskedChunk, |_, _| Vec::new());
    named(nothing, "had not begun", false);
}

// ---- acknowledgement, shares, result

#[test]
fn a_bad_acknowledgement() {
    let other = cheat(Kind::SurvivorAck, |identity, message| {
        let NodeMessage::SurvivorAck(mut ack) = message else { unreachable!() };
        ack.manifest = Digest::ZERO;
        vec![ack.signed_by(identity).into()]
    });
    named(other, "another manifest", true);
    let no_tags = cheat(Kind::SurvivorAck, |_, message| {
        let NodeMessage::SurvivorAck(mut ack) = message else { unreachable!() };
        ack.tags.clear();
        vec![ack.into()]
    });
    named(no_tags, "for other nodes", true);
    // Wrong tags only cost the cheat its own vote at the receivers.
    let (outcome, _) = cheat(Kind::SurvivorAck, |_, message| {
        let NodeMessage::SurvivorAck(mut ack) = message else { unreachable!() };
        for (_, tag) in &mut ack.tags {
            tag[0] ^= 1;
        }
        vec![ack.into()]
    });
    assert_eq!(outcome.node_certified.len(), 6, "{outcome:?}");
}

#[test]
fn a_bad_share_is_named_and_not_used() {
    let bad = cheat(Kind::UnmaskShares, |identity, message| {
        let NodeMessage::UnmaskShares(mut shares) = message else { unreachable!() };
        shares.self_shares[4].1.0[0] ^= 1;
        vec![shares.signed_by(identity).into()]
    });
    named(bad, "bad share of node 4", true);
    let own = cheat(Kind::UnmaskShares, |identity, message| {
        let NodeMessage::UnmaskShares(mut shares) = message else { unreachable!() };
        shares.self_shares[2].1.0[0] ^= 1;
        vec![shares.signed_by(identity).into()]
    });
    named(own, "bad share of node 2", true);
    let missing = cheat(Kind::UnmaskShares, |identity, message| {
        let NodeMessage::UnmaskShares(mut shares) = message else { unreachable!() };
        shares.self_shares.pop();
        vec![shares.signed_by(identity).into()]
    });
    named(missing, "other nodes than the manifest asks for", true);
    let dies = BTreeMap::from([(NodeIndex(5), Kind::MaskedChunk)]);
    let (outcome, _) = cheat_with(dies, Kind::UnmaskShares, |identity, message| {
        let NodeMessage::UnmaskShares(mut shares) = message else { unreachable!() };
        shares.escrow_shares[0].1.0[31] ^= 1;
        vec![shares.signed_by(identity).into()]
    });
    assert!(outcome.evicted[&CHEAT].contains("bad share of node 5"));
    assert!(outcome.certified.is_some());
}

#[test]
fn another_state_from_the_same_sum() {
    let other = cheat(Kind::ResultAck, |identity, message| {
        let NodeMessage::ResultAck(mut ack) = message else { unreachable!() };
        ack.state_hash = Digest::ZERO;
        vec![ack.signed_by(identity).into()]
    });
    named(other, "arrived at state", true);
    let other = cheat(Kind::ResultAck, |identity, message| {
        let NodeMessage::ResultAck(mut ack) = message else { unreachable!() };
        ack.sum_root = Digest::ZERO;
        vec![ack.signed_by(identity).into()]
    });
    named(other, "another sum", true);
}

// ---- order, repetition, strangers

#[test]
fn repetitions_are_harmless() {
    for kind in [
        Kind::RoundCommit,
        Kind::Ready,
        Kind::MaskedChunk,
        Kind::MaskedDone,
        Kind::SurvivorAck,
        Kind::UnmaskShares,
        Kind::ResultAck,
    ] {
        let (outcome, _) = cheat(kind, |_, message| vec![message.clone(), message]);
        assert!(outcome.evicted.is_empty(), "{kind}: {outcome:?}");
        assert_eq!(outcome.node_certified.len(), 6);
    }
}

#[test]
fn a_message_before_its_time() {
    let early = cheat(Kind::Ready, |identity, message| {
        let NodeMessage::Ready(ready) = message else { unreachable!() };
        let done = tributary_secagg::messages::MaskedDone {
            context: ready.context,
            granted_hash: Digest::ZERO,
            root: Digest::ZERO,
            signature: [0; 64],
        };
        vec![done.signed_by(identity).into()]
    });
    named(early, "sent a MaskedDone while the round was waiting for vectors", false);
}

#[test]
fn strangers_and_stale_messages_change_nothing() {
    let mut cluster = cluster();
    let view = cluster.view(0, 0, 4);
    let (mut server, starts) = ServerRound::open(
        cluster.roster.clone(),
        cluster.aggregator.clone(),
        1,
        cluster.transcript,
        view.clone(),
        NodeSet::of(6, [0, 1, 2, 3, 4].map(NodeIndex)),
    )
    .unwrap();
    let ServerOutput::Send(node, tributary_secagg::ServerMessage::RoundStart(start)) = &starts[0]
    else {
        panic!("expected a start")
    };
    let (_, commit) = cluster.open_node(*node, start.clone(), &view).unwrap();
    let before = server.waiting_for();
    assert!(matches!(server.handle(NodeIndex(9), commit.clone()), Err(Fault::Misuse { .. })));
    assert!(matches!(server.handle(NodeIndex(5), commit.clone()), Err(Fault::Stale { .. })));
    let mut stale = commit_of(commit.clone());
    stale.context = Digest::ZERO;
    assert!(matches!(server.handle(*node, stale.into()), Err(Fault::Stale { .. })));
    assert_eq!(server.waiting_for(), before);
    // Another node's commit in one's own name.
    let out = server.handle(NodeIndex(1), commit.clone()).unwrap();
    assert!(out.iter().any(|output| matches!(
        output,
        ServerOutput::Evicted { node, why } if node.0 == 1 && why.contains("bad signature")
    )));
    assert!(matches!(server.handle(NodeIndex(1), commit.clone()), Err(Fault::Stale { .. })));
    assert!(server.handle(*node, commit).unwrap().is_empty());
    assert_eq!(server.waiting_for(), NodeSet::of(6, [2, 3, 4].map(NodeIndex)));
    // One more is too many, and everybody left is told.
    let out = server.drop_node(NodeIndex(2));
    assert!(matches!(out.last(), Some(ServerOutput::Aborted(abort))
        if abort.reason == AbortReason::TooFewCommits && (abort.have, abort.need) == (3, 4)));
    assert_eq!(server.phase(), ServerPhase::Aborted);
    assert!(server.drop_node(NodeIndex(3)).is_empty());
    assert!(server.deadline().is_empty() && server.cancel().is_empty());
    assert!(server.provide_state(Digest::ZERO).is_empty());
}
