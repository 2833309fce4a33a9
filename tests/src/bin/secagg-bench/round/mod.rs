//! `round`: one aggregator process and a process for every node, over mutual TLS 1.3 on the
//! loopback interface. This process makes keys and certificates, starts the others, watches them
//! and prints what the aggregator measured; it takes no part in a round.

mod aggregator;
mod children;
mod hub;
mod node;
mod plan;
mod runner;
mod session;
mod vectors;
mod watch;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

pub use aggregator::run as aggregator_process;
pub use node::run as node_process;

use crate::federation::Size;
use crate::output;
use children::Children;
use plan::Plan;

/// How often the processes are looked at.
const POLL: Duration = Duration::from_millis(20);

/// Options of `round`.
#[derive(Args)]
pub struct RoundArgs {
    #[command(flatten)]
    size: Size,
    /// Timed rounds, after one that is not counted.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Nodes that upload at a time.
    #[arg(long, default_value = "4")]
    uploads: NonZeroUsize,
    /// Threads on which the aggregator's machine adds, unmasks and hashes.
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
    /// Share of the nodes that may be corrupt.
    #[arg(long, default_value_t = 0.2)]
    gamma: f64,
    /// Share of the nodes that may be missing.
    #[arg(long, default_value_t = 0.2)]
    delta: f64,
}

/// Options of a node's process.
#[derive(Args)]
pub struct NodeProcessArgs {
    /// The run's folder.
    #[arg(long)]
    dir: PathBuf,
    /// Which node it is.
    #[arg(long)]
    node: u16,
}

/// Options of the aggregator's process.
#[derive(Args)]
pub struct AggregatorProcessArgs {
    /// The run's folder.
    #[arg(long)]
    dir: PathBuf,
}

/// Runs the sub-command.
///
/// # Errors
/// Which process failed, with the end of what it said; or that the run was interrupted. No process
/// is left behind.
pub fn run(args: &RoundArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            measured = measure(args) => output::print_json(&measured?),
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                bail!("interrupted")
            }
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}

async fn measure(args: &RoundArgs) -> Result<String> {
    let folder = tempfile::Builder::new().prefix("secagg-bench-").tempdir()?;
    let dir = folder.path();
    let plan = Plan {
        size: args.size.clone(),
        rounds: args.rounds,
        uploads: args.uploads,
        threads: args.threads,
        gamma: args.gamma,
        delta: args.delta,
        seed: plan::random_seed()?,
    };
    let nodes = args.size.nodes;
    eprintln!("round: {nodes} nodes, {} parameters; keys and certificates", args.size.dim);
    plan.prepare(dir).context("cannot prepare the run")?;
    let mut children = Children::new(dir)?;
    children.start("aggregator", &["aggregator-process".into()])?;
    while plan::endpoint(dir).is_none() {
        children.check()?;
        tokio::time::sleep(POLL).await;
    }
    for node in 0..nodes {
        let arguments = ["node-process".into(), "--node".into(), node.to_string()];
        children.start(&plan::name(node), &arguments)?;
    }
    eprintln!("round: {} processes started", u32::from(nodes) + 1);
    while children.check()? {
        tokio::time::sleep(POLL).await;
    }
    children.output("aggregator")
}
