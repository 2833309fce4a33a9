//! A malicious aggregator in the sparse graph: whatever set it names, enough holders of
//! this node's shares must be in it. Sixteen nodes on a ring, twelve neighbours each, eight
//! of whom open a seed; nine signatures make a quorum, nine survivors are the least.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::attack::{Tap, VICTIM, attack_in, refused, restrict};
use common::keying::ring;
use common::{Cluster, Outcome, Script, plain_sum, run};
use tributary_secagg::messages::{Kind, SignedMessage as _, UploadGrant};
use tributary_secagg::{
    AbortReason, Digest, Evidence, EvidenceError, NodeIndex, NodeMessage, NodeSet, Party, Roster,
    ServerMessage, Thresholds, hash,
};

fn cluster() -> Cluster {
    Cluster::with(ring())
}

/// A large enough set in which only seven of the victim's twelve neighbours are left.
fn few_holders(cluster: &Cluster) -> NodeSet {
    let peers = cluster.epochs[0].graph().peers(VICTIM);
    let mut set = NodeSet::full(16);
    for peer in peers.iter().take(5) {
        set.remove(peer);
    }
    assert!(set.contains(VICTIM) && set.len() >= usize::from(cluster.roster.thresholds.u_min));
    set
}

#[track_caller]
fn too_few(outcome: &Outcome, name: &str) {
    let words =
        format!("named {name} that hold 7 holders of this node's shares, fewer than shamir_t = 8");
    refused(outcome, &words);
}

#[test]
fn too_few_holders_in_the_cohort() {
    let mut cluster = cluster();
    let set = few_holders(&cluster);
    let outcome = attack_in(&mut cluster, BTreeMap::new(), Kind::RoundStart, |key, message| {
        let ServerMessage::RoundStart(mut start) = message else { unreachable!() };
        start.cohort = set.clone();
        vec![start.signed_by(key).into()]
    });
    too_few(&outcome, "invited nodes");
}

#[test]
fn too_few_holders_among_the_committed() {
    let mut cluster = cluster();
    let set = few_holders(&cluster);
    let outcome = attack_in(&mut cluster, BTreeMap::new(), Kind::ShareRelay, |key, message| {
        let ServerMessage::ShareRelay(mut relay) = message else { unreachable!() };
        relay.committed = set.clone();
        relay.parcels.retain(|parcel| set.contains(parcel.from));
        vec![relay.signed_by(key).into()]
    });
    too_few(&outcome, "committed nodes");
    assert!(!outcome.charged.contains_key(&VICTIM));
}

#[test]
fn too_few_holders_among_the_granted() {
    let mut cluster = cluster();
    let set = few_holders(&cluster);
    let outcome = attack_in(&mut cluster, BTreeMap::new(), Kind::UploadGrant, |key, message| {
        let ServerMessage::UploadGrant(grant) = message else { unreachable!() };
        vec![UploadGrant { granted: set.clone(), ..grant }.signed_by(key).into()]
    });
    too_few(&outcome, "granted nodes");
    assert!(!outcome.charged.contains_key(&VICTIM));
}

#[test]
fn too_few_holders_among_the_survivors() {
    let mut cluster = cluster();
    let set = few_holders(&cluster);
    let outcome =
        attack_in(&mut cluster, BTreeMap::new(), Kind::SurvivorManifest, |key, message| {
            let ServerMessage::SurvivorManifest(mut manifest) = message else { unreachable!() };
            restrict(&mut manifest, set.clone());
            vec![manifest.signed_by(key).into()]
        });
    too_few(&outcome, "survivors");
    let evidence = outcome.nodes[&VICTIM].evidence();
    assert!(evidence.is_none(), "one manifest is no contradiction");
}

/// Shares that cannot be used count as holders that are missing.
#[test]
fn too_many_altered_ciphertexts_leave_too_few_holders() {
    let mut cluster = cluster();
    let mut dealers = Vec::new();
    let outcome = attack_in(&mut cluster, BTreeMap::new(), Kind::ShareRelay, |key, message| {
        let ServerMessage::ShareRelay(mut relay) = message else { unreachable!() };
        for parcel in &mut relay.parcels[..5] {
            parcel.sealed_shares[20] ^= 1;
            dealers.push(parcel.from);
        }
        vec![relay.signed_by(key).into()]
    });
    let fault = &outcome.faults[&VICTIM];
    let refused = NodeSet::of(16, dealers.iter().copied());
    let words = format!("the shares of nodes {refused}, too many to go on");
    assert!(fault.to_string().contains(&words), "{fault}");
    assert_eq!(fault.suspects(), [Party::Node(dealers[0]), Party::Aggregator]);
}

