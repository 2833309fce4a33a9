//! Why the checks are there: without one of them the aggregator holds a single node's
//! vector, exactly. Each test first plays the attack against nodes that lack the check -
//! a node written without checks, or real machines with thresholds that no roster check
//! let through - and recovers the vector; then it shows the real machine refuse the very
//! request that made the difference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::attack::{Tap, VICTIM, blames, cluster, nodes, only_send, restrict, stopped_at};
use common::gullible::{Gullible, open_one};
use common::{Cluster, Script, run, words};
use tributary_secagg::messages::{
    Kind, RoundCommit, SignedMessage as _, SurvivorManifest, SurvivorQc, UnmaskShares,
};
use tributary_secagg::{
    Digest, EpochFacts, Lanes, NodeEpoch, NodeIndex, NodeMessage, NodePhase, NodeSeat, NodeSet,
    Party, Roster, ServerMessage, ServerSeat, Thresholds, hash,
};

/// The masked vector as it travelled: small ones are one chunk.
fn masked(tap: &Tap, node: u16, cluster: &Cluster, lanes: usize) -> Vec<u32> {
    let NodeMessage::MaskedChunk(chunk) = tap.said_by(node, Kind::MaskedChunk) else { panic!() };
    let bits = cluster.view(0, 0, 1).lane_bits;
    words(&Lanes::unpack(bits, lanes, &chunk.data).unwrap())
}

fn commit_of(tap: &Tap, node: u16) -> RoundCommit {
    match tap.said_by(node, Kind::RoundCommit) {
        NodeMessage::RoundCommit(commit) => commit,
        other => panic!("unexpected {other:?}"),
    }
}

/// One kind of share per node and context. In an honest round everybody gives out a share
/// of the victim's self seed, for it is in the sum. Four nodes that would answer once
/// more - "and now as if it had dropped" - give the escrow key, with it the edges, and
/// the victim's vector falls out of what it had uploaded.
#[test]
fn without_the_one_kind_of_share_rule_a_vector_is_recovered() {
    let mut cluster = cluster();
    let vectors = cluster.vectors(5);
    let view = cluster.view(2, 1, 5);
    let stored: Vec<NodeEpoch> = cluster
        .epochs
        .iter()
        .map(|epoch| {
            NodeEpoch::from_secret_bytes(&cluster.roster, &epoch.to_secret_bytes()).unwrap()
        })
        .collect();
    let tap = Tap::default();
    let outcome = run(&mut cluster, &view, &vectors, tap.script());
    let ctx = outcome.nodes[&VICTIM].ctx();
    let gullible: Vec<Gullible> = (1..5u16)
        .map(|node| {
            let ServerMessage::ShareRelay(relay) = tap.sent_to(node, Kind::ShareRelay) else {
                panic!("expected a relay")
            };
            Gullible::new(NodeIndex(node), &stored[usize::from(node)], (2, 1), &relay)
        })
        .collect();
    let of_self: Vec<_> = gullible.iter().map(|node| node.self_share(VICTIM)).collect();
    // The first answer is the honest one: the same shares that the real machines gave.
    for (holder, share) in &of_self {
        let NodeMessage::UnmaskShares(shares) = tap.said_by(holder.0, Kind::UnmaskShares) else {
            panic!("expected shares")
        };
        assert_eq!(shares.self_shares[0].1.0, *share);
    }
    let of_escrow: Vec<_> = gullible.iter().map(|node| node.escrow_share(VICTIM)).collect();
    let y = masked(&tap, 0, &cluster, 5);
    assert_ne!(y, vectors[0]);
    let commit = commit_of(&tap, 0);
    let open = |of_self: &[_], of_escrow: &[_]| {
        open_one(&ctx, VICTIM, &commit, &NodeSet::full(5), of_self, of_escrow, &y)
    };
    assert_eq!(open(&of_self, &of_escrow), vectors[0], "the victim's vector, every lane");
    // With one share too few, or one kind only, nothing comes out.
    assert_ne!(open(&of_self, &of_escrow[..3]), vectors[0]);
    assert_ne!(open(&of_self[..3], &of_escrow), vectors[0]);
    assert_ne!(open(&of_self, &of_self), vectors[0]);

    // The real machine: its shares leave once, and every way to ask again is refused.
    for ask in [ask_with_another_quorum, ask_with_another_manifest] {
        let mut cluster = self::cluster();
        let (mut outcome, quorum) = stopped_at(&mut cluster, Kind::SurvivorQc);
        let ServerMessage::SurvivorQc(quorum) = quorum else { panic!("expected a quorum") };
        let holder = outcome.nodes.get_mut(&VICTIM).unwrap();
        let answer = holder.handle(quorum.clone().into()).unwrap();
        let NodeMessage::UnmaskShares(shares) = only_send(answer) else { panic!("no shares") };
        assert!(shares.escrow_shares.is_empty());
        let (second, words) = ask(&cluster, quorum);
        blames(holder.handle(second), Party::Aggregator, words);
        assert_eq!(holder.phase(), NodePhase::Faulted);
    }
}

