//! R1 and R2 at the aggregator: collect the commitments, separate pairs whose
//! tags contradict each other, pass the shares on with QC1, and wait until the
//! vectors are ready.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::separate::separate;
use super::shared::{Core, Next, Phase, Refusal, Shortfall};
use super::upload::Uploading;
use super::{ServerOutput, ServerPhase};
use crate::digest::Digest;
use crate::identity::Signature;
use crate::ids::{NodeIndex, NodeSet};
use crate::messages::{
    AbortReason, NodeMessage, RoundCommit, ShareRelay, SignedMessage as _, UploadGrant,
    quorum_statement,
};
use crate::workers;

pub(super) type Commits = BTreeMap<NodeIndex, RoundCommit>;

/// What was relayed: everybody's commit, P1, QC1. A relay is made again from it where it
/// is evidence; signatures are deterministic.
pub(super) struct Relays {
    commits: Commits,
    committed: NodeSet,
    quorum: Vec<(NodeIndex, Signature)>,
}

impl Relays {
    /// The commit of a node.
    pub(super) fn commit(&self, node: NodeIndex) -> Option<&RoundCommit> {
        self.commits.get(&node)
    }

    /// The relay to a node.
    pub(super) fn relay(&self, core: &Core, node: NodeIndex) -> ShareRelay {
        let from = |dealer: NodeIndex| {
            let entry = self.commits.get(&dealer)?.entry(node)?;
            Some(entry.parcel.clone())
        };
        ShareRelay {
            context: core.ctx,
            committed: self.committed.clone(),
            parcels: core.graph.peers(node).iter().filter_map(from).collect(),
            quorum: self.quorum.clone(),
            signature: [0; 64],
        }
        .signed_by(&core.seat.identity)
    }
}

/// Waits for the commitments of the cohort.
#[derive(Default)]
pub(super) struct Committing {
    commits: Commits,
}

impl Phase for Committing {
    fn phase(&self) -> ServerPhase {
        ServerPhase::Committing
    }

    fn awaited(&self, core: &Core) -> NodeSet {
        NodeSet::of(
            core.seat.roster.size(),
            core.present.iter().filter(|node| !self.commits.contains_key(node)),
        )
    }

    fn hopeless(&self, core: &Core) -> Option<Shortfall> {
        Shortfall::check(
            AbortReason::TooFewCommits,
            core.present.len(),
            core.seat.roster.thresholds.u_min,
        )
    }

    fn accept(
        &mut self,
        core: &Core,
        from: NodeIndex,
        message: NodeMessage,
    ) -> Result<(), Refusal> {
        let NodeMessage::RoundCommit(commit) = message else {
            return Err("sent something else than a commit".into());
        };
        core.signed(from, &commit)?;
        let peers = core.graph.peers(from).intersection(&core.cohort);
        if !commit.entries.iter().map(|entry| entry.parcel.to).eq(peers.iter()) {
            return Err("dealt shares to other nodes than the cohort".into());
        }
        let Some(key) = core.seat.roster.member(from) else {
            return Err("is not on the roster".into());
        };
        if key.verify(&quorum_statement(&core.ctx).0, &commit.quorum_signature).is_err() {
            return Err("signed another context".into());
        }
        if commit.entries.iter().any(|entry| entry.parcel.from != from) {
            return Err("dealt shares in another node's name".into());
        }
        if commit.own_share_hashes.is_some() != core.graph.is_complete() {
            return Err(
                "kept shares of its own where the graph has none, or none where it has".into()
            );
        }
        self.commits.insert(from, commit);
        Ok(())
    }

    fn close(mut self: Box<Self>, core: &mut Core, out: &mut Vec<ServerOutput>) -> Next {
        self.commits.retain(|node, _| core.present.contains(*node));
        let (present, corrupt) = (core.present.clone(), core.seat.roster.thresholds.corrupt);
        for (node, against) in separate(contradictions(&self.commits), &present, corrupt) {
            self.commits.remove(&node);
            core.evict(node, format!("its edge tags contradict those of node {against}"), out);
        }
        let size = core.seat.roster.size();
        let committed = core.openable(NodeSet::of(size, self.commits.keys().copied()));
        self.commits.retain(|node, _| committed.contains(*node));
        let need = core.seat.roster.thresholds.u_min;
        if let Some(short) = Shortfall::check(AbortReason::TooFewCommits, committed.len(), need) {
            return Next::Abort(short);
        }
        core.leave_out(&core.cohort.difference(&committed), out);
        let quorum: Vec<_> = self
            .commits
            .iter()
            .map(|(node, commit)| (*node, commit.quorum_signature))
            .take(usize::from(core.seat.roster.thresholds.quorum))
            .collect();
        let relays = Relays { commits: self.commits, committed: committed.clone(), quorum };
        let relay_to = |node: NodeIndex| {
            let relay = relays.relay(core, node);
            (node, relay.statement(), ServerOutput::Send(node, relay.into()))
        };
        let made = workers::map(core.seat.threads, committed.iter().collect(), relay_to);
        let mut statements = BTreeMap::new();
        for (node, statement, send) in made {
            statements.insert(node, statement);
            out.push(send);
        }
        let (ready, complaints) = (NodeSet::new(size), Vec::new());
        let relays = Arc::new(relays);
        Next::Go(Box::new(Training { relays, statements, committed, ready, complaints }))
    }
}

