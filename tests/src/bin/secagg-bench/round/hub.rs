//! The sessions as the owner of the machine sees them: messages in, messages out, bytes counted. A
//! message to many nodes is encoded once, and its bytes are shared.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::codegen::Bytes;
use tributary_secagg::{NodeIndex, NodeMessage, NodeSet, ServerMessage, ServerOutput};

use super::session::{Event, is_vector};

/// Nothing at all for this long means that a run hangs.
const SILENCE: Duration = Duration::from_secs(600);

/// Bytes of frames, without envelope, HTTP/2 and TLS.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct FrameBytes {
    /// All of them.
    pub all: u64,
    /// Of chunks of vectors.
    pub vectors: u64,
}

/// Everybody's session.
pub struct Hub {
    events: mpsc::Receiver<Event>,
    runtime: Handle,
    outboxes: BTreeMap<NodeIndex, mpsc::Sender<Bytes>>,
    /// From the nodes.
    pub up: FrameBytes,
    /// To the nodes.
    pub down: FrameBytes,
}

impl FrameBytes {
    fn count(&mut self, bytes: usize, times: usize, vector: bool) {
        let bytes = (bytes * times) as u64;
        self.all += bytes;
        self.vectors += if vector { bytes } else { 0 };
    }

    /// What came since.
    pub fn since(self, before: Self) -> Self {
        Self { all: self.all - before.all, vectors: self.vectors - before.vectors }
    }
}

impl Hub {
    /// Sessions whose events come over `events`; to be used outside the runtime.
    pub fn new(events: mpsc::Receiver<Event>, runtime: Handle) -> Self {
        let (up, down) = (FrameBytes::default(), FrameBytes::default());
        Self { events, runtime, outboxes: BTreeMap::new(), up, down }
    }

    /// Waits until so many nodes are there.
    ///
    /// # Errors
    /// If one is lost, or none comes.
    pub fn gather(&mut self, nodes: u16) -> Result<()> {
        while self.outboxes.len() < usize::from(nodes) {
            match self.event()? {
                Event::Opened(node, outbox) => {
                    let known = self.outboxes.insert(node, outbox);
                    ensure!(known.is_none(), "node {node} connected twice");
                }
                Event::Message(node, ..) => bail!("node {node} spoke before it was asked"),
                Event::Closed(node, why) => bail!("node {node} was lost: {why}"),
            }
        }
        Ok(())
    }

    /// The next message of a node.
    ///
    /// # Errors
    /// If a node is lost, or all are silent.
    pub fn next(&mut self) -> Result<(NodeIndex, NodeMessage)> {
        match self.event()? {
            Event::Message(node, message, bytes) => {
                self.up.count(bytes, 1, is_vector(message.kind()));
                Ok((node, *message))
            }
            Event::Opened(node, _) => bail!("node {node} connected a second time"),
            Event::Closed(node, why) => bail!("node {node} was lost: {why}"),
        }
    }

    /// Sends what a machine wants sent; the outputs that are nothing to send.
    ///
    /// # Errors
    /// If a node's queue is full or closed.
    pub fn send(&mut self, outputs: Vec<ServerOutput>) -> Result<Vec<ServerOutput>> {
        let mut others = Vec::new();
        for output in outputs {
            match output {
                ServerOutput::Send(node, message) => {
                    let bytes = self.encode(&message, 1);
                    self.queue(node, bytes)?;
                }
                ServerOutput::SendAll(nodes, message) => self.send_all(&nodes, &message)?,
                other => others.push(other),
            }
        }
        Ok(others)
    }

    fn send_all(&mut self, nodes: &NodeSet, message: &ServerMessage) -> Result<()> {
        let bytes = self.encode(message, nodes.len());
        nodes.iter().try_for_each(|node| self.queue(node, bytes.clone()))
    }

    fn encode(&mut self, message: &ServerMessage, times: usize) -> Bytes {
        let bytes = Bytes::from(message.encode());
        self.down.count(bytes.len(), times, is_vector(message.kind()));
        bytes
    }

    fn queue(&self, node: NodeIndex, bytes: Bytes) -> Result<()> {
        let outbox = self.outboxes.get(&node).with_context(|| format!("no node {node}"))?;
        outbox.try_send(bytes).map_err(|_| anyhow::anyhow!("node {node} takes no more frames"))
    }

    fn event(&mut self) -> Result<Event> {
        let next = async { timeout(SILENCE, self.events.recv()).await };
        let event = self.runtime.block_on(next).context("no node says anything any more")?;
        event.context("the server has stopped")
    }
}
