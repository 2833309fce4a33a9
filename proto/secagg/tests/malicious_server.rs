//! A malicious aggregator: every attack is refused by the nodes, by name. The
//! cluster has five nodes of which one may be corrupt, so tau = shamir_t = 4.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;

use common::{Cluster, MAX_ATTEMPTS, Outcome, Script, parties, plain_sum, run};
use tributary_secagg::messages::{
    Kind, ResultAck, ShareRelay, SignedMessage, SurvivorAck, SurvivorManifest, SurvivorQc,
    UploadGrant,
};
use tributary_secagg::{
    Digest, Fault, Identity, NodeEpoch, NodeIndex, NodeMessage, NodeOutput, NodePhase, NodeSet,
    Party, Roster, RoundStart, ServerMessage, Thresholds, VectorKind, context, hash, vector_root,
};

const VICTIM: NodeIndex = NodeIndex(0);

fn cluster() -> Cluster {
    let cluster = Cluster::new(5, 0.2, 0.2, 4);
    let t = cluster.roster.thresholds;
    assert_eq!((t.corrupt, t.quorum, t.shamir_t, t.u_min), (1, 4, 4, 4));
    cluster
}

fn nodes(list: &[u16]) -> NodeSet {
    NodeSet::of(5, list.iter().copied().map(NodeIndex))
}

/// Runs a round in which the aggregator changes its messages of one kind to the
/// victim, and gives back the outcome.
fn attack(
    kind: Kind,
    change: impl FnMut(&Identity, ServerMessage) -> Vec<ServerMessage>,
) -> Outcome {
    attack_with(BTreeMap::new(), kind, change)
}

fn attack_with(
    dies_before: BTreeMap<NodeIndex, Kind>,
    kind: Kind,
    mut change: impl FnMut(&Identity, ServerMessage) -> Vec<ServerMessage>,
) -> Outcome {
    let mut cluster = cluster();
    let aggregator = cluster.aggregator.clone();
    let vectors = cluster.vectors(6);
    let view = cluster.view(3, 1, 6);
    let server = Box::new(move |node, message: ServerMessage| {
        if node == VICTIM && message.kind() == kind {
            change(&aggregator, message)
        } else {
            vec![message]
        }
    });
    run(
        &mut cluster,
        &view,
        &vectors,
        Script { dies_before, server: Some(server), ..Script::default() },
    )
}

/// The attack is blamed on the aggregator with these words, and the victim gives
/// nothing more out.
#[track_caller]
fn refused(outcome: &Outcome, words: &str) {
    let fault = outcome.faults.get(&VICTIM).unwrap_or_else(|| panic!("accepted: {outcome:?}"));
    assert_eq!(fault.blamed(), Some(Party::Aggregator), "{fault}");
    assert!(fault.to_string().contains(words), "{fault}");
    assert!(!outcome.node_certified.contains(&VICTIM));
}

/// Changes the victim's manifest and signs it again.
fn with_manifest(change: impl Fn(&mut SurvivorManifest)) -> Outcome {
    attack(Kind::SurvivorManifest, |aggregator, message| {
        let ServerMessage::SurvivorManifest(mut manifest) = message else { unreachable!() };
        change(&mut manifest);
        vec![manifest.signed_by(aggregator).into()]
    })
}

fn restrict(manifest: &mut SurvivorManifest, survivors: NodeSet) {
    let kept = manifest.survivors.iter().zip(&manifest.roots);
    manifest.roots =
        kept.filter(|(node, _)| survivors.contains(*node)).map(|(_, root)| *root).collect();
    manifest.survivors = survivors;
}

/// Changes the victim's start of the round and signs it again.
fn with_start(change: impl Fn(&mut RoundStart)) -> Outcome {
    attack(Kind::RoundStart, |aggregator, message| {
        let ServerMessage::RoundStart(mut start) = message else { unreachable!() };
        change(&mut start);
        vec![start.signed_by(aggregator).into()]
    })
}

/// Changes the victim's relay and signs it again.
fn with_relay(change: impl Fn(&mut ShareRelay)) -> Outcome {
    attack(Kind::ShareRelay, |aggregator, message| {
        let ServerMessage::ShareRelay(mut relay) = message else { unreachable!() };
        change(&mut relay);
        vec![relay.signed_by(aggregator).into()]
    })
}

