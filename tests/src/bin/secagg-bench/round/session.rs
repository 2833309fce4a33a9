//! The aggregator's side of a connection: frames are read and parsed here, off the task that owns
//! the protocol's machine, and handed on over a bounded channel, so that HTTP/2's flow control
//! holds back whoever sends faster than the machine takes.

use std::pin::Pin;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::codegen::Bytes;
use tonic::{Request, Response, Status, Streaming};
use tributary_secagg::messages::Kind;
use tributary_secagg::{Limits, NodeIndex, NodeMessage};
use tributary_transport::require_agency;
use tributary_wire::session::{FromNode, Secagg, ToNode, Welcome};
use tributary_wire::v1::enrolment_server::Enrolment;
use tributary_wire::v1::federation_server::Federation;
use tributary_wire::v1::{EnrolReply, EnrolRequest, NodeFrame, ServerFrame};
use tributary_wire::{PROTOCOL_VERSION, Text};

use super::plan;

/// Frames to one node that may wait: a sum of 2^32 bytes in chunks, and what goes before. The bytes
/// are shared between the nodes.
pub const OUTBOX: usize = 20_000;

/// What a session tells the owner of the machine.
pub enum Event {
    /// A node is there.
    Opened(NodeIndex, mpsc::Sender<Bytes>),
    /// A node's message, and the bytes of its frame.
    Message(NodeIndex, Box<NodeMessage>, usize),
    /// A node is gone, and why.
    Closed(NodeIndex, String),
}

/// The federation's service.
pub struct Sessions {
    /// To the owner of the machine.
    pub events: mpsc::Sender<Event>,
    /// What may be decoded.
    pub limits: Limits,
    /// The job, for frames.
    pub job: [u8; 32],
}

/// The service that this aggregator has not.
pub struct NoEnrolment;

#[tonic::async_trait]
impl Enrolment for NoEnrolment {
    async fn enrol(&self, _: Request<EnrolRequest>) -> Result<Response<EnrolReply>, Status> {
        Err(Status::unimplemented("the run's certificates are already made"))
    }
}

#[tonic::async_trait]
impl Federation for Sessions {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<ServerFrame, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<NodeFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let agency = require_agency(&request)?;
        let unknown = || Status::permission_denied("this agency is not on the roster");
        let node = plan::node_of(&agency).filter(|node| *node < self.limits.members);
        let node = NodeIndex(node.ok_or_else(unknown)?);
        let mut incoming = request.into_inner();
        let hello = incoming.message().await?.map(FromNode::try_from);
        let Some(Ok(FromNode::Hello(_))) = hello else {
            return Err(Status::invalid_argument("the first frame is a hello"));
        };
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let stopping = |_| Status::unavailable("the aggregator is stopping");
        self.events.send(Event::Opened(node, outbox)).await.map_err(stopping)?;
        tokio::spawn(forward(node, incoming, self.events.clone(), self.limits));
        let job = self.job;
        let frames = ReceiverStream::new(outgoing)
            .map(move |bytes| ServerFrame::from(ToNode::Secagg(Secagg { job, frame: bytes })));
        let welcome = tokio_stream::once(ServerFrame::from(welcome()));
        Ok(Response::new(Box::pin(welcome.chain(frames).map(Ok))))
    }
}

/// Hands on what a node sends until its session ends.
async fn forward(
    node: NodeIndex,
    mut incoming: Streaming<NodeFrame>,
    events: mpsc::Sender<Event>,
    limits: Limits,
) {
    let why = loop {
        let frame = match incoming.message().await {
            Ok(Some(frame)) => frame,
            Ok(None) => break "it closed the session".to_owned(),
            Err(status) => break status.to_string(),
        };
        let event = match parse(node, frame, &limits) {
            Ok(event) => event,
            Err(why) => break why,
        };
        if events.send(event).await.is_err() {
            return;
        }
    };
    // Nobody listens any more once the run is over.
    let _ = events.send(Event::Closed(node, why)).await;
}

fn parse(node: NodeIndex, frame: NodeFrame, limits: &Limits) -> Result<Event, String> {
    let frame = match FromNode::try_from(frame) {
        Ok(FromNode::Secagg(Secagg { frame, .. })) => frame,
        Ok(other) => return Err(format!("sent {other:?}")),
        Err(error) => return Err(error.to_string()),
    };
    let message = NodeMessage::decode(&frame, limits).map_err(|error| error.to_string())?;
    Ok(Event::Message(node, Box::new(message), frame.len()))
}

/// Whether a message carries a part of a vector or of the sum.
pub fn is_vector(kind: Kind) -> bool {
    matches!(kind, Kind::MaskedChunk | Kind::SumChunk)
}

fn welcome() -> ToNode {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    ToNode::Welcome(Welcome {
        protocol_version: PROTOCOL_VERSION,
        software_version: Text::clipped("secagg-bench"),
        unix_seconds: now.as_secs(),
    })
}
