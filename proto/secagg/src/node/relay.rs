//! The relay at a node (check 4): a quorum is in the same context, every peer's
//! share opens and is the one its dealer published, both ends of every edge have
//! the same key. A bad share is found here, before anything leaves.

use std::collections::BTreeMap;

use super::upload::AwaitingVector;
use super::{Attempt, NodeOutput, State, Step};
use crate::dealing::SharePair;
use crate::fault::Fault;
use crate::ids::{NodeIndex, NodeSet};
use crate::keys::same;
use crate::messages::{ShareParcel, ShareRelay, check_quorum, quorum_statement};
use crate::secret::{AckKey, EdgeKey, SelfSeed, ShareKey};

/// What a committed node keeps towards one peer.
pub(super) struct Inbound {
    pub(super) edge: EdgeKey,
    pub(super) opening: ShareKey,
    pub(super) ack: AckKey,
}

/// A node whose commit is out. The escrow key is gone already: it was needed to
/// seal the edges, and from now on only the holders' shares can bring it back.
pub(super) struct Committed {
    pub(super) self_seed: SelfSeed,
    pub(super) own: SharePair,
    pub(super) inbound: BTreeMap<NodeIndex, Inbound>,
}

impl Committed {
    pub(super) fn on_relay(self, attempt: &Attempt, relay: &ShareRelay) -> Step {
        attempt.check_signature(relay)?;
        attempt.check_set("committed nodes", &relay.committed, &attempt.cohort)?;
        let statement = quorum_statement(&attempt.ctx);
        check_quorum(&attempt.roster, &relay.committed, &statement, &relay.quorum)
            .map_err(|what| Fault::aggregator(format!("has no quorum in this context: {what}")))?;
        let mut expected = relay.committed.clone();
        expected.remove(attempt.me);
        check_parcels(attempt.me, &expected, &relay.parcels)?;

        let Self { self_seed, own, mut inbound } = self;
        let mut held = BTreeMap::from([(attempt.me, own)]);
        let mut edges = BTreeMap::new();
        let mut ack_keys = BTreeMap::new();
        for parcel in &relay.parcels {
            let from = parcel.from;
            let Some(keys) = inbound.remove(&from) else {
                return Err(Fault::aggregator(format!("passed on shares of node {from} twice")));
            };
            held.insert(from, open_parcel(attempt, parcel, &keys)?);
            edges.insert(from, keys.edge);
            ack_keys.insert(from, keys.ack);
        }
        let committed = relay.committed.clone();
        let next = AwaitingVector { committed, self_seed, edges, held, ack_keys };
        Ok((State::AwaitingVector(next), vec![NodeOutput::VectorNeeded]))
    }
}

fn check_parcels(me: NodeIndex, expected: &NodeSet, parcels: &[ShareParcel]) -> Result<(), Fault> {
    if parcels.iter().any(|parcel| parcel.to != me) {
        return Err(Fault::aggregator("passed on shares that are for another node"));
    }
    if !parcels.iter().map(|parcel| parcel.from).eq(expected.iter()) {
        return Err(Fault::aggregator(
            "passed on other shares than those of the nodes it says committed",
        ));
    }
    Ok(())
}

/// Checks one dealer's parcel. A bad signature is the aggregator's doing, all
/// else the dealer's, for the dealer signed the parcel as it stands.
fn open_parcel(
    attempt: &Attempt,
    parcel: &ShareParcel,
    keys: &Inbound,
) -> Result<SharePair, Fault> {
    let (from, me, ctx) = (parcel.from, attempt.me, &attempt.ctx);
    let signed = attempt
        .roster
        .member(from)
        .is_some_and(|key| key.verify(&parcel.statement(ctx).0, &parcel.signature).is_ok());
    if !signed {
        return Err(Fault::aggregator(format!(
            "altered or swapped the shares of node {from}: its signature does not verify"
        )));
    }
    if !same(&keys.edge.tag(ctx), &parcel.edge_tag) {
        return Err(Fault::node(from, "published a tag of another edge key than the pair's"));
    }
    let Some(pair) = SharePair::open(&keys.opening, ctx, from, me, &parcel.sealed_shares)? else {
        return Err(Fault::node(from, "dealt shares that do not open"));
    };
    if pair.self_hash(ctx, from, me) != parcel.self_share_hash
        || pair.escrow_hash(ctx, from, me) != parcel.escrow_share_hash
    {
        return Err(Fault::node(from, "dealt other shares than it published the hashes of"));
    }
    Ok(pair)
}