/// The pairs whose two ends publish different tags of their edge.
fn contradictions(commits: &Commits) -> Vec<(NodeIndex, NodeIndex)> {
    let mut open = Vec::new();
    for (one, commit) in commits {
        for entry in commit.entries.iter().filter(|entry| entry.parcel.to > *one) {
            let other = entry.parcel.to;
            let back = commits.get(&other).and_then(|commit| commit.entry(*one));
            if back.is_some_and(|back| back.parcel.edge_tag != entry.parcel.edge_tag) {
                open.push((*one, other));
            }
        }
    }
    open
}

/// Waits until the vectors are there.
pub(super) struct Training {
    relays: Arc<Relays>,
    /// What each node's relay says.
    statements: BTreeMap<NodeIndex, Digest>,
    committed: NodeSet,
    ready: NodeSet,
    complaints: Vec<(NodeIndex, NodeIndex)>,
}

impl Phase for Training {
    fn phase(&self) -> ServerPhase {
        ServerPhase::Training
    }

    fn awaited(&self, core: &Core) -> NodeSet {
        self.committed.intersection(&core.present).difference(&self.ready)
    }

    fn hopeless(&self, core: &Core) -> Option<Shortfall> {
        // Who has complained may have stopped; the others' complaints say who is to blame.
        if !self.complaints.is_empty() && !self.awaited(core).is_empty() {
            return None;
        }
        let have = self.committed.intersection(&core.present).len();
        Shortfall::check(AbortReason::TooFewReady, have, core.seat.roster.thresholds.u_min)
    }

    fn accept(
        &mut self,
        core: &Core,
        from: NodeIndex,
        message: NodeMessage,
    ) -> Result<(), Refusal> {
        match message {
            NodeMessage::Ready(ready) => {
                core.signed(from, &ready)?;
                if self.statements.get(&from) != Some(&ready.relay) {
                    return Err("works with another relay than the one it was sent".into());
                }
                self.ready.insert(from);
            }
            NodeMessage::Complaint(complaint) => {
                core.signed(from, &complaint)?;
                let peers = core.graph.peers(from).intersection(&self.committed);
                if complaint.against.is_empty() || !complaint.against.is_subset(&peers) {
                    return Err("complained about nodes that dealt it no shares".into());
                }
                self.complaints.extend(complaint.against.iter().map(|dealer| (from, dealer)));
            }
            _ => return Err("sent something else than a ready".into()),
        }
        Ok(())
    }

    /// One word against another: the pair must not meet in a grant. Who has stopped over
    /// bad shares still counts as a voice.
    fn verdicts(&self, core: &Core) -> Vec<(NodeIndex, String)> {
        let corrupt = core.seat.roster.thresholds.corrupt;
        separate(self.complaints.clone(), &core.present, corrupt)
            .into_iter()
            .map(|(node, against)| {
                (node, format!("shares between it and node {against} were refused by one of them"))
            })
            .collect()
    }

    fn close(self: Box<Self>, core: &mut Core, out: &mut Vec<ServerOutput>) -> Next {
        for (node, why) in self.verdicts(core) {
            core.evict(node, why, out);
        }
        let granted = core.openable(self.ready.intersection(&core.present));
        let need = core.seat.roster.thresholds.u_min;
        if let Some(short) = Shortfall::check(AbortReason::TooFewReady, granted.len(), need) {
            return Next::Abort(short);
        }
        core.leave_out(&core.cohort.difference(&granted), out);
        let grant = UploadGrant { context: core.ctx, granted: granted.clone(), signature: [0; 64] }
            .signed_by(&core.seat.identity);
        core.send_all(&granted, &grant.into(), out);
        Next::Go(Box::new(Uploading::new(core, self.relays, granted)))
    }
}
