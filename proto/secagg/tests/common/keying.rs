//! The set-up of an epoch step by step, for tests that change one message of it. Every
//! node has made its hello; nothing has been handed to the aggregator yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tributary_secagg::messages::{
    EpochHello, EpochHellos, EpochKems, EpochPeers, KemParcel, PublicKeys,
};
use tributary_secagg::{
    EpochStart, Fault, Identity, NodeEpochHello, NodeEpochKem, NodeEpochPeers, NodeIndex,
    NodeMessage, NodeSeat, NodeSet, Roster, ServerEpoch, ServerMessage, ServerOutput, ServerSeat,
    Thresholds,
};

use super::{parties, sends};

/// Four nodes, all peers of each other; one may be missing.
pub fn four() -> Thresholds {
    Thresholds::complete_graph(4, 0.0, 0.25, 3).unwrap()
}

/// Sixteen nodes on a ring, each with six neighbours on either side; eight of the twelve
/// open its seeds, so whichever four are missing, everybody's can be opened.
pub fn ring() -> Thresholds {
    let ring = Thresholds { n: 16, corrupt: 0, quorum: 9, shamir_t: 8, u_min: 9, degree: 12 };
    ring.check().unwrap();
    ring
}

pub struct Setup {
    pub roster: Arc<Roster>,
    pub identities: Vec<Arc<Identity>>,
    pub aggregator: Arc<Identity>,
    pub seats: Vec<NodeSeat>,
    pub server: ServerEpoch,
    pub start: EpochStart,
    pub hellos: Vec<EpochHello>,
    nodes: BTreeMap<NodeIndex, NodeEpochHello>,
    /// Everybody's coins and the peers' keys, as the aggregator has them for each node.
    pub peers: BTreeMap<NodeIndex, EpochPeers>,
}

impl Setup {
    pub fn new(thresholds: Thresholds) -> Self {
        let (roster, identities, aggregator) = parties(thresholds);
        let seats: Vec<NodeSeat> = (0u16..)
            .zip(&identities)
            .map(|(node, key)| NodeSeat::new(roster.clone(), NodeIndex(node), key.clone()).unwrap())
            .collect();
        let seat = ServerSeat::new(roster.clone(), aggregator.clone()).unwrap();
        let (server, out) = ServerEpoch::open(&seat, 9, NodeSet::new(roster.size()));
        let Some((_, ServerMessage::EpochStart(start))) = sends(out).pop() else {
            panic!("expected a start")
        };
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let (mut nodes, mut hellos) = (BTreeMap::new(), Vec::new());
        for seat in &seats {
            let (state, hello) = NodeEpochHello::open(seat, &start, &mut rng).unwrap();
            let NodeMessage::EpochHello(hello) = hello else { panic!("expected a hello") };
            nodes.insert(seat.me(), state);
            hellos.push(hello);
        }
        let peers = BTreeMap::new();
        Self { roster, identities, aggregator, seats, server, start, hellos, nodes, peers }
    }

    /// The honest roll.
    pub fn list(&mut self) -> EpochHellos {
        let mut out = Vec::new();
        for hello in self.hellos.clone() {
            out.extend(self.server.handle(hello.entry.from, hello.into()).unwrap());
        }
        let roll = sends(out.clone()).into_iter().find_map(|(_, message)| match message {
            ServerMessage::EpochHellos(list) => Some(list),
            _ => None,
        });
        self.take(out);
        roll.unwrap()
    }

    /// Shows a node the roll.
    pub fn show(
        &mut self,
        node: u16,
        list: &EpochHellos,
    ) -> Result<(NodeEpochPeers, Option<NodeMessage>), Fault> {
        self.nodes.remove(&NodeIndex(node)).unwrap().on_hellos(list)
    }

    /// Everybody has seen the roll and, where there are any, opened its coin.
    pub fn shown(&mut self) -> Vec<NodeEpochPeers> {
        let list = self.list();
        let mut states = Vec::new();
        for node in 0..self.roster.size() {
            let (state, reveal) = self.show(node, &list).unwrap();
            states.push(state);
            if let Some(reveal) = reveal {
                let out = self.server.handle(NodeIndex(node), reveal).unwrap();
                self.take(out);
            }
        }
        states
    }

    /// Everybody has encapsulated; with what the aggregator passes on to each.
    pub fn kems(&mut self) -> Vec<(NodeEpochKem, EpochKems)> {
        let (mut states, mut relayed) = (Vec::new(), Vec::new());
        for (node, state) in (0u16..).map(NodeIndex).zip(self.shown()) {
            let (state, kem) = state.on_peers(self.peers[&node].clone()).unwrap();
            states.push(state);
            relayed.extend(sends(self.server.handle(node, kem).unwrap()));
        }
        let relayed = relayed.into_iter().map(|(_, message)| match message {
            ServerMessage::EpochKems(kems) => kems,
            other => panic!("unexpected {other:?}"),
        });
        states.into_iter().zip(relayed).collect()
    }

    fn take(&mut self, out: Vec<ServerOutput>) {
        for (node, message) in sends(out) {
            if let ServerMessage::EpochPeers(peers) = message {
                self.peers.insert(node, peers);
            }
        }
    }

    /// Signs a hello again, as its node would after changing it.
    pub fn resign_hello(&self, hello: &mut EpochHello) {
        let identity = &self.identities[usize::from(hello.entry.from.0)];
        hello.entry.signature = identity.sign(&hello.entry.statement(&hello.context).0);
    }

    /// Signs a parcel again, as its node would after changing it.
    pub fn resign_parcel(&self, parcel: &mut KemParcel, kems: &EpochKems) {
        let identity = &self.identities[usize::from(parcel.from.0)];
        parcel.signature = identity.sign(&parcel.statement(&kems.transcript).0);
    }
}

/// Puts other keys into a hello and their digest with them; not signed.
pub fn with_keys(hello: &mut EpochHello, change: impl Fn(&mut PublicKeys)) {
    change(&mut hello.keys);
    hello.entry.keys = hello.keys.digest();
}
