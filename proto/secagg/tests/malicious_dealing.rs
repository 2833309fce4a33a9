//! Malicious dealers and false complaints: what can be proved is proved, what is one word
//! against another separates the pair, and whoever cheats many goes alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::attack::{disputes, roomy};
use common::cheat::{CHEAT, Round, cheat, cheat_with, commits, commits_with, named, proven, six};
use common::{Cluster, Outcome, Script, plain_sum, run};
use tributary_secagg::messages::{Complaint, Kind, RoundCommit, SignedMessage as _};
use tributary_secagg::{
    AbortReason, Digest, Evidence, Identity, NodeIndex, NodeMessage, NodePhase, NodeSet, hash,
};

#[test]
fn commits_that_are_malformed_or_unsigned() {
    let others = "dealt shares to other nodes than the cohort";
    named(commits(|commit| commit.entries.truncate(4)), others, false);
    named(commits(|commit| commit.entries.swap(0, 1)), others, false);
    named(commits(|commit| commit.entries[1] = commit.entries[0].clone()), others, false);
    named(commits(|commit| commit.quorum_signature[0] ^= 1), "signed another context", false);
    named(commits(|commit| commit.own_share_hashes = None), "none where it has", false);
    let in_anothers_name = commits(|commit| commit.entries[0].parcel.from = NodeIndex(1));
    named(in_anothers_name, "dealt shares in another node's name", false);
    let unsigned = cheat(Kind::RoundCommit, |_, message| {
        let NodeMessage::RoundCommit(mut commit) = message else { unreachable!() };
        commit.signature[5] ^= 1;
        vec![commit.into()]
    });
    named(unsigned, "sent a RoundCommit with a bad signature", false);
}

#[test]
fn an_equivocating_commit() {
    let two = cheat(Kind::RoundCommit, |identity, message| {
        let NodeMessage::RoundCommit(mut other) = message.clone() else { unreachable!() };
        other.self_commitment = hash("another seed", &[]);
        vec![message, other.signed_by(identity).into()]
    });
    let outcome = named(two, "sent two different RoundCommit", false);
    let evidence = proven(&outcome, "signed two different RoundCommit messages");
    assert!(matches!(evidence, Evidence::Equivocation { .. }));
}

#[test]
fn wrong_edge_tags_name_the_liar_or_separate_the_pair() {
    let towards_all = commits(|commit| {
        for entry in &mut commit.entries {
            entry.parcel.edge_tag[0] ^= 1;
        }
    });
    named(towards_all, "its edge tags contradict those of node 0, 1, 3, 4, 5", false);
    // One wrong tag is one word against another: both are named and left out.
    let (outcome, vectors) = commits(|commit| commit.entries[4].parcel.edge_tag[0] ^= 1);
    let separated: Vec<_> =
        outcome.evicted.iter().map(|(node, why)| (node.0, why.as_str())).collect();
    let words =
        ["its edge tags contradict those of node 5", "its edge tags contradict those of node 2"];
    assert_eq!(separated, [(2, words[0]), (5, words[1])]);
    let rest = six(&[0, 1, 3, 4]);
    assert_eq!(outcome.opened.unwrap(), (plain_sum(&vectors, &rest), rest));
    assert!(outcome.evidence.is_empty());
}

/// The pair of the cheat and node 1 is separated, each named as one word against the
/// other's; everybody else goes on.
#[track_caller]
fn separated((outcome, vectors): Round) -> Outcome {
    let words = |node| format!("shares between it and node {node} were refused by one of them");
    let expected = BTreeMap::from([(NodeIndex(1), words(2)), (CHEAT, words(1))]);
    assert_eq!(outcome.evicted, expected);
    assert!(outcome.evidence.is_empty(), "nobody can prove anything");
    let rest = six(&[0, 3, 4, 5]);
    assert_eq!(outcome.opened.clone().unwrap(), (plain_sum(&vectors, &rest), rest));
    assert_eq!(outcome.node_certified.len(), 4);
    for node in [NodeIndex(1), CHEAT] {
        assert!(!outcome.charged.contains_key(&node), "before anything was charged");
        assert_eq!(outcome.node_aborted[&node].reason, AbortReason::Evicted);
    }
    outcome
}

