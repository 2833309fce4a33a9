//! The key chains of an epoch at a node: one forward ratchet per peer, their
//! storage, and the rule that a step is used once. It knows no message.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::codec::{Reader, Writer};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::graph::Graph;
use crate::ids::{NodeIndex, NodeSet};
use crate::roster::Roster;
use crate::secret::ChainKey;

use super::epoch::Facts;
use super::seat::NodeSeat;

/// How many steps of the ratchet a node hashes forward at once. A jump further
/// than this calls for a new epoch.
pub const MAX_STEPS_AHEAD: u64 = 1 << 16;

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
    coin: Digest,
    members: NodeSet,
    graph: Arc<Graph>,
    max_attempts: Option<u16>,
    last: Option<(u32, u16)>,
    step: u64,
    chains: BTreeMap<NodeIndex, ChainKey>,
}

impl NodeEpoch {
    const FORMAT: u8 = 2;

    /// The chains of a fresh epoch, at step zero.
    pub(super) fn begin(
        seat: &NodeSeat,
        epoch: u32,
        facts: Facts,
        chains: BTreeMap<NodeIndex, ChainKey>,
    ) -> Self {
        let Facts { transcript, coin, members, graph } = facts;
        Self {
            roster: seat.roster.digest(),
            size: seat.roster.size(),
            me: seat.me,
            epoch,
            transcript,
            coin,
            members,
            graph,
            max_attempts: None,
            last: None,
            step: 0,
            chains,
        }
    }

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

    /// The nodes on the roll of the epoch.
    #[must_use]
    pub fn members(&self) -> &NodeSet {
        &self.members
    }

    /// The peers this node shares a key with.
    #[must_use]
    pub fn reached(&self) -> NodeSet {
        NodeSet::of(self.size, self.chains.keys().copied())
    }

    /// Who shares keys and masks with whom.
    #[must_use]
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Everything needed to go on after a restart. The bytes are as secret as the
    /// chains; an older copy must never replace a newer one.
    #[must_use]
    pub fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        let sets = 2 * usize::from(self.size).div_ceil(8);
        let mut writer = Writer::with_capacity(256 + sets + self.chains.len() * 32);
        writer.u8(Self::FORMAT);
        writer.raw(&self.roster.0);
        writer.u16(self.me.0);
        writer.u32(self.epoch);
        writer.raw(&self.transcript.0);
        writer.raw(&self.coin.0);
        self.members.write(&mut writer);
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
        let epoch = Self::read(&mut Reader::new(bytes), roster).map_err(damaged)?;
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

    fn read(reader: &mut Reader<'_>, of: &Roster) -> Result<Self, crate::DecodeError> {
        let size = of.size();
        let malformed = crate::DecodeError::Malformed("unknown format of a stored epoch");
        if reader.u8()? != Self::FORMAT {
            return Err(malformed);
        }
        let roster = Digest(reader.array()?);
        let me = NodeIndex(reader.u16()?);
        let epoch = reader.u32()?;
        let transcript = Digest(reader.array()?);
        let coin = Digest(reader.array()?);
        let members = NodeSet::read(reader, size)?;
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
        let graph = Arc::new(Graph::of(&of.thresholds, &coin));
        Ok(Self {
            roster,
            size,
            me,
            epoch,
            transcript,
            coin,
            members,
            graph,
            max_attempts,
            last,
            step,
            chains,
        })
    }
}

impl fmt::Debug for NodeEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeEpoch {{ node {}, epoch {}, <redacted> }}", self.me, self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn epoch() -> NodeEpoch {
        let thresholds = crate::Thresholds::complete_graph(3, 0.0, 0.0, 0).unwrap();
        let chains = [1u16, 2].map(|peer| (NodeIndex(peer), ChainKey::copied(&[peer as u8; 32])));
        NodeEpoch {
            roster: Digest::ZERO,
            size: 3,
            me: NodeIndex(0),
            epoch: 1,
            transcript: Digest::ZERO,
            coin: Digest::ZERO,
            members: NodeSet::full(3),
            graph: Arc::new(Graph::of(&thresholds, &Digest::ZERO)),
            max_attempts: None,
            last: None,
            step: 0,
            chains: BTreeMap::from(chains),
        }
    }

    fn spend(epoch: &mut NodeEpoch, at: (u32, u16)) -> Result<Vec<[u8; 32]>, Fault> {
        let keys = epoch.spend(at, 3, |_, chain| chain.edge(&Digest::ZERO))?;
        Ok(keys.values().map(|key| *key.expose()).collect())
    }

    #[test]
    fn an_absent_node_finds_the_same_keys() {
        let (mut present, mut absent) = (epoch(), epoch());
        let mut seen = BTreeSet::new();
        for at in [(0, 0), (0, 1), (1, 0), (1, 2), (2, 0)] {
            for key in spend(&mut present, at).unwrap() {
                assert!(seen.insert(key), "no key comes twice");
            }
        }
        assert_eq!(spend(&mut absent, (2, 1)).unwrap(), spend(&mut present, (2, 1)).unwrap());
        assert_eq!(*present.to_secret_bytes(), *absent.to_secret_bytes());
    }

    #[test]
    fn used_links_are_gone() {
        let mut epoch = epoch();
        let first = *epoch.chains[&NodeIndex(1)].expose();
        spend(&mut epoch, (0, 0)).unwrap();
        let bytes = epoch.to_secret_bytes();
        assert!(!bytes.windows(32).any(|window| window == first));
        let next = ChainKey::copied(&first).ratchet().unwrap();
        assert!(bytes.windows(32).any(|window| window == next.expose()));
    }

    #[test]
    fn refusals_leave_the_epoch_unchanged() {
        let mut epoch = epoch();
        spend(&mut epoch, (1, 1)).unwrap();
        let before = epoch.to_secret_bytes();
        for at in [(1, 1), (1, 0), (0, 2), (2, 3)] {
            assert!(matches!(spend(&mut epoch, at), Err(Fault::PeerMisbehaved { .. })), "{at:?}");
        }
        assert!(matches!(spend(&mut epoch, (60_000, 0)), Err(Fault::Misuse { .. })));
        let other = epoch.spend((2, 0), 4, |_, chain| chain.edge(&Digest::ZERO));
        assert!(matches!(other, Err(Fault::Misuse { .. })));
        assert_eq!(*epoch.to_secret_bytes(), *before);
        assert!(format!("{epoch:?}").contains("<redacted>"));
    }
}
