//! Epoch set-up at a node: show fresh keys and a hidden coin, open the coin once
//! everybody's is fixed, encapsulate to the peers that the coin gives, confirm. It
//! knows the roster and the key agreement; the chains that come out of it live in
//! [`super::chains`].
//!
//! An epoch may begin without nodes that cannot be reached: they have no chain,
//! and a cohort that names them is refused until the next epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::RngCore;
use zeroize::Zeroizing;

use super::chains::NodeEpoch;
use super::seat::NodeSeat;
use crate::agreement::{Direction, EpochKeys, confirmation, encapsulate, first_link};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::graph::Graph;
use crate::ids::{NodeIndex, NodeSet};
use crate::keys::same;
use crate::messages::{
    EpochDone, EpochHello, EpochHellos, EpochKem, EpochKems, EpochPeers, EpochReveal, EpochStart,
    HelloEntry, KEM_CIPHERTEXT, KemParcel, NodeMessage, SignedMessage as _, coin_commitment,
    joint_coin, transcript,
};
use crate::secret::{ChainKey, KemSecret, SharedPoint};

/// A node that has sent its epoch keys and waits for the roll.
pub struct NodeEpochHello {
    base: Base,
    keys: EpochKeys,
    coin: Zeroizing<[u8; 32]>,
    entry: HelloEntry,
}

impl NodeEpochHello {
    /// Checks the start, draws fresh keys and a coin, and signs them. That epochs
    /// and their restarts only go up is the caller's to see to.
    ///
    /// # Errors
    /// [`Fault`] if the start is not the aggregator's or leaves this node out, or if
    /// the library gives no keys.
    pub fn open(
        seat: &NodeSeat,
        start: &EpochStart,
        rng: &mut dyn RngCore,
    ) -> Result<(Self, NodeMessage), Fault> {
        start.verify(&seat.roster)?;
        if start.excluded.contains(seat.me) {
            return Err(Fault::aggregator("left this node out of the epoch"));
        }
        let (keys, public) = EpochKeys::generate()?;
        let context = start.context;
        let mut coin = Zeroizing::new([0u8; 32]);
        rng.fill_bytes(coin.as_mut());
        let entry = HelloEntry {
            from: seat.me,
            keys: public.digest(),
            coin: coin_commitment(&context, seat.me, &coin),
            signature: [0; 64],
        }
        .signed_by(&seat.identity, &context);
        let hello = EpochHello { context, entry: entry.clone(), keys: public };
        let excluded = start.excluded.clone();
        let base = Base { seat: seat.clone(), epoch: start.epoch, context, excluded };
        Ok((Self { base, keys, coin, entry }, hello.into()))
    }

    /// Checks the roll: signatures, own entry unchanged, no key twice, at least
    /// `u_min` nodes. In the sparse graph the coin is opened now.
    ///
    /// # Errors
    /// [`Fault::PeerMisbehaved`] naming whose entry is bad.
    pub fn on_hellos(
        self,
        message: &EpochHellos,
    ) -> Result<(NodeEpochPeers, Option<NodeMessage>), Fault> {
        let Self { base, keys, coin, entry } = self;
        base.check_context(message.context)?;
        base.check_roll(&message.hellos, &entry)?;
        let roll = message.roll(&base.seat.roster);
        let sparse = !base.seat.roster.thresholds.is_complete();
        let reveal = EpochReveal { context: base.context, roll, coin: *coin };
        let hellos = message.hellos.iter().map(|hello| (hello.from, hello.clone())).collect();
        Ok((NodeEpochPeers { base, keys, roll, hellos }, sparse.then(|| reveal.into())))
    }
}

/// A node that knows who is in the epoch and waits for the coins and its peers' keys.
pub struct NodeEpochPeers {
    base: Base,
    keys: EpochKeys,
    roll: Digest,
    hellos: BTreeMap<NodeIndex, HelloEntry>,
}