fn with_quorum(change: impl Fn(&mut SurvivorQc)) -> Outcome {
    attack(Kind::SurvivorQc, |_, message| {
        let ServerMessage::SurvivorQc(mut quorum) = message else { unreachable!() };
        change(&mut quorum);
        vec![quorum.into()]
    })
}

#[test]
fn an_untouched_round_succeeds() {
    let outcome = attack(Kind::SurvivorManifest, |_, message| vec![message]);
    assert_eq!(outcome.node_certified.len(), 5);
}

// ---- the start of an attempt

#[test]
fn another_model_hash_for_one_node() {
    let outcome = with_start(|start| start.view.state_hash = hash("other model", &[]));
    refused(&outcome, "state hash");
}

#[test]
fn other_parameters_operation_length_or_history() {
    refused(&with_start(|start| start.view.params_hash = Digest::ZERO), "parameter hash");
    refused(&with_start(|start| start.view.operation = 2), "operation");
    refused(&with_start(|start| start.view.vector_len = 7), "vector length");
    refused(&with_start(|start| start.view.previous = hash("fork", &[])), "previous result");
    refused(&with_start(|start| start.view.round = 4), "round");
    refused(&with_start(|start| start.view.attempt = 2), "attempt");
    refused(&with_start(|start| start.epoch = 2), "epoch");
    refused(&with_start(|start| start.context = Digest::ZERO), "context differs");
}

#[test]
fn a_cohort_too_small_or_without_the_node() {
    refused(&with_start(|start| start.cohort = nodes(&[0, 1, 2])), "fewer than u_min");
    refused(&with_start(|start| start.cohort = nodes(&[1, 2, 3, 4])), "leave this node out");
}

#[test]
fn a_lowered_threshold_is_another_context() {
    // The roster type does not even hold weak thresholds ...
    let honest = cluster().roster;
    let weak = Thresholds { quorum: 3, shamir_t: 3, ..honest.thresholds };
    let members = honest.members.clone();
    assert!(Roster::new(honest.job, members.clone(), honest.aggregator, weak).is_err());
    // ... and one with other, still sound, thresholds gives another context.
    let other = Thresholds { u_min: 5, ..honest.thresholds };
    let other = Roster::new(honest.job, members, honest.aggregator, other).unwrap();
    assert_ne!(other.digest(), honest.digest());
    let outcome = with_start(|start| {
        let view = start.view.clone();
        let transcript = hash("epoch of the other roster", &[&other.digest().0]);
        start.context = context(&other, &transcript, &view, &start.cohort);
    });
    refused(&outcome, "context differs");
}

#[test]
fn messages_not_signed_by_the_aggregator() {
    let stranger = Identity::generate().unwrap();
    for kind in [
        Kind::RoundStart,
        Kind::ShareRelay,
        Kind::UploadGrant,
        Kind::SurvivorManifest,
        Kind::RoundResult,
    ] {
        let outcome = attack(kind, |_, message| {
            vec![match message {
                ServerMessage::RoundStart(m) => m.signed_by(&stranger).into(),
                ServerMessage::ShareRelay(m) => m.signed_by(&stranger).into(),
                ServerMessage::UploadGrant(m) => m.signed_by(&stranger).into(),
                ServerMessage::SurvivorManifest(m) => m.signed_by(&stranger).into(),
                ServerMessage::RoundResult(m) => m.signed_by(&stranger).into(),
                other => other,
            }]
        });
        refused(&outcome, "bad signature");
    }
}

