//! A malicious aggregator at the end of a round: wrong sums, different sums for
//! different nodes, and certificates that are none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use common::attack::{VICTIM, attack, blames, cluster, only_send, refused, stopped_at};
use common::{Script, lanes, run, state_of, words};
use tributary_secagg::messages::{Kind, ResultAck, ResultQc, SignedMessage as _, SurvivorAck};
use tributary_secagg::{
    Digest, Fault, NodeIndex, NodeMessage, NodeOutput, NodePhase, Party, ServerMessage, VectorKind,
    hash, vector_root,
};

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
        let mut data = chunk.data.to_vec();
        data[0] ^= 1;
        chunk.data = data.into();
        vec![chunk.into()]
    });
    refused(&outcome, "signed the sum root");
    let outcome = attack(Kind::SumChunk, |_, _| Vec::new());
    refused(&outcome, "ended its vector after 0 of 1 chunks");
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
    let bits = view.lane_bits;
    let hook = |node: NodeIndex, message: ServerMessage| match message {
        ServerMessage::SumChunk(mut chunk) if node == VICTIM => {
            chunk.data = lanes(bits, &fake).pack(bits).into();
            vec![chunk.into()]
        }
        ServerMessage::RoundResult(mut result) if node == VICTIM => {
            result.sum_root =
                vector_root(VectorKind::Sum, &result.context, bits, &lanes(bits, &fake));
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
    let quorum = outcome.certified.unwrap();
    let roster = &cluster.roster;
    assert!(quorum.verify(roster).is_ok());
    assert_eq!(quorum.signatures.len(), 4, "as many as are needed");
    // With the fifth signature as well it is refused: nobody looks at more than tau.
    let all = ResultQc {
        signatures: (0u16..)
            .map(NodeIndex)
            .zip(&cluster.identities)
            .map(|(node, identity)| (node, ack_of(&quorum).signed_by(identity).signature))
            .collect(),
        ..quorum.clone()
    };
    let words = "5 signatures where 4 make a quorum";
    blames(all.verify(roster), Party::Aggregator, words);
    assert_eq!(all.digest(), quorum.digest());
    // Any quorum for one statement has the same digest.
    for left_out in 0..5 {
        let mut good = all.clone();
        good.signatures.remove(left_out);
        assert!(good.verify(roster).is_ok());
        assert_eq!(good.digest(), quorum.digest());
        good.signatures.remove(1);
        let words = "3 signatures are no quorum of 4";
        blames(good.verify(roster), Party::Aggregator, words);
    }
    let good = quorum;
    let mut bad = vec![good.clone(); 7];
    bad[0].signatures[1] = bad[0].signatures[0];
    bad[1].signatures.swap(0, 1);
    bad[2].sum_root = Digest::ZERO;
    bad[3].state_hash = Digest::ZERO;
    bad[4].survivors.remove(NodeIndex(4));
    bad[5].context = Digest::ZERO;
    bad[6].signatures[3].1[3] ^= 1;
    for bad in bad {
        assert!(bad.verify(roster).is_err());
    }
    // A signature for one purpose is worthless for another.
    let other = SurvivorAck {
        context: good.context,
        manifest: good.manifest_hash,
        signature: [0; 64],
        tags: Vec::new(),
    };
    assert_ne!(ack_of(&good).statement(), other.statement());
}

/// What the signatures of a certificate are over, unsigned.
fn ack_of(certificate: &ResultQc) -> ResultAck {
    ResultAck {
        context: certificate.context,
        manifest: certificate.manifest_hash,
        sum_root: certificate.sum_root,
        state_hash: certificate.state_hash,
        survivors: certificate.survivors.clone(),
        signature: [0; 64],
    }
}

/// More signatures than make a quorum are refused, wherever the certificate arrives: nobody
/// is made to verify as many as somebody likes to send.
#[test]
fn more_signatures_than_a_quorum() {
    let identities = cluster().identities;
    let outcome = attack(Kind::ResultQc, |_, message| {
        let ServerMessage::ResultQc(mut quorum) = message else { unreachable!() };
        assert_eq!(quorum.signatures.len(), 4);
        let missing = (0..5)
            .map(NodeIndex)
            .find(|node| quorum.signatures.iter().all(|(signer, _)| signer != node));
        let missing = missing.unwrap();
        let signature = ack_of(&quorum).signed_by(&identities[usize::from(missing.0)]).signature;
        quorum.signatures.push((missing, signature));
        quorum.signatures.sort();
        vec![quorum.into()]
    });
    refused(&outcome, "presented a bad result certificate: 5 signatures where 4 make a quorum");
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
        assert!(matches!(&outputs[..], [NodeOutput::Opened { sum: found, .. }]
            if words(found) == sum));
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
    signatures.truncate(4);
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