impl NodeEpochPeers {
    /// Checks that every coin opens its commitment, computes the graph, checks the
    /// peers' keys against the roll and encapsulates to each of them.
    ///
    /// # Errors
    /// [`Fault::PeerMisbehaved`] naming the aggregator, or the peer whose key is bad.
    pub fn on_peers(self, message: EpochPeers) -> Result<(NodeEpochKem, NodeMessage), Fault> {
        let Self { base, keys, roll, hellos } = self;
        base.check_context(message.context)?;
        let (graph, transcript, coin) = base.graph(&roll, &hellos, &message.coins)?;
        let me = base.seat.me;
        let size = base.seat.roster.size();
        let members = NodeSet::of(size, hellos.keys().copied());
        let peers = graph.peers(me).intersection(&members);
        if !message.keys.iter().map(|(node, _)| *node).eq(peers.iter()) {
            return Err(Fault::aggregator("passed on other keys than those of this node's peers"));
        }
        let mut seen = BTreeSet::new();
        let mut outbound = BTreeMap::new();
        let mut parcels = Vec::with_capacity(message.keys.len());
        for (to, public) in &message.keys {
            let to = *to;
            if hellos.get(&to).is_none_or(|hello| hello.keys != public.digest()) {
                return Err(Fault::aggregator(format!(
                    "passed on other keys of node {to} than the node signed"
                )));
            }
            if !seen.insert(public.x25519.to_vec()) || !seen.insert(public.kem_key.to_vec()) {
                let what = "offered epoch keys that another node offered".to_owned();
                return Err(Fault::disputed(Some(to), what));
            }
            let point = keys
                .agree(&public.x25519)
                .map_err(|what| Fault::node(to, format!("offered a bad epoch key: {what}")))?;
            let (ciphertext, secret) = encapsulate(&public.kem_key).ok_or_else(|| {
                Fault::node(
                    to,
                    "offered a bad epoch key: its ML-KEM-768 key fails the FIPS 203 check",
                )
            })?;
            let confirmation = confirmation(&transcript, me, to, &ciphertext, &secret, &point)?;
            let mut parcel = KemParcel {
                from: me,
                to,
                ciphertext: ciphertext.clone(),
                confirmation,
                signature: [0; 64],
            };
            parcel.signature = base.seat.identity.sign(&parcel.statement(&transcript).0);
            parcels.push(parcel);
            outbound.insert(to, Outbound { point, secret, ciphertext });
        }
        let sent = EpochKem { context: base.context, transcript, parcels };
        let next = NodeEpochKem {
            base,
            keys,
            facts: Facts { transcript, coin, members, graph: Arc::new(graph) },
            outbound,
        };
        Ok((next, sent.into()))
    }
}

/// A node that has encapsulated to its peers and waits for the encapsulations to
/// itself.
pub struct NodeEpochKem {
    base: Base,
    keys: EpochKeys,
    facts: Facts,
    outbound: BTreeMap<NodeIndex, Outbound>,
}

impl NodeEpochKem {
    /// Checks signatures and key confirmations and starts the chains. The epoch
    /// keys are wiped. Peers whose parcel is missing or does not confirm have no
    /// chain with this node; the message tells the aggregator which did not confirm.
    ///
    /// # Errors
    /// [`Fault::PeerMisbehaved`] naming the aggregator, also if too few peers are left.
    pub fn on_kems(self, message: &EpochKems) -> Result<(NodeEpoch, NodeMessage), Fault> {
        let Self { base, keys, facts, outbound } = self;
        let (seat, transcript) = (&base.seat, facts.transcript);
        base.check_context(message.context)?;
        if message.transcript != transcript {
            return Err(Fault::aggregator(
                "showed this node other epoch keys than it showed the other nodes",
            ));
        }
        let mut chains: BTreeMap<NodeIndex, ChainKey> = BTreeMap::new();
        let mut without = NodeSet::new(seat.roster.size());
        let mut last = None;
        for parcel in &message.parcels {
            let from = parcel.from;
            if parcel.to != seat.me || last.is_some_and(|last| last >= from) {
                return Err(Fault::aggregator("sent encapsulations twice or to the wrong node"));
            }
            last = Some(from);
            let (Some(mine), Some(key)) = (outbound.get(&from), seat.roster.member(from)) else {
                return Err(Fault::aggregator(format!(
                    "passed on an encapsulation of node {from}, which is no peer in this epoch"
                )));
            };
            if key.verify(&parcel.statement(&transcript).0, &parcel.signature).is_err() {
                return Err(Fault::aggregator(format!(
                    "passed on an encapsulation of node {from} with a bad signature"
                )));
            }
            let secret = keys.decapsulate(&parcel.ciphertext)?;
            let expected =
                confirmation(&transcript, from, seat.me, &parcel.ciphertext, &secret, &mine.point)?;
            if !same(&expected, &parcel.confirmation) {
                without.insert(from);
                continue;
            }
            let outward =
                Direction { from: seat.me, ciphertext: &mine.ciphertext, secret: &mine.secret };
            let inward = Direction { from, ciphertext: &parcel.ciphertext, secret: &secret };
            chains.insert(from, first_link(&transcript, &outward, &inward, &mine.point)?);
        }
        let thresholds = seat.roster.thresholds;
        let (reached, least) = if facts.graph.is_complete() {
            (chains.len() + 1, thresholds.u_min)
        } else {
            (chains.len(), thresholds.shamir_t)
        };
        if reached < usize::from(least) {
            let what = format!(
                "an epoch in which this node reaches {reached} nodes, fewer than {least}; not \
                 confirmed: {without}"
            );
            return Err(Fault::disputed(without.iter().next(), what));
        }
        let done = EpochDone { context: base.context, transcript, without, signature: [0; 64] }
            .signed_by(&seat.identity);
        let epoch = NodeEpoch::begin(seat, base.epoch, facts, chains);
        Ok((epoch, done.into()))
    }
}