#[test]
fn replayed_and_exhausted_attempts() {
    let mut cluster = cluster();
    let aggregator = cluster.aggregator.clone();
    let starts = RefCell::new(Vec::new());
    let capture = |node: NodeIndex, message: ServerMessage| {
        if let (VICTIM, ServerMessage::RoundStart(start)) = (node, &message) {
            starts.borrow_mut().push(start.clone());
        }
        vec![message]
    };
    let vectors = cluster.vectors(2);
    for attempt in [1, 2] {
        let view = cluster.view(5, attempt, 2);
        let script = Script { server: Some(Box::new(capture)), ..Script::default() };
        run(&mut cluster, &view, &vectors, script);
    }
    let starts = starts.into_inner();
    // The same attempt, an earlier attempt of the round, an earlier round.
    for start in &starts {
        let fault = cluster.open_node(VICTIM, start.clone(), &start.view.clone()).unwrap_err();
        assert_eq!(fault.blamed(), Some(Party::Aggregator));
        assert!(fault.to_string().contains("this node is past round 5 attempt 2"), "{fault}");
    }
    let fresh = |cluster: &Cluster, round, attempt| {
        let view = cluster.view(round, attempt, 2);
        let cohort = NodeSet::full(5);
        let ctx = context(&cluster.roster, &cluster.transcript, &view, &cohort);
        RoundStart { context: ctx, epoch: 1, view, cohort, signature: [0; 64] }
            .signed_by(&aggregator)
    };
    let start = fresh(&cluster, 4, 3);
    assert!(cluster.open_node(VICTIM, start.clone(), &start.view).is_err());
    let start = fresh(&cluster, 6, MAX_ATTEMPTS);
    let fault = cluster.open_node(VICTIM, start.clone(), &start.view).unwrap_err();
    assert!(fault.to_string().contains("the job allows 4"), "{fault}");
    // A refused start leaves the epoch as it was: the next honest one works.
    let start = fresh(&cluster, 6, 0);
    assert!(cluster.open_node(VICTIM, start.clone(), &start.view).is_ok());
}

#[test]
fn a_restarted_node_does_not_open_a_spent_attempt_again() {
    let mut cluster = cluster();
    let vectors = cluster.vectors(2);
    let view = cluster.view(0, 0, 2);
    let old = cluster.epochs[0].to_secret_bytes();
    run(&mut cluster, &view, &vectors, Script::default());
    let stored = cluster.epochs[0].to_secret_bytes();
    assert_ne!(*old, *stored);
    let again = NodeEpoch::from_secret_bytes(&cluster.roster, &stored).unwrap();
    assert_eq!(again.last_spent(), Some((0, 0)));
    assert_eq!((again.epoch(), again.transcript()), (1, cluster.transcript));
    assert_eq!(again.members(), NodeSet::full(5));
    cluster.epochs[0] = again;
    let cohort = NodeSet::full(5);
    let ctx = context(&cluster.roster, &cluster.transcript, &view, &cohort);
    let start =
        RoundStart { context: ctx, epoch: 1, view: view.clone(), cohort, signature: [0; 64] }
            .signed_by(&cluster.aggregator.clone());
    assert!(cluster.open_node(VICTIM, start, &view).is_err());
    // Damaged bytes and another roster's are refused.
    assert!(NodeEpoch::from_secret_bytes(&cluster.roster, &stored[1..]).is_err());
    assert!(NodeEpoch::from_secret_bytes(&cluster.roster, &stored[..stored.len() - 1]).is_err());
    let (other, _, _) = parties(Thresholds::complete_graph(5, 0.0, 0.2, 4).unwrap());
    assert!(NodeEpoch::from_secret_bytes(&other, &stored).is_err());
}

// ---- the relay of the shares

#[test]
fn swapped_or_altered_ciphertexts() {
    let outcome = with_relay(|relay| {
        let [first, second, ..] = relay.parcels.as_mut_slice() else { unreachable!() };
        std::mem::swap(&mut first.sealed_shares, &mut second.sealed_shares);
    });
    refused(&outcome, "altered or swapped the shares of node 1");
    let outcome = with_relay(|relay| relay.parcels[2].edge_tag[0] ^= 1);
    refused(&outcome, "altered or swapped the shares of node 3");
    let outcome = with_relay(|relay| relay.parcels.swap(0, 1));
    refused(&outcome, "other shares than those of the nodes");
    let outcome = with_relay(|relay| relay.parcels[0].to = NodeIndex(2));
    refused(&outcome, "for another node");
}

