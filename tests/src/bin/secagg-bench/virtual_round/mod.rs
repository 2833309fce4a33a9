//! `virtual`: rounds of many nodes inside this process, with every message as bytes and without a
//! network. Some nodes vanish between the grant and their upload. The sum is checked exactly.

mod machines;
mod members;
mod net;

use std::num::NonZeroUsize;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use tributary_secagg::{NodeIndex, NodeSet, ServerEpoch, ServerRound, hash};

use crate::federation::{Federation, Size};
use crate::output;
use crate::usage::peak_rss_bytes;
use machines::{EpochMachine, RoundMachine};
use members::{Member, Use, sum_of};
use net::Net;
use tributary_simulations::secagg::party::Facts;

/// Options of `virtual`.
#[derive(Args)]
pub struct VirtualArgs {
    #[command(flatten)]
    size: Size,
    /// Share of the nodes that vanish after the grant.
    #[arg(long, default_value_t = 0.0)]
    dropout: f64,
    /// Rounds.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Share of the nodes that may be corrupt.
    #[arg(long, default_value_t = 0.1)]
    gamma: f64,
    /// Share of the nodes that may be missing; without it the dropout, but 0.05 at least.
    #[arg(long)]
    delta: Option<f64>,
    /// Threads that work on nodes, and those of the aggregator's machine.
    #[arg(long, default_value = "2")]
    threads: NonZeroUsize,
    /// Nodes that upload at a time.
    #[arg(long, default_value = "4")]
    uploads: NonZeroUsize,
}

#[derive(Serialize)]
struct Line {
    bench: &'static str,
    nodes: u16,
    dim: u32,
    bits: u8,
    dropout: f64,
    vanished: usize,
    gamma: f64,
    delta: f64,
    degree: u16,
    shamir_t: u16,
    u_min: u16,
    quorum: u16,
    threads: usize,
    setup_s: f64,
    round_s: f64,
    rounds_s: Vec<f64>,
    node_setup_cpu_s_mean: f64,
    node_mask_s_mean: f64,
    node_mask_is: &'static str,
    node_cpu_s_mean: f64,
    server_s: f64,
    server_unmask_s: f64,
    exact: bool,
    bytes_up_per_node: f64,
    bytes_down_per_node: f64,
    control_bytes_per_node: f64,
    control_bytes_up_per_node: f64,
    peak_rss_bytes: Option<u64>,
}

/// Runs the sub-command.
///
/// # Errors
/// If there are no thresholds for it, or a machine refuses something.
pub fn run(args: &VirtualArgs) -> Result<()> {
    let (size, nodes) = (&args.size, args.size.nodes);
    let delta = args.delta.unwrap_or(args.dropout.max(0.05));
    let seed = hash("bench virtual", &[&nodes.to_le_bytes()]);
    let federation = Federation::new(size, args.gamma, delta, seed)?;
    let thresholds = federation.roster.thresholds;
    let seat = federation.aggregator(args.uploads, args.threads)?;
    let gone = vanishing(nodes, args.dropout);
    eprintln!("virtual: {nodes} nodes, degree {}; {} vanish", thresholds.degree, gone.len());
    let members = (0..nodes).map(|node| Member::new(&federation, node)).collect::<Result<_>>()?;
    let mut net = Net::new(members, federation.limits(), args.threads);

    let began = Instant::now();
    let (epoch, outputs) = ServerEpoch::open(&seat, 1, NodeSet::new(nodes));
    let mut epoch = EpochMachine(epoch);
    net.run(&mut epoch, outputs)?;
    let setup_s = began.elapsed().as_secs_f64();
    net.report("epoch", setup_s);
    let facts = epoch.0.facts().context("the epoch is not complete")?;
    let set_up = net.take_use().per(usize::from(nodes));

    let mut at = Facts::START;
    let base = federation.view()?;
    let (mut rounds_s, mut exact) = (Vec::new(), true);
    let (mut server_s, mut server_unmask_s) = (0.0, 0.0);
    for round in 0..args.rounds {
        net.catch_up(at, &gone);
        let began = Instant::now();
        let cohort = NodeSet::full(nodes);
        let (server, outputs) = ServerRound::open(&seat, facts, at.view(&base), cohort)?;
        let mut machine = RoundMachine::new(server);
        net.run(&mut machine, outputs)?;
        let round_s = began.elapsed().as_secs_f64();
        net.report(&format!("round {round}"), round_s);
        rounds_s.push(round_s);
        server_s += machine.seconds + net.decode_s;
        server_unmask_s += machine.unmask_s;
        let (sum, survivors) = machine.opened.context("the sum was not opened")?;
        let quorum = machine.certified.context("the round is not certified")?;
        ensure!(
            survivors.len() == usize::from(nodes) - gone.len(),
            "other survivors than expected"
        );
        exact &= sum == sum_of(&survivors, size.dim, base.lane_bits, round);
        at = Facts { round: round + 1, state: quorum.state_hash, previous: quorum.digest() };
    }
    let rounds = f64::from(args.rounds);
    let Use { cpu_s, mask_s, up, down, vector_up, vector_down } = net.take_use();
    let per_node = |value: f64| value / rounds / f64::from(nodes);
    let staying = rounds * (usize::from(nodes) - gone.len()) as f64;
    let bytes = |value: u64| per_node(value as f64);
    output::print(&Line {
        bench: "virtual",
        nodes,
        dim: size.dim,
        bits: size.bits,
        dropout: args.dropout,
        vanished: gone.len(),
        gamma: args.gamma,
        delta,
        degree: thresholds.degree,
        shamir_t: thresholds.shamir_t,
        u_min: thresholds.u_min,
        quorum: thresholds.quorum,
        threads: args.threads.get(),
        setup_s,
        round_s: output::median(&rounds_s),
        rounds_s,
        node_setup_cpu_s_mean: set_up,
        node_mask_s_mean: mask_s / staying,
        node_mask_is: "masks, packing and hashing; processor time",
        node_cpu_s_mean: per_node(cpu_s),
        server_s: server_s / rounds,
        server_unmask_s: server_unmask_s / rounds,
        exact,
        bytes_up_per_node: bytes(up),
        bytes_down_per_node: bytes(down),
        control_bytes_per_node: bytes(up + down - vector_up - vector_down),
        control_bytes_up_per_node: bytes(up - vector_up),
        peak_rss_bytes: peak_rss_bytes(),
    })
}

/// The nodes that vanish, spread over the roster.
fn vanishing(nodes: u16, dropout: f64) -> Vec<NodeIndex> {
    // Truncated: never more than the share that the thresholds tolerate.
    let count = (f64::from(nodes) * dropout.clamp(0.0, 1.0) + 1e-9) as u32;
    let place = |k| (k * u32::from(nodes) + u32::from(nodes) / 2) / count.max(1);
    (0..count).filter_map(|k| u16::try_from(place(k)).ok().map(NodeIndex)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vanishing_are_distinct_and_on_the_roster() {
        for (nodes, dropout, count) in
            [(1000, 0.05, 50), (200, 0.05, 10), (10, 0.1, 1), (5, 0.0, 0)]
        {
            let gone = vanishing(nodes, dropout);
            assert_eq!(gone.len(), count);
            assert_eq!(NodeSet::of(nodes, gone).len(), count);
        }
    }
}
