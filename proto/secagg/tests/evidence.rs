//! Evidence: what convinces somebody who was not there and has nothing but the roster, and
//! what does not. Nobody can be convicted by what an honest party says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::attack::{Tap, VICTIM, roomy};
use common::{Cluster, Script, run};
use tributary_secagg::messages::{Kind, SignedMessage as _, UploadTurn};
use tributary_secagg::{
    DecodeError, Digest, Evidence, EvidenceError, Limits, NodeIndex, NodeMessage, Party,
    ServerMessage, hash,
};

/// An honest round of six nodes in which node 5 is lost before its upload, and all that
/// was said.
fn honest() -> (Cluster, Tap) {
    let mut cluster = roomy();
    let tap = Tap::default();
    rerun(&mut cluster, &tap, 0);
    (cluster, tap)
}

fn rerun(cluster: &mut Cluster, tap: &Tap, attempt: u16) {
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, attempt, 3);
    let dies_before = BTreeMap::from([(NodeIndex(5), Kind::MaskedDone)]);
    let outcome = run(cluster, &view, &vectors, Script { dies_before, ..tap.script() });
    assert!(outcome.certified.is_some() && outcome.evidence.is_empty());
}

#[track_caller]
fn proves(cluster: &Cluster, evidence: &Evidence, who: Party, words: &str) {
    let (found, what) = evidence.verify(&cluster.roster).unwrap();
    assert_eq!(found, who, "{what}");
    assert!(what.contains(words), "{what}");
    // What travels or is stored proves the same.
    let limits = Limits::for_members(cluster.size());
    let bytes = evidence.encode();
    assert_eq!(Evidence::decode(&bytes, &limits).as_ref(), Ok(evidence));
}

