//! Epoch set-up at the aggregator: collect the hellos, show all of them to
//! everybody, collect the coins where the graph needs one, pass keys and
//! encapsulations on. It learns no key.

use std::collections::BTreeMap;

use super::ServerOutput;
use super::seat::{EpochFacts, ServerSeat};
use super::separate::separate;
use crate::agreement::check_keys;
use crate::context::epoch_context;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::graph::Graph;
use crate::ids::{NodeIndex, NodeSet, Party};
use crate::messages::{
    Abort, AbortReason, EpochDone, EpochHello, EpochHellos, EpochKem, EpochKems, EpochPeers,
    EpochReveal, EpochStart, KemParcel, MAX_RESTARTS, NodeMessage, PublicKeys, SignedMessage as _,
    coin_commitment, joint_coin, transcript,
};
use crate::workers;

/// The aggregator's machine for setting up one epoch.
///
/// It waits for every node of the roster. [`Self::deadline`] goes on without the
/// missing ones; they are then no members of the epoch and cannot be invited. Only a
/// coin that is not opened makes the epoch begin anew, without that node: else
/// whoever opens last could choose among graphs for free.
pub struct ServerEpoch {
    seat: ServerSeat,
    epoch: u32,
    restart: u8,
    /// Who was never invited.
    without: NodeSet,
    /// Who did not open a coin in this epoch.
    excluded: NodeSet,
    context: Digest,
    stage: Stage,
}

enum Stage {
    Hellos(BTreeMap<NodeIndex, EpochHello>),
    Reveals { roll: Roll, coins: BTreeMap<NodeIndex, [u8; 32]> },
    Kems { facts: EpochFacts, graph: Graph, kems: BTreeMap<NodeIndex, EpochKem> },
    Dones { facts: EpochFacts, graph: Graph, asked: NodeSet, dones: BTreeMap<NodeIndex, EpochDone> },
    Complete(EpochFacts),
    Aborted,
}

struct Roll {
    hellos: BTreeMap<NodeIndex, EpochHello>,
    digest: Digest,
}

impl ServerEpoch {
    /// Invites every node of the roster but those in `without`, which broke the protocol
    /// or refused the job. Epoch numbers of a job increase.
    #[must_use]
    pub fn open(seat: &ServerSeat, epoch: u32, without: NodeSet) -> (Self, Vec<ServerOutput>) {
        let size = seat.roster.size();
        let mut new = Self {
            seat: seat.clone(),
            epoch,
            restart: 0,
            without,
            excluded: NodeSet::new(size),
            context: Digest::ZERO,
            stage: Stage::Aborted,
        };
        let mut out = Vec::new();
        new.begin(&mut out);
        (new, out)
    }