fn ask_with_another_quorum(_: &Cluster, quorum: SurvivorQc) -> (ServerMessage, &'static str) {
    let manifest = hash("node 4 dropped", &[]);
    (SurvivorQc { manifest, ..quorum }.into(), "two different SurvivorQc")
}

fn ask_with_another_manifest(
    cluster: &Cluster,
    quorum: SurvivorQc,
) -> (ServerMessage, &'static str) {
    let manifest = SurvivorManifest {
        context: quorum.context,
        granted_hash: hash("granted", &[&quorum.context.0, &NodeSet::full(5).encode()]),
        survivors: nodes(&[0, 1, 2, 3]),
        roots: vec![Digest::ZERO; 4],
        signature: [0; 64],
    };
    (manifest.signed_by(&cluster.aggregator).into(), "two different SurvivorManifest")
}

/// Machines whose roster was put together by hand, past `Roster::new` that would have
/// refused these thresholds. Everything else is the real thing.
fn unchecked(thresholds: Thresholds) -> Cluster {
    assert!(thresholds.check().is_err(), "the check that is left out here");
    let safe = Thresholds::complete_graph(thresholds.n, 0.0, 0.25, 3).unwrap();
    let (sound, identities, aggregator) = common::parties(safe);
    let roster = Arc::new(Roster { thresholds, ..(*sound).clone() });
    let seats: Vec<NodeSeat> = (0u16..)
        .zip(&identities)
        .map(|(node, key)| NodeSeat::new(roster.clone(), NodeIndex(node), key.clone()).unwrap())
        .collect();
    let server = ServerSeat::new(roster.clone(), aggregator.clone()).unwrap();
    let (machine, states, _) = common::key_agreement(&seats, &server, |_, message| Some(message));
    let epochs = states
        .into_values()
        .map(|state| match state {
            common::Keying::Done(epoch) => *epoch,
            _ => panic!("a node has no keys"),
        })
        .collect();
    let facts: EpochFacts = machine.facts().unwrap().clone();
    let rng = cluster().rng;
    Cluster { roster, identities, aggregator, seats, server, epochs, facts, rng }
}

/// Shows two nodes one manifest and gives back the shares they reveal for it.
fn shares_for(
    manifest: &SurvivorManifest,
    to: [u16; 2],
    outcome: &mut common::Outcome,
) -> Vec<UnmaskShares> {
    let mut acks = Vec::new();
    for node in to.map(NodeIndex) {
        let machine = outcome.nodes.get_mut(&node).unwrap();
        let answer = machine.handle(manifest.clone().into()).unwrap();
        let NodeMessage::SurvivorAck(ack) = only_send(answer) else { panic!("expected an ack") };
        acks.push((node, ack));
    }
    let mut revealed = Vec::new();
    for node in to.map(NodeIndex) {
        let tag_for = |(signer, ack): &(NodeIndex, tributary_secagg::messages::SurvivorAck)| {
            let tag = ack.tags.iter().find(|(to, _)| *to == node);
            tag.map(|(_, tag)| (*signer, *tag))
        };
        let quorum = SurvivorQc {
            context: manifest.context,
            manifest: manifest.digest(),
            signatures: acks.iter().map(|(node, ack)| (*node, ack.signature)).collect(),
            tags: acks.iter().filter_map(tag_for).collect(),
        };
        let machine = outcome.nodes.get_mut(&node).unwrap();
        let answer = machine.handle(quorum.into()).unwrap();
        let NodeMessage::UnmaskShares(shares) = only_send(answer) else { panic!("no shares") };
        revealed.push(shares);
    }
    revealed
}