#[test]
fn parcels_replayed_from_an_earlier_attempt() {
    let mut cluster = cluster();
    let aggregator = cluster.aggregator.clone();
    let vectors = cluster.vectors(2);
    let old = RefCell::new(Vec::new());
    let hook = |node: NodeIndex, message: ServerMessage| {
        if node != VICTIM {
            return vec![message];
        }
        let ServerMessage::ShareRelay(mut relay) = message else { return vec![message] };
        let mut old = old.borrow_mut();
        if old.is_empty() {
            *old = relay.parcels.clone();
        } else {
            relay.parcels[1] = old[1].clone();
        }
        vec![relay.signed_by(&aggregator).into()]
    };
    let view = cluster.view(0, 0, 2);
    let first = run(
        &mut cluster,
        &view,
        &vectors,
        Script { server: Some(Box::new(hook)), ..Script::default() },
    );
    assert!(first.faults.is_empty());
    let view = cluster.view(0, 1, 2);
    let second = run(
        &mut cluster,
        &view,
        &vectors,
        Script { server: Some(Box::new(hook)), ..Script::default() },
    );
    refused(&second, "altered or swapped the shares of node 2");
}

#[test]
fn a_first_quorum_that_is_none() {
    refused(&with_relay(|relay| relay.quorum.truncate(3)), "3 signatures are no quorum of 4");
    refused(&with_relay(|relay| relay.quorum[1] = relay.quorum[0]), "counted twice");
    refused(&with_relay(|relay| relay.quorum[2].1[7] ^= 1), "signature of node 2 is forged");
    let outcome = with_relay(|relay| {
        relay.committed = nodes(&[0, 1, 2]);
        relay.parcels.truncate(2);
    });
    refused(&outcome, "fewer than u_min");
}

// ---- the grant

#[test]
fn grants_that_are_too_small_or_leave_the_node_out() {
    for (set, words) in
        [(&[0, 1, 2][..], "fewer than u_min"), (&[1, 2, 3, 4][..], "leave this node out")]
    {
        let outcome = attack(Kind::UploadGrant, |aggregator, message| {
            let ServerMessage::UploadGrant(grant) = message else { unreachable!() };
            vec![UploadGrant { granted: nodes(set), ..grant }.signed_by(aggregator).into()]
        });
        refused(&outcome, words);
        assert!(!outcome.charged.contains_key(&VICTIM), "nothing was charged");
    }
    let absent = BTreeMap::from([(NodeIndex(4), Kind::RoundCommit)]);
    let outcome = attack_with(absent, Kind::UploadGrant, |aggregator, message| {
        let ServerMessage::UploadGrant(grant) = message else { unreachable!() };
        vec![UploadGrant { granted: NodeSet::full(5), ..grant }.signed_by(aggregator).into()]
    });
    refused(&outcome, "outside the set before");
}

#[test]
fn a_second_grant_after_the_first() {
    let outcome = attack(Kind::UploadGrant, |aggregator, message| {
        let ServerMessage::UploadGrant(grant) = &message else { unreachable!() };
        let other =
            UploadGrant { granted: nodes(&[0, 1, 2, 3]), ..grant.clone() }.signed_by(aggregator);
        vec![message.clone(), message.clone(), other.into()]
    });
    refused(&outcome, "two different UploadGrant");
}

// ---- the survivors

#[test]
fn survivor_sets_that_break_a_rule() {
    refused(&with_manifest(|m| restrict(m, nodes(&[0, 1, 2]))), "fewer than u_min");
    refused(&with_manifest(|m| restrict(m, nodes(&[1, 2, 3, 4]))), "leave this node out");
    refused(&with_manifest(|m| m.roots[0] = Digest::ZERO), "another root for this node");
    refused(&with_manifest(|m| m.roots.truncate(4)), "other roots");
    refused(&with_manifest(|m| m.granted_hash = Digest::ZERO), "different P2");
    let absent = BTreeMap::from([(NodeIndex(4), Kind::Ready)]);
    let outcome = attack_with(absent, Kind::SurvivorManifest, |aggregator, message| {
        let ServerMessage::SurvivorManifest(mut manifest) = message else { unreachable!() };
        manifest.survivors.insert(NodeIndex(4));
        manifest.roots.push(Digest::ZERO);
        vec![manifest.signed_by(aggregator).into()]
    });
    refused(&outcome, "outside the set before");
}

