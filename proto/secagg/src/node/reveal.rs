//! R5 at a node (checks 8 and 9): only against a quorum on exactly the manifest it
//! signed does a node give shares out, and then one kind per node: of the self
//! seed for survivors, of the escrow key for the others. All shares are gone
//! afterwards.

use std::collections::BTreeMap;

use super::result::Revealed;
use super::{Attempt, State, Step};
use crate::dealing::SharePair;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::ids::{NodeIndex, NodeSet};
use crate::keys::same;
use crate::messages::{
    RevealedEscrowShare, RevealedSelfShare, SignedMessage as _, SurvivorQc, UnmaskShares,
    named_signers, verify_quorum,
};
use crate::secret::AckKey;

/// A node that has signed a manifest.
pub(super) struct Acknowledged {
    pub(super) granted: NodeSet,
    pub(super) survivors: NodeSet,
    pub(super) manifest: Digest,
    pub(super) held: BTreeMap<NodeIndex, SharePair>,
    pub(super) ack_keys: BTreeMap<NodeIndex, AckKey>,
}

impl Acknowledged {
    pub(super) fn on_quorum(self, attempt: &Attempt, quorum: &SurvivorQc) -> Step {
        if quorum.manifest != self.manifest {
            return Err(Fault::aggregator(
                "presented a quorum on another manifest than the one this node signed",
            ));
        }
        let bad =
            |what: String| Fault::aggregator(format!("has no quorum on the manifest: {what}"));
        let roster = &attempt.seat.roster;
        let signers = named_signers(roster, &self.survivors, &quorum.signatures).map_err(bad)?;
        // The tags first: they cost next to nothing, a signature much more.
        let wrong = self.wrong_tags(attempt, &signers, quorum)?;
        verify_quorum(roster, &wrong, &quorum.statement(), &quorum.signatures).map_err(|what| {
            if wrong.is_empty() {
                return bad(what);
            }
            // The aggregator cannot check tags: the signers may have made them so.
            let what = format!(
                "no quorum on the manifest without the wrong tags of nodes {wrong}: {what}"
            );
            Fault::disputed(wrong.iter().next(), what)
        })?;

        let mut self_shares = Vec::with_capacity(self.survivors.len());
        let mut escrow_shares = Vec::new();
        let owners = attempt.owners_in(&self.granted);
        for node in owners.iter() {
            let pair = self
                .held
                .get(&node)
                .ok_or_else(|| Fault::misuse(format!("this node holds no share of node {node}")))?;
            if self.survivors.contains(node) {
                self_shares.push((node, RevealedSelfShare(*pair.of_self.expose())));
            } else {
                escrow_shares.push((node, RevealedEscrowShare(*pair.of_escrow.expose())));
            }
        }
        let shares =
            UnmaskShares { context: attempt.ctx, self_shares, escrow_shares, signature: [0; 64] }
                .signed_by(&attempt.seat.identity);
        let next = Revealed::new(attempt, self.survivors, self.manifest);
        Ok((State::Revealed(next), vec![Attempt::send(shares)]))
    }

    /// A peer's signature counts only with its tag for this node: the peers whose tag
    /// is wrong.
    fn wrong_tags(
        &self,
        attempt: &Attempt,
        signers: &NodeSet,
        quorum: &SurvivorQc,
    ) -> Result<NodeSet, Fault> {
        let me = attempt.seat.me;
        let peers = attempt.peers_in(signers);
        if !quorum.tags.iter().map(|(node, _)| *node).eq(peers.iter()) {
            return Err(Fault::aggregator("passed on other tags than those of the signers"));
        }
        let mut wrong = NodeSet::new(attempt.seat.roster.size());
        for (node, tag) in &quorum.tags {
            let expected = match self.ack_keys.get(node) {
                Some(key) => key.tag(*node, me, &self.manifest)?,
                None => return Err(Fault::misuse(format!("no tag key towards node {node}"))),
            };
            if !same(&expected, tag) {
                wrong.insert(*node);
            }
        }
        Ok(wrong)
    }
}
