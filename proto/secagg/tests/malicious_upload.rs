//! Malicious uploads: too short, too long, endless, out of order, out of turn, or masked
//! for another set. Each is named, costs the others nothing, and never enters the sum.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::attack::roomy;
use common::cheat::{CHEAT, Round, cheat, named, proven, six};
use common::{Cluster, Outcome, Script, plain_sum, run};
use tributary_secagg::messages::{Kind, MaskedChunk, MaskedDone, SignedMessage as _};
use tributary_secagg::{Digest, LaneBits, NodeIndex, NodeMessage, NodeSet, RoundView, hash};

/// Changes the second chunk of the cheat's upload.
fn second_chunk(change: fn(MaskedChunk) -> Vec<MaskedChunk>) -> Round {
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
        chunk.data.truncate(12);
        vec![chunk]
    });
    named(short, "sent 12 bytes in chunk 1; 16 of 4 lanes of 32 bits were due", false);
    let long = second_chunk(|mut chunk| {
        chunk.data.push(0);
        vec![chunk]
    });
    named(long, "sent 17 bytes in chunk 1", false);
    let empty = second_chunk(|chunk| vec![MaskedChunk { data: Vec::new(), ..chunk }]);
    named(empty, "sent 0 bytes in chunk 1", false);
    named(second_chunk(|_| Vec::new()), "ended its vector after 1 of 2 chunks", false);
    let nothing = cheat(Kind::MaskedChunk, |_, _| Vec::new());
    named(nothing, "ended its vector after 0 of 2 chunks", false);
}

#[test]
fn an_endless_upload() {
    let endless = second_chunk(|chunk| {
        let more = (2..2000).map(|index| MaskedChunk { index, ..chunk.clone() });
        [chunk.clone()].into_iter().chain(more).collect()
    });
    named(endless, "sent more than the 65540 lanes of the vector", false);
    // Again and again the same chunk fills nothing.
    let again = second_chunk(|chunk| vec![chunk; 200]);
    assert!(again.0.evicted.is_empty());
    assert_eq!(again.0.node_certified.len(), 6);
}

#[test]
fn chunks_out_of_order() {
    let skipping = second_chunk(|chunk| vec![MaskedChunk { index: 7, ..chunk }]);
    named(skipping, "sent chunk 7 where 1 was due", false);
    let backwards = cheat(Kind::MaskedChunk, |_, message| {
        let NodeMessage::MaskedChunk(chunk) = message else { unreachable!() };
        vec![MaskedChunk { index: 1 - chunk.index, ..chunk }.into()]
    });
    named(backwards, "sent chunk 1 where 0 was due", false);
}

#[test]
fn two_different_chunks_or_another_root() {
    let different = second_chunk(|chunk| {
        let mut other = chunk.clone();
        other.data[0] ^= 1;
        vec![chunk, other]
    });
    named(different, "sent two different chunks number 1", false);
    let altered = second_chunk(|mut chunk| {
        chunk.data[0] ^= 1;
        vec![chunk]
    });
    named(altered, "signed another root than that of the vector it sent", false);
}

/// Bits behind the last lane could carry what nobody looks at; they must be zero.
#[test]
fn bits_behind_the_last_lane() {
    let mut cluster = roomy();
    let vectors = cluster.vectors(3);
    let bits = LaneBits::new(7).unwrap();
    let view = RoundView { lane_bits: bits, ..cluster.view(0, 0, 3) };
    let node = |node, message: NodeMessage| match message {
        NodeMessage::MaskedChunk(mut chunk) if node == CHEAT => {
            *chunk.data.last_mut().unwrap() |= 0x80;
            vec![chunk.into()]
        }
        other => vec![other],
    };
    let script = Script { node: Some(Box::new(node)), ..Script::default() };
    let outcome = run(&mut cluster, &view, &vectors, script);
    assert_eq!(outcome.evicted[&CHEAT], "sent 3 bytes in chunk 0; 3 of 3 lanes of 7 bits were due");
    assert_eq!(outcome.opened.unwrap().1, six(&[0, 1, 3, 4, 5]));
}

/// Runs a small round in which the last of six nodes, which waits while four others have
/// their turn, says something right after it has said that it is ready.
fn out_of_turn(says: impl Fn(&Cluster, Digest) -> NodeMessage) -> (Outcome, Vec<Vec<u32>>) {
    let (mut cluster, same) = (roomy(), roomy());
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let node = |from: NodeIndex, sent: NodeMessage| {
        let early = from == NodeIndex(5) && sent.kind() == Kind::Ready;
        let more = early.then(|| says(&same, sent.context()));
        [sent].into_iter().chain(more).collect()
    };
    let script = Script { node: Some(Box::new(node)), ..Script::default() };
    (run(&mut cluster, &view, &vectors, script), vectors)
}

