//! A malicious aggregator after the upload: it tries to open more than one sum, or too
//! small a one, and to forge the quorum on the survivors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;

use common::attack::{
    Tap, VICTIM, attack, attack_with, blames, cluster, disputed, nodes, only_send, only_upload,
    refused, restrict, stopped_at, with_manifest, with_quorum,
};
use common::{Cluster, Script, plain_sum, run};
use tributary_secagg::messages::{
    Kind, SignedMessage as _, SurvivorAck, SurvivorManifest, SurvivorQc, UploadGrant, UploadTurn,
};
use tributary_secagg::{
    Digest, Fault, NodeIndex, NodeMessage, NodePhase, NodeSet, Party, ServerMessage, hash,
};

// ---- the survivors

#[test]
fn survivors_below_the_floor() {
    refused(&with_manifest(|m| restrict(m, nodes(&[0, 1, 2]))), "fewer than u_min");
}

#[test]
fn survivors_without_this_node() {
    refused(&with_manifest(|m| restrict(m, nodes(&[1, 2, 3, 4]))), "leave this node out");
}

#[test]
fn survivors_outside_the_granted() {
    let absent = BTreeMap::from([(NodeIndex(4), Kind::Ready)]);
    let outcome = attack_with(absent, Kind::SurvivorManifest, |aggregator, message| {
        let ServerMessage::SurvivorManifest(mut manifest) = message else { unreachable!() };
        manifest.survivors.insert(NodeIndex(4));
        manifest.roots.push(Digest::ZERO);
        vec![manifest.signed_by(aggregator).into()]
    });
    refused(&outcome, "hold nodes (4) outside the set before");
}

#[test]
fn a_manifest_on_another_granted_set_or_other_vectors() {
    refused(&with_manifest(|m| m.granted_hash = Digest::ZERO), "different P2");
    refused(&with_manifest(|m| m.roots[0] = Digest::ZERO), "another root for this node");
    refused(&with_manifest(|m| m.roots.swap(0, 1)), "another root for this node");
    refused(&with_manifest(|m| m.roots.truncate(4)), "other roots");
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
    let evidence = outcome.nodes[&VICTIM].evidence().expect("a proof");
    let (who, what) = evidence.verify(&cluster().roster).unwrap();
    assert_eq!(who, Party::Aggregator);
    assert!(what.contains("two different SurvivorManifest messages"), "{what}");
}

/// Whoever is in the sum is not opened as dropped as well: the set says one of the two,
/// and the shares that leave follow it and are of different types.
#[test]
fn a_peer_in_the_sum_and_dropped_at_once() {
    let mut cluster = cluster();
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let tap = Tap::default();
    let dies_before = BTreeMap::from([(NodeIndex(4), Kind::MaskedDone)]);
    let script = Script { dies_before, ..tap.script() };
    let outcome = run(&mut cluster, &view, &vectors, script);
    assert!(outcome.certified.is_some());
    for node in 0..4 {
        let NodeMessage::UnmaskShares(shares) = tap.said_by(node, Kind::UnmaskShares) else {
            unreachable!()
        };
        let of_self: Vec<u16> = shares.self_shares.iter().map(|(node, _)| node.0).collect();
        let of_escrow: Vec<u16> = shares.escrow_shares.iter().map(|(node, _)| node.0).collect();
        assert_eq!((of_self.as_slice(), of_escrow.as_slice()), (&[0, 1, 2, 3][..], &[4][..]));
    }
    // Both at once cannot even be said: a manifest that lists node 4's root beside the
    // survivors' without naming it is refused.
    let both = with_manifest(|manifest| {
        manifest.survivors = nodes(&[0, 1, 2, 3]);
    });
    refused(&both, "other roots than those of the survivors");
}

