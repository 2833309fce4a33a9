//! R5 at the aggregator: check every share against the hash its dealer published,
//! open the seeds, check those against the dealers' commitments and tags, and
//! take the masks off the sum. Seeds live only inside one function each.

use std::collections::BTreeMap;

use super::result::Certifying;
use super::shared::{Core, Next, Phase, Refusal, Shortfall};
use super::survivors::MaskedSum;
use super::{ServerOutput, ServerPhase};
use crate::dealing::{escrow_share_hash, self_share_hash};
use crate::digest::Digest;
use crate::evidence::Evidence;
use crate::fault::Fault;
use crate::ids::{NodeIndex, NodeSet};
use crate::lanes::Lanes;
use crate::mask::{self, MaskKey, Sign};
use crate::messages::{
    AbortReason, NodeMessage, RoundCommit, RoundResult, ServerMessage, SignedMessage as _,
    SumChunk, UnmaskShares,
};
use crate::node::sign_towards;
use crate::secret::{EscrowSeed, SelfSeed};
use crate::shamir::Interpolation;
use crate::vector::{VectorKind, packed_chunks, root_of};
use crate::workers;

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

    /// P2 without U.
    fn dropped(&self) -> NodeSet {
        self.masked.granted.difference(&self.masked.survivors)
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
        let held = |set: &NodeSet| {
            let mut held = core.graph.peers(holder).intersection(set);
            if core.graph.is_complete() && set.contains(holder) {
                held.insert(holder);
            }
            held
        };
        let of_self = shares.self_shares.iter().map(|(node, _)| *node);
        let of_escrow = shares.escrow_shares.iter().map(|(node, _)| *node);
        if !of_self.eq(held(&self.masked.survivors).iter())
            || !of_escrow.eq(held(&self.dropped()).iter())
        {
            return Err("sent shares of other nodes than the manifest asks for".into());
        }
        let bad = |dealer: NodeIndex| Refusal {
            why: format!("sent a bad share of node {dealer}: it is not the one dealt to it"),
            evidence: self.bad_share(core, dealer, holder, shares),
        };
        for (dealer, share) in &shares.self_shares {
            let found = self_share_hash(&core.ctx, *dealer, holder, &share.0);
            if self.published(*dealer, holder).map(|[hash, _]| hash) != Some(found) {
                return Err(bad(*dealer));
            }
        }
        for (dealer, share) in &shares.escrow_shares {
            let found = escrow_share_hash(&core.ctx, *dealer, holder, &share.0);
            if self.published(*dealer, holder).map(|[_, hash]| hash) != Some(found) {
                return Err(bad(*dealer));
            }
        }
        Ok(())
    }

    /// The holder itself signed which shares it had accepted: in its commit those it kept
    /// for itself, in its ready the relay with those of the others.
    fn bad_share(
        &self,
        core: &Core,
        dealer: NodeIndex,
        holder: NodeIndex,
        shares: &UnmaskShares,
    ) -> Option<Evidence> {
        let shares = NodeMessage::from(shares.clone()).encode();
        if dealer == holder {
            let commit = self.masked.relays.commit(holder)?.clone();
            return Some(Evidence::BadOwnShare {
                commit: NodeMessage::from(commit).encode(),
                shares,
            });
        }
        let ready = core.seen.get(&(holder, crate::messages::Kind::Ready))?.clone();
        let relay = ServerMessage::from(self.masked.relays.relay(core, holder)).encode();
        Some(Evidence::BadShare { ready, relay, shares })
    }

    /// The hashes a dealer published of a holder's two shares.
    fn published(&self, dealer: NodeIndex, holder: NodeIndex) -> Option<[Digest; 2]> {
        self.masked.relays.commit(dealer)?.published(dealer, holder)
    }

    /// The nodes whose seeds have to be opened, and which kind: all survivors, and the
    /// dropped ones that a survivor has a mask with.
    fn owners(&self, core: &Core) -> Vec<(NodeIndex, Kind)> {
        let survivors = self.masked.survivors.iter().map(|node| (node, Kind::OwnMask));
        let dropped = self.dropped();
        let dropped = dropped.iter().filter(|node| {
            !core.graph.peers(*node).intersection(&self.masked.survivors).is_empty()
        });
        survivors.chain(dropped.map(|node| (node, Kind::Edges))).collect()
    }

    /// Takes every mask off the sum.
    ///
    /// # Errors
    /// The node whose seed does not open to what it committed to, and how.
    fn unmask(&mut self, core: &Core) -> Result<(), Unopened> {
        let holders = NodeSet::of(core.seat.roster.size(), self.shares.keys().copied());
        // In the complete graph all seeds are opened by the same holders.
        let shared = if core.graph.is_complete() {
            let first = self.masked.survivors.iter().next();
            first.map(|owner| self.interpolation(core, owner, &holders)).transpose()?
        } else {
            None
        };
        let opened = workers::map(core.seat.threads, self.owners(core), |(owner, kind)| {
            let own;
            let at = match &shared {
                Some(shared) => shared,
                None => {
                    own = self.interpolation(core, owner, &holders)?;
                    &own
                }
            };
            match kind {
                Kind::OwnMask => self.own_mask(core, owner, at),
                Kind::Edges => self.edges(core, owner, at),
            }
        });
        let mut masks = Vec::new();
        for opened in opened {
            masks.extend(opened?);
        }
        let threads = core.seat.threads;
        match &mut self.masked.sum {
            Lanes::Narrow(words) => mask::apply_all(&masks, 0, words, threads),
            Lanes::Wide(words) => mask::apply_all(&masks, 0, words, threads),
        }
        Ok(())
    }

    /// The first `shamir_t` holders of an owner's shares who sent theirs.
    fn interpolation(
        &self,
        core: &Core,
        owner: NodeIndex,
        sent: &NodeSet,
    ) -> Result<(Vec<NodeIndex>, Interpolation), Unopened> {
        let threshold = usize::from(core.seat.roster.thresholds.shamir_t);
        let holders = core.graph.holders(owner).intersection(sent);
        let chosen: Vec<NodeIndex> = holders.iter().take(threshold).collect();
        let slots: Vec<u8> =
            chosen.iter().filter_map(|holder| core.graph.slot(owner, *holder)).collect();
        if slots.len() < threshold {
            return Err(Unopened::Failed);
        }
        let at =
            Interpolation::at_zero(&slots).map_err(|error| Fault::misuse(error.to_string()))?;
        Ok((chosen, at))
    }

    fn own_mask(&self, core: &Core, owner: NodeIndex, at: &Opening) -> Masks {
        let mut shares = Vec::with_capacity(at.0.len());
        for holder in &at.0 {
            let of_holder = self.shares.get(holder).ok_or(Unopened::Failed)?;
            shares.push(of_holder.self_share(owner).ok_or(Unopened::Failed)?);
        }
        let seed = at.1.secret(&shares).map_err(|error| Fault::misuse(error.to_string()))?;
        let seed = SelfSeed::copied(&seed);
        if seed.commitment(&core.ctx, owner) != self.commit_of(owner)?.self_commitment {
            let why = "the self seed it shared is not the one it committed to";
            return Err(self.bad_dealing(owner, why, &at.0));
        }
        Ok(vec![(seed.mask_key(&core.ctx)?, Sign::Minus)])
    }

    /// The masks between a dropped node and its peers among the survivors.
    fn edges(&self, core: &Core, owner: NodeIndex, at: &Opening) -> Masks {
        let mut shares = Vec::with_capacity(at.0.len());
        for holder in &at.0 {
            let of_holder = self.shares.get(holder).ok_or(Unopened::Failed)?;
            shares.push(of_holder.escrow_share(owner).ok_or(Unopened::Failed)?);
        }
        let seed = at.1.secret(&shares).map_err(|error| Fault::misuse(error.to_string()))?;
        let seed = EscrowSeed::copied(&seed);
        let commit = self.commit_of(owner)?;
        if seed.commitment(&core.ctx, owner) != commit.escrow_commitment {
            let why = "the escrow key it shared is not the one it committed to";
            return Err(self.bad_dealing(owner, why, &at.0));
        }
        let mut masks = Vec::new();
        for survivor in core.graph.peers(owner).intersection(&self.masked.survivors).iter() {
            let Some(entry) = commit.entry(survivor) else {
                let why = "it escrowed no edge towards a survivor";
                return Err(self.bad_dealing(owner, why, &at.0));
            };
            let edge = seed.open(&core.ctx, survivor, &entry.sealed_edge)?;
            if edge.tag(&core.ctx) != entry.parcel.edge_tag {
                let why = "an edge it escrowed is not the one whose tag it published";
                return Err(self.bad_dealing(owner, why, &at.0));
            }
            // What the survivor added is taken off again.
            masks.push((edge.mask_key()?, sign_towards(survivor, owner).opposite()));
        }
        Ok(masks)
    }

    fn commit_of(&self, node: NodeIndex) -> Result<&RoundCommit, Fault> {
        self.masked
            .relays
            .commit(node)
            .ok_or_else(|| Fault::misuse(format!("node {node} has no commit")))
    }

    fn bad_dealing(&self, owner: NodeIndex, why: &'static str, holders: &[NodeIndex]) -> Unopened {
        let commit = self.masked.relays.commit(owner);
        let evidence = commit.map(|commit| Evidence::BadDealing {
            commit: NodeMessage::from(commit.clone()).encode(),
            shares: holders
                .iter()
                .filter_map(|holder| self.shares.get(holder))
                .map(|shares| NodeMessage::from(shares.clone()).encode())
                .collect(),
        });
        Unopened::Node(owner, Box::new(Refusal { why: why.to_owned(), evidence }))
    }

    /// Owners whose seed cannot be opened any more, and how many shares the worst has.
    fn worst(&self, core: &Core, answers: &NodeSet) -> Option<usize> {
        let count =
            |(owner, _): &(NodeIndex, Kind)| core.graph.holders(*owner).intersection(answers).len();
        if core.graph.is_complete() {
            return Some(answers.len());
        }
        self.owners(core).iter().map(count).min()
    }
}