    /// Takes a node's answer. A repetition is ignored.
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
        if self.seat.roster.member(from).is_none() {
            return Err(Fault::misuse(format!("node {from} is not on the roster")));
        }
        if message.context() != self.context {
            return Err(stale("it belongs to another epoch, job or roster"));
        }
        if self.excluded.contains(from) || self.without.contains(from) {
            return Err(stale("it is left out of this epoch"));
        }
        match message {
            NodeMessage::EpochHello(hello) => self.on_hello(from, hello)?,
            NodeMessage::EpochReveal(reveal) => self.on_reveal(from, &reveal)?,
            NodeMessage::EpochKem(kem) => self.on_kem(from, kem)?,
            NodeMessage::EpochDone(done) => self.on_done(from, done)?,
            other => {
                return Err(Fault::node(from, format!("sent a {} in an epoch", other.kind())));
            }
        }
        let mut out = Vec::new();
        if self.waiting_for().is_empty() {
            self.close(&mut out);
        }
        Ok(out)
    }

    /// Goes on without the nodes that have not answered, or aborts if fewer than
    /// `u_min` have.
    pub fn deadline(&mut self) -> Vec<ServerOutput> {
        let mut out = Vec::new();
        self.close(&mut out);
        out
    }

    /// The nodes whose answer is still missing.
    #[must_use]
    pub fn waiting_for(&self) -> NodeSet {
        let size = self.seat.roster.size();
        match &self.stage {
            Stage::Hellos(hellos) => {
                self.invited().difference(&NodeSet::of(size, hellos.keys().copied()))
            }
            Stage::Reveals { roll, coins } => NodeSet::of(size, roll.hellos.keys().copied())
                .difference(&NodeSet::of(size, coins.keys().copied())),
            Stage::Kems { facts, kems, .. } => {
                facts.members.difference(&NodeSet::of(size, kems.keys().copied()))
            }
            Stage::Dones { asked, dones, .. } => {
                asked.difference(&NodeSet::of(size, dones.keys().copied()))
            }
            Stage::Complete(_) | Stage::Aborted => NodeSet::new(size),
        }
    }

    /// Whether every member holds its keys.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Complete(_))
    }

    /// Number of the epoch.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What came out, once the epoch is complete.
    #[must_use]
    pub fn facts(&self) -> Option<&EpochFacts> {
        match &self.stage {
            Stage::Complete(facts) => Some(facts),
            _ => None,
        }
    }

    fn begin(&mut self, out: &mut Vec<ServerOutput>) {
        let roster = &self.seat.roster;
        self.context = epoch_context(roster, self.epoch, self.restart, &self.excluded);
        self.stage = Stage::Hellos(BTreeMap::new());
        let excluded = self.excluded.clone();
        let start =
            EpochStart::new(roster, &self.seat.identity, self.epoch, self.restart, excluded);
        out.push(ServerOutput::SendAll(self.invited(), start.into()));
    }

    fn invited(&self) -> NodeSet {
        let everybody = NodeSet::full(self.seat.roster.size());
        everybody.difference(&self.excluded).difference(&self.without)
    }

    fn on_hello(&mut self, from: NodeIndex, hello: EpochHello) -> Result<(), Fault> {
        let refuse = |what: &str| Err(Fault::node(from, what));
        let context = self.context;
        let Stage::Hellos(hellos) = &mut self.stage else { return Ok(()) };
        if hello.entry.from != from {
            return refuse("sent epoch keys in another node's name");
        }
        let key = self.seat.roster.member(from);
        if !key.is_some_and(|key| hello.entry.is_signed_by(key, &context)) {
            return refuse("sent epoch keys with a bad signature");
        }
        if hello.entry.keys != hello.keys.digest() {
            return refuse("sent other epoch keys than it signed");
        }
        for (other, known) in hellos.iter() {
            if *other == from {
                return if *known == hello {
                    Ok(())
                } else {
                    refuse("sent two different epoch keys for one epoch")
                };
            }
            if known.keys.x25519 == hello.keys.x25519 || known.keys.kem_key == hello.keys.kem_key {
                return refuse("offered the epoch keys of another node");
            }
        }
        // Whoever offers a bad key is left out here, or every peer would refuse the epoch.
        if let Err(what) = check_keys(&hello.keys) {
            return Err(Fault::node(from, format!("offered a bad epoch key: {what}")));
        }
        hellos.insert(from, hello);
        Ok(())
    }

    fn on_reveal(&mut self, from: NodeIndex, reveal: &EpochReveal) -> Result<(), Fault> {
        let refuse = |what: &str| Err(Fault::node(from, what));
        let context = self.context;
        let (roll, coins) = match &mut self.stage {
            Stage::Reveals { roll, coins } => (roll, coins),
            Stage::Hellos(_) => return refuse("opened its coin before it was shown the others'"),
            _ => return Ok(()),
        };
        let Some(hello) = roll.hellos.get(&from) else {
            let what = "it is not in the epoch".to_owned();
            return Err(Fault::Stale { who: Party::Node(from), what });
        };
        if reveal.roll != roll.digest {
            return refuse("opened its coin for another roll");
        }
        if coin_commitment(&context, from, &reveal.coin) != hello.entry.coin {
            return refuse("sent a coin that does not open its commitment");
        }
        coins.insert(from, reveal.coin);
        Ok(())
    }

    fn on_kem(&mut self, from: NodeIndex, kem: EpochKem) -> Result<(), Fault> {
        let refuse = |what: &str| Err(Fault::node(from, what));
        let (facts, graph, kems) = match &mut self.stage {
            Stage::Kems { facts, graph, kems } => (facts, graph, kems),
            Stage::Hellos(_) | Stage::Reveals { .. } => {
                return refuse("sent encapsulations before it was shown any keys");
            }
            _ => return Ok(()),
        };
        if let Some(known) = kems.get(&from) {
            return if *known == kem {
                Ok(())
            } else {
                refuse("sent two different sets of encapsulations")
            };
        }
        if kem.transcript != facts.transcript {
            return refuse("sent encapsulations under another transcript");
        }
        if !facts.members.contains(from) {
            let what = "it is not in the epoch".to_owned();
            return Err(Fault::Stale { who: Party::Node(from), what });
        }
        let peers = graph.peers(from).intersection(&facts.members);
        if !kem.parcels.iter().map(|parcel| parcel.to).eq(peers.iter()) {
            return refuse("sent encapsulations for other nodes than its peers");
        }
        let Some(key) = self.seat.roster.member(from) else { return Ok(()) };
        let valid = |parcel: &KemParcel| {
            let statement = parcel.statement(&facts.transcript);
            parcel.from == from && key.verify(&statement.0, &parcel.signature).is_ok()
        };
        let checked = workers::map(self.seat.threads, kem.parcels.iter().collect(), valid);
        if !checked.into_iter().all(|valid| valid) {
            return refuse("sent an encapsulation with a bad signature");
        }
        kems.insert(from, kem);
        Ok(())
    }

    fn on_done(&mut self, from: NodeIndex, done: EpochDone) -> Result<(), Fault> {
        let refuse = |what: &str| Err(Fault::node(from, what));
        let (facts, graph, asked, dones) = match &mut self.stage {
            Stage::Dones { facts, graph, asked, dones } => (facts, graph, asked, dones),
            Stage::Complete(_) | Stage::Aborted => return Ok(()),
            _ => return refuse("confirmed keys that it cannot have"),
        };
        if !asked.contains(from) {
            let what = "it is not in the epoch".to_owned();
            return Err(Fault::Stale { who: Party::Node(from), what });
        }
        if done.transcript != facts.transcript {
            return refuse("confirmed keys under another transcript");
        }
        if !self.seat.roster.member(from).is_some_and(|key| done.is_signed_by(key)) {
            return refuse("confirmed its keys with a bad signature");
        }
        if !done.without.is_subset(&graph.peers(from).intersection(asked)) {
            return refuse("complained about nodes that confirmed nothing to it");
        }
        match dones.get(&from) {
            Some(known) if *known != done => {
                return refuse("confirmed its keys in two different ways");
            }
            _ => {}
        }
        dones.insert(from, done);
        Ok(())
    }

    fn close(&mut self, out: &mut Vec<ServerOutput>) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Aborted) {
            Stage::Hellos(hellos) => self.close_hellos(hellos, out),
            Stage::Reveals { roll, coins } => self.close_reveals(roll, coins, out),
            Stage::Kems { facts, graph, kems } => self.close_kems(facts, graph, &kems, out),
            Stage::Dones { facts, asked, dones, .. } => {
                self.close_dones(facts, &asked, &dones, out)
            }
            over => over,
        };
    }

    fn close_hellos(
        &mut self,
        hellos: BTreeMap<NodeIndex, EpochHello>,
        out: &mut Vec<ServerOutput>,
    ) -> Stage {
        let roster = &self.seat.roster;
        let members = NodeSet::of(roster.size(), hellos.keys().copied());
        if self.too_few(&members, out) {
            return Stage::Aborted;
        }
        let entries = hellos.values().map(|hello| hello.entry.clone()).collect();
        let message = EpochHellos { context: self.context, hellos: entries };
        let roll = Roll { hellos, digest: message.roll(roster) };
        out.push(ServerOutput::SendAll(members, message.into()));
        if roster.thresholds.is_complete() {
            return self.show_peers(roll, Vec::new(), Digest::ZERO, out);
        }
        Stage::Reveals { roll, coins: BTreeMap::new() }
    }

    fn close_reveals(
        &mut self,
        roll: Roll,
        coins: BTreeMap<NodeIndex, [u8; 32]>,
        out: &mut Vec<ServerOutput>,
    ) -> Stage {
        let silent: Vec<NodeIndex> =
            roll.hellos.keys().filter(|node| !coins.contains_key(node)).copied().collect();
        if silent.is_empty() {
            let coins: Vec<_> = coins.into_iter().collect();
            let coin = joint_coin(&roll.digest, &coins);
            return self.show_peers(roll, coins, coin, out);
        }
        for node in silent {
            self.excluded.insert(node);
            let why = "it did not open its coin for the graph".to_owned();
            out.push(ServerOutput::Evicted { node, why, evidence: None });
        }
        let left = self.invited();
        if self.restart >= MAX_RESTARTS || self.too_few(&left, out) {
            if self.restart >= MAX_RESTARTS {
                let abort = self.abort(AbortReason::CoinNotOpened, 0, 0);
                out.push(ServerOutput::SendAll(left, abort.clone().into()));
                out.push(ServerOutput::Aborted(abort));
            }
            return Stage::Aborted;
        }
        self.restart += 1;
        self.begin(out);
        std::mem::replace(&mut self.stage, Stage::Aborted)
    }

    fn show_peers(
        &self,
        roll: Roll,
        coins: Vec<(NodeIndex, [u8; 32])>,
        coin: Digest,
        out: &mut Vec<ServerOutput>,
    ) -> Stage {
        let roster = &self.seat.roster;
        let members = NodeSet::of(roster.size(), roll.hellos.keys().copied());
        let graph = Graph::of(&roster.thresholds, &coin);
        for node in members.iter() {
            let peers = graph.peers(node).intersection(&members);
            let keys_of = |peer: NodeIndex| -> Option<(NodeIndex, PublicKeys)> {
                roll.hellos.get(&peer).map(|hello| (peer, hello.keys.clone()))
            };
            let keys = peers.iter().filter_map(keys_of).collect();
            let message = EpochPeers { context: self.context, coins: coins.clone(), keys };
            out.push(ServerOutput::Send(node, message.into()));
        }
        let transcript = transcript(&roll.digest, &coin);
        let facts = EpochFacts { epoch: self.epoch, transcript, coin, members };
        Stage::Kems { facts, graph, kems: BTreeMap::new() }
    }

    fn close_kems(
        &self,
        facts: EpochFacts,
        graph: Graph,
        kems: &BTreeMap<NodeIndex, EpochKem>,
        out: &mut Vec<ServerOutput>,
    ) -> Stage {
        // A node that would reach too few peers could only refuse the epoch.
        let answered = NodeSet::of(self.seat.roster.size(), kems.keys().copied());
        let members = graph.openable(answered, self.seat.roster.thresholds.shamir_t);
        if self.too_few(&members, out) {
            return Stage::Aborted;
        }
        self.leave_out(&facts.members.difference(&members), out);
        for node in members.iter() {
            let to_node = |peer: NodeIndex| {
                let parcels = &kems.get(&peer)?.parcels;
                let at = parcels.binary_search_by_key(&node, |parcel| parcel.to).ok()?;
                parcels.get(at).cloned()
            };
            let message = EpochKems {
                context: self.context,
                transcript: facts.transcript,
                parcels: graph
                    .peers(node)
                    .intersection(&members)
                    .iter()
                    .filter_map(to_node)
                    .collect(),
            };
            out.push(ServerOutput::Send(node, message.into()));
        }
        Stage::Dones { facts, graph, asked: members, dones: BTreeMap::new() }
    }

    /// Whoever did not confirm to a peer is one word against another: the node with
    /// the most against it is left out of the epoch, and both if they are level.
    fn close_dones(
        &self,
        facts: EpochFacts,
        asked: &NodeSet,
        dones: &BTreeMap<NodeIndex, EpochDone>,
        out: &mut Vec<ServerOutput>,
    ) -> Stage {
        let mut members = NodeSet::of(self.seat.roster.size(), dones.keys().copied());
        let asked_all = members.clone();
        let pairs = dones
            .iter()
            .flat_map(|(node, done)| done.without.iter().map(|other| (*node, other)))
            .filter(|(_, other)| members.contains(*other))
            .collect();
        for (node, against) in separate(pairs, &asked_all, self.seat.roster.thresholds.corrupt) {
            members.remove(node);
            let why = format!("its key confirmation and that of node {against} do not fit");
            out.push(ServerOutput::Evicted { node, why, evidence: None });
        }
        if self.too_few(&members, out) {
            return Stage::Aborted;
        }
        self.leave_out(&asked.difference(&members), out);
        Stage::Complete(EpochFacts { members, ..facts })
    }

    fn leave_out(&self, late: &NodeSet, out: &mut Vec<ServerOutput>) {
        if !late.is_empty() {
            let abort = self.abort(AbortReason::NotIncluded, 0, 0);
            out.push(ServerOutput::SendAll(late.clone(), abort.into()));
        }
    }

    fn too_few(&self, members: &NodeSet, out: &mut Vec<ServerOutput>) -> bool {
        let need = self.seat.roster.thresholds.u_min;
        let have = u16::try_from(members.len()).unwrap_or(u16::MAX);
        if have >= need {
            return false;
        }
        let abort = self.abort(AbortReason::TooFewInEpoch, have, need);
        out.push(ServerOutput::SendAll(members.clone(), abort.clone().into()));
        out.push(ServerOutput::Aborted(abort));
        true
    }

    fn abort(&self, reason: AbortReason, have: u16, need: u16) -> Abort {
        let blamed = self.excluded.clone();
        Abort { context: self.context, reason, have, need, blamed, signature: [0; 64] }
            .signed_by(&self.seat.identity)
    }
}
