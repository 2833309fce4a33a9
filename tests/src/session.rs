//! A session with an aggregator by somebody who holds a valid certificate and keeps no rules: it
//! sends what a real node never would.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tributary_transport::{ClientOptions, NodeCredentials, connect, federation_client};
use tributary_wire::session::{Dataset, FromNode, Hello, Refused, ToNode};
use tributary_wire::v1::{NodeFrame, ServerFrame};
use tributary_wire::{DatasetName, PROTOCOL_VERSION, Text};

use crate::SOON;

/// An open session.
pub struct RawSession {
    runtime: Runtime,
    frames: mpsc::Sender<NodeFrame>,
    incoming: Streaming<ServerFrame>,
}

/// What comes from the aggregator.
#[derive(Debug)]
pub enum Received {
    /// A frame.
    Frame(ToNode),
    /// The session is over: the aggregator's words, empty if it just ended.
    Ended(String),
    /// Nothing within the time.
    Nothing,
}

/// A hello of this protocol version with the dataset `toy`.
///
/// # Panics
/// Never: the names are valid.
pub fn hello(protocol_version: u32) -> Hello {
    let name = DatasetName::new("toy").expect("a valid name");
    Hello {
        protocol_version,
        software_version: Text::clipped("test"),
        datasets: vec![Dataset { name, declared_records: 300 }],
        resume: None,
    }
}

impl RawSession {
    /// Connects with the credentials in a node's data directory and says hello.
    ///
    /// # Panics
    /// If the aggregator does not open the session.
    pub fn open(url: &str, node: &Path, hello: Hello) -> Self {
        tributary_transport::install_provider();
        let runtime = Runtime::new().expect("a runtime");
        let credentials = NodeCredentials::load(node).expect("credentials");
        let (frames, outgoing) = mpsc::channel(64);
        let incoming = runtime.block_on(async {
            let options = ClientOptions::default();
            let channel = connect(url, &credentials, &options).await.expect("a connection");
            frames.send(FromNode::Hello(hello).into()).await.expect("an open channel");
            let mut client = federation_client(channel);
            client.session(ReceiverStream::new(outgoing)).await.expect("a session").into_inner()
        });
        Self { runtime, frames, incoming }
    }

    /// As [`RawSession::open`] with an ordinary hello, past the welcome.
    ///
    /// # Panics
    /// If the aggregator does not open the session.
    pub fn welcomed(url: &str, node: &Path) -> Self {
        let mut session = Self::open(url, node, hello(PROTOCOL_VERSION));
        match session.receive() {
            Received::Frame(ToNode::Welcome(_)) => session,
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// Sends a frame, valid or not; false if the session is over.
    pub fn send(&self, frame: impl Into<NodeFrame>) -> bool {
        self.runtime.block_on(self.frames.send(frame.into())).is_ok()
    }

    /// The next thing that comes.
    ///
    /// # Panics
    /// If a frame breaks the format.
    pub fn receive(&mut self) -> Received {
        self.receive_within(SOON)
    }

    /// As [`RawSession::receive`], with a time of one's own.
    ///
    /// # Panics
    /// If a frame breaks the format.
    pub fn receive_within(&mut self, within: Duration) -> Received {
        let next = self
            .runtime
            .block_on(async { tokio::time::timeout(within, self.incoming.message()).await });
        match next {
            Err(_) => Received::Nothing,
            Ok(Ok(None)) => Received::Ended(String::new()),
            Ok(Err(status)) => Received::Ended(status.message().to_owned()),
            Ok(Ok(Some(frame))) => Received::Frame(ToNode::try_from(frame).expect("a frame")),
        }
    }

    /// Takes frames until the session is over; returns why the aggregator ended it.
    ///
    /// # Panics
    /// If it does not end, or without a word.
    pub fn until_refused(&mut self) -> Refused {
        let mut refused = None;
        loop {
            match self.receive() {
                // Other frames may have been on their way already.
                Received::Frame(ToNode::Refused(frame)) => refused = Some(frame),
                Received::Frame(_) => {}
                Received::Ended(words) => match refused {
                    Some(refused) => return refused,
                    None => panic!("the session ended without a reason: {words:?}"),
                },
                Received::Nothing => panic!("the session goes on ({refused:?})"),
            }
        }
    }
}
