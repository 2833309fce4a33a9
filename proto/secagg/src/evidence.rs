//! Proof of a breach that a third party can check with nothing but the roster: the
//! offender's own signed words against each other, or against what they must open
//! to. It knows the messages and the sharing, not the phases.

use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::dealing::{escrow_share_hash, self_share_hash};
use crate::digest::Digest;
use crate::ids::{NodeIndex, Party};
use crate::messages::{
    Kind, NodeMessage, RoundCommit, ServerMessage, ShareRelay, SignedMessage, UnmaskShares,
};
use crate::roster::Roster;
use crate::secret::{EscrowSeed, SelfSeed};
use crate::shamir::Interpolation;

/// Signed messages that together prove who broke the protocol, whoever else lies. The
/// messages are frames as they travelled.
///
/// Only [`Evidence::AlteredRelay`] can be rebutted: a dealer who signed two commits and a
/// holder together can show an honest aggregator's relay beside the other commit, and the
/// aggregator then shows the dealer's [`Evidence::Equivocation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Two different messages of one kind in one context by one party.
    Equivocation {
        /// The one.
        first: Vec<u8>,
        /// The other.
        second: Vec<u8>,
    },
    /// A holder revealed another share than the one it had accepted: its ready names the
    /// relay it worked with, the relay holds the hash of the share.
    BadShare {
        /// The holder's `Ready`.
        ready: Vec<u8>,
        /// The `ShareRelay` that it names.
        relay: Vec<u8>,
        /// The holder's `UnmaskShares`.
        shares: Vec<u8>,
    },
    /// A node revealed another share of its own seed than it had kept.
    BadOwnShare {
        /// Its `RoundCommit`.
        commit: Vec<u8>,
        /// Its `UnmaskShares`.
        shares: Vec<u8>,
    },
    /// Shares that all match the dealer's hashes open to something else than the
    /// dealer had committed to.
    BadDealing {
        /// The dealer's `RoundCommit`; it says who has which slot.
        commit: Vec<u8>,
        /// `UnmaskShares` of `shamir_t` holders.
        shares: Vec<Vec<u8>>,
    },
    /// The aggregator passed on another parcel than the dealer had signed.
    AlteredRelay {
        /// The dealer's `RoundCommit`.
        commit: Vec<u8>,
        /// The aggregator's `ShareRelay` to the holder.
        relay: Vec<u8>,
    },
}

/// Why something is no evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// A frame in it cannot be read.
    #[error("a message in the evidence cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    /// It can be read and proves nothing.
    #[error("it proves nothing: {0}")]
    Inconclusive(&'static str),
}

const NOTHING: EvidenceError = EvidenceError::Inconclusive("every message is as it must be");

impl Evidence {
    /// Who broke the protocol, in words and by name.
    ///
    /// # Errors
    /// [`EvidenceError`] if the messages prove nothing.
    pub fn verify(&self, roster: &Roster) -> Result<(Party, String), EvidenceError> {
        let limits = Limits::for_members(roster.size());
        match self {
            Self::Equivocation { first, second } => equivocation(roster, &limits, first, second),
            Self::BadShare { ready, relay, shares } => {
                bad_share(roster, &limits, ready, relay, shares)
            }
            Self::BadOwnShare { commit, shares } => bad_own_share(roster, &limits, commit, shares),
            Self::BadDealing { commit, shares } => bad_dealing(roster, &limits, commit, shares),
            Self::AlteredRelay { commit, relay } => altered_relay(roster, &limits, commit, relay),
        }
    }

