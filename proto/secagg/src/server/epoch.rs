//! Epoch set-up at the aggregator: collect the hellos, show all of them to
//! everybody, pass the encapsulations on. It learns no key.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ServerOutput, check_identity};
use crate::context::epoch_context;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::ids::{NodeIndex, NodeSet, Party};
use crate::messages::{
    Abort, AbortReason, EpochHello, EpochHellos, EpochKem, EpochKems, KemParcel, NodeMessage,
    ServerMessage, SignedMessage as _,
};
use crate::roster::Roster;

/// The aggregator's machine for setting up one epoch.
///
/// It waits for every node of the roster. [`Self::deadline`] goes on without the
/// missing ones; they are then no members of the epoch and cannot be invited.
pub struct ServerEpoch {
    roster: Arc<Roster>,
    identity: Arc<Identity>,
    epoch: u32,
    context: Digest,
    stage: Stage,
}

enum Stage {
    Hellos(BTreeMap<NodeIndex, EpochHello>),
    Kems { transcript: Digest, members: NodeSet, kems: BTreeMap<NodeIndex, EpochKem> },
    Complete { transcript: Digest, members: NodeSet },
    Aborted,
}

impl ServerEpoch {
    /// Begins to collect hellos. Epoch numbers of a job increase.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if the identity is not the roster's aggregator.
    pub fn open(roster: Arc<Roster>, identity: Arc<Identity>, epoch: u32) -> Result<Self, Fault> {
        check_identity(&roster, &identity)?;
        let context = epoch_context(&roster, epoch);
        Ok(Self { roster, identity, epoch, context, stage: Stage::Hellos(BTreeMap::new()) })
    }

    /// Takes a hello or the encapsulations of a node. A repetition is ignored.
    ///
    /// # Errors
    /// [`Fault::PeerMisbehaved`] naming the node and what it did, or
    /// [`Fault::Stale`] for messages of another epoch; the message is not taken
    /// and the machine is unchanged.
    pub fn handle(
        &mut self,
        from: NodeIndex,
        message: NodeMessage,
    ) -> Result<Vec<ServerOutput>, Fault> {
        let stale = |what: &str| Fault::Stale { who: Party::Node(from), what: what.to_owned() };
        if self.roster.member(from).is_none() {
            return Err(Fault::misuse(format!("node {from} is not on the roster")));
        }
        if message.context() != self.context {
            return Err(stale("it belongs to another epoch, job or roster"));
        }
        match message {
            NodeMessage::EpochHello(hello) => self.on_hello(from, hello)?,
            NodeMessage::EpochKem(kem) => self.on_kem(from, kem)?,
            other => {
                return Err(Fault::node(from, format!("sent a {} in an epoch", other.kind())));
            }
        }
        Ok(if self.waiting_for().is_empty() { self.close() } else { Vec::new() })
    }

    /// Goes on without the nodes that have not answered, or aborts if fewer than
    /// `u_min` have.
    pub fn deadline(&mut self) -> Vec<ServerOutput> {
        self.close()
    }

    /// The nodes whose answer is still missing.
    #[must_use]
    pub fn waiting_for(&self) -> NodeSet {
        let size = self.roster.size();
        match &self.stage {
            Stage::Hellos(hellos) => {
                NodeSet::full(size).difference(&NodeSet::of(size, hellos.keys().copied()))
            }
            Stage::Kems { members, kems, .. } => {
                members.difference(&NodeSet::of(size, kems.keys().copied()))
            }
            Stage::Complete { .. } | Stage::Aborted => NodeSet::new(size),
        }
    }

