//! The node's side: one machine per attempt of a round, one file per phase.
//!
//! A machine takes messages and calls of its own program and gives back messages
//! to send and requests. It has no clock and no storage. The rules of storage are
//! the caller's: *persist, then send*. Durable before each of the following
//! leaves the machine: the stepped epoch (before the commit), the charge (before
//! [`NodeRound::release_upload`]), the acknowledgement, the shares, the result
//! acknowledgement. What was given out once is resent from the caller's own
//! store; this machine never makes it a second time.

mod acknowledge;
mod chains;
mod commit;
mod epoch;
mod outgoing;
mod output;
mod relay;
mod result;
mod reveal;
mod seat;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use chains::{MAX_STEPS_AHEAD, NodeEpoch};
pub use epoch::{NodeEpochHello, NodeEpochKem, NodeEpochPeers};
pub use outgoing::Upload;
pub use output::{NodeOutput, NodePhase};
pub use seat::NodeSeat;
pub(crate) use upload::sign_towards;

use crate::digest::Digest;
use crate::evidence::Evidence;
use crate::fault::Fault;
use crate::graph::Graph;
use crate::ids::NodeSet;
use crate::lanes::Lanes;
use crate::messages::{Kind, NodeMessage, ServerMessage, SignedMessage};
use crate::vector::Shape;

/// Facts of the attempt that no phase changes.
pub(crate) struct Attempt {
    seat: NodeSeat,
    graph: Arc<Graph>,
    ctx: Digest,
    cohort: NodeSet,
    shape: Shape,
}

impl Attempt {
    fn send(message: impl Into<NodeMessage>) -> NodeOutput {
        NodeOutput::Send(message.into())
    }

    /// Checks the aggregator's signature on a message of this attempt.
    fn check_signature<M: SignedMessage>(&self, message: &M) -> Result<(), Fault> {
        if message.is_signed_by(&self.seat.roster.aggregator) {
            return Ok(());
        }
        Err(Fault::aggregator(format!("sent a {} with a bad signature", M::SIGNED_KIND)))
    }

    /// This node's peers within a set.
    fn peers_in(&self, set: &NodeSet) -> NodeSet {
        self.graph.peers(self.seat.me).intersection(set)
    }

    /// The nodes within a set whose shares this node holds: its peers, and in the
    /// complete graph itself.
    fn owners_in(&self, set: &NodeSet) -> NodeSet {
        let mut owners = self.peers_in(set);
        if self.graph.is_complete() && set.contains(self.seat.me) {
            owners.insert(self.seat.me);
        }
        owners
    }

    /// The rules every set of nodes the aggregator names must keep: within
    /// `outer`, this node in it, at least `u_min` nodes, and at least `shamir_t`
    /// holders of this node's shares.
    fn check_set(&self, name: &str, set: &NodeSet, outer: &NodeSet) -> Result<(), Fault> {
        let refuse = |what: String| Err(Fault::aggregator(format!("named {name} that {what}")));
        let thresholds = &self.seat.roster.thresholds;
        if !set.is_subset(outer) {
            return refuse(format!(
                "hold nodes ({}) outside the set before",
                set.difference(outer)
            ));
        }
        if !set.contains(self.seat.me) {
            return refuse("leave this node out".to_owned());
        }
        if set.len() < usize::from(thresholds.u_min) {
            return refuse(format!(
                "are {} nodes, fewer than u_min = {}",
                set.len(),
                thresholds.u_min
            ));
        }
        let holders = self.graph.holders(self.seat.me).intersection(set).len();
        if holders < usize::from(thresholds.shamir_t) {
            return refuse(format!(
                "hold {holders} holders of this node's shares, fewer than shamir_t = {}",
                thresholds.shamir_t
            ));
        }
        Ok(())
    }
}

/// One phase's data. A transition takes the old value whole, so that whatever
/// it does not pass on is dropped and wiped - also when the transition fails.
enum State {
    Committed(relay::Committed),
    AwaitingVector(upload::AwaitingVector),
    Ready(upload::Ready),
    Masked(upload::Masked),
    AwaitingCharge(upload::Masked),
    Uploaded(acknowledge::Uploaded),
    Acknowledged(reveal::Acknowledged),
    Revealed(result::Revealed),
    Opened(result::Opened),
    Attested(result::Attested),
    Certified,
    Aborted,
    Faulted,
}