    /// Canonical bytes, for a log or a file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, frames): (u8, Vec<&Vec<u8>>) = match self {
            Self::Equivocation { first, second } => (1, vec![first, second]),
            Self::BadShare { ready, relay, shares } => (2, vec![ready, relay, shares]),
            Self::BadOwnShare { commit, shares } => (5, vec![commit, shares]),
            Self::BadDealing { commit, shares } => {
                (3, [commit].into_iter().chain(shares).collect())
            }
            Self::AlteredRelay { commit, relay } => (4, vec![commit, relay]),
        };
        let mut writer = Writer::new();
        writer.u8(kind);
        writer.count(frames.len());
        for frame in frames {
            writer.chunk(frame);
        }
        writer.finish()
    }

    /// Reads what [`Self::encode`] writes.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are anything else.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let most = limits.members.saturating_add(1);
        let frames = reader.list(most, 4, |reader| reader.blob(limits.max_frame))?;
        reader.finish()?;
        let mut frames = frames.into_iter();
        let missing = DecodeError::Malformed("evidence lacks a message");
        let first = frames.next().ok_or(missing.clone())?;
        let rest: Vec<Vec<u8>> = frames.collect();
        let one = |rest: Vec<Vec<u8>>| match <[Vec<u8>; 1]>::try_from(rest) {
            Ok([frame]) => Ok(frame),
            Err(_) => Err(missing.clone()),
        };
        Ok(match kind {
            1 => Self::Equivocation { first, second: one(rest)? },
            2 => {
                let [relay, shares] =
                    <[Vec<u8>; 2]>::try_from(rest).map_err(|_| missing.clone())?;
                Self::BadShare { ready: first, relay, shares }
            }
            3 => Self::BadDealing { commit: first, shares: rest },
            4 => Self::AlteredRelay { commit: first, relay: one(rest)? },
            5 => Self::BadOwnShare { commit: first, shares: one(rest)? },
            _ => return Err(DecodeError::Malformed("unknown kind of evidence")),
        })
    }
}

fn equivocation(
    roster: &Roster,
    limits: &Limits,
    first: &[u8],
    second: &[u8],
) -> Result<(Party, String), EvidenceError> {
    if first == second {
        return Err(EvidenceError::Inconclusive("the two messages are the same"));
    }
    if let (Ok(one), Ok(other)) =
        (NodeMessage::decode(first, limits), NodeMessage::decode(second, limits))
    {
        if one.kind() != other.kind() || one.context() != other.context() {
            return Err(EvidenceError::Inconclusive("the messages are about different things"));
        }
        let (Some(a), Some(b)) = (one.signed_statement(), other.signed_statement()) else {
            return Err(EvidenceError::Inconclusive("messages of this kind are not signed"));
        };
        if a.0 == b.0 {
            return Err(EvidenceError::Inconclusive("what is signed is the same"));
        }
        let signer =
            roster.members.iter().zip(0u16..).find(|(key, _)| {
                key.verify(&a.0.0, &a.1).is_ok() && key.verify(&b.0.0, &b.1).is_ok()
            });
        let (_, node) =
            signer.ok_or(EvidenceError::Inconclusive("no one member signed both messages"))?;
        let what = format!("signed two different {} messages in one context", one.kind());
        return Ok((Party::Node(NodeIndex(node)), what));
    }
    let one = ServerMessage::decode(first, limits)?;
    let other = ServerMessage::decode(second, limits)?;
    if one.kind() == Kind::Abort {
        return Err(EvidenceError::Inconclusive("every node may hear another reason of an end"));
    }
    if one.kind() != other.kind() || one.context() != other.context() {
        return Err(EvidenceError::Inconclusive("the messages are about different things"));
    }
    let (Some(a), Some(b)) = (one.signed_statement(), other.signed_statement()) else {
        return Err(EvidenceError::Inconclusive("messages of this kind are not signed"));
    };
    if a.0 == b.0 {
        return Err(EvidenceError::Inconclusive("what is signed is the same"));
    }
    let key = &roster.aggregator;
    if key.verify(&a.0.0, &a.1).is_err() || key.verify(&b.0.0, &b.1).is_err() {
        return Err(EvidenceError::Inconclusive("the aggregator did not sign both messages"));
    }
    // Every node gets its own relay, so two of them contradict each other only if they
    // are for one node: their parcels say for whom.
    if let (ServerMessage::ShareRelay(one), ServerMessage::ShareRelay(other)) = (&one, &other) {
        let to = |relay: &ShareRelay| relay.parcels.first().map(|parcel| parcel.to);
        if to(one) != to(other) && one.committed == other.committed {
            return Err(EvidenceError::Inconclusive("the relays are for different nodes"));
        }
    }
    let what = format!("signed two different {} messages in one context", one.kind());
    Ok((Party::Aggregator, what))
}

