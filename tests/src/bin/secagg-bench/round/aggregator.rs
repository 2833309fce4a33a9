//! The aggregator's process: a server of the transport, and one thread, this one, that owns the
//! protocol's machine. It prints what was measured.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tributary_transport::{
    Revocations, ServerCredentials, ServerOptions, ServerTls, TransportError, TrustDomain, routes,
    serve,
};

use super::AggregatorProcessArgs;
use super::hub::{FrameBytes, Hub};
use super::plan::{self, Plan};
use super::runner::{Measured, Runner};
use super::session::{Event, NoEnrolment, Sessions};
use super::watch::end_with_parent;
use crate::federation::Federation;
use crate::output::{self, Spread};
use crate::usage::{Cpu, peak_rss_bytes};

/// Messages that may wait for the machine, from all nodes together.
const WAITING: usize = 8;
/// Processes that compute on few cores answer late; that is no fault of theirs.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Serialize)]
struct Line {
    bench: &'static str,
    nodes: u16,
    dim: u32,
    bits: u8,
    uploads: usize,
    threads: usize,
    quorum: u16,
    round_s: Spread,
    rounds_s: Vec<f64>,
    wall_s_per_round: f64,
    phases: BTreeMap<&'static str, f64>,
    /// Time inside the aggregator's machine, of `round_s`.
    machine_s: f64,
    setup_s: f64,
    peak_rss_bytes: Option<u64>,
    model_bytes: u64,
    bytes_up_per_parameter: f64,
    bytes_down_per_parameter: f64,
    control_bytes_up_per_node: f64,
    control_bytes_down_per_node: f64,
    bytes_are: &'static str,
    cpu_s_per_round: CpuLine,
    transport: &'static str,
    processes: u32,
    max_abs_error: f64,
    quantisation_step: f64,
    within_step: bool,
    exact: bool,
}

#[derive(Serialize)]
struct CpuLine {
    aggregator: Cpu,
    all_nodes: Cpu,
}

/// Runs the aggregator of a run and prints its line.
///
/// # Errors
/// If a node is lost or anything breaks the protocol.
pub fn run(args: &AggregatorProcessArgs) -> Result<()> {
    end_with_parent();
    let plan = Plan::read(&args.dir)?;
    let federation = plan.federation()?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let (events, inbox) = mpsc::channel(WAITING);
    let (stop, stopped) = oneshot::channel();
    let server = runtime.block_on(listen(&args.dir, &federation, events, stopped))?;
    let hub = Hub::new(inbox, runtime.handle().clone());
    // The hub goes with the runner: then the sessions end, and the nodes with them.
    let line = measure(&plan, federation, hub, &args.dir)?;
    // Nobody waits for it if it is gone already.
    let _ = stop.send(());
    runtime.block_on(server).context("the server broke")??;
    output::print(&line)
}

async fn listen(
    dir: &Path,
    federation: &Federation,
    events: mpsc::Sender<Event>,
    stopped: oneshot::Receiver<()>,
) -> Result<JoinHandle<Result<(), TransportError>>> {
    let credentials = ServerCredentials::load(&dir.join("aggregator"))?;
    let revoked = Revocations::new([]);
    let domain = TrustDomain::default();
    let tls = ServerTls::new(&credentials, plan::authority(dir)?.as_str(), domain, revoked.list())?;
    let options = ServerOptions {
        handshake_timeout: PATIENCE,
        keep_alive_interval: PATIENCE,
        keep_alive_timeout: PATIENCE,
        // All nodes are on this machine.
        max_handshakes_per_address: usize::MAX,
        ..ServerOptions::default()
    };
    let sessions = Sessions { events, limits: federation.limits(), job: federation.job() };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen")?;
    let address = listener.local_addr()?;
    let shutdown = async move {
        // Whoever holds the other end and is gone wants the same.
        let _ = stopped.await;
        drop(revoked);
    };
    let routes = routes(NoEnrolment, sessions);
    let server = tokio::spawn(serve(listener, Arc::new(tls), routes, options, shutdown));
    plan::announce(dir, &format!("https://{address}"))?;
    Ok(server)
}

fn measure(plan: &Plan, federation: Federation, mut hub: Hub, dir: &Path) -> Result<Line> {
    let size = federation.size.clone();
    let quorum = federation.roster.thresholds.quorum;
    hub.gather(size.nodes)?;
    let mut runner = Runner::new(plan, federation, hub, dir)?;
    let setup_s = runner.set_up()?;
    let warm_up = runner.round()?;
    let (up, down) = (runner.hub.up, runner.hub.down);
    let (own_cpu, started) = (Cpu::of_process(), Instant::now());
    let rounds = (0..plan.rounds).map(|_| runner.round()).collect::<Result<Vec<_>>>()?;
    let wall = started.elapsed().as_secs_f64();
    let counted = rounds.len();
    let aggregator = (Cpu::of_process() - own_cpu).per(counted);
    let mut all_nodes = Cpu::default();
    for pair in [&warm_up].into_iter().chain(&rounds).collect::<Vec<_>>().windows(2) {
        if let [before, after] = pair {
            all_nodes += after.nodes_cpu - before.nodes_cpu;
        }
    }
    let rounds_s: Vec<f64> = rounds.iter().map(|round| round.round_s).collect();
    let median = |pick: &dyn Fn(&Measured) -> f64| -> f64 {
        output::median(&rounds.iter().map(pick).collect::<Vec<_>>())
    };
    let names = warm_up.phases.keys();
    let phases = names
        .map(|name| (*name, median(&|round| round.phases.get(name).copied().unwrap_or(0.0))))
        .collect();
    let node_rounds = f64::from(size.nodes) * counted as f64;
    let per_parameter =
        |bytes: FrameBytes| bytes.all as f64 / node_rounds / f64::from(size.dim.max(1));
    let control = |bytes: FrameBytes| (bytes.all - bytes.vectors) as f64 / node_rounds;
    let (up, down) = (runner.hub.up.since(up), runner.hub.down.since(down));
    let max_abs_error = rounds.iter().map(|round| round.error).fold(0.0, f64::max);
    let quantisation_step = runner.step();
    Ok(Line {
        bench: "round",
        nodes: size.nodes,
        dim: size.dim,
        bits: size.bits,
        uploads: plan.uploads.get(),
        threads: plan.threads.get(),
        quorum,
        round_s: Spread::of(&rounds_s),
        rounds_s,
        wall_s_per_round: wall / counted as f64,
        phases,
        machine_s: median(&|round| round.machine_s),
        setup_s,
        peak_rss_bytes: peak_rss_bytes(),
        model_bytes: 4 * u64::from(size.dim),
        bytes_up_per_parameter: per_parameter(up),
        bytes_down_per_parameter: per_parameter(down),
        control_bytes_up_per_node: control(up),
        control_bytes_down_per_node: control(down),
        bytes_are: "frames of the protocol, without envelope, HTTP/2 and TLS",
        cpu_s_per_round: CpuLine { aggregator, all_nodes: all_nodes.per(counted) },
        transport: "mtls-loopback",
        processes: u32::from(size.nodes) + 1,
        max_abs_error,
        quantisation_step,
        within_step: max_abs_error < quantisation_step,
        exact: rounds.iter().all(|round| round.exact),
    })
}
