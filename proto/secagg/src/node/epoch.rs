//! Epoch set-up at a node: show fresh keys, encapsulate to everybody, confirm. It
//! knows the roster and the key agreement; the chains that come out of it live in
//! [`super::chains`].
//!
//! An epoch may begin without nodes that cannot be reached: they have no chain,
//! and a cohort that names them is refused until the next epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chains::NodeEpoch;
use crate::agreement::{Direction, EpochKeys, PublicHalves, confirmation, encapsulate, first_link};
use crate::context::epoch_context;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::ids::NodeIndex;
use crate::keys::same;
use crate::messages::{
    EpochHello, EpochHellos, EpochKem, EpochKems, KEM_CIPHERTEXT, KemParcel, NodeMessage,
    SignedMessage as _,
};
use crate::roster::Roster;
use crate::secret::{ChainKey, KemSecret, SharedPoint};

/// A node that has sent its epoch keys and waits for those of the others.
pub struct NodeEpochHello {
    base: Base,
    keys: EpochKeys,
    hello: EpochHello,
}

impl NodeEpochHello {
    /// Draws fresh keys and signs them.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if `me` and `identity` are not that member of the
    /// roster; [`Fault::Crypto`] if the library gives no keys.
    pub fn open(
        roster: Arc<Roster>,
        me: NodeIndex,
        identity: Arc<Identity>,
        epoch: u32,
    ) -> Result<(Self, NodeMessage), Fault> {
        check_identity(&roster, me, &identity)?;
        let (keys, PublicHalves { x25519, kem_key }) = EpochKeys::generate()?;
        let context = epoch_context(&roster, epoch);
        let hello = EpochHello { context, epoch, from: me, x25519, kem_key, signature: [0; 64] }
            .signed_by(&identity);
        let base = Base { roster, me, identity, epoch, context };
        Ok((Self { base, keys, hello: hello.clone() }, hello.into()))
    }

    /// Checks the hellos (signatures, own one unchanged, no key twice, X25519 and
    /// ML-KEM key checks) and encapsulates to every peer.
    ///
    /// # Errors
    /// [`Fault::PeerMisbehaved`] naming whose hello is bad.
    pub fn on_hellos(self, message: EpochHellos) -> Result<(NodeEpochKem, NodeMessage), Fault> {
        let Self { base, keys, hello } = self;
        base.check_context(message.context)?;
        base.check_hellos(&message.hellos, &hello)?;
        let transcript = message.transcript(&base.roster);
        let mut outbound = BTreeMap::new();
        let mut parcels = Vec::with_capacity(message.hellos.len());
        for peer in message.hellos.iter().filter(|peer| peer.from != base.me) {
            let to = peer.from;
            let point = keys
                .agree(&peer.x25519)
                .map_err(|what| Fault::node(to, format!("offered a bad epoch key: {what}")))?;
            let (ciphertext, secret) = encapsulate(&peer.kem_key).ok_or_else(|| {
                Fault::node(
                    to,
                    "offered a bad epoch key: its ML-KEM-768 key fails the FIPS 203 check",
                )
            })?;
            let confirmation =
                confirmation(&transcript, base.me, to, &ciphertext, &secret, &point)?;
            let mut parcel = KemParcel {
                from: base.me,
                to,
                ciphertext: ciphertext.clone(),
                confirmation,
                signature: [0; 64],
            };
            parcel.signature = base.identity.sign(&parcel.statement(&transcript).0);
            parcels.push(parcel);
            outbound.insert(to, Outbound { point, secret, ciphertext });
        }
        let sent = EpochKem { context: base.context, transcript, parcels };
        Ok((NodeEpochKem { base, keys, transcript, outbound }, sent.into()))
    }
}

/// A node that has encapsulated to everybody and waits for the encapsulations to
/// itself.
pub struct NodeEpochKem {
    base: Base,
    keys: EpochKeys,
    transcript: Digest,
    outbound: BTreeMap<NodeIndex, Outbound>,
}

