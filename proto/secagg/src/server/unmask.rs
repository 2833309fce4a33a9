//! R5 at the aggregator: check every share against the hash its dealer published,
//! open the seeds, check those against the dealers' commitments and tags, and
//! take the masks off the sum. Seeds live only inside one function each.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::result::Certifying;
use super::shared::{Core, Next, Phase, Refusal, Shortfall};
use super::survivors::MaskedSum;
use super::{ServerOutput, ServerPhase};
use crate::CHUNK_LANES;
use crate::dealing::{escrow_share_hash, self_share_hash, slot};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::ids::{NodeIndex, NodeSet};
use crate::mask::{self, Sign};
use crate::messages::{
    AbortReason, NodeMessage, RoundCommit, RoundResult, SignedMessage as _, SumChunk, UnmaskShares,
};
use crate::secret::{EscrowSeed, SelfSeed};
use crate::shamir::Interpolation;
use crate::vector::{VectorKind, vector_root};

/// Waits for the survivors' shares.
pub(super) struct Unmasking {
    masked: MaskedSum,
    manifest: Digest,
    shares: BTreeMap<NodeIndex, UnmaskShares>,
}

impl Unmasking {
    pub(super) fn new(masked: MaskedSum, manifest: Digest) -> Self {
        Self { masked, manifest, shares: BTreeMap::new() }
    }

    /// Every share must be the one its dealer published the hash of. The holder
    /// accepted that hash when the shares were relayed, so another share is the
    /// holder's doing.
    fn check_shares(
        &self,
        core: &Core,
        holder: NodeIndex,
        shares: &UnmaskShares,
    ) -> Result<(), Refusal> {
        let dropped = self.masked.granted.difference(&self.masked.survivors);
        let of_self = shares.self_shares.iter().map(|(node, _)| *node);
        let of_escrow = shares.escrow_shares.iter().map(|(node, _)| *node);
        if !of_self.eq(self.masked.survivors.iter()) || !of_escrow.eq(dropped.iter()) {
            return Err("sent shares of other nodes than the manifest asks for".into());
        }
        let bad = |dealer: NodeIndex| {
            format!("sent a bad share of node {dealer}: it is not the one dealt to it")
        };
        for (dealer, share) in &shares.self_shares {
            let found = self_share_hash(&core.ctx, *dealer, holder, &share.0);
            if self.published(*dealer, holder).map(|(hash, _)| hash) != Some(found) {
                return Err(bad(*dealer));
            }
        }
        for (dealer, share) in &shares.escrow_shares {
            let found = escrow_share_hash(&core.ctx, *dealer, holder, &share.0);
            if self.published(*dealer, holder).map(|(_, hash)| hash) != Some(found) {
                return Err(bad(*dealer));
            }
        }
        Ok(())
    }

    /// The hashes a dealer published of a holder's two shares.
    fn published(&self, dealer: NodeIndex, holder: NodeIndex) -> Option<(Digest, Digest)> {
        let commit = self.masked.commits.get(&dealer)?;
        if dealer == holder {
            return Some((commit.own_self_share_hash, commit.own_escrow_share_hash));
        }
        let parcel = &commit.entry(holder)?.parcel;
        Some((parcel.self_share_hash, parcel.escrow_share_hash))
    }

    /// Takes every mask off the sum.
    ///
    /// # Errors
    /// The node whose seed does not open to what it committed to, and how.
    fn unmask(&mut self, core: &Core) -> Result<(), Unopened> {
        let threshold = usize::from(core.roster.thresholds.shamir_t);
        let holders: Vec<NodeIndex> = self.shares.keys().copied().take(threshold).collect();
        let slots = holders.iter().map(|node| slot(*node)).collect::<Result<Vec<_>, _>>()?;
        let interpolation =
            Interpolation::at_zero(&slots).map_err(|error| Fault::misuse(error.to_string()))?;
        let mut sum = std::mem::take(&mut self.masked.sum);
        for owner in self.masked.survivors.iter() {
            let mut shares = Vec::with_capacity(threshold);
            for shares_of_holder in self.shares.values().take(threshold) {
                let found = shares_of_holder.self_shares.iter().find(|(node, _)| *node == owner);
                shares.extend(found.map(|(_, share)| &share.0));
            }
            let seed =
                interpolation.secret(&shares).map_err(|error| Fault::misuse(error.to_string()))?;
            let seed = SelfSeed::copied(&seed);
            let commit = self.commit_of(owner)?;
            if seed.commitment(&core.ctx, owner) != commit.self_commitment {
                return Err(Unopened::Node(
                    owner,
                    "the self seed it shared is not the one it committed to",
                ));
            }
            mask::apply(&seed.mask_key(&core.ctx)?, Sign::Minus, &mut sum);
        }
        for owner in self.masked.granted.difference(&self.masked.survivors).iter() {
            let mut shares = Vec::with_capacity(threshold);
            for shares_of_holder in self.shares.values().take(threshold) {
                let found = shares_of_holder.escrow_shares.iter().find(|(node, _)| *node == owner);
                shares.extend(found.map(|(_, share)| &share.0));
            }
            let seed =
                interpolation.secret(&shares).map_err(|error| Fault::misuse(error.to_string()))?;
            let seed = EscrowSeed::copied(&seed);
            self.take_off_edges(core, owner, &seed, &mut sum)?;
        }
        self.masked.sum = sum;
        Ok(())
    }