#[test]
fn two_manifests_under_one_context() {
    let outcome = attack(Kind::SurvivorManifest, |aggregator, message| {
        let ServerMessage::SurvivorManifest(manifest) = &message else { unreachable!() };
        let mut other = manifest.clone();
        restrict(&mut other, nodes(&[0, 1, 2, 3]));
        vec![message.clone(), other.signed_by(aggregator).into()]
    });
    refused(&outcome, "two different SurvivorManifest");
}

/// The attack the whole protocol is built against: after the survivors are known
/// the aggregator wants the other kind of share of one of them as well.
#[test]
fn both_share_kinds_for_one_peer() {
    let given_out = RefCell::new(Vec::new());
    let mut cluster = cluster();
    let aggregator = cluster.aggregator.clone();
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let manifest = RefCell::new(None);
    let server = |node: NodeIndex, message: ServerMessage| match message {
        ServerMessage::SurvivorManifest(found) => {
            *manifest.borrow_mut() = Some(found.clone());
            vec![found.into()]
        }
        // With the quorum in hand, ask again with node 4 "dropped".
        ServerMessage::SurvivorQc(quorum) if node == VICTIM => {
            let mut other: SurvivorManifest = manifest.borrow().clone().unwrap();
            restrict(&mut other, nodes(&[0, 1, 2, 3]));
            let other = other.signed_by(&aggregator);
            let again = SurvivorQc { manifest: other.digest(), ..quorum.clone() };
            vec![quorum.into(), other.into(), again.into()]
        }
        other => vec![other],
    };
    let node = |node: NodeIndex, message: NodeMessage| {
        if let (VICTIM, NodeMessage::UnmaskShares(shares)) = (node, &message) {
            given_out.borrow_mut().push(shares.clone());
        }
        vec![message]
    };
    let script =
        Script { server: Some(Box::new(server)), node: Some(Box::new(node)), ..Script::default() };
    let outcome = run(&mut cluster, &view, &vectors, script);
    refused(&outcome, "two different SurvivorManifest");
    let given_out = given_out.into_inner();
    assert_eq!(given_out.len(), 1, "shares leave once");
    assert!(given_out[0].escrow_shares.is_empty(), "and of one kind for each node");
}

#[test]
fn a_quorum_on_another_manifest() {
    let outcome = with_quorum(|quorum| quorum.manifest = hash("another manifest", &[]));
    refused(&outcome, "another manifest than the one this node signed");
}

#[test]
fn forged_duplicated_or_missing_signers() {
    refused(&with_quorum(|quorum| quorum.signatures[3].1[0] ^= 1), "node 3 is forged");
    refused(&with_quorum(|quorum| quorum.signatures[1].1 = quorum.signatures[2].1), "forged");
    refused(&with_quorum(|quorum| quorum.signatures[1] = quorum.signatures[0]), "counted twice");
    refused(&with_quorum(|quorum| quorum.signatures.truncate(3)), "no quorum of 4");
    refused(&with_quorum(|quorum| quorum.tags.truncate(2)), "other tags");
    let absent = BTreeMap::from([(NodeIndex(4), Kind::MaskedDone)]);
    let outcome = attack_with(absent, Kind::SurvivorQc, |_, message| {
        let ServerMessage::SurvivorQc(mut quorum) = message else { unreachable!() };
        let last = *quorum.signatures.last().unwrap();
        quorum.signatures.push((NodeIndex(4), last.1));
        vec![quorum.into()]
    });
    refused(&outcome, "signer 4 has no vote");
}

#[test]
fn a_signature_without_its_pairwise_tag_does_not_count() {
    // One wrong tag of five signers: a quorum of four remains.
    let outcome = with_quorum(|quorum| quorum.tags[0].1[0] ^= 1);
    assert!(outcome.faults.is_empty(), "{outcome:?}");
    let outcome = with_quorum(|quorum| {
        quorum.tags[0].1[0] ^= 1;
        quorum.tags[1].1[0] ^= 1;
    });
    refused(&outcome, "without the wrong tags of nodes 1, 2");
}