#[track_caller]
fn last_is_named((outcome, vectors): (Outcome, Vec<Vec<u32>>), words: &str) {
    let why = outcome.evicted.get(&NodeIndex(5)).unwrap_or_else(|| panic!("{outcome:?}"));
    assert!(why.contains(words), "{why}");
    let rest = NodeSet::of(6, (0..5).map(NodeIndex));
    assert_eq!(outcome.opened.unwrap(), (plain_sum(&vectors, &rest), rest));
    assert_eq!(outcome.node_certified.len(), 5);
}

#[test]
fn a_chunk_before_its_turn() {
    let chunk = |_: &Cluster, context| MaskedChunk { context, index: 0, data: vec![0; 12] }.into();
    last_is_named(out_of_turn(chunk), "sent a chunk before it was its turn");
}

#[test]
fn the_end_of_an_upload_before_its_turn() {
    let done = |cluster: &Cluster, context: Digest| {
        let granted_hash = hash("granted", &[&context.0, &NodeSet::full(6).encode()]);
        let done = MaskedDone { context, granted_hash, root: Digest::ZERO, signature: [0; 64] };
        done.signed_by(&cluster.identities[5]).into()
    };
    last_is_named(out_of_turn(done), "ended a vector before it was its turn");
}

/// What comes after the end adds nothing to the sum, whether it is new, or the same again
/// because a connection broke just then; so nobody is put out for it either.
#[test]
fn an_upload_that_goes_on_after_its_end() {
    let upload = std::cell::RefCell::new(Vec::new());
    let mut cluster = roomy();
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let node = |from: NodeIndex, message: NodeMessage| {
        let ours = matches!(message.kind(), Kind::MaskedChunk | Kind::MaskedDone);
        if from != CHEAT || !ours {
            return vec![message];
        }
        upload.borrow_mut().push(message.clone());
        if message.kind() == Kind::MaskedChunk {
            return vec![message];
        }
        let context = message.context();
        let more = (0..50).map(|index| MaskedChunk { context, index, data: vec![1; 12] }.into());
        let again = upload.borrow().clone();
        [message].into_iter().chain(more).chain(again).collect()
    };
    let script = Script { node: Some(Box::new(node)), ..Script::default() };
    let outcome = run(&mut cluster, &view, &vectors, script);
    assert!(outcome.evicted.is_empty(), "{outcome:?}");
    let all = NodeSet::full(6);
    assert_eq!(outcome.opened.unwrap(), (plain_sum(&vectors, &all), all));
    assert_eq!(outcome.node_certified.len(), 6);
}

#[test]
fn an_upload_that_masks_against_another_set() {
    let other_set = cheat(Kind::MaskedDone, |identity, message| {
        let NodeMessage::MaskedDone(mut done) = message else { unreachable!() };
        done.granted_hash = Digest::ZERO;
        vec![done.signed_by(identity).into()]
    });
    named(other_set, "masked against another set than the granted one", false);
}

#[test]
fn two_different_ends_of_an_upload() {
    let two = cheat(Kind::MaskedDone, |identity, message| {
        let NodeMessage::MaskedDone(mut other) = message.clone() else { unreachable!() };
        other.root = Digest::ZERO;
        vec![message, other.signed_by(identity).into()]
    });
    let outcome = named(two, "sent two different MaskedDone", true);
    proven(&outcome, "signed two different MaskedDone messages");
}

/// A vector that never ends holds up the others only until the deadline, and half of it
/// is not in the sum.
#[test]
fn an_upload_that_stops_in_the_middle() {
    let mut cluster = roomy();
    let vectors = cluster.vectors(common::cheat::LANES);
    let view = cluster.view(0, 0, common::cheat::LANES as u32);
    let dies_before = BTreeMap::from([(CHEAT, Kind::MaskedDone)]);
    let script = Script { dies_before, silently: true, ..Script::default() };
    let outcome = run(&mut cluster, &view, &vectors, script);
    let rest = six(&[0, 1, 3, 4, 5]);
    assert_eq!(outcome.opened.unwrap(), (plain_sum(&vectors, &rest), rest));
    assert!(outcome.evicted.is_empty(), "a missing node has broken nothing");
}
