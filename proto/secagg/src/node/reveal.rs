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
    check_quorum,
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
        let signers =
            check_quorum(&attempt.roster, &self.survivors, &quorum.statement(), &quorum.signatures)
                .map_err(bad)?;
        self.check_tags(attempt, &signers, quorum)?;

        let mut self_shares = Vec::with_capacity(self.survivors.len());
        let mut escrow_shares = Vec::new();
        for node in self.granted.iter() {
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
                .signed_by(&attempt.identity);
        let next = Revealed::new(attempt, self.survivors, self.manifest);
        Ok((State::Revealed(next), vec![Attempt::send(shares)]))
    }

    /// A signature counts only with its signer's tag for this node. Signers with
    /// a wrong tag are left out; a quorum must remain without them.
    fn check_tags(
        &self,
        attempt: &Attempt,
        signers: &NodeSet,
        quorum: &SurvivorQc,
    ) -> Result<(), Fault> {
        let mut others = signers.clone();
        others.remove(attempt.me);
        if !quorum.tags.iter().map(|(node, _)| *node).eq(others.iter()) {
            return Err(Fault::aggregator("passed on other tags than those of the signers"));
        }
        let mut wrong = NodeSet::new(attempt.roster.size());
        for (node, tag) in &quorum.tags {
            let expected = match self.ack_keys.get(node) {
                Some(key) => key.tag(*node, attempt.me, &self.manifest)?,
                None => return Err(Fault::misuse(format!("no tag key towards node {node}"))),
            };
            if !same(&expected, tag) {
                wrong.insert(*node);
            }
        }
        let needed = usize::from(attempt.roster.thresholds.quorum);
        if signers.len() - wrong.len() < needed {
            return Err(Fault::aggregator(format!(
                "has no quorum on the manifest: without the wrong tags of nodes {wrong}, {} of \
                 {needed} signers are left",
                signers.len() - wrong.len()
            )));
        }
        Ok(())
    }
}