/// Runs a round that stops where the aggregator would send `kind`, and gives the
/// nodes' machines and what would have been sent to the victim.
fn stopped_at(cluster: &mut Cluster, kind: Kind) -> (Outcome, ServerMessage) {
    let withheld = RefCell::new(None);
    let hook = |node: NodeIndex, message: ServerMessage| {
        if message.kind() == Kind::Abort {
            return Vec::new();
        }
        if message.kind() != kind {
            return vec![message];
        }
        if node == VICTIM {
            *withheld.borrow_mut() = Some(message);
        }
        Vec::new()
    };
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let script = Script { server: Some(Box::new(hook)), ..Script::default() };
    let outcome = run(cluster, &view, &vectors, script);
    assert!(outcome.faults.is_empty(), "{outcome:?}");
    (outcome, withheld.into_inner().unwrap())
}

fn only_send(outputs: Vec<NodeOutput>) -> NodeMessage {
    let [NodeOutput::Send(message)] = <[NodeOutput; 1]>::try_from(outputs).unwrap() else {
        panic!("expected one message")
    };
    message
}

/// Two manifests shown to two halves: with the one corrupt node signing both,
/// neither reaches tau, so no share of either kind is given out.
#[test]
fn no_two_manifests_can_both_find_a_quorum() {
    let mut cluster = cluster();
    let (mut outcome, message) = stopped_at(&mut cluster, Kind::SurvivorManifest);
    let ServerMessage::SurvivorManifest(full) = message else { unreachable!() };
    let mut less = full.clone();
    restrict(&mut less, nodes(&[0, 1, 2, 3]));
    let less = less.signed_by(&cluster.aggregator);
    let corrupt = &cluster.identities[4];
    for (manifest, shown_to) in [(&full, [0u16, 1]), (&less, [2, 3])] {
        let mut signatures = Vec::new();
        let mut tags = Vec::new();
        for node in shown_to.map(NodeIndex) {
            let machine = outcome.nodes.get_mut(&node).unwrap();
            let NodeMessage::SurvivorAck(ack) =
                only_send(machine.handle(manifest.clone().into()).unwrap())
            else {
                unreachable!()
            };
            signatures.push((node, ack.signature));
            let to_first = ack.tags.iter().find(|(to, _)| to.0 == shown_to[0]);
            tags.extend(to_first.map(|(_, tag)| (node, *tag)));
        }
        let ack = SurvivorAck {
            context: manifest.context,
            manifest: manifest.digest(),
            signature: [0; 64],
            tags: Vec::new(),
        }
        .signed_by(corrupt);
        if manifest.survivors.contains(NodeIndex(4)) {
            signatures.push((NodeIndex(4), ack.signature));
            tags.push((NodeIndex(4), [0; 16]));
        }
        let quorum =
            SurvivorQc { context: manifest.context, manifest: manifest.digest(), signatures, tags };
        let first = outcome.nodes.get_mut(&NodeIndex(shown_to[0])).unwrap();
        let fault = first.handle(quorum.into()).unwrap_err();
        assert!(fault.to_string().contains("no quorum of 4"), "{fault}");
        assert_eq!(first.phase(), NodePhase::Faulted);
    }
}

/// Different sets P2 shown to different nodes: whichever set the manifest rests
/// on, the others refuse to sign it.
#[test]
fn different_grants_to_different_nodes() {
    let mut cluster = cluster();
    let (mut outcome, message) = stopped_at(&mut cluster, Kind::UploadGrant);
    let ServerMessage::UploadGrant(full) = message else { unreachable!() };
    let less = UploadGrant { granted: nodes(&[1, 2, 3, 4]), ..full.clone() }
        .signed_by(&cluster.aggregator);
    let mut roots = Vec::new();
    let mut hashes = Vec::new();
    for (node, machine) in &mut outcome.nodes {
        let grant = if node.0 < 2 { &full } else { &less };
        machine.handle(grant.clone().into()).unwrap();
        let sent = machine.release_upload().unwrap();
        let Some(NodeOutput::Send(NodeMessage::MaskedDone(done))) = sent.last() else {
            panic!("expected the end of the upload")
        };
        roots.push(done.root);
        hashes.push(done.granted_hash);
    }
    assert_ne!(hashes[0], hashes[4]);
    let manifest = SurvivorManifest {
        context: full.context,
        granted_hash: hashes[0],
        survivors: NodeSet::full(5),
        roots,
        signature: [0; 64],
    }
    .signed_by(&cluster.aggregator);
    for (node, machine) in &mut outcome.nodes {
        let answer = machine.handle(manifest.clone().into());
        if node.0 < 2 {
            assert!(answer.is_ok());
        } else {
            assert!(answer.unwrap_err().to_string().contains("different P2"));
        }
    }
}