/// The manifest does not reach a node that uploaded. Its vector is in the sum, for the
/// others open its self mask; itself it reveals nothing and gets nothing.
#[test]
fn the_manifest_withheld_from_a_node_that_uploaded() {
    let mut cluster = cluster();
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let tap = Tap::default();
    let server = |node, message: ServerMessage| {
        let later = matches!(
            message.kind(),
            Kind::SurvivorManifest
                | Kind::SurvivorQc
                | Kind::SumChunk
                | Kind::RoundResult
                | Kind::ResultQc
                | Kind::Abort
        );
        if node == VICTIM && later { Vec::new() } else { vec![message] }
    };
    let outcome = run(&mut cluster, &view, &vectors, tap.over(server, |_, message| vec![message]));
    let full = NodeSet::full(5);
    assert_eq!(outcome.opened.unwrap(), (plain_sum(&vectors, &full), full));
    assert_eq!(outcome.node_certified, [1, 2, 3, 4].map(NodeIndex));
    assert_eq!(outcome.nodes[&VICTIM].phase(), NodePhase::Uploaded);
    assert!(outcome.charged.contains_key(&VICTIM), "it is charged all the same");
    let said: Vec<Kind> = tap
        .node
        .borrow()
        .iter()
        .filter(|(node, _)| *node == VICTIM)
        .map(|(_, message)| message.kind())
        .collect();
    assert_eq!(said.last(), Some(&Kind::MaskedDone), "{said:?}");
    assert!(!said.contains(&Kind::UnmaskShares));
    // Shown a quorum without the manifest, it refuses.
    let mut nodes = outcome.nodes;
    let quorum = tap.sent_to(1, Kind::SurvivorQc);
    let words = "sent a SurvivorQc while this node was waiting for the list of survivors";
    blames(nodes.get_mut(&VICTIM).unwrap().handle(quorum), Party::Aggregator, words);
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
fn forged_signers_in_a_quorum() {
    refused(&with_quorum(|quorum| quorum.signatures[3].1[0] ^= 1), "node 3 is forged");
    refused(&with_quorum(|quorum| quorum.signatures[1].1 = quorum.signatures[2].1), "forged");
}

/// Tau signatures are looked at and the rest is not counted, so a forged one can only
/// stand where it changes nothing: in the place of one that is needed it is found.
#[test]
fn a_forged_signer_beyond_the_quorum() {
    let outcome = with_quorum(|quorum| quorum.signatures[4].1[0] ^= 1);
    assert!(outcome.faults.is_empty(), "four good ones are a quorum: {outcome:?}");
    let outcome = with_quorum(|quorum| {
        quorum.tags[0].1[0] ^= 1;
        quorum.signatures[4].1[0] ^= 1;
    });
    disputed(&outcome, 1, "without the wrong tags of nodes 1: the signature of node 4 is forged");
}

#[test]
fn duplicated_signers_in_a_quorum() {
    let words = "counted twice or out of order";
    refused(&with_quorum(|quorum| quorum.signatures[1] = quorum.signatures[0]), words);
    refused(&with_quorum(|quorum| quorum.signatures.swap(1, 2)), words);
}

#[test]
fn signers_without_a_vote_in_a_quorum() {
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
fn a_quorum_with_too_few_signers_or_tags() {
    let too_few = with_quorum(|quorum| {
        quorum.signatures.truncate(3);
        quorum.tags.truncate(2);
    });
    refused(&too_few, "3 signatures are no quorum of 4");
    refused(&with_quorum(|quorum| quorum.tags.truncate(2)), "other tags");
    refused(&with_quorum(|quorum| quorum.tags[1] = quorum.tags[0]), "other tags");
}

/// The aggregator cannot check tags. Signers that make theirs wrong for one node leave it
/// below the quorum; it names the first of them and the aggregator, and not the aggregator
/// alone, which did nothing.
#[test]
fn wrong_tags_of_colluding_signers() {
    let mut cluster = Cluster::new(11, 0.15, 0.2, 6);
    let t = cluster.roster.thresholds;
    assert_eq!((t.corrupt, t.quorum, t.u_min), (2, 7, 9));
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    // Two are lost before the acknowledgement and two collude: nine sign, seven count.
    let colluders = |more: &'static [u16]| {
        move |node: NodeIndex, message: NodeMessage| match message {
            NodeMessage::SurvivorAck(mut ack) if more.contains(&node.0) => {
                for (to, tag) in &mut ack.tags {
                    tag[0] ^= u8::from(*to == VICTIM);
                }
                vec![ack.into()]
            }
            other => vec![other],
        }
    };
    let lost: BTreeMap<_, _> = [9, 10].map(|node| (NodeIndex(node), Kind::SurvivorAck)).into();
    let script = Script {
        dies_before: lost.clone(),
        node: Some(Box::new(colluders(&[4, 6]))),
        ..Script::default()
    };
    let outcome = run(&mut cluster, &view, &vectors, script);
    assert!(outcome.faults.is_empty(), "seven are a quorum: {outcome:?}");
    // With a third loss six are left to the victim. The others go on.
    let view = cluster.view(1, 0, 3);
    let mut lost = lost;
    lost.insert(NodeIndex(8), Kind::SurvivorAck);
    let script =
        Script { dies_before: lost, node: Some(Box::new(colluders(&[4, 6]))), ..Script::default() };
    let outcome = run(&mut cluster, &view, &vectors, script);
    let words = "no quorum on the manifest without the wrong tags of nodes 4, 6: 6 signatures";
    disputed(&outcome, 4, words);
    assert_eq!(outcome.faults.len(), 1);
    assert!(outcome.evicted.is_empty() && outcome.certified.is_some(), "{outcome:?}");
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
    disputed(&outcome, 1, "without the wrong tags of nodes 1, 2: 3 signatures are no quorum of 4");
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
        machine.handle(UploadTurn { context: full.context, first_chunk: 0 }.into()).unwrap();
        let upload = only_upload(machine.release_upload().unwrap());
        let Some(NodeMessage::MaskedDone(done)) = upload.last() else {
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
