//! One real round in this process: every node and the aggregator with their own keys, every message
//! as bytes, without a network. The expected share of the nodes vanishes between the grant and its
//! upload, and the sum is held against the vectors.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tributary_secagg::messages::Kind;
use tributary_secagg::{
    Digest, Identity, LaneBits, Lanes, Limits, NodeIndex, NodeMessage, NodeSeat, NodeSet, Roster,
    RoundView, ServerEpoch, ServerMessage, ServerOutput, ServerRound, ServerSeat, hash,
};

use super::party::{Facts, Party, Reply, Result, Vectors, state_of, stopped};
use super::words::{bytes, seconds};
use super::{Settings, thresholds};

/// What a round came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// Nodes in the sum.
    pub survivors: usize,
    /// Nodes that vanished after the grant.
    pub vanished: usize,
    /// Whether the sum is exactly that of the survivors' vectors.
    pub exact: bool,
    /// Bytes that an agency sent, on average.
    pub sent: u64,
    /// Bytes that an agency received, on average.
    pub received: u64,
    /// Seconds of the key agreement, for all parties together on this machine.
    pub key_agreement: f64,
    /// Seconds of the round, for all parties together on this machine.
    pub round: f64,
    /// Of these, at the aggregator.
    pub aggregator: f64,
    /// Agencies that hold the certified result.
    pub certified: usize,
}

/// Runs it. `step` hears what is being done.
///
/// # Errors
/// [`crate::SimulationError::Settings`] if the settings are refused, [`crate::SimulationError::Federation`] if a
/// party does not go on.
pub fn run(
    settings: &Settings,
    threads: NonZeroUsize,
    step: &mut dyn FnMut(&str),
) -> Result<Trial> {
    let mut world = World::new(settings, threads)?;
    step("agreeing on keys");
    let started = Instant::now();
    let (epoch, out) = ServerEpoch::open(&world.server, 1, NodeSet::new(settings.nodes));
    let mut machine = Machine::Epoch(Box::new(epoch));
    world.settle(&mut machine, out)?;
    let Machine::Epoch(epoch) = machine else { return Err(stopped("the key agreement is gone")) };
    let facts = epoch.facts().cloned().ok_or_else(|| stopped("keys were not agreed on"))?;
    let key_agreement = started.elapsed().as_secs_f64();

    step("running the round");
    world.traffic = (0, 0);
    world.aggregator = 0.0;
    let started = Instant::now();
    let cohort = NodeSet::of(settings.nodes, (0..world.cohort).map(NodeIndex));
    let opened = ServerRound::open(&world.server, &facts, world.view.clone(), cohort);
    let (round, out) = opened.map_err(stopped)?;
    let mut machine = Machine::Round(Box::new(round));
    world.vanish_at_grant = true;
    world.settle(&mut machine, out)?;
    let round = started.elapsed().as_secs_f64();
    let (sum, survivors) = world.opened.take().ok_or_else(|| stopped("no sum was opened"))?;
    let nodes = u64::from(world.cohort);
    Ok(Trial {
        survivors: survivors.len(),
        vanished: world.gone.len(),
        exact: sum == expected(&survivors, &world.view),
        sent: world.traffic.0 / nodes,
        received: world.traffic.1 / nodes,
        key_agreement,
        round,
        aggregator: world.aggregator,
        certified: world.parties.iter().filter(|party| party.certified > 0).count(),
    })
}

/// A node's vector: any lanes do that differ between nodes.
struct Made {
    node: NodeIndex,
    view: RoundView,
}

impl Vectors for Made {
    fn vector(&mut self, _: u32) -> Result<Lanes> {
        Ok(expected(&NodeSet::of(u16::MAX, [self.node]), &self.view))
    }

    fn opened(&mut self, _: Lanes) -> Result<()> {
        Ok(())
    }
}

/// The sum of some nodes' vectors.
fn expected(nodes: &NodeSet, view: &RoundView) -> Lanes {
    let mut sum = Lanes::zeros(view.lane_bits, view.vector_len as usize);
    for node in nodes.iter() {
        let of = |lane: usize| {
            (lane as u32).wrapping_mul(2_654_435_761).wrapping_add(u32::from(node.0) * 40_503)
        };
        match &mut sum {
            Lanes::Narrow(words) => {
                words.iter_mut().enumerate().for_each(|(i, w)| *w = w.wrapping_add(of(i) as u16));
            }
            Lanes::Wide(words) => {
                words.iter_mut().enumerate().for_each(|(i, w)| *w = w.wrapping_add(of(i)));
            }
        }
    }
    sum.reduced(view.lane_bits)
}

