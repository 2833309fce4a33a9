//! A malicious aggregator after the upload: it tries to open more than one sum, to
//! forge quorums, and to show different results to different nodes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;

use common::attack::{
    VICTIM, attack, attack_with, cluster, nodes, only_send, refused, restrict, stopped_at,
    with_manifest, with_quorum,
};
use common::{Script, run, state_of};
use tributary_secagg::messages::{
    Kind, ResultAck, ResultQc, SignedMessage as _, SurvivorAck, SurvivorManifest, SurvivorQc,
    UploadGrant,
};
use tributary_secagg::{
    Digest, Fault, NodeIndex, NodeMessage, NodeOutput, NodePhase, NodeSet, ServerMessage,
    VectorKind, hash, vector_root,
};

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

/// A slow node may see the certificate before it has computed its own state. It
/// still compares: an equal state certifies, another one is a loud disagreement.
#[test]
fn a_certificate_that_arrives_before_the_nodes_own_state() {
    let mut cluster = cluster();
    let (mut outcome, message) = stopped_at(&mut cluster, Kind::RoundResult);
    let ServerMessage::RoundResult(result) = message else { unreachable!() };
    let (sum, survivors) = outcome.opened.clone().unwrap();
    let state = state_of(&sum);
    let (slow, wrong) = (VICTIM, NodeIndex(1));
    let mut signatures = Vec::new();
    for (node, machine) in &mut outcome.nodes {
        let outputs = machine.handle(result.clone().into()).unwrap();
        assert!(matches!(&outputs[..], [NodeOutput::Opened { sum: found, .. }] if *found == sum));
        // Two nodes' signatures are made beside their machines, which stay behind.
        let ack = match *node {
            node if node == slow || node == wrong => ResultAck {
                context: result.context,
                manifest: result.manifest,
                sum_root: result.sum_root,
                state_hash: state,
                survivors: survivors.clone(),
                signature: [0; 64],
            }
            .signed_by(&cluster.identities[usize::from(node.0)]),
            _ => match only_send(machine.acknowledge_result(state).unwrap()) {
                NodeMessage::ResultAck(ack) => ack,
                other => panic!("unexpected {other:?}"),
            },
        };
        signatures.push((*node, ack.signature));
    }
    let certificate = ResultQc {
        context: result.context,
        manifest_hash: result.manifest,
        sum_root: result.sum_root,
        state_hash: state,
        survivors,
        signatures,
    };
    let machine = outcome.nodes.get_mut(&slow).unwrap();
    assert!(machine.handle(certificate.clone().into()).unwrap().is_empty());
    assert_eq!(machine.phase(), NodePhase::Opened);
    let outputs = machine.acknowledge_result(state).unwrap();
    assert_eq!(outputs.last(), Some(&NodeOutput::Certified(certificate.clone())));
    assert_eq!(machine.phase(), NodePhase::Certified);
    let machine = outcome.nodes.get_mut(&wrong).unwrap();
    assert!(machine.handle(certificate.into()).unwrap().is_empty());
    let fault = machine.acknowledge_result(hash("another state", &[])).unwrap_err();
    assert!(matches!(fault, Fault::Incompatible { .. }), "{fault}");
}