/// The quorum rule: two certificates share an honest node, which signs one manifest only.
/// With a quorum and a threshold of two out of four, the aggregator shows the manifest
/// with the victim to one half and the one without it to the other; each half is
/// convinced, honest, and gives out one kind of share.
#[test]
fn without_the_quorum_threshold_two_manifests_recover_a_vector() {
    let weak = Thresholds { n: 4, corrupt: 0, quorum: 2, shamir_t: 2, u_min: 2, degree: 3 };
    let mut cluster = unchecked(weak);
    let vectors = cluster.vectors(5);
    let view = cluster.view(0, 0, 5);
    let tap = Tap::default();
    let mut held_back = None;
    let server = |_, message| match message {
        ServerMessage::SurvivorManifest(manifest) => {
            held_back = Some(manifest);
            Vec::new()
        }
        ServerMessage::Abort(_) => Vec::new(),
        other => vec![other],
    };
    let script = tap.over(server, |_, message| vec![message]);
    let mut outcome = run(&mut cluster, &view, &vectors, script);
    let with = held_back.unwrap();
    let mut without = with.clone();
    restrict(&mut without, NodeSet::of(4, [1, 2, 3].map(NodeIndex)));
    let without = without.signed_by(&cluster.aggregator);
    // Nodes 0 and 1 see the victim in the sum, 2 and 3 see it dropped.
    let of_self: Vec<_> = shares_for(&with, [0, 1], &mut outcome)
        .iter()
        .zip(0u16..)
        .map(|(shares, holder)| (NodeIndex(holder), shares.self_shares[0].1.0))
        .collect();
    let of_escrow: Vec<_> = shares_for(&without, [2, 3], &mut outcome)
        .iter()
        .zip(2u16..)
        .map(|(shares, holder)| {
            let (owner, share) = shares.escrow_shares[0];
            assert_eq!(owner, VICTIM);
            (NodeIndex(holder), share.0)
        })
        .collect();
    let y = masked(&tap, 0, &cluster, 5);
    let all = NodeSet::full(4);
    let x = open_one(&with.context, VICTIM, &commit_of(&tap, 0), &all, &of_self, &of_escrow, &y);
    assert_eq!(x, vectors[0], "no node broke a rule, and the victim's vector is out");

    // The roster type refuses these numbers, and with sound ones neither half is a quorum.
    let members = cluster.roster.members.clone();
    let refusal = Roster::new(cluster.roster.job, members, cluster.roster.aggregator, weak);
    let words = refusal.unwrap_err().to_string();
    assert!(words.contains("two quorums must share an honest node"), "{words}");
    let mut sound = Cluster::new(4, 0.0, 0.25, 3);
    let (mut outcome, manifest) = stopped_at(&mut sound, Kind::SurvivorManifest);
    let (mut signatures, mut tags) = (Vec::new(), Vec::new());
    for node in [0, 1].map(NodeIndex) {
        let machine = outcome.nodes.get_mut(&node).unwrap();
        let NodeMessage::SurvivorAck(ack) = only_send(machine.handle(manifest.clone()).unwrap())
        else {
            panic!("expected an ack")
        };
        signatures.push((node, ack.signature));
        let for_victim = ack.tags.iter().find(|(to, _)| *to == VICTIM);
        tags.extend(for_victim.map(|(_, tag)| (node, *tag)));
    }
    let ServerMessage::SurvivorManifest(manifest) = manifest else { unreachable!() };
    let quorum =
        SurvivorQc { context: manifest.context, manifest: manifest.digest(), signatures, tags };
    let machine = outcome.nodes.get_mut(&VICTIM).unwrap();
    blames(machine.handle(quorum.into()), Party::Aggregator, "2 signatures are no quorum of 3");
}

