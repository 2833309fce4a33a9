//! R1 and R2 at the aggregator: collect the commitments, separate pairs whose
//! tags contradict each other, pass the shares on with QC1, and wait until the
//! vectors are ready.

use std::collections::BTreeMap;

use super::shared::{Core, Next, Phase, Refusal, Shortfall};
use super::upload::Uploading;
use super::{ServerOutput, ServerPhase};
use crate::ids::{NodeIndex, NodeSet};
use crate::messages::{
    AbortReason, NodeMessage, RoundCommit, ShareRelay, SignedMessage as _, UploadGrant,
    quorum_statement,
};

pub(super) type Commits = BTreeMap<NodeIndex, RoundCommit>;

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
            core.roster.size(),
            core.present.iter().filter(|node| !self.commits.contains_key(node)),
        )
    }

    fn hopeless(&self, core: &Core) -> Option<Shortfall> {
        Shortfall::check(
            AbortReason::TooFewCommits,
            core.present.len(),
            core.roster.thresholds.u_min,
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
        let mut peers = core.cohort.clone();
        peers.remove(from);
        if !commit.entries.iter().map(|entry| entry.parcel.to).eq(peers.iter()) {
            return Err("dealt shares to other nodes than the cohort".into());
        }
        let Some(key) = core.roster.member(from) else {
            return Err("is not on the roster".into());
        };
        if key.verify(&quorum_statement(&core.ctx).0, &commit.quorum_signature).is_err() {
            return Err("signed another context".into());
        }
        for entry in &commit.entries {
            let parcel = &entry.parcel;
            let statement = parcel.statement(&core.ctx);
            if parcel.from != from || key.verify(&statement.0, &parcel.signature).is_err() {
                return Err(format!("did not sign its shares for node {}", parcel.to));
            }
        }
        self.commits.insert(from, commit);
        Ok(())
    }

    fn close(mut self: Box<Self>, core: &mut Core, out: &mut Vec<ServerOutput>) -> Next {
        self.commits.retain(|node, _| core.present.contains(*node));
        for (node, why) in contradictions(&self.commits) {
            self.commits.remove(&node);
            core.evict(node, why, out);
        }
        let committed = NodeSet::of(core.roster.size(), self.commits.keys().copied());
        let need = core.roster.thresholds.u_min;
        if let Some(short) = Shortfall::check(AbortReason::TooFewCommits, committed.len(), need) {
            return Next::Abort(short);
        }
        core.leave_out(&core.cohort.difference(&committed), out);
        let quorum: Vec<_> =
            self.commits.iter().map(|(node, commit)| (*node, commit.quorum_signature)).collect();
        for node in committed.iter() {
            let to_node =
                |commit: &RoundCommit| commit.entry(node).map(|entry| entry.parcel.clone());
            let relay = ShareRelay {
                context: core.ctx,
                committed: committed.clone(),
                parcels: self.commits.values().filter_map(to_node).collect(),
                quorum: quorum.clone(),
                signature: [0; 64],
            }
            .signed_by(&core.identity);
            out.push(ServerOutput::Send(node, relay.into()));
        }
        let ready = NodeSet::new(core.roster.size());
        Next::Go(Box::new(Training { commits: self.commits, committed, ready }))
    }
}

/// Both ends of an edge publish a tag of its key. Where the tags differ one of the
/// two is wrong, and nobody else can tell which: the node in most contradictions
/// is left out first, and if two are level both are. Left out here means named
/// and evicted, before anything is uploaded.
fn contradictions(commits: &Commits) -> Vec<(NodeIndex, String)> {
    let mut open: Vec<(NodeIndex, NodeIndex)> = Vec::new();
    for (one, commit) in commits {
        for entry in &commit.entries {
            let other = entry.parcel.to;
            if other <= *one {
                continue;
            }
            let back = commits.get(&other).and_then(|commit| commit.entry(*one));
            if back.is_some_and(|back| back.parcel.edge_tag != entry.parcel.edge_tag) {
                open.push((*one, other));
            }
        }
    }
    let mut found = Vec::new();
    while let Some((first, second)) = open.first().copied() {
        let mut counts: BTreeMap<NodeIndex, usize> = BTreeMap::new();
        for (one, other) in &open {
            *counts.entry(*one).or_default() += 1;
            *counts.entry(*other).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let level: Vec<NodeIndex> =
            counts.iter().filter(|(_, count)| **count == most).map(|(node, _)| *node).collect();
        let out = match level.as_slice() {
            [worst] => vec![*worst],
            _ => vec![first, second],
        };
        for node in &out {
            let against: Vec<String> = open
                .iter()
                .filter(|(one, other)| one == node || other == node)
                .map(|(one, other)| if one == node { other } else { one }.to_string())
                .collect();
            found.push((
                *node,
                format!("its edge tags contradict those of node {}", against.join(", ")),
            ));
        }
        open.retain(|(one, other)| !out.contains(one) && !out.contains(other));
    }
    found
}

/// Waits until the vectors are there.
pub(super) struct Training {
    commits: Commits,
    committed: NodeSet,
    ready: NodeSet,
}

impl Phase for Training {
    fn phase(&self) -> ServerPhase {
        ServerPhase::Training
    }

    fn awaited(&self, core: &Core) -> NodeSet {
        self.committed.intersection(&core.present).difference(&self.ready)
    }

    fn hopeless(&self, core: &Core) -> Option<Shortfall> {
        let have = self.committed.intersection(&core.present).len();
        Shortfall::check(AbortReason::TooFewReady, have, core.roster.thresholds.u_min)
    }

    fn accept(
        &mut self,
        core: &Core,
        from: NodeIndex,
        message: NodeMessage,
    ) -> Result<(), Refusal> {
        let NodeMessage::Ready(ready) = message else {
            return Err("sent something else than a ready".into());
        };
        core.signed(from, &ready)?;
        self.ready.insert(from);
        Ok(())
    }

    fn close(self: Box<Self>, core: &mut Core, out: &mut Vec<ServerOutput>) -> Next {
        let granted = self.ready.intersection(&core.present);
        let need = core.roster.thresholds.u_min;
        if let Some(short) = Shortfall::check(AbortReason::TooFewReady, granted.len(), need) {
            return Next::Abort(short);
        }
        core.leave_out(&core.cohort.difference(&granted), out);
        let grant = UploadGrant { context: core.ctx, granted: granted.clone(), signature: [0; 64] }
            .signed_by(&core.identity);
        core.send_all(&granted, &grant.into(), out);
        Next::Go(Box::new(Uploading::new(core, self.commits, granted)))
    }
}