/// What this node holds towards a peer before the peer's parcel arrives.
struct Outbound {
    point: SharedPoint,
    secret: KemSecret,
    ciphertext: Box<[u8; KEM_CIPHERTEXT]>,
}

/// What everybody in an epoch agrees on.
pub(super) struct Facts {
    pub(super) transcript: Digest,
    pub(super) coin: Digest,
    pub(super) members: NodeSet,
    pub(super) graph: Arc<Graph>,
}

struct Base {
    seat: NodeSeat,
    epoch: u32,
    context: Digest,
    excluded: NodeSet,
}

impl Base {
    fn check_context(&self, found: Digest) -> Result<(), Fault> {
        if found == self.context {
            return Ok(());
        }
        Err(Fault::aggregator("sent epoch keys of another epoch, job or roster"))
    }

    fn check_roll(&self, hellos: &[HelloEntry], own: &HelloEntry) -> Result<(), Fault> {
        let mut keys = BTreeSet::new();
        let mut last = None;
        for hello in hellos {
            let from = hello.from;
            if last.is_some_and(|last| last >= from) {
                return Err(Fault::aggregator("listed epoch keys twice or out of order"));
            }
            last = Some(from);
            if self.excluded.contains(from) {
                return Err(Fault::aggregator(format!(
                    "listed node {from}, which it had left out of this epoch"
                )));
            }
            let Some(key) = self.seat.roster.member(from) else {
                return Err(Fault::aggregator(format!("listed node {from}, which is nobody")));
            };
            if !hello.is_signed_by(key, &self.context) {
                return Err(Fault::aggregator(format!(
                    "passed on epoch keys of node {from} with a bad signature"
                )));
            }
            if !keys.insert(hello.keys) {
                let what = "offered epoch keys that another node offered".to_owned();
                return Err(Fault::disputed(Some(from), what));
            }
        }
        if !hellos.contains(own) {
            return Err(Fault::aggregator("left out or changed this node's own epoch keys"));
        }
        let least = usize::from(self.seat.roster.thresholds.u_min);
        if hellos.len() < least {
            return Err(Fault::aggregator(format!(
                "began an epoch with {} nodes, fewer than u_min = {least}",
                hellos.len()
            )));
        }
        Ok(())
    }

    /// The graph, the transcript and the joint coin.
    fn graph(
        &self,
        roll: &Digest,
        hellos: &BTreeMap<NodeIndex, HelloEntry>,
        coins: &[(NodeIndex, [u8; 32])],
    ) -> Result<(Graph, Digest, Digest), Fault> {
        let thresholds = &self.seat.roster.thresholds;
        if thresholds.is_complete() {
            if !coins.is_empty() {
                return Err(Fault::aggregator("sent coins where the graph needs none"));
            }
            let coin = Digest::ZERO;
            return Ok((Graph::of(thresholds, &coin), transcript(roll, &coin), coin));
        }
        if !coins.iter().map(|(node, _)| *node).eq(hellos.keys().copied()) {
            return Err(Fault::aggregator("sent other coins than those of the nodes in the epoch"));
        }
        for (node, coin) in coins {
            let commitment = coin_commitment(&self.context, *node, coin);
            if hellos.get(node).is_none_or(|hello| hello.coin != commitment) {
                return Err(Fault::aggregator(format!(
                    "passed on a coin of node {node} that does not open its commitment"
                )));
            }
        }
        let coin = joint_coin(roll, coins);
        Ok((Graph::of(thresholds, &coin), transcript(roll, &coin), coin))
    }
}
