//! What must hold after every event, whatever the network and the disks did. It is
//! told what parties emit and store, and keeps the first violation.

use std::collections::{BTreeMap, BTreeSet};

use tributary_secagg::{
    Digest, Fault, LaneBits, Lanes, NodeIndex, NodeMessage, NodeSet, ResultQc, RoundStart, hash,
};

use crate::common::{lanes, words};

/// (round, attempt).
pub type At = (u32, u16);

/// Everything that was ever said, by whom and about what.
#[derive(Default)]
pub struct Checks {
    /// The vector a node handed in for a context.
    vectors: BTreeMap<(NodeIndex, Digest), Vec<u32>>,
    /// Which attempt a context belongs to.
    attempts: BTreeMap<Digest, At>,
    /// The context of a node's attempt.
    opened: BTreeMap<(NodeIndex, At), Digest>,
    /// Messages of which a node says one per context, as they first left.
    said: BTreeMap<(NodeIndex, Digest, String), Digest>,
    /// Who uploaded in which attempt.
    uploads: BTreeSet<(NodeIndex, At)>,
    /// Which kind of a node's shares was revealed under a context.
    revealed: BTreeMap<(Digest, NodeIndex), &'static str>,
    /// Digest of the certified result of a round.
    certified: BTreeMap<u32, Digest>,
    violation: Option<String>,
}

impl Checks {
    /// The first violation.
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    fn hold(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    /// The aggregator opened an attempt.
    pub fn attempt(&mut self, start: &RoundStart) {
        let at = (start.view.round, start.view.attempt);
        let other = self.attempts.values().any(|known| *known == at);
        self.hold(!other, || format!("the aggregator opened {at:?} twice"));
        self.attempts.insert(start.context, at);
    }

    /// A node hands a vector in.
    pub fn vector(&mut self, node: NodeIndex, ctx: Digest, x: Vec<u32>) {
        let first = self.vectors.insert((node, ctx), x).is_none();
        self.hold(first, || format!("node {node} hands in two vectors under one context"));
    }

    /// A sum came out, at a node or (`None`) at the aggregator.
    pub fn opened(
        &mut self,
        at: Option<NodeIndex>,
        ctx: Digest,
        bits: LaneBits,
        sum: &Lanes,
        survivors: &NodeSet,
    ) {
        let mut expected: Option<Vec<u32>> = None;
        for node in survivors.iter() {
            let Some(x) = self.vectors.get(&(node, ctx)) else {
                return self.hold(false, || format!("node {node} is in a sum and gave no vector"));
            };
            match &mut expected {
                None => expected = Some(x.clone()),
                Some(sum) => {
                    for (sum, lane) in sum.iter_mut().zip(x) {
                        *sum = sum.wrapping_add(*lane);
                    }
                }
            }
        }
        let expected = lanes(bits, &expected.unwrap_or_default()).reduced(bits);
        let right = words(sum) == words(&expected);
        self.hold(right, || format!("a wrong sum over {survivors} at {at:?}"));
    }

    /// A message leaves a node, whether it arrives or not. `charges` are the
    /// (round, attempt)s that the node's disk says are charged.
    pub fn leaves(&mut self, node: NodeIndex, message: &NodeMessage, charges: &[At]) {
        let ctx = message.context();
        let frame = hash("frame", &[&message.encode()]);
        let name = match message {
            NodeMessage::MaskedChunk(chunk) => format!("chunk {}", chunk.index),
            other => other.kind().to_string(),
        };
        let known = *self.said.entry((node, ctx, name.clone())).or_insert(frame);
        self.hold(known == frame, || {
            format!("node {node} says two different things under one context: {name}")
        });
        match message {
            NodeMessage::RoundCommit(_) => {
                let Some(at) = self.attempts.get(&ctx).copied() else {
                    return self.hold(false, || format!("node {node} is in a context of nobody"));
                };
                let known = *self.opened.entry((node, at)).or_insert(ctx);
                self.hold(known == ctx, || format!("node {node} opens two contexts for {at:?}"));
            }
            NodeMessage::MaskedChunk(_) | NodeMessage::MaskedDone(_) => {
                let at = self.attempts.get(&ctx).copied().unwrap_or_default();
                self.uploads.insert((node, at));
                let charged = charges.iter().filter(|charge| **charge == at).count();
                self.hold(charged == 1, || {
                    format!("node {node} uploads in {at:?}, durably charged {charged} times")
                });
                let uploads = self.uploads.iter().filter(|(who, _)| *who == node).count();
                self.hold(charges.len() >= uploads, || {
                    format!("node {node} uploaded {uploads} times, charged {}", charges.len())
                });
            }
            NodeMessage::UnmaskShares(shares) => {
                let of_self = shares.self_shares.iter().map(|(owner, _)| (*owner, "self"));
                let of_escrow = shares.escrow_shares.iter().map(|(owner, _)| (*owner, "escrow"));
                for (owner, kind) in of_self.chain(of_escrow) {
                    let known = *self.revealed.entry((ctx, owner)).or_insert(kind);
                    self.hold(known == kind, || {
                        format!("both kinds of shares of node {owner} are revealed")
                    });
                }
            }
            _ => {}
        }
    }

    /// A result is certified somewhere.
    pub fn certified(&mut self, round: u32, certificate: &ResultQc) {
        let digest = certificate.digest();
        let known = *self.certified.entry(round).or_insert(digest);
        self.hold(known == digest, || format!("two certified results of round {round}"));
    }

    /// The aggregator names a node. Only one silence is a breach in itself: whoever
    /// does not open its coin could be choosing among graphs.
    pub fn evicted(&mut self, node: NodeIndex, why: &str) {
        let silence = why == "it did not open its coin for the graph";
        self.hold(silence, || format!("an honest node is blamed: node {node} {why}"));
    }

    /// A node refuses to go on. Everybody is honest, so nobody may be named.
    pub fn fault(&mut self, who: &str, fault: &Fault) {
        self.hold(false, || format!("{who} refuses to go on: {fault}"));
    }

    /// How many rounds are certified.
    pub fn rounds(&self) -> usize {
        self.certified.len()
    }

    /// How many uploads left, over all nodes and attempts.
    pub fn uploads(&self) -> usize {
        self.uploads.len()
    }

    /// Something else that must not be.
    pub fn never(&mut self, what: String) {
        self.hold(false, || what);
    }
}