// ---- the result

#[test]
fn a_wrong_sum_or_sum_root() {
    let outcome = attack(Kind::RoundResult, |aggregator, message| {
        let ServerMessage::RoundResult(mut result) = message else { unreachable!() };
        result.sum_root = Digest::ZERO;
        vec![result.signed_by(aggregator).into()]
    });
    refused(&outcome, "signed the sum root");
    let outcome = attack(Kind::SumChunk, |_, message| {
        let ServerMessage::SumChunk(mut chunk) = message else { unreachable!() };
        let mut lanes = chunk.lanes.to_vec();
        lanes[0] ^= 1;
        chunk.lanes = lanes.into();
        vec![chunk.into()]
    });
    refused(&outcome, "signed the sum root");
    let outcome = attack(Kind::SumChunk, |_, _| Vec::new());
    refused(&outcome, "ended its vector after 0 of 6 lanes");
    let outcome = attack(Kind::SumChunk, |_, message| {
        let ServerMessage::SumChunk(chunk) = &message else { unreachable!() };
        let mut more = chunk.clone();
        more.index = 1;
        vec![message.clone(), more.into()]
    });
    refused(&outcome, "more than the 6 lanes");
}

/// A sum of its own for one node, with a valid signature: the node cannot tell
/// alone, but no quorum ever certifies it, and the certificate exposes it.
#[test]
fn different_sums_to_different_nodes() {
    let mut cluster = cluster();
    let aggregator = cluster.aggregator.clone();
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let fake = vec![1u32, 2, 3];
    let hook = |node: NodeIndex, message: ServerMessage| match message {
        ServerMessage::SumChunk(mut chunk) if node == VICTIM => {
            chunk.lanes = fake.clone().into();
            vec![chunk.into()]
        }
        ServerMessage::RoundResult(mut result) if node == VICTIM => {
            result.sum_root = vector_root(VectorKind::Sum, &result.context, &fake);
            vec![result.signed_by(&aggregator).into()]
        }
        ServerMessage::Abort(_) => Vec::new(),
        other => vec![other],
    };
    let script = Script { server: Some(Box::new(hook)), ..Script::default() };
    let mut outcome = run(&mut cluster, &view, &vectors, script);
    assert_eq!(outcome.sums[&VICTIM], fake);
    let quorum = outcome.certified.clone().unwrap();
    assert!(quorum.signatures.iter().all(|(node, _)| *node != VICTIM));
    let victim = outcome.nodes.get_mut(&VICTIM).unwrap();
    let fault = victim.handle(quorum.into()).unwrap_err();
    assert!(fault.to_string().contains("sent this node another sum"), "{fault}");
}