    /// Whether every member can now hold its keys.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Complete { .. })
    }

    /// Number of the epoch.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Transcript of the hellos, once the epoch is complete.
    #[must_use]
    pub fn transcript(&self) -> Option<Digest> {
        match &self.stage {
            Stage::Complete { transcript, .. } => Some(*transcript),
            _ => None,
        }
    }

    /// The nodes that may be invited in this epoch, once it is complete.
    #[must_use]
    pub fn members(&self) -> Option<&NodeSet> {
        match &self.stage {
            Stage::Complete { members, .. } => Some(members),
            _ => None,
        }
    }

    fn on_hello(&mut self, from: NodeIndex, hello: EpochHello) -> Result<(), Fault> {
        let refuse = |what: &str| Err(Fault::node(from, what));
        let Stage::Hellos(hellos) = &mut self.stage else { return Ok(()) };
        if hello.from != from || hello.epoch != self.epoch {
            return refuse("sent epoch keys in another node's name or of another epoch");
        }
        if !self.roster.member(from).is_some_and(|key| hello.is_signed_by(key)) {
            return refuse("sent epoch keys with a bad signature");
        }
        for (other, known) in hellos.iter() {
            if *other == from {
                return if *known == hello {
                    Ok(())
                } else {
                    refuse("sent two different epoch keys for one epoch")
                };
            }
            if known.x25519 == hello.x25519 || known.kem_key == hello.kem_key {
                return refuse("offered the epoch keys of another node");
            }
        }
        hellos.insert(from, hello);
        Ok(())
    }

    fn on_kem(&mut self, from: NodeIndex, kem: EpochKem) -> Result<(), Fault> {
        let refuse = |what: &str| Err(Fault::node(from, what));
        let (transcript, members, kems) = match &mut self.stage {
            Stage::Kems { transcript, members, kems } => (transcript, members, kems),
            Stage::Hellos(_) => return refuse("sent encapsulations before it was shown any keys"),
            Stage::Complete { .. } | Stage::Aborted => return Ok(()),
        };
        if let Some(known) = kems.get(&from) {
            return if *known == kem {
                Ok(())
            } else {
                refuse("sent two different sets of encapsulations")
            };
        }
        if kem.transcript != *transcript {
            return refuse("sent encapsulations under another transcript");
        }
        let mut peers = members.clone();
        if !peers.remove(from) {
            return Err(Fault::Stale {
                who: Party::Node(from),
                what: "it is not in the epoch".to_owned(),
            });
        }
        if !kem.parcels.iter().map(|parcel| parcel.to).eq(peers.iter()) {
            return refuse("sent encapsulations for other nodes than its peers");
        }
        let valid = |parcel: &KemParcel| {
            parcel.from == from
                && self.roster.member(from).is_some_and(|key| {
                    key.verify(&parcel.statement(transcript).0, &parcel.signature).is_ok()
                })
        };
        if !kem.parcels.iter().all(valid) {
            return refuse("sent an encapsulation with a bad signature");
        }
        kems.insert(from, kem);
        Ok(())
    }

    fn close(&mut self) -> Vec<ServerOutput> {
        let size = self.roster.size();
        let mut out = Vec::new();
        self.stage = match std::mem::replace(&mut self.stage, Stage::Aborted) {
            Stage::Hellos(hellos) => {
                let members = NodeSet::of(size, hellos.keys().copied());
                if self.too_few(&members, &mut out) {
                    return out;
                }
                let message =
                    EpochHellos { context: self.context, hellos: hellos.into_values().collect() };
                let transcript = message.transcript(&self.roster);
                let message = ServerMessage::from(message);
                for node in members.iter() {
                    out.push(ServerOutput::Send(node, message.clone()));
                }
                Stage::Kems { transcript, members, kems: BTreeMap::new() }
            }
            Stage::Kems { transcript, members: invited, kems } => {
                let members = NodeSet::of(size, kems.keys().copied());
                if self.too_few(&members, &mut out) {
                    return out;
                }
                let late = self.abort(AbortReason::NotIncluded, 0, 0);
                for node in invited.difference(&members).iter() {
                    out.push(ServerOutput::Send(node, late.clone().into()));
                }
                for node in members.iter() {
                    let to_node = |kem: &EpochKem| {
                        kem.parcels.iter().find(|parcel| parcel.to == node).cloned()
                    };
                    let message = EpochKems {
                        context: self.context,
                        transcript,
                        parcels: kems.values().filter_map(to_node).collect(),
                    };
                    out.push(ServerOutput::Send(node, message.into()));
                }
                Stage::Complete { transcript, members }
            }
            over => over,
        };
        out
    }

    fn too_few(&self, members: &NodeSet, out: &mut Vec<ServerOutput>) -> bool {
        let need = self.roster.thresholds.u_min;
        let have = u16::try_from(members.len()).unwrap_or(u16::MAX);
        if have >= need {
            return false;
        }
        let abort = self.abort(AbortReason::TooFewInEpoch, have, need);
        for node in members.iter() {
            out.push(ServerOutput::Send(node, abort.clone().into()));
        }
        out.push(ServerOutput::Aborted(abort));
        true
    }

    fn abort(&self, reason: AbortReason, have: u16, need: u16) -> Abort {
        let blamed = NodeSet::new(self.roster.size());
        Abort { context: self.context, reason, have, need, blamed, signature: [0; 64] }
            .signed_by(&self.identity)
    }
}
