//! The relay at a node (check 4): a quorum is in the same context, every peer's
//! share opens and is the one its dealer published, both ends of every edge have
//! the same key. A bad share is found here, before anything leaves: the node
//! complains, goes on without its dealer, and accepts no grant that names it.

use std::collections::BTreeMap;

use super::upload::AwaitingVector;
use super::{Attempt, NodeOutput, State, Step};
use crate::dealing::SharePair;
use crate::fault::Fault;
use crate::ids::{NodeIndex, NodeSet};
use crate::keys::same;
use crate::messages::{
    Complaint, ShareParcel, ShareRelay, SignedMessage as _, check_quorum, quorum_statement,
};
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
    /// In the complete graph a node holds a share of its own seeds.
    pub(super) own: Option<SharePair>,
    pub(super) inbound: BTreeMap<NodeIndex, Inbound>,
}

impl Committed {
    pub(super) fn on_relay(self, attempt: &Attempt, relay: &ShareRelay) -> Step {
        attempt.check_signature(relay)?;
        attempt.check_set("committed nodes", &relay.committed, &attempt.cohort)?;
        let (roster, me) = (&attempt.seat.roster, attempt.seat.me);
        let statement = quorum_statement(&attempt.ctx);
        check_quorum(roster, &relay.committed, &statement, &relay.quorum)
            .map_err(|what| Fault::aggregator(format!("has no quorum in this context: {what}")))?;
        check_parcels(me, &attempt.peers_in(&relay.committed), &relay.parcels)?;

        let Self { self_seed, own, mut inbound } = self;
        let mut held: BTreeMap<_, _> = own.map(|own| (me, own)).into_iter().collect();
        let mut refused = NodeSet::new(roster.size());
        let mut edges = BTreeMap::new();
        let mut ack_keys = BTreeMap::new();
        let mut outputs = Vec::new();
        for parcel in &relay.parcels {
            let from = parcel.from;
            let Some(keys) = inbound.remove(&from) else {
                return Err(Fault::aggregator(format!("passed on shares of node {from} twice")));
            };
            match open_parcel(attempt, parcel, &keys)? {
                Ok(pair) => {
                    held.insert(from, pair);
                    edges.insert(from, keys.edge);
                    ack_keys.insert(from, keys.ack);
                }
                Err(why) => {
                    refused.insert(from);
                    outputs.push(NodeOutput::Complained { against: from, why: why.to_owned() });
                }
            }
        }
        if !refused.is_empty() {
            let against = refused.clone();
            let complaint = Complaint { context: attempt.ctx, against, signature: [0; 64] };
            outputs.push(Attempt::send(complaint.signed_by(&attempt.seat.identity)));
        }
        let accepted = relay.committed.difference(&refused);
        if let Err(Fault::PeerMisbehaved { .. }) =
            attempt.check_set("committed nodes", &accepted, &attempt.cohort)
        {
            // The complaint leaves all the same, so that whoever did this is named.
            outputs.push(NodeOutput::Stopped(Fault::disputed(
                refused.iter().next(),
                format!("this node cannot use the shares of nodes {refused}, too many to go on"),
            )));
            return Ok((State::Faulted, outputs));
        }
        outputs.push(NodeOutput::VectorNeeded);
        let relay = relay.statement();
        let next = AwaitingVector { accepted, relay, self_seed, edges, held, ack_keys };
        Ok((State::AwaitingVector(next), outputs))
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

/// Checks one dealer's parcel; what is wrong with it may be the dealer's doing or
/// the aggregator's, who passed it on.
fn open_parcel(
    attempt: &Attempt,
    parcel: &ShareParcel,
    keys: &Inbound,
) -> Result<Result<SharePair, &'static str>, Fault> {
    let (from, me, ctx) = (parcel.from, attempt.seat.me, &attempt.ctx);
    if attempt.graph.slot(from, me) != Some(parcel.slot) {
        return Ok(Err("the shares are for another slot than the graph gives this node"));
    }
    if !same(&keys.edge.tag(ctx), &parcel.edge_tag) {
        return Ok(Err("the published tag is of another edge key than the pair's"));
    }
    let Some(pair) = SharePair::open(&keys.opening, ctx, from, me, &parcel.sealed_shares)? else {
        return Ok(Err("the shares do not open under the pair's key and this context"));
    };
    if pair.self_hash(ctx, from, me) != parcel.self_share_hash
        || pair.escrow_hash(ctx, from, me) != parcel.escrow_share_hash
    {
        return Ok(Err("the shares are others than those whose hashes were published"));
    }
    Ok(Ok(pair))
}