impl NodeEpochKem {
    /// Checks signatures and key confirmations and starts the chains. The epoch
    /// keys are wiped. Peers whose parcel is missing are not in the epoch.
    ///
    /// # Errors
    /// [`Fault::PeerMisbehaved`] naming whose parcel is bad, or the aggregator if
    /// too few peers are left.
    pub fn on_kems(self, message: EpochKems) -> Result<NodeEpoch, Fault> {
        let Self { base, keys, transcript, outbound } = self;
        base.check_context(message.context)?;
        if message.transcript != transcript {
            return Err(Fault::aggregator(
                "showed this node other epoch keys than it showed the other nodes",
            ));
        }
        let mut chains: BTreeMap<NodeIndex, ChainKey> = BTreeMap::new();
        let mut last = None;
        for parcel in &message.parcels {
            let from = parcel.from;
            if parcel.to != base.me || last.is_some_and(|last| last >= from) {
                return Err(Fault::aggregator("sent encapsulations twice or to the wrong node"));
            }
            last = Some(from);
            let (Some(mine), Some(key)) = (outbound.get(&from), base.roster.member(from)) else {
                return Err(Fault::aggregator(format!(
                    "passed on an encapsulation of node {from}, which is not in the epoch"
                )));
            };
            if key.verify(&parcel.statement(&transcript).0, &parcel.signature).is_err() {
                return Err(Fault::aggregator(format!(
                    "passed on an encapsulation of node {from} with a bad signature"
                )));
            }
            let secret = keys.decapsulate(&parcel.ciphertext)?;
            let expected =
                confirmation(&transcript, from, base.me, &parcel.ciphertext, &secret, &mine.point)?;
            if !same(&expected, &parcel.confirmation) {
                return Err(Fault::node(from, "sent a key confirmation that does not fit"));
            }
            let outward =
                Direction { from: base.me, ciphertext: &mine.ciphertext, secret: &mine.secret };
            let inward = Direction { from, ciphertext: &parcel.ciphertext, secret: &secret };
            chains.insert(from, first_link(&transcript, &outward, &inward, &mine.point)?);
        }
        let reached = chains.len() + 1;
        let least = usize::from(base.roster.thresholds.u_min);
        if reached < least {
            return Err(Fault::aggregator(format!(
                "began an epoch with {reached} nodes, fewer than u_min = {least}"
            )));
        }
        Ok(NodeEpoch::begin(&base.roster, base.me, base.epoch, transcript, chains))
    }
}

/// Refuses an identity that is not the member it is said to be.
pub(super) fn check_identity(
    roster: &Roster,
    me: NodeIndex,
    identity: &Identity,
) -> Result<(), Fault> {
    if roster.member(me) == Some(&identity.verifying_key()) {
        return Ok(());
    }
    Err(Fault::misuse(format!("the identity in use is not node {me} of the roster")))
}

/// What this node holds towards a peer before the peer's parcel arrives.
struct Outbound {
    point: SharedPoint,
    secret: KemSecret,
    ciphertext: Box<[u8; KEM_CIPHERTEXT]>,
}

struct Base {
    roster: Arc<Roster>,
    me: NodeIndex,
    identity: Arc<Identity>,
    epoch: u32,
    context: Digest,
}

impl Base {
    fn check_context(&self, found: Digest) -> Result<(), Fault> {
        if found == self.context {
            return Ok(());
        }
        Err(Fault::aggregator("sent epoch keys of another epoch, job or roster"))
    }

    fn check_hellos(&self, hellos: &[EpochHello], own: &EpochHello) -> Result<(), Fault> {
        let mut keys = BTreeSet::new();
        let mut last = None;
        for hello in hellos {
            let from = hello.from;
            if last.is_some_and(|last| last >= from) {
                return Err(Fault::aggregator("listed epoch keys twice or out of order"));
            }
            last = Some(from);
            if hello.context != self.context || hello.epoch != self.epoch {
                return Err(Fault::aggregator(format!(
                    "passed on epoch keys of node {from} from another epoch"
                )));
            }
            let Some(key) = self.roster.member(from) else {
                return Err(Fault::aggregator(format!("listed node {from}, which is nobody")));
            };
            if !hello.is_signed_by(key) {
                return Err(Fault::aggregator(format!(
                    "passed on epoch keys of node {from} with a bad signature"
                )));
            }
            if !keys.insert(hello.x25519.to_vec()) || !keys.insert(hello.kem_key.to_vec()) {
                return Err(Fault::node(from, "offered epoch keys that another node offered"));
            }
        }
        if !hellos.contains(own) {
            return Err(Fault::aggregator("left out or changed this node's own epoch keys"));
        }
        let least = usize::from(self.roster.thresholds.u_min);
        if hellos.len() < least {
            return Err(Fault::aggregator(format!(
                "began an epoch with {} nodes, fewer than u_min = {least}",
                hellos.len()
            )));
        }
        Ok(())
    }
}
