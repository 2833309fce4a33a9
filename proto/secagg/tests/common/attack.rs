//! The malicious aggregator's tool box: change one kind of message on its way to
//! one victim, sign it again, and see who is blamed. The cluster has five nodes
//! of which one may be corrupt, so tau = shamir_t = u_min = 4.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tributary_secagg::messages::{
    Kind, ShareRelay, SignedMessage as _, SurvivorManifest, SurvivorQc,
};
use tributary_secagg::{
    Identity, NodeIndex, NodeMessage, NodeOutput, NodeSet, Party, RoundStart, ServerMessage,
};

use super::{Cluster, Outcome, Script, run};

pub const VICTIM: NodeIndex = NodeIndex(0);

pub fn cluster() -> Cluster {
    let cluster = Cluster::new(5, 0.2, 0.2, 4);
    let t = cluster.roster.thresholds;
    assert_eq!((t.corrupt, t.quorum, t.shamir_t, t.u_min), (1, 4, 4, 4));
    cluster
}

pub fn nodes(list: &[u16]) -> NodeSet {
    NodeSet::of(5, list.iter().copied().map(NodeIndex))
}

/// Runs a round in which the aggregator changes its messages of one kind to the
/// victim, and gives back the outcome.
pub fn attack(
    kind: Kind,
    change: impl FnMut(&Identity, ServerMessage) -> Vec<ServerMessage>,
) -> Outcome {
    attack_with(BTreeMap::new(), kind, change)
}

pub fn attack_with(
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
pub fn refused(outcome: &Outcome, words: &str) {
    let fault = outcome.faults.get(&VICTIM).unwrap_or_else(|| panic!("accepted: {outcome:?}"));
    assert_eq!(fault.blamed(), Some(Party::Aggregator), "{fault}");
    assert!(fault.to_string().contains(words), "{fault}");
    assert!(!outcome.node_certified.contains(&VICTIM));
}

/// Changes the victim's manifest and signs it again.
pub fn with_manifest(change: impl Fn(&mut SurvivorManifest)) -> Outcome {
    attack(Kind::SurvivorManifest, |aggregator, message| {
        let ServerMessage::SurvivorManifest(mut manifest) = message else { unreachable!() };
        change(&mut manifest);
        vec![manifest.signed_by(aggregator).into()]
    })
}

pub fn restrict(manifest: &mut SurvivorManifest, survivors: NodeSet) {
    let kept = manifest.survivors.iter().zip(&manifest.roots);
    manifest.roots =
        kept.filter(|(node, _)| survivors.contains(*node)).map(|(_, root)| *root).collect();
    manifest.survivors = survivors;
}

/// Changes the victim's start of the round and signs it again.
pub fn with_start(change: impl Fn(&mut RoundStart)) -> Outcome {
    attack(Kind::RoundStart, |aggregator, message| {
        let ServerMessage::RoundStart(mut start) = message else { unreachable!() };
        change(&mut start);
        vec![start.signed_by(aggregator).into()]
    })
}

/// Changes the victim's relay and signs it again.
pub fn with_relay(change: impl Fn(&mut ShareRelay)) -> Outcome {
    attack(Kind::ShareRelay, |aggregator, message| {
        let ServerMessage::ShareRelay(mut relay) = message else { unreachable!() };
        change(&mut relay);
        vec![relay.signed_by(aggregator).into()]
    })
}

pub fn with_quorum(change: impl Fn(&mut SurvivorQc)) -> Outcome {
    attack(Kind::SurvivorQc, |_, message| {
        let ServerMessage::SurvivorQc(mut quorum) = message else { unreachable!() };
        change(&mut quorum);
        vec![quorum.into()]
    })
}

/// Runs a round that stops where the aggregator would send `kind`, and gives the
/// nodes' machines and what would have been sent to the victim.
pub fn stopped_at(cluster: &mut Cluster, kind: Kind) -> (Outcome, ServerMessage) {
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

pub fn only_send(outputs: Vec<NodeOutput>) -> NodeMessage {
    let [NodeOutput::Send(message)] = <[NodeOutput; 1]>::try_from(outputs).unwrap() else {
        panic!("expected one message")
    };
    message
}