type Step = Result<(State, Vec<NodeOutput>), Fault>;

/// A node's machine for one attempt of one round, from the commit to the
/// certified result.
pub struct NodeRound {
    attempt: Attempt,
    state: State,
    /// What was taken, in its bytes: two different messages are evidence.
    seen: BTreeMap<Kind, Vec<u8>>,
    evidence: Option<Evidence>,
}

impl NodeRound {
    /// Takes a message of the aggregator.
    ///
    /// A repetition of a message already taken is ignored; a different one of
    /// the same kind is equivocation.
    ///
    /// # Errors
    /// [`Fault`] saying who did what. After a fault the machine has wiped its
    /// secrets and refuses everything.
    pub fn handle(&mut self, message: ServerMessage) -> Result<Vec<NodeOutput>, Fault> {
        self.refuse_if_over()?;
        if message.context() != self.attempt.ctx {
            self.state = State::Faulted;
            return Err(Fault::aggregator(format!(
                "sent a {} of another context, replayed or misrouted",
                message.kind()
            )));
        }
        if !matches!(message.kind(), Kind::SumChunk | Kind::UploadTurn) {
            let found = message.encode();
            match self.seen.get(&message.kind()) {
                Some(known) if *known == found => return Ok(Vec::new()),
                Some(known) => {
                    let first = known.clone();
                    let evidence = Evidence::Equivocation { first, second: found };
                    let convincing = evidence.verify(&self.attempt.seat.roster);
                    self.evidence = convincing.is_ok().then_some(evidence);
                    self.state = State::Faulted;
                    return Err(Fault::aggregator(format!(
                        "sent two different {} messages for one attempt",
                        message.kind()
                    )));
                }
                None => {
                    self.seen.insert(message.kind(), found);
                }
            }
        }
        let step = self.step(message);
        self.settle(step)
    }

    /// Hands in the vector: as many lanes as the round has, of its width, already
    /// clipped, quantised and with noise. Nothing of it leaves now.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if no vector was asked for or its length is wrong.
    pub fn provide_vector(&mut self, x: impl Into<Lanes>) -> Result<Vec<NodeOutput>, Fault> {
        let x: Zeroizing<Lanes> = Zeroizing::new(x.into());
        self.refuse_if_over()?;
        let step = match mem::replace(&mut self.state, State::Faulted) {
            State::AwaitingVector(state) => state.provide(&self.attempt, x),
            other => Err(misuse("a vector", &other)),
        };
        self.settle(step)
    }

    /// Gives out the masked vector. Call it only when the charge is durable.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if no charge was asked for.
    pub fn release_upload(&mut self) -> Result<Vec<NodeOutput>, Fault> {
        self.refuse_if_over()?;
        let step = match mem::replace(&mut self.state, State::Faulted) {
            State::AwaitingCharge(state) => state.release(&self.attempt),
            other => Err(misuse("a release", &other)),
        };
        self.settle(step)
    }

    /// Signs the state that this node computed from the sum.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if the sum is not opened yet; [`Fault::Incompatible`] if
    /// the quorum is already known and names another state.
    pub fn acknowledge_result(&mut self, state_hash: Digest) -> Result<Vec<NodeOutput>, Fault> {
        self.refuse_if_over()?;
        let step = match mem::replace(&mut self.state, State::Faulted) {
            State::Opened(state) => state.attest(&self.attempt, state_hash),
            other => Err(misuse("a state", &other)),
        };
        self.settle(step)
    }

    /// The context of the attempt.
    #[must_use]
    pub fn ctx(&self) -> Digest {
        self.attempt.ctx
    }

    /// Where the attempt stands.
    #[must_use]
    pub fn phase(&self) -> NodePhase {
        self.state.phase()
    }

