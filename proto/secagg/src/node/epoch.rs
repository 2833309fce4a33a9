//! Epoch set-up at a node, and the key chains that come out of it. It knows the
//! roster and the key agreement; rounds only ask it for keys of a step.
//!
//! An epoch may begin without nodes that cannot be reached: they have no chain,
//! and a cohort that names them is refused until the next epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::agreement::{Direction, EpochKeys, PublicHalves, confirmation, encapsulate, first_link};
use crate::codec::{Reader, Writer};
use crate::context::epoch_context;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::ids::{NodeIndex, NodeSet};
use crate::keys::same;
use crate::messages::{
    EpochHello, EpochHellos, EpochKem, EpochKems, KEM_CIPHERTEXT, KemParcel, NodeMessage,
    SignedMessage as _,
};
use crate::roster::Roster;
use crate::secret::{ChainKey, KemSecret, SharedPoint};

/// How many steps of the ratchet a node hashes forward at once. A jump further
/// than this calls for a new epoch.
pub const MAX_STEPS_AHEAD: u64 = 1 << 16;

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
        Ok(NodeEpoch {
            roster: base.roster.digest(),
            size: base.roster.size(),
            me: base.me,
            epoch: base.epoch,
            transcript,
            max_attempts: None,
            last: None,
            step: 0,
            chains,
        })
    }
}

/// A node's secrets of one epoch: a forward ratchet towards every peer.
///
/// The step number of a chain is `round * max_attempts + attempt`; using a step
/// moves every chain past it for good. A node that was absent hashes forward and
/// cannot be out of step. Store it ([`Self::to_secret_bytes`]) before the commit
/// of an attempt is sent.
pub struct NodeEpoch {
    roster: Digest,
    size: u16,
    me: NodeIndex,
    epoch: u32,
    transcript: Digest,
    max_attempts: Option<u16>,
    last: Option<(u32, u16)>,
    step: u64,
    chains: BTreeMap<NodeIndex, ChainKey>,
}

impl NodeEpoch {
    const FORMAT: u8 = 1;

    /// Number of the epoch.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Transcript of the epoch's hellos.
    #[must_use]
    pub fn transcript(&self) -> Digest {
        self.transcript
    }

    /// The last (round, attempt) this node committed to.
    #[must_use]
    pub fn last_spent(&self) -> Option<(u32, u16)> {
        self.last
    }

    /// The nodes of the epoch: the peers with a chain, and this node.
    #[must_use]
    pub fn members(&self) -> NodeSet {
        NodeSet::of(self.size, self.chains.keys().copied().chain([self.me]))
    }

    /// Everything needed to go on after a restart. The bytes are as secret as the
    /// chains; an older copy must never replace a newer one.
    #[must_use]
    pub fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::with_capacity(256 + self.chains.len() * 32);
        writer.u8(Self::FORMAT);
        writer.raw(&self.roster.0);
        writer.u16(self.me.0);
        writer.u32(self.epoch);
        writer.raw(&self.transcript.0);
        writer.u16(self.max_attempts.unwrap_or(0));
        let (round, attempt) = self.last.unwrap_or((0, 0));
        writer.u8(u8::from(self.last.is_some()));
        writer.u32(round);
        writer.u16(attempt);
        writer.u64(self.step);
        NodeSet::of(self.size, self.chains.keys().copied()).write(&mut writer);
        for chain in self.chains.values() {
            writer.raw(chain.expose());
        }
        Zeroizing::new(writer.finish())
    }

    /// Reads what [`Self::to_secret_bytes`] wrote.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if the bytes are damaged or of another roster.
    pub fn from_secret_bytes(roster: &Roster, bytes: &[u8]) -> Result<Self, Fault> {
        let damaged = |_| Fault::misuse("the stored epoch is damaged; begin a new epoch");
        let epoch = Self::read(&mut Reader::new(bytes), roster.size()).map_err(damaged)?;
        if epoch.roster != roster.digest() {
            return Err(Fault::misuse("the stored epoch belongs to another roster"));
        }
        Ok(epoch)
    }

    pub(super) fn me(&self) -> NodeIndex {
        self.me
    }

    pub(super) fn is_of(&self, roster: &Roster) -> bool {
        self.roster == roster.digest()
    }

    /// The chains at the step of (round, attempt), each given to `derive` with
    /// its peer; afterwards the chains stand one step further and (round,
    /// attempt) is spent. Nothing changes if an error comes first.
    pub(super) fn spend<T>(
        &mut self,
        (round, attempt): (u32, u16),
        max_attempts: u16,
        mut derive: impl FnMut(NodeIndex, &ChainKey) -> Result<T, Fault>,
    ) -> Result<BTreeMap<NodeIndex, T>, Fault> {
        if attempt >= max_attempts {
            return Err(Fault::aggregator(format!(
                "opened attempt {attempt} of round {round}; the job allows {max_attempts}"
            )));
        }
        if self.max_attempts.is_some_and(|known| known != max_attempts) {
            return Err(Fault::misuse("the number of attempts per round changed within an epoch"));
        }
        if let Some((last_round, last_attempt)) = self.last
            && (round, attempt) <= (last_round, last_attempt)
        {
            return Err(Fault::aggregator(format!(
                "opened round {round} attempt {attempt}, but this node is past round \
                 {last_round} attempt {last_attempt}"
            )));
        }
        let step = u64::from(round) * u64::from(max_attempts) + u64::from(attempt);
        let ahead = step.checked_sub(self.step).ok_or_else(|| {
            Fault::aggregator(format!(
                "opened round {round} attempt {attempt}, a step already used"
            ))
        })?;
        if ahead > MAX_STEPS_AHEAD {
            return Err(Fault::misuse(format!(
                "round {round} lies {ahead} steps ahead in this epoch; begin a new epoch"
            )));
        }
        let mut derived = BTreeMap::new();
        let mut next = BTreeMap::new();
        for (peer, chain) in &self.chains {
            let mut forward = None;
            for _ in 0..ahead {
                forward = Some(forward.as_ref().unwrap_or(chain).ratchet()?);
            }
            let current = forward.as_ref().unwrap_or(chain);
            derived.insert(*peer, derive(*peer, current)?);
            next.insert(*peer, current.ratchet()?);
        }
        self.chains = next;
        self.step = step + 1;
        self.last = Some((round, attempt));
        self.max_attempts = Some(max_attempts);
        Ok(derived)
    }

    fn read(reader: &mut Reader<'_>, size: u16) -> Result<Self, crate::DecodeError> {
        let malformed = crate::DecodeError::Malformed("unknown format of a stored epoch");
        if reader.u8()? != Self::FORMAT {
            return Err(malformed);
        }
        let roster = Digest(reader.array()?);
        let me = NodeIndex(reader.u16()?);
        let epoch = reader.u32()?;
        let transcript = Digest(reader.array()?);
        let max_attempts = Some(reader.u16()?).filter(|max| *max > 0);
        let spent = reader.u8()? != 0;
        let last = (reader.u32()?, reader.u16()?);
        let step = reader.u64()?;
        let peers = NodeSet::read(reader, size)?;
        let mut chains = BTreeMap::new();
        for peer in peers.iter() {
            let bytes = Zeroizing::new(reader.array::<32>()?);
            chains.insert(peer, ChainKey::copied(&bytes));
        }
        if !reader.is_empty() {
            return Err(malformed);
        }
        let last = spent.then_some(last);
        Ok(Self { roster, size, me, epoch, transcript, max_attempts, last, step, chains })
    }
}

impl fmt::Debug for NodeEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeEpoch {{ node {}, epoch {}, <redacted> }}", self.me, self.epoch)
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
