//! Holds many idle sessions against a real aggregator and says what that costs it.
//!
//! Enrols agencies with one-time tokens, connects every one with a certificate of its own, keeps the
//! sessions open with heartbeats for a while, and reads the aggregator's memory and processor time.
//! One JSON object on standard output. The programs are taken from `TRIBUTARY_TEST_BINARIES`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tributary_secagg::Identity;
use tributary_tests::Aggregator;
use tributary_tests::session::hello;
use tributary_transport::{
    ClientOptions, EnrolmentToken, NodeCredentials, connect, enrol, federation_client,
};
use tributary_wire::PROTOCOL_VERSION;
use tributary_wire::session::FromNode;
use tributary_wire::v1::NodeFrame;

/// Connections that are being opened at a time.
const AT_ONCE: usize = 32;
/// As a node's default.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Idle sessions against a real aggregator.
#[derive(Debug, Parser)]
struct Args {
    /// Sessions.
    #[arg(long, default_value_t = 500)]
    nodes: usize,
    /// Seconds that they are held.
    #[arg(long, default_value_t = 30)]
    hold: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    tributary_transport::install_provider();
    let root = tempfile::tempdir()?;
    let mut aggregator = Aggregator::init(root.path());
    aggregator.serve();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(measure(&args, &mut aggregator));
    let code = aggregator.terminate();
    println!("{}", outcome?);
    ensure!(code == Some(0), "the aggregator did not stop in order: {code:?}");
    // The sessions' tasks have nothing left to do.
    runtime.shutdown_background();
    Ok(())
}

async fn measure(args: &Args, aggregator: &mut Aggregator) -> Result<serde_json::Value> {
    let pid = aggregator.process().id();
    let started = Instant::now();
    let url = aggregator.url();
    let mut credentials = Vec::new();
    for i in 0..args.nodes {
        let token = EnrolmentToken::parse(&aggregator.token(&format!("agency-{i}")))?;
        let key = Identity::generate()?.verifying_key().0;
        let enrolled = enrol(&url, &token, Some(key), "bench", &ClientOptions::default()).await?;
        credentials.push(enrolled.credentials);
    }
    let enrolment = started.elapsed();
    let before = Usage::of(pid)?;
    let opening = Instant::now();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut sessions = tokio::task::JoinSet::new();
    for credentials in credentials {
        let (places, url) = (places.clone(), url.clone());
        sessions.spawn(async move {
            let _place = places.acquire_owned().await?;
            open(&url, &credentials).await
        });
    }
    let mut held = Vec::new();
    while let Some(session) = sessions.join_next().await {
        held.push(session??);
    }
    let connecting = opening.elapsed();
    let connected = Usage::of(pid)?;
    tokio::time::sleep(Duration::from_secs(args.hold)).await;
    let after = Usage::of(pid)?;
    let open = held.iter().filter(|session| !session.is_finished()).count();
    ensure!(open == args.nodes, "{} of {} sessions were lost", args.nodes - open, args.nodes);
    let per_node = after.resident.saturating_sub(before.resident) / args.nodes.max(1) as u64;
    Ok(serde_json::json!({
        "bench": "idle", "nodes": args.nodes, "hold_s": args.hold,
        "enrol_s": enrolment.as_secs_f64(), "connect_s": connecting.as_secs_f64(),
        "rss_bytes_before": before.resident, "rss_bytes_connected": connected.resident,
        "rss_bytes_after": after.resident, "rss_bytes_per_node": per_node,
        "peak_rss_bytes": after.peak,
        "cpu_s_connecting": connected.cpu - before.cpu, "cpu_s_holding": after.cpu - connected.cpu,
    }))
}

/// Opens a session; the task lives as long as it.
async fn open(url: &str, credentials: &NodeCredentials) -> Result<tokio::task::JoinHandle<()>> {
    let options = ClientOptions {
        connect_timeout: Duration::from_secs(60),
        handshake_timeout: Duration::from_secs(60),
        ..ClientOptions::default()
    };
    let channel = connect(url, credentials, &options).await?;
    let (frames, outgoing) = mpsc::channel::<NodeFrame>(4);
    let greeting: NodeFrame = FromNode::Hello(hello(PROTOCOL_VERSION)).into();
    frames.send(greeting).await.context("an open channel")?;
    let mut client = federation_client(channel);
    let mut incoming = client.session(ReceiverStream::new(outgoing)).await?.into_inner();
    incoming.message().await?.context("no welcome")?;
    Ok(tokio::spawn(async move {
        let mut beat = tokio::time::interval(HEARTBEAT);
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    if frames.send(FromNode::Heartbeat.into()).await.is_err() {
                        return;
                    }
                }
                frame = incoming.message() => {
                    if !matches!(frame, Ok(Some(_))) {
                        return;
                    }
                }
            }
        }
    }))
}

/// Memory and processor time of a process, from `/proc`.
struct Usage {
    resident: u64,
    peak: u64,
    cpu: f64,
}

impl Usage {
    fn of(pid: u32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
            number.map(|kib| kib * 1024).with_context(|| format!("no {name} in /proc"))
        };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name may hold spaces; what follows does not. Fields 14 and 15, in ticks of 10 ms.
        let rest = stat.rsplit_once(") ").context("no name in /proc")?.1;
        let ticks: u64 =
            rest.split(' ').skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        Ok(Self { resident: field("VmRSS:")?, peak: field("VmHWM:")?, cpu: ticks as f64 / 100.0 })
    }
}