#[test]
fn bad_result_certificates() {
    let mut cluster = cluster();
    let vectors = cluster.vectors(2);
    let view = cluster.view(0, 0, 2);
    let outcome = run(&mut cluster, &view, &vectors, Script::default());
    let good = outcome.certified.unwrap();
    let roster = &cluster.roster;
    assert!(good.verify(roster).is_ok());
    // Any quorum for one statement has the same digest.
    let mut fewer = good.clone();
    fewer.signatures.remove(1);
    assert!(fewer.verify(roster).is_ok());
    assert_eq!(fewer.digest(), good.digest());
    fewer.signatures.remove(1);
    assert!(fewer.verify(roster).is_err());
    let mut bad = vec![good.clone(); 7];
    bad[0].signatures[1] = bad[0].signatures[0];
    bad[1].signatures.swap(0, 1);
    bad[2].sum_root = Digest::ZERO;
    bad[3].state_hash = Digest::ZERO;
    bad[4].survivors.remove(NodeIndex(4));
    bad[5].context = Digest::ZERO;
    bad[6].signatures[4].1[3] ^= 1;
    for bad in bad {
        assert!(bad.verify(roster).is_err());
    }
    // A signature for one purpose is worthless for another.
    let ack = ResultAck {
        context: good.context,
        manifest: good.manifest_hash,
        sum_root: good.sum_root,
        state_hash: good.state_hash,
        survivors: good.survivors.clone(),
        signature: [0; 64],
    };
    let other = SurvivorAck {
        context: good.context,
        manifest: good.manifest_hash,
        signature: [0; 64],
        tags: Vec::new(),
    };
    assert_ne!(ack.statement(), other.statement());
}

// ---- the node's own program, and the end of a machine

#[test]
fn a_second_vector_and_calls_out_of_turn() {
    let mut cluster = cluster();
    let (mut outcome, _) = stopped_at(&mut cluster, Kind::UploadGrant);
    let node = outcome.nodes.get_mut(&NodeIndex(0)).unwrap();
    assert!(node.vector_opening().is_some());
    let fault = node.provide_vector(vec![9; 3], &mut cluster.rng).unwrap_err();
    assert!(matches!(fault, Fault::Misuse { .. }));
    assert_eq!(node.phase(), NodePhase::Faulted);
    let node = outcome.nodes.get_mut(&NodeIndex(1)).unwrap();
    assert!(matches!(node.release_upload().unwrap_err(), Fault::Misuse { .. }));
    let node = outcome.nodes.get_mut(&NodeIndex(2)).unwrap();
    assert!(matches!(node.acknowledge_result(Digest::ZERO).unwrap_err(), Fault::Misuse { .. }));
}

#[test]
fn after_a_fault_everything_is_refused() {
    let mut cluster = cluster();
    let (mut outcome, message) = stopped_at(&mut cluster, Kind::SurvivorManifest);
    let ServerMessage::SurvivorManifest(honest) = message else { unreachable!() };
    let node = outcome.nodes.get_mut(&VICTIM).unwrap();
    let mut bad = honest.clone();
    restrict(&mut bad, nodes(&[0, 1, 2]));
    assert!(node.handle(bad.signed_by(&cluster.aggregator).into()).is_err());
    assert_eq!(node.phase(), NodePhase::Faulted);
    let fault = node.handle(honest.into()).unwrap_err();
    assert!(matches!(fault, Fault::Misuse { .. }), "{fault}");
}

#[test]
fn a_message_of_another_context_or_phase() {
    let outcome = attack(Kind::UploadGrant, |aggregator, message| {
        let ServerMessage::UploadGrant(grant) = message else { unreachable!() };
        vec![UploadGrant { context: Digest::ZERO, ..grant }.signed_by(aggregator).into()]
    });
    refused(&outcome, "of another context");
    let outcome = attack(Kind::UploadGrant, |_, message| {
        let context = message.context();
        let quorum = SurvivorQc {
            context,
            manifest: Digest::ZERO,
            signatures: Vec::new(),
            tags: Vec::new(),
        };
        vec![quorum.into(), message]
    });
    refused(&outcome, "while this node was waiting for permission to upload");
}

#[test]
fn a_quorum_that_arrives_before_the_nodes_own_state() {
    let mut cluster = cluster();
    let vectors = cluster.vectors(2);
    let view = cluster.view(0, 0, 2);
    let slow = NodeIndex(3);
    let hook = |node: NodeIndex, message: ServerMessage| match message {
        ServerMessage::RoundResult(_) | ServerMessage::ResultQc(_) if node == slow => Vec::new(),
        other => vec![other],
    };
    let script = Script { server: Some(Box::new(hook)), ..Script::default() };
    let outcome = run(&mut cluster, &view, &vectors, script);
    assert_eq!(outcome.opened.unwrap().0, plain_sum(&vectors, &NodeSet::full(5)));
    assert_eq!(outcome.node_certified.len(), 4, "the slow node holds nobody up");
}
