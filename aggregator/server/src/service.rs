//! The gRPC service of the nodes: sessions for agencies.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};
use tributary_transport::require_agency;
use tributary_wire::session::{FromNode, Refused, SessionRefusalCode, ToNode, Welcome};
use tributary_wire::v1::federation_server::Federation;
use tributary_wire::v1::{NodeFrame, ServerFrame};
use tributary_wire::{PROTOCOL_VERSION, Text};

use crate::hub::{FromSession, frame_queue};

/// Frames to a node.
type Frames = Pin<Box<dyn Stream<Item = Result<ServerFrame, Status>> + Send>>;

/// How long a session may take to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// Carries frames between sessions and the hub.
pub struct FederationService {
    pub(crate) hub: mpsc::Sender<FromSession>,
    pub(crate) next_id: AtomicU64,
}

#[tonic::async_trait]
impl Federation for FederationService {
    type SessionStream = Frames;

    async fn session(
        &self,
        request: Request<Streaming<NodeFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let agency = require_agency(&request)?.to_string();
        let mut incoming = request.into_inner();
        let hello = tokio::time::timeout(HELLO, incoming.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello in time"))??;
        let hello = hello.ok_or_else(|| Status::invalid_argument("no hello"))?;
        let hello = match FromNode::try_from(hello) {
            Ok(FromNode::Hello(hello)) => hello,
            Ok(_) => {
                return Ok(refused(SessionRefusalCode::BadHello, "the first frame is a hello"));
            }
            Err(error) => {
                return Ok(refused(SessionRefusalCode::BadHello, &error.to_string()));
            }
        };
        if let Err(text) = check_version(hello.protocol_version) {
            tracing::warn!(%agency, "{text}");
            return Ok(refused(SessionRefusalCode::Version, &text));
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (frames, outgoing) = frame_queue();
        let (keep, closed) = oneshot::channel();
        let opened =
            FromSession::Opened { id, agency: agency.clone(), hello, frames: frames.clone(), keep };
        frames
            .try_send(welcome())
            .map_err(|_| Status::internal("the session's queue is closed"))?;
        let stopping = |_| Status::unavailable("the aggregator is stopping; connect again later");
        self.hub.send(opened).await.map_err(stopping)?;
        tokio::spawn(forward(id, agency, incoming, frames, self.hub.clone(), closed));
        let stream = ReceiverStream::new(outgoing).map(|frame| Ok(ServerFrame::from(frame)));
        Ok(Response::new(Box::pin(stream)))
    }
}

/// Hands a node's frames to the hub until either side is done.
async fn forward(
    id: u64,
    agency: String,
    mut incoming: Streaming<NodeFrame>,
    frames: mpsc::Sender<ToNode>,
    hub: mpsc::Sender<FromSession>,
    mut closed: oneshot::Receiver<()>,
) {
    loop {
        let message = tokio::select! {
            // The hub has let the session go: the stream ends when this task drops its sender.
            _ = &mut closed => return,
            message = incoming.message() => message,
        };
        let frame = match message {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(status) if status.code() == Code::OutOfRange => {
                let problem = status.message();
                tracing::warn!(%agency, %problem, "a frame is too long; session closed");
                let (code, text) = (SessionRefusalCode::BadFrame, Text::clipped(problem));
                let _ = frames.try_send(ToNode::Refused(Refused { code, text }));
                break;
            }
            Err(status) => {
                tracing::debug!(%agency, %status, "session broke");
                break;
            }
        };
        let frame = match FromNode::try_from(frame) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::warn!(%agency, %error, "a frame breaks the format; session closed");
                let text = Text::clipped(&error);
                let code = SessionRefusalCode::BadFrame;
                let _ = frames.try_send(ToNode::Refused(Refused { code, text }));
                break;
            }
        };
        let event = FromSession::Frame { id, agency: agency.clone(), frame };
        if hub.send(event).await.is_err() {
            return;
        }
    }
    let _ = hub.send(FromSession::Closed { id, agency }).await;
}

pub(crate) fn check_version(found: u32) -> Result<(), String> {
    if found == PROTOCOL_VERSION {
        return Ok(());
    }
    let older = if found < PROTOCOL_VERSION { "the node" } else { "the aggregator" };
    Err(format!(
        "the node speaks protocol version {found}, the aggregator {PROTOCOL_VERSION}; update {older}"
    ))
}

fn welcome() -> ToNode {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    ToNode::Welcome(Welcome {
        protocol_version: PROTOCOL_VERSION,
        software_version: Text::clipped(env!("CARGO_PKG_VERSION")),
        unix_seconds: now.as_secs(),
    })
}

/// A session that consists of a refusal.
fn refused(code: SessionRefusalCode, text: &str) -> Response<Frames> {
    let frame = ToNode::Refused(Refused { code, text: Text::clipped(text) });
    Response::new(Box::pin(tokio_stream::once(Ok(ServerFrame::from(frame)))))
}