/// One complaint is borne: the pair goes, the others have their sum.
#[test]
fn one_altered_ciphertext_separates_the_pair() {
    let mut cluster = cluster();
    let vectors = cluster.vectors(6);
    let view = cluster.view(0, 0, 6);
    let dealer = cluster.epochs[0].graph().peers(VICTIM).iter().next().unwrap();
    let identity = cluster.identities[usize::from(dealer.0)].clone();
    let node = |from: NodeIndex, message: NodeMessage| match message {
        NodeMessage::RoundCommit(mut commit) if from == dealer => {
            let to_victim = commit.entries.iter_mut().find(|entry| entry.parcel.to == VICTIM);
            to_victim.unwrap().parcel.sealed_shares[20] ^= 1;
            vec![commit.signed_by(&identity).into()]
        }
        other => vec![other],
    };
    let script = Script { node: Some(Box::new(node)), ..Script::default() };
    let outcome = run(&mut cluster, &view, &vectors, script);
    let [(by, about, _)] = outcome.complaints.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((*by, *about), (VICTIM, dealer));
    let out = NodeSet::of(16, [VICTIM, dealer]);
    assert_eq!(NodeSet::of(16, outcome.evicted.keys().copied()), out);
    let rest = NodeSet::full(16).difference(&out);
    assert_eq!(outcome.opened.unwrap(), (plain_sum(&vectors, &rest), rest));
}

/// The least number of shares of a sparse graph is computed anew from its degree and the
/// corrupt nodes; no roster is made with less.
#[test]
fn a_lowered_threshold() {
    let good = cluster().roster;
    let build = |thresholds| {
        Roster::new(good.job, good.members.clone(), good.aggregator, thresholds).map(drop)
    };
    assert!(build(ring()).is_ok());
    let words = build(Thresholds { shamir_t: 7, ..ring() }).unwrap_err().to_string();
    assert!(words.starts_with("shamir_t is 7, it must be at least 8"), "{words}");
    let words = build(Thresholds { degree: 14, ..ring() }).unwrap_err().to_string();
    assert!(words.starts_with("shamir_t is 8, it must be at least 9"), "{words}");
    let words = build(Thresholds { corrupt: 2, quorum: 10, u_min: 10, ..ring() }).unwrap_err();
    assert!(words.to_string().starts_with("shamir_t is 8"), "{words}");
}

// ---- malicious nodes

/// Runs a round in which one node changes its messages of a kind.
fn cheat(
    tap: &Tap,
    cluster: &mut Cluster,
    dies_before: BTreeMap<NodeIndex, Kind>,
    kind: Kind,
    change: impl Fn(&NodeSet, NodeMessage) -> NodeMessage,
) -> Outcome {
    let vectors = cluster.vectors(4);
    let view = cluster.view(0, 0, 4);
    let peers = cluster.epochs[2].graph().peers(NodeIndex(2));
    let node = move |from: NodeIndex, message: NodeMessage| {
        if from.0 == 2 && message.kind() == kind {
            return vec![change(&peers, message)];
        }
        vec![message]
    };
    let script = Script { dies_before, ..tap.over(|_, message| vec![message], node) };
    run(cluster, &view, &vectors, script)
}

/// A commit with another self seed than it shares. The slots stand in the commit, so the
/// proof needs no coin, which a third party might be told wrong.
#[test]
fn an_inconsistent_dealing_is_proved_without_the_coin() {
    let mut cluster = cluster();
    let identity = cluster.identities[2].clone();
    let tap = Tap::default();
    let outcome = cheat(&tap, &mut cluster, BTreeMap::new(), Kind::RoundCommit, |_, message| {
        let NodeMessage::RoundCommit(mut commit) = message else { unreachable!() };
        assert_eq!(commit.entries.len(), 12);
        assert!(commit.own_share_hashes.is_none());
        commit.self_commitment = hash("another seed", &[]);
        commit.signed_by(&identity).into()
    });
    assert_eq!(outcome.aborted.unwrap().reason, AbortReason::BadSharing);
    let evidence = &outcome.evidence[&NodeIndex(2)];
    let Evidence::BadDealing { shares, .. } = evidence else { panic!("{evidence:?}") };
    assert_eq!(shares.len(), 8, "as many holders as open a seed");
    let (who, what) = evidence.verify(&cluster.roster).unwrap();
    assert_eq!(who, Party::Node(NodeIndex(2)));
    assert!(what.contains("shared another self seed"), "{what}");
}