/// What a dealer does wrong to one holder, the holder finds at the relay, before
/// anything is uploaded, and complains.
#[test]
fn bad_dealing_to_one_is_complained_about_and_separates_the_pair() {
    type Cheat = (fn(&mut RoundCommit), &'static str);
    let cheats: [Cheat; 6] = [
        (|commit| commit.entries[1].parcel.slot += 1, "another slot than the graph gives"),
        (|commit| commit.entries[1].parcel.slot = 0, "another slot than the graph gives"),
        (|commit| commit.entries[1].parcel.sealed_shares[19] ^= 1, "do not open"),
        (
            |commit| {
                let other = commit.entries[0].parcel.sealed_shares;
                commit.entries[1].parcel.sealed_shares = other;
            },
            "do not open",
        ),
        (|commit| commit.entries[1].parcel.self_share_hash = Digest::ZERO, "hashes were published"),
        (|commit| commit.entries[1].parcel.escrow_share_hash = Digest::ZERO, "hashes"),
    ];
    for (change, words) in cheats {
        let outcome = separated(commits(change));
        let [(by, dealer, why)] = outcome.complaints.as_slice() else { panic!("{outcome:?}") };
        assert_eq!((*by, *dealer), (NodeIndex(1), CHEAT));
        assert!(why.contains(words), "{why}");
    }
}

/// A dealer that cheats many stands alone against them and goes alone.
#[test]
fn bad_dealing_to_many_puts_the_dealer_out_alone() {
    let many = commits(|commit| {
        for entry in &mut commit.entries[..3] {
            entry.parcel.sealed_shares[50] ^= 1;
        }
    });
    let words = "shares between it and node 0, 1, 3 were refused";
    let outcome = named(many, words, false);
    let by: Vec<_> = outcome.complaints.iter().map(|(by, dealer, _)| (by.0, dealer.0)).collect();
    assert_eq!(by, [(0, 2), (1, 2), (3, 2)]);
}

/// Shares in swapped slots would open another seed: each of the two holders finds it.
#[test]
fn swapped_slots_are_complained_about_by_both_holders() {
    let swapped = commits(|commit| {
        let slot = commit.entries[0].parcel.slot;
        commit.entries[0].parcel.slot = commit.entries[1].parcel.slot;
        commit.entries[1].parcel.slot = slot;
    });
    let outcome = named(swapped, "shares between it and node 0, 1 were refused", false);
    for (by, (complaining, dealer, why)) in (0u16..).zip(&outcome.complaints) {
        assert_eq!((*complaining, *dealer), (NodeIndex(by), CHEAT));
        assert!(why.contains("another slot than the graph gives this node"), "{why}");
    }
    assert_eq!(outcome.complaints.len(), 2);
}

/// A dealer cheats everybody while a node is missing: nobody can go on, the attempt ends,
/// and the dealer is named for the next one all the same.
#[test]
fn bad_parcels_to_many_name_the_dealer_although_the_attempt_ends() {
    let mut cluster = common::attack::cluster();
    let identity = cluster.identities[2].clone();
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let node = |node, message: NodeMessage| match message {
        NodeMessage::RoundCommit(mut commit) if node == CHEAT => {
            for entry in &mut commit.entries {
                entry.parcel.sealed_shares[33] ^= 1;
            }
            vec![commit.signed_by(&identity).into()]
        }
        other => vec![other],
    };
    let dies_before = BTreeMap::from([(NodeIndex(4), Kind::RoundCommit)]);
    let script = Script { dies_before, node: Some(Box::new(node)), ..Script::default() };
    let outcome = run(&mut cluster, &view, &vectors, script);
    let abort = outcome.aborted.as_ref().unwrap();
    assert_eq!(abort.reason, AbortReason::TooFewReady);
    let words = "shares between it and node 0, 1, 3 were refused by one of them".to_owned();
    assert_eq!(outcome.evicted, BTreeMap::from([(CHEAT, words)]));
    // The complaints had left before their nodes stopped.
    assert_eq!(outcome.complaints.len(), 3);
    for by in [0, 1, 3].map(NodeIndex) {
        let words = "cannot use the shares of nodes 2, too many to go on";
        disputes::<()>(Err(outcome.faults[&by].clone()), 2, words);
        assert_eq!(outcome.nodes[&by].phase(), NodePhase::Faulted);
    }
    assert!(outcome.charged.is_empty());
}

/// Eleven nodes, of which two collude against node 5 with what they send of one kind.
fn collude(kind: Kind, change: impl Fn(&Identity, NodeMessage) -> Vec<NodeMessage>) -> Round {
    let mut cluster = Cluster::new(11, 0.15, 0.2, 6);
    let t = cluster.roster.thresholds;
    assert_eq!((t.corrupt, t.quorum, t.u_min), (2, 7, 9));
    let identities = cluster.identities.clone();
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let node = |node: NodeIndex, message: NodeMessage| {
        if node.0 < 2 && message.kind() == kind {
            return change(&identities[usize::from(node.0)], message);
        }
        vec![message]
    };
    let script = Script { node: Some(Box::new(node)), ..Default::default() };
    (run(&mut cluster, &view, &vectors, script), vectors)
}

/// The first colluder goes with the node it accuses, the other stays: for every honest node
/// that is lost a corrupt one is.
#[track_caller]
fn one_for_one((outcome, vectors): Round) {
    let out = NodeSet::of(11, [0, 5].map(NodeIndex));
    assert_eq!(NodeSet::of(11, outcome.evicted.keys().copied()), out, "{outcome:?}");
    let rest = NodeSet::full(11).difference(&out);
    assert_eq!(outcome.opened.unwrap(), (plain_sum(&vectors, &rest), rest));
}

#[test]
fn two_colluders_cannot_evict_an_honest_node_alone() {
    one_for_one(collude(Kind::Ready, |identity, message| {
        let (context, against) = (message.context(), NodeSet::of(11, [NodeIndex(5)]));
        let complaint = Complaint { context, against, signature: [0; 64] };
        vec![complaint.signed_by(identity).into(), message]
    }));
    one_for_one(collude(Kind::RoundCommit, |identity, message| {
        let NodeMessage::RoundCommit(mut commit) = message else { unreachable!() };
        let entry = commit.entries.iter_mut().find(|entry| entry.parcel.to.0 == 5);
        entry.unwrap().parcel.edge_tag[0] ^= 1;
        vec![commit.signed_by(identity).into()]
    }));
    one_for_one(collude(Kind::RoundCommit, |identity, message| {
        let NodeMessage::RoundCommit(mut commit) = message else { unreachable!() };
        let entry = commit.entries.iter_mut().find(|entry| entry.parcel.to.0 == 5);
        entry.unwrap().parcel.sealed_shares[40] ^= 1;
        vec![commit.signed_by(identity).into()]
    }));
}

/// Who cheats as many as could be corrupt takes them along, pair by pair; one more, and it
/// goes alone.
#[test]
fn a_slanderer_of_more_nodes_than_may_be_corrupt_goes_alone() {
    let slander = |most: u16| {
        collude(Kind::Ready, move |identity, message| {
            let against = NodeSet::of(11, (5..5 + most).map(NodeIndex));
            let complaint = Complaint { context: message.context(), against, signature: [0; 64] };
            vec![complaint.signed_by(identity).into(), message]
        })
    };
    let evicted = |(outcome, _): Round| {
        (outcome.evicted.keys().map(|node| node.0).collect::<Vec<_>>(), outcome.opened.is_some())
    };
    assert_eq!(evicted(slander(3)), (vec![0, 1], true));
    // Four of eleven are too many to lose for this sum; both liars are among them.
    assert_eq!(evicted(slander(2)), (vec![0, 1, 5, 6], false));
}

/// The cheat complains before it says that it is ready.
fn complains(against: &[u16]) -> Round {
    let against = six(against);
    cheat(Kind::Ready, move |identity, message| {
        let (context, against) = (message.context(), against.clone());
        let complaint = Complaint { context, against, signature: [0; 64] };
        vec![complaint.signed_by(identity).into(), message]
    })
}

#[test]
fn a_false_complaint_separates_the_pair() {
    let outcome = separated(complains(&[1]));
    assert!(outcome.complaints.is_empty(), "no honest node complained");
}

#[test]
fn false_complaints_about_many_put_the_slanderer_out_alone() {
    let words = "shares between it and node 0, 1, 4, 5 were refused";
    named(complains(&[0, 1, 4, 5]), words, false);
}

#[test]
fn complaints_that_are_none() {
    let about = "complained about nodes that dealt it no shares";
    named(complains(&[]), about, false);
    named(complains(&[2]), about, false);
    // Node 5 never committed: it dealt nothing to anybody.
    let dies = BTreeMap::from([(NodeIndex(5), Kind::RoundCommit)]);
    let (outcome, _) = cheat_with(dies, Kind::Ready, |identity, message| {
        let against = six(&[5]);
        let complaint = Complaint { context: message.context(), against, signature: [0; 64] };
        vec![complaint.signed_by(identity).into(), message]
    });
    assert_eq!(outcome.evicted[&CHEAT], about);
    assert_eq!(outcome.evicted.len(), 1);
    let in_anothers_name = cheat(Kind::Ready, |_, message| {
        let against = six(&[1]);
        let complaint = Complaint { context: message.context(), against, signature: [0; 64] };
        vec![complaint.signed_by(&roomy().identities[3]).into(), message]
    });
    named(in_anothers_name, "sent a Complaint with a bad signature", false);
    let early = cheat(Kind::RoundCommit, |identity, message| {
        let against = six(&[1]);
        let complaint = Complaint { context: message.context(), against, signature: [0; 64] };
        vec![complaint.signed_by(identity).into(), message]
    });
    named(early, "sent a Complaint while the round was waiting for commitments", false);
}

#[test]
fn an_equivocating_complaint() {
    let two = cheat(Kind::Ready, |identity, message| {
        let complaint = |list| {
            let against = six(list);
            let complaint = Complaint { context: message.context(), against, signature: [0; 64] };
            NodeMessage::from(complaint.signed_by(identity))
        };
        vec![complaint(&[1]), complaint(&[3]), message.clone()]
    });
    // Its first complaint still stood, but it is gone, and nobody goes with it.
    let outcome = named(two, "sent two different Complaint", false);
    proven(&outcome, "signed two different Complaint messages");
}

// ---- commitments that do not open

#[test]
fn an_inconsistent_dealing_of_the_self_seed() {
    let (outcome, _) = commits(|commit| commit.self_commitment = hash("another seed", &[]));
    sharing_is_blamed(&outcome, "self seed");
    let evidence = proven(&outcome, "shared another self seed than the one it committed to");
    assert!(matches!(evidence, Evidence::BadDealing { .. }));
}

#[test]
fn a_wrong_escrow_of_a_node_that_drops() {
    let dies = || BTreeMap::from([(CHEAT, Kind::MaskedDone)]);
    let change = |commit: &mut RoundCommit| commit.escrow_commitment = hash("another key", &[]);
    let (outcome, _) = commits_with(dies(), change);
    sharing_is_blamed(&outcome, "escrow key");
    proven(&outcome, "shared another escrow key than the one it committed to");
}

#[test]
fn a_wrong_escrowed_edge_of_a_node_that_drops() {
    let dies = BTreeMap::from([(CHEAT, Kind::MaskedDone)]);
    let (outcome, _) = commits_with(dies, |commit| commit.entries[3].sealed_edge[0] ^= 1);
    sharing_is_blamed(&outcome, "escrowed");
    proven(&outcome, "escrowed another edge than the one whose tag it published");
    // Unless it drops, the escrow is never opened and hurts nobody.
    let (outcome, _) = commits(|commit| commit.entries[3].sealed_edge[0] ^= 1);
    assert_eq!(outcome.node_certified.len(), 6);
}

#[track_caller]
fn sharing_is_blamed(outcome: &Outcome, words: &str) {
    assert!(outcome.opened.is_none());
    let abort = outcome.aborted.as_ref().unwrap();
    assert_eq!(abort.reason, AbortReason::BadSharing);
    assert_eq!(abort.blamed, six(&[2]));
    assert!(outcome.evicted[&CHEAT].contains(words), "{outcome:?}");
    assert!(abort.to_string().contains("to blame: node 2"), "{abort}");
}
