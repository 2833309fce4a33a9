//! A node's process: one connection, one thread. It answers the aggregator until the run is over.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::Bytes;
use tributary_dp::SecretRng;
use tributary_secagg::{Lanes, ServerMessage};
use tributary_transport::{ClientOptions, NodeCredentials, connect, federation_client};
use tributary_wire::session::{FromNode, Hello, Secagg, ToNode};
use tributary_wire::v1::NodeFrame;
use tributary_wire::{PROTOCOL_VERSION, Text};

use super::NodeProcessArgs;
use super::plan::{self, Plan};
use super::vectors::{Arithmetic, HandedIn};
use super::watch::end_with_parent;
use crate::usage::Cpu;
use tributary_simulations::secagg::party::{self, Party, Reply, Vectors};

/// Frames that may wait for the connection; a chunk is the largest.
const WAITING: usize = 2;
/// As at the aggregator.
const PATIENCE: Duration = Duration::from_secs(600);

/// The model of this node, and what it adds to it.
struct Training {
    dir: PathBuf,
    node: u16,
    arithmetic: Arithmetic,
    /// The model plus this node's step.
    parameters: Vec<f32>,
    rng: SecretRng,
    /// The last sum's memory.
    spare: Option<Lanes>,
}

impl Vectors for Training {
    fn vector(&mut self, round: u32) -> party::Result<Lanes> {
        let (lanes, checks) =
            self.arithmetic.hand_in(&self.parameters, &mut self.rng, self.spare.take());
        let said = HandedIn { checks, cpu: Cpu::of_process() };
        plan::write_json(&plan::handed_in(&self.dir, self.node, round), &said)
            .map_err(party::stopped)?;
        Ok(lanes)
    }

    fn opened(&mut self, sum: Lanes) -> party::Result<()> {
        self.arithmetic.follow(&sum, &mut self.parameters, self.node).map_err(party::stopped)?;
        self.spare = Some(sum);
        Ok(())
    }
}

/// Runs a node of a run.
///
/// # Errors
/// If the connection breaks, or anything the aggregator sends is refused.
pub fn run(args: &NodeProcessArgs) -> Result<()> {
    end_with_parent();
    Builder::new_current_thread().enable_all().build()?.block_on(session(args))
}

async fn session(args: &NodeProcessArgs) -> Result<()> {
    let dir = &args.dir;
    let plan = Plan::read(dir)?;
    let federation = plan.federation()?;
    let (limits, job) = (federation.limits(), federation.job());
    let base = federation.view()?;
    let arithmetic = Arithmetic::new(&plan.size, base.lane_bits, plan.rounds);
    let training = Training {
        dir: dir.clone(),
        node: args.node,
        arithmetic,
        parameters: arithmetic.stepped(Arithmetic::first_model(plan.size.dim), args.node),
        rng: SecretRng::from_os()?,
        spare: None,
    };
    let mut party = Party::new(federation.node(args.node)?, base, training)?;

    let credentials = NodeCredentials::load(&dir.join(plan::name(args.node)))?;
    let options = ClientOptions {
        connect_timeout: PATIENCE,
        handshake_timeout: PATIENCE,
        keep_alive_interval: PATIENCE,
        keep_alive_timeout: PATIENCE,
        ..ClientOptions::default()
    };
    let endpoint = plan::endpoint(dir).context("the aggregator has no address")?;
    let channel = connect(&endpoint, &credentials, &options).await?;
    let (to_server, outgoing) = mpsc::channel::<NodeFrame>(WAITING);
    to_server.send(hello().into()).await.context("no connection")?;
    let mut client = federation_client(channel);
    let mut incoming = client.session(ReceiverStream::new(outgoing)).await?.into_inner();

    let send = async |frame: Bytes| {
        let frame = FromNode::Secagg(Secagg { job, frame });
        to_server.send(frame.into()).await.context("the connection was closed")
    };
    while let Some(frame) = incoming.message().await? {
        let frame = match ToNode::try_from(frame)? {
            ToNode::Secagg(Secagg { frame, .. }) => frame,
            ToNode::Welcome(_) => continue,
            other => bail!("the aggregator said {other:?}"),
        };
        let message = ServerMessage::decode(&frame, &limits)?;
        drop(frame);
        for reply in party.handle(message)? {
            match reply {
                Reply::Message(message) => send(message.encode().into()).await?,
                Reply::Upload(upload) => {
                    for frame in upload.into_frames() {
                        send(frame).await?;
                    }
                }
            }
        }
    }
    let due = plan.rounds + 1;
    ensure!(party.certified == due, "the session ended after {} rounds of {due}", party.certified);
    Ok(())
}

fn hello() -> FromNode {
    FromNode::Hello(Hello {
        protocol_version: PROTOCOL_VERSION,
        software_version: Text::clipped("secagg-bench"),
        datasets: Vec::new(),
        resume: None,
    })
}