    /// Takes the masks between a dropped node and every survivor off the sum.
    fn take_off_edges(
        &self,
        core: &Core,
        owner: NodeIndex,
        seed: &EscrowSeed,
        sum: &mut [u32],
    ) -> Result<(), Unopened> {
        let commit = self.commit_of(owner)?;
        if seed.commitment(&core.ctx, owner) != commit.escrow_commitment {
            return Err(Unopened::Node(
                owner,
                "the escrow key it shared is not the one it committed to",
            ));
        }
        for survivor in self.masked.survivors.iter() {
            let Some(entry) = commit.entry(survivor) else {
                return Err(Unopened::Node(owner, "it escrowed no edge towards a survivor"));
            };
            let edge = seed.open(&core.ctx, survivor, &entry.sealed_edge)?;
            if edge.tag(&core.ctx) != entry.parcel.edge_tag {
                return Err(Unopened::Node(
                    owner,
                    "an edge it escrowed is not the one whose tag it published",
                ));
            }
            // What the survivor added is taken off again.
            let sign = if survivor < owner { Sign::Plus } else { Sign::Minus };
            mask::apply(&edge.mask_key()?, sign.opposite(), sum);
        }
        Ok(())
    }

    fn commit_of(&self, node: NodeIndex) -> Result<&RoundCommit, Fault> {
        self.masked
            .commits
            .get(&node)
            .ok_or_else(|| Fault::misuse(format!("node {node} has no commit")))
    }
}

/// Why the sum stays closed.
enum Unopened {
    Node(NodeIndex, &'static str),
    Failed,
}

impl From<Fault> for Unopened {
    fn from(_: Fault) -> Self {
        Self::Failed
    }
}

impl Phase for Unmasking {
    fn phase(&self) -> ServerPhase {
        ServerPhase::Unmasking
    }

    fn awaited(&self, core: &Core) -> NodeSet {
        let sent = NodeSet::of(core.roster.size(), self.shares.keys().copied());
        self.masked.survivors.intersection(&core.present).difference(&sent)
    }

    fn hopeless(&self, core: &Core) -> Option<Shortfall> {
        let have = self.shares.len() + self.awaited(core).len();
        Shortfall::check(AbortReason::TooFewShares, have, core.roster.thresholds.shamir_t)
    }

    fn accept(
        &mut self,
        core: &Core,
        from: NodeIndex,
        message: NodeMessage,
    ) -> Result<(), Refusal> {
        let NodeMessage::UnmaskShares(shares) = message else {
            return Err("sent something else than shares".into());
        };
        core.signed(from, &shares)?;
        self.check_shares(core, from, &shares)?;
        self.shares.insert(from, shares);
        Ok(())
    }

    fn close(mut self: Box<Self>, core: &mut Core, out: &mut Vec<ServerOutput>) -> Next {
        let need = core.roster.thresholds.shamir_t;
        if let Some(short) = Shortfall::check(AbortReason::TooFewShares, self.shares.len(), need) {
            return Next::Abort(short);
        }
        match self.unmask(core) {
            Ok(()) => {}
            Err(Unopened::Node(node, why)) => {
                core.evict(node, why.to_owned(), out);
                let blamed = vec![node];
                return Next::Abort(Shortfall { blamed, ..Shortfall::of(AbortReason::BadSharing) });
            }
            Err(Unopened::Failed) => return Next::Abort(Shortfall::of(AbortReason::Internal)),
        }
        let MaskedSum { survivors, sum, .. } = self.masked;
        let sum_root = vector_root(VectorKind::Sum, &core.ctx, &sum);
        for (index, lanes) in (0u32..).zip(sum.chunks(CHUNK_LANES)) {
            let chunk = SumChunk { context: core.ctx, index, lanes: Arc::from(lanes) };
            core.send_all(&survivors, &chunk.into(), out);
        }
        let manifest = self.manifest;
        let result = RoundResult { context: core.ctx, manifest, sum_root, signature: [0; 64] }
            .signed_by(&core.identity);
        core.send_all(&survivors, &result.into(), out);
        out.push(ServerOutput::Opened { sum, survivors: survivors.clone(), sum_root });
        Next::Go(Box::new(Certifying::new(survivors, manifest, sum_root)))
    }
}