type Opening = (Vec<NodeIndex>, Interpolation);
type Masks = Result<Vec<(MaskKey, Sign)>, Unopened>;

/// Which of a node's two seeds is opened.
#[derive(Clone, Copy)]
enum Kind {
    OwnMask,
    Edges,
}

/// Why the sum stays closed.
enum Unopened {
    Node(NodeIndex, Box<Refusal>),
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
        let sent = NodeSet::of(core.seat.roster.size(), self.shares.keys().copied());
        self.masked.survivors.intersection(&core.present).difference(&sent)
    }

    fn hopeless(&self, core: &Core) -> Option<Shortfall> {
        let sent = NodeSet::of(core.seat.roster.size(), self.shares.keys().copied());
        let have = self.worst(core, &sent.union(&self.awaited(core)))?;
        Shortfall::check(AbortReason::TooFewShares, have, core.seat.roster.thresholds.shamir_t)
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
        let need = core.seat.roster.thresholds.shamir_t;
        let sent = NodeSet::of(core.seat.roster.size(), self.shares.keys().copied());
        let have = self.worst(core, &sent).unwrap_or(0);
        if let Some(short) = Shortfall::check(AbortReason::TooFewShares, have, need) {
            return Next::Abort(short);
        }
        match self.unmask(core) {
            Ok(()) => {}
            Err(Unopened::Node(node, refusal)) => {
                core.evict(node, *refusal, out);
                let blamed = vec![node];
                return Next::Abort(Shortfall { blamed, ..Shortfall::of(AbortReason::BadSharing) });
            }
            Err(Unopened::Failed) => return Next::Abort(Shortfall::of(AbortReason::Internal)),
        }
        let MaskedSum { survivors, sum, .. } = self.masked;
        let (bits, threads) = (core.shape.bits, core.seat.threads);
        let sum = sum.reduced(bits);
        let chunks = packed_chunks(VectorKind::Sum, &core.ctx, bits, &sum, threads);
        let (chunks, hashes): (Vec<Vec<u8>>, Vec<Digest>) = chunks.into_iter().unzip();
        let sum_root = root_of(VectorKind::Sum, &core.ctx, core.shape, &hashes);
        for (index, data) in (0u32..).zip(chunks) {
            let chunk = SumChunk { context: core.ctx, index, data: data.into() };
            core.send_all(&survivors, &chunk.into(), out);
        }
        let manifest = self.manifest;
        let result = RoundResult { context: core.ctx, manifest, sum_root, signature: [0; 64] }
            .signed_by(&core.seat.identity);
        core.send_all(&survivors, &result.into(), out);
        out.push(ServerOutput::Opened { sum, survivors: survivors.clone(), sum_root });
        Next::Go(Box::new(Certifying::new(survivors, manifest, sum_root)))
    }
}
