//! The event queue and the network: one ordered stream per node, which breaks as a
//! whole. What is in flight then is lost; after a reconnect both ends send again
//! what the other has not counted, and some frames before that. It knows no phase.

use std::collections::BTreeMap;
use std::fmt;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use tributary_secagg::{Limits, NodeIndex, NodeMessage, ServerMessage};

use super::aggregator::AggregatorHost;
use super::checks::{At, Checks};
use super::node::NodeHost;
use super::plan::{Plan, Step, When, Who, chance, pick};

/// What frames belong to: the set-up of an epoch or one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    Epoch(u32),
    Attempt(At),
}

/// What travels. `place` counts the frames of a session; all are stored for a resend, also
/// turns and uploads, which a sparing program would make again.
#[derive(Clone)]
pub struct Frame {
    pub session: Session,
    pub place: u32,
    pub payload: Payload,
}

#[derive(Clone)]
pub enum Payload {
    /// A frame of the protocol.
    Bytes(Vec<u8>),
    /// From driver to driver: the certificate of a round, for nodes that missed it.
    CatchUp { round: u32, certificate: Vec<u8> },
}

/// What a node's own program does, later.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    Vector,
    Charge,
    State,
}

/// What happens.
pub enum Event {
    ToNode { node: NodeIndex, connection: u32, frame: Frame },
    ToAggregator { node: NodeIndex, connection: u32, frame: Frame },
    Work { node: NodeIndex, life: u32, work: Work },
    Join(NodeIndex),
    Heal(NodeIndex),
    Restart(Who),
    GiveUp { node: NodeIndex, connection: u32, life: u32 },
    Deadline { life: u32, timer: u32, widen: bool },
    State { life: u32 },
    Next { life: u32 },
}

/// One node's stream.
#[derive(Default)]
pub struct Link {
    pub connected: bool,
    pub cut: bool,
    pub connection: u32,
    to_node: u64,
    to_aggregator: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Every round is certified.
    Done,
    /// Named: no further attempt, epoch or node.
    Stopped(String),
}

/// Everything.
pub struct World {
    pub plan: Plan,
    pub limits: Limits,
    pub rng: ChaCha20Rng,
    pub nodes: Vec<NodeHost>,
    pub aggregator: AggregatorHost,
    pub links: Vec<Link>,
    pub checks: Checks,
    pub ending: Option<Ending>,
    pub crashes: u32,
    pub trace: Vec<String>,
    pub now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
}

/// More events than any run of these sizes needs.
const MOST_EVENTS: u32 = 60_000;

impl World {
    pub fn new(plan: Plan) -> Self {
        let (roster, identities, aggregator) = crate::common::parties(plan.thresholds);
        let n = plan.thresholds.n;
        let rng = ChaCha20Rng::seed_from_u64(plan.seed ^ 0x5eed);
        let nodes = (0..n)
            .map(|node| {
                let identity = identities[usize::from(node)].clone();
                NodeHost::new(&roster, NodeIndex(node), identity, &plan)
            })
            .collect();
        let aggregator = AggregatorHost::new(&roster, aggregator, &plan);
        let links = (0..n).map(|_| Link::default()).collect();
        let mut world = Self {
            limits: Limits::for_members(n),
            rng,
            nodes,
            aggregator,
            links,
            checks: Checks::default(),
            ending: None,
            crashes: 0,
            trace: Vec::new(),
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            plan,
        };
        for node in 0..n {
            let wait = pick(&mut world.rng, 0, world.plan.faults.delay);
            world.later(wait, Event::Join(NodeIndex(node)));
        }
        let life = world.aggregator.life;
        let wait = world.plan.faults.delay + 1;
        world.later(wait, Event::Next { life });
        world
    }