enum Machine {
    Epoch(Box<ServerEpoch>),
    Round(Box<ServerRound>),
}

struct World {
    server: ServerSeat,
    parties: Vec<Party<Made>>,
    view: RoundView,
    cohort: u16,
    limits: Limits,
    /// Nodes that will vanish, or have.
    gone: NodeSet,
    vanish_at_grant: bool,
    vanished: bool,
    /// Bytes from and to all nodes.
    traffic: (u64, u64),
    aggregator: f64,
    opened: Option<(Lanes, NodeSet)>,
}

impl World {
    fn new(settings: &Settings, threads: NonZeroUsize) -> Result<Self> {
        let thresholds = thresholds(settings)?;
        let n = settings.nodes;
        let identity = |number: u16| Identity::generate().map(|key| (number, Arc::new(key)));
        let keys = (0..=n).map(identity).collect::<std::result::Result<Vec<_>, _>>();
        let keys = keys.map_err(stopped)?;
        let key_of = |number: usize| keys.get(number).map(|(_, key)| key.clone());
        let aggregator = key_of(usize::from(n)).ok_or_else(|| stopped("no key"))?;
        let members = keys.iter().take(usize::from(n)).map(|(_, key)| key.verifying_key());
        let roster = Roster::new(
            hash("trial", &[]),
            members.collect(),
            aggregator.verifying_key(),
            thresholds,
        );
        let roster = Arc::new(roster.map_err(stopped)?);
        let view = RoundView {
            round: 0,
            attempt: 0,
            operation: 1,
            vector_len: settings.dim,
            lane_bits: LaneBits::new(settings.bits).unwrap_or(LaneBits::FULL),
            state_hash: Digest::ZERO,
            params_hash: Digest::ZERO,
            previous: Digest::ZERO,
        };
        let party = |(number, key): &(u16, Arc<Identity>)| {
            let node = NodeIndex(*number);
            let seat = NodeSeat::new(roster.clone(), node, key.clone()).map_err(stopped)?;
            let made = Made { node, view: view.clone() };
            let mut party = Party::new(seat.with_threads(threads), view.clone(), made)?;
            party.catch_up(Facts::START);
            Ok(party)
        };
        let parties = keys.iter().take(usize::from(n)).map(party).collect::<Result<Vec<_>>>()?;
        let cohort = settings.cohort.unwrap_or(n);
        let most = thresholds.tolerated_dropouts(cohort);
        let count = ((f64::from(cohort) * settings.dropout + 1e-9) as u16).min(most);
        // Spread over the roster.
        let place = |k: u16| NodeIndex((k * 2 + 1) * (cohort / (count.max(1) * 2)).max(1) % cohort);
        let server = ServerSeat::new(roster.clone(), aggregator).map_err(stopped)?;
        Ok(Self {
            server: server.with_threads(threads),
            parties,
            view,
            cohort,
            limits: Limits::for_members(n),
            gone: NodeSet::of(n, (0..count).map(place)),
            vanish_at_grant: false,
            vanished: false,
            traffic: (0, 0),
            aggregator: 0.0,
            opened: None,
        })
    }

    /// Carries messages until nobody has any to say.
    fn settle(&mut self, machine: &mut Machine, out: Vec<ServerOutput>) -> Result<()> {
        let mut queue: VecDeque<ServerOutput> = out.into();
        while let Some(output) = queue.pop_front() {
            match output {
                ServerOutput::Send(node, message) => {
                    let to = NodeSet::of(self.server_size(), [node]);
                    queue.extend(self.deliver(machine, &to, &message)?);
                }
                ServerOutput::SendAll(nodes, message) => {
                    queue.extend(self.deliver(machine, &nodes, &message)?);
                }
                ServerOutput::Opened { sum, survivors, sum_root } => {
                    self.opened = Some((sum, survivors));
                    if let Machine::Round(round) = machine {
                        queue.extend(round.provide_state(state_of(&sum_root)));
                    }
                }
                ServerOutput::Certified(_) => {}
                ServerOutput::Aborted(abort) => return Err(stopped(abort)),
                ServerOutput::Evicted { node, why, .. } => {
                    return Err(stopped(format!("node {node}: {why}")));
                }
            }
        }
        Ok(())
    }