/// The floor on survivors: a sum over one node is that node's vector. Without the floor
/// the honest aggregator's own machine computes it when the others drop out.
#[test]
fn without_the_survivor_floor_the_sum_is_one_vector() {
    let weak = Thresholds { n: 4, corrupt: 0, quorum: 1, shamir_t: 1, u_min: 1, degree: 3 };
    let mut cluster = unchecked(weak);
    let vectors = cluster.vectors(5);
    let view = cluster.view(0, 0, 5);
    let dies_before: BTreeMap<_, _> =
        [1, 2, 3].map(|node| (NodeIndex(node), Kind::MaskedDone)).into();
    let lost = Script { dies_before: dies_before.clone(), ..Script::default() };
    let outcome = run(&mut cluster, &view, &vectors, lost);
    let (sum, survivors) = outcome.opened.unwrap();
    assert_eq!(survivors, NodeSet::of(4, [VICTIM]));
    assert_eq!(sum, vectors[0]);

    // Sound thresholds end the attempt at the third loss; and a manifest that says so all
    // the same is refused by the node that would be alone.
    let mut sound = Cluster::new(4, 0.0, 0.25, 3);
    let lost = Script { dies_before, ..Script::default() };
    let outcome = run(&mut sound, &view, &vectors, lost);
    assert!(outcome.opened.is_none() && outcome.aborted.is_some());
    let mut sound = Cluster::new(4, 0.0, 0.25, 3);
    let (mut outcome, manifest) = stopped_at(&mut sound, Kind::SurvivorManifest);
    let ServerMessage::SurvivorManifest(mut alone) = manifest else { unreachable!() };
    restrict(&mut alone, NodeSet::of(4, [VICTIM]));
    let alone = alone.signed_by(&sound.aggregator);
    let machine = outcome.nodes.get_mut(&VICTIM).unwrap();
    blames(machine.handle(alone.into()), Party::Aggregator, "are 1 nodes, fewer than u_min = 3");
}

/// One vector per context: two vectors under the same masks give their difference away.
/// Here the masks are those of one context; the second vector is what a node that forgot
/// its first one would put under them.
#[test]
fn without_the_one_vector_rule_a_difference_is_recovered() {
    let mut cluster = cluster();
    let vectors = cluster.vectors(3);
    let view = cluster.view(0, 0, 3);
    let tap = Tap::default();
    run(&mut cluster, &view, &vectors, tap.script());
    let y = masked(&tap, 0, &cluster, 3);
    // A node without the check: it would put the very same masks on another vector.
    let mask: Vec<u32> = y.iter().zip(&vectors[0]).map(|(y, x)| y.wrapping_sub(*x)).collect();
    let other = [5u32, 6, 7];
    let again: Vec<u32> = mask.iter().zip(other).map(|(mask, x)| mask.wrapping_add(x)).collect();
    for ((first, second), (x, x2)) in y.iter().zip(&again).zip(vectors[0].iter().zip(other)) {
        assert_eq!(first.wrapping_sub(*second), x.wrapping_sub(x2), "no key was needed");
    }

    // The machine puts masks on once, forgets the seeds, and resends the same bytes only.
    let mut again = self::cluster();
    let (mut outcome, grant) = stopped_at(&mut again, Kind::UploadGrant);
    let machine = outcome.nodes.get_mut(&VICTIM).unwrap();
    machine.handle(grant).unwrap();
    let fault = machine.provide_vector(other.to_vec()).unwrap_err();
    assert!(fault.to_string().contains("a vector was handed in while"), "{fault}");
}
