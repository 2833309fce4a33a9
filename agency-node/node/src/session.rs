//! One session with the aggregator: hello, then frames both ways until either side ends it.
//!
//! The engine runs on its own thread, because training must not hold up the connection; what it
//! wants persisted is durable before what follows it is sent.

use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tributary_transport::federation_client;
use tributary_wire::session::{FromNode, ToNode};
use tributary_wire::v1::NodeFrame;

use crate::engine::{Engine, Now, Output};
use crate::storage::Storage;

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The connection is gone; try again.
    Lost(String),
    /// The aggregator refuses this node; trying again at once is of no use.
    Refused(String),
    /// This node was told to stop.
    Stopped,
}

/// Runs one session over a channel.
///
/// # Errors
/// When state cannot be made durable: the node must stop then.
pub async fn run(
    channel: Channel,
    engine: &mut Engine,
    storage: &Storage,
    heartbeat: Duration,
    stop: &mut tokio::sync::watch::Receiver<bool>,
) -> anyhow::Result<Ended> {
    let mut client = federation_client(channel);
    let (to_server, outgoing) = mpsc::channel::<NodeFrame>(64);
    let hello = engine.hello(env!("CARGO_PKG_VERSION"));
    to_server.send(hello.into()).await.context("sending the hello")?;
    let mut incoming = match client.session(ReceiverStream::new(outgoing)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Ok(ended(&status)),
    };
    let mut beat = tokio::time::interval(heartbeat);
    loop {
        let frame = tokio::select! {
            _ = stop.changed() => return Ok(Ended::Stopped),
            _ = beat.tick() => {
                if to_server.send(FromNode::Heartbeat.into()).await.is_err() {
                    return Ok(Ended::Lost("the connection was closed".into()));
                }
                continue;
            }
            frame = incoming.message() => frame,
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(Ended::Lost("the aggregator closed the session".into())),
            Err(status) => return Ok(ended(&status)),
        };
        let frame = match ToNode::try_from(frame) {
            Ok(frame) => frame,
            Err(error) => {
                let text = format!("a frame of the aggregator cannot be read: {error}");
                return Ok(Ended::Refused(text));
            }
        };
        let refusal = match &frame {
            ToNode::Refused(refused) => Some(format!("{}: {}", refused.code, refused.text)),
            _ => None,
        };
        let outputs =
            tokio::task::block_in_place(|| engine.handle(&Now(timestamp()), frame));
        if !carry_out(outputs, storage, &to_server).await? {
            return Ok(Ended::Lost("the connection was closed".into()));
        }
        if let Some(text) = refusal {
            return Ok(Ended::Refused(text));
        }
    }
}

/// Carries outputs out in order; false when the connection is gone.
async fn carry_out(
    outputs: Vec<Output>,
    storage: &Storage,
    to_server: &mpsc::Sender<NodeFrame>,
) -> anyhow::Result<bool> {
    let mut connected = true;
    for output in outputs {
        match output {
            Output::Persist(record) => storage.persist(&record).await?,
            Output::Send(frame) if connected => {
                connected = to_server.send(frame.into()).await.is_ok();
            }
            Output::Send(_) => {}
            Output::Note(text) => tracing::info!("{text}"),
        }
    }
    Ok(connected)
}

fn ended(status: &tonic::Status) -> Ended {
    use tonic::Code;
    let text = status.message().to_owned();
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition => {
            Ended::Refused(text)
        }
        _ => Ended::Lost(text),
    }
}

/// RFC 3339 in UTC.
pub fn timestamp() -> String {
    time::OffsetDateTime::now_utc()
        .replace_nanosecond(0)
        .ok()
        .and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default()
}
