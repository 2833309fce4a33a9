//! A roster of nodes of both implementations, its epoch and its rounds.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use tributary_secagg::messages::Kind;
use tributary_secagg::{
    EpochFacts, Fault, Identity, Limits, NodeIndex, NodeMessage, NodeSeat, NodeSet, ResultQc,
    Roster, ServerEpoch, ServerMessage, ServerOutput, ServerRound, ServerSeat, Thresholds,
};

use super::common::{lanes, parties, plain_sum, sends, state_of, words};
use super::own::{Own, Plan, configuration};
use super::python::Python;

pub enum Player {
    Own(Box<Own>),
    Python(Python),
}

/// What the aggregator sends in place of a message; `None` leaves it as it is.
pub type Hook<'a> = Box<dyn Fn(&Identity, &ServerMessage) -> Option<Vec<ServerMessage>> + 'a>;

/// How an epoch or a round goes wrong.
#[derive(Default)]
pub struct Script<'a> {
    /// The node is gone from its first message of this kind on, sent or received.
    pub gone_at: BTreeMap<NodeIndex, Kind>,
    /// The aggregator lies to this node, which is gone then.
    pub lie: Option<(NodeIndex, Hook<'a>)>,
    /// What the aggregator says to this node in place of a message, and does not stop at.
    pub instead: Option<(NodeIndex, Hook<'a>)>,
    /// The upload of this node breaks off behind its first chunk and is resumed.
    pub breaks: Option<NodeIndex>,
}

/// A roster of nodes of both kinds.
pub struct Mixed {
    pub roster: Arc<Roster>,
    pub aggregator: Arc<Identity>,
    pub server: ServerSeat,
    players: Vec<Player>,
    pub plan: Plan,
    pub facts: Option<EpochFacts>,
    pub gone: NodeSet,
}

impl Mixed {
    pub fn new(python: &Path, thresholds: Thresholds, foreign: &[u16], plan: &Plan) -> Self {
        let (roster, identities, aggregator) = parties(thresholds);
        let player = |(node, identity): (u16, &Arc<Identity>)| {
            if foreign.contains(&node) {
                let configuration = configuration(&roster, node, plan);
                return Player::Python(Python::start(python, &configuration));
            }
            let seat = NodeSeat::new(roster.clone(), NodeIndex(node), identity.clone()).unwrap();
            Player::Own(Box::new(Own::new(seat, plan)))
        };
        let players = (0u16..).zip(&identities).map(player).collect();
        let server = ServerSeat::new(roster.clone(), aggregator.clone()).unwrap();
        let gone = NodeSet::new(thresholds.n);
        let plan = plan.clone();
        Self { roster, aggregator, server, players, plan, facts: None, gone }
    }

    /// Takes a message to its node and gives what the node answers. The node may be
    /// gone before, meanwhile or afterwards.
    pub fn deliver(
        &mut self,
        node: NodeIndex,
        message: &ServerMessage,
        script: &Script<'_>,
    ) -> Vec<NodeMessage> {
        let leaves = script.gone_at.get(&node);
        if leaves == Some(&message.kind()) {
            self.gone.insert(node);
        }
        let lie = match &script.lie {
            Some((victim, hook)) if *victim == node => hook(&self.aggregator, message),
            _ => None,
        };
        let lied = lie.is_some();
        let mut answers = Vec::new();
        let instead = match &script.instead {
            Some((at, hook)) if *at == node => hook(&self.aggregator, message),
            _ => None,
        };
        for message in lie.or(instead).unwrap_or_else(|| vec![message.clone()]) {
            if self.gone.contains(node) {
                break;
            }
            let limits = Limits::for_members(self.roster.size());
            let frame = message.encode();
            let frames = match &mut self.players[usize::from(node.0)] {
                Player::Python(python) => python.take(&frame),
                Player::Own(own) => own.take(ServerMessage::decode(&frame, &limits).unwrap()),
            };
            for frame in frames {
                let answer = NodeMessage::decode(&frame, &limits).unwrap();
                if leaves == Some(&answer.kind()) {
                    self.gone.insert(node);
                    break;
                }
                answers.push(answer);
            }
        }
        if lied {
            self.gone.insert(node);
        }
        answers
    }

    /// Sets an epoch up; its members are those who stay to the end.
    pub fn key(&mut self, script: &Script<'_>) {
        let (mut machine, out) =
            ServerEpoch::open(&self.server, 1, NodeSet::new(self.roster.size()));
        let mut queue: VecDeque<_> = sends(out).into();
        for _ in 0..16 {
            while let Some((node, message)) = queue.pop_front() {
                for answer in self.deliver(node, &message, script) {
                    queue.extend(sends(machine.handle(node, answer).unwrap()));
                }
            }
            if machine.is_complete() {
                self.facts = machine.facts().cloned();
                return;
            }
            queue.extend(sends(machine.deadline()));
        }
        panic!("the set-up of the epoch does not end");
    }

    /// Runs the round at a place of the plan with all members and checks its sum.
    pub fn run(&mut self, at: usize, script: &Script<'_>) -> (ResultQc, NodeSet) {
        let (view, vectors) = self.plan.clone().0[at].clone();
        let facts = self.facts.clone().unwrap();
        let bits = view.lane_bits;
        let cohort = facts.members.clone();
        self.gone = NodeSet::new(self.roster.size());
        let (mut server, out) = ServerRound::open(&self.server, &facts, view, cohort).unwrap();
        let mut evicted = NodeSet::new(self.roster.size());
        let mut queue: VecDeque<_> = out.into();
        while let Some(output) = queue.pop_front() {
            match output {
                ServerOutput::Opened { sum, survivors, .. } => {
                    let plain = lanes(bits, &plain_sum(&vectors, &survivors)).reduced(bits);
                    assert_eq!(words(&sum), words(&plain), "the sum is exact");
                    queue.extend(server.provide_state(state_of(&words(&sum))));
                }
                ServerOutput::Certified(quorum) => {
                    assert!(queue.is_empty());
                    return (quorum, evicted);
                }
                ServerOutput::Aborted(abort) => panic!("round {at}: {abort}"),
                ServerOutput::Evicted { node, .. } => {
                    evicted.insert(node);
                }
                output => {
                    for (node, message) in sends(vec![output]) {
                        queue.extend(self.answer(&mut server, node, &message, script));
                    }
                }
            }
        }
        panic!("round {at} stands still: {server:?} waits for {}", server.waiting_for());
    }

    /// One message to one node, and what the aggregator makes of the answers.
    pub fn answer(
        &mut self,
        server: &mut ServerRound,
        node: NodeIndex,
        message: &ServerMessage,
        script: &Script<'_>,
    ) -> Vec<ServerOutput> {
        let was_there = !self.gone.contains(node);
        let mut out = Vec::new();
        let mut answers = self.deliver(node, message, script);
        if script.breaks == Some(node) && message.kind() == Kind::UploadTurn {
            assert!(answers.len() > 2);
            out.extend(server.handle(node, answers.swap_remove(0)).unwrap());
            for (node, turn) in sends(server.resume_upload(node)) {
                answers = self.deliver(node, &turn, script);
            }
        }
        for answer in answers {
            match server.handle(node, answer) {
                Ok(more) => out.extend(more),
                Err(Fault::Stale { .. }) => {}
                Err(fault) => panic!("{fault}"),
            }
        }
        if was_there && self.gone.contains(node) {
            out.extend(server.drop_node(node));
        }
        out
    }

    /// Ends the programs: what every node noted.
    pub fn end(self) -> Vec<Vec<String>> {
        let notes = |player| match player {
            Player::Own(own) => own.notes,
            Player::Python(python) => python.end(),
        };
        self.players.into_iter().map(notes).collect()
    }
}
