//! The malicious node's tool box: one node changes what it sends of one kind, signs it
//! again, and is named. The cluster has six nodes, one of them may be corrupt: tau =
//! `shamir_t` = `u_min` = 4. Vectors have two chunks.

use std::collections::BTreeMap;

use tributary_secagg::messages::{Kind, RoundCommit, SignedMessage as _};
use tributary_secagg::{
    AbortReason, CHUNK_LANES, Evidence, Identity, NodeIndex, NodeMessage, NodeSet, Party,
};

use super::attack::roomy;
use super::{Outcome, Script, plain_sum, run};

pub const CHEAT: NodeIndex = NodeIndex(2);
pub const LANES: usize = CHUNK_LANES + 4;

pub type Round = (Outcome, Vec<Vec<u32>>);

/// The named nodes of the six.
pub fn six(list: &[u16]) -> NodeSet {
    NodeSet::of(6, list.iter().copied().map(NodeIndex))
}

/// Runs a round in which the cheat changes its messages of one kind.
pub fn cheat_with(
    dies_before: BTreeMap<NodeIndex, Kind>,
    kind: Kind,
    mut change: impl FnMut(&Identity, NodeMessage) -> Vec<NodeMessage>,
) -> Round {
    let mut cluster = roomy();
    let identity = cluster.identities[usize::from(CHEAT.0)].clone();
    let vectors = cluster.vectors(LANES);
    let view = cluster.view(0, 0, LANES as u32);
    let node = Box::new(move |node, message: NodeMessage| {
        if node == CHEAT && message.kind() == kind {
            change(&identity, message)
        } else {
            vec![message]
        }
    });
    let script = Script { dies_before, node: Some(node), ..Script::default() };
    (run(&mut cluster, &view, &vectors, script), vectors)
}

pub fn cheat(kind: Kind, change: impl FnMut(&Identity, NodeMessage) -> Vec<NodeMessage>) -> Round {
    cheat_with(BTreeMap::new(), kind, change)
}

/// The cheat changes its commit and signs it again.
pub fn commits(change: impl Fn(&mut RoundCommit)) -> Round {
    commits_with(BTreeMap::new(), change)
}

pub fn commits_with(
    dies_before: BTreeMap<NodeIndex, Kind>,
    change: impl Fn(&mut RoundCommit),
) -> Round {
    cheat_with(dies_before, Kind::RoundCommit, |identity, message| {
        let NodeMessage::RoundCommit(mut commit) = message else { unreachable!() };
        change(&mut commit);
        vec![commit.signed_by(identity).into()]
    })
}

/// The cheat is named with these words, and the others get their sum: with the
/// cheat's vector if it had arrived whole by then.
#[track_caller]
pub fn named((outcome, vectors): Round, words: &str, in_the_sum: bool) -> Outcome {
    let why = outcome.evicted.get(&CHEAT).unwrap_or_else(|| panic!("not named: {outcome:?}"));
    assert!(why.contains(words), "{why}");
    assert_eq!(outcome.evicted.len(), 1, "{outcome:?}");
    let mut expected = NodeSet::full(6);
    if !in_the_sum {
        expected.remove(CHEAT);
    }
    let (sum, survivors) = outcome.opened.as_ref().unwrap_or_else(|| panic!("{outcome:?}"));
    assert_eq!(*survivors, expected);
    assert_eq!(*sum, plain_sum(&vectors, &expected));
    assert_eq!(outcome.node_certified.len(), 5);
    assert_eq!(outcome.node_aborted[&CHEAT].reason, AbortReason::Evicted);
    outcome
}

/// There is evidence against the cheat, it convinces whoever has the roster, and it
/// says this.
#[track_caller]
pub fn proven(outcome: &Outcome, words: &str) -> Evidence {
    let evidence = outcome.evidence.get(&CHEAT).unwrap_or_else(|| panic!("none: {outcome:?}"));
    let (who, what) = evidence.verify(&roomy().roster).unwrap();
    assert_eq!(who, Party::Node(CHEAT));
    assert!(what.contains(words), "{what}");
    evidence.clone()
}
