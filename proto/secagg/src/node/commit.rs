//! R0 and R1 at a node: check the start of an attempt against what this node
//! believes, take the keys of the step, draw the seeds, deal the shares.

use rand_core::RngCore;
use std::collections::BTreeMap;

use super::chains::NodeEpoch;
use super::relay::{Committed, Inbound};
use super::seat::NodeSeat;
use super::{Attempt, NodeRound, State};
use crate::context::{RoundView, context};
use crate::dealing;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::ids::{NodeIndex, NodeSet};
use crate::messages::{
    CommitEntry, NodeMessage, RoundCommit, RoundStart, ShareParcel, SignedMessage as _,
    quorum_statement,
};
use crate::secret::{AckKey, EdgeKey, EscrowSeed, SelfSeed, ShareKey};

/// What a step of the chain gives towards one peer.
struct StepKeys {
    edge: EdgeKey,
    outbound: ShareKey,
    inbound: ShareKey,
    ack: AckKey,
}

impl NodeRound {
    /// Opens an attempt (check 3) and commits to it (R1).
    ///
    /// Checked: the aggregator's signature, the epoch, the cohort (in the epoch,
    /// this node in it, at least `u_min`), every field of the aggregator's view
    /// against `view`, the context, and that (round, attempt) increases. `view`
    /// must come from this node's own manifest, state and log; that includes the
    /// check of the previous result certificate and the job's maxima.
    ///
    /// On success `epoch` has moved past the step: store it **before** the
    /// returned commit is sent. On a fault it is unchanged.
    ///
    /// `rng` draws the seeds and the coefficients of the sharing.
    ///
    /// # Errors
    /// [`Fault`] saying who is wrong about what.
    pub fn open(
        seat: &NodeSeat,
        epoch: &mut NodeEpoch,
        max_attempts: u16,
        start: RoundStart,
        view: &RoundView,
        rng: &mut dyn RngCore,
    ) -> Result<(Self, NodeMessage), Fault> {
        let me = seat.me;
        if epoch.me() != me || !epoch.is_of(&seat.roster) {
            return Err(Fault::misuse("the epoch belongs to another node or roster"));
        }
        let ctx = context(&seat.roster, &epoch.transcript(), view, &start.cohort);
        let attempt = Attempt {
            shape: view.shape(),
            cohort: start.cohort.clone(),
            graph: epoch.graph().clone(),
            seat: seat.clone(),
            ctx,
        };
        attempt.check_start(&start, view, epoch)?;
        let members = attempt.cohort.clone();
        let keys = epoch.spend((view.round, view.attempt), max_attempts, |peer, chain| {
            if !members.contains(peer) {
                return Ok(None);
            }
            Ok(Some(StepKeys {
                edge: chain.edge(&ctx)?,
                outbound: chain.share_key(&ctx, me, peer)?,
                inbound: chain.share_key(&ctx, peer, me)?,
                ack: chain.ack_key(&ctx)?,
            }))
        })?;
        let keys = keys.into_iter().filter_map(|(peer, keys)| keys.map(|keys| (peer, keys)));
        let (committed, commit) = attempt.commit(keys, rng)?;
        Ok((Self::start(attempt, State::Committed(committed)), commit.into()))
    }
}

impl Attempt {
    fn check_start(
        &self,
        start: &RoundStart,
        view: &RoundView,
        epoch: &NodeEpoch,
    ) -> Result<(), Fault> {
        self.check_signature(start)?;
        if start.epoch != epoch.epoch() {
            return Err(Fault::differs(format!(
                "it opened an attempt in epoch {}, this node is in epoch {}",
                start.epoch,
                epoch.epoch()
            )));
        }
        self.check_set("invited nodes", &start.cohort, &NodeSet::full(self.seat.roster.size()))?;
        let peers = self.peers_in(&start.cohort);
        let strangers =
            start.cohort.difference(epoch.members()).union(&peers.difference(&epoch.reached()));
        if !strangers.is_empty() {
            return Err(Fault::aggregator(format!(
                "invited nodes ({strangers}) with which this node shares no key in this epoch"
            )));
        }
        check_view(&start.view, view)?;
        if view.vector_len == 0 {
            return Err(Fault::misuse("a vector of no lanes"));
        }
        if start.context != self.ctx {
            return Err(Fault::differs(
                "its context differs although every field agrees: it is in another epoch or has another roster",
            ));
        }
        Ok(())
    }