/// Whatever the coin is said to have been: no choice of honest holders convicts an honest
/// dealer, nor do its shares in another order of the slots.
#[test]
fn no_coin_convicts_an_honest_dealer() {
    let mut cluster = cluster();
    let tap = Tap::default();
    let dies = BTreeMap::from([(NodeIndex(5), Kind::MaskedDone)]);
    let outcome = cheat(&tap, &mut cluster, dies, Kind::Ready, |_, message| message);
    assert!(outcome.certified.is_some() && outcome.evicted.is_empty());
    for dealer in 0..16u16 {
        let commit = tap.of_node(dealer, Kind::RoundCommit);
        let holders = cluster.epochs[usize::from(dealer)].graph().peers(NodeIndex(dealer));
        let frames: Vec<_> = holders
            .iter()
            .filter(|node| node.0 != 5)
            .map(|node| tap.of_node(node.0, Kind::UnmaskShares))
            .collect();
        for first in 0..=frames.len() - 8 {
            for backwards in [false, true] {
                let mut shares = frames[first..first + 8].to_vec();
                if backwards {
                    shares.reverse();
                }
                let evidence = Evidence::BadDealing { commit: commit.clone(), shares };
                let verdict = evidence.verify(&cluster.roster);
                assert!(matches!(verdict, Err(EvidenceError::Inconclusive(_))), "{verdict:?}");
            }
        }
    }
    // A node that is no neighbour of the dealer holds nothing of its seeds.
    let peers = cluster.epochs[0].graph().peers(VICTIM);
    let stranger = (1..16).find(|node| *node != 5 && !peers.contains(NodeIndex(*node))).unwrap();
    let evidence = Evidence::BadDealing {
        commit: tap.of_node(0, Kind::RoundCommit),
        shares: vec![tap.of_node(stranger, Kind::UnmaskShares); 8],
    };
    assert!(evidence.verify(&cluster.roster).is_err());
}

#[test]
fn a_bad_share_is_named() {
    let mut cluster = cluster();
    let identity = cluster.identities[2].clone();
    let tap = Tap::default();
    let outcome = cheat(&tap, &mut cluster, BTreeMap::new(), Kind::UnmaskShares, |_, message| {
        let NodeMessage::UnmaskShares(mut shares) = message else { unreachable!() };
        assert_eq!(shares.self_shares.len(), 12, "of its peers, none of its own");
        shares.self_shares[0].1.0[0] ^= 1;
        shares.signed_by(&identity).into()
    });
    assert!(outcome.certified.is_some());
    let (who, _) = outcome.evidence[&NodeIndex(2)].verify(&cluster.roster).unwrap();
    assert_eq!(who, Party::Node(NodeIndex(2)));
}

#[test]
fn shares_kept_where_the_graph_has_none() {
    let mut cluster = cluster();
    let identity = cluster.identities[2].clone();
    let tap = Tap::default();
    let outcome = cheat(&tap, &mut cluster, BTreeMap::new(), Kind::RoundCommit, |_, message| {
        let NodeMessage::RoundCommit(mut commit) = message else { unreachable!() };
        commit.own_share_hashes = Some([Digest::ZERO; 2]);
        commit.signed_by(&identity).into()
    });
    assert!(outcome.evicted[&NodeIndex(2)].contains("kept shares of its own"));
}

/// A node that is not a neighbour dealt nothing that could be bad.
#[test]
fn a_complaint_about_a_node_that_is_no_peer() {
    let mut cluster = cluster();
    let identity = cluster.identities[2].clone();
    let tap = Tap::default();
    let outcome = cheat(&tap, &mut cluster, BTreeMap::new(), Kind::Ready, |peers, message| {
        let stranger = (0..16).map(NodeIndex).find(|node| node.0 != 2 && !peers.contains(*node));
        let against = NodeSet::of(16, stranger);
        tributary_secagg::messages::Complaint {
            context: message.context(),
            against,
            signature: [0; 64],
        }
        .signed_by(&identity)
        .into()
    });
    assert_eq!(outcome.evicted.len(), 1);
    let why = &outcome.evicted[&NodeIndex(2)];
    assert!(why.contains("complained about nodes that dealt it no shares"), "{why}");
}
