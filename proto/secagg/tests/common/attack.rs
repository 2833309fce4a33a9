//! The malicious aggregator's tool box: change one kind of message on its way to
//! one victim, sign it again, and see who is blamed. The small cluster has five nodes
//! of which one may be corrupt, so tau = shamir_t = u_min = 4; the roomy one has six
//! and the same thresholds, so that a pair may go and a quorum is left.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tributary_secagg::messages::{
    Kind, ShareRelay, SignedMessage as _, SurvivorManifest, SurvivorQc, UploadGrant,
};
use tributary_secagg::{
    Fault, Identity, NodeIndex, NodeMessage, NodeOutput, NodeSet, Party, RoundStart, ServerMessage,
    Upload,
};

use super::{Cluster, Outcome, Script, run};

pub const VICTIM: NodeIndex = NodeIndex(0);

pub fn cluster() -> Cluster {
    let cluster = Cluster::new(5, 0.2, 0.2, 4);
    let t = cluster.roster.thresholds;
    assert_eq!((t.corrupt, t.quorum, t.shamir_t, t.u_min), (1, 4, 4, 4));
    cluster
}

pub fn roomy() -> Cluster {
    let cluster = Cluster::new(6, 0.1, 0.34, 4);
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
    change: impl FnMut(&Identity, ServerMessage) -> Vec<ServerMessage>,
) -> Outcome {
    attack_in(&mut cluster(), dies_before, kind, change)
}

pub fn attack_in(
    cluster: &mut Cluster,
    dies_before: BTreeMap<NodeIndex, Kind>,
    kind: Kind,
    mut change: impl FnMut(&Identity, ServerMessage) -> Vec<ServerMessage>,
) -> Outcome {
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
    let script = Script { dies_before, server: Some(server), ..Script::default() };
    run(cluster, &view, &vectors, script)
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

/// A call was refused, and this party blamed with these words.
#[track_caller]
pub fn blames<T>(result: Result<T, Fault>, who: Party, words: &str) {
    let fault = result.err().unwrap_or_else(|| panic!("accepted; expected: {words}"));
    assert_eq!(fault.blamed(), Some(who), "{fault}");
    assert!(fault.to_string().contains(words), "{fault}");
}

/// A call was refused as one word against another: this node's or the aggregator's doing.
#[track_caller]
pub fn disputes<T>(result: Result<T, Fault>, node: u16, words: &str) {
    let fault = result.err().unwrap_or_else(|| panic!("accepted; expected: {words}"));
    assert!(matches!(fault, Fault::Disputed { .. }), "{fault}");
    assert_eq!(fault.suspects(), [Party::Node(NodeIndex(node)), Party::Aggregator], "{fault}");
    assert!(fault.to_string().contains(words), "{fault}");
}

/// The victim goes no further, and cannot tell whether this node or the aggregator is to
/// blame.
#[track_caller]
pub fn disputed(outcome: &Outcome, node: u16, words: &str) {
    let fault = outcome.faults.get(&VICTIM).unwrap_or_else(|| panic!("accepted: {outcome:?}"));
    disputes::<()>(Err(fault.clone()), node, words);
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
    with_relay_in(&mut cluster(), change)
}

pub fn with_relay_in(cluster: &mut Cluster, change: impl Fn(&mut ShareRelay)) -> Outcome {
    attack_in(cluster, BTreeMap::new(), Kind::ShareRelay, |aggregator, message| {
        let ServerMessage::ShareRelay(mut relay) = message else { unreachable!() };
        change(&mut relay);
        vec![relay.signed_by(aggregator).into()]
    })
}

/// Grants the victim another set.
pub fn with_grant(granted: &[u16]) -> Outcome {
    attack(Kind::UploadGrant, |aggregator, message| {
        let ServerMessage::UploadGrant(grant) = message else { unreachable!() };
        vec![UploadGrant { granted: nodes(granted), ..grant }.signed_by(aggregator).into()]
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
        // Whose grant is withheld is given no turn either.
        let turn = kind == Kind::UploadGrant && message.kind() == Kind::UploadTurn;
        if turn || message.kind() == Kind::Abort {
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

pub fn only_upload(outputs: Vec<NodeOutput>) -> Upload {
    let [NodeOutput::Upload(upload)] = <[NodeOutput; 1]>::try_from(outputs).unwrap() else {
        panic!("expected an upload")
    };
    upload
}

/// Everything that was said in a round, as it left its sender.
#[derive(Default)]
pub struct Tap {
    pub server: RefCell<Vec<(NodeIndex, ServerMessage)>>,
    pub node: RefCell<Vec<(NodeIndex, NodeMessage)>>,
}

impl Tap {
    /// A script that changes nothing and writes everything down.
    pub fn script(&self) -> Script<'_> {
        self.over(|_, message| vec![message], |_, message| vec![message])
    }

    /// A script with these hooks; what they let out is written down.
    pub fn over<'a>(
        &'a self,
        mut server: impl FnMut(NodeIndex, ServerMessage) -> Vec<ServerMessage> + 'a,
        mut node: impl FnMut(NodeIndex, NodeMessage) -> Vec<NodeMessage> + 'a,
    ) -> Script<'a> {
        Script {
            server: Some(Box::new(move |to, message| {
                let sent = server(to, message);
                self.server.borrow_mut().extend(sent.iter().map(|sent| (to, sent.clone())));
                sent
            })),
            node: Some(Box::new(move |from, message| {
                let sent = node(from, message);
                self.node.borrow_mut().extend(sent.iter().map(|sent| (from, sent.clone())));
                sent
            })),
            ..Script::default()
        }
    }

    /// The frame of the aggregator's first message of a kind to a node.
    pub fn to_node(&self, node: u16, kind: Kind) -> Vec<u8> {
        self.sent_to(node, kind).encode()
    }

    /// The aggregator's first message of a kind to a node.
    pub fn sent_to(&self, node: u16, kind: Kind) -> ServerMessage {
        let said = self.server.borrow();
        let found = said.iter().find(|(to, message)| to.0 == node && message.kind() == kind);
        found.unwrap_or_else(|| panic!("no {kind} to node {node}")).1.clone()
    }

    /// The frame of a node's first message of a kind.
    pub fn of_node(&self, node: u16, kind: Kind) -> Vec<u8> {
        self.said_by(node, kind).encode()
    }

    /// A node's first message of a kind.
    pub fn said_by(&self, node: u16, kind: Kind) -> NodeMessage {
        let said = self.node.borrow();
        let found = said.iter().find(|(from, message)| from.0 == node && message.kind() == kind);
        found.unwrap_or_else(|| panic!("no {kind} of node {node}")).1.clone()
    }
}