#[track_caller]
fn proves_nothing(cluster: &Cluster, evidence: &Evidence, words: &str) {
    match evidence.verify(&cluster.roster) {
        Err(EvidenceError::Inconclusive(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}; expected: {words}"),
    }
}

fn equivocation(first: Vec<u8>, second: Vec<u8>) -> Evidence {
    Evidence::Equivocation { first, second }
}

// ---- what proves something

#[test]
fn two_different_messages_of_one_node() {
    let (cluster, tap) = honest();
    let NodeMessage::Ready(mut other) = tap.said_by(2, Kind::Ready) else { panic!() };
    other.relay = Digest::ZERO;
    let forged = NodeMessage::from(other.clone()).encode();
    let signed = NodeMessage::from(other.signed_by(&cluster.identities[2])).encode();
    let first = tap.of_node(2, Kind::Ready);
    let words = "signed two different Ready messages in one context";
    proves(
        &cluster,
        &equivocation(first.clone(), signed.clone()),
        Party::Node(NodeIndex(2)),
        words,
    );
    proves(&cluster, &equivocation(signed, first.clone()), Party::Node(NodeIndex(2)), words);
    proves_nothing(&cluster, &equivocation(first, forged), "no one member signed both");
}

#[test]
fn two_different_messages_of_the_aggregator() {
    let (cluster, tap) = honest();
    let aggregator = &cluster.aggregator;
    let ServerMessage::UploadGrant(mut grant) = tap.sent_to(0, Kind::UploadGrant) else { panic!() };
    grant.granted.remove(NodeIndex(5));
    let second = ServerMessage::from(grant.clone().signed_by(aggregator)).encode();
    let first = tap.to_node(0, Kind::UploadGrant);
    let words = "signed two different UploadGrant messages in one context";
    proves(&cluster, &equivocation(first.clone(), second), Party::Aggregator, words);
    let by_a_node = ServerMessage::from(grant.signed_by(&cluster.identities[1])).encode();
    let words = "the aggregator did not sign both";
    proves_nothing(&cluster, &equivocation(first, by_a_node), words);
}

/// Two relays contradict each other if they are for one node, or if they say that
/// different nodes committed.
#[test]
fn two_different_relays() {
    let (cluster, tap) = honest();
    let ServerMessage::ShareRelay(relay) = tap.sent_to(0, Kind::ShareRelay) else { panic!() };
    let first = tap.to_node(0, Kind::ShareRelay);
    let mut altered = relay.clone();
    altered.parcels[2].edge_tag[0] ^= 1;
    let altered = ServerMessage::from(altered.signed_by(&cluster.aggregator)).encode();
    let words = "two different ShareRelay";
    proves(&cluster, &equivocation(first.clone(), altered), Party::Aggregator, words);
    let ServerMessage::ShareRelay(mut others) = tap.sent_to(1, Kind::ShareRelay) else { panic!() };
    others.committed.remove(NodeIndex(5));
    others.parcels.pop();
    let others = ServerMessage::from(others.signed_by(&cluster.aggregator)).encode();
    proves(&cluster, &equivocation(first, others), Party::Aggregator, words);
}

#[test]
fn an_altered_relay_names_the_aggregator() {
    let (cluster, tap) = honest();
    let commit = tap.of_node(3, Kind::RoundCommit);
    let ServerMessage::ShareRelay(honest) = tap.sent_to(0, Kind::ShareRelay) else { panic!() };
    type Change = fn(&mut tributary_secagg::messages::ShareParcel);
    let changes: [Change; 5] = [
        |parcel| parcel.slot += 1,
        |parcel| parcel.sealed_shares[0] ^= 1,
        |parcel| parcel.edge_tag[0] ^= 1,
        |parcel| parcel.self_share_hash = Digest::ZERO,
        |parcel| parcel.escrow_share_hash = Digest::ZERO,
    ];
    for change in changes {
        let mut relay = honest.clone();
        change(&mut relay.parcels[2]);
        let forged = ServerMessage::from(relay.clone()).encode();
        let relay = ServerMessage::from(relay.signed_by(&cluster.aggregator)).encode();
        let evidence = Evidence::AlteredRelay { commit: commit.clone(), relay: relay.clone() };
        let words = "altered the shares of node 3 for node 0";
        proves(&cluster, &evidence, Party::Aggregator, words);
        // Of another dealer it says nothing, and unsigned nothing at all.
        let other = Evidence::AlteredRelay { commit: tap.of_node(4, Kind::RoundCommit), relay };
        proves_nothing(&cluster, &other, "every message is as it must be");
        let unsigned = Evidence::AlteredRelay { commit: commit.clone(), relay: forged };
        proves_nothing(&cluster, &unsigned, "the aggregator did not sign this relay");
    }
}

/// A holder that reveals another share than the one it accepted: its ready names the relay.
#[test]
fn another_share_than_the_accepted_one() {
    let (cluster, tap) = honest();
    let NodeMessage::UnmaskShares(honest) = tap.said_by(0, Kind::UnmaskShares) else { panic!() };
    let (ready, relay) = (tap.of_node(0, Kind::Ready), tap.to_node(0, Kind::ShareRelay));
    let claim = |shares: tributary_secagg::messages::UnmaskShares| Evidence::BadShare {
        ready: ready.clone(),
        relay: relay.clone(),
        shares: NodeMessage::from(shares).encode(),
    };
    let mut shares = honest.clone();
    shares.self_shares[3].1.0[0] ^= 1;
    proves_nothing(&cluster, &claim(shares.clone()), "nobody on the roster signed");
    let shares = shares.signed_by(&cluster.identities[0]);
    let words = "revealed another share of node 3 than it had accepted";
    proves(&cluster, &claim(shares), Party::Node(VICTIM), words);
    let mut shares = honest.clone();
    shares.escrow_shares[0].1.0[31] ^= 1;
    let shares = shares.signed_by(&cluster.identities[0]);
    let words = "revealed another share of node 5 than it had accepted";
    proves(&cluster, &claim(shares), Party::Node(VICTIM), words);
    // Its own share is no parcel of the relay.
    let mut shares = honest.clone();
    shares.self_shares[0].1.0[0] ^= 1;
    let shares = shares.signed_by(&cluster.identities[0]);
    proves_nothing(&cluster, &claim(shares), "every message is as it must be");
    // The shares of somebody else, and of another attempt.
    let others = tap.said_by(1, Kind::UnmaskShares);
    let NodeMessage::UnmaskShares(others) = others else { panic!() };
    proves_nothing(&cluster, &claim(others), "the holder did not accept this relay");
    let elsewhere = tributary_secagg::messages::UnmaskShares { context: Digest::ZERO, ..honest };
    let elsewhere = elsewhere.signed_by(&cluster.identities[0]);
    proves_nothing(&cluster, &claim(elsewhere), "the holder did not accept this relay");
}

/// A node that reveals another share of its own seed than the one it kept.
#[test]
fn another_share_than_the_kept_one() {
    let (cluster, tap) = honest();
    let NodeMessage::UnmaskShares(honest) = tap.said_by(2, Kind::UnmaskShares) else { panic!() };
    let commit = tap.of_node(2, Kind::RoundCommit);
    let claim = |shares: tributary_secagg::messages::UnmaskShares| Evidence::BadOwnShare {
        commit: commit.clone(),
        shares: NodeMessage::from(shares).encode(),
    };
    let mut shares = honest.clone();
    shares.self_shares[2].1.0[7] ^= 1;
    let shares = shares.signed_by(&cluster.identities[2]);
    let words = "revealed another share of its own seed than it kept";
    proves(&cluster, &claim(shares), Party::Node(NodeIndex(2)), words);
    // Not those of others, not what somebody else said, not of another attempt.
    let mut shares = honest.clone();
    shares.self_shares[1].1.0[7] ^= 1;
    let shares = shares.signed_by(&cluster.identities[2]);
    proves_nothing(&cluster, &claim(shares), "every message is as it must be");
    let NodeMessage::UnmaskShares(others) = tap.said_by(1, Kind::UnmaskShares) else { panic!() };
    let words = "the messages are not of one node in one context";
    proves_nothing(&cluster, &claim(others), words);
    let elsewhere = tributary_secagg::messages::UnmaskShares { context: Digest::ZERO, ..honest };
    proves_nothing(&cluster, &claim(elsewhere.signed_by(&cluster.identities[2])), words);
    // Who kept none revealed none.
    let NodeMessage::RoundCommit(mut none) = tap.said_by(2, Kind::RoundCommit) else { panic!() };
    none.own_share_hashes = None;
    let none = Evidence::BadOwnShare {
        commit: NodeMessage::from(none.signed_by(&cluster.identities[2])).encode(),
        shares: tap.of_node(2, Kind::UnmaskShares),
    };
    proves_nothing(&cluster, &none, "the node kept no share of its own");
}

/// A dealer that signs a second commit, with an aggregator that relays the second one to
/// whom it likes, cannot make an honest holder's share look bad: the holder signed which
/// relay it had accepted.
#[test]
fn a_framing_dealer_and_aggregator_cannot_convict_the_holder() {
    let (cluster, tap) = honest();
    let NodeMessage::RoundCommit(mut second) = tap.said_by(3, Kind::RoundCommit) else { panic!() };
    second.entries[0].parcel.self_share_hash = hash("another share", &[]);
    let second = second.signed_by(&cluster.identities[3]);
    let ServerMessage::ShareRelay(mut relay) = tap.sent_to(0, Kind::ShareRelay) else { panic!() };
    relay.parcels[2] = second.entries[0].parcel.clone();
    let relay = relay.signed_by(&cluster.aggregator);
    let ready = tap.of_node(0, Kind::Ready);
    let shares = tap.of_node(0, Kind::UnmaskShares);
    let claim = |ready: &[u8]| Evidence::BadShare {
        ready: ready.to_vec(),
        relay: ServerMessage::from(relay.clone()).encode(),
        shares: shares.clone(),
    };
    let words = "the holder did not accept this relay";
    proves_nothing(&cluster, &claim(&ready), words);
    // Nor with a ready in the holder's name that it did not sign.
    let NodeMessage::Ready(mut forged) = tap.said_by(0, Kind::Ready) else { panic!() };
    forged.relay = relay.statement();
    proves_nothing(&cluster, &claim(&NodeMessage::from(forged.clone()).encode()), words);
    for by in [&cluster.identities[3], &cluster.aggregator] {
        let forged = forged.clone().signed_by(by);
        proves_nothing(&cluster, &claim(&NodeMessage::from(forged).encode()), words);
    }
    // Had it accepted that relay, its share would be the wrong one.
    let accepted = forged.signed_by(&cluster.identities[0]);
    let accepted = claim(&NodeMessage::from(accepted).encode());
    proves(&cluster, &accepted, Party::Node(VICTIM), "another share of node 3");
    // A relay of another attempt that the ready names, with shares of this one.
    let NodeMessage::Ready(mut elsewhere) = tap.said_by(0, Kind::Ready) else { panic!() };
    (elsewhere.relay, elsewhere.context) = (relay.statement(), Digest::ZERO);
    let elsewhere = NodeMessage::from(elsewhere.signed_by(&cluster.identities[0])).encode();
    proves_nothing(&cluster, &claim(&elsewhere), words);
}

/// A dealer that signs a second commit afterwards can make an honest aggregator's relay look
/// altered. The aggregator holds what answers it.
#[test]
fn a_second_commit_frames_nobody_who_kept_what_it_was_shown() {
    let (cluster, tap) = honest();
    let NodeMessage::RoundCommit(mut second) = tap.said_by(3, Kind::RoundCommit) else { panic!() };
    second.entries[0].parcel.self_share_hash = hash("another share", &[]);
    let second = NodeMessage::from(second.signed_by(&cluster.identities[3])).encode();
    let relay = tap.to_node(0, Kind::ShareRelay);
    let framed = Evidence::AlteredRelay { commit: second.clone(), relay };
    proves(&cluster, &framed, Party::Aggregator, "altered the shares of node 3 for node 0");
    // The aggregator answers with the commit it was sent: the dealer signed two.
    let first = tap.of_node(3, Kind::RoundCommit);
    let answer = equivocation(first, second);
    proves(&cluster, &answer, Party::Node(NodeIndex(3)), "two different RoundCommit");
}

// ---- what proves nothing

#[test]
fn honest_messages_prove_nothing() {
    let (cluster, tap) = honest();
    let nothing = "every message is as it must be";
    for dealer in 0..6 {
        let commit = tap.of_node(dealer, Kind::RoundCommit);
        for other in 0..5 {
            if other == dealer {
                let shares = tap.of_node(other, Kind::UnmaskShares);
                let (ready, relay) =
                    (tap.of_node(other, Kind::Ready), tap.to_node(other, Kind::ShareRelay));
                let evidence = Evidence::BadShare { ready, relay, shares: shares.clone() };
                proves_nothing(&cluster, &evidence, nothing);
                let evidence = Evidence::BadOwnShare { commit: commit.clone(), shares };
                proves_nothing(&cluster, &evidence, nothing);
            } else {
                let relay = tap.to_node(other, Kind::ShareRelay);
                let evidence = Evidence::AlteredRelay { commit: commit.clone(), relay };
                proves_nothing(&cluster, &evidence, nothing);
            }
        }
        for many in [4, 5] {
            let shares = (0..many).map(|node| tap.of_node(node, Kind::UnmaskShares)).collect();
            let evidence = Evidence::BadDealing { commit: commit.clone(), shares };
            proves_nothing(&cluster, &evidence, nothing);
        }
    }
}

/// Every pair of signed messages of an honest round, whoever sent them to whomever.
#[test]
fn no_two_honest_messages_contradict_each_other() {
    let (mut cluster, tap) = honest();
    rerun(&mut cluster, &tap, 1);
    let said = tap.node.borrow();
    let frames: Vec<_> = said.iter().map(|(_, message)| message.encode()).collect();
    let convicted = |one: &Vec<u8>, other: &Vec<u8>| {
        let evidence = equivocation(one.clone(), other.clone());
        evidence.verify(&cluster.roster).ok()
    };
    for one in &frames {
        for other in &frames {
            assert_eq!(convicted(one, other), None);
        }
    }
    let said = tap.server.borrow();
    for (_, one) in said.iter() {
        for (_, other) in said.iter().filter(|(_, other)| other.kind() == one.kind()) {
            assert_eq!(convicted(&one.encode(), &other.encode()), None, "{}", one.kind());
        }
    }
}

/// An honest aggregator ends an attempt for different nodes for different reasons, and
/// signs each. Two agencies that put theirs together convict nobody.
#[test]
fn two_aborts_for_different_nodes() {
    let mut cluster = roomy();
    let tap = Tap::default();
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    // Node 1 sends a bad message and is evicted; node 4 says nothing and is left out.
    let node = |from: NodeIndex, message: NodeMessage| match message {
        NodeMessage::Ready(mut ready) if from.0 == 1 => {
            ready.relay = Digest::ZERO;
            vec![ready.into()]
        }
        other => vec![other],
    };
    let dies_before = BTreeMap::from([(NodeIndex(4), Kind::RoundCommit)]);
    let script =
        Script { dies_before, silently: true, ..tap.over(|_, message| vec![message], node) };
    let outcome = run(&mut cluster, &view, &vectors, script);
    assert!(outcome.certified.is_some());
    let [one, other] = [1, 4].map(|node| tap.to_node(node, Kind::Abort));
    assert_ne!(one, other);
    let verdict = equivocation(one, other).verify(&cluster.roster);
    assert!(verdict.is_err(), "an honest aggregator is convicted: {verdict:?}");
}

#[test]
fn the_same_message_twice() {
    let (cluster, tap) = honest();
    let words = "the two messages are the same";
    let ready = tap.of_node(2, Kind::Ready);
    proves_nothing(&cluster, &equivocation(ready.clone(), ready), words);
    let grant = tap.to_node(2, Kind::UploadGrant);
    proves_nothing(&cluster, &equivocation(grant.clone(), grant), words);
    // Tags stand outside the signature: with others it is the same statement.
    let NodeMessage::SurvivorAck(mut ack) = tap.said_by(2, Kind::SurvivorAck) else { panic!() };
    ack.tags[0].1[0] ^= 1;
    let evidence = equivocation(tap.of_node(2, Kind::SurvivorAck), NodeMessage::from(ack).encode());
    proves_nothing(&cluster, &evidence, "what is signed is the same");
}

#[test]
fn messages_of_different_nodes_kinds_or_contexts() {
    let (mut cluster, tap) = honest();
    let next = Tap::default();
    rerun(&mut cluster, &next, 1);
    let of = |tap: &Tap, node, kind| tap.of_node(node, kind);
    let two_nodes = equivocation(of(&tap, 1, Kind::Ready), of(&tap, 2, Kind::Ready));
    proves_nothing(&cluster, &two_nodes, "no one member signed both");
    let different = "about different things";
    let two_kinds = equivocation(of(&tap, 1, Kind::Ready), of(&tap, 1, Kind::SurvivorAck));
    proves_nothing(&cluster, &two_kinds, different);
    let two_attempts = equivocation(of(&tap, 1, Kind::Ready), of(&next, 1, Kind::Ready));
    proves_nothing(&cluster, &two_attempts, different);
    let [one, other] = [&tap, &next].map(|tap| tap.to_node(1, Kind::UploadGrant));
    proves_nothing(&cluster, &equivocation(one, other), different);
    let [one, other] = [Kind::UploadGrant, Kind::RoundResult].map(|kind| tap.to_node(1, kind));
    proves_nothing(&cluster, &equivocation(one, other), different);
    let [commit, shares] = [of(&tap, 1, Kind::RoundCommit), of(&next, 2, Kind::UnmaskShares)];
    let (ready, relay) = (of(&next, 2, Kind::Ready), tap.to_node(2, Kind::ShareRelay));
    let evidence = Evidence::BadShare { ready: ready.clone(), relay, shares: shares.clone() };
    proves_nothing(&cluster, &evidence, "the holder did not accept this relay");
    let relay = next.to_node(2, Kind::ShareRelay);
    let evidence =
        Evidence::BadShare { ready: of(&tap, 2, Kind::Ready), relay, shares: shares.clone() };
    proves_nothing(&cluster, &evidence, "the holder did not accept this relay");
    let evidence = Evidence::BadOwnShare { commit: commit.clone(), shares: shares.clone() };
    proves_nothing(&cluster, &evidence, "not of one node in one context");
    let evidence = Evidence::BadDealing { commit: commit.clone(), shares: vec![shares; 4] };
    proves_nothing(&cluster, &evidence, "a holder has no share of this dealer");
    let relay = next.to_node(2, Kind::ShareRelay);
    let evidence = Evidence::AlteredRelay { commit, relay };
    proves_nothing(&cluster, &evidence, "the aggregator did not sign this relay");
}

#[test]
fn relays_for_two_different_nodes() {
    let (cluster, tap) = honest();
    let [one, other] = [1, 2].map(|node| tap.to_node(node, Kind::ShareRelay));
    proves_nothing(&cluster, &equivocation(one, other), "the relays are for different nodes");
}

#[test]
fn messages_that_nobody_signs() {
    let (cluster, tap) = honest();
    let words = "messages of this kind are not signed";
    let NodeMessage::MaskedChunk(mut chunk) = tap.said_by(1, Kind::MaskedChunk) else { panic!() };
    chunk.data[0] ^= 1;
    let evidence =
        equivocation(tap.of_node(1, Kind::MaskedChunk), NodeMessage::from(chunk).encode());
    proves_nothing(&cluster, &evidence, words);
    let context = tap.sent_to(1, Kind::UploadTurn).context();
    let turn = |first_chunk| ServerMessage::from(UploadTurn { context, first_chunk }).encode();
    proves_nothing(&cluster, &equivocation(turn(0), turn(1)), words);
    let [one, other] = [1, 2].map(|node| tap.to_node(node, Kind::SurvivorQc));
    proves_nothing(&cluster, &equivocation(one, other), words);
}

#[test]
fn messages_in_the_wrong_place() {
    let (cluster, tap) = honest();
    let commit = tap.of_node(1, Kind::RoundCommit);
    let shares = tap.of_node(2, Kind::UnmaskShares);
    let relay = tap.to_node(2, Kind::ShareRelay);
    let ready = tap.of_node(1, Kind::Ready);
    let grant = tap.to_node(1, Kind::UploadGrant);
    let bad_share = |ready: &[u8], relay: &[u8], shares: &[u8]| Evidence::BadShare {
        ready: ready.to_vec(),
        relay: relay.to_vec(),
        shares: shares.to_vec(),
    };
    let words = "the first message is no ready";
    proves_nothing(&cluster, &bad_share(&commit, &relay, &shares), words);
    let words = "the second message is no relay";
    proves_nothing(&cluster, &bad_share(&ready, &grant, &shares), words);
    proves_nothing(&cluster, &bad_share(&ready, &relay, &ready), "a message holds no shares");
    let own = |commit: &[u8], shares: &[u8]| Evidence::BadOwnShare {
        commit: commit.to_vec(),
        shares: shares.to_vec(),
    };
    proves_nothing(&cluster, &own(&ready, &shares), "the first message is no commit");
    proves_nothing(&cluster, &own(&commit, &ready), "a message holds no shares");
    let evidence = Evidence::AlteredRelay { commit: commit.clone(), relay: grant.clone() };
    proves_nothing(&cluster, &evidence, "the second message is no relay");
    // One of each direction, or of the wrong one, cannot even be read.
    for evidence in [
        equivocation(commit.clone(), grant),
        bad_share(&relay, &relay, &shares),
        bad_share(&ready, &ready, &shares),
        bad_share(&ready, &relay, &relay),
        own(&commit, &relay),
        Evidence::AlteredRelay { commit: relay, relay: shares },
    ] {
        let verdict = evidence.verify(&cluster.roster);
        assert!(matches!(verdict, Err(EvidenceError::Unreadable(_))), "{verdict:?}");
    }
}

/// Too few holders, or one named often, open no seed: a dealer is not convicted by them.
#[test]
fn too_few_holders_against_a_dealer() {
    let (cluster, tap) = honest();
    let NodeMessage::RoundCommit(mut commit) = tap.said_by(1, Kind::RoundCommit) else { panic!() };
    commit.self_commitment = hash("another seed", &[]);
    let commit = NodeMessage::from(commit.signed_by(&cluster.identities[1])).encode();
    let shares: Vec<_> = (0..5).map(|node| tap.of_node(node, Kind::UnmaskShares)).collect();
    let dealing = |shares: &[Vec<u8>]| Evidence::BadDealing {
        commit: commit.clone(),
        shares: shares.to_vec(),
    };
    let words = "shared another self seed";
    proves(&cluster, &dealing(&shares), Party::Node(NodeIndex(1)), words);
    proves(&cluster, &dealing(&shares[1..]), Party::Node(NodeIndex(1)), words);
    proves_nothing(&cluster, &dealing(&shares[2..]), "too few holders");
    proves_nothing(&cluster, &dealing(&[]), "too few holders");
    let often = vec![shares[0].clone(); 4];
    proves_nothing(&cluster, &dealing(&often), "the shares open no seed");
    // A share that is not the one that was dealt is the holder's doing.
    let NodeMessage::UnmaskShares(mut bad) = tap.said_by(4, Kind::UnmaskShares) else { panic!() };
    bad.self_shares[1].1.0[0] ^= 1;
    let bad = NodeMessage::from(bad.signed_by(&cluster.identities[4])).encode();
    let mixed = [shares[..3].to_vec(), vec![bad]].concat();
    proves_nothing(&cluster, &dealing(&mixed), "a share is not the one that was dealt");
}

#[test]
fn strangers_signatures() {
    let (cluster, tap) = honest();
    let stranger = &cluster.aggregator;
    let NodeMessage::RoundCommit(commit) = tap.said_by(1, Kind::RoundCommit) else { panic!() };
    let commit = NodeMessage::from(commit.signed_by(stranger)).encode();
    let shares = tap.of_node(2, Kind::UnmaskShares);
    let evidence = Evidence::BadOwnShare { commit, shares };
    proves_nothing(&cluster, &evidence, "nobody on the roster signed");
    let NodeMessage::Ready(ready) = tap.said_by(2, Kind::Ready) else { panic!() };
    let evidence = Evidence::BadShare {
        ready: NodeMessage::from(ready.signed_by(stranger)).encode(),
        relay: tap.to_node(2, Kind::ShareRelay),
        shares: tap.of_node(2, Kind::UnmaskShares),
    };
    proves_nothing(&cluster, &evidence, "the holder did not accept this relay");
}

// ---- its bytes

#[test]
fn damaged_bytes() {
    let (cluster, tap) = honest();
    let limits = Limits::for_members(6);
    let ready = tap.of_node(1, Kind::Ready);
    let evidence = [
        equivocation(ready.clone(), tap.of_node(2, Kind::Ready)),
        Evidence::BadShare {
            ready: ready.clone(),
            relay: tap.to_node(1, Kind::ShareRelay),
            shares: tap.of_node(1, Kind::UnmaskShares),
        },
        Evidence::BadOwnShare {
            commit: tap.of_node(1, Kind::RoundCommit),
            shares: tap.of_node(1, Kind::UnmaskShares),
        },
        Evidence::BadDealing {
            commit: tap.of_node(1, Kind::RoundCommit),
            shares: (0..5).map(|node| tap.of_node(node, Kind::UnmaskShares)).collect(),
        },
        Evidence::AlteredRelay {
            commit: tap.of_node(1, Kind::RoundCommit),
            relay: tap.to_node(2, Kind::ShareRelay),
        },
    ];
    for evidence in evidence {
        let bytes = evidence.encode();
        assert_eq!(Evidence::decode(&bytes, &limits), Ok(evidence.clone()));
        for cut in 0..bytes.len() {
            assert!(Evidence::decode(&bytes[..cut], &limits).is_err(), "{cut}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Evidence::decode(&longer, &limits), Err(DecodeError::Trailing(1)));
        for kind in [0, 6, 255] {
            let unknown = [&[kind], &bytes[1..]].concat();
            assert!(matches!(
                Evidence::decode(&unknown, &limits),
                Err(DecodeError::Malformed(
                    "unknown kind of evidence" | "evidence lacks a message"
                ))
            ));
        }
    }
    // The frames in it are read by whoever verifies: a damaged one is no evidence.
    for cut in [0, 3, ready.len() - 1] {
        let evidence = equivocation(ready.clone(), ready[..cut].to_vec());
        let verdict = evidence.verify(&cluster.roster);
        assert!(matches!(verdict, Err(EvidenceError::Unreadable(_))), "{verdict:?}");
    }
    // Too few or too many messages, and ones that are too long.
    let one = [&[1u8, 1, 0][..], &4u32.to_le_bytes(), &[0; 4]].concat();
    assert!(Evidence::decode(&one, &limits).is_err());
    let many = Evidence::BadDealing { commit: ready.clone(), shares: vec![ready.clone(); 7] };
    assert!(Evidence::decode(&many.encode(), &limits).is_err(), "more holders than members");
    let long = equivocation(ready.clone(), vec![0; limits.max_frame + 1]);
    assert!(matches!(Evidence::decode(&long.encode(), &limits), Err(DecodeError::TooLarge { .. })));
}