    /// Two messages with which the aggregator contradicted itself, if it did.
    #[must_use]
    pub fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    fn start(attempt: Attempt, state: State) -> Self {
        Self { attempt, state, seen: BTreeMap::new(), evidence: None }
    }

    fn step(&mut self, message: ServerMessage) -> Step {
        let attempt = &self.attempt;
        match (mem::replace(&mut self.state, State::Faulted), message) {
            (_, ServerMessage::Abort(abort)) => {
                attempt.check_signature(&abort)?;
                Ok((State::Aborted, vec![NodeOutput::Aborted(abort)]))
            }
            (State::Committed(state), ServerMessage::ShareRelay(relay)) => {
                state.on_relay(attempt, &relay)
            }
            (State::Ready(state), ServerMessage::UploadGrant(grant)) => {
                state.on_grant(attempt, &grant)
            }
            (State::Masked(state), ServerMessage::UploadTurn(turn)) => state.on_turn(&turn),
            (State::Uploaded(state), ServerMessage::UploadTurn(turn)) => state.on_turn(&turn),
            (State::Uploaded(state), ServerMessage::SurvivorManifest(manifest)) => {
                state.on_manifest(attempt, manifest)
            }
            (State::Acknowledged(state), ServerMessage::SurvivorQc(quorum)) => {
                state.on_quorum(attempt, &quorum)
            }
            (State::Revealed(state), ServerMessage::SumChunk(chunk)) => state.on_chunk(&chunk),
            (State::Revealed(state), ServerMessage::RoundResult(result)) => {
                state.on_result(attempt, &result)
            }
            (State::Opened(state), ServerMessage::ResultQc(quorum)) => {
                Ok((state.remember(quorum), Vec::new()))
            }
            (State::Attested(state), ServerMessage::ResultQc(quorum)) => {
                state.on_quorum(attempt, quorum)
            }
            // Turns and chunks are no statements; one that comes twice or late changes nothing.
            (
                state @ (State::AwaitingCharge(_)
                | State::Acknowledged(_)
                | State::Revealed(_)
                | State::Opened(_)
                | State::Attested(_)),
                ServerMessage::UploadTurn(_),
            )
            | (state @ (State::Opened(_) | State::Attested(_)), ServerMessage::SumChunk(_)) => {
                Ok((state, Vec::new()))
            }
            (state, message) => Err(Fault::aggregator(format!(
                "sent a {} while this node was {}",
                message.kind(),
                state.phase()
            ))),
        }
    }

    fn settle(&mut self, step: Step) -> Result<Vec<NodeOutput>, Fault> {
        let (state, outputs) = step?;
        self.state = state;
        Ok(outputs)
    }

    fn refuse_if_over(&self) -> Result<(), Fault> {
        match self.state.phase() {
            phase @ (NodePhase::Certified | NodePhase::Aborted | NodePhase::Faulted) => {
                Err(Fault::misuse(format!("the attempt is over: {phase}; open the next one")))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for NodeRound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (me, phase) = (self.attempt.seat.me, self.phase());
        write!(f, "NodeRound {{ node {me}, {phase}, <redacted> }}")
    }
}

impl State {
    fn phase(&self) -> NodePhase {
        match self {
            Self::Committed(_) => NodePhase::Committed,
            Self::AwaitingVector(_) => NodePhase::AwaitingVector,
            Self::Ready(_) => NodePhase::Ready,
            Self::Masked(_) => NodePhase::Masked,
            Self::AwaitingCharge(_) => NodePhase::AwaitingCharge,
            Self::Uploaded(_) => NodePhase::Uploaded,
            Self::Acknowledged(_) => NodePhase::Acknowledged,
            Self::Revealed(_) => NodePhase::Revealed,
            Self::Opened(_) => NodePhase::Opened,
            Self::Attested(_) => NodePhase::Attested,
            Self::Certified => NodePhase::Certified,
            Self::Aborted => NodePhase::Aborted,
            Self::Faulted => NodePhase::Faulted,
        }
    }
}

fn misuse(what: &str, state: &State) -> Fault {
    Fault::misuse(format!("{what} was handed in while the node was {}", state.phase()))
}