    /// Runs to the end, the first violation, or too many events.
    pub fn run(&mut self) {
        for _ in 0..MOST_EVENTS {
            if self.ending.is_some() || self.checks.violation().is_some() {
                return;
            }
            let Some(((time, _), event)) = self.queue.pop_first() else {
                return self.checks.never("nothing happens any more: the run hangs".to_owned());
            };
            self.now = time;
            self.happen(event);
        }
        self.checks.never("the run does not end".to_owned());
    }

    pub fn later(&mut self, wait: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + wait, self.sequence), event);
    }

    pub fn note(&mut self, line: impl fmt::Display) {
        self.trace.push(format!("{:>6} {line}", self.now));
    }

    /// Whether `who` crashes here.
    pub fn crashes_here(&mut self, who: Who, step: Step, when: When) -> bool {
        let parts = match who {
            Who::Node(_) => self.plan.faults.crash,
            Who::Aggregator => self.plan.faults.aggregator_crash,
        };
        let meant = self.plan.crash_at == Some((who, step, when)) && self.crashes == 0;
        if meant || chance(&mut self.rng, parts) {
            self.crashes += 1;
            self.note(format_args!("{who:?} crashes {when:?} {step:?}"));
            return true;
        }
        false
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToNode { node, connection, frame } => {
                if self.arrives(node, connection) {
                    self.node_takes(node, frame);
                }
            }
            Event::ToAggregator { node, connection, frame } => {
                if self.arrives(node, connection) {
                    self.aggregator_takes(node, frame);
                }
            }
            Event::Work { node, life, work } => {
                let host = &self.nodes[usize::from(node.0)];
                if host.up && host.life == life {
                    self.node_works(node, work);
                }
            }
            Event::Join(node) => self.join(node),
            Event::Heal(node) => {
                self.links[usize::from(node.0)].cut = false;
                self.join(node);
            }
            Event::Restart(Who::Node(node)) => self.restart_node(node),
            Event::Restart(Who::Aggregator) => self.restart_aggregator(),
            Event::GiveUp { node, connection, life } => {
                let link = &self.links[usize::from(node.0)];
                if !link.connected && link.connection == connection && self.aggregator.life == life
                {
                    self.give_up(node);
                }
            }
            Event::Deadline { life, timer, widen } => {
                if self.aggregator.life == life && self.aggregator.timer == timer {
                    self.deadline(widen);
                }
            }
            Event::State { life } => {
                if self.aggregator.life == life {
                    self.provide_state();
                }
            }
            Event::Next { life } => {
                if self.aggregator.life == life {
                    self.next();
                }
            }
        }
    }

    /// Whether a frame's connection still stands; now and then it breaks just here.
    fn arrives(&mut self, node: NodeIndex, connection: u32) -> bool {
        let link = &self.links[usize::from(node.0)];
        if !link.connected || link.connection != connection {
            return false;
        }
        if !chance(&mut self.rng, self.plan.faults.breaks) {
            return true;
        }
        // Alone, or with all nodes of the same half.
        let group = chance(&mut self.rng, 2000);
        let half = self.rng.next_u64();
        for other in 0..self.plan.thresholds.n {
            if other == node.0 || (group && half >> (other % 64) & 1 == 1) {
                self.cut(NodeIndex(other));
            }
        }
        false
    }

    /// A connection breaks, and heals unless it is for good.
    fn cut(&mut self, node: NodeIndex) {
        self.links[usize::from(node.0)].cut = true;
        self.disconnect(node);
        if chance(&mut self.rng, self.plan.faults.lasting) {
            self.note(format_args!("link {node} is gone for good"));
        } else {
            let wait = pick(&mut self.rng, 1, 120);
            self.later(wait, Event::Heal(node));
        }
    }

    pub fn disconnect(&mut self, node: NodeIndex) {
        let link = &mut self.links[usize::from(node.0)];
        if !link.connected {
            return;
        }
        link.connected = false;
        let (connection, life) = (link.connection, self.aggregator.life);
        self.note(format_args!("link {node} breaks"));
        let patience = self.plan.faults.patience;
        self.later(patience, Event::GiveUp { node, connection, life });
    }

    /// A node connects and says how far it is.
    pub fn join(&mut self, node: NodeIndex) {
        let up = self.nodes[usize::from(node.0)].up && self.aggregator.up;
        let link = &mut self.links[usize::from(node.0)];
        if !up || link.cut || link.connected {
            return;
        }
        link.connected = true;
        link.connection += 1;
        (link.to_node, link.to_aggregator) = (self.now, self.now);
        self.note(format_args!("link {node} stands"));
        self.send_again(node);
    }

    fn overlap(&mut self) -> u32 {
        pick(&mut self.rng, 0, self.plan.faults.overlap) as u32
    }

    fn send_again(&mut self, node: NodeIndex) {
        let Some(session) = self.aggregator.session else { return };
        let host = &self.nodes[usize::from(node.0)];
        let same = host.session == Some(session);
        let (from, back) = if same {
            (host.received, self.aggregator.received[usize::from(node.0)])
        } else {
            (0, 0)
        };
        if host.is_past(session) {
            return self.give_up(node);
        }
        if same {
            let from = back.saturating_sub(self.overlap());
            for (place, bytes) in
                self.nodes[usize::from(node.0)].outbox.clone().into_iter().enumerate()
            {
                if place >= from as usize {
                    let place = place as u32;
                    self.carry_to_aggregator(
                        node,
                        Frame { session, place, payload: Payload::Bytes(bytes) },
                    );
                }
            }
        }
        let from = from.saturating_sub(self.overlap());
        let outbox = &self.aggregator.outbox[usize::from(node.0)];
        let frames: Vec<Frame> = outbox.iter().skip(from as usize).cloned().collect();
        for frame in frames {
            self.carry_to_node(node, frame);
        }
        self.resume_upload(node);
    }

    pub fn carry_to_node(&mut self, node: NodeIndex, frame: Frame) {
        let (delay, twice) = self.transit();
        let link = &mut self.links[usize::from(node.0)];
        if !link.connected {
            return;
        }
        link.to_node = (self.now + delay).max(link.to_node);
        let (wait, connection) = (link.to_node - self.now, link.connection);
        if twice {
            self.later(wait, Event::ToNode { node, connection, frame: frame.clone() });
        }
        self.later(wait, Event::ToNode { node, connection, frame });
    }

    pub fn carry_to_aggregator(&mut self, node: NodeIndex, frame: Frame) {
        let (delay, twice) = self.transit();
        let link = &mut self.links[usize::from(node.0)];
        if !link.connected {
            return;
        }
        link.to_aggregator = (self.now + delay).max(link.to_aggregator);
        let (wait, connection) = (link.to_aggregator - self.now, link.connection);
        if twice {
            self.later(wait, Event::ToAggregator { node, connection, frame: frame.clone() });
        }
        self.later(wait, Event::ToAggregator { node, connection, frame });
    }

    fn transit(&mut self) -> (u64, bool) {
        let delay = pick(&mut self.rng, 1, self.plan.faults.delay);
        (delay, chance(&mut self.rng, self.plan.faults.twice))
    }

    /// Restarts `who` after a while, unless the crash was for good.
    pub fn comes_back(&mut self, who: Who) {
        let for_good =
            matches!(who, Who::Node(_)) && chance(&mut self.rng, self.plan.faults.lasting);
        if !for_good {
            let wait = pick(&mut self.rng, 1, 80);
            self.later(wait, Event::Restart(who));
        }
    }
}

pub fn decode_node(bytes: &[u8], limits: &Limits) -> NodeMessage {
    NodeMessage::decode(bytes, limits).unwrap()
}

pub fn decode_server(bytes: &[u8], limits: &Limits) -> ServerMessage {
    ServerMessage::decode(bytes, limits).unwrap()
}