fn bad_share(
    roster: &Roster,
    limits: &Limits,
    ready: &[u8],
    relay: &[u8],
    shares: &[u8],
) -> Result<(Party, String), EvidenceError> {
    let NodeMessage::Ready(ready) = NodeMessage::decode(ready, limits)? else {
        return Err(EvidenceError::Inconclusive("the first message is no ready"));
    };
    let ServerMessage::ShareRelay(relay) = ServerMessage::decode(relay, limits)? else {
        return Err(EvidenceError::Inconclusive("the second message is no relay"));
    };
    let (holder, shares) = signed_shares(roster, limits, shares)?;
    let signed = roster.member(holder).is_some_and(|key| ready.is_signed_by(key));
    if !signed || ready.relay != relay.statement() || ready.context != shares.context {
        return Err(EvidenceError::Inconclusive("the holder did not accept this relay"));
    }
    for parcel in &relay.parcels {
        let (dealer, ctx) = (parcel.from, &shares.context);
        let wrong_self = shares.self_share(dealer).is_some_and(|share| {
            self_share_hash(ctx, dealer, holder, share) != parcel.self_share_hash
        });
        let wrong_escrow = shares.escrow_share(dealer).is_some_and(|share| {
            escrow_share_hash(ctx, dealer, holder, share) != parcel.escrow_share_hash
        });
        if wrong_self || wrong_escrow {
            let what = format!("revealed another share of node {dealer} than it had accepted");
            return Ok((Party::Node(holder), what));
        }
    }
    Err(NOTHING)
}

fn bad_own_share(
    roster: &Roster,
    limits: &Limits,
    commit: &[u8],
    shares: &[u8],
) -> Result<(Party, String), EvidenceError> {
    let (node, commit) = signed_commit(roster, limits, commit)?;
    let (holder, shares) = signed_shares(roster, limits, shares)?;
    if node != holder || commit.context != shares.context {
        return Err(EvidenceError::Inconclusive("the messages are not of one node in one context"));
    }
    let [of_self, of_escrow] = commit
        .own_share_hashes
        .ok_or(EvidenceError::Inconclusive("the node kept no share of its own"))?;
    let ctx = &commit.context;
    let wrong_self = shares
        .self_share(node)
        .is_some_and(|share| self_share_hash(ctx, node, node, share) != of_self);
    let wrong_escrow = shares
        .escrow_share(node)
        .is_some_and(|share| escrow_share_hash(ctx, node, node, share) != of_escrow);
    if wrong_self || wrong_escrow {
        return Ok((
            Party::Node(node),
            "revealed another share of its own seed than it kept".into(),
        ));
    }
    Err(NOTHING)
}