    fn server_size(&self) -> u16 {
        self.gone.roster_size()
    }

    /// A message to nodes, and what the aggregator makes of their answers.
    fn deliver(
        &mut self,
        machine: &mut Machine,
        nodes: &NodeSet,
        message: &ServerMessage,
    ) -> Result<Vec<ServerOutput>> {
        let frame = message.encode();
        let mut out = Vec::new();
        for node in nodes.iter() {
            if self.vanished && self.gone.contains(node) {
                continue;
            }
            self.traffic.1 += frame.len() as u64;
            let message = ServerMessage::decode(&frame, &self.limits).map_err(stopped)?;
            let Some(party) = self.parties.get_mut(usize::from(node.0)) else { continue };
            for reply in party.handle(message)? {
                match reply {
                    Reply::Message(message) => out.extend(self.hand_in(machine, node, &message)?),
                    Reply::Upload(upload) => {
                        for message in upload {
                            out.extend(self.hand_in(machine, node, &message)?);
                        }
                    }
                }
            }
        }
        if self.vanish_at_grant && message.kind() == Kind::UploadGrant {
            self.vanished = true;
            let Machine::Round(round) = machine else { return Ok(out) };
            for node in self.gone.iter() {
                out.extend(round.drop_node(node));
            }
        }
        Ok(out)
    }

    fn hand_in(
        &mut self,
        machine: &mut Machine,
        node: NodeIndex,
        message: &NodeMessage,
    ) -> Result<Vec<ServerOutput>> {
        let frame = message.encode();
        self.traffic.0 += frame.len() as u64;
        let message = NodeMessage::decode(&frame, &self.limits).map_err(stopped)?;
        let started = Instant::now();
        let out = match machine {
            Machine::Epoch(epoch) => epoch.handle(node, message),
            Machine::Round(round) => round.handle(node, message),
        };
        self.aggregator += started.elapsed().as_secs_f64();
        out.map_err(stopped)
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "one real round in this process, every party with its own keys")?;
        writeln!(f, "  vanished after the grant         {}", self.vanished)?;
        let exact = if self.exact { "exactly" } else { "NOT" };
        writeln!(
            f,
            "  the sum                          is {exact} that of the {} survivors",
            self.survivors
        )?;
        writeln!(f, "  hold the certified result        {}", self.certified)?;
        writeln!(
            f,
            "  an agency sent, received         {}, {}",
            bytes(self.sent),
            bytes(self.received)
        )?;
        writeln!(f, "  key agreement, all parties       {}", seconds(self.key_agreement))?;
        write!(
            f,
            "  the round, all parties           {}, of it {} at the aggregator",
            seconds(self.round),
            seconds(self.aggregator)
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::secagg::tests::settings;
    use crate::secagg::{Rates, calculate};

    use super::*;

    fn trial(settings: &Settings) -> Trial {
        run(settings, NonZeroUsize::MIN, &mut |_| {}).unwrap()
    }

    #[test]
    fn the_sum_is_exact_and_the_traffic_is_as_calculated() {
        for bits in [32, 26, 12] {
            let settings = Settings { bits, dropout: 0.0, dim: 70_000, ..settings(10) };
            let found = trial(&settings);
            assert!(found.exact && found.survivors == 10 && found.certified == 10, "{found:?}");
            let traffic = calculate(&settings, &Rates::of_reference()).unwrap().traffic;
            assert_eq!(found.sent, traffic.vector_up + traffic.control_up);
            assert_eq!(found.received, traffic.sum_down + traffic.control_down);
        }
    }

    #[test]
    fn who_vanishes_after_the_grant_is_not_in_the_sum() {
        let found = trial(&settings(10));
        assert_eq!((found.vanished, found.survivors, found.certified), (2, 8, 8));
        assert!(found.exact);
        let found = trial(&Settings { cohort: Some(9), ..settings(10) });
        assert_eq!((found.vanished, found.survivors), (1, 8));
    }
}