    fn commit(
        &self,
        keys: impl Iterator<Item = (NodeIndex, StepKeys)>,
        rng: &mut dyn RngCore,
    ) -> Result<(Committed, RoundCommit), Fault> {
        let (ctx, me) = (&self.ctx, self.seat.me);
        let self_seed = SelfSeed::random(rng);
        let escrow_seed = EscrowSeed::random(rng);
        let threshold = self.seat.roster.thresholds.shamir_t;
        let holders = dealing::holders(&self.graph, me, &self.cohort);
        let dealt = dealing::deal(&self_seed, &escrow_seed, threshold, &holders, rng)?;
        let mut keys: BTreeMap<NodeIndex, StepKeys> = keys.collect();
        let mut own = None;
        let mut entries = Vec::with_capacity(dealt.len());
        let mut inbound = BTreeMap::new();
        for (peer, pair) in dealt {
            if peer == me {
                own = Some(pair);
                continue;
            }
            let Some(StepKeys { edge, outbound, inbound: opening, ack }) = keys.remove(&peer)
            else {
                return Err(Fault::misuse(format!("there is no key chain towards node {peer}")));
            };
            let parcel = ShareParcel {
                from: me,
                to: peer,
                slot: self.graph.slot(me, peer).unwrap_or(0),
                edge_tag: edge.tag(ctx),
                sealed_shares: pair.seal(&outbound, ctx, me, peer, rng)?,
                self_share_hash: pair.self_hash(ctx, me, peer),
                escrow_share_hash: pair.escrow_hash(ctx, me, peer),
            };
            let sealed_edge = escrow_seed.seal(ctx, peer, &edge)?;
            entries.push(CommitEntry { sealed_edge, parcel });
            inbound.insert(peer, Inbound { edge, opening, ack });
        }
        let commit = RoundCommit {
            context: *ctx,
            self_commitment: self_seed.commitment(ctx, me),
            escrow_commitment: escrow_seed.commitment(ctx, me),
            own_share_hashes: own
                .as_ref()
                .map(|own| [own.self_hash(ctx, me, me), own.escrow_hash(ctx, me, me)]),
            entries,
            quorum_signature: self.seat.identity.sign(&quorum_statement(ctx).0),
            signature: [0; 64],
        }
        .signed_by(&self.seat.identity);
        Ok((Committed { self_seed, own, inbound }, commit))
    }
}

/// Compares the aggregator's view with this node's, field by field, so that the
/// fault can say what differs.
fn check_view(theirs: &RoundView, ours: &RoundView) -> Result<(), Fault> {
    let numbers = [
        ("round", u64::from(theirs.round), u64::from(ours.round)),
        ("attempt", u64::from(theirs.attempt), u64::from(ours.attempt)),
        ("operation", u64::from(theirs.operation), u64::from(ours.operation)),
        ("vector length", u64::from(theirs.vector_len), u64::from(ours.vector_len)),
        ("lane width", theirs.lane_bits.bits().into(), ours.lane_bits.bits().into()),
    ];
    for (name, theirs, ours) in numbers {
        if theirs != ours {
            return Err(Fault::differs(format!("its {name} is {theirs}, this node's is {ours}")));
        }
    }
    let hashes: [(&str, Digest, Digest); 3] = [
        ("state hash", theirs.state_hash, ours.state_hash),
        ("parameter hash", theirs.params_hash, ours.params_hash),
        ("previous result", theirs.previous, ours.previous),
    ];
    for (name, theirs, ours) in hashes {
        if theirs != ours {
            return Err(Fault::differs(format!("its {name} is {theirs}, this node's is {ours}")));
        }
    }
    Ok(())
}