fn bad_dealing(
    roster: &Roster,
    limits: &Limits,
    commit: &[u8],
    shares: &[Vec<u8>],
) -> Result<(Party, String), EvidenceError> {
    let (dealer, commit) = signed_commit(roster, limits, commit)?;
    let ctx = &commit.context;
    let (mut slots, mut of_self, mut of_escrow) = (Vec::new(), Vec::new(), Vec::new());
    for frame in shares {
        let (holder, shares) = signed_shares(roster, limits, frame)?;
        let published = commit.published(dealer, holder).filter(|_| shares.context == *ctx);
        let (Some([self_hash, escrow_hash]), Some(slot)) = (published, commit.slot(dealer, holder))
        else {
            return Err(EvidenceError::Inconclusive("a holder has no share of this dealer"));
        };
        slots.push(slot);
        let right = |found: Digest, expected: Digest| {
            let wrong = EvidenceError::Inconclusive("a share is not the one that was dealt");
            if found == expected { Ok(()) } else { Err(wrong) }
        };
        if let Some(share) = shares.self_share(dealer) {
            right(self_share_hash(ctx, dealer, holder, share), self_hash)?;
            of_self.push(*share);
        }
        if let Some(share) = shares.escrow_share(dealer) {
            right(escrow_share_hash(ctx, dealer, holder, share), escrow_hash)?;
            of_escrow.push(*share);
        }
    }
    if slots.len() < usize::from(roster.thresholds.shamir_t) {
        return Err(EvidenceError::Inconclusive("too few holders to open the seed"));
    }
    let no_seed = |_| EvidenceError::Inconclusive("the shares open no seed");
    let at = Interpolation::at_zero(&slots).map_err(no_seed)?;
    let open = |shares: &[[u8; 32]]| {
        let shares: Vec<&[u8; 32]> = shares.iter().collect();
        at.secret(&shares).map_err(no_seed)
    };
    let blame = |what: &str| Ok((Party::Node(dealer), what.to_owned()));
    if of_self.len() == slots.len() {
        let seed = open(&of_self)?;
        let seed = SelfSeed::copied(&seed);
        if seed.commitment(ctx, dealer) != commit.self_commitment {
            return blame("shared another self seed than the one it committed to");
        }
    }
    if of_escrow.len() == slots.len() {
        let seed = open(&of_escrow)?;
        let seed = EscrowSeed::copied(&seed);
        if seed.commitment(ctx, dealer) != commit.escrow_commitment {
            return blame("shared another escrow key than the one it committed to");
        }
        for entry in &commit.entries {
            let edge = seed.open(ctx, entry.parcel.to, &entry.sealed_edge);
            if edge.is_ok_and(|edge| edge.tag(ctx) != entry.parcel.edge_tag) {
                return blame("escrowed another edge than the one whose tag it published");
            }
        }
    }
    Err(NOTHING)
}

fn altered_relay(
    roster: &Roster,
    limits: &Limits,
    commit: &[u8],
    relay: &[u8],
) -> Result<(Party, String), EvidenceError> {
    let (dealer, commit) = signed_commit(roster, limits, commit)?;
    let ServerMessage::ShareRelay(relay) = ServerMessage::decode(relay, limits)? else {
        return Err(EvidenceError::Inconclusive("the second message is no relay"));
    };
    if relay.context != commit.context || !relay.is_signed_by(&roster.aggregator) {
        return Err(EvidenceError::Inconclusive("the aggregator did not sign this relay"));
    }
    let passed_on = relay.parcels.iter().find(|parcel| parcel.from == dealer);
    let parcel =
        passed_on.ok_or(EvidenceError::Inconclusive("the relay holds no parcel of the dealer"))?;
    if commit.entry(parcel.to).is_some_and(|entry| entry.parcel != *parcel) {
        let what = format!("altered the shares of node {dealer} for node {}", parcel.to);
        return Ok((Party::Aggregator, what));
    }
    Err(NOTHING)
}

/// A commit and whose it is.
fn signed_commit(
    roster: &Roster,
    limits: &Limits,
    frame: &[u8],
) -> Result<(NodeIndex, RoundCommit), EvidenceError> {
    let NodeMessage::RoundCommit(commit) = NodeMessage::decode(frame, limits)? else {
        return Err(EvidenceError::Inconclusive("the first message is no commit"));
    };
    let signer = signer_of(roster, &commit)?;
    Ok((signer, commit))
}

/// Shares and who revealed them.
fn signed_shares(
    roster: &Roster,
    limits: &Limits,
    frame: &[u8],
) -> Result<(NodeIndex, UnmaskShares), EvidenceError> {
    let NodeMessage::UnmaskShares(shares) = NodeMessage::decode(frame, limits)? else {
        return Err(EvidenceError::Inconclusive("a message holds no shares"));
    };
    let signer = signer_of(roster, &shares)?;
    Ok((signer, shares))
}

fn signer_of<M: SignedMessage>(roster: &Roster, message: &M) -> Result<NodeIndex, EvidenceError> {
    let statement = message.statement();
    let signed = |key: &crate::VerifyingKey| key.verify(&statement.0, message.signature()).is_ok();
    roster
        .members
        .iter()
        .zip(0u16..)
        .find(|(key, _)| signed(key))
        .map(|(_, node)| NodeIndex(node))
        .ok_or(EvidenceError::Inconclusive("nobody on the roster signed a message"))
}
